//! The distribution of an image given its latents.

use burn::tensor::Tensor;

use super::{Bernoulli, DiscretizedLogistic};

/// p(x|z), over images flattened row by row.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "made once for a batch and passed by reference")]
pub enum Pixels {
    /// Over {0, 1}.
    Bernoulli(Bernoulli),
    /// Over 256 levels in [-1, 1].
    DiscretizedLogistic(DiscretizedLogistic),
}

impl Pixels {
    /// log p(x|z) of each image in nats, `[batch, height · width · channels]` to `[batch]`.
    pub fn log_prob(&self, x: Tensor<2>) -> Tensor<1> {
        match self {
            Pixels::Bernoulli(p) => p.log_prob(x),
            Pixels::DiscretizedLogistic(p) => p.log_prob(x),
        }
    }

    /// The expected image in [-1, 1], `[batch, height · width · channels]`.
    pub fn mean(&self) -> Tensor<2> {
        match self {
            Pixels::Bernoulli(p) => p.mean() * 2.0 - 1.0,
            Pixels::DiscretizedLogistic(p) => p.mean.clone().clamp(-1.0, 1.0),
        }
    }
}
