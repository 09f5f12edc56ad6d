//! DCGAN: the first convolutional GAN that trains reliably.
//!
//! Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
//! adversarial networks", 2015, arXiv:1511.06434. Strided convolutions instead of pooling, batch normalisation
//! everywhere except at the generator's output and the discriminator's input, ReLU in the generator with tanh at
//! its end, leaky ReLU in the discriminator, weights from N(0, 0.02²), Adam with β₁ = 0.5.
//!
//! | here | meaning |
//! |---|---|
//! | `z`, latents | code, `[batch, latent_dim]`, uniform on [-1, 1] or N(0, 1) |
//! | `x`, images | data, `[batch, height, width, channels]` in [-1, 1] |
//! | logit | the discriminator's output: high means real |
//!
//! Differences from the paper: images of any size whose height and width halve down to 4 to 7 pixels, and grey ones;
//! samples are drawn with running statistics, so that a sample does not depend on its batch. The variant of the
//! popular ports (4×4 kernels, 64 features, normal latents, no weight decay) is `kernel = 4, width = 64,
//! prior = "normal"` with `optimizer.weight_decay = 0`.

mod features;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softplus};
use serde::{Deserialize, Serialize};

use crate::abilities::{Abilities, Ability, LatentPart, Latents, Prior, draw_latent};
use crate::config::{Faults, Settings, TrainConfig};
use crate::data::{DataSpec, ImageBatches, ImageNeeds, ImageShape, PixelEncoding};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::{
    Activation, BatchNorm, Conv2d, ConvTranspose2d, Init, Initializer, Linear, Mode, SquareKernel, activate,
    flatten,
};
use crate::optim::{Optimizer, OptimizerConfig};

/// The slope of the discriminator's leaky ReLU below zero (§3.1).
const LEAK: f32 = 0.2;
/// All weights start from N(0, 0.02²), and so do the deviations of γ from 1 (§4).
const STD: f64 = 0.02;
const WEIGHTS: Initializer = Initializer::Normal(STD);

/// Settings of a [`Dcgan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DcganConfig {
    /// Values in a latent (§3.1: 100).
    pub latent_dim: usize,
    /// Distribution of the latents: `uniform` on [-1, 1] (the paper) or `normal` (popular ports).
    pub prior: Prior,
    /// Height and width of the kernels: 5 (the paper's code) or 4 (popular ports, faster).
    pub kernel: usize,
    /// Features next to the image; they double at each halving of the sides (the paper's code: 128).
    pub width: usize,
    /// Added to variances in batch normalisation.
    pub norm_epsilon: f64,
}

impl Default for DcganConfig {
    fn default() -> DcganConfig {
        DcganConfig { latent_dim: 100, prior: Prior::Uniform, kernel: 5, width: 128, norm_epsilon: 1e-5 }
    }
}

impl DcganConfig {
    /// The kernels of all convolutions.
    fn kernel(&self) -> SquareKernel {
        SquareKernel { size: self.kernel, stride: 2 }
    }

    /// Features at a size that is `level` halvings smaller than the one next to the image.
    fn features(&self, level: usize) -> usize {
        self.width << level
    }
}

impl Settings for DcganConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["latent_dim", "width"]);
        let reason = "the kernels of a DCGAN are 4×4 or 5×5";
        faults.numbers(&["kernel"], |kernel| (4..=5).contains(&kernel), reason, "give 4 or 5");
    }
}

/// Both networks.
#[derive(Module, Debug)]
pub struct Dcgan {
    /// Latents to images.
    pub generator: Generator,
    /// Images to logits.
    pub discriminator: Discriminator,
    #[module(skip)]
    config: DcganConfig,
}

/// Turns latents into images: a linear layer to a small map of many features, then transposed convolutions that
/// double the sides and halve the features (Figure 1).
#[derive(Module, Debug)]
pub struct Generator {
    project: Linear,
    project_norm: BatchNorm,
    up: Vec<Normed<ConvTranspose2d>>,
    output: ConvTranspose2d,
    #[module(skip)]
    base: [usize; 3],
}

/// A convolution and the normalisation behind it.
#[derive(Module, Debug)]
struct Normed<C: Module + ModuleDisplay> {
    conv: C,
    norm: BatchNorm,
}

impl Generator {
    fn new(config: &DcganConfig, shape: ImageShape, init: &mut Init) -> Result<Generator> {
        let (halvings, base) = shape.halvings()?;
        let deepest = config.features(halvings - 1);
        let norm = |channels, init: &mut Init| BatchNorm::new(channels, STD, config.norm_epsilon, init);
        let project = Linear::new(config.latent_dim, base[0] * base[1] * deepest, WEIGHTS, init);
        let project_norm = norm(deepest, init);
        let up = (1..halvings).rev().map(|level| {
            let (inputs, outputs) = (config.features(level), config.features(level - 1));
            let conv = ConvTranspose2d::new([inputs, outputs], config.kernel(), WEIGHTS, init);
            Normed { conv, norm: norm(outputs, init) }
        });
        let up = up.collect();
        let output = ConvTranspose2d::new([config.width, shape.channels], config.kernel(), WEIGHTS, init);
        Ok(Generator { project, project_norm, up, output, base: [base[0], base[1], deepest] })
    }

    /// # Shapes
    ///
    /// `[batch, latent_dim]` to `[batch, height, width, channels]` in [-1, 1].
    pub fn forward(&self, z: Tensor<2>, mode: Mode) -> Tensor<4> {
        let [height, width, channels] = self.base;
        let h = self.project.forward(z, Activation::Identity);
        let h = h.reshape([-1, height as i64, width as i64, channels as i64]);
        let h = self.project_norm.forward(h, Activation::Relu, mode);
        let up =
            |h, up: &Normed<ConvTranspose2d>| up.norm.forward(up.conv.forward(h), Activation::Relu, mode);
        let h = self.up.iter().fold(h, up);
        activate(self.output.forward(h), Activation::Tanh)
    }
}

/// Tells data from the generator's images: strided convolutions that halve the sides and double the features,
/// then one logit.
#[derive(Module, Debug)]
pub struct Discriminator {
    input: Conv2d,
    down: Vec<Normed<Conv2d>>,
    output: Linear,
}

impl Discriminator {
    fn new(config: &DcganConfig, shape: ImageShape, init: &mut Init) -> Result<Discriminator> {
        let (halvings, base) = shape.halvings()?;
        let input = Conv2d::new([shape.channels, config.width], config.kernel(), WEIGHTS, init);
        let down = (1..halvings).map(|level| {
            let (inputs, outputs) = (config.features(level - 1), config.features(level));
            let conv = Conv2d::new([inputs, outputs], config.kernel(), WEIGHTS, init);
            Normed { conv, norm: BatchNorm::new(outputs, STD, config.norm_epsilon, init) }
        });
        let down = down.collect();
        let output = Linear::new(base[0] * base[1] * config.features(halvings - 1), 1, WEIGHTS, init);
        Ok(Discriminator { input, down, output })
    }

    /// # Shapes
    ///
    /// `[batch, height, width, channels]` to the logit of "real", `[batch]`.
    pub fn forward(&self, x: Tensor<4>, mode: Mode) -> Tensor<1> {
        let leaky = Activation::LeakyRelu(LEAK);
        let h = activate(self.input.forward(x), leaky);
        let down = |h, down: &Normed<Conv2d>| down.norm.forward(down.conv.forward(h), leaky, mode);
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

impl Dcgan {
    fn latent(&self) -> [LatentPart; 1] {
        [LatentPart { name: "z".into(), size: self.config.latent_dim, prior: self.config.prior }]
    }

    /// One step of the discriminator, then one of the generator, on given data and noise (Algorithm 1 with
    /// k = 1; both steps use the same images of the generator).
    fn update(&mut self, real: Tensor<4>, z: Tensor<2>, step: &mut Step<'_>) -> Metrics {
        let Dcgan { generator, discriminator, .. } = self;
        let fake = generator.forward(z, Mode::Train);

        let real_logits = discriminator.forward(real, Mode::Train);
        let fake_logits = discriminator.forward(fake.clone().inner().autodiff(), Mode::Train);
        let d_loss = discriminator_loss(real_logits.clone(), fake_logits.clone());
        step.minimize("discriminator", discriminator, &d_loss);

        // A frozen discriminator spares the gradients of its weights.
        let frozen = discriminator.clone().no_grad();
        let g_loss = generator_loss(frozen.forward(fake, Mode::Train));
        step.minimize("generator", generator, &g_loss);

        let prob_real = |logits: Tensor<1>| sigmoid(logits.inner()).mean();
        Metrics::new()
            .with("d_loss", d_loss)
            .with("g_loss", g_loss)
            .with("d_real", prob_real(real_logits))
            .with("d_fake", prob_real(fake_logits))
    }
}

impl Model for Dcgan {
    const ABOUT: About = About {
        name: "dcgan",
        summary: "deep convolutional GAN: sharp images in one pass",
        paper: Paper {
            title: "Unsupervised representation learning with deep convolutional generative adversarial networks",
            authors: "Radford, Metz, Chintala",
            year: 2015,
            arxiv: "1511.06434",
        },
        abilities: &[Ability::Sample, Ability::Decode, Ability::Features],
        recipes: recipes!("shapes", "mnist", "fashion-mnist", "emoji64", "cifar10"),
        train: || TrainConfig { batch_size: 128, ..TrainConfig::default() },
        // §4, and the L2 penalty of the paper's code.
        optimizer: || OptimizerConfig {
            learning_rate: 2e-4,
            betas: [0.5, 0.999],
            weight_decay: 1e-5,
            ..OptimizerConfig::default()
        },
        ..About::BASE
    };

    type Config = DcganConfig;
    type Data = ImageBatches;

    fn needs(_config: &DcganConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: PixelEncoding::EightBit })
    }

    fn new(config: &DcganConfig, spec: &DataSpec, init: &mut Init) -> Result<Dcgan> {
        let shape = spec.images()?;
        let generator = Generator::new(config, shape, init)?;
        let discriminator = Discriminator::new(config, shape, init)?;
        Ok(Dcgan { generator, discriminator, config: config.clone() })
    }

    fn held_values(config: &DcganConfig, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        // The features next to the image, before and after their activation.
        Ok((shape.height * shape.width / 4) as f64 * config.width as f64 * 2.0)
    }

    fn optimizers(_config: &DcganConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        vec![("generator", Optimizer::new(shared)), ("discriminator", Optimizer::new(shared))]
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let (count, dim) = (data.batch_size(), self.config.latent_dim);
        let z = draw_latent(&self.latent(), &mut step.generator("train latents"), count);
        let z = step.tensor(z, [count, dim]);
        self.update(data.images(step.number), z, step)
    }

    fn warnings(_config: &DcganConfig) -> Vec<WarningRule> {
        let what = "the discriminator has told real from generated images with certainty for 20 reports: the \
                    generator learns little from it";
        let remedy = "lower optimizer.learning_rate, or give more data";
        vec![WarningRule::new("discriminator-saturated", what, remedy, |values| {
            let at = |name| values.get(name).copied().unwrap_or(0.5);
            at("d_real") > 0.995 && at("d_fake") < 0.005
        })]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { latents: Some(self), features: Some(self), ..Abilities::default() }
    }
}

impl Latents for Dcgan {
    fn parts(&self) -> Vec<LatentPart> {
        self.latent().to_vec()
    }

    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        flatten(self.generator.forward(latents, Mode::Eval))
    }

    fn first_weights(&self) -> Option<Tensor<2>> {
        let Generator { project, project_norm, .. } = &self.generator;
        Some(project.scaled_rows(project_norm.scale()))
    }
}

#[cfg(test)]
mod tests;
