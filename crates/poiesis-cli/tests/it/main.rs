//! The command line as its users meet it, with real processes.

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod anomaly;
mod bad_input;
mod classes;
mod compression;
mod discover;
mod exactness;
mod experience;
mod flags;
mod hints;
mod interrupt;
mod latents;
mod names;
mod objects;
mod verbs;
