//! Examples while they are made.

use burn::tensor::Tensor;

use super::Draws;

/// Makes examples in steps that can be looked at, such as the glimpses in which an image is written.
pub trait Steps: Sync {
    /// The requested examples after each step, from the first to the last: `[draws.count(), values]` each, as those of
    /// [`Sampler::sample`](super::Sampler::sample). After the last step they are what is sampled.
    fn steps(&self, draws: &Draws<'_>) -> Vec<Tensor<2>>;
}
