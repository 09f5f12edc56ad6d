//! What this crate promises, held against files made by code: one program for all, as linking each would take minutes.

#[path = "../common/mod.rs"]
mod common;

mod amat;
mod arrays;
mod bad_input;
mod builtin;
mod choices;
mod experience;
mod export;
mod formats;
mod hostile;
mod image_summary;
mod label_table;
mod labels;
mod left_alone;
mod mutants;
mod objects;
mod packing;
mod points;
mod properties;
mod small_sets;
mod sound;
mod sources;
mod stacked;
mod text;
