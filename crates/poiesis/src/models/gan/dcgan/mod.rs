//! DCGAN: the first convolutional GAN that trains reliably.
//!
//! Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
//! adversarial networks", 2015, arXiv:1511.06434. Strided convolutions instead of pooling, batch normalisation
//! everywhere but at the generator's output and the discriminator's input, ReLU in the generator with tanh at
//! its end, leaky ReLU in the discriminator, weights from N(0, 0.02²), Adam with β₁ = 0.5.
//!
//! | here | meaning |
//! |---|---|
//! | `z`, latents | code, `[batch, latent_dim]`, uniform on [-1, 1] or N(0, 1) |
//! | `x`, images | data, `[batch, height, width, channels]` in [-1, 1] |
//! | logit | the discriminator's belief: high means real |
//!
//! Differences from the paper: images of any size whose sides halve down to 4 to 7 pixels, and grey ones;
//! samples are drawn with running statistics, so that a sample does not depend on its batch. The variant of the
//! popular ports (4×4 kernels, 64 features, normal latents, no weight decay) is `kernel = 4, width = 64,
//! prior = "normal", weight_decay = 0`.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::activation::{sigmoid, softplus};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::capability::{Capability, Decode, Model, Prior, Sample};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{Batches, DataSpec, ImageShape};
use crate::error::{Error, Result};
use crate::nn::{
    Activation, BatchNorm, Conv2d, ConvTranspose2d, Init, Law, Linear, Mode, Weights, activate,
    num_parameters,
};
use crate::rng;
use crate::train::{Finding, Optimizer, OptimizerConfig, Session, Terms, Values};

/// The slope of the discriminator's leaky ReLU below zero (§3.1).
const LEAK: f32 = 0.2;
/// All weights start from N(0, 0.02²), and so do the deviations of γ from 1 (§4).
const STD: f64 = 0.02;

/// Settings of a [`Dcgan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DcganConfig {
    /// Numbers in a latent (§3.1: 100).
    pub latent_dim: usize,
    /// Law of the latents: `uniform` on [-1, 1] (the paper) or `normal` (popular ports).
    pub prior: PriorConfig,
    /// Sides of the kernels: 5 (the paper's code) or 4 (popular ports, faster).
    pub kernel: usize,
    /// Features next to the image; they double at each halving of the sides (the paper's code: 128).
    pub width: usize,
    /// Step size of Adam for both networks (§4).
    pub learning_rate: f64,
    /// Decay of Adam's first moment (§4: 0.5, for 0.9 oscillates).
    pub beta1: f64,
    /// Decay of Adam's second moment.
    pub beta2: f64,
    /// L2 penalty on both networks (the paper's code: 1e-5).
    pub weight_decay: f64,
    /// Added to variances in batch normalisation.
    pub norm_epsilon: f64,
}

/// The prior as it is written in a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriorConfig {
    /// Uniform on [-1, 1].
    Uniform,
    /// N(0, 1).
    Normal,
}

impl Default for DcganConfig {
    fn default() -> DcganConfig {
        DcganConfig {
            latent_dim: 100,
            prior: PriorConfig::Uniform,
            kernel: 5,
            width: 128,
            learning_rate: 2e-4,
            beta1: 0.5,
            beta2: 0.999,
            weight_decay: 1e-5,
            norm_epsilon: 1e-5,
        }
    }
}

impl DcganConfig {
    /// Makes both networks for images of `shape`, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a kernel other than 4 or 5, a zero width or latent, or an image whose sides
    /// cannot be halved down to 4 to 7 pixels.
    pub fn init(&self, shape: ImageShape, seed: u64, device: &Device) -> Result<Dcgan> {
        if !(4..=5).contains(&self.kernel) {
            return Err(invalid("kernel", self.kernel, "the kernels of a DCGAN have sides of 4 or 5"));
        }
        if self.latent_dim == 0 || self.width == 0 {
            return Err(invalid("latent_dim", self.latent_dim, "latent_dim and width are at least 1"));
        }
        let (halvings, base) = shape.halvings()?;
        let mut init = Init::new(seed, device);
        Ok(Dcgan {
            config: self.clone(),
            generator: Generator::new(self, shape, halvings, base, &mut init),
            discriminator: Discriminator::new(self, shape, halvings, base, &mut init),
        })
    }

    fn adam(&self) -> OptimizerConfig {
        OptimizerConfig {
            weight_decay: self.weight_decay,
            ..OptimizerConfig::adam(self.learning_rate, self.beta1, self.beta2)
        }
    }
}

fn invalid(key: &str, value: usize, reason: &str) -> Error {
    Error::InvalidValue {
        key: format!("dcgan.{key}"),
        value: value.to_string(),
        reason: reason.into(),
        remedy: format!("set another value with --set dcgan.{key}=N"),
    }
}

/// Both networks.
#[derive(Clone, Debug)]
pub struct Dcgan {
    config: DcganConfig,
    /// Latents to images.
    pub generator: Generator,
    /// Images to logits.
    pub discriminator: Discriminator,
}

/// Turns latents into images: a linear layer to a small map of many features, then transposed convolutions that
/// double the sides and halve the features (Figure 1).
#[derive(Module, Debug)]
pub struct Generator {
    project: Linear,
    project_norm: BatchNorm,
    up: Vec<Up>,
    output: ConvTranspose2d,
    #[module(skip)]
    base: [usize; 3],
}

#[derive(Module, Debug)]
struct Up {
    conv: ConvTranspose2d,
    norm: BatchNorm,
}

impl Generator {
    fn new(
        config: &DcganConfig,
        shape: ImageShape,
        halvings: usize,
        base: [usize; 2],
        init: &mut Init,
    ) -> Generator {
        let features = |level: usize| config.width << level;
        let deepest = features(halvings - 1);
        let norm = |channels, init: &mut Init| BatchNorm::new(channels, STD, config.norm_epsilon, init);
        let project = Linear::new(config.latent_dim, base[0] * base[1] * deepest, Law::Normal(STD), init);
        let project_norm = norm(deepest, init);
        let up = (1..halvings).rev().map(|level| {
            let (inputs, outputs) = (features(level), features(level - 1));
            let conv = ConvTranspose2d::new(inputs, outputs, config.kernel, 2, Law::Normal(STD), init);
            Up { conv, norm: norm(outputs, init) }
        });
        let up = up.collect();
        let output =
            ConvTranspose2d::new(config.width, shape.channels, config.kernel, 2, Law::Normal(STD), init);
        Generator { project, project_norm, up, output, base: [base[0], base[1], deepest] }
    }

    /// # Shapes
    ///
    /// `[batch, latent_dim]` to `[batch, height, width, channels]` in [-1, 1].
    pub fn forward(&self, z: Tensor<2>, mode: Mode) -> Tensor<4> {
        let [height, width, channels] = self.base;
        let h = self.project.forward(z, Activation::Identity);
        let h = h.reshape([-1, height as i64, width as i64, channels as i64]);
        let h = self.project_norm.forward(h, Activation::Relu, mode);
        let up = |h, up: &Up| up.norm.forward(up.conv.forward(h), Activation::Relu, mode);
        let h = self.up.iter().fold(h, up);
        activate(self.output.forward(h), Activation::Tanh)
    }
}

/// Tells data from the generator's images: strided convolutions that halve the sides and double the features,
/// then one logit.
#[derive(Module, Debug)]
pub struct Discriminator {
    input: Conv2d,
    down: Vec<Down>,
    output: Linear,
}

#[derive(Module, Debug)]
struct Down {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Discriminator {
    fn new(
        config: &DcganConfig,
        shape: ImageShape,
        halvings: usize,
        base: [usize; 2],
        init: &mut Init,
    ) -> Discriminator {
        let features = |level: usize| config.width << level;
        let law = Law::Normal(STD);
        let input = Conv2d::new(shape.channels, config.width, config.kernel, 2, law, init);
        let down = (1..halvings).map(|level| {
            let (inputs, outputs) = (features(level - 1), features(level));
            let conv = Conv2d::new(inputs, outputs, config.kernel, 2, law, init);
            Down { conv, norm: BatchNorm::new(outputs, STD, config.norm_epsilon, init) }
        });
        let down = down.collect();
        let output = Linear::new(base[0] * base[1] * features(halvings - 1), 1, law, init);
        Discriminator { input, down, output }
    }

    /// # Shapes
    ///
    /// `[batch, height, width, channels]` to the logit of "real", `[batch]`.
    pub fn forward(&self, x: Tensor<4>, mode: Mode) -> Tensor<1> {
        let leaky = Activation::LeakyRelu(LEAK);
        let h = activate(self.input.forward(x), leaky);
        let down = |h, down: &Down| down.norm.forward(down.conv.forward(h), leaky, mode);
        let h = self.down.iter().fold(h, down);
        let [batch, height, width, channels] = h.dims();
        let h = h.reshape([batch, height * width * channels]);
        self.output.forward(h, Activation::Identity).reshape([batch])
    }
}

/// −log D(x) − log(1 − D(G(z))), the discriminator's loss from its logits, averaged over each batch
/// (Goodfellow et al. 2014, Eq. 1 with the sign turned), in nats: 2 log 2 at chance.
pub fn discriminator_loss(real: Tensor<1>, fake: Tensor<1>) -> Tensor<1> {
    softplus(real.neg(), 1.0).mean() + softplus(fake, 1.0).mean()
}

/// −log D(G(z)), the generator's non-saturating loss (ibid., §3), averaged over the batch, in nats.
pub fn generator_loss(fake: Tensor<1>) -> Tensor<1> {
    softplus(fake.neg(), 1.0).mean()
}

impl Sample for Dcgan {
    fn sample(&self, seed: u64, indices: Range<u64>) -> Tensor<4> {
        self.decode(self.draw_latents(seed, indices))
    }
}

impl Decode for Dcgan {
    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn draw_latents(&self, seed: u64, indices: Range<u64>) -> Tensor<2> {
        let count = (indices.end - indices.start) as usize;
        let dim = self.config.latent_dim;
        let draw = |index| draw_latent(self.config.prior, dim, &mut rng::generator(seed, "latent", index));
        let values = indices.flat_map(draw).collect();
        Tensor::from_data(TensorData::new(values, [count, dim]), &self.generator.devices()[0])
    }

    fn prior(&self) -> Prior {
        match self.config.prior {
            PriorConfig::Uniform => Prior::Uniform,
            PriorConfig::Normal => Prior::Normal,
        }
    }

    fn decode(&self, latents: Tensor<2>) -> Tensor<4> {
        self.generator.forward(latents, Mode::Use)
    }
}

fn draw_latent(prior: PriorConfig, len: usize, generator: &mut rng::Generator) -> Vec<f32> {
    match prior {
        PriorConfig::Normal => rng::normal(generator, len),
        PriorConfig::Uniform => rng::uniform(generator, len).iter().map(|u| 2.0 * u - 1.0).collect(),
    }
}

impl Model for Dcgan {
    fn sampler(&self) -> Option<&dyn Sample> {
        Some(self)
    }

    fn decoder(&self) -> Option<&dyn Decode> {
        Some(self)
    }
}

/// A DCGAN in training.
struct Training {
    model: Dcgan,
    generator_adam: Optimizer,
    discriminator_adam: Optimizer,
    batches: Batches,
    seed: u64,
    device: Device,
}

impl Training {
    /// One step of the discriminator, then one of the generator, on given data and noise (Algorithm 1 with
    /// k = 1; both steps see the same images of the generator).
    fn learn(&mut self, real: Tensor<4>, z: Tensor<2>, schedule: f64) -> Terms {
        let Dcgan { generator, discriminator, .. } = &mut self.model;
        let fake = generator.forward(z, Mode::Train);

        let real_logits = discriminator.forward(real, Mode::Train);
        let fake_logits = discriminator.forward(fake.clone().inner().autodiff(), Mode::Train);
        let d_loss = discriminator_loss(real_logits.clone(), fake_logits.clone());
        let mut gradients = d_loss.backward();
        *discriminator = self.discriminator_adam.step(discriminator.clone(), &mut gradients, schedule);

        // The generator learns through a discriminator that stands still, which spares its gradients.
        let judge = discriminator.clone().no_grad();
        let g_loss = generator_loss(judge.forward(fake, Mode::Train));
        let mut gradients = g_loss.backward();
        *generator = self.generator_adam.step(generator.clone(), &mut gradients, schedule);

        let belief = |logits: Tensor<1>| sigmoid(logits.inner()).mean();
        Terms::new()
            .with("d_loss", d_loss.inner())
            .with("g_loss", g_loss.inner())
            .with("d_real", belief(real_logits))
            .with("d_fake", belief(fake_logits))
    }
}

impl Session for Training {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        let config = &self.model.config;
        let (count, dim) = (self.batches.batch_size(), config.latent_dim);
        let z = draw_latent(config.prior, count * dim, &mut rng::generator(self.seed, "train latents", step));
        let z = Tensor::from_data(TensorData::new(z, [count, dim]), &self.device);
        self.learn(self.batches.images(step), z, schedule)
    }

    fn weights(&self) -> Weights {
        Weights::of("generator", &self.model.generator)
            .with(Weights::of("discriminator", &self.model.discriminator))
    }

    fn optimizer_state(&self) -> Weights {
        self.generator_adam.state("generator").with(self.discriminator_adam.state("discriminator"))
    }

    fn restore(&mut self, weights: &Weights, optimizer_state: &Weights) -> Result<(), String> {
        let Dcgan { generator, discriminator, .. } = &mut self.model;
        *generator = weights.put_into("generator", generator.clone())?;
        *discriminator = weights.put_into("discriminator", discriminator.clone())?;
        self.generator_adam.restore("generator", optimizer_state);
        self.discriminator_adam.restore("discriminator", optimizer_state);
        Ok(())
    }

    fn findings(&self, recent: &[Values]) -> Vec<Finding> {
        let certain = |values: &Values| {
            values.get("d_real").is_some_and(|p| *p > 0.995)
                && values.get("d_fake").is_some_and(|p| *p < 0.005)
        };
        if recent.len() < 20 || !recent.iter().rev().take(20).all(certain) {
            return Vec::new();
        }
        vec![Finding {
            name: "discriminator-saturated",
            what:
                "the discriminator has told real from generated images without a doubt for 20 reports: the \
                   generator learns little from it"
                    .into(),
            remedy: "lower dcgan.learning_rate, or give more data".into(),
        }]
    }
}

/// DCGAN in the catalogue.
pub struct DcganEntry;

impl Entry for DcganEntry {
    fn name(&self) -> &'static str {
        "dcgan"
    }

    fn summary(&self) -> &'static str {
        "deep convolutional GAN: sharp images in one pass"
    }

    fn paper(&self) -> Paper {
        Paper {
            title: "Unsupervised representation learning with deep convolutional generative adversarial networks",
            authors: "Radford, Metz, Chintala",
            year: 2015,
            arxiv: "1511.06434",
        }
    }

    fn domains(&self) -> &'static [Domain] {
        &[Domain::Images]
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sample, Capability::Decode]
    }

    fn recipes(&self) -> &'static [crate::catalogue::Recipe] {
        recipes!("shapes", "mnist", "fashion-mnist", "emoji64", "cifar10")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig { batch_size: 128, sample_schedule: SampleSchedule::Linear, ..TrainConfig::default() }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&DcganConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: DcganConfig = start.config.model()?;
        let (seed, batches, device) = (start.config.seed, start.batches()?, start.device);
        Ok(Box::new(Training {
            model: config.init(start.spec.images()?, seed, &device)?,
            generator_adam: Optimizer::new(config.adam()),
            discriminator_adam: Optimizer::new(config.adam()),
            batches,
            seed,
            device,
        }))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: DcganConfig = config.model()?;
        let mut model = config.init(spec.images()?, 0, device)?;
        let misfit = |reason| Error::WeightsMismatch { model: "dcgan".into(), reason };
        model.generator = weights.put_into("generator", model.generator).map_err(misfit)?;
        model.discriminator = weights.put_into("discriminator", model.discriminator).map_err(misfit)?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let shape = spec.images()?;
        let config: DcganConfig = config.model()?;
        let model = config.init(shape, 0, &Device::flex())?;
        // Each network holds width · sides² / 4 numbers next to the image and half as many at each level below:
        // less than twice that, before and after its normalisation. The discriminator sees two batches.
        let next_to_image = config.width * shape.height * shape.width / 4;
        Ok(Footprint {
            parameters: vec![
                ("generator", num_parameters(&model.generator)),
                ("discriminator", num_parameters(&model.discriminator)),
            ],
            activations: 2 * 2 * 3 * next_to_image + 6 * shape.dims(),
        })
    }
}

#[cfg(test)]
mod tests;
