//! Putting trained models to work, one verb a file, written against abilities.

pub mod compress;
