//! Putting trained models to work, one verb a file, written against capabilities.

pub mod complete;
pub mod compress;
pub mod sample;
pub mod sound;
pub mod text;
