//! The verbs, one file each: the arguments and what is done with them.

pub(crate) mod animate;
pub(crate) mod cache;
pub(crate) mod classify;
pub(crate) mod collect;
pub(crate) mod compare;
pub(crate) mod complete;
pub(crate) mod compress;
mod confusion;
pub(crate) mod decompress;
pub(crate) mod discover;
mod dry_run;
mod ending;
pub(crate) mod evaluate;
mod evaluate_images;
pub(crate) mod features;
pub(crate) mod inspect;
pub(crate) mod models;
mod pictures;
pub(crate) mod read_table;
pub(crate) mod recipes;
pub(crate) mod resume;
pub(crate) mod runs;
pub(crate) mod sample;
mod sample_steps;
pub(crate) mod train;
