//! Applies trained models: one file per verb, each written against abilities.

pub mod classify;
pub mod compress;
