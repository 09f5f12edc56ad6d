//! The PixelRNN.
//!
//! Van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", 2016, arXiv:1601.06759. An image is read
//! row by row, p(x) = ∏ᵢ p(xᵢ | x₁ … xᵢ₋₁), and of a pixel first red, then green, then blue. Long short-term memories that
//! go over the whole map give each pixel a law that depends on all pixels before it.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data, binary ones in {0, 1}, others in [-1, 1] |
//! | `hidden` | h | units of a recurrent layer; the maps between layers have 2h |
//! | `Recurrence::input` | K^is | inputs' part of the gates (Eq. 3), masked |
//! | `Recurrence::state` | K^ss | states' part of the gates (Eq. 3) |
//! | mask A, B | | what of its own pixel an output sees: the channels before its own; those and its own (§3.4) |
//! | nll | −log p(x) | nats for each image, lower is better |
//!
//! The features of every map are split into as many groups as there are channels, one after another: the group of a
//! channel is what its law is made from.
//!
//! What a Diagonal BiLSTM sees: all values before, but for one. As the first layer hides a pixel from its own features and the half
//! from the right sees features of the row above, the last value of that row reaches only those pixels whose first kernel covers it.
//!
//! Differences from the paper: no skip connections to the output; the two layers of the head are one of `head` features and the
//! one of the outputs; Adam and Muon beside RMSProp; black and white are read as −1 and 1, so that 0 is what lies outside of an
//! image; conditioning by a bias for each class on the features of the first layer is not in this paper. The multi-scale model
//! (§3.6) is not built.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use poiesis_kernels::inference::{self, PackedLinear, Rows};
use poiesis_kernels::{Lines, add, conv_lstm};
use serde::{Deserialize, Serialize};

use super::causal::{Kernel, Mask, MaskedConv2d, features_of};
use super::columns::{Columns, PackedConv, PackedHead, Places, numbers};
use super::image_model::{
    ImageModel, ImageNetwork, Training, check_classes, check_features, class_tensor, of_classes,
    rows_of_classes,
};
use super::pixels::{PixelLaw, Pixels};
use super::rule::Rule;
use crate::capability::{Capability, Model};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::DataSpec;
use crate::error::{Error, Result};
use crate::nn::{Activation, Init, Law, Weights, activate, num_parameters, values};
use crate::train::{Optimizer, Session};

/// Its name in the catalogue.
const NAME: &str = "pixelrnn";

/// Sides of the first layer's kernel (Table 1).
const FIRST_KERNEL: usize = 7;

/// Settings of a [`PixelRnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelRnnConfig {
    /// Kind of the recurrent layers.
    pub body: Body,
    /// Recurrent layers.
    pub layers: usize,
    /// Units h of a recurrent layer, at least one for each channel of the image.
    pub hidden: usize,
    /// Features of the layer before the outputs.
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
            hidden: 16,
            head: 32,
            law: PixelLaw::Binary,
            levels: 256,
            conditional: false,
            optimizer: Rule::RmsProp,
            learning_rate: 1e-3,
            muon_learning_rate: 0.02,
            clip_norm: 1.0,
        }
    }
}

impl PixelRnnConfig {
    /// Makes the network for data of `spec`, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for no layers, fewer features than channels, levels that do not divide 256, and conditioning on
    /// classes that the data do not have.
    pub fn init(&self, spec: &DataSpec, seed: u64, device: &Device) -> Result<ImageModel<PixelRnn>> {
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
        check_features(NAME, &[("hidden", self.hidden), ("head", self.head)], shape.channels)?;
        let classes = check_classes(NAME, self.conditional, spec.classes)?;
        let network = PixelRnn::new(self, &pixels, classes, &mut Init::new(seed, device));
        Ok(ImageModel::new(pixels, classes, network))
    }

    fn optimizer(&self) -> Optimizer {
        self.optimizer.optimizer(self.learning_rate, self.muon_learning_rate, self.clip_norm)
    }
}

/// All layers (Table 1).
#[derive(Module, Debug)]
pub struct PixelRnn {
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

impl PixelRnn {
    fn new(config: &PixelRnnConfig, pixels: &Pixels, classes: usize, init: &mut Init) -> PixelRnn {
        let channels = pixels.shape.channels;
        let (wide, head) = (2 * config.hidden, config.head);
        let one = Kernel::square(1, Mask::B);
        PixelRnn {
            first: masked(Kernel::square(FIRST_KERNEL, Mask::A), [channels, wide], 1, channels, init),
            class: (classes > 0).then(|| init.normal([classes, wide], 0.0, 0.1)),
            layers: (0..config.layers).map(|_| Layer::new(config, channels, init)).collect(),
            hidden: masked(one, [wide, head], 1, channels, init),
            output: masked(one, [head, channels * pixels.logits()], 1, channels, init),
        }
    }
}

impl ImageNetwork for PixelRnn {
    type Cached = Cached;

    /// All factors of Eq. 1.
    fn logits(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        let device = x.device();
        let mut maps = self.first.forward(x, Activation::Identity);
        if let Some(class) = &self.class {
            maps = maps + of_classes(class, &class_tensor(classes, &device));
        }
        let maps = self.layers.iter().fold(maps, |maps, layer| layer.forward(maps));
        let head = self.hidden.forward(activate(maps, Activation::Relu), Activation::Relu);
        self.output.forward(head, Activation::Identity)
    }

    fn cached(&self, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        Cached::new(self, pixels, classes)
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
        let hidden = config.hidden;
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
            state: init.weight([taps, hidden, 4 * hidden], taps * hidden, taps * hidden, Law::FanIn),
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
    MaskedConv2d::new(kernel, features, parts, Law::FanIn, channels, init)
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

/// The network for some images side by side, with what it keeps of them: of each layer all that went into it, and all states.
/// The half of a Diagonal BiLSTM that comes from the right passes over a row when the row below begins.
pub struct Cached {
    first: PackedConv,
    /// What a class adds to the features of the first layer, `[images, 2h]`; empty without classes.
    class: Vec<f32>,
    layers: Vec<CachedLayer>,
    /// What comes out of the last layer at the pixels that are computed, `[images, pixels, 2h]`.
    maps: Vec<f32>,
    head: PackedHead,
    groups: usize,
    rows: Vec<f32>,
}

/// A layer, with what went into it.
struct CachedLayer {
    images: usize,
    size: [usize; 2],
    recurrences: Vec<CachedRecurrence>,
    up: PackedLinear,
    /// `[images, height, width, 2h]`.
    below: Vec<f32>,
    sums: Vec<f32>,
    rows: Vec<f32>,
}

/// A recurrence, with its states and cells, both `[images, height, width, hidden]`.
struct CachedRecurrence {
    input: PackedConv,
    state: PackedLinear,
    lines: Lines,
    hidden: Vec<f32>,
    cells: Vec<f32>,
    gates: Vec<f32>,
}

impl Cached {
    fn new(network: &PixelRnn, pixels: &Pixels, classes: &[Option<u32>]) -> Cached {
        let (images, shape) = (classes.len(), pixels.shape);
        let size = [shape.height, shape.width];
        let class = network.class.as_ref().map(|table| rows_of_classes(table, classes));
        Cached {
            first: PackedConv::new(&network.first, size, 1, 1),
            class: class.unwrap_or_default(),
            layers: network.layers.iter().map(|layer| CachedLayer::new(layer, images, size)).collect(),
            maps: Vec::new(),
            head: PackedHead::new([&network.hidden, &network.output], images, shape.width, shape.channels),
            groups: shape.channels,
            rows: Vec::new(),
        }
    }
}

impl Columns for Cached {
    fn begin_row(&mut self, _x: &[f32], y: usize) {
        if let Some(above) = y.checked_sub(1) {
            self.layers.iter_mut().for_each(|layer| layer.pass_back(above));
        }
    }

    fn logits(&mut self, x: &[f32], places: &Places, channels: Range<usize>, logits: &mut Vec<f32>) {
        // All groups at once: of those that are not asked for, what is not known yet is computed again later.
        self.first.forward(x, places, 0, &mut self.maps);
        let features = self.maps.len() / places.count();
        for (maps, class) in
            self.maps.chunks_exact_mut(places.xs.len() * features).zip(self.class.chunks_exact(features))
        {
            maps.chunks_exact_mut(features).for_each(|row| inference::add(row, class));
        }
        self.layers.iter_mut().for_each(|layer| layer.forward(places, &mut self.maps));
        for channel in channels {
            let own = features_of(channel, features, self.groups);
            self.rows.clear();
            self.maps.chunks_exact(features).for_each(|row| self.rows.extend_from_slice(&row[own.clone()]));
            self.head.forward(&mut self.rows, places, channel, logits);
        }
    }
}

impl CachedLayer {
    fn new(layer: &Layer, images: usize, size: [usize; 2]) -> CachedLayer {
        let [_, _, hidden, features] = layer.up.weight.dims();
        let up = numbers(layer.up.masked_weight());
        let recurrence = |recurrence: &Recurrence| CachedRecurrence::new(recurrence, images, size);
        CachedLayer {
            images,
            size,
            recurrences: layer.recurrences.iter().map(recurrence).collect(),
            up: PackedLinear::new(&up, Some(&values(&layer.up.bias)), hidden, features),
            below: vec![0.0; images * size[0] * size[1] * features],
            sums: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds what the layer adds to `maps` at `places`, whose predecessors it has passed.
    fn forward(&mut self, places: &Places, maps: &mut [f32]) {
        let (hidden, features) = (self.up.inputs(), self.up.outputs());
        places.scatter(maps, &mut self.below, features, 0..features);
        let [first, others @ ..] = self.recurrences.as_mut_slice() else {
            unreachable!("a layer has a recurrence")
        };
        first.pass(&self.below, places);
        places.gather(&first.hidden, hidden, 0..hidden, &mut self.sums);
        for (other, y) in others.iter().zip(places.y.checked_sub(1)) {
            let above = Places { y, ..places.clone() };
            above.gather(&other.hidden, hidden, 0..hidden, &mut self.rows);
            inference::add(&mut self.sums, &self.rows);
        }
        self.rows.resize(maps.len(), 0.0);
        self.up.forward(self.sums.as_slice(), &mut self.rows);
        inference::add(maps, &self.rows);
    }

    /// The half from the right over row `y`, which is complete.
    fn pass_back(&mut self, y: usize) {
        let places = Places { maps: self.images, size: self.size, y, xs: 0..self.size[1] };
        for recurrence in &mut self.recurrences[1..] {
            recurrence.pass(&self.below, &places);
        }
    }
}

impl CachedRecurrence {
    fn new(recurrence: &Recurrence, images: usize, size: [usize; 2]) -> CachedRecurrence {
        let [taps, hidden, gates] = recurrence.state.dims();
        let zeros = vec![0.0; images * size[0] * size[1] * hidden];
        CachedRecurrence {
            input: PackedConv::new(&recurrence.input, size, 1, 1),
            state: PackedLinear::new(&values(&recurrence.state), None, taps * hidden, gates),
            lines: recurrence.lines,
            hidden: zeros.clone(),
            cells: zeros,
            gates: Vec::new(),
        }
    }

    /// States and cells at `places`, in the order of the lines.
    fn pass(&mut self, below: &[f32], places: &Places) {
        let at = |x: usize| Places { xs: x..x + 1, ..places.clone() };
        match self.lines {
            Lines::Rows => self.step(below, places),
            Lines::Diagonals => places.xs.clone().for_each(|x| self.step(below, &at(x))),
            Lines::MirroredDiagonals => places.xs.clone().rev().for_each(|x| self.step(below, &at(x))),
        }
    }

    /// States and cells at `places`, none of which is before another.
    fn step(&mut self, below: &[f32], places: &Places) {
        let hidden = self.state.outputs() / 4;
        self.input.forward(below, places, 0, &mut self.gates);
        // The pixel whose cell goes on, then those whose states are seen, tap by tap.
        let (before, seen): (_, &[_]) = match self.lines {
            Lines::Rows => ([1, 0], &[[1, -1], [1, 0], [1, 1]]),
            Lines::Diagonals => ([0, -1], &[[1, 0], [0, -1]]),
            Lines::MirroredDiagonals => ([0, 1], &[[1, 0], [0, 1]]),
        };
        let starts: Vec<Option<usize>> = places.neighbours(seen).map(|at| at.map(|at| at * hidden)).collect();
        self.state.forward_add(Rows::pieces(&self.hidden, hidden, &starts), self.gates.as_mut_slice());
        let mut cells = Vec::with_capacity(places.count() * hidden);
        for before in places.neighbours(&[before]) {
            match before {
                Some(before) => cells.extend_from_slice(&self.cells[before * hidden..][..hidden]),
                None => cells.resize(cells.len() + hidden, 0.0),
            }
        }
        let mut states = vec![0.0; cells.len()];
        inference::lstm_cell(&mut self.gates, &mut cells, &mut states, hidden);
        places.scatter(&cells, &mut self.cells, hidden, 0..hidden);
        places.scatter(&states, &mut self.hidden, hidden, 0..hidden);
    }
}

/// The PixelRNN in the catalogue.
pub struct PixelRnnEntry;

impl Entry for PixelRnnEntry {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "Row LSTM and Diagonal BiLSTM over pixels: exact likelihoods of images, the slowest to sample"
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

    fn recipes(&self) -> &'static [crate::catalogue::Recipe] {
        recipes!("shapes", "mnist")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig { batch_size: 16, sample_schedule: SampleSchedule::Logarithmic, ..TrainConfig::default() }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&PixelRnnConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: PixelRnnConfig = start.config.model()?;
        let model = config.init(start.spec, start.config.seed, &start.device)?;
        Ok(Box::new(Training { model, optimizer: config.optimizer(), batches: start.batches()? }))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: PixelRnnConfig = config.model()?;
        let mut model = config.init(spec, 0, device)?;
        model.put(weights).map_err(|reason| Error::WeightsMismatch { model: NAME.into(), reason })?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let config: PixelRnnConfig = config.model()?;
        let model = config.init(spec, 0, &Device::flex())?;
        let shape = spec.images()?;
        let recurrences = match config.body {
            Body::Row => 1,
            Body::Diagonal => 2,
        };
        // A recurrence holds its gates in front of and behind their functions, cells and states; a layer two maps of 2h.
        let layer = (recurrences * 10 + 4) * config.hidden;
        let outputs = model.pixels().logits() * shape.channels;
        let pixel = config.layers * layer + 4 * config.hidden + 2 * config.head + 2 * outputs;
        Ok(Footprint {
            parameters: vec![("network", num_parameters(model.network()))],
            activations: 2 * pixel * shape.height * shape.width,
        })
    }
}

#[cfg(test)]
mod tests;
