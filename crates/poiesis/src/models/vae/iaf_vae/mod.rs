//! The ResNet VAE with inverse autoregressive flow.
//!
//! Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling, "Improving variational inference with inverse autoregressive flow",
//! 2016, arXiv:1606.04934. A posterior begins as a normal distribution with independent values, and invertible steps make it more
//! flexible (Algorithm 1). In a step of inverse autoregressive flow, z′ = σ z + (1 − σ) m, m and σ of each value depend on the values
//! before it, so that all are computed at once, and the log-determinant is the sum of log σ. The order is reversed from step to step.
//!
//! Latents are a vector at the top, maps in each block, or both. A bottom-up pass goes from the image to the top. A top-down pass
//! draws one stochastic layer after another: its prior p(z_l given the layers above), and its posterior, which adds up what both
//! passes say (§5, Figure 3). log p(x) ≥ E_q [log p(x|z) + log p(z) − log q(z|x)], estimated with one draw.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data, binarised ones in {0, 1}, others in [-1, 1] |
//! | `z` | z | latents of a stochastic layer, `[batch, height, width, maps]`; a vector is one pixel of as many maps |
//! | `noise`, `eps` | ε | N(0, 1), of the shape of each stochastic layer, the top first |
//! | `context` | h | features that the steps of a flow read |
//! | `standardized` | | z in units of its prior, (z − μ) / σ: what encoding gives and decoding takes |
//! | `free_bits` | λ | nats that each map has for free (§C.8) |
//! | bound | −ELBO | nats for each image, lower is better |
//!
//! Differences from the paper's code: sides change in convolutions of their own, not within residual blocks; what a block
//! says of its maps is read behind it, not in it; the masked networks of a
//! flow begin with a layer for the context, and get the sum of both passes; what they return is not multiplied by 0.1, but starts with
//! that deviation; the first and the last level of a pixel take the tails of their logistic distribution; diagonal and planar
//! posteriors (Rezende and Mohamed 2015, arXiv:1505.05770) are trained on one draw of the KL term too, so that all three differ in
//! nothing else.

mod abilities;
mod bottom_up;
mod posterior;
mod top_down;

use burn::module::Module;
use burn::tensor::Tensor;
use poiesis_kernels::normal;
use serde::{Deserialize, Serialize};

use super::pixels::{PixelDistribution, likelihood_for};
use crate::abilities::{Abilities, Ability, Likelihood};
use crate::config::{Choice, Faults, SampleSchedule, Settings, TrainConfig};
use crate::data::{DataFacts, DataSpec, ImageBatches, ImageNeeds, ImageShape};
use crate::dist::Pixels;
use crate::error::{Error, Result};
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, draws, recipes};
use crate::nn::{Activation, FirstValues, Init, SquareKernel, activate, flatten};
use crate::optim::{Optimizer, OptimizerConfig, OptimizerKind};

pub use bottom_up::BottomUp;
use top_down::Draws;
pub use top_down::TopDown;

/// A map is dead when its KL divergence, averaged over a batch, stays below this many nats.
const DEAD: f64 = 0.01;

/// Between the image and the first features.
const IMAGE: SquareKernel = SquareKernel { size: 5, stride: 2 };
/// Between two levels.
const HALVE: SquareKernel = SquareKernel { size: 4, stride: 2 };
/// Within a block.
const AROUND: SquareKernel = SquareKernel { size: 3, stride: 1 };

/// Settings of an [`IafVae`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IafVaeConfig {
    /// Posterior of every stochastic layer: `diagonal`, `planar` or `iaf`.
    pub posterior: Posterior,
    /// Values of the vector of latents at the top; 0 for none (paper, MNIST: 32).
    pub latent_dim: usize,
    /// Stochastic maps of each block; 0 for none (paper's code, CIFAR-10: 32).
    pub maps: usize,
    /// Sizes of the features: each has half the sides of the one before, beginning with half those of the image (paper's code: 2).
    pub levels: usize,
    /// Residual blocks at each level, in each pass (paper's code: 10).
    pub blocks: usize,
    /// Features of a block (paper's code, CIFAR-10: 160, MNIST: 64).
    pub width: usize,
    /// With `latent_dim`: features of the fully connected layers beside the vector.
    pub hidden_dim: usize,
    /// Factor of what a residual block adds (paper's code: 0.1).
    pub residual_scale: f64,
    /// `planar`, `iaf`: steps of the flow of a stochastic layer (paper, MNIST: 2 to 8).
    pub flow_steps: usize,
    /// `iaf`: hidden layers of the autoregressive network of a step (paper, CIFAR-10: 1 or 2).
    pub flow_layers: usize,
    /// `iaf`: features of such a layer (paper, MNIST: 320 or 1920; paper's code, CIFAR-10: 160).
    pub flow_width: usize,
    /// `iaf`: added to s, so that a step begins by keeping z (§4: 1 or 2).
    pub forget_bias: f64,
    /// Nats of KL that each map has for free in training, summed over its pixels and averaged over the batch (paper's code: 0.25).
    pub free_bits: f64,
    /// Distribution of an image given its latents: `bernoulli` or `discretized_logistic`.
    pub likelihood: PixelDistribution,
}

/// The posterior of a stochastic layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Posterior {
    /// Normal with independent values.
    Diagonal,
    /// Planar steps over the maps of each pixel (Rezende and Mohamed 2015).
    Planar,
    /// Steps of inverse autoregressive flow.
    Iaf,
}

impl Default for IafVaeConfig {
    fn default() -> IafVaeConfig {
        IafVaeConfig {
            posterior: Posterior::Iaf,
            latent_dim: 0,
            maps: 8,
            levels: 2,
            blocks: 2,
            width: 32,
            hidden_dim: 450,
            residual_scale: 0.1,
            flow_steps: 1,
            flow_layers: 1,
            flow_width: 32,
            forget_bias: 2.0,
            free_bits: 0.25,
            likelihood: PixelDistribution::DiscretizedLogistic,
        }
    }
}

impl Settings for IafVaeConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["width", "hidden_dim", "flow_width"]);
        faults.depths(&["blocks", "flow_steps", "flow_layers"]);
        faults.within(&["levels"], 1..=16);
        if self.latent_dim == 0 && self.maps == 0 {
            faults.add("maps", 0, "there would be no latents", "give `maps` or `latent_dim`");
        }
        let sizes = [("residual_scale", self.residual_scale), ("free_bits", self.free_bits)];
        for (key, size) in sizes.into_iter().filter(|(_, size)| !(size.is_finite() && *size >= 0.0)) {
            faults.add(key, size, "it must be finite and cannot be negative", "give 0 or a positive number");
        }
        if !self.forget_bias.is_finite() {
            faults.add("forget_bias", self.forget_bias, "it must be finite", "give 1 or 2");
        }
    }
}

impl IafVaeConfig {
    /// Whether a posterior has steps that read a context.
    fn has_flow(&self) -> bool {
        self.posterior != Posterior::Diagonal
    }

    /// Height, width and features at a level.
    fn features(&self, shape: ImageShape, level: usize) -> [usize; 3] {
        [shape.height >> (level + 1), shape.width >> (level + 1), self.width]
    }

    /// The same at the last level.
    fn deepest(&self, shape: ImageShape) -> [usize; 3] {
        self.features(shape, self.levels - 1)
    }

    /// Height, width and maps of each stochastic layer, the top first.
    fn latent_shapes(&self, shape: ImageShape) -> Vec<[usize; 3]> {
        let vector = (self.latent_dim > 0).then_some([1, 1, self.latent_dim]);
        let maps = (0..self.levels).rev().filter(|_| self.maps > 0).flat_map(|level| {
            let [height, width, _] = self.features(shape, level);
            std::iter::repeat_n([height, width, self.maps], self.blocks)
        });
        vector.into_iter().chain(maps).collect()
    }
}

/// Both passes.
#[derive(Module, Debug)]
pub struct IafVae {
    /// From an image to what it says of the latents.
    pub bottom_up: BottomUp,
    /// From the latents to the distribution of the image.
    pub top_down: TopDown,
    #[module(skip)]
    config: IafVaeConfig,
    #[module(skip)]
    shape: ImageShape,
}

/// The terms of the bound, each averaged over the batch, in nats.
#[derive(Clone, Debug)]
pub struct IafVaeLoss {
    /// What is minimised: the bound, but for `free_bits`. `[1]`.
    pub objective: Tensor<1>,
    /// −log p(x|z), `[1]`.
    pub reconstruction: Tensor<1>,
    /// log q(z|x) − log p(z) of each map or value of the vector, summed over pixels, the top first.
    pub kl: Tensor<1>,
}

impl IafVae {
    /// The bound of images `x` with `noise` for each stochastic layer (Eq. 2, estimated by Algorithm 1).
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` in the encoding of the likelihood; `noise` has the shape of each stochastic layer, the
    /// top first.
    pub fn loss(&self, x: Tensor<4>, noise: &[Tensor<4>]) -> IafVaeLoss {
        let evidence = self.bottom_up.forward(x.clone(), &mut None);
        let mut found = None;
        let mut draws = Draws::new(noise, Some(evidence), &mut found);
        let pixels = self.top_down.forward(&mut draws);
        let reconstruction = pixels.log_prob(flatten(x)).mean().neg();
        let of_maps = draws.drawn.iter().map(|layer| {
            let [batch, height, width, maps] = layer.kl.dims();
            let kl = layer.kl.clone().reshape([batch * height * width, maps]).sum_dim(0);
            kl.reshape([maps]) / batch as f64
        });
        let kl = Tensor::cat(of_maps.collect(), 0);
        let charged = if self.config.free_bits > 0.0 {
            kl.clone().clamp_min(self.config.free_bits)
        } else {
            kl.clone()
        };
        let objective = reconstruction.clone() + charged.sum();
        IafVaeLoss { objective, reconstruction, kl }
    }

    /// p(x|z) for latents drawn from the prior with `noise` for each stochastic layer, the top first.
    pub fn generate(&self, noise: &[Tensor<4>]) -> Pixels {
        self.top_down.forward(&mut Draws::new(noise, None, &mut None))
    }

    /// Gives gains and biases their first values, so that over the images `x` features have mean 0 and the deviation that their layer
    /// begins with (Salimans and Kingma 2016, arXiv:1602.07868, §3).
    pub fn set_first_values(&mut self, x: Tensor<4>, noise: &[Tensor<4>]) {
        let mut found = Some(FirstValues::default());
        let evidence = self.bottom_up.forward(x, &mut found);
        self.top_down.forward(&mut Draws::new(noise, Some(evidence), &mut found));
        if let Some(mut found) = found {
            *self = self.clone().map(&mut found);
        }
    }

    /// The shape of the noise of each stochastic layer.
    fn noise_shapes(&self, batch: usize) -> impl Iterator<Item = [usize; 4]> {
        let shapes = self.config.latent_shapes(self.shape);
        shapes.into_iter().map(move |[height, width, maps]| [batch, height, width, maps])
    }

    /// One step on given data and noise.
    fn update(&mut self, x: Tensor<4>, noise: &[Tensor<4>], step: &mut Step<'_>) -> Metrics {
        let loss = self.loss(x, noise);
        step.minimize("adamax", self, &loss.objective);

        let (reconstruction, kl) = (loss.reconstruction.inner(), loss.kl.inner());
        let active = kl.clone().greater_elem(DEAD).float().sum();
        Metrics::new()
            .with("bound", reconstruction.clone() + kl.clone().sum())
            .with("reconstruction", reconstruction)
            .with("kl", kl.sum())
            .with("active_maps", active)
    }
}

/// ELU (§5).
fn elu(h: Tensor<4>) -> Tensor<4> {
    activate(h, Activation::Elu)
}

impl Model for IafVae {
    const ABOUT: About = About {
        name: "iaf-vae",
        summary: "ResNet VAE with several stochastic layers, and inverse autoregressive flow for their posterior",
        paper: Paper {
            title: "Improving variational inference with inverse autoregressive flow",
            authors: "Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling",
            year: 2016,
            arxiv: "1606.04934",
        },
        abilities: &[
            Ability::Sample,
            Ability::Decode,
            Ability::Encode,
            Ability::Likelihood,
            Ability::Compress,
            Ability::Features,
        ],
        recipes: recipes!("shapes", "mnist", "mnist-diagonal", "mnist-planar", "cifar10"),
        train: || TrainConfig {
            batch_size: 64,
            ema_decay: 0.999,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        },
        // The paper's code.
        optimizer: || OptimizerConfig {
            kind: OptimizerKind::AdaMax,
            learning_rate: 0.002,
            ..OptimizerConfig::default()
        },
        ..About::BASE
    };

    type Config = IafVaeConfig;
    type Data = ImageBatches;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        vec![
            Choice::new("iaf-vae.width", if facts.side() > 40 { 16 } else { 24 }, facts.sized()),
            likelihood_for("iaf-vae", facts),
            Choice::new("train.batch_size", 32, "many steps in little time"),
        ]
    }

    fn needs(config: &IafVaeConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: config.likelihood.encoding(), labelled: false })
    }

    fn new(config: &IafVaeConfig, spec: &DataSpec, init: &mut Init) -> Result<IafVae> {
        let shape = spec.images()?;
        let unit = 1 << config.levels;
        if !shape.height.is_multiple_of(unit) || !shape.width.is_multiple_of(unit) {
            let reason =
                format!("it halves the sides of images of {}×{} so often", shape.height, shape.width);
            let remedy =
                "give fewer levels, or images whose sides can be halved more often, such as 28, 32 or 64";
            return Err(Error::invalid_value("iaf-vae.levels", &config.levels.to_string(), &reason, remedy));
        }
        let (bottom_up, top_down) = (BottomUp::new(config, shape, init), TopDown::new(config, shape, init));
        Ok(IafVae { bottom_up, top_down, config: config.clone(), shape })
    }

    fn held_values(config: &IafVaeConfig, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        // Of each block, the features of two layers in each pass.
        let pixels = (shape.height * shape.width) as f64 / 4.0;
        Ok(shape.dims() as f64 + 4.0 * pixels * config.blocks as f64 * config.width as f64)
    }

    fn optimizers(_config: &IafVaeConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        vec![("adamax", Optimizer::new(shared))]
    }

    fn initialize(&mut self, data: &mut ImageBatches) {
        let x = data.images(0);
        let draw = draws(0, "first values", 0, normal, &x.device());
        let noise: Vec<Tensor<4>> = self.noise_shapes(data.batch_size()).map(draw).collect();
        self.set_first_values(x, &noise);
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let draw = step.draws("train posterior", normal);
        let noise: Vec<Tensor<4>> = self.noise_shapes(data.batch_size()).map(draw).collect();
        self.update(data.images(step.number), &noise, step)
    }

    fn warnings(config: &IafVaeConfig) -> Vec<WarningRule> {
        let maps = (config.latent_dim + config.maps * config.levels * config.blocks) as f64;
        let what =
            format!("fewer than a tenth of the {maps} maps carry more than {DEAD} nats: they are ignored");
        let remedy = "set iaf-vae.free_bits=0.25, or lower iaf-vae.maps or iaf-vae.latent_dim";
        vec![WarningRule::new("latents-dead", what, remedy, move |values| {
            values.get("active_maps").is_some_and(|active| *active < 0.1 * maps)
        })]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities {
            latents: Some(self),
            encoder: Some(self),
            likelihood: Some(Likelihood::Bound(self)),
            bits_back: Some(self),
            features: Some(self),
            ..Abilities::default()
        }
    }
}

#[cfg(test)]
mod tests;
