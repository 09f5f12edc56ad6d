//! The models, a folder for each family and a file for each paper.

pub mod autoregressive;
pub mod flow;
pub mod gan;
pub mod vae;
