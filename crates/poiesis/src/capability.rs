//! What a trained model can do, as small traits. Verbs ask for capabilities, never for families.

use std::ops::Range;

use burn::tensor::Tensor;
use serde::Serialize;

/// The capabilities a model may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Draws new examples.
    Sample,
    /// Turns latents into examples.
    Decode,
    /// Turns examples into latents.
    Encode,
    /// Says how probable an example is.
    Likelihood,
}

impl Capability {
    /// The capability in one word, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Sample => "sample",
            Capability::Decode => "decode",
            Capability::Encode => "encode",
            Capability::Likelihood => "likelihood",
        }
    }
}

/// A trained model: whatever of the capabilities it has.
pub trait Model: Send {
    /// How it draws new images.
    fn sampler(&self) -> Option<&dyn Sample> {
        None
    }

    /// How it turns latents into images.
    fn decoder(&self) -> Option<&dyn Decode> {
        None
    }

    /// How it turns images into latents.
    fn encoder(&self) -> Option<&dyn Encode> {
        None
    }

    /// How it weighs images.
    fn likelihood(&self) -> Option<&dyn Likelihood> {
        None
    }
}

/// Draws new images.
pub trait Sample {
    /// Draws the images numbered `indices` of the sequence that `seed` starts: image *i* depends on `(seed, i)`
    /// alone. `[indices, height, width, channels]` in [-1, 1].
    fn sample(&self, seed: u64, indices: Range<u64>) -> Tensor<4>;
}

/// Turns latents into images.
pub trait Decode {
    /// Numbers in a latent.
    fn latent_dim(&self) -> usize;

    /// Draws latents from the prior, numbered like samples, `[indices, latent_dim]`.
    fn draw_latents(&self, seed: u64, indices: Range<u64>) -> Tensor<2>;

    /// The law of the prior, which says how to walk between latents.
    fn prior(&self) -> Prior;

    /// The images of `latents`, `[batch, latent_dim]` to `[batch, height, width, channels]` in [-1, 1].
    fn decode(&self, latents: Tensor<2>) -> Tensor<4>;
}

/// The law that latents are drawn from, each number independently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Prior {
    /// N(0, 1).
    Normal,
    /// Uniform on [-1, 1].
    Uniform,
}

/// Turns images into latents.
pub trait Encode {
    /// The mean latent of each image, `[batch, height, width, channels]` in [-1, 1] to `[batch, latent_dim]`.
    fn encode(&self, images: Tensor<4>) -> Tensor<2>;
}

/// Says how probable an image is.
pub trait Likelihood {
    /// What the images must be for the likelihood to mean something.
    fn scale(&self) -> Scale;

    /// The terms of `samples` draws of the bound of each image.
    ///
    /// `images` is `[batch, height, width, channels]` on the model's [`Scale`]; `indices` numbers them, so that
    /// the noise of an image depends on `(seed, its number, the draw)` alone.
    fn log_weights(&self, images: Tensor<4>, seed: u64, indices: &[u64], samples: Range<u64>) -> LogWeights;
}

/// The values that a likelihood is a distribution over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Black and white: {0, 1}.
    Binary,
    /// 256 levels, spread over [-1, 1].
    EightBit,
}

/// Draws of a variational bound, in nats.
///
/// With z drawn from q(z|x), log w = log p(x|z) + log p(z) − log q(z|x). The mean of log w is the evidence lower
/// bound; the logarithm of the mean of w is a tighter one (Burda et al. 2016).
#[derive(Clone, Debug)]
pub struct LogWeights {
    /// log w, for each image its draws in turn: `[batch][samples]`.
    pub log_w: Vec<Vec<f64>>,
    /// log p(x|z) of the first draw of each image.
    pub reconstruction: Vec<f64>,
    /// KL(q(z|x) ‖ p(z)) of each image, in closed form.
    pub kl: Vec<f64>,
}
