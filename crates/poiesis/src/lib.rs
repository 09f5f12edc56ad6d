//! poiesis
pub mod error;
pub mod picture;
pub mod run;

pub use error::{Error, Result};
