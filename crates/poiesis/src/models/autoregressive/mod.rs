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
pub use pixels::{PixelConfig, PixelDistribution, Pixels};
pub use transformer::{Transformer, TransformerConfig};
pub use wavenet::{WaveNet, WaveNetConfig};

use dropout::Dropout;

use crate::abilities::Ability;
use crate::config::{Choice, SampleSchedule, TrainConfig};
use crate::data::{DataFacts, TokenShape};
use crate::model::About;

/// What a model of this family leaves out of its own, as [`About::BASE`] for all models.
const FAMILY: About = About {
    abilities: &[Ability::Sample, Ability::Likelihood, Ability::Compress, Ability::Complete],
    // Samples are drawn value by value, which takes long: few of them, most at the beginning.
    train: || TrainConfig {
        sample_schedule: SampleSchedule::Logarithmic,
        sample_frames: 20,
        sample_count: 16,
        ..TrainConfig::default()
    },
    ..About::BASE
};

/// The `[train]` section of the models of text, whose samples are few and short: as many and as long as is read.
fn train_on_text() -> TrainConfig {
    TrainConfig { sample_count: 4, sample_length: 500, ema_decay: 0.0, ..(FAMILY.train)() }
}

/// How many tokens a model of sequences predicts: where all documents have one length, their beginnings never are.
fn outputs(shape: TokenShape) -> usize {
    if shape.length.is_some() { shape.values } else { shape.vocabulary() }
}

#[cfg(test)]
mod testing;

/// Text of fewer tokens, and sound of fewer samples, is learned by heart within minutes without dropout, and of fewer still with little.
const LITTLE_TEXT: u64 = 3_000_000;
const VERY_LITTLE_TEXT: u64 = 300_000;

/// The dropout that suits as much text or sound as there is, as a setting of `model`.
fn dropout_for(model: &str, facts: &DataFacts) -> Choice {
    let (dropout, reason) = match facts.len * facts.dims() as u64 {
        len if len < VERY_LITTLE_TEXT => (0.2, "little data is learned by heart"),
        len if len < LITTLE_TEXT => (0.1, "not much data"),
        _ => (0.0, "much data"),
    };
    Choice::new(&format!("{model}.dropout"), dropout, reason)
}
