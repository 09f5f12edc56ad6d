//! The PixelRNN.
//!
//! Van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", 2016, arXiv:1601.06759. An image is read
//! row by row, p(x) = ∏ᵢ p(xᵢ | x₁ … xᵢ₋₁), and of a pixel first red, then green, then blue. Long short-term memories that
//! go over the whole map give each pixel a distribution that depends on all pixels before it.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data, binary ones in {0, 1}, others in [-1, 1] |
//! | `hidden_dim` | h | units of a recurrent layer; the maps between layers have 2h |
//! | `Recurrence::input` | K^is | inputs' part of the gates (Eq. 3), masked |
//! | `Recurrence::state` | K^ss | states' part of the gates (Eq. 3) |
//! | mask A, B | | what of its own pixel an output sees: the channels before its own; those and its own (§3.4) |
//! | nll | −log p(x) | nats for each image, lower is better |
//!
//! The features of every map are split into as many groups as there are channels, one after another: the group of a
//! channel is what its distribution is made from.
//!
//! What a Diagonal BiLSTM sees: all values before, but for one. As the first layer hides a pixel from its own features and the half
//! from the right sees features of the row above, the last value of that row reaches only those pixels whose first kernel covers it.
//!
//! Differences from the paper: no skip connections to the output; the two layers of the head are one of `head` features and the
//! one of the outputs; Adam and Muon beside RMSProp; black and white are read as −1 and 1, so that 0 is what lies outside of an
//! image; conditioning by a bias for each class on the features of the first layer is not in this paper. The multi-scale model
//! (§3.6) is not built.

mod incremental;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Lines, add, conv_lstm};
use serde::{Deserialize, Serialize};

use super::FAMILY;
use super::causal::{Kernel, Mask, MaskedConv2d};
use super::image_model::{ImageConfig, ImageModel, ImageNetwork, head, with_class};
use super::pixels::{PixelConfig, PixelDistribution, Pixels};
use crate::config::{Faults, Settings, TrainConfig};
use crate::model::{About, Paper, recipes};
use crate::nn::{Activation, Init, Initializer};
use crate::optim::{OptimizerConfig, OptimizerKind};

/// The PixelRNN as a model of images.
pub type PixelRnn = ImageModel<PixelRnnNetwork>;

/// Sides of the first layer's kernel (Table 1).
const FIRST_KERNEL: usize = 7;

/// Settings of a [`PixelRnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PixelRnnConfig {
    /// Kind of the recurrent layers.
    pub body: Body,
    /// Recurrent layers.
    pub layers: usize,
    /// Units h of a recurrent layer, at least one for each channel of the image.
    pub hidden_dim: usize,
    /// Features of the layer before the outputs.
    pub head: usize,
    /// What the pixels are.
    #[serde(flatten)]
    pub pixels: PixelConfig,
}

/// Kind of the recurrent layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// Row LSTM: row by row, each pixel with three of the row above, so that it sees a triangle (§3.1).
    Row,
    /// Diagonal BiLSTM: along both diagonals, so that it sees all pixels before it (§3.2).
    Diagonal,
}

impl Default for PixelRnnConfig {
    /// The paper's network for MNIST (Table 1, §5.3).
    fn default() -> PixelRnnConfig {
        PixelRnnConfig {
            body: Body::Diagonal,
            layers: 7,
            hidden_dim: 16,
            head: 32,
            pixels: PixelConfig { distribution: PixelDistribution::Binary, ..PixelConfig::default() },
        }
    }
}

impl Settings for PixelRnnConfig {
    fn check(&self, faults: &mut Faults) {
        faults.depths(&["layers"]);
    }
}

impl ImageConfig for PixelRnnConfig {
    fn pixels(&self) -> &PixelConfig {
        &self.pixels
    }

    fn features(&self) -> [(&'static str, usize); 2] {
        [("hidden_dim", self.hidden_dim), ("head", self.head)]
    }

    fn held_features(&self) -> f64 {
        4.0 * self.layers as f64 * self.hidden_dim as f64
    }
}

/// All layers (Table 1).
#[derive(Module, Debug)]
pub struct PixelRnnNetwork {
    /// Mask A, to 2h features.
    first: MaskedConv2d,
    /// What a class adds to them, `[classes, 2h]`.
    class: Option<Param<Tensor<2>>>,
    layers: Vec<Layer>,
    /// 1×1, to `head` features.
    hidden: MaskedConv2d,
    /// 1×1, to the logits.
    output: MaskedConv2d,
}

impl ImageNetwork for PixelRnnNetwork {
    const ABOUT: About = About {
        name: "pixelrnn",
        summary: "Row LSTM and Diagonal BiLSTM over pixels: exact likelihoods of images, the slowest to sample",
        paper: Paper {
            title: "Pixel recurrent neural networks",
            authors: "van den Oord, Kalchbrenner, Kavukcuoglu",
            year: 2016,
            arxiv: "1601.06759",
        },
        recipes: recipes!("shapes", "mnist"),
        train: || TrainConfig { batch_size: 16, ..(FAMILY.train)() },
        optimizer: || OptimizerConfig {
            kind: OptimizerKind::RmsProp,
            clip: 1.0,
            ..OptimizerConfig::default()
        },
        old_keys: &[("law", &["pixelrnn.distribution"]), ("hidden", &["pixelrnn.hidden_dim"])],
        ..FAMILY
    };

    type Config = PixelRnnConfig;
    type Cached = incremental::Cached;

    fn new(config: &PixelRnnConfig, pixels: &Pixels, classes: usize, init: &mut Init) -> PixelRnnNetwork {
        let channels = pixels.shape.channels;
        let (wide, head) = (2 * config.hidden_dim, config.head);
        let one = Kernel::square(1, Mask::B);
        PixelRnnNetwork {
            first: masked(Kernel::square(FIRST_KERNEL, Mask::A), [channels, wide], 1, channels, init),
            class: (classes > 0).then(|| init.normal([classes, wide], 0.0, 0.1)),
            layers: (0..config.layers).map(|_| Layer::new(config, channels, init)).collect(),
            hidden: masked(one, [wide, head], 1, channels, init),
            output: masked(one, [head, channels * pixels.logits()], 1, channels, init),
        }
    }

    /// All factors of Eq. 1.
    fn logits(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        let maps = with_class(self.first.forward(x, Activation::Identity), self.class.as_ref(), classes);
        let maps = self.layers.iter().fold(maps, |maps, layer| layer.forward(maps));
        head(&self.hidden, &self.output, maps)
    }

    fn cached(&self, pixels: &Pixels, classes: &[Option<u32>]) -> incremental::Cached {
        incremental::Cached::new(self, pixels, classes)
    }
}

/// A recurrent layer with its way back to 2h features, added to what came in (§3.3).
#[derive(Module, Debug)]
struct Layer {
    /// One for rows, two for diagonals.
    recurrences: Vec<Recurrence>,
    up: MaskedConv2d,
}

impl Layer {
    fn new(config: &PixelRnnConfig, channels: usize, init: &mut Init) -> Layer {
        let hidden = config.hidden_dim;
        let all: &[Lines] = match config.body {
            Body::Row => &[Lines::Rows],
            Body::Diagonal => &[Lines::Diagonals, Lines::MirroredDiagonals],
        };
        Layer {
            recurrences: all.iter().map(|&lines| Recurrence::new(hidden, lines, channels, init)).collect(),
            up: masked(Kernel::square(1, Mask::B), [hidden, 2 * hidden], 1, channels, init),
        }
    }

    fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let states = self.recurrences.iter().map(|recurrence| recurrence.forward(maps.clone()));
        let states = states.reduce(add).expect("a layer has a recurrence");
        add(maps, self.up.forward(states, Activation::Identity))
    }
}

/// A long short-term memory over the lines of a map (Eq. 3).
#[derive(Module, Debug)]
struct Recurrence {
    input: MaskedConv2d,
    /// `[taps, hidden, 4 · hidden]`.
    state: Param<Tensor<3>>,
    #[module(skip)]
    lines: Lines,
}

impl Recurrence {
    fn new(hidden: usize, lines: Lines, channels: usize, init: &mut Init) -> Recurrence {
        let (kernel, taps) = match lines {
            Lines::Rows => ([1, 3], 3),
            Lines::Diagonals | Lines::MirroredDiagonals => ([1, 1], 2),
        };
        let kernel = Kernel::around(kernel, Mask::B);
        Recurrence {
            // Each of the four gates is split into groups.
            input: masked(kernel, [2 * hidden, 4 * hidden], 4, channels, init),
            state: init.weight([taps, hidden, 4 * hidden], taps * hidden, taps * hidden, Initializer::FanIn),
            lines,
        }
    }

    fn forward(&self, maps: Tensor<4>) -> Tensor<4> {
        let gates = self.input.forward(maps, Activation::Identity);
        let states = conv_lstm(gates, self.state.val(), self.lines);
        match self.lines {
            Lines::Rows | Lines::Diagonals => states,
            // It has seen pixels further to the right: only rows below may know (§3.2).
            Lines::MirroredDiagonals => shift_down(states),
        }
    }
}

/// A convolution under a mask, its outputs divided into `parts` (see [`MaskedConv2d::new`]).
fn masked(
    kernel: Kernel,
    features: [usize; 2],
    parts: usize,
    channels: usize,
    init: &mut Init,
) -> MaskedConv2d {
    MaskedConv2d::new(kernel, features, parts, Initializer::FanIn, channels, init)
}

/// The map one row lower, the first row zeros.
fn shift_down(maps: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, features] = maps.dims();
    let above = Tensor::zeros([batch, 1, width, features], &maps.device());
    if height == 1 {
        return above;
    }
    Tensor::cat(vec![above, maps.narrow(1, 0, height - 1)], 1)
}

#[cfg(test)]
mod tests;
