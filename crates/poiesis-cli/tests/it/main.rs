//! The command line as its users meet it, with real processes.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod classes;
mod discover;
mod exactness;
mod flags;
mod hints;
mod interrupt;
mod names;
mod verbs;
