//! Glow: an invertible network with 1×1 convolutions between its couplings, and an exact density of dequantised images.
//!
//! Kingma and Dhariwal, "Glow: Generative flow with invertible 1×1 convolutions", 2018, arXiv:1807.03039. A step of the flow
//! normalises the channels, rotates them by a learned matrix, and scales and shifts half of them by what a network makes of the other
//! half (Table 1). Log p(x) = log N(z) + log |det ∂z/∂x| is trained as it is.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data in [-1, 1], 256 levels |
//! | `y` | | dequantised images in [0, 1] |
//! | `z`, latents | ε | N(0, 1), the parts that the scales leave, one after another |
//! | `depth` | K | steps of the flow at each scale, which the paper calls a level |
//! | `log_det` | | log of the absolute determinant of ∂z/∂y, nats for each image |
//! | `log_scale`, `shift` | log s, t | what a coupling does |
//! | bound | | −log P(x) or more, by dequantisation: nats for each image |
//!
//! Each scale squeezes the image, takes its steps, and leaves half of the channels as latents (§2, figure 2b); their mean and deviation
//! are learned functions of the other half, and `z` is what is left when both are taken away. So a temperature, which multiplies
//! `z`, is that of all scales (§6). There are as many scales as bring the shorter side to 4 to 7 pixels: 3 for 32×32, as in the paper.
//!
//! Differences from the paper and its code: the permutation of the 1×1 convolution reverses the channels, and its diagonal is positive;
//! last layers start at zero and have no factor of their own; means and deviations of latents are learned as −μ/σ and −log σ; all 8 bits
//! of pixels; learned dequantisation on demand; far smaller networks by default.

mod one_by_one;
mod scale;

use std::f64::consts::LN_2;
use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::dequantize::{Dequantization, Dequantizer, middle, to_images};
use super::{in_parts, named_parts};
use crate::abilities::{Abilities, Ability, Bound, Encoder, LatentPart, Latents, Likelihood, LogWeights};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{DataFacts, DataSpec, ImageBatches, ImageNeeds, ImageShape, PixelEncoding};
use crate::dist::standard_normal_log_prob;
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, draws, recipes};
use crate::nn::{Init, flatten};
use scale::Scale;

/// Settings of a [`Glow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlowConfig {
    /// Steps of the flow at each scale (K; the paper: 32 for CIFAR-10).
    pub depth: usize,
    /// Features of the hidden layers in the network of each coupling (the paper: 512).
    pub width: usize,
    /// Noise that is added to the levels of pixels, `uniform` or `variational`.
    pub dequantization: Dequantization,
    /// Features in the networks of variational noise.
    pub dequantization_width: usize,
}

impl Default for GlowConfig {
    fn default() -> GlowConfig {
        GlowConfig { depth: 8, width: 64, dequantization: Dequantization::Uniform, dequantization_width: 32 }
    }
}

impl Settings for GlowConfig {
    fn check(&self, faults: &mut Faults) {
        faults.depths(&["depth"]);
        faults.positive(&["width", "dequantization_width"]);
    }
}

/// The network with what it was made for.
#[derive(Module, Debug)]
pub struct Glow {
    /// From the largest to the smallest.
    scales: Vec<Scale>,
    dequantizer: Dequantizer,
    #[module(skip)]
    shape: ImageShape,
}

impl Glow {
    /// z of y, and log |det ∂z/∂y| of each image in nats, `[batch]`.
    ///
    /// # Shapes
    ///
    /// `y` is `[batch, height, width, channels]` in [0, 1], z is `[batch, values]`.
    pub fn forward(&self, y: Tensor<4>) -> (Tensor<2>, Tensor<1>) {
        let mut log_det = Tensor::zeros([y.dims()[0]], &y.device());
        let (mut z, mut h) = (Vec::new(), Some(y - 0.5));
        for scale in &self.scales {
            let (left, passed, of_scale) = scale.forward(h.expect("only the last scale passes nothing on"));
            log_det = log_det + of_scale;
            z.push(flatten(left));
            h = passed;
        }
        (Tensor::cat(z, 1), log_det)
    }

    /// y of z.
    ///
    /// # Shapes
    ///
    /// As [`forward`](Glow::forward).
    pub fn inverse(&self, z: Tensor<2>) -> Tensor<4> {
        let mut h = None;
        for (scale, left) in self.scales.iter().zip(in_parts(z, &self.left())).rev() {
            h = Some(scale.inverse(left, h));
        }
        h.expect("there is a scale") + 0.5
    }

    /// Height, width and channels of the latents that each scale leaves.
    fn left(&self) -> Vec<[usize; 3]> {
        let ImageShape { mut height, mut width, mut channels } = self.shape;
        let left = |number: usize| {
            // Squeezed, and half of it.
            (height, width, channels) = (height / 2, width / 2, 2 * channels);
            let all = number + 1 == self.scales.len();
            [height, width, if all { 2 * channels } else { channels }]
        };
        (0..self.scales.len()).map(left).collect()
    }

    /// log p(y) in nats, `[batch]` (Eq. 2 to 4).
    ///
    /// # Shapes
    ///
    /// As [`forward`](Glow::forward).
    pub fn log_prob(&self, y: Tensor<4>) -> Tensor<1> {
        let (z, log_det) = self.forward(y);
        standard_normal_log_prob(z) + log_det
    }

    /// The bound on −log P of images, dequantised with `noise`, in nats: what is minimised. `[1]`.
    ///
    /// # Shapes
    ///
    /// `images` and `noise` are `[batch, height, width, channels]`, images in [-1, 1].
    pub fn loss(&self, images: &Tensor<4>, noise: Tensor<4>) -> Tensor<1> {
        self.dequantizer.log_weight(images, noise, |y| self.log_prob(y)).mean().neg()
    }

    /// One step on given data and noise.
    fn update(&mut self, images: &Tensor<4>, noise: Tensor<4>, step: &mut Step<'_>) -> Metrics {
        let loss = self.loss(images, noise);
        step.minimize("optimizer", self, &loss);
        let nats = loss.inner();
        let bits = nats.clone() / (self.shape.dims() as f64 * LN_2);
        Metrics::new().with("bound", nats).with("bits_per_dim", bits)
    }

    /// Gives all layers their first values, from a batch.
    fn set_first_values(&mut self, images: &Tensor<4>, noise: Tensor<4>) {
        self.dequantizer.set_first_values(images.clone(), noise.clone());
        let mut h = Some(self.dequantizer.forward(images, noise).0 - 0.5);
        for scale in &mut self.scales {
            h = h.and_then(|h| scale.set_first_values(h));
        }
    }
}

impl Latents for Glow {
    fn parts(&self) -> Vec<LatentPart> {
        named_parts(&self.left())
    }

    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        flatten(to_images(self.inverse(latents)))
    }
}

impl Encoder for Glow {
    /// The latents of images in the middle of their levels.
    fn encode(&self, values: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        let ImageShape { height, width, channels } = self.shape;
        let batch = values.dims()[0];
        self.forward(middle(values.reshape([batch, height, width, channels]))).0
    }
}

impl Bound for Glow {
    fn encoding(&self) -> PixelEncoding {
        PixelEncoding::EightBit
    }

    fn log_weights(
        &self,
        images: Tensor<4>,
        _classes: &[Option<u32>],
        seed: u64,
        indices: &[u64],
        samples: Range<u64>,
    ) -> LogWeights {
        self.dequantizer.log_weights(&images, seed, indices, samples, |y| self.log_prob(y))
    }
}

impl Model for Glow {
    const ABOUT: About = About {
        name: "glow",
        summary: "Glow: invertible 1×1 convolutions and couplings, exact density of dequantised images",
        paper: Paper {
            title: "Glow: Generative flow with invertible 1×1 convolutions",
            authors: "Kingma, Dhariwal",
            year: 2018,
            arxiv: "1807.03039",
        },
        abilities: &[Ability::Sample, Ability::Decode, Ability::Encode, Ability::Likelihood],
        recipes: recipes!("shapes", "mnist", "cifar10"),
        train: || TrainConfig { batch_size: 64, ..TrainConfig::default() },
        ..About::BASE
    };

    type Config = GlowConfig;
    type Data = ImageBatches;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        vec![
            Choice::new("glow.depth", if facts.side() > 40 { 4 } else { 6 }, facts.sized()),
            Choice::new("glow.width", 32, "a small network takes more steps"),
            Choice::new("train.batch_size", 32, "many steps in little time"),
        ]
    }

    fn needs(_config: &GlowConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: PixelEncoding::EightBit, labelled: false })
    }

    fn new(config: &GlowConfig, spec: &DataSpec, init: &mut Init) -> Result<Glow> {
        let shape = spec.images()?;
        let (halvings, _) = shape.halvings()?;
        let scale = |number: usize| {
            let last = number + 1 == halvings;
            Scale::new(last, shape.channels << number, config.depth, config.width, init)
        };
        let scales = (0..halvings).map(scale).collect();
        let GlowConfig { dequantization, dequantization_width, .. } = *config;
        let dequantizer = Dequantizer::new(dequantization, shape.channels, dequantization_width, init);
        Ok(Glow { scales, dequantizer, shape })
    }

    fn held_values(config: &GlowConfig, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        // Two hidden layers of each step at the first scale.
        Ok((shape.height * shape.width / 4) as f64 * 2.0 * config.depth as f64 * config.width as f64)
    }

    fn initialize(&mut self, data: &mut ImageBatches) {
        let images = data.images(0);
        let noise = draws(0, "first values", 0, self.dequantizer.draw(), &images.device())(images.dims());
        self.set_first_values(&images, noise);
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let images = data.images(step.number);
        let noise = step.draws("train dequantize", self.dequantizer.draw())(images.dims());
        self.update(&images, noise, step)
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities {
            latents: Some(self),
            encoder: Some(self),
            likelihood: Some(Likelihood::Bound(self)),
            ..Abilities::default()
        }
    }
}

#[cfg(test)]
mod tests;
