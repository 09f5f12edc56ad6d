//! Pixels as values: the levels a channel of a pixel can have, how a network reads them and what it says of their distribution.

use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_kernels::{bernoulli_log_prob, categorical_log_prob};
use serde::{Deserialize, Serialize};

use crate::data::{ImageShape, PixelEncoding};
use crate::error::{Error, Result};

/// The distribution of a channel of a pixel, given all values before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelDistribution {
    /// Black or white, by one logit; the data are binarised anew each time they are used.
    Binary,
    /// One of several levels, by a logit for each.
    Softmax,
}

impl PixelDistribution {
    /// The encoding of the images that it is a distribution over.
    pub fn encoding(self) -> PixelEncoding {
        match self {
            PixelDistribution::Binary => PixelEncoding::Binary,
            PixelDistribution::Softmax => PixelEncoding::EightBit,
        }
    }
}

/// What the pixels of a model are: keys that all models of images by masked networks have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PixelConfig {
    /// Distribution of a channel of a pixel: `binary` or `softmax`.
    pub distribution: PixelDistribution,
    /// `softmax`: levels of a channel, a power of two up to 256.
    pub levels: usize,
    /// Whether the model is conditioned on the classes of the data.
    pub conditional: bool,
}

impl Default for PixelConfig {
    fn default() -> PixelConfig {
        PixelConfig { distribution: PixelDistribution::Softmax, levels: 256, conditional: false }
    }
}

/// The images that a model is a distribution over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pixels {
    /// Their shape.
    pub shape: ImageShape,
    distribution: PixelDistribution,
    levels: usize,
}

impl Pixels {
    /// Images of `shape` whose values have the levels of `config`; a binary distribution has two, whatever `levels` says.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for the key `levels` of `model` when it is not a power of two from 2 to 256.
    pub fn new(config: &PixelConfig, shape: ImageShape, model: &str) -> Result<Pixels> {
        let &PixelConfig { distribution, levels, .. } = config;
        if distribution == PixelDistribution::Binary {
            return Ok(Pixels { shape, distribution, levels: 2 });
        }
        if !(2..=256).contains(&levels) || !levels.is_power_of_two() {
            return Err(Error::InvalidValue {
                key: format!("{model}.levels"),
                value: levels.to_string(),
                reason: "the 256 levels of an image are divided into equal parts".into(),
                remedy: "choose 2, 4, 8, 16, 32, 64, 128 or 256".into(),
            });
        }
        Ok(Pixels { shape, distribution, levels })
    }

    /// The distribution of a value.
    pub fn distribution(&self) -> PixelDistribution {
        self.distribution
    }

    /// Levels of a value.
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// The encoding of images that [`inputs`](Pixels::inputs) and [`log_prob`](Pixels::log_prob) take.
    pub fn encoding(&self) -> PixelEncoding {
        self.distribution.encoding()
    }

    /// Logits that a network gives for each channel.
    pub fn logits(&self) -> usize {
        match self.distribution {
            PixelDistribution::Binary => 1,
            PixelDistribution::Softmax => self.levels,
        }
    }

    /// What a network reads of a level: 0 is −1, the highest is 1.
    pub fn input(&self, level: u32) -> f32 {
        2.0 * level as f32 / (self.levels - 1) as f32 - 1.0
    }

    /// Sequences of levels as images in [-1, 1], `[sequences, height, width, channels]`.
    ///
    /// # Panics
    ///
    /// When a sequence does not have as many values as an image.
    pub fn images(&self, sequences: &[Vec<u32>], device: &Device) -> Tensor<4> {
        let ImageShape { height, width, channels } = self.shape;
        let values = sequences.iter().flatten().map(|&level| self.input(level)).collect();
        Tensor::from_data(TensorData::new(values, [sequences.len(), height, width, channels]), device)
    }

    /// What a network reads of images, in [-1, 1], so that what lies outside of an image, 0, is none of it.
    ///
    /// # Shapes
    ///
    /// `[batch, height, width, channels]` to the same.
    pub fn inputs(&self, images: Tensor<4>) -> Tensor<4> {
        match self.distribution {
            PixelDistribution::Binary => images * 2.0 - 1.0,
            PixelDistribution::Softmax if self.levels == 256 => images,
            PixelDistribution::Softmax => {
                self.levels_of(images).float() * (2.0 / (self.levels - 1) as f64) - 1.0
            }
        }
    }

    /// The level of each value.
    fn levels_of(&self, images: Tensor<4>) -> Tensor<4, Int> {
        // Half a level above its lower edge, so that rounding cannot cross one.
        let bytes = (images + 1.0) * 127.5 + 0.5;
        (bytes * (self.levels as f64 / 256.0)).floor().int()
    }

    /// log p(x) of each image in nats, given the logits of its values. Of fewer than 256 levels, the bytes within one are
    /// equally probable.
    ///
    /// # Shapes
    ///
    /// `logits` is `[batch, height, width, channels · logits]`, a channel's side by side; `images` is
    /// `[batch, height, width, channels]`; the result is `[batch]`.
    pub fn log_prob(&self, logits: Tensor<4>, images: Tensor<4>) -> Tensor<1> {
        match self.distribution {
            PixelDistribution::Binary => bernoulli_log_prob(logits, images),
            PixelDistribution::Softmax => {
                let (batch, dims) = (images.dims()[0], self.shape.dims());
                let targets = self.levels_of(images).reshape([batch * dims]);
                let each = categorical_log_prob(logits.reshape([batch * dims, self.levels]), targets);
                let within = (256.0 / self.levels as f64).ln() * dims as f64;
                each.reshape([batch, dims]).sum_dim(1).reshape([batch]) - within
            }
        }
    }
}
