//! Autoregressive models: the probability of an example as a product of those of its values, each given the values
//! before it.

pub mod pixelrnn;

pub use pixelrnn::{PixelRnn, PixelRnnConfig};
