//! PixelCNN++.
//!
//! Salimans, Karpathy, Chen and Kingma, "PixelCNN++: Improving the PixelCNN with discretized logistic mixture likelihood
//! and other modifications", 2017, arXiv:1701.05517. An image is the product of the log_probs of its pixels, row by row. All
//! channels of a pixel share one mixture of logistic distributions cut into the 256 levels (§2.1), in which the mean of a
//! channel is moved by the channels before it (§2.2). What comes before a pixel is summed up by two streams of shifted
//! convolutions (§2.3): one looks at the rows above, the other one at these and at what is to the left. Both run through
//! three sizes and back, with short-cuts between mirror layers (§2.3, figure 2), and with dropout (§2.4).
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data in [-1, 1], 256 levels |
//! | `mixtures` | K | logistic distributions in the mixture of a pixel |
//! | parameters | π, μ, s, α, β, γ | logits, means, log-scales and coefficients of each pixel, in the order of [`logistic_mixture_log_prob`] |
//! | `above` | | the stream that has seen the rows above |
//! | `before` | | the stream that has seen everything before: the rows above and what is to the left |
//! | `direction`, `gain`, `bias` | v, g, b | a weight-normalised layer (Salimans and Kingma 2016): w = g v / ‖v‖ |
//!
//! Differences from the paper's code: the image is shifted instead of the first layers' results, which differs by a bias
//! at two edges; the features and their negatives come in another order where two streams meet in a short-cut; the first
//! values of gains and biases are found on the first batch of the run, without dropout, and gains are bounded; the small
//! sizes of the defaults.

mod incremental;
mod network;
mod weight_norm;

use std::f64::consts::LN_2;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use poiesis_kernels::{Grid, logistic_mixture_log_prob, uniform};
use serde::{Deserialize, Serialize};

use super::FAMILY;
use crate::abilities::{Abilities, Autoregressive, ImageLikelihood, IncrementalDecoder};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{DataFacts, DataSpec, ImageBatches, ImageNeeds, ImageShape, PixelEncoding};
use crate::error::{Error, Result};
use crate::model::{About, Metrics, Model, Paper, Step, recipes};
use crate::nn::{FirstValues, Init};
use crate::optim::{Optimizer, OptimizerConfig};
use crate::rng;

pub use network::Network;
use weight_norm::{Mode, Pass};

/// How often height and width are halved.
const HALVINGS: usize = 2;
/// Settings of a [`PixelCnnPp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelCnnPpConfig {
    /// Features of each stream (the paper: 160).
    pub width: usize,
    /// Residual blocks of each stream at each size on the way to the smallest, and as many on the way back, one more at
    /// each of the larger sizes (the paper: 5).
    pub blocks: usize,
    /// Logistic distributions in the mixture of a pixel (the paper: 10).
    pub mixtures: usize,
    /// Fraction of the features that is left out inside residual blocks in training (the paper: 0.5, which a small network
    /// that sees its data once does without).
    pub dropout: f64,
    /// Whether the image depends on its class, which then adds a bias in every residual block.
    pub conditional: bool,
}

impl Default for PixelCnnPpConfig {
    fn default() -> PixelCnnPpConfig {
        PixelCnnPpConfig { width: 40, blocks: 2, mixtures: 5, dropout: 0.0, conditional: false }
    }
}

impl Settings for PixelCnnPpConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["width", "mixtures"]);
        faults.depths(&["blocks"]);
        faults.dropout("dropout", self.dropout);
    }
}

/// The network with what it was made for.
#[derive(Module, Debug)]
pub struct PixelCnnPp {
    /// Images to the parameters of their pixels' distributions.
    pub network: Network,
    #[module(skip)]
    config: PixelCnnPpConfig,
    #[module(skip)]
    shape: ImageShape,
}

impl PixelCnnPp {
    /// The parameters of the distribution of each pixel given those before it, in the order of [`logistic_mixture_log_prob`].
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` in [-1, 1], with a class for each image that only a model conditioned on
    /// classes reads; the result is `[batch, height, width, parameters]`.
    pub fn parameters(&self, x: &Tensor<4>, classes: &[u32]) -> Tensor<4> {
        self.network.forward(x, &mut self.pass(classes, Mode::Eval))
    }

    /// −log p(x) of each image in nats, `[batch]`; `noise` draws values in [0, 1) of the shape it is given, which dropout
    /// compares with its fraction.
    ///
    /// # Shapes
    ///
    /// As [`parameters`](PixelCnnPp::parameters).
    pub fn loss(
        &self,
        x: Tensor<4>,
        classes: &[u32],
        noise: &mut dyn FnMut([usize; 4]) -> Tensor<4>,
    ) -> Tensor<1> {
        let mode = if self.config.dropout > 0.0 {
            Mode::Dropout { part: self.config.dropout, noise }
        } else {
            Mode::Eval
        };
        let parameters = self.network.forward(&x, &mut self.pass(classes, mode));
        log_prob(parameters, x).neg()
    }

    /// Gives gains and biases their first values: so that over the images `x` every layer's features have mean 0 and a
    /// deviation of 1, or of 0.1 before a gate (Salimans and Kingma 2016, §3).
    ///
    /// # Shapes
    ///
    /// As [`parameters`](PixelCnnPp::parameters).
    pub fn set_first_values(&mut self, x: &Tensor<4>, classes: &[u32]) {
        let mut found = FirstValues::default();
        self.network.forward(x, &mut self.pass(classes, Mode::Initialize(&mut found)));
        self.network = self.network.clone().map(&mut found);
    }

    fn pass<'a>(&self, classes: &[u32], mode: Mode<'a>) -> Pass<'a> {
        let device = self.network.devices()[0].clone();
        let classes = self.config.conditional.then(|| {
            let numbers: Vec<i64> = classes.iter().map(|&class| i64::from(class)).collect();
            Tensor::from_data(TensorData::new(numbers, [classes.len(), 1]), &device)
        });
        Pass { classes, mode }
    }
}

/// log p(x) of each image in nats, `[batch]`, from the parameters of its pixels.
fn log_prob(parameters: Tensor<4>, x: Tensor<4>) -> Tensor<1> {
    let [batch, height, width, count] = parameters.dims();
    let (pixels, channels) = (batch * height * width, x.dims()[3]);
    let pixels = logistic_mixture_log_prob(
        parameters.reshape([pixels, count]),
        x.reshape([pixels, channels]),
        Grid::Bits8,
    );
    pixels.reshape([batch, height * width]).sum_dim(1).reshape([batch])
}

impl ImageLikelihood for PixelCnnPp {
    fn encoding(&self) -> PixelEncoding {
        PixelEncoding::EightBit
    }

    fn reads_classes(&self) -> bool {
        self.config.conditional
    }

    fn log_prob(&self, images: Tensor<4>, classes: &[u32]) -> Vec<f64> {
        log_prob(self.parameters(&images, classes), images).into_data().iter::<f64>().collect()
    }
}

impl Autoregressive for PixelCnnPp {
    fn num_values(&self) -> usize {
        incremental::LEVELS
    }

    fn num_classes(&self) -> usize {
        self.network.classes()
    }

    fn decoder(&self, classes: &[Option<u32>]) -> Box<dyn IncrementalDecoder + '_> {
        Box::new(incremental::PixelDecoder::new(self, classes))
    }

    fn all_log_probs(&self, sequences: &[&[u32]], classes: &[Option<u32>]) -> Option<Vec<f32>> {
        assert_eq!(classes.len(), sequences.len(), "classes for another number of images");
        let mut whole = incremental::WholeImages::new(self);
        let mut log_probs = Vec::with_capacity(sequences.len() * self.shape.dims() * incremental::LEVELS);
        for (image, class) in sequences.iter().zip(classes) {
            whole.log_probs(image, class.unwrap_or(0), &mut log_probs);
        }
        Some(log_probs)
    }
}

impl PixelCnnPp {
    /// One step on given data and noise.
    fn update(
        &mut self,
        x: Tensor<4>,
        classes: &[u32],
        noise: &mut dyn FnMut([usize; 4]) -> Tensor<4>,
        step: &mut Step<'_>,
    ) -> Metrics {
        let nll = self.loss(x, classes, noise).mean();
        step.minimize("adam", &mut self.network, &nll);
        let nll = nll.inner();
        let bits = nll.clone() / (self.shape.dims() as f64 * LN_2);
        Metrics::new().with("nll", nll).with("bits_per_dim", bits)
    }
}

impl Model for PixelCnnPp {
    const ABOUT: About = About {
        name: "pixelcnn-pp",
        summary: "PixelCNN++: exact log p(x) of images by mixtures of logistics over two shifted streams",
        paper: Paper {
            title: "PixelCNN++: Improving the PixelCNN with discretized logistic mixture likelihood and other modifications",
            authors: "Salimans, Karpathy, Chen, Kingma",
            year: 2017,
            arxiv: "1701.05517",
        },
        recipes: recipes!("shapes", "cifar10"),
        train: || TrainConfig {
            batch_size: 16,
            // The paper's Polyak average.
            ema_decay: 0.9995,
            sample_frames: 20,
            sample_count: 16,
            ..(FAMILY.train)()
        },
        // The paper's code: Adam with 0.001, which every step multiplies by 0.999995.
        optimizer: || OptimizerConfig {
            betas: [0.95, 0.9995],
            decay: 0.999_995,
            ..OptimizerConfig::default()
        },
        old_keys: &[("learning_rate_decay", &["optimizer.decay"])],
        ..FAMILY
    };

    type Config = PixelCnnPpConfig;
    type Data = ImageBatches;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        vec![
            Choice::new("pixelcnn-pp.width", 32, "a small network takes more steps"),
            Choice::new("train.batch_size", if facts.side() > 40 { 4 } else { 8 }, facts.sized()),
            Choice::new("train.sample_count", 16, "values are drawn one after another"),
        ]
    }

    fn needs(config: &PixelCnnPpConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: PixelEncoding::EightBit, labelled: config.conditional })
    }

    fn new(config: &PixelCnnPpConfig, spec: &DataSpec, init: &mut Init) -> Result<PixelCnnPp> {
        let shape = spec.images()?;
        let ImageShape { height, width, channels } = shape;
        let unit = 1 << HALVINGS;
        if !height.is_multiple_of(unit) || !width.is_multiple_of(unit) || height * width == 0 {
            let value = format!("{height}×{width}×{channels}");
            let reason = "the network halves height and width twice";
            let remedy = "choose a height and width that 4 divides";
            return Err(Error::invalid_value("data.size", &value, reason, remedy));
        }
        let classes = spec.classes_for("pixelcnn-pp", config.conditional)?;
        let network = Network::new(config, channels, classes, init);
        Ok(PixelCnnPp { network, config: config.clone(), shape })
    }

    fn held_values(config: &PixelCnnPpConfig, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        // Two streams, at the largest of three sizes, down and back.
        let layers = 4.0 * config.blocks as f64;
        Ok((shape.height * shape.width) as f64 * layers * config.width as f64)
    }

    fn optimizers(_config: &PixelCnnPpConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        vec![("adam", Optimizer::new(shared))]
    }

    fn initialize(&mut self, data: &mut ImageBatches) {
        self.set_first_values(&data.images(0), &data.classes(0));
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let (key, device) = (rng::key(step.seed, "dropout"), step.device.clone());
        // No network has as many blocks.
        let mut stream = step.number << 16;
        let mut noise = |shape| {
            stream += 1;
            uniform(shape, &key, stream, &device)
        };
        self.update(data.images(step.number), &data.classes(step.number), &mut noise, step)
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities::of_images(self)
    }
}

#[cfg(test)]
mod tests;
