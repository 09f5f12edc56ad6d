//! The command line as its users meet it, with real processes.

#[path = "../support/mod.rs"]
mod support;

mod agents;
mod anomaly;
mod bad_input;
mod chosen;
mod classes;
mod collecting;
mod completions;
mod compression;
mod controls;
mod discover;
mod doctor;
mod exactness;
mod experience;
mod fetch;
mod first_day;
mod flags;
mod hints;
mod interrupt;
mod latents;
mod man;
mod messages;
mod moved;
mod names;
mod objects;
mod own_examples;
mod runs;
mod tables;
mod unlabelled;
mod verbs;
