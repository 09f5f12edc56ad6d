//! Autoregressive models: the probability of an example as a product over its values, each given those before it.

mod causal;
mod columns;
pub mod gated_pixelcnn;
mod image_model;
pub mod pixelcnn;
mod pixels;

pub use columns::{Columns, Places};
pub use gated_pixelcnn::{GatedPixelCnn, GatedPixelCnnConfig};
pub use image_model::{ImageModel, ImageNetwork, Rule};
pub use pixelcnn::{PixelCnn, PixelCnnConfig};
pub use pixels::{PixelLaw, Pixels};

#[cfg(test)]
mod testing;
