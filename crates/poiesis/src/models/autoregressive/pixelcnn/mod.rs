//! The PixelCNN.
//!
//! Van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", 2016, arXiv:1601.06759, §3.3–3.5. The
//! probability of an image is a product over its numbers, row by row and the channels of a pixel one after another,
//! p(x) = Π p(xᵢ given x₁ … xᵢ₋₁) (Eq. 1, Eq. 2), and one convolutional network under masks gives all factors at once (Figure 2,
//! right; Table 1).
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data, binarised ones in {0, 1}, others in [-1, 1] |
//! | `width` | h | features within a residual block, and half of those between blocks |
//! | loss | −log p(x) | nats for each image, lower is better |
//!
//! Differences from the paper: Adam is the usual choice here, beside RMSProp; 0 stands for what lies outside of an image, whose
//! numbers are in [-1, 1]; conditioning by a bias for each class on the features of the first layer is not in this paper.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use poiesis_kernels::{add, fork, inference};
use serde::{Deserialize, Serialize};

use super::causal::{Kernel, Mask, MaskedConv2d, features_of};
use super::columns::{Columns, PackedConv, PackedHead, Places, columns};
use super::image_model::{
    ImageModel, ImageNetwork, Training, check_classes, check_features, check_kernels, class_tensor,
    of_classes, rows_of_classes,
};
use super::pixels::{PixelLaw, Pixels};
use super::rule::Rule;
use crate::capability::{Capability, Model};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Recipe, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{DataSpec, ImageShape};
use crate::error::{Error, Result};
use crate::nn::{Activation, Init, Law, Weights, activate, num_parameters};
use crate::train::{Optimizer, Session};

/// Its name in the catalogue.
const NAME: &str = "pixelcnn";

/// Settings of a [`PixelCnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Law of a channel of a pixel: `binary` or `softmax`.
    pub law: PixelLaw,
    /// `softmax`: levels of a channel, a power of two up to 256.
    pub levels: usize,
    /// Whether the model is conditioned on the classes of the data.
    pub conditional: bool,
    /// Rule of the optimizer: `adam`, `rmsprop` or `muon`.
    pub optimizer: Rule,
    /// Step size.
    pub learning_rate: f64,
    /// `muon`: step size of the kernels it is for.
    pub muon_learning_rate: f64,
    /// Norm that gradients are scaled down to; 0 leaves them alone. Those that Muon takes are not counted.
    pub clip_norm: f64,
}

impl Default for PixelCnnConfig {
    fn default() -> PixelCnnConfig {
        PixelCnnConfig {
            width: 32,
            blocks: 8,
            first_kernel: 7,
            kernel: 3,
            head: 64,
            law: PixelLaw::Softmax,
            levels: 256,
            conditional: false,
            optimizer: Rule::Adam,
            learning_rate: 1e-3,
            muon_learning_rate: 0.02,
            clip_norm: 0.0,
        }
    }
}

impl PixelCnnConfig {
    /// Makes the network for data of `spec`, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for fewer features than channels, an even kernel, levels that do not divide 256, and conditioning
    /// on classes that the data do not have.
    pub fn init(&self, spec: &DataSpec, seed: u64, device: &Device) -> Result<ImageModel<PixelCnn>> {
        let shape = spec.images()?;
        let pixels = Pixels::new(self.law, self.levels, shape, NAME)?;
        let sizes = [("width", self.width), ("head", self.head)];
        check_features(NAME, &sizes, shape.channels)?;
        check_kernels(NAME, &[("first_kernel", self.first_kernel), ("kernel", self.kernel)])?;
        let classes = check_classes(NAME, self.conditional, spec.classes)?;
        let network = PixelCnn::new(self, &pixels, classes, &mut Init::new(seed, device));
        Ok(ImageModel::new(pixels, classes, network))
    }

    fn optimizer(&self) -> Optimizer {
        self.optimizer.optimizer(self.learning_rate, self.muon_learning_rate, self.clip_norm)
    }
}

/// The network (Table 1).
#[derive(Module, Debug)]
pub struct PixelCnn {
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

impl PixelCnn {
    fn new(config: &PixelCnnConfig, pixels: &Pixels, classes: usize, init: &mut Init) -> PixelCnn {
        let (channels, width) = (pixels.shape.channels, config.width);
        let conv = |side, mask, sizes, init: &mut Init| {
            MaskedConv2d::new(Kernel::square(side, mask), sizes, 1, Law::FanInNormal(1.0), channels, init)
        };
        let first = conv(config.first_kernel, Mask::A, [channels, 2 * width], init);
        let class = (classes > 0).then(|| init.normal([classes, 2 * width], 0.0, 0.1));
        let blocks =
            (0..config.blocks).map(|_| Residual::new(width, config.kernel, channels, init)).collect();
        let hidden = conv(1, Mask::B, [2 * width, config.head], init);
        let output = conv(1, Mask::B, [config.head, channels * pixels.logits()], init);
        PixelCnn { first, class, blocks, hidden, output }
    }
}

impl ImageNetwork for PixelCnn {
    type Cached = Cached;

    /// All factors of Eq. 2.
    fn logits(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        let device = x.device();
        let mut h = self.first.forward(x, Activation::Identity);
        if let Some(class) = &self.class {
            h = h + of_classes(class, &class_tensor(classes, &device));
        }
        let h = self.blocks.iter().fold(h, |h, block| block.forward(h));
        let h = self.hidden.forward(activate(h, Activation::Relu), Activation::Relu);
        self.output.forward(h, Activation::Identity)
    }

    fn cached(&self, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        Cached::new(self, pixels, classes)
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
            MaskedConv2d::new(Kernel::square(side, Mask::B), sizes, 1, Law::FanInNormal(gain), channels, init)
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

/// The network for some images side by side, with the features it keeps of them.
pub struct Cached {
    first: PackedConv,
    /// What a class adds to each channel's group of the first features, `[images, features of the group]`; empty without classes.
    class: Vec<Vec<f32>>,
    blocks: Vec<CachedResidual>,
    head: PackedHead,
    /// The features of each group between blocks, at the pixels that are computed.
    h: Vec<Vec<f32>>,
}

/// A residual block, with the features it keeps.
struct CachedResidual {
    narrow: PackedConv,
    around: PackedConv,
    widen: PackedConv,
    width: usize,
    groups: usize,
    /// What the 1×1 convolutions read of a row, `[images, width, features]`.
    before: Vec<f32>,
    after: Vec<f32>,
    /// What the convolution under the mask reads, `[images, height, width, h]`.
    inside: Vec<f32>,
    rows: Vec<f32>,
}

impl Cached {
    fn new(network: &PixelCnn, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        let ImageShape { height, width: row, channels: groups } = pixels.shape;
        let images = classes.len();
        let class = network.class.as_ref().map(|table| {
            let (rows, features) = (rows_of_classes(table, classes), table.dims()[1]);
            let of_group =
                |group| rows.chunks_exact(features).flat_map(|row| columns(row, 1, group, groups)).collect();
            (0..groups).map(of_group).collect()
        });
        let blocks = network.blocks.iter().map(|block| CachedResidual::new(block, pixels, images));
        Cached {
            first: PackedConv::new(&network.first, [height, row], 1, groups),
            class: class.unwrap_or_default(),
            blocks: blocks.collect(),
            head: PackedHead::new([&network.hidden, &network.output], images, row, groups),
            h: vec![Vec::new(); groups],
        }
    }
}

impl Columns for Cached {
    fn begin_row(&mut self, _x: &[f32], _y: usize) {}

    fn logits(&mut self, x: &[f32], places: &Places, channels: Range<usize>, logits: &mut Vec<f32>) {
        for channel in channels.clone() {
            let h = &mut self.h[channel];
            self.first.forward(x, places, channel, h);
            if let Some(class) = self.class.get(channel) {
                let features = class.len() / places.maps;
                for (number, row) in h.chunks_exact_mut(features).enumerate() {
                    let image = number / places.xs.len();
                    inference::add(row, &class[image * features..(image + 1) * features]);
                }
            }
        }
        for block in &mut self.blocks {
            channels.clone().for_each(|channel| block.read(places, channel, &self.h[channel]));
            channels.clone().for_each(|channel| block.add(places, channel, &mut self.h[channel]));
        }
        for channel in channels {
            self.head.forward(&mut self.h[channel], places, channel, logits);
        }
    }
}

impl CachedResidual {
    fn new(block: &Residual, pixels: &Pixels, images: usize) -> CachedResidual {
        let ImageShape { height, width: row, channels: groups } = pixels.shape;
        let width = block.around.weight.dims()[2];
        let zeros = |pixels: usize, features: usize| vec![0.0; images * pixels * features];
        CachedResidual {
            narrow: PackedConv::new(&block.narrow, [1, row], 1, groups),
            around: PackedConv::new(&block.around, [height, row], 1, groups),
            widen: PackedConv::new(&block.widen, [1, row], 1, groups),
            width,
            groups,
            before: zeros(row, 2 * width),
            after: zeros(row, width),
            inside: zeros(height * row, width),
            rows: Vec::new(),
        }
    }

    /// Keeps what the convolution under the mask reads, from the features `h` of a group.
    fn read(&mut self, places: &Places, group: usize, h: &[f32]) {
        let (row, rows, both) = (places.in_row(), &mut self.rows, 2 * self.width);
        rows.clear();
        rows.extend_from_slice(h);
        inference::activate(rows, Activation::Relu);
        row.scatter(rows, &mut self.before, both, features_of(group, both, self.groups));
        self.narrow.forward(&self.before, &row, group, rows);
        inference::activate(rows, Activation::Relu);
        places.scatter(rows, &mut self.inside, self.width, features_of(group, self.width, self.groups));
    }

    /// Adds what the block adds to the features of a group.
    fn add(&mut self, places: &Places, group: usize, h: &mut [f32]) {
        let (row, rows) = (places.in_row(), &mut self.rows);
        self.around.forward(&self.inside, places, group, rows);
        inference::activate(rows, Activation::Relu);
        row.scatter(rows, &mut self.after, self.width, features_of(group, self.width, self.groups));
        self.widen.forward(&self.after, &row, group, rows);
        inference::add(h, rows);
    }
}

/// The PixelCNN in the catalogue.
pub struct PixelCnnEntry;

impl Entry for PixelCnnEntry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "PixelCNN: exact log p(x) of images by masked convolutions"
    }

    fn paper(&self) -> Paper {
        Paper {
            title: "Pixel recurrent neural networks",
            authors: "van den Oord, Kalchbrenner, Kavukcuoglu",
            year: 2016,
            arxiv: "1601.06759",
        }
    }

    fn domains(&self) -> &'static [Domain] {
        &[Domain::Images]
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sample, Capability::Likelihood, Capability::Code, Capability::Complete]
    }

    fn recipes(&self) -> &'static [Recipe] {
        recipes!("mnist")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig { sample_schedule: SampleSchedule::Logarithmic, ..TrainConfig::default() }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&PixelCnnConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: PixelCnnConfig = start.config.model()?;
        let model = config.init(start.spec, start.config.seed, &start.device)?;
        let optimizer = config.optimizer();
        Ok(Box::new(Training { model, optimizer, batches: start.batches()? }))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: PixelCnnConfig = config.model()?;
        let mut model = config.init(spec, 0, device)?;
        model.put(weights).map_err(|reason| Error::WeightsMismatch { model: NAME.into(), reason })?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let config: PixelCnnConfig = config.model()?;
        let model = config.init(spec, 0, &Device::flex())?;
        let shape = spec.images()?;
        // A block keeps 2 h features three times and h features four times.
        let each = 10 * config.width * config.blocks
            + 4 * config.head
            + 2 * shape.channels * model.pixels().logits();
        Ok(Footprint {
            parameters: vec![("network", num_parameters(model.network()))],
            activations: 2 * each * shape.height * shape.width,
        })
    }
}

#[cfg(test)]
mod tests;
