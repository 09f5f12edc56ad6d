//! Autoregressive models: the probability of an example as a product of those of its values, each given the values
//! before it.

mod causal;
mod columns;
pub mod gated_pixelcnn;
pub mod pixelrnn;
mod pixels;
pub mod wavenet;

pub use gated_pixelcnn::GatedPixelCnnConfig;
pub use pixelrnn::{PixelRnn, PixelRnnConfig};
pub use pixels::{PixelLaw, Pixels};
pub use wavenet::{WaveNet, WaveNetConfig};
