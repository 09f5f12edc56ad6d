//! Which distribution an image has given its latents, as a setting.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::config::Choice;
use crate::data::{DataFacts, PixelEncoding};

/// Distribution of an image given its latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelDistribution {
    /// Black or white; the data are binarised anew each time they are used.
    Bernoulli,
    /// 256 levels, each value logistic with a location and a scale.
    DiscretizedLogistic,
}

impl PixelDistribution {
    pub(super) fn encoding(self) -> PixelEncoding {
        match self {
            PixelDistribution::Bernoulli => PixelEncoding::Binary,
            PixelDistribution::DiscretizedLogistic => PixelEncoding::EightBit,
        }
    }

    /// Images in [-1, 1] as the distribution reads them.
    pub(super) fn encode(self, images: Tensor<4>) -> Tensor<4> {
        match self {
            PixelDistribution::Bernoulli => (images + 1.0) * 0.5,
            PixelDistribution::DiscretizedLogistic => images,
        }
    }
}

/// The distribution of pixels that suits the images, as a setting of `model`.
pub(super) fn likelihood_for(model: &str, facts: &DataFacts) -> Choice {
    let likelihood = if facts.two_tones { "bernoulli" } else { "discretized_logistic" };
    Choice::new(&format!("{model}.likelihood"), likelihood, facts.toned())
}
