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

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::capability::{
    Bound, Capability, Decode, Encode, Likelihood, LogWeights, Model, Prior, Sample, Scale,
};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{Batches, DataSpec, ImageShape};
use crate::dist::{Bernoulli, DiagonalNormal, DiscretizedLogistic, standard_normal_log_prob};
use crate::error::{Error, Result};
use crate::nn::{Activation, Conv2d, ConvTranspose2d, Init, Law, Linear, Weights, activate, num_parameters};
use crate::rng;
use crate::train::{Finding, Optimizer, OptimizerConfig, Session, Terms, Values};

/// A latent dimension is dead when its KL divergence, averaged over a batch, stays below this many nats.
const DEAD: f64 = 0.01;

/// Settings of a [`Vae`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaeConfig {
    /// Kind of both networks.
    pub body: Body,
    /// Numbers in a latent.
    pub latent_dim: usize,
    /// `mlp`: features of a hidden layer (§5: 500).
    pub hidden: usize,
    /// `mlp`: hidden layers of each network.
    pub layers: usize,
    /// `conv`: features next to the image; they double at each halving of the sides.
    pub width: usize,
    /// `conv`: residual blocks at each size.
    pub blocks: usize,
    /// Distribution of an image given its latents.
    pub likelihood: PixelLaw,
    /// Weight β of the KL term in training; 1 trains the bound itself.
    pub kl_weight: f64,
    /// Nats of KL that each latent dimension has for free in training, averaged over the batch.
    pub free_bits: f64,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// Norm that gradients are scaled down to; 0 leaves them alone.
    pub clip_norm: f64,
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
pub enum PixelLaw {
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
            hidden: 500,
            layers: 2,
            width: 32,
            blocks: 1,
            likelihood: PixelLaw::DiscretizedLogistic,
            kl_weight: 1.0,
            free_bits: 0.0,
            learning_rate: 1e-3,
            clip_norm: 0.0,
        }
    }
}

impl VaeConfig {
    /// Makes both networks for images of `shape`, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a size of zero, or an image whose sides a convolutional body cannot halve.
    pub fn init(&self, shape: ImageShape, seed: u64, device: &Device) -> Result<Vae> {
        let sizes = [
            ("latent_dim", self.latent_dim),
            ("hidden", self.hidden),
            ("layers", self.layers),
            ("width", self.width),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(Error::InvalidValue {
                key: format!("vae.{key}"),
                value: "0".into(),
                reason: "a network needs at least one".into(),
                remedy: format!("set a positive number with --set vae.{key}=N"),
            });
        }
        let mut init = Init::new(seed, device);
        let parameters = match self.likelihood {
            PixelLaw::Bernoulli => 1,
            PixelLaw::DiscretizedLogistic => 2,
        };
        let (encoder, decoder) = match self.body {
            Body::Mlp => (
                Encoder::Mlp(Mlp::new(shape.dims(), 2 * self.latent_dim, self, &mut init)),
                Decoder::Mlp(Mlp::new(self.latent_dim, parameters * shape.dims(), self, &mut init)),
            ),
            Body::Conv => (
                Encoder::Conv(ConvEncoder::new(self, shape, &mut init)?),
                Decoder::Conv(ConvDecoder::new(self, shape, parameters * shape.channels, &mut init)?),
            ),
        };
        Ok(Vae { config: self.clone(), shape, encoder, decoder })
    }

    fn adam(&self) -> OptimizerConfig {
        OptimizerConfig { clip_norm: self.clip_norm, ..OptimizerConfig::adam(self.learning_rate, 0.9, 0.999) }
    }
}

/// Both networks.
#[derive(Clone, Debug)]
pub struct Vae {
    config: VaeConfig,
    shape: ImageShape,
    /// Images to the posterior's mean and log variance.
    pub encoder: Encoder,
    /// Latents to the parameters of the pixels' distribution.
    pub decoder: Decoder,
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
            PixelLaw::Bernoulli => Pixels::Bernoulli(Bernoulli { logits: parameters }),
            PixelLaw::DiscretizedLogistic => {
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
    /// `x` is `[batch, height, width, channels]` on the scale of the likelihood, `eps` is `[batch, latent_dim]`.
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

    fn scale(&self) -> Scale {
        match self.config.likelihood {
            PixelLaw::Bernoulli => Scale::Binary,
            PixelLaw::DiscretizedLogistic => Scale::EightBit,
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

fn flatten(x: Tensor<4>) -> Tensor<2> {
    let [batch, height, width, channels] = x.dims();
    x.reshape([batch, height * width * channels])
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

/// Fully connected layers with tanh between (§C.1, §C.2).
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Vec<Linear>,
    output: Linear,
}

impl Mlp {
    fn new(inputs: usize, outputs: usize, config: &VaeConfig, init: &mut Init) -> Mlp {
        let hidden = (0..config.layers)
            .map(|layer| {
                let inputs = if layer == 0 { inputs } else { config.hidden };
                Linear::with_bias(inputs, config.hidden, Law::Glorot, init)
            })
            .collect();
        Mlp { hidden, output: Linear::with_bias(config.hidden, outputs, Law::Glorot, init) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let h = self.hidden.iter().fold(x, |h, layer| layer.forward(h, Activation::Tanh));
        self.output.forward(h, Activation::Identity)
    }
}

/// Strided convolutions with residual blocks between, then a linear layer to the posterior's parameters.
#[derive(Module, Debug)]
pub struct ConvEncoder {
    levels: Vec<EncoderLevel>,
    output: Linear,
}

#[derive(Module, Debug)]
struct EncoderLevel {
    down: Conv2d,
    blocks: Vec<Residual>,
}

impl ConvEncoder {
    fn new(config: &VaeConfig, shape: ImageShape, init: &mut Init) -> Result<ConvEncoder> {
        let (halvings, base) = shape.halvings()?;
        let features = |level: usize| config.width << level;
        let levels = (0..halvings).map(|level| {
            let inputs = if level == 0 { shape.channels } else { features(level - 1) };
            let down = Conv2d::new(inputs, features(level), 4, 2, Law::FanIn, init).with_bias(init);
            let blocks = (0..config.blocks).map(|_| Residual::new(features(level), init)).collect();
            EncoderLevel { down, blocks }
        });
        let levels = levels.collect();
        let flat = base[0] * base[1] * features(halvings - 1);
        let output = Linear::with_bias(flat, 2 * config.latent_dim, Law::FanIn, init);
        Ok(ConvEncoder { levels, output })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let level = |h: Tensor<4>, level: &EncoderLevel| {
            level.blocks.iter().fold(level.down.forward(h), |h, block| block.forward(h))
        };
        // The image goes in as it is; every later level starts from an activation.
        let (first, rest) = self.levels.split_first().expect("an image is halved at least once");
        let h = rest.iter().fold(level(x, first), |h, next| level(elu(h), next));
        self.output.forward(flatten(elu(h)), Activation::Identity)
    }
}

/// A linear layer to a small map, then residual blocks with transposed convolutions between.
#[derive(Module, Debug)]
pub struct ConvDecoder {
    input: Linear,
    levels: Vec<DecoderLevel>,
    #[module(skip)]
    base: [usize; 3],
    #[module(skip)]
    channels: usize,
}

#[derive(Module, Debug)]
struct DecoderLevel {
    blocks: Vec<Residual>,
    up: ConvTranspose2d,
}

impl ConvDecoder {
    fn new(config: &VaeConfig, shape: ImageShape, outputs: usize, init: &mut Init) -> Result<ConvDecoder> {
        let (halvings, base) = shape.halvings()?;
        let features = |level: usize| config.width << level;
        let deepest = features(halvings - 1);
        let flat = base[0] * base[1] * deepest;
        let input = Linear::with_bias(config.latent_dim, flat, Law::FanIn, init);
        let levels = (0..halvings).rev().map(|level| {
            let blocks = (0..config.blocks).map(|_| Residual::new(features(level), init)).collect();
            let outputs = if level == 0 { outputs } else { features(level - 1) };
            let up = ConvTranspose2d::new(features(level), outputs, 4, 2, Law::FanIn, init).with_bias(init);
            DecoderLevel { blocks, up }
        });
        let levels = levels.collect();
        Ok(ConvDecoder { input, levels, base: [base[0], base[1], deepest], channels: shape.channels })
    }

    /// The parameters of the pixels' distribution, `[batch, kinds · dims]`: all of the first kind, then all of
    /// the second, each row by row as an image is.
    fn forward(&self, z: Tensor<2>) -> Tensor<2> {
        let [height, width, features] = self.base;
        let h = self.input.forward(z, Activation::Identity);
        let h = h.reshape([-1, height as i64, width as i64, features as i64]);
        let level = |h: Tensor<4>, level: &DecoderLevel| {
            level.up.forward(elu(level.blocks.iter().fold(h, |h, block| block.forward(h))))
        };
        let maps = self.levels.iter().fold(h, level);
        let kinds = maps.dims()[3] / self.channels;
        let kind = |k: usize| flatten(maps.clone().narrow(3, k * self.channels, self.channels));
        if kinds == 1 { flatten(maps) } else { Tensor::cat((0..kinds).map(kind).collect(), 1) }
    }
}

/// h + conv(elu(conv(elu(h)))) (He et al. 2016, with the activations before the convolutions).
#[derive(Module, Debug)]
struct Residual {
    first: Conv2d,
    second: Conv2d,
}

impl Residual {
    fn new(features: usize, init: &mut Init) -> Residual {
        let mut conv = || Conv2d::new(features, features, 3, 1, Law::FanIn, init).with_bias(init);
        Residual { first: conv(), second: conv() }
    }

    fn forward(&self, h: Tensor<4>) -> Tensor<4> {
        h.clone() + self.second.forward(elu(self.first.forward(elu(h))))
    }
}

fn elu(h: Tensor<4>) -> Tensor<4> {
    activate(h, Activation::Elu)
}

impl Sample for Vae {
    /// The expected images of latents drawn from the prior.
    fn sample(&self, seed: u64, indices: Range<u64>) -> Tensor<4> {
        self.decode(self.draw_latents(seed, indices))
    }
}

impl Decode for Vae {
    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn draw_latents(&self, seed: u64, indices: Range<u64>) -> Tensor<2> {
        let (count, dim) = ((indices.end - indices.start) as usize, self.config.latent_dim);
        let draw = |index| rng::normal(&mut rng::generator(seed, "latent", index), dim);
        let values = indices.flat_map(draw).collect();
        Tensor::from_data(TensorData::new(values, [count, dim]), &self.decoder.devices()[0])
    }

    fn prior(&self) -> Prior {
        Prior::Normal
    }

    fn decode(&self, latents: Tensor<2>) -> Tensor<4> {
        let ImageShape { height, width, channels } = self.shape;
        let batch = latents.dims()[0];
        self.pixels(latents).mean().reshape([batch, height, width, channels])
    }
}

impl Encode for Vae {
    fn encode(&self, images: Tensor<4>) -> Tensor<2> {
        let x = match self.scale() {
            Scale::Binary => (images + 1.0) * 0.5,
            Scale::EightBit => images,
        };
        self.posterior(x).mean
    }
}

impl Bound for Vae {
    fn scale(&self) -> Scale {
        Vae::scale(self)
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

impl Model for Vae {
    fn sampler(&self) -> Option<&dyn Sample> {
        Some(self)
    }

    fn decoder(&self) -> Option<&dyn Decode> {
        Some(self)
    }

    fn encoder(&self) -> Option<&dyn Encode> {
        Some(self)
    }

    fn likelihood(&self) -> Option<Likelihood<'_>> {
        Some(Likelihood::Bound(self))
    }
}

/// Both networks as one module, for one optimizer.
#[derive(Module, Debug)]
struct Networks {
    encoder: Encoder,
    decoder: Decoder,
}

/// A VAE in training.
struct Training {
    model: Vae,
    adam: Optimizer,
    batches: Batches,
    seed: u64,
    device: Device,
}

impl Training {
    /// One step on given data and noise.
    fn learn(&mut self, x: Tensor<4>, eps: Tensor<2>, schedule: f64) -> Terms {
        let loss = self.model.loss(x, eps);
        let mut gradients = loss.objective.backward();
        let Vae { encoder, decoder, .. } = &self.model;
        let networks = Networks { encoder: encoder.clone(), decoder: decoder.clone() };
        let Networks { encoder, decoder } = self.adam.step(networks, &mut gradients, schedule);
        (self.model.encoder, self.model.decoder) = (encoder, decoder);

        let (reconstruction, kl) = (loss.reconstruction.inner(), loss.kl.inner());
        let active = kl.clone().greater_elem(DEAD).float().sum();
        Terms::new()
            .with("bound", reconstruction.clone() + kl.clone().sum())
            .with("reconstruction", reconstruction)
            .with("kl", kl.sum())
            .with("active_dims", active)
    }
}

impl Session for Training {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        let [count, dim] = [self.batches.batch_size(), self.model.config.latent_dim];
        let eps = rng::normal(&mut rng::generator(self.seed, "train posterior", step), count * dim);
        let eps = Tensor::from_data(TensorData::new(eps, [count, dim]), &self.device);
        let x = match self.model.scale() {
            Scale::Binary => self.batches.binarized(step),
            Scale::EightBit => self.batches.images(step),
        };
        self.learn(x, eps, schedule)
    }

    fn weights(&self) -> Weights {
        Weights::of("encoder", &self.model.encoder).with(Weights::of("decoder", &self.model.decoder))
    }

    fn optimizer_state(&self) -> Weights {
        self.adam.state("adam")
    }

    fn restore(&mut self, weights: &Weights, optimizer_state: &Weights) -> Result<(), String> {
        self.model.encoder = weights.put_into("encoder", self.model.encoder.clone())?;
        self.model.decoder = weights.put_into("decoder", self.model.decoder.clone())?;
        self.adam.restore("adam", optimizer_state);
        Ok(())
    }

    fn findings(&self, recent: &[Values]) -> Vec<Finding> {
        let dims = self.model.config.latent_dim as f64;
        let dead = |values: &Values| values.get("active_dims").is_some_and(|active| *active < 0.1 * dims);
        if recent.len() < 20 || !recent.iter().rev().take(20).all(dead) {
            return Vec::new();
        }
        vec![Finding {
            name: "latents-dead",
            what: format!(
                "fewer than a tenth of the {dims} latent dimensions carry more than {DEAD} nats: the decoder \
                 ignores them"
            ),
            remedy: "lower vae.kl_weight, set vae.free_bits=0.05, or lower vae.latent_dim".into(),
        }]
    }
}

/// The VAE in the catalogue.
pub struct VaeEntry;

impl Entry for VaeEntry {
    fn name(&self) -> &'static str {
        "vae"
    }

    fn summary(&self) -> &'static str {
        "variational autoencoder: latents to explore, and a bound on log p(x)"
    }

    fn paper(&self) -> Paper {
        Paper {
            title: "Auto-encoding variational Bayes",
            authors: "Kingma, Welling",
            year: 2013,
            arxiv: "1312.6114",
        }
    }

    fn domains(&self) -> &'static [Domain] {
        &[Domain::Images]
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sample, Capability::Decode, Capability::Encode, Capability::Likelihood]
    }

    fn recipes(&self) -> &'static [crate::catalogue::Recipe] {
        recipes!("shapes", "mnist", "mnist-conv", "fashion-mnist", "emoji64", "cifar10")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig {
            batch_size: 128,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&VaeConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: VaeConfig = start.config.model()?;
        let (seed, batches, device) = (start.config.seed, start.batches()?, start.device);
        let model = config.init(start.spec.images()?, seed, &device)?;
        Ok(Box::new(Training { model, adam: Optimizer::new(config.adam()), batches, seed, device }))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: VaeConfig = config.model()?;
        let mut model = config.init(spec.images()?, 0, device)?;
        let misfit = |reason| Error::WeightsMismatch { model: "vae".into(), reason };
        model.encoder = weights.put_into("encoder", model.encoder).map_err(misfit)?;
        model.decoder = weights.put_into("decoder", model.decoder).map_err(misfit)?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let shape = spec.images()?;
        let config: VaeConfig = config.model()?;
        let model = config.init(shape, 0, &Device::flex())?;
        let activations = match config.body {
            Body::Mlp => 4 * config.hidden * config.layers + 6 * shape.dims(),
            // A level holds its input and, for each block, four maps; levels halve, so two of the first.
            Body::Conv => {
                let next_to_image = config.width * shape.height * shape.width / 4;
                2 * 2 * (2 + 4 * config.blocks) * next_to_image + 12 * shape.dims()
            }
        };
        Ok(Footprint {
            parameters: vec![
                ("encoder", num_parameters(&model.encoder)),
                ("decoder", num_parameters(&model.decoder)),
            ],
            activations: 2 * activations,
        })
    }
}

#[cfg(test)]
mod tests;
