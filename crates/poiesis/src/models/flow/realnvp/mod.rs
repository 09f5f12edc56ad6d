//! Real NVP: an invertible network of affine couplings, with an exact density of images and of points.
//!
//! Dinh, Sohl-Dickstein and Bengio, "Density estimation using Real NVP", 2016, arXiv:1605.08803. A coupling keeps a part of the values
//! and scales and shifts the others by what a network makes of that part, so that it is inverted without inverting the network, and its
//! Jacobian is triangular. Log p(x) = log N(z) + log |det ∂z/∂x| (Eq. 2) is trained as it is.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data in [-1, 1], 256 levels |
//! | `y` | | dequantised images in [0, 1], or points, in training with columns of repeated values dequantised |
//! | `z`, latents | z | N(0, 1), the parts that the scales leave, one after another |
//! | `log_det` | | log of the absolute determinant of ∂z/∂y, nats for each example |
//! | `log_scale`, `shift` | s, t | what a coupling does |
//! | bound | | −log P(x) or more, by dequantisation: nats for each image |
//!
//! Images go through scales (§3.6): three couplings of checkerboards, a squeeze, three couplings of channels, and half of the values
//! are latents. The last scale, of 4 to 7 pixels, has four couplings of checkerboards. Points are images of one pixel: `couplings`
//! couplings of halves of their coordinates.
//!
//! Differences from the paper: activation normalisation (Kingma and Dhariwal 2018, §3.1) before each coupling instead of batch
//! normalisation behind it, which has statistics of the batch in training and others in inference, where the map is no longer the one
//! that was trained; no batch normalisation in the networks of the couplings either, only weight normalisation, with data-dependent
//! first values; no short-cuts from their blocks to their outputs; the networks see kept pixels alone and no mask; no penalty on gains;
//! pixels are moved to [α, 1 − α] before the logit, on both sides; learned dequantisation, and dequantised columns of points, on demand.

mod scale;

use std::f64::consts::LN_2;
use std::ops::Range;

use burn::module::Module;
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use poiesis_kernels::uniform;
use serde::{Deserialize, Serialize};

use super::dequantize::{Dequantization, Dequantizer, middle, to_images};
use super::squeeze::halves;
use super::{Mapped, in_parts, named_parts, sum_values};
use crate::abilities::{
    Abilities, Ability, Bound, Encoder, LatentPart, Latents, Likelihood, LogWeights, PointLikelihood,
};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{
    Column, Content, DataFacts, DataSpec, ImageShape, MediaKind, PixelEncoding, Values, Vectors,
};
use crate::dist::standard_normal_log_prob;
use crate::error::{Error, Result};
use crate::model::{About, Metrics, Model, Paper, Step, draws, recipes};
use crate::nn::{Init, flatten};
use scale::Scale;

/// Pixels are moved to [α, 1 − α] before the logit (§4.1).
const ALPHA: f64 = 0.05;

/// Settings of a [`RealNvp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RealNvpConfig {
    /// Images: features in the networks of the first scale; they double at each (§4.1: 32 for 32×32).
    pub width: usize,
    /// Images: residual blocks in the network of each coupling (§4.1: 4 for 32×32, 2 for 64×64).
    pub blocks: usize,
    /// Images: noise that is added to their levels, `uniform` or `variational`.
    pub dequantization: Dequantization,
    /// Points: couplings.
    pub couplings: usize,
    /// Points: units of a hidden layer in the network of each coupling.
    pub hidden_dim: usize,
    /// Points: hidden layers.
    pub layers: usize,
    /// Points: whether columns whose values repeat, such as whole numbers or rainfall with many zeros, are dequantised: uniform noise as
    /// wide as values are apart is added in training (see [`Values::Repeated`]). Without it their density has no bound, and training may
    /// diverge.
    #[serde(default)]
    pub dequantize_columns: bool,
}

impl Default for RealNvpConfig {
    fn default() -> RealNvpConfig {
        RealNvpConfig {
            width: 32,
            blocks: 2,
            dequantization: Dequantization::Uniform,
            couplings: 8,
            hidden_dim: 64,
            layers: 2,
            dequantize_columns: false,
        }
    }
}

impl Settings for RealNvpConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["width", "hidden_dim"]);
        faults.depths(&["couplings", "layers"]);
        faults.optional_depths(&["blocks"]);
    }
}

/// The network with what it was made for.
#[derive(Module, Debug)]
pub struct RealNvp {
    /// From the largest to the smallest.
    scales: Vec<Scale>,
    dequantizer: Dequantizer,
    #[module(skip)]
    dequantize_columns: bool,
    #[module(skip)]
    kind: Kind,
    /// Points have one pixel, and a channel for each coordinate.
    #[module(skip)]
    shape: ImageShape,
}

/// What the examples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Images,
    Points,
}

/// logit(α + (1 − 2α) y) (§4.1), and its log-determinant.
fn logit(y: Tensor<4>) -> Mapped {
    let p = y * (1.0 - 2.0 * ALPHA) + ALPHA;
    let (log_p, log_not_p) = (p.clone().log(), (p.neg() + 1.0).log());
    let slopes = (log_p.clone() + log_not_p.clone()).neg() + (1.0 - 2.0 * ALPHA).ln();
    (log_p - log_not_p, sum_values(slopes))
}

/// y of a logit.
fn from_logit(logit: Tensor<4>) -> Tensor<4> {
    (sigmoid(logit) - ALPHA) / (1.0 - 2.0 * ALPHA)
}

/// How wide the noise of each column is, `[1, columns]`: as far as values are apart where they repeat, else 0. `None` where no column
/// repeats any.
fn noise_widths(columns: &[Column], device: &Device) -> Option<Tensor<2>> {
    let width = |column: &Column| match column.values {
        Values::Repeated { spacing } => spacing,
        Values::One | Values::Measured => 0.0,
    };
    let widths: Vec<f32> = columns.iter().map(width).collect();
    let shape = [1, widths.len()];
    widths.iter().any(|&width| width > 0.0).then(|| Tensor::from_data(TensorData::new(widths, shape), device))
}

impl RealNvp {
    /// z of y, and log |det ∂z/∂y| of each example in nats, `[batch]`.
    ///
    /// # Shapes
    ///
    /// `y` is `[batch, height, width, channels]`: dequantised images in [0, 1], or points with a channel for each coordinate of their only
    /// pixel. z is `[batch, values]`.
    pub fn forward(&self, y: Tensor<4>) -> (Tensor<2>, Tensor<1>) {
        let (mut h, mut log_det) = match self.kind {
            Kind::Images => logit(y),
            Kind::Points => (y.clone(), Tensor::zeros([y.dims()[0]], &y.device())),
        };
        let mut z = Vec::new();
        for scale in &self.scales {
            let (all, of_scale) = scale.forward(h);
            log_det = log_det + of_scale;
            // Half of the values are latents, the others go through the next scale (Eq. 14).
            let [left, passed] = if scale.is_last() { [all.clone(), all] } else { halves(all) };
            z.push(flatten(left));
            h = passed;
        }
        (Tensor::cat(z, 1), log_det)
    }

    /// y of z.
    ///
    /// # Shapes
    ///
    /// As [`forward`](RealNvp::forward).
    pub fn inverse(&self, z: Tensor<2>) -> Tensor<4> {
        let mut h = None;
        for (scale, left) in self.scales.iter().zip(in_parts(z, &self.left())).rev() {
            let all = match h {
                None => left,
                Some(passed) => Tensor::cat(vec![left, passed], 3),
            };
            h = Some(scale.inverse(all));
        }
        let h = h.expect("there is a scale");
        match self.kind {
            Kind::Images => from_logit(h),
            Kind::Points => h,
        }
    }

    /// Height, width and channels of the latents that each scale leaves.
    fn left(&self) -> Vec<[usize; 3]> {
        let ImageShape { mut height, mut width, mut channels } = self.shape;
        let left = |scale: &Scale| {
            if !scale.is_last() {
                // Squeezed, and half of it.
                (height, width, channels) = (height / 2, width / 2, 2 * channels);
            }
            [height, width, channels]
        };
        self.scales.iter().map(left).collect()
    }

    /// log p(y) in nats, `[batch]` (Eq. 2 and 3).
    ///
    /// # Shapes
    ///
    /// As [`forward`](RealNvp::forward).
    pub fn log_prob(&self, y: Tensor<4>) -> Tensor<1> {
        let (z, log_det) = self.forward(y);
        standard_normal_log_prob(z) + log_det
    }

    /// What is minimised, in nats: −log p of points; for images, dequantised with `noise`, the bound on −log P. `[1]`.
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]`: images in [-1, 1], or points with a channel for each coordinate. `noise`, of images
    /// alone, has the same shape.
    pub fn loss(&self, x: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<1> {
        let log_prob = |y| self.log_prob(y);
        let log_p = match noise {
            Some(noise) => self.dequantizer.log_weight(&x, noise, log_prob),
            None => log_prob(x),
        };
        log_p.mean().neg()
    }

    /// Points with noise in columns whose values repeat, if that is asked for: a value becomes an interval around it. Intervals of values
    /// that are all repeated do not overlap. `noise` draws uniform noise on [0, 1).
    fn dequantized(
        &self,
        points: Tensor<2>,
        columns: &[Column],
        mut noise: impl FnMut([usize; 2]) -> Tensor<2>,
    ) -> Tensor<2> {
        let widths = self.dequantize_columns.then(|| noise_widths(columns, &points.device())).flatten();
        match widths {
            Some(widths) => points.clone() + (noise(points.dims()) - 0.5) * widths,
            None => points,
        }
    }

    fn to_shape(&self, values: Tensor<2>) -> Tensor<4> {
        let ImageShape { height, width, channels } = self.shape;
        let batch = values.dims()[0];
        values.reshape([batch, height, width, channels])
    }

    /// One step on given data and noise.
    fn update(&mut self, x: Tensor<4>, noise: Option<Tensor<4>>, step: &mut Step<'_>) -> Metrics {
        let loss = self.loss(x, noise);
        step.minimize("optimizer", self, &loss);
        let nats = loss.inner();
        match self.kind {
            Kind::Images => {
                let bits = nats.clone() / (self.shape.dims() as f64 * LN_2);
                Metrics::new().with("bound", nats).with("bits_per_dim", bits)
            }
            Kind::Points => Metrics::new().with("nll", nats),
        }
    }

    /// Gives all layers their first values, from a batch.
    fn set_first_values(&mut self, x: Tensor<4>, noise: Option<Tensor<4>>) {
        let mut h = match noise {
            Some(noise) => {
                self.dequantizer.set_first_values(x.clone(), noise.clone());
                logit(self.dequantizer.forward(&x, noise).0).0
            }
            None => x,
        };
        for scale in &mut self.scales {
            let all = scale.set_first_values(h);
            let [_, passed] = if scale.is_last() { [all.clone(), all] } else { halves(all) };
            h = passed;
        }
    }
}

impl Latents for RealNvp {
    fn parts(&self) -> Vec<LatentPart> {
        named_parts(&self.left())
    }

    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        let y = self.inverse(latents);
        flatten(if self.kind == Kind::Images { to_images(y) } else { y })
    }
}

impl Encoder for RealNvp {
    /// The latents of examples, of images in the middle of their levels.
    fn encode(&self, values: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        let x = self.to_shape(values);
        self.forward(if self.kind == Kind::Images { middle(x) } else { x }).0
    }
}

impl PointLikelihood for RealNvp {
    fn log_prob(&self, points: Tensor<2>, _classes: &[u32]) -> Vec<f64> {
        RealNvp::log_prob(self, self.to_shape(points)).into_data().iter::<f64>().collect()
    }
}

impl Bound for RealNvp {
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
        let log_prob = |y| RealNvp::log_prob(self, y);
        self.dequantizer.log_weights(&images, seed, indices, samples, log_prob)
    }
}

impl Model for RealNvp {
    const ABOUT: About = About {
        name: "realnvp",
        summary: "Real NVP: invertible couplings, exact density of points and of dequantised images",
        paper: Paper {
            title: "Density estimation using Real NVP",
            authors: "Dinh, Sohl-Dickstein, Bengio",
            year: 2016,
            arxiv: "1605.08803",
        },
        media: &[MediaKind::Images, MediaKind::Points],
        abilities: &[Ability::Sample, Ability::Decode, Ability::Encode, Ability::Likelihood],
        recipes: recipes!("shapes", "rings", "grid", "mnist", "cifar10"),
        // §4.1: batches of 64, Adam with its default settings.
        train: || TrainConfig { batch_size: 64, ..TrainConfig::default() },
        ..About::BASE
    };

    type Config = RealNvpConfig;
    type Data = Vectors;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        match facts.spec.content {
            Content::Images(_) => vec![
                Choice::new("realnvp.width", if facts.side() > 40 { 16 } else { 24 }, facts.sized()),
                Choice::new("train.batch_size", 32, "many steps in little time"),
            ],
            Content::Points(_) => vec![Choice::new(
                "realnvp.dequantize_columns",
                true,
                "the density of repeated values has no bound without noise",
            )],
            _ => Vec::new(),
        }
    }

    fn expect_learnable(facts: &DataFacts) -> Result<()> {
        facts.expect_density()
    }

    fn needs(_config: &RealNvpConfig, _spec: &DataSpec) -> Result<()> {
        Ok(())
    }

    fn new(config: &RealNvpConfig, spec: &DataSpec, init: &mut Init) -> Result<RealNvp> {
        if let Content::Points(points) = &spec.content {
            if points.dims < 2 {
                let (value, reason) =
                    ("points of one coordinate", "a coupling keeps some and moves the others");
                return Err(Error::invalid_value("data.source", value, reason, "give points of two or more"));
            }
            let shape = ImageShape { height: 1, width: 1, channels: points.dims };
            return Ok(RealNvp {
                scales: vec![Scale::of_points(points.dims, config, init)],
                dequantizer: Dequantizer::new(Dequantization::Uniform, points.dims, config.width, init),
                dequantize_columns: config.dequantize_columns,
                kind: Kind::Points,
                shape,
            });
        }
        let shape = spec.images()?;
        let (halvings, _) = shape.halvings()?;
        let scale = |number: usize| {
            let (channels, width) = (shape.channels << number, config.width << number);
            Scale::of_images(number == halvings, channels, width, config.blocks, init)
        };
        let scales = (0..=halvings).map(scale).collect();
        let dequantizer = Dequantizer::new(config.dequantization, shape.channels, config.width, init);
        Ok(RealNvp { scales, dequantizer, dequantize_columns: false, kind: Kind::Images, shape })
    }

    fn held_values(config: &RealNvpConfig, spec: &DataSpec) -> Result<f64> {
        if let Content::Points(points) = &spec.content {
            let features = config.layers as f64 * config.hidden_dim as f64;
            return Ok(config.couplings as f64 * (points.dims as f64 + features));
        }
        let shape = spec.images()?;
        // Three couplings of the first scale, each with its convolutions.
        let features = (2.0 * config.blocks as f64 + 1.0) * config.width as f64;
        Ok(3.0 * (shape.height * shape.width) as f64 * features)
    }

    fn initialize(&mut self, data: &mut Vectors) {
        let x = data.vectors(0);
        let of_columns = draws(0, "first values of columns", 0, uniform, &x.device());
        let x = self.to_shape(self.dequantized(x, data.columns(), of_columns));
        let noise = (self.kind == Kind::Images)
            .then(|| draws(0, "first values", 0, self.dequantizer.draw(), &x.device())(x.dims()));
        self.set_first_values(x, noise);
    }

    fn train_step(&mut self, data: &mut Vectors, step: &mut Step<'_>) -> Metrics {
        let of_columns = step.draws("train dequantize columns", uniform);
        let x = self.to_shape(self.dequantized(data.vectors(step.number), data.columns(), of_columns));
        let noise = (self.kind == Kind::Images)
            .then(|| step.draws("train dequantize", self.dequantizer.draw())(x.dims()));
        self.update(x, noise, step)
    }

    fn abilities(&self) -> Abilities<'_> {
        let likelihood = match self.kind {
            Kind::Images => Likelihood::Bound(self),
            Kind::Points => Likelihood::Points(self),
        };
        Abilities {
            latents: Some(self),
            encoder: Some(self),
            likelihood: Some(likelihood),
            ..Abilities::default()
        }
    }
}

#[cfg(test)]
mod tests;
