//! poiesis
pub mod error;
pub mod picture;
pub mod run;
