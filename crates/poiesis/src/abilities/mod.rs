//! What a trained model can do. Verbs ask for abilities, never for a model by name.

mod act;
mod bits_back;
mod classifier;
mod features;
mod objects;
mod params;
mod sampler;
mod steps;

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use act::{Act, Acting, Actor, Chosen};
pub use bits_back::{BitsBack, Refusal};
pub use classifier::Classifier;
pub use features::Features;
pub use objects::{Bounds, Objects};
pub use params::SamplingParams;
pub use sampler::{Draws, OnStep, Sampler};
pub use steps::Steps;

use crate::data::{PixelEncoding, SampleFormat};
use crate::rng;

/// The abilities of a trained model. Nothing else says what it can do.
#[derive(Clone, Copy, Default)]
pub struct Abilities<'a> {
    /// Its own way of sampling.
    pub sampler: Option<&'a dyn Sampler>,
    /// It decodes latents, and so samples too.
    pub latents: Option<&'a dyn Latents>,
    /// It shows examples while they are made.
    pub steps: Option<&'a dyn Steps>,
    /// It encodes examples as latents.
    pub encoder: Option<&'a dyn Encoder>,
    /// It gives the distribution of each value given those before it, and so samples, completes and compresses examples.
    pub autoregressive: Option<&'a dyn Autoregressive>,
    /// It gives the distribution of an image given its latents and the other way round, and so compresses images.
    pub bits_back: Option<&'a dyn BitsBack>,
    /// It gives the likelihood of examples.
    pub likelihood: Option<Likelihood<'a>>,
    /// It classifies images.
    pub classifier: Option<&'a dyn Classifier>,
    /// It tells data from generated points, for pictures of training.
    pub critic: Option<&'a dyn Critic>,
    /// It describes images by features.
    pub features: Option<&'a dyn Features>,
    /// It finds the objects of images.
    pub objects: Option<&'a dyn Objects>,
    /// It acts in environments.
    pub act: Option<&'a dyn Act>,
}

impl<'a> Abilities<'a> {
    /// Those of a model that gives the exact distribution of each value of an image.
    pub fn of_images<M: Autoregressive + ImageLikelihood>(model: &'a M) -> Abilities<'a> {
        Abilities {
            autoregressive: Some(model),
            likelihood: Some(Likelihood::Images(model)),
            ..Abilities::default()
        }
    }

    /// Those of a model that gives the exact distribution of each token of a sequence.
    pub fn of_tokens<M: Autoregressive + TokenLikelihood>(model: &'a M) -> Abilities<'a> {
        Abilities {
            autoregressive: Some(model),
            likelihood: Some(Likelihood::Tokens(model)),
            ..Abilities::default()
        }
    }

    /// The abilities in the order in which lists show them.
    pub fn list(&self) -> Vec<Ability> {
        let draws = self.sampler.is_some() || self.latents.is_some() || self.autoregressive.is_some();
        let has = [
            (Ability::Sample, draws),
            (Ability::Steps, self.steps.is_some()),
            (Ability::Decode, self.latents.is_some()),
            (Ability::Encode, self.encoder.is_some()),
            (Ability::Likelihood, self.likelihood.is_some()),
            (Ability::Compress, self.autoregressive.is_some() || self.bits_back.is_some()),
            (Ability::Complete, self.autoregressive.is_some()),
            (Ability::Classify, self.classifier.is_some()),
            (Ability::Features, self.features.is_some()),
            (Ability::Objects, self.objects.is_some()),
            (Ability::Act, self.act.is_some()),
        ];
        has.into_iter().filter(|(_, has)| *has).map(|(ability, _)| ability).collect()
    }
}

/// What a model compresses examples with.
#[derive(Clone, Copy)]
pub enum Coding<'a> {
    /// The distribution of each value given those before it.
    Values(&'a dyn Autoregressive),
    /// Latents: their prior and posterior, and the distribution of an image given them.
    Latents(&'a dyn BitsBack),
}

impl Coding<'_> {
    /// How many classes the model is conditioned on; 0 for none.
    pub fn num_classes(self) -> usize {
        match self {
            Coding::Values(model) => model.num_classes(),
            Coding::Latents(model) => model.num_classes(),
        }
    }
}

/// An ability by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ability {
    /// Draws new examples.
    Sample,
    /// Shows examples while they are made, step by step.
    Steps,
    /// Turns latents into examples.
    Decode,
    /// Turns examples into latents.
    Encode,
    /// Gives the likelihood of examples.
    Likelihood,
    /// Compresses examples losslessly.
    Compress,
    /// Fills in missing parts of an example, or continues it.
    Complete,
    /// Gives the classes of examples.
    Classify,
    /// Describes examples by features.
    Features,
    /// Counts and places the objects of images.
    Objects,
    /// Acts in environments.
    Act,
}

impl Ability {
    /// The ability in one word, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Ability::Sample => "sample",
            Ability::Steps => "steps",
            Ability::Decode => "decode",
            Ability::Encode => "encode",
            Ability::Likelihood => "likelihood",
            Ability::Compress => "compress",
            Ability::Complete => "complete",
            Ability::Classify => "classify",
            Ability::Features => "features",
            Ability::Objects => "objects",
            Ability::Act => "act",
        }
    }

    /// What a model with the ability can do, in the words after "can": `give likelihoods`.
    pub fn verb(self) -> &'static str {
        match self {
            Ability::Steps => "show how samples are made step by step",
            Ability::Likelihood => "give likelihoods",
            Ability::Features => "give features",
            Ability::Objects => "find objects",
            other => other.name(),
        }
    }
}

/// What a way of sampling accepts in a request, besides seed and count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    /// A class.
    pub class: bool,
    /// The beginning of the example.
    pub prompt: bool,
    /// Parts of the example that are kept.
    pub keep: bool,
    /// A temperature.
    pub temperature: bool,
    /// Top-k and top-p.
    pub top: bool,
    /// A maximum length.
    pub max_len: bool,
    /// A number of steps.
    pub steps: bool,
    /// A strength of guidance.
    pub guidance: bool,
}

/// Turns latents into examples.
pub trait Latents: Sync {
    /// The parts of a latent, in order.
    fn parts(&self) -> Vec<LatentPart>;

    /// How many classes it is conditioned on; 0 for none.
    fn num_classes(&self) -> usize {
        0
    }

    /// The examples of `latents`, `[batch, latent_dim]` to `[batch, values]`: images row by row in [-1, 1], points as their
    /// coordinates. `classes` has one for each example, read by a model that is conditioned on classes; `None` is an example of no
    /// class, such as those of its training data that had none. On a device with autodiff they have gradients by `latents`.
    fn decode(&self, latents: Tensor<2>, classes: &[Option<u32>]) -> Tensor<2>;

    /// Draws latents from a prior that the model has learned, numbered like samples, `[indices, latent_dim]` on `device`: latent *i*
    /// depends on `(seed, i)` alone. `None` where no part says [`Prior::Learned`].
    fn draw_learned(&self, seed: u64, indices: Range<u64>, device: &Device) -> Option<Tensor<2>> {
        let _ = (seed, indices, device);
        None
    }

    /// The weights of the first affine layer that the latents go through, `[outputs, latent_dim]`, each row multiplied by the scale of
    /// the batch normalisation behind the layer, where there is one: how the layer answers to a step of each latent value. `None` where
    /// the first layer is something else.
    fn first_weights(&self) -> Option<Tensor<2>> {
        None
    }
}

impl dyn Latents + '_ {
    /// Values in a latent.
    pub fn latent_dim(&self) -> usize {
        self.parts().iter().map(|part| part.size).sum()
    }

    /// The prior of each value.
    pub fn priors(&self) -> Vec<Prior> {
        self.parts().iter().flat_map(|part| std::iter::repeat_n(part.prior, part.size)).collect()
    }

    /// Draws latents from the prior, numbered like samples: latent *i* depends on `(seed, i)` alone. `[indices, latent_dim]`.
    pub fn draw(&self, seed: u64, indices: Range<u64>, device: &Device) -> Tensor<2> {
        if let Some(drawn) = self.draw_learned(seed, indices.clone(), device) {
            return drawn;
        }
        let (parts, count) = (self.parts(), (indices.end - indices.start) as usize);
        let draw = |index| draw_latent(&parts, &mut rng::generator(seed, "latent", index), 1);
        let values = indices.flat_map(draw).collect();
        Tensor::from_data(TensorData::new(values, [count, self.latent_dim()]), device)
    }
}

/// Draws `count` latents of the given parts, concatenated.
///
/// # Panics
///
/// When a part has a learned prior, which only its model can draw from.
pub fn draw_latent(parts: &[LatentPart], generator: &mut rng::Generator, count: usize) -> Vec<f32> {
    let mut draw = |part: &LatentPart, count: usize| match part.prior {
        Prior::Normal => rng::normal(generator, part.size * count),
        Prior::Uniform => rng::uniform(generator, part.size * count).iter().map(|u| 2.0 * u - 1.0).collect(),
        Prior::Categorical => {
            let one_hot = |chosen: u64| (0..part.size as u64).map(move |i| f32::from(i == chosen));
            (0..count).flat_map(|_| one_hot(rng::below(generator, part.size as u64))).collect()
        }
        Prior::Learned => panic!("`{}` has a learned prior, from which its model draws", part.name),
    };
    match parts {
        [only] => draw(only, count),
        parts => {
            (0..count).flat_map(|_| parts.iter().flat_map(|part| draw(part, 1)).collect::<Vec<_>>()).collect()
        }
    }
}

/// Values of a latent that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LatentPart {
    /// The name, such as `z`.
    pub name: String,
    /// The number of values.
    pub size: usize,
    /// The distribution they are drawn from.
    pub prior: Prior,
}

/// The distribution that a part of a latent is drawn from; values are independent but for those of a categorical part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prior {
    /// N(0, 1).
    Normal,
    /// Uniform on [-1, 1].
    Uniform,
    /// One of the part's values is 1 and the others are 0, each with the same probability. No setting has this value.
    #[serde(skip_deserializing)]
    Categorical,
    /// A distribution that the model has learned, such as a mixture, in which the part's values depend on each other; see
    /// [`Latents::draw_learned`]. No setting has this value.
    #[serde(skip_deserializing)]
    Learned,
}

/// Tells data from generated points.
pub trait Critic: Sync {
    /// The probability that each point is of the data, `[batch, values]` to `[batch]`.
    fn prob_real(&self, points: Tensor<2>) -> Tensor<1>;
}

/// Turns examples into latents.
pub trait Encoder: Sync {
    /// The mean latent of each example, `[batch, values]` to `[batch, latent_dim]`; values as in [`Latents::decode`]. `classes` has
    /// one for each example, read by a model that is conditioned on classes.
    fn encode(&self, values: Tensor<2>, classes: &[Option<u32>]) -> Tensor<2>;
}

/// The likelihood of examples, exact or as a bound.
#[derive(Clone, Copy)]
pub enum Likelihood<'a> {
    /// log p(x) of images.
    Images(&'a dyn ImageLikelihood),
    /// log p(x) of points.
    Points(&'a dyn PointLikelihood),
    /// log p of each token given those before it.
    Tokens(&'a dyn TokenLikelihood),
    /// A bound on log p(x) of images.
    Bound(&'a dyn Bound),
}

impl<'a> Likelihood<'a> {
    /// The exact likelihood of images, if it is that.
    pub fn images(self) -> Option<&'a dyn ImageLikelihood> {
        if let Likelihood::Images(model) = self { Some(model) } else { None }
    }

    /// The exact likelihood of sequences, if it is that.
    pub fn tokens(self) -> Option<&'a dyn TokenLikelihood> {
        if let Likelihood::Tokens(model) = self { Some(model) } else { None }
    }

    /// The exact likelihood of points, if it is that.
    pub fn points(self) -> Option<&'a dyn PointLikelihood> {
        if let Likelihood::Points(model) = self { Some(model) } else { None }
    }

    /// The bound on the likelihood of images, if it is that.
    pub fn bound(self) -> Option<&'a dyn Bound> {
        if let Likelihood::Bound(model) = self { Some(model) } else { None }
    }
}

/// The exact likelihood of images.
pub trait ImageLikelihood: Sync {
    /// How it reads pixels.
    fn encoding(&self) -> PixelEncoding;

    /// Whether it is conditioned on classes: then each image must have one.
    fn reads_classes(&self) -> bool;

    /// log p(x) of each image in nats, `[batch]`.
    ///
    /// `images` is `[batch, height, width, channels]` in the model's [`PixelEncoding`]; `classes` are those of the images, which
    /// only a model conditioned on them reads.
    fn log_prob(&self, images: Tensor<4>, classes: &[u32]) -> Vec<f64>;
}

/// The exact likelihood of points.
pub trait PointLikelihood: Sync {
    /// log p(x) of each point in nats, `[batch]`: a density, so it may be positive.
    ///
    /// `points` is `[batch, dims]`; `classes` are those of the points, which only a model conditioned on them reads.
    fn log_prob(&self, points: Tensor<2>, classes: &[u32]) -> Vec<f64>;
}

/// The exact likelihood of sequences.
pub trait TokenLikelihood: Sync {
    /// The number of levels of an image's values or of sound samples, for a model that reads them.
    fn levels(&self) -> usize {
        256
    }

    /// How many tokens a window should have: the context of a prediction, and the token that is predicted.
    fn window(&self) -> usize;

    /// log p of each token but the first, given those before it in its row, `[batch, length]` to
    /// `[batch, length - 1]`, in nats.
    fn log_prob(&self, tokens: Tensor<2, Int>) -> Tensor<2>;
}

/// A variational bound on the likelihood of images.
pub trait Bound: Sync {
    /// How it reads pixels.
    fn encoding(&self) -> PixelEncoding;

    /// The bound's terms for each image, from `samples` draws of z.
    ///
    /// `images` is `[batch, height, width, channels]` in the model's [`PixelEncoding`]; `classes` has one for each, read by a model
    /// that is conditioned on classes, whose bound is on log p(x|class). `indices` are their numbers: the
    /// noise of an image depends only on the seed, its number and the number of the draw.
    fn log_weights(
        &self,
        images: Tensor<4>,
        classes: &[Option<u32>],
        seed: u64,
        indices: &[u64],
        samples: Range<u64>,
    ) -> LogWeights;
}

/// Gives the distribution of each value of a sequence, given the values before it.
///
/// Text is a sequence of tokens; sound is a sequence of the values into which its [`SampleFormat`] splits samples; an image
/// is a sequence of its values, row by row, with the channels of a pixel next to each other.
pub trait Autoregressive: Sync {
    /// The number of possible values, which are `0..num_values()`.
    fn num_values(&self) -> usize;

    /// How many classes it is conditioned on; 0 for none.
    fn num_classes(&self) -> usize;

    /// Whether it has learned examples without a class beside those of classes, so that `None` stands for them.
    fn knows_no_class(&self) -> bool {
        false
    }

    /// How a model of sound reads samples.
    fn sample_format(&self) -> SampleFormat {
        SampleFormat::MuLaw
    }

    /// Begins sequences in parallel, one for each of `classes`; a model that is not conditioned on classes
    /// ignores them, and one that is takes `None` as class 0 unless it [knows](Autoregressive::knows_no_class) examples without one.
    fn decoder(&self, classes: &[Option<u32>]) -> Box<dyn IncrementalDecoder + '_>;

    /// The log-probabilities of all values of whole sequences at once, the same bits as a decoder gives one after another:
    /// `[sequences, length, num_values]`. `None` for a model that has no faster way than its decoder.
    fn all_log_probs(&self, sequences: &[&[u32]], classes: &[Option<u32>]) -> Option<Vec<f32>> {
        let _ = (sequences, classes);
        None
    }
}

/// Reads or generates sequences in parallel, value by value.
///
/// The results for a sequence are bit-identical for any number of parallel sequences and any number of threads, on the
/// same kind of processor.
pub trait IncrementalDecoder {
    /// The log-probabilities of the next value of each sequence in nats, `[sequences, num_values]`, row by row.
    fn log_probs(&mut self) -> &[f32];

    /// Takes the next value of each sequence.
    ///
    /// # Panics
    ///
    /// When there is not one value for each sequence, or one is not below the number of values.
    fn append(&mut self, values: &[u32]);
}

/// The terms of a variational bound, in nats.
///
/// With z drawn from q(z|x), log w = log p(x|z) + log p(z) − log q(z|x). The mean of log w is the evidence lower
/// bound; the logarithm of the mean of w is a tighter one (Burda et al. 2016).
#[derive(Clone, Debug)]
pub struct LogWeights {
    /// log w of each draw of each image: `[batch][samples]`.
    pub log_w: Vec<Vec<f64>>,
    /// log p(x|z) of the first draw of each image.
    pub reconstruction: Vec<f64>,
    /// KL(q(z|x) ‖ p(z)) of each image: in closed form, or where there is none, of the first draw or averaged over the draws.
    pub kl: Vec<f64>,
}
