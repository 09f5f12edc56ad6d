//! Autoregressive models: the probability of an example as a product of those of its values, each given the values
//! before it.

mod causal;
mod columns;
pub mod gated_pixelcnn;
mod pixels;
pub mod wavenet;

pub use gated_pixelcnn::GatedPixelCnnConfig;
pub use pixels::{PixelLaw, Pixels};
pub use wavenet::{WaveNet, WaveNetConfig};
