//! What a trained model can do, as small traits. Verbs ask for capabilities, never for families.

use std::ops::Range;

use burn::tensor::{Int, Tensor};
use serde::Serialize;

use crate::data::Depth;

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
    /// Gives the law of each value of an example, given the values before it: what entropy coding needs.
    Code,
    /// Fills in what is missing of an example, or goes on with it.
    Complete,
}

impl Capability {
    /// The capability in one word, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Sample => "sample",
            Capability::Decode => "decode",
            Capability::Encode => "encode",
            Capability::Likelihood => "likelihood",
            Capability::Code => "code",
            Capability::Complete => "complete",
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

    /// How it weighs examples.
    fn likelihood(&self) -> Option<Likelihood<'_>> {
        None
    }

    /// The laws of its values, one given those before it. A model that has them can also complete.
    fn code(&self) -> Option<&dyn Code> {
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

/// How probable examples are: exactly, or by a bound.
#[derive(Clone, Copy)]
pub enum Likelihood<'a> {
    /// log p(x) of images.
    Images(&'a dyn ImageLikelihood),
    /// log p of each token given those before it.
    Tokens(&'a dyn TokenLikelihood),
    /// A bound on log p(x) of images.
    Bound(&'a dyn Bound),
}

/// The exact likelihood of images.
pub trait ImageLikelihood {
    /// What the images must be for the likelihood to mean something.
    fn scale(&self) -> Scale;

    /// log p(x) of each image in nats, `[batch]`.
    ///
    /// `images` is `[batch, height, width, channels]` on the model's [`Scale`]; `classes` are those of the images, which
    /// only a model conditioned on them reads.
    fn log_prob(&self, images: Tensor<4>, classes: &[u32]) -> Vec<f64>;
}

/// The exact likelihood of sequences.
pub trait TokenLikelihood {
    /// What the numbers of an image or the samples of sound must be, for a model that reads them.
    fn levels(&self) -> usize {
        256
    }

    /// How many tokens a window should have: those that a prediction can see, and the one that is predicted.
    fn window(&self) -> usize;

    /// log p of each token but the first, given those before it in its row, `[batch, length]` to
    /// `[batch, length - 1]`, in nats.
    fn log_prob(&self, tokens: Tensor<2, Int>) -> Tensor<2>;
}

/// A variational bound on the likelihood of images.
pub trait Bound {
    /// What the images must be for the likelihood to mean something.
    fn scale(&self) -> Scale;

    /// The terms of `samples` draws of the bound of each image.
    ///
    /// `images` is `[batch, height, width, channels]` on the model's [`Scale`]; `indices` numbers them, so that
    /// the noise of an image depends on `(seed, its number, the draw)` alone.
    fn log_weights(&self, images: Tensor<4>, seed: u64, indices: &[u64], samples: Range<u64>) -> LogWeights;
}

/// The law of each value of a sequence, given the values before it.
///
/// Text is a sequence of characters, sound one of what its [`Depth`] splits samples into; an image is one of its numbers, row by
/// row, the channels of a pixel one after another.
pub trait Code {
    /// How many different values there are: `0..alphabet()`.
    fn alphabet(&self) -> usize;

    /// How finely a model of sound tells samples apart.
    fn depth(&self) -> Depth {
        Depth::MuLaw
    }

    /// Begins sequences side by side, one for each of `classes`; a model that is not conditioned on classes
    /// ignores them, and one that is takes `None` as class 0.
    fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_>;

    /// The laws of all values of whole sequences at once, the same to the bit as a reader gives one after another:
    /// `[sequences, length, alphabet]`, as log-probabilities. `None` for a model that has no faster way than its reader.
    fn all_laws(&self, sequences: &[&[u32]], classes: &[Option<u32>]) -> Option<Vec<f32>> {
        let _ = (sequences, classes);
        None
    }
}

/// Sequences that are read or written side by side, value by value.
///
/// What a reader gives for a sequence is the same to the bit whatever the number of sequences beside it and the number of
/// threads, on the same kind of processor.
pub trait Reader {
    /// The law of the next value of each sequence as log-probabilities in nats, `[sequences, alphabet]`, row by row.
    fn laws(&mut self) -> &[f32];

    /// Takes the next value of each sequence.
    ///
    /// # Panics
    ///
    /// When there is not one value for each sequence, or one is not below the alphabet.
    fn push(&mut self, values: &[u32]);
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
