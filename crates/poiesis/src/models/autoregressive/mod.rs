//! Autoregressive models: the probability of an example as a product of the laws of its values, each given those
//! before it.

pub mod pixelcnnpp;

pub use pixelcnnpp::{PixelCnnPp, PixelCnnPpConfig};
