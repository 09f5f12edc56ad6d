//! Autoregressive models: log p(x) = Σ log p(xᵢ given x₁ … xᵢ₋₁), each factor computed by a network that sees what came
//! before.

mod dropout;
mod pictures;

pub mod char_rnn;
pub mod transformer;

pub use char_rnn::{CharRnn, CharRnnConfig};
pub use transformer::{Transformer, TransformerConfig};

use dropout::Dropout;

use crate::data::TokenShape;

/// How many tokens a model of sequences predicts: where all documents have one length, their beginnings never are.
fn outputs(shape: TokenShape) -> usize {
    if shape.length.is_some() { shape.values } else { shape.vocabulary() }
}
