//! The gated PixelCNN.
//!
//! Van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves and Kavukcuoglu, "Conditional image generation with PixelCNN decoders",
//! 2016, arXiv:1606.05328. The probability of an image is a product over its numbers, row by row and the channels of a pixel one
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
//! and went without); 0 stands for what lies outside of an image, whose numbers are in [-1, 1]; all rows of a vertical kernel are
//! computed at once instead of by n×1 and 1×n convolutions. The vertical stack is moved down by one row at the image and not at
//! every layer, which is the same.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use poiesis_kernels::inference::{self, PackedLinear};
use poiesis_kernels::{add, fork, gate_halves};
use serde::{Deserialize, Serialize};

use super::causal::{Kernel, Mask, MaskedConv2d, features_of};
use super::columns::{Columns, PackedConv, PackedHead, Places, columns, numbers, pack};
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
use crate::nn::{Activation, Init, Law, Linear, Weights, activate, num_parameters};
use crate::train::{Optimizer, Session};

/// Its name in the catalogue.
const NAME: &str = "gated-pixelcnn";

/// Settings of a [`GatedPixelCnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl Default for GatedPixelCnnConfig {
    fn default() -> GatedPixelCnnConfig {
        GatedPixelCnnConfig {
            width: 32,
            layers: 8,
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

impl GatedPixelCnnConfig {
    /// Makes the network for data of `spec`, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a size of zero or an even kernel, for fewer features than channels, for levels that do not
    /// divide 256, and for conditioning on classes that the data do not have.
    pub fn init(&self, spec: &DataSpec, seed: u64, device: &Device) -> Result<ImageModel<GatedPixelCnn>> {
        let shape = spec.images()?;
        let pixels = Pixels::new(self.law, self.levels, shape, NAME)?;
        if self.layers == 0 {
            return Err(Error::InvalidValue {
                key: format!("{NAME}.layers"),
                value: "0".into(),
                reason: "a network needs a layer".into(),
                remedy: format!("set a positive number with --set {NAME}.layers=N"),
            });
        }
        check_features(NAME, &[("width", self.width), ("head", self.head)], shape.channels)?;
        check_kernels(NAME, &[("first_kernel", self.first_kernel), ("kernel", self.kernel)])?;
        let classes = check_classes(NAME, self.conditional, spec.classes)?;
        let network = GatedPixelCnn::new(self, &pixels, classes, &mut Init::new(seed, device));
        Ok(ImageModel::new(pixels, classes, network))
    }

    fn optimizer(&self) -> Optimizer {
        self.optimizer.optimizer(self.learning_rate, self.muon_learning_rate, self.clip_norm)
    }
}

/// Both stacks and what follows them.
#[derive(Module, Debug)]
pub struct GatedPixelCnn {
    layers: Vec<Layer>,
    /// 1×1, masked, to `head` features.
    hidden: MaskedConv2d,
    /// 1×1, masked, to the logits.
    output: MaskedConv2d,
}

impl GatedPixelCnn {
    fn new(config: &GatedPixelCnnConfig, pixels: &Pixels, classes: usize, init: &mut Init) -> GatedPixelCnn {
        let channels = pixels.shape.channels;
        let layers = (0..config.layers).map(|index| Layer::new(index == 0, config, channels, classes, init));
        let layers = layers.collect();
        let one = Kernel::square(1, Mask::B);
        let mut pointwise = |sizes| MaskedConv2d::new(one, sizes, 1, Law::FanInNormal(1.0), channels, init);
        let hidden = pointwise([config.width, config.head]);
        let output = pointwise([config.head, channels * pixels.logits()]);
        GatedPixelCnn { layers, hidden, output }
    }
}

impl ImageNetwork for GatedPixelCnn {
    type Cached = Cached;

    /// All factors of Eq. 1.
    fn logits(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        let classes = class_tensor(classes, &x.device());
        let (mut v, mut h) = (x.clone(), x);
        for layer in &self.layers {
            (v, h) = layer.forward(v, h, &classes);
        }
        let h = self.hidden.forward(activate(h, Activation::Relu), Activation::Relu);
        self.output.forward(h, Activation::Identity)
    }

    fn cached(&self, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        Cached::new(self, pixels, classes)
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
            MaskedConv2d::new(kernel, sizes, parts, Law::FanInNormal(1.0), channels, init)
        };
        let vertical = conv(Kernel::rows(side, above), [inputs, 2 * width], 2);
        let horizontal = conv(Kernel::row(side, left), [inputs, 2 * width], 2);
        let merge = conv(Kernel::square(1, Mask::B), [width, width], 1);
        let link = Linear::new(2 * width, 2 * width, Law::FanIn, init);
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

/// The network for some images side by side, with the features it keeps of them.
pub struct Cached {
    layers: Vec<CachedLayer>,
    head: PackedHead,
    /// The horizontal stack's features of each group, at the pixels that are computed.
    h: Vec<Vec<f32>>,
}

/// A layer, with the features it keeps.
struct CachedLayer {
    first: bool,
    /// Images, and their shape.
    maps: usize,
    shape: ImageShape,
    width: usize,
    vertical: PackedConv,
    /// For each group.
    link: Vec<PackedLinear>,
    horizontal: PackedConv,
    merge: PackedConv,
    /// What a class adds to the vertical stack, `[maps, 2 p]`; nothing without classes.
    class: Vec<f32>,
    /// For each group what the horizontal stack begins with, bias and class: `[maps, outputs of the group]`.
    begin: Vec<Vec<f32>>,
    /// The vertical stack's features, `[maps, height, width, p]`.
    v: Vec<f32>,
    /// For each group what the vertical stack adds to a row of the horizontal one, `[maps, width, outputs of the group]`.
    linked: Vec<Vec<f32>>,
    /// The horizontal stack's gated features and its outputs in a row, `[maps, width, p]`.
    gated: Vec<f32>,
    h: Vec<f32>,
    rows: Vec<f32>,
    gate: Vec<f32>,
}

impl Cached {
    fn new(network: &GatedPixelCnn, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        let layers = network.layers.iter().map(|layer| CachedLayer::new(layer, pixels, classes)).collect();
        let (maps, shape) = (classes.len(), pixels.shape);
        let head = PackedHead::new([&network.hidden, &network.output], maps, shape.width, shape.channels);
        Cached { layers, head, h: vec![Vec::new(); shape.channels] }
    }
}

impl Columns for Cached {
    fn begin_row(&mut self, x: &[f32], y: usize) {
        let mut v = x;
        for layer in &mut self.layers {
            layer.begin_row(v, y);
            v = &layer.v;
        }
    }

    fn logits(&mut self, x: &[f32], places: &Places, channels: Range<usize>, logits: &mut Vec<f32>) {
        let (row, mut input, mut place) = (places.in_row(), x, places);
        for layer in &mut self.layers {
            for channel in channels.clone() {
                layer.columns(input, place, channel, &mut self.h[channel]);
            }
            (input, place) = (&layer.h, &row);
        }
        for channel in channels {
            self.head.forward(&mut self.h[channel], places, channel, logits);
        }
    }
}

impl CachedLayer {
    fn new(layer: &Layer, pixels: &Pixels, classes: &[Option<u32>]) -> CachedLayer {
        let ImageShape { height, width: row, channels: groups } = pixels.shape;
        let (maps, width) = (classes.len(), layer.merge.weight.dims()[2]);
        let both = 2 * width;
        let mut left = numbers(layer.horizontal.bias.val()).repeat(maps);
        let mut class = Vec::new();
        if let Some(bias) = &layer.class {
            inference::add(&mut left, &rows_of_classes(&bias.horizontal, classes));
            class = rows_of_classes(&bias.vertical, classes);
        }
        let of_group =
            |group| left.chunks_exact(both).flat_map(|row| columns(row, 2, group, groups)).collect();
        let begin: Vec<Vec<f32>> = (0..groups).map(of_group).collect();
        let link = numbers(layer.link.weight());
        // The first layer reads the image, later ones a row of features.
        let rows = if layer.first { height } else { 1 };
        CachedLayer {
            first: layer.first,
            maps,
            shape: pixels.shape,
            width,
            vertical: PackedConv::new(&layer.vertical, [height, row], 1, 1),
            link: (0..groups).map(|group| pack(&link, None, [both, both], 2, group, groups)).collect(),
            horizontal: PackedConv::new(&layer.horizontal, [rows, row], 2, groups),
            merge: PackedConv::new(&layer.merge, [1, row], 1, groups),
            class,
            linked: begin.iter().map(|begin| vec![0.0; begin.len() * row]).collect(),
            begin,
            v: vec![0.0; maps * height * row * width],
            gated: vec![0.0; maps * row * width],
            h: vec![0.0; maps * row * width],
            rows: Vec::new(),
            gate: Vec::new(),
        }
    }

    /// The vertical stack's features of row `y`, from those of the layer below, and what they add to the horizontal stack.
    fn begin_row(&mut self, below: &[f32], y: usize) {
        let ImageShape { height, width: row, .. } = self.shape;
        let places = Places { maps: self.maps, size: [height, row], y, xs: 0..row };
        self.vertical.forward(below, &places, 0, &mut self.rows);
        for ((linked, begin), link) in self.linked.iter_mut().zip(&self.begin).zip(&self.link) {
            spread(begin, link.outputs(), row, |at, begin| linked[at].copy_from_slice(begin));
            link.forward_add(self.rows.as_slice(), linked.as_mut_slice());
        }
        if !self.class.is_empty() {
            let rows = &mut self.rows;
            spread(&self.class, 2 * self.width, row, |at, class| inference::add(&mut rows[at], class));
        }
        self.gate(self.width);
        if !self.first {
            places.gather(below, self.width, 0..self.width, &mut self.rows);
            inference::add(&mut self.gate, &self.rows);
        }
        places.scatter(&self.gate, &mut self.v, self.width, 0..self.width);
    }

    /// The horizontal stack's features of a group, added to those of the layer below in `h`. `below` is what the layer below
    /// keeps of the row, or the image.
    fn columns(&mut self, below: &[f32], places: &Places, group: usize, h: &mut Vec<f32>) {
        let (row, own) = (places.in_row(), features_of(group, self.width, self.shape.channels));
        let outputs = self.link[group].outputs();
        row.gather(&self.linked[group], outputs, 0..outputs, &mut self.rows);
        self.horizontal.forward_add(below, places, group, &mut self.rows);
        self.gate(own.len());
        row.scatter(&self.gate, &mut self.gated, self.width, own.clone());
        self.merge.forward(&self.gated, &row, group, &mut self.rows);
        if self.first {
            h.clear();
            h.extend_from_slice(&self.rows);
        } else {
            inference::add(h, &self.rows);
        }
        row.scatter(h, &mut self.h, self.width, own);
    }

    /// Gates `rows`, of twice `width` features.
    fn gate(&mut self, width: usize) {
        self.gate.resize(self.rows.len() / 2, 0.0);
        inference::gate_halves(&self.rows, width, Activation::Tanh, Activation::Sigmoid, &mut self.gate);
    }
}

/// Gives each of the `times` pixels of a map its row of `width` numbers: where the pixel's numbers are, and the row.
fn spread(rows: &[f32], width: usize, times: usize, mut give: impl FnMut(Range<usize>, &[f32])) {
    for (map, row) in rows.chunks_exact(width).enumerate() {
        for pixel in map * times..(map + 1) * times {
            give(pixel * width..(pixel + 1) * width, row);
        }
    }
}

/// The gated PixelCNN in the catalogue.
pub struct GatedPixelCnnEntry;

impl Entry for GatedPixelCnnEntry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "gated PixelCNN: exact log p(x) of images, number by number"
    }

    fn paper(&self) -> Paper {
        Paper {
            title: "Conditional image generation with PixelCNN decoders",
            authors: "van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu",
            year: 2016,
            arxiv: "1606.05328",
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
        crate::config::to_table(&GatedPixelCnnConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: GatedPixelCnnConfig = start.config.model()?;
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
        let config: GatedPixelCnnConfig = config.model()?;
        let mut model = config.init(spec, 0, device)?;
        model.put(weights).map_err(|reason| Error::WeightsMismatch { model: NAME.into(), reason })?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let config: GatedPixelCnnConfig = config.model()?;
        let model = config.init(spec, 0, &Device::flex())?;
        let shape = spec.images()?;
        // A layer keeps 2 p features three times and p features four times.
        let each = 10 * config.width * config.layers
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
