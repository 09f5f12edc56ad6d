//! Autoregressive models: the probability of an example as a product of those of its values, each given the values
//! before it.

mod causal;
mod columns;
pub mod gated_pixelcnn;
mod image_model;
pub mod pixelcnn;
pub mod pixelcnnpp;
pub mod pixelrnn;
mod pixels;
pub mod wavenet;

pub use columns::{Columns, Places};
pub use gated_pixelcnn::{GatedPixelCnn, GatedPixelCnnConfig};
pub use image_model::{ImageModel, ImageNetwork, Rule};
pub use pixelcnn::{PixelCnn, PixelCnnConfig};
pub use pixelcnnpp::{PixelCnnPp, PixelCnnPpConfig};
pub use pixelrnn::{PixelRnn, PixelRnnConfig};
pub use pixels::{PixelLaw, Pixels};
pub use wavenet::{WaveNet, WaveNetConfig};

#[cfg(test)]
mod testing;
