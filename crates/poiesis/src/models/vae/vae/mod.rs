//! The variational autoencoder.
//!
//! Kingma and Welling, "Auto-encoding variational Bayes", 2013, arXiv:1312.6114. An encoder q(z|x) and a decoder
//! p(x|z) are trained together on the evidence lower bound log p(x) ≥ E_q log p(x|z) − KL(q(z|x) ‖ p(z)), whose
//! gradient passes through the reparameterised sample z = μ + σ ε.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data, binarised ones in {0, 1}, others in [-1, 1] |
//! | `z`, latents | z | N(0, 1) under the prior |
//! | `posterior` | q(z given x) | normal with independent dimensions |
//! | `eps` | ε | noise, N(0, 1) |
//! | bound | −ELBO | nats for each image, lower is better |
//!
//! Differences from the paper: two hidden layers instead of one where `layers = 2`, Adam instead of Adagrad, and
//! a convolutional body beside the fully connected one. The weight of the KL term (Higgins et al. 2017) and free
//! bits (Kingma et al. 2016, §C.8) change what is trained, never what is reported as the bound.

mod conv;
mod mlp;

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::abilities::{
    Abilities, Ability, Bound, Encoder as Encodes, Features, LatentPart, Latents, Likelihood, LogWeights,
    Prior,
};
use crate::config::{Faults, SampleSchedule, Settings, TrainConfig};
use crate::data::{DataSpec, ImageBatches, ImageNeeds, ImageShape, PixelEncoding};
use crate::dist::{Bernoulli, DiagonalNormal, DiscretizedLogistic, standard_normal_log_prob};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::{Init, flatten};
use crate::optim::{Optimizer, OptimizerConfig};
use crate::rng;

pub use conv::{ConvDecoder, ConvEncoder};
pub use mlp::Mlp;

/// A latent dimension is dead when its KL divergence, averaged over a batch, stays below this many nats.
const DEAD: f64 = 0.01;

/// Settings of a [`Vae`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// Kind of both networks.
    pub body: Body,
    /// Values in a latent.
    pub latent_dim: usize,
    /// `mlp`: features of a hidden layer (§5: 500).
    pub hidden_dim: usize,
    /// `mlp`: hidden layers of each network.
    pub layers: usize,
    /// `conv`: features next to the image; they double at each halving of the sides.
    pub width: usize,
    /// `conv`: residual blocks at each size.
    pub blocks: usize,
    /// Distribution of an image given its latents.
    pub likelihood: PixelDistribution,
    /// StateTensor β of the KL term in training; 1 trains the bound itself.
    pub kl_weight: f64,
    /// Nats of KL that each latent dimension has for free in training, averaged over the batch.
    pub free_bits: f64,
}

/// Kind of the encoder and the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// Fully connected layers with tanh (§5).
    Mlp,
    /// Strided convolutions and residual blocks with ELU.
    Conv,
}

/// Distribution of an image given its latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelDistribution {
    /// Black or white; the data are binarised anew each time they are used.
    Bernoulli,
    /// 256 levels, with a location and a scale for each.
    DiscretizedLogistic,
}

impl Default for VaeConfig {
    fn default() -> VaeConfig {
        VaeConfig {
            body: Body::Conv,
            latent_dim: 64,
            hidden_dim: 500,
            layers: 2,
            width: 32,
            blocks: 1,
            likelihood: PixelDistribution::DiscretizedLogistic,
            kl_weight: 1.0,
            free_bits: 0.0,
        }
    }
}

impl Settings for VaeConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["latent_dim", "hidden_dim", "width"]);
        faults.depths(&["layers"]);
        faults.optional_depths(&["blocks"]);
    }
}

/// Both networks.
#[derive(Module, Debug)]
pub struct Vae {
    /// Images to the posterior's mean and log variance.
    pub encoder: Encoder,
    /// Latents to the parameters of the pixels' distribution.
    pub decoder: Decoder,
    #[module(skip)]
    config: VaeConfig,
    #[module(skip)]
    shape: ImageShape,
}

/// The encoder of either body.
#[derive(Module, Debug)]
pub enum Encoder {
    /// Fully connected.
    Mlp(Mlp),
    /// Convolutional.
    Conv(ConvEncoder),
}

/// The decoder of either body.
#[derive(Module, Debug)]
pub enum Decoder {
    /// Fully connected.
    Mlp(Mlp),
    /// Convolutional.
    Conv(ConvDecoder),
}

/// The terms of the bound, each averaged over the batch, in nats.
#[derive(Clone, Debug)]
pub struct VaeLoss {
    /// What is minimised: the bound, but for `kl_weight` and `free_bits`. `[1]`.
    pub objective: Tensor<1>,
    /// −log p(x|z), `[1]`.
    pub reconstruction: Tensor<1>,
    /// KL(q(z|x) ‖ p(z)) of each latent dimension, `[latent_dim]`.
    pub kl: Tensor<1>,
}

impl Vae {
    /// q(z|x).
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]`; the mean and the log variance are `[batch, latent_dim]`.
    pub fn posterior(&self, x: Tensor<4>) -> DiagonalNormal {
        let parameters = match &self.encoder {
            Encoder::Mlp(mlp) => mlp.forward(flatten(x)),
            Encoder::Conv(conv) => conv.forward(x),
        };
        let dim = self.config.latent_dim;
        DiagonalNormal { mean: parameters.clone().narrow(1, 0, dim), log_var: parameters.narrow(1, dim, dim) }
    }

    /// p(x|z), over images flattened row by row.
    ///
    /// # Shapes
    ///
    /// `z` is `[batch, latent_dim]`; the distribution is over `[batch, height · width · channels]`.
    pub fn pixels(&self, z: Tensor<2>) -> Pixels {
        let parameters = match &self.decoder {
            Decoder::Mlp(mlp) => mlp.forward(z),
            Decoder::Conv(conv) => conv.forward(z),
        };
        match self.config.likelihood {
            PixelDistribution::Bernoulli => Pixels::Bernoulli(Bernoulli { logits: parameters }),
            PixelDistribution::DiscretizedLogistic => {
                let dims = self.shape.dims();
                Pixels::DiscretizedLogistic(DiscretizedLogistic {
                    mean: parameters.clone().narrow(1, 0, dims),
                    // Pixels start a quarter of the range wide; no pixel is narrower than a tenth of a bin.
                    log_scale: (parameters.narrow(1, dims, dims) - 1.4).clamp_min(-7.0),
                })
            }
        }
    }

    /// The bound of images `x` with noise `eps` (Eq. 10 with L = 1).
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` in the encoding of the likelihood, `eps` is `[batch, latent_dim]`.
    pub fn loss(&self, x: Tensor<4>, eps: Tensor<2>) -> VaeLoss {
        let posterior = self.posterior(x.clone());
        let z = posterior.sample(eps);
        let reconstruction = self.pixels(z).log_prob(flatten(x)).mean().neg();
        let kl = posterior.kl_to_standard().mean_dim(0).reshape([self.config.latent_dim]);
        let charged = if self.config.free_bits > 0.0 {
            kl.clone().clamp_min(self.config.free_bits)
        } else {
            kl.clone()
        };
        let objective = reconstruction.clone() + charged.sum() * self.config.kl_weight;
        VaeLoss { objective, reconstruction, kl }
    }

    fn encoding(&self) -> PixelEncoding {
        self.config.likelihood.encoding()
    }
}

impl PixelDistribution {
    fn encoding(self) -> PixelEncoding {
        match self {
            PixelDistribution::Bernoulli => PixelEncoding::Binary,
            PixelDistribution::DiscretizedLogistic => PixelEncoding::EightBit,
        }
    }

    /// Parameters of each value's distribution.
    fn kinds(self) -> usize {
        match self {
            PixelDistribution::Bernoulli => 1,
            PixelDistribution::DiscretizedLogistic => 2,
        }
    }
}

/// p(x|z).
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "made once for a batch and passed by reference")]
pub enum Pixels {
    /// Over {0, 1}.
    Bernoulli(Bernoulli),
    /// Over 256 levels in [-1, 1].
    DiscretizedLogistic(DiscretizedLogistic),
}

impl Pixels {
    fn log_prob(&self, x: Tensor<2>) -> Tensor<1> {
        match self {
            Pixels::Bernoulli(p) => p.log_prob(x),
            Pixels::DiscretizedLogistic(p) => p.log_prob(x),
        }
    }

    /// The expected image in [-1, 1].
    fn mean(&self) -> Tensor<2> {
        match self {
            Pixels::Bernoulli(p) => p.mean() * 2.0 - 1.0,
            Pixels::DiscretizedLogistic(p) => p.mean.clone().clamp(-1.0, 1.0),
        }
    }
}

impl Latents for Vae {
    fn parts(&self) -> Vec<LatentPart> {
        vec![LatentPart { name: "z".into(), size: self.config.latent_dim, prior: Prior::Normal }]
    }

    /// The expected images of latents.
    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        self.pixels(latents).mean()
    }

    fn first_weights(&self) -> Option<Tensor<2>> {
        let first = match &self.decoder {
            Decoder::Mlp(mlp) => mlp.first(),
            Decoder::Conv(conv) => conv.first(),
        };
        Some(first.weight().transpose())
    }
}

impl Features for Vae {
    /// The posterior's means.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.encode(flatten(images))
    }
}

impl Encodes for Vae {
    fn encode(&self, values: Tensor<2>) -> Tensor<2> {
        let ImageShape { height, width, channels } = self.shape;
        let batch = values.dims()[0];
        let images = values.reshape([batch, height, width, channels]);
        let x = match Vae::encoding(self) {
            PixelEncoding::Binary => (images + 1.0) * 0.5,
            PixelEncoding::EightBit => images,
        };
        self.posterior(x).mean
    }
}

impl Bound for Vae {
    fn encoding(&self) -> PixelEncoding {
        Vae::encoding(self)
    }

    fn log_weights(&self, images: Tensor<4>, seed: u64, indices: &[u64], samples: Range<u64>) -> LogWeights {
        let [batch, dim] = [images.dims()[0], self.config.latent_dim];
        let posterior = self.posterior(images.clone());
        let x = flatten(images);
        let kl = to_f64(posterior.kl_to_standard().sum_dim(1).reshape([batch]));
        let mut log_w = vec![Vec::new(); batch];
        let mut reconstruction = Vec::new();
        for draw in samples {
            let noise = |&index| rng::normal(&mut rng::generator(seed, "posterior", index << 24 | draw), dim);
            let eps = TensorData::new(indices.iter().flat_map(noise).collect(), [batch, dim]);
            let z = posterior.sample(Tensor::from_data(eps, &x.device()));
            let log_x = self.pixels(z.clone()).log_prob(x.clone());
            let prior = standard_normal_log_prob(z.clone());
            let weights = to_f64(log_x.clone() + prior - posterior.log_prob(z));
            log_w.iter_mut().zip(weights).for_each(|(all, w)| all.push(w));
            if reconstruction.is_empty() {
                reconstruction = to_f64(log_x);
            }
        }
        LogWeights { log_w, reconstruction, kl }
    }
}

fn to_f64(values: Tensor<1>) -> Vec<f64> {
    values.into_data().iter::<f64>().collect()
}

impl Vae {
    /// One step on given data and noise.
    fn update(&mut self, x: Tensor<4>, eps: Tensor<2>, step: &mut Step<'_>) -> Metrics {
        let loss = self.loss(x, eps);
        step.minimize("adam", self, &loss.objective);

        let (reconstruction, kl) = (loss.reconstruction.inner(), loss.kl.inner());
        let active = kl.clone().greater_elem(DEAD).float().sum();
        Metrics::new()
            .with("bound", reconstruction.clone() + kl.clone().sum())
            .with("reconstruction", reconstruction)
            .with("kl", kl.sum())
            .with("active_dims", active)
    }
}

impl Model for Vae {
    const ABOUT: About = About {
        name: "vae",
        summary: "variational autoencoder: latents to explore, and a bound on log p(x)",
        paper: Paper {
            title: "Auto-encoding variational Bayes",
            authors: "Kingma, Welling",
            year: 2013,
            arxiv: "1312.6114",
        },
        abilities: &[
            Ability::Sample,
            Ability::Decode,
            Ability::Encode,
            Ability::Likelihood,
            Ability::Features,
        ],
        recipes: recipes!("shapes", "mnist", "mnist-conv", "fashion-mnist", "emoji64", "cifar10"),
        train: || TrainConfig {
            batch_size: 128,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        },
        old_keys: &[("hidden", &["vae.hidden_dim"])],
        ..About::BASE
    };

    type Config = VaeConfig;
    type Data = ImageBatches;

    fn needs(config: &VaeConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: config.likelihood.encoding() })
    }

    fn new(config: &VaeConfig, spec: &DataSpec, init: &mut Init) -> Result<Vae> {
        let (shape, kinds) = (spec.images()?, config.likelihood.kinds());
        let (encoder, decoder) = match config.body {
            Body::Mlp => (
                Encoder::Mlp(Mlp::new(shape.dims(), 2 * config.latent_dim, config, init)),
                Decoder::Mlp(Mlp::new(config.latent_dim, kinds * shape.dims(), config, init)),
            ),
            Body::Conv => (
                Encoder::Conv(ConvEncoder::new(config, shape, init)?),
                Decoder::Conv(ConvDecoder::new(config, shape, kinds * shape.channels, init)?),
            ),
        };
        Ok(Vae { encoder, decoder, config: config.clone(), shape })
    }

    fn held_values(config: &VaeConfig, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        let features = match config.body {
            Body::Mlp => 2.0 * config.layers as f64 * config.hidden_dim as f64,
            Body::Conv => (shape.height * shape.width / 4) as f64 * config.width as f64 * 2.0,
        };
        Ok(shape.dims() as f64 + features)
    }

    fn optimizers(_config: &VaeConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        vec![("adam", Optimizer::new(shared))]
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let eps = step.normal("train posterior", [data.batch_size(), self.config.latent_dim]);
        self.update(data.images(step.number), eps, step)
    }

    fn warnings(config: &VaeConfig) -> Vec<WarningRule> {
        let dims = config.latent_dim as f64;
        let what = format!(
            "fewer than a tenth of the {dims} latent dimensions carry more than {DEAD} nats: the decoder ignores \
             them"
        );
        let remedy = "lower vae.kl_weight, set vae.free_bits=0.05, or lower vae.latent_dim";
        vec![WarningRule::new("latents-dead", what, remedy, move |values| {
            values.get("active_dims").is_some_and(|active| *active < 0.1 * dims)
        })]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities {
            latents: Some(self),
            encoder: Some(self),
            likelihood: Some(Likelihood::Bound(self)),
            features: Some(self),
            ..Abilities::default()
        }
    }
}

#[cfg(test)]
mod tests;
