//! Autoregressive models: the probability of an example as a product over its values, each given those before it.

mod causal;
mod columns;
pub mod gated_pixelcnn;
mod pixels;

pub use gated_pixelcnn::GatedPixelCnnConfig;
pub use pixels::{PixelLaw, Pixels};
