//! Autoregressive models: the probability of an example as a product of those of its values, each given the values
//! before it.

mod causal;
pub mod char_rnn;
mod columns;
mod dropout;
pub mod gated_pixelcnn;
mod image_model;
pub mod pixelcnn;
pub mod pixelcnn_pp;
pub mod pixelrnn;
mod pixels;
pub mod transformer;
pub mod wavenet;

pub use char_rnn::{CharRnn, CharRnnConfig};
pub use columns::{Columns, Places};
pub use gated_pixelcnn::{GatedPixelCnn, GatedPixelCnnConfig};
pub use image_model::{ImageModel, ImageNetwork};
pub use pixelcnn::{PixelCnn, PixelCnnConfig};
pub use pixelcnn_pp::{PixelCnnPp, PixelCnnPpConfig};
pub use pixelrnn::{PixelRnn, PixelRnnConfig};
pub use pixels::{PixelDistribution, Pixels};
pub use transformer::{Transformer, TransformerConfig};
pub use wavenet::{WaveNet, WaveNetConfig};

use dropout::Dropout;

use crate::data::TokenShape;

/// How many tokens a model of sequences predicts: where all documents have one length, their beginnings never are.
fn outputs(shape: TokenShape) -> usize {
    if shape.length.is_some() { shape.values } else { shape.vocabulary() }
}

#[cfg(test)]
mod testing;
