//! The PixelCNN.
//!
//! Van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", 2016, arXiv:1601.06759, §3.3–3.5. The
//! probability of an image is a product over its values, row by row and the channels of a pixel one after another,
//! p(x) = Π p(xᵢ given x₁ … xᵢ₋₁) (Eq. 1, Eq. 2), and one convolutional network under masks gives all factors at once (Figure 2,
//! right; Table 1).
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data, binarised ones in {0, 1}, others in [-1, 1] |
//! | `width` | h | features within a residual block, and half of those between blocks |
//! | loss | −log p(x) | nats for each image, lower is better |
//!
//! Differences from the paper: Adam is the usual optimizer here, beside RMSProp; 0 stands for what lies outside of an image, whose
//! values are in [-1, 1]; conditioning by a bias for each class on the features of the first layer is not in this paper.

mod incremental;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{add, fork};
use serde::{Deserialize, Serialize};

use super::FAMILY;
use super::causal::{Kernel, Mask, MaskedConv2d};
use super::image_model::{ImageConfig, ImageModel, ImageNetwork, check_kernels, head, with_class};
use super::pixels::{PixelConfig, Pixels};
use crate::config::{Faults, Settings};
use crate::model::{About, Paper, recipes};
use crate::nn::{Activation, Init, Initializer, activate};

/// The PixelCNN as a model of images.
pub type PixelCnn = ImageModel<PixelCnnNetwork>;

/// Settings of a [`PixelCnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PixelCnnConfig {
    /// Features h within a residual block, at least one for each channel of the image; between blocks there are 2 h.
    pub width: usize,
    /// Residual blocks.
    pub blocks: usize,
    /// Side of the kernel of the first layer, odd.
    pub first_kernel: usize,
    /// Side of the kernels in residual blocks, odd.
    pub kernel: usize,
    /// Features between the two 1×1 convolutions at the end.
    pub head: usize,
    /// What the pixels are.
    #[serde(flatten)]
    pub pixels: PixelConfig,
}

impl Default for PixelCnnConfig {
    fn default() -> PixelCnnConfig {
        PixelCnnConfig {
            width: 32,
            blocks: 8,
            first_kernel: 7,
            kernel: 3,
            head: 64,
            pixels: PixelConfig::default(),
        }
    }
}

impl Settings for PixelCnnConfig {
    fn check(&self, faults: &mut Faults) {
        faults.optional_depths(&["blocks"]);
        check_kernels(faults);
    }
}

impl ImageConfig for PixelCnnConfig {
    fn pixels(&self) -> &PixelConfig {
        &self.pixels
    }

    fn features(&self) -> [(&'static str, usize); 2] {
        [("width", self.width), ("head", self.head)]
    }

    fn held_features(&self) -> f64 {
        4.0 * self.blocks as f64 * self.width as f64
    }
}

/// The network (Table 1).
#[derive(Module, Debug)]
pub struct PixelCnnNetwork {
    /// Mask A, to 2 h features.
    first: MaskedConv2d,
    /// What a class adds to them, `[classes, 2 h]`.
    class: Option<Param<Tensor<2>>>,
    blocks: Vec<Residual>,
    /// 1×1, to `head` features.
    hidden: MaskedConv2d,
    /// 1×1, to the logits.
    output: MaskedConv2d,
}

impl ImageNetwork for PixelCnnNetwork {
    const ABOUT: About = About {
        name: "pixelcnn",
        summary: "PixelCNN: exact log p(x) of images by masked convolutions",
        paper: Paper {
            title: "Pixel recurrent neural networks",
            authors: "van den Oord, Kalchbrenner, Kavukcuoglu",
            year: 2016,
            arxiv: "1601.06759",
        },
        recipes: recipes!("mnist"),
        old_keys: &[("law", &["pixelcnn.distribution"])],
        ..FAMILY
    };

    type Config = PixelCnnConfig;
    type Cached = incremental::Cached;

    fn new(config: &PixelCnnConfig, pixels: &Pixels, classes: usize, init: &mut Init) -> PixelCnnNetwork {
        let (channels, width) = (pixels.shape.channels, config.width);
        let conv = |side, mask, sizes, init: &mut Init| {
            MaskedConv2d::new(
                Kernel::square(side, mask),
                sizes,
                1,
                Initializer::FanInNormal(1.0),
                channels,
                init,
            )
        };
        let first = conv(config.first_kernel, Mask::A, [channels, 2 * width], init);
        let class = (classes > 0).then(|| init.normal([classes, 2 * width], 0.0, 0.1));
        let blocks =
            (0..config.blocks).map(|_| Residual::new(width, config.kernel, channels, init)).collect();
        let hidden = conv(1, Mask::B, [2 * width, config.head], init);
        let output = conv(1, Mask::B, [config.head, channels * pixels.logits()], init);
        PixelCnnNetwork { first, class, blocks, hidden, output }
    }

    /// All factors of Eq. 2.
    fn logits(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        let h = with_class(self.first.forward(x, Activation::Identity), self.class.as_ref(), classes);
        let h = self.blocks.iter().fold(h, |h, block| block.forward(h));
        head(&self.hidden, &self.output, h)
    }

    fn cached(&self, pixels: &Pixels, classes: &[Option<u32>]) -> incremental::Cached {
        incremental::Cached::new(self, pixels, classes)
    }
}

/// A residual block (Figure 5, left): each convolution is behind a ReLU.
#[derive(Module, Debug)]
struct Residual {
    /// 1×1, 2 h to h.
    narrow: MaskedConv2d,
    /// Mask B, h to h.
    around: MaskedConv2d,
    /// 1×1, h to 2 h.
    widen: MaskedConv2d,
}

impl Residual {
    fn new(width: usize, kernel: usize, channels: usize, init: &mut Init) -> Residual {
        // A ReLU halves the variance that passes.
        let gain = 2f64.sqrt();
        let mut conv = |side, sizes, gain| {
            MaskedConv2d::new(
                Kernel::square(side, Mask::B),
                sizes,
                1,
                Initializer::FanInNormal(gain),
                channels,
                init,
            )
        };
        Residual {
            narrow: conv(1, [2 * width, width], gain),
            around: conv(kernel, [width, width], gain),
            widen: conv(1, [width, 2 * width], 1.0),
        }
    }

    fn forward(&self, h: Tensor<4>) -> Tensor<4> {
        let [x, h] = fork(h);
        let before = self.narrow.forward(activate(x, Activation::Relu), Activation::Relu);
        let after = self.around.forward(before, Activation::Relu);
        add(h, self.widen.forward(after, Activation::Identity))
    }
}

#[cfg(test)]
mod tests;
