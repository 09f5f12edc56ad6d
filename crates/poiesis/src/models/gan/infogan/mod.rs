//! InfoGAN: a GAN whose latents have a part, the codes, that can be read off the images, and so comes to mean something.
//!
//! Chen, Duan, Houthooft, Schulman, Sutskever and Abbeel, "InfoGAN: interpretable representation learning by information maximizing
//! generative adversarial nets", 2016, arXiv:1606.03657.
//!
//! | here | meaning |
//! |---|---|
//! | `z`, latents | `[batch, latent_dim]`: noise, then one-hot categorical codes, then continuous codes |
//! | `x`, images | `[batch, height, width, channels]` in [-1, 1] |
//! | logit | the discriminator's output: high means real |
//! | Q(c\|x) | the distribution of the codes that the discriminator's features give |
//! | information | the bound L_I = E[log Q(c\|x)] + H(c) ≤ I(c; x) of the codes (Eq. 5), in nats |
//!
//! Differences from the paper: images in [-1, 1], made by tanh, also for digits; samples are drawn, and codes of images read, with
//! running statistics of batch normalisation; all layers of the generator but the last are normalised, also for colour.

mod network;

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use serde::{Deserialize, Serialize};
use std::f64::consts::{LN_2, TAU};

pub use network::{Codes, Discriminator, Generator, Outputs};

use crate::abilities::{Abilities, Ability, Encoder, Features, LatentPart, Latents, Prior, draw_latent};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{DataFacts, DataSpec, ImageBatches, ImageNeeds, ImageShape, PixelEncoding};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::models::gan::dcgan::{discriminator_loss, generator_loss};
use crate::models::gan::discriminator_saturated;
use crate::nn::{Init, Mode, flatten};
use crate::optim::{Optimizer, OptimizerConfig};

/// Settings of an [`InfoGan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfoGanConfig {
    /// Values of noise in a latent.
    pub noise_dim: usize,
    /// Categorical codes, each with its number of categories.
    pub categorical: Vec<usize>,
    /// Number of continuous codes, uniform on [-1, 1].
    pub continuous: usize,
    /// λ of the categorical codes' information in the loss (Eq. 6).
    pub categorical_weight: f64,
    /// λ of the continuous codes' information.
    pub continuous_weight: f64,
    /// Whether the deviation of Q for continuous codes is learned, as in the paper; its code fixes it at 1.
    pub learned_deviation: bool,
    /// Features of the generator from the smallest map to the one before the image; the sides double after each.
    pub generator_widths: Vec<usize>,
    /// Features of the discriminator; each halves the sides.
    pub discriminator_widths: Vec<usize>,
    /// Units of the fully connected layers next to the smallest maps; 0 for none.
    pub hidden_dim: usize,
    /// Units of the layer with which Q reads the discriminator's features.
    pub q_dim: usize,
    /// Slope of the leaky ReLU below zero (the paper: 0.1; its code: 0.01).
    pub leak: f64,
    /// Learning rate of the generator; `optimizer.learning_rate` is that of the discriminator and Q.
    pub generator_learning_rate: f64,
}

impl Default for InfoGanConfig {
    /// The networks and codes of the paper for MNIST.
    fn default() -> InfoGanConfig {
        InfoGanConfig {
            noise_dim: 62,
            categorical: vec![10],
            continuous: 2,
            categorical_weight: 1.0,
            continuous_weight: 0.1,
            learned_deviation: true,
            generator_widths: vec![128, 64],
            discriminator_widths: vec![64, 128],
            hidden_dim: 1024,
            q_dim: 128,
            leak: 0.1,
            generator_learning_rate: 1e-3,
        }
    }
}

impl InfoGanConfig {
    /// The parts of a latent, in order.
    fn parts(&self) -> Vec<LatentPart> {
        let part = |name: String, size, prior| LatentPart { name, size, prior };
        let noise = (self.noise_dim > 0).then(|| part("z".into(), self.noise_dim, Prior::Uniform));
        let categorical = self
            .categorical
            .iter()
            .enumerate()
            .map(|(i, &size)| part(format!("c{}", i + 1), size, Prior::Categorical));
        let first = self.categorical.len() + 1;
        let continuous = (0..self.continuous).map(|i| part(format!("c{}", first + i), 1, Prior::Uniform));
        noise.into_iter().chain(categorical).chain(continuous).collect()
    }

    /// Values in a latent.
    fn latent_dim(&self) -> usize {
        self.noise_dim + self.categorical.iter().sum::<usize>() + self.continuous
    }

    /// H(c) of the categorical codes, in nats.
    fn categorical_entropy(&self) -> f64 {
        self.categorical.iter().map(|&size| (size as f64).ln()).sum()
    }

    /// H(c) of the continuous codes, in nats.
    fn continuous_entropy(&self) -> f64 {
        self.continuous as f64 * LN_2
    }
}

impl Settings for InfoGanConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["q_dim"]);
        faults.positive_each(&["generator_widths", "discriminator_widths", "categorical"]);
        if self.latent_dim() == 0 {
            faults.add("noise_dim", 0, "a latent has at least one value", "give noise or codes");
        }
        for (key, values) in [
            ("generator_widths", &self.generator_widths),
            ("discriminator_widths", &self.discriminator_widths),
        ] {
            if values.is_empty() {
                faults.add(key, "[]", "the network needs a layer", "give at least one width");
            }
        }
        for (key, value) in [
            ("categorical_weight", self.categorical_weight),
            ("continuous_weight", self.continuous_weight),
            ("generator_learning_rate", self.generator_learning_rate),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                faults.add(
                    key,
                    value,
                    "it must be finite and cannot be negative",
                    "give 0 or a positive number",
                );
            }
        }
        if !(0.0..1.0).contains(&self.leak) {
            faults.add("leak", self.leak, "it is a slope below that of positive values", "give 0 to 0.3");
        }
    }
}

/// Both networks.
#[derive(Module, Debug)]
pub struct InfoGan {
    /// Latents to images.
    pub generator: Generator,
    /// Images to logits and to the distribution of the codes.
    pub discriminator: Discriminator,
    #[module(skip)]
    config: InfoGanConfig,
    #[module(skip)]
    shape: ImageShape,
}

/// E[log Q(c|x)] + H(c) of the categorical and of the continuous codes in nats (Eq. 5), from the codes that images were made with;
/// each `[1]`. That of categorical codes is at most their entropy.
pub struct Information {
    /// Of the categorical codes; 0 without any.
    pub categorical: Tensor<1>,
    /// Of the continuous codes; 0 without any.
    pub continuous: Tensor<1>,
}

impl InfoGan {
    /// The bound on the information that images have about the codes in `z`.
    fn information(&self, codes: &Codes, z: &Tensor<2>) -> Information {
        let batch = z.dims()[0];
        let zero = || Tensor::zeros([1], &z.device());
        let mut at = self.config.noise_dim;
        let mut categorical = zero() + self.config.categorical_entropy();
        for logits in &codes.categorical {
            let size = logits.dims()[1];
            let code = z.clone().narrow(1, at, size);
            categorical = categorical + (log_softmax(logits.clone(), 1) * code).sum() / batch as f64;
            at += size;
        }
        let continuous = match &codes.continuous {
            Some((mean, log_deviation)) => {
                let code = z.clone().narrow(1, at, self.config.continuous);
                let scaled = (code - mean.clone()) * log_deviation.clone().neg().exp();
                let log_prob = (scaled.square() * 0.5 + log_deviation.clone() + 0.5 * TAU.ln()).neg();
                log_prob.sum() / batch as f64 + self.config.continuous_entropy()
            }
            None => zero(),
        };
        Information { categorical, continuous }
    }

    /// λ L_I (Eq. 6).
    fn weighted(&self, information: &Information) -> Tensor<1> {
        information.categorical.clone() * self.config.categorical_weight
            + information.continuous.clone() * self.config.continuous_weight
    }

    /// One step of the discriminator with Q, then one of the generator, on given data and latents; both add the information to what
    /// they want (Eq. 6).
    fn update(&mut self, real: Tensor<4>, z: &Tensor<2>, step: &mut Step<'_>) -> Metrics {
        let fake = self.generator.forward(z.clone(), Mode::Train);
        let of_real = self.discriminator.forward(real, Mode::Train);
        let of_fake = self.discriminator.forward(fake.clone().detach(), Mode::Train);
        let d_loss = discriminator_loss(of_real.logits.clone(), of_fake.logits.clone());
        let loss = d_loss.clone() - self.weighted(&self.information(&of_fake.codes, z));
        step.minimize("discriminator", &mut self.discriminator, &loss);

        // A frozen discriminator spares the gradients of its weights.
        let of_fake_now = self.discriminator.clone().no_grad().forward(fake, Mode::Train);
        let information = self.information(&of_fake_now.codes, z);
        let g_loss = generator_loss(of_fake_now.logits);
        let loss = g_loss.clone() - self.weighted(&information);
        step.minimize("generator", &mut self.generator, &loss);

        let prob_real = |logits: Tensor<1>| burn::tensor::activation::sigmoid(logits.inner()).mean();
        let mut metrics = Metrics::new().with("d_loss", d_loss).with("g_loss", g_loss);
        if !self.config.categorical.is_empty() {
            metrics = metrics.with("information", information.categorical);
        }
        if self.config.continuous > 0 {
            metrics = metrics.with("continuous_information", information.continuous);
        }
        metrics.with("d_real", prob_real(of_real.logits)).with("d_fake", prob_real(of_fake.logits))
    }
}

impl Model for InfoGan {
    const ABOUT: About = About {
        name: "infogan",
        summary: "InfoGAN: finds categories and factors of images without labels",
        paper: Paper {
            title: "InfoGAN: interpretable representation learning by information maximizing generative adversarial nets",
            authors: "Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel",
            year: 2016,
            arxiv: "1606.03657",
        },
        abilities: &[Ability::Sample, Ability::Decode, Ability::Encode, Ability::Features],
        recipes: recipes!("mnist", "shapes", "colour"),
        train: || TrainConfig { batch_size: 128, ..TrainConfig::default() },
        optimizer: || OptimizerConfig {
            learning_rate: 2e-4,
            betas: [0.5, 0.999],
            ..OptimizerConfig::default()
        },
        ..About::BASE
    };

    type Config = InfoGanConfig;
    type Data = ImageBatches;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        // The sides halve as often as there are widths, down to 4 to 8 pixels.
        let sides = facts.spec.images().map_or([0, 0], |shape| [shape.height, shape.width]);
        let halves =
            |level: &usize| sides.iter().all(|side| side >> level > 8 && (side >> level).is_multiple_of(2));
        let halvings = (0..5).take_while(halves).count().max(1);
        let widths: Vec<i64> = (0..halvings).map(|level| 32 << level).collect();
        let generator: Vec<i64> = widths.iter().rev().copied().collect();
        vec![
            Choice::new("infogan.generator_widths", generator, facts.sized()),
            Choice::new("infogan.discriminator_widths", widths, facts.sized()),
            Choice::new("infogan.hidden_dim", 256, "a small network takes more steps"),
            Choice::new("train.batch_size", 64, "many steps in little time"),
        ]
    }

    fn needs(_config: &InfoGanConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: PixelEncoding::EightBit, labelled: false })
    }

    fn new(config: &InfoGanConfig, spec: &DataSpec, init: &mut Init) -> Result<InfoGan> {
        let shape = spec.images()?;
        let generator = Generator::new(config, shape, init)?;
        let discriminator = Discriminator::new(config, shape, init)?;
        Ok(InfoGan { generator, discriminator, config: config.clone(), shape })
    }

    fn optimizers(config: &InfoGanConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        let of_generator =
            OptimizerConfig { learning_rate: config.generator_learning_rate, ..shared.clone() };
        vec![("generator", Optimizer::new(&of_generator)), ("discriminator", Optimizer::new(shared))]
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let shape = [data.batch_size(), self.config.latent_dim()];
        let z = draw_latent(&self.config.parts(), &mut step.generator("train latents"), shape[0]);
        let z = step.tensor(z, shape);
        self.update(data.images(step.number), &z, step)
    }

    fn warnings(_config: &InfoGanConfig) -> Vec<WarningRule> {
        vec![discriminator_saturated()]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { latents: Some(self), encoder: Some(self), features: Some(self), ..Abilities::default() }
    }
}

impl Latents for InfoGan {
    fn parts(&self) -> Vec<LatentPart> {
        self.config.parts()
    }

    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        flatten(self.generator.forward(latents, Mode::Eval))
    }

    fn first_weights(&self) -> Option<Tensor<2>> {
        Some(self.generator.first_weights())
    }
}

impl Features for InfoGan {
    /// Those that the discriminator and Q share.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.discriminator.features(images, Mode::Eval)
    }
}

impl Encoder for InfoGan {
    /// The codes: probabilities of the categories and means of the continuous codes. The noise, which Q does not read, is 0.
    fn encode(&self, values: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        let batch = values.dims()[0];
        let ImageShape { height, width, channels } = self.shape;
        let images = values.reshape([batch, height, width, channels]);
        let noise = Tensor::zeros([batch, self.config.noise_dim], &images.device());
        let codes = self.discriminator.forward(images, Mode::Eval).codes;
        let mut parts = vec![noise];
        parts.extend(codes.categorical.into_iter().map(|logits| log_softmax(logits, 1).exp()));
        parts.extend(codes.continuous.map(|(mean, _)| mean));
        let parts = parts.into_iter().filter(|part| part.dims()[1] > 0).collect();
        Tensor::cat(parts, 1)
    }
}

#[cfg(test)]
mod tests;
