//! The gated PixelCNN.
//!
//! Van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and Kavukcuoglu, "Conditional image generation with PixelCNN decoders",
//! 2016, arXiv:1606.05328. The probability of an image is a product over its values, row by row and the channels of a pixel one
//! after another, p(x) = Π p(xᵢ given x₁ … xᵢ₋₁) (Eq. 1), and one convolutional network gives all factors at once. Two stacks of
//! layers see everything before a pixel without a blind spot: the vertical stack all rows above, the horizontal one what is left
//! of it in its own row (§2.2, Figure 2). Each layer is gated: y = tanh(W_f ∗ x) ⊙ σ(W_g ∗ x) (Eq. 2), with a bias for each class
//! within tanh and σ where the model is conditioned on classes (Eq. 4).
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data, binarised ones in {0, 1}, others in [-1, 1] |
//! | `width` | p | features of each stack |
//! | `kernel` | n | kernels are n × n, cut to what lies before |
//! | `vertical`, `horizontal` | W_f, W_g | both of one convolution to 2 p features |
//! | `classes` | V_f, V_g | bias of a class, both side by side |
//! | loss | −log p(x) | nats for each image, lower is better |
//!
//! Differences from the paper: Adam and Muon beside RMSProp; the vertical stack has residual connections too (the paper tried them
//! and went without); 0 stands for what lies outside of an image, whose values are in [-1, 1]; all rows of a vertical kernel are
//! computed at once instead of by n×1 and 1×n convolutions. The vertical stack is moved down by one row at the image and not at
//! every layer, which is the same.

mod incremental;

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use poiesis_kernels::{add, fork, gate_halves};
use serde::{Deserialize, Serialize};

use super::FAMILY;
use super::causal::{Kernel, Mask, MaskedConv2d};
use super::image_model::{
    ImageConfig, ImageModel, ImageNetwork, check_kernels, class_tensor, head, of_classes,
};
use super::pixels::{PixelConfig, Pixels};
use crate::config::{Faults, Settings};
use crate::model::{About, Paper, recipes};
use crate::nn::{Activation, Init, Initializer, Linear};

/// The gated PixelCNN as a model of images.
pub type GatedPixelCnn = ImageModel<GatedPixelCnnNetwork>;

/// Settings of a [`GatedPixelCnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GatedPixelCnnConfig {
    /// Features p of each stack, at least one for each channel of the image.
    pub width: usize,
    /// Gated layers, the first one included.
    pub layers: usize,
    /// Side of the kernel of the first layer, odd.
    pub first_kernel: usize,
    /// Side n of the kernels of all other layers, odd.
    pub kernel: usize,
    /// Features between the two 1×1 convolutions at the end.
    pub head: usize,
    /// What the pixels are.
    #[serde(flatten)]
    pub pixels: PixelConfig,
}

impl Default for GatedPixelCnnConfig {
    fn default() -> GatedPixelCnnConfig {
        GatedPixelCnnConfig {
            width: 32,
            layers: 8,
            first_kernel: 7,
            kernel: 3,
            head: 64,
            pixels: PixelConfig::default(),
        }
    }
}

impl Settings for GatedPixelCnnConfig {
    fn check(&self, faults: &mut Faults) {
        faults.depths(&["layers"]);
        check_kernels(faults);
    }
}

impl ImageConfig for GatedPixelCnnConfig {
    fn pixels(&self) -> &PixelConfig {
        &self.pixels
    }

    fn features(&self) -> [(&'static str, usize); 2] {
        [("width", self.width), ("head", self.head)]
    }

    fn held_features(&self) -> f64 {
        4.0 * self.layers as f64 * self.width as f64
    }
}

/// Both stacks and what follows them.
#[derive(Module, Debug)]
pub struct GatedPixelCnnNetwork {
    layers: Vec<Layer>,
    /// 1×1, masked, to `head` features.
    hidden: MaskedConv2d,
    /// 1×1, masked, to the logits.
    output: MaskedConv2d,
}

impl ImageNetwork for GatedPixelCnnNetwork {
    const ABOUT: About = About {
        name: "gated-pixelcnn",
        summary: "gated PixelCNN: exact log p(x) of images, value by value",
        paper: Paper {
            title: "Conditional image generation with PixelCNN decoders",
            authors: "van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu",
            year: 2016,
            arxiv: "1606.05328",
        },
        recipes: recipes!("mnist"),
        old_keys: &[("law", &["gated-pixelcnn.distribution"])],
        ..FAMILY
    };

    type Config = GatedPixelCnnConfig;
    type Cached = incremental::Cached;

    fn new(config: &GatedPixelCnnConfig, pixels: &Pixels, classes: usize, init: &mut Init) -> Self {
        let channels = pixels.shape.channels;
        let layers = (0..config.layers).map(|index| Layer::new(index == 0, config, channels, classes, init));
        let layers = layers.collect();
        let one = Kernel::square(1, Mask::B);
        let mut pointwise =
            |sizes| MaskedConv2d::new(one, sizes, 1, Initializer::FanInNormal(1.0), channels, init);
        let hidden = pointwise([config.width, config.head]);
        let output = pointwise([config.head, channels * pixels.logits()]);
        GatedPixelCnnNetwork { layers, hidden, output }
    }

    /// All factors of Eq. 1.
    fn logits(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        let classes = class_tensor(classes, &x.device());
        let (mut v, mut h) = (x.clone(), x);
        for layer in &self.layers {
            (v, h) = layer.forward(v, h, &classes);
        }
        head(&self.hidden, &self.output, h)
    }

    fn cached(&self, pixels: &Pixels, classes: &[Option<u32>]) -> incremental::Cached {
        incremental::Cached::new(self, pixels, classes)
    }
}

/// A layer of both stacks (Figure 2).
#[derive(Module, Debug)]
struct Layer {
    /// n × n of the rows above, to 2 p features; the first layer's reads them in the image, and so does not read its own row.
    vertical: MaskedConv2d,
    /// 1×1, from the 2 p features of the vertical stack to those of the horizontal one.
    link: Linear,
    /// 1 × n of what is left of the pixel, to 2 p features.
    horizontal: MaskedConv2d,
    /// 1×1 behind the gate of the horizontal stack.
    merge: MaskedConv2d,
    /// What classes add to the 2 p features of both stacks.
    class: Option<ClassBias>,
    #[module(skip)]
    first: bool,
}

/// V_f and V_g of both stacks. Nothing reads the vertical stack of the last layer, nor learns its bias.
#[derive(Module, Debug)]
struct ClassBias {
    /// `[classes, 2 p]`.
    vertical: Param<Tensor<2>>,
    /// `[classes, 2 p]`.
    horizontal: Param<Tensor<2>>,
}

impl Layer {
    fn new(
        first: bool,
        config: &GatedPixelCnnConfig,
        channels: usize,
        classes: usize,
        init: &mut Init,
    ) -> Layer {
        let width = config.width;
        let (side, inputs, [above, left]) = match first {
            true => (config.first_kernel, channels, [Mask::Above, Mask::A]),
            false => (config.kernel, width, [Mask::Row, Mask::B]),
        };
        let mut conv = |kernel, sizes, parts| {
            MaskedConv2d::new(kernel, sizes, parts, Initializer::FanInNormal(1.0), channels, init)
        };
        let vertical = conv(Kernel::rows(side, above), [inputs, 2 * width], 2);
        let horizontal = conv(Kernel::row(side, left), [inputs, 2 * width], 2);
        let merge = conv(Kernel::square(1, Mask::B), [width, width], 1);
        let link = Linear::new(2 * width, 2 * width, Initializer::FanIn, init);
        let class = (classes > 0).then(|| ClassBias {
            vertical: init.normal([classes, 2 * width], 0.0, 0.1),
            horizontal: init.normal([classes, 2 * width], 0.0, 0.1),
        });
        Layer { vertical, link, horizontal, merge, class, first }
    }

    /// The next features of both stacks, `[batch, height, width, p]`.
    fn forward(&self, v: Tensor<4>, h: Tensor<4>, classes: &Tensor<2, Int>) -> (Tensor<4>, Tensor<4>) {
        let [seen_v, v] = fork(v);
        let [seen_h, h] = fork(h);
        let [linked, mut rows] = fork(self.vertical.forward(seen_v, Activation::Identity));
        let link = self.link.forward(linked, Activation::Identity);
        let mut left = add(self.horizontal.forward(seen_h, Activation::Identity), link);
        if let Some(class) = &self.class {
            rows = rows + of_classes(&class.vertical, classes);
            left = left + of_classes(&class.horizontal, classes);
        }
        let rows = gate_halves(rows, Activation::Tanh, Activation::Sigmoid);
        let gated = gate_halves(left, Activation::Tanh, Activation::Sigmoid);
        let left = self.merge.forward(gated, Activation::Identity);
        if self.first { (rows, left) } else { (add(v, rows), add(h, left)) }
    }
}

#[cfg(test)]
mod tests;
