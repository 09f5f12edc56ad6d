//! Putting trained models to work, one verb a file, written against capabilities.

pub mod sample;
