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
//! one of the outputs; Adam beside RMSProp. The multi-scale model (§3.6) is not built.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use poiesis_kernels::inference::{self, PackedLinear, Rows, Window};
use poiesis_kernels::{Lines, add, bernoulli_log_prob, categorical_log_prob, conv_lstm};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Rule;
use super::causal::{Kernel, Mask, MaskedConv2d};
use crate::capability::{Capability, Code, ImageLikelihood, Likelihood, Model, Reader, Sample, Scale};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{Batches, DataSpec, ImageShape};
use crate::error::{Error, Result};
use crate::generate;
use crate::nn::{Activation, Init, Law, Weights, activate, num_parameters, values};
use crate::train::{Optimizer, Session, Terms};

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
    /// Units h of a recurrent layer.
    pub hidden: usize,
    /// Features of the layer before the outputs.
    pub head: usize,
    /// Distribution of a value given those before it.
    pub likelihood: PixelLaw,
    /// Rule of learning.
    pub optimizer: Rule,
    /// Step size.
    pub learning_rate: f64,
    /// Norm that gradients are scaled down to; 0 leaves them alone.
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

/// Distribution of a value given those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelLaw {
    /// Black or white; grey data are binarised anew each time they are used, binary data stay as they are.
    Bernoulli,
    /// 256 levels, each with a logit of its own (§2.2).
    Softmax,
}

impl PixelLaw {
    fn scale(self) -> Scale {
        match self {
            PixelLaw::Bernoulli => Scale::Binary,
            PixelLaw::Softmax => Scale::EightBit,
        }
    }

    /// Different values.
    fn alphabet(self) -> usize {
        match self {
            PixelLaw::Bernoulli => 2,
            PixelLaw::Softmax => 256,
        }
    }

    /// Parameters of the law of a value.
    fn parameters(self) -> usize {
        match self {
            PixelLaw::Bernoulli => 1,
            PixelLaw::Softmax => 256,
        }
    }

    /// A value as the network reads it.
    fn number(self, value: u32) -> f32 {
        match self {
            PixelLaw::Bernoulli => value as f32,
            PixelLaw::Softmax => value as f32 / 127.5 - 1.0,
        }
    }
}

impl Default for PixelRnnConfig {
    /// The paper's network for MNIST (Table 1, §5.3).
    fn default() -> PixelRnnConfig {
        PixelRnnConfig {
            body: Body::Diagonal,
            layers: 7,
            hidden: 16,
            head: 32,
            likelihood: PixelLaw::Bernoulli,
            optimizer: Rule::RmsProp,
            learning_rate: 1e-3,
            clip_norm: 1.0,
        }
    }
}

impl PixelRnnConfig {
    /// Makes the network for images of `shape`, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a size of zero, or fewer features than channels.
    pub fn init(&self, shape: ImageShape, seed: u64, device: &Device) -> Result<PixelRnn> {
        let sizes = [("layers", self.layers, 1), ("hidden", self.hidden, shape.channels)];
        let sizes = sizes.into_iter().chain([("head", self.head, shape.channels)]);
        for (key, size, least) in sizes {
            if size < least {
                return Err(Error::InvalidValue {
                    key: format!("pixelrnn.{key}"),
                    value: size.to_string(),
                    reason: format!("a network for {} channels needs at least {least}", shape.channels),
                    remedy: format!("set at least {least} with --set pixelrnn.{key}={least}"),
                });
            }
        }
        let network = Network::new(self, shape, &mut Init::new(seed, device));
        Ok(PixelRnn { config: self.clone(), shape, network })
    }
}

/// The network and what it is for.
#[derive(Clone, Debug)]
pub struct PixelRnn {
    config: PixelRnnConfig,
    shape: ImageShape,
    /// Images to the parameters of the laws of their values.
    pub network: Network,
}

impl PixelRnn {
    /// log p(x) of each image in nats.
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` on the scale of the likelihood, the result `[batch]`.
    ///
    /// # Panics
    ///
    /// When the images do not have the shape the model was made for.
    pub fn log_prob(&self, x: Tensor<4>) -> Tensor<1> {
        let [batch, height, width, channels] = x.dims();
        let ImageShape { height: h, width: w, channels: c } = self.shape;
        assert!(
            [height, width, channels] == [h, w, c],
            "images {:?} are not [batch, {h}, {w}, {c}]",
            x.dims()
        );
        let parameters = self.network.forward(x.clone());
        match self.config.likelihood {
            PixelLaw::Bernoulli => bernoulli_log_prob(parameters, x),
            PixelLaw::Softmax => {
                let values = batch * self.shape.dims();
                let levels: Tensor<4, Int> = ((x.inner() + 1.0) * 127.5).round().int();
                let logits = parameters.reshape([values, self.config.likelihood.parameters()]);
                let log_prob = categorical_log_prob(logits, levels.reshape([values]));
                log_prob.reshape([batch, self.shape.dims()]).sum_dim(1).reshape([batch])
            }
        }
    }

    /// The mean of −log p(x) over images `x`, in nats, `[1]` (Eq. 1).
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` on the scale of the likelihood.
    pub fn loss(&self, x: Tensor<4>) -> Tensor<1> {
        self.log_prob(x).mean().neg()
    }
}

/// All layers (Table 1).
#[derive(Module, Debug)]
pub struct Network {
    first: MaskedConv2d,
    layers: Vec<Layer>,
    head: MaskedConv2d,
    output: MaskedConv2d,
}

impl Network {
    fn new(config: &PixelRnnConfig, shape: ImageShape, init: &mut Init) -> Network {
        let channels = shape.channels;
        let parameters = channels * config.likelihood.parameters();
        let (wide, head) = (2 * config.hidden, config.head);
        let one = Kernel::square(1, Mask::B);
        Network {
            first: masked(Kernel::square(FIRST_KERNEL, Mask::A), [channels, wide], 1, channels, init),
            layers: (0..config.layers).map(|_| Layer::new(config, channels, init)).collect(),
            head: masked(one, [wide, head], 1, channels, init),
            output: masked(one, [head, parameters], 1, channels, init),
        }
    }

    /// The parameters of the laws of all values of images `x`.
    ///
    /// # Shapes
    ///
    /// `[batch, height, width, channels]` to `[batch, height, width, channels · parameters]`, those of a channel one after
    /// another.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let maps = self.first.forward(x, Activation::Identity);
        let maps = self.layers.iter().fold(maps, |maps, layer| layer.forward(maps));
        let head = self.head.forward(activate(maps, Activation::Relu), Activation::Relu);
        self.output.forward(head, Activation::Identity)
    }
}

/// A recurrent layer with its way back to 2h features, added to what came in (§3.3).
#[derive(Module, Debug)]
pub struct Layer {
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
pub struct Recurrence {
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

/// A pixel of one of several images that lie one after another.
#[derive(Clone, Copy, Debug)]
struct Pixel {
    image: usize,
    row: usize,
    column: usize,
}

impl Pixel {
    /// Its number among the pixels of all images.
    fn index(self, shape: ImageShape) -> usize {
        (self.image * shape.height + self.row) * shape.width + self.column
    }
}

/// The network with packed weights, for any pixels whose predecessors are known. Every number is the same to the bit for one pixel
/// at a time as for many, so what is coded value by value can be weighed all at once.
struct Exact {
    shape: ImageShape,
    likelihood: PixelLaw,
    first: ExactConv,
    layers: Vec<ExactLayer>,
    head: ExactConv,
    output: ExactConv,
}

struct ExactLayer {
    recurrences: Vec<ExactRecurrence>,
    up: ExactConv,
}

struct ExactRecurrence {
    input: ExactConv,
    state: PackedLinear,
    lines: Lines,
}

struct ExactConv {
    linear: PackedLinear,
    window: Window,
    inputs: usize,
}

/// What is known of images side by side: their values and what the network made of them.
struct Memory {
    /// `[images, height, width, channels]`, unknown values zero.
    x: Vec<f32>,
    /// `[images, height, width, 2 · hidden]` in front of each layer and behind the last.
    maps: Vec<Vec<f32>>,
    /// Of each layer, for each of its recurrences.
    states: Vec<Vec<States>>,
}

/// Hidden states and cells of a recurrence, `[images, height, width, hidden]`.
struct States {
    hidden: Vec<f32>,
    cells: Vec<f32>,
}

impl Exact {
    fn new(model: &PixelRnn) -> Exact {
        let (shape, network) = (model.shape, &model.network);
        let layer = |layer: &Layer| ExactLayer {
            recurrences: layer.recurrences.iter().map(|recurrence| recurrence.exact(shape)).collect(),
            up: ExactConv::new(&layer.up, shape),
        };
        Exact {
            shape,
            likelihood: model.config.likelihood,
            first: ExactConv::new(&network.first, shape),
            layers: network.layers.iter().map(layer).collect(),
            head: ExactConv::new(&network.head, shape),
            output: ExactConv::new(&network.output, shape),
        }
    }

    /// The memory of `images` images of which nothing is known.
    fn memory(&self, images: usize) -> Memory {
        let pixels = images * self.shape.height * self.shape.width;
        let zeros = |features: usize| vec![0.0; pixels * features];
        let states = |recurrence: &ExactRecurrence| {
            let hidden = recurrence.hidden();
            States { hidden: zeros(hidden), cells: zeros(hidden) }
        };
        Memory {
            x: zeros(self.shape.channels),
            maps: (0..=self.layers.len()).map(|_| zeros(self.first.linear.outputs())).collect(),
            states: self.layers.iter().map(|layer| layer.recurrences.iter().map(states).collect()).collect(),
        }
    }

    /// The first layer at `pixels`.
    fn enter(&self, pixels: &[Pixel], memory: &mut Memory) {
        let maps = self.first.at(pixels, &memory.x);
        scatter(&maps, pixels, self.shape, &mut memory.maps[0]);
    }

    /// One recurrence of a layer at `pixels`, whose predecessors it has passed.
    fn recur(&self, layer: usize, recurrence: usize, pixels: &[Pixel], memory: &mut Memory) {
        let states = &mut memory.states[layer][recurrence];
        self.layers[layer].recurrences[recurrence].step(pixels, self.shape, &memory.maps[layer], states);
    }

    /// What a layer makes of the states of its recurrences at `pixels`.
    fn leave(&self, layer: usize, pixels: &[Pixel], memory: &mut Memory) {
        let up = &self.layers[layer].up;
        let hidden = up.linear.inputs();
        let mut sums = gather(&memory.states[layer][0].hidden, pixels, self.shape, hidden);
        for states in &memory.states[layer][1..] {
            for (pixel, sum) in pixels.iter().zip(sums.chunks_exact_mut(hidden)) {
                if let Some(row) = pixel.row.checked_sub(1) {
                    let above = Pixel { row, ..*pixel }.index(self.shape);
                    inference::add(sum, &states.hidden[above * hidden..][..hidden]);
                }
            }
        }
        let mut maps = vec![0.0; pixels.len() * up.linear.outputs()];
        up.linear.forward(&sums, &mut maps);
        inference::add(&mut maps, &gather(&memory.maps[layer], pixels, self.shape, up.linear.outputs()));
        scatter(&maps, pixels, self.shape, &mut memory.maps[layer + 1]);
    }

    /// The laws of all channels of `pixels`, `[pixels, channels, alphabet]`.
    fn laws(&self, pixels: &[Pixel], memory: &Memory) -> Vec<f32> {
        let (head, output) = (&self.head.linear, &self.output.linear);
        let mut maps = gather(&memory.maps[self.layers.len()], pixels, self.shape, head.inputs());
        inference::activate(&mut maps, Activation::Relu);
        let mut features = vec![0.0; pixels.len() * head.outputs()];
        head.forward(&maps, &mut features);
        inference::activate(&mut features, Activation::Relu);
        let mut laws = vec![0.0; pixels.len() * output.outputs()];
        output.forward(&features, &mut laws);
        match self.likelihood {
            PixelLaw::Bernoulli => {
                // log(1 − p) = −softplus(logit) and log p = −softplus(−logit).
                let mut laws: Vec<f32> = laws.iter().flat_map(|&logit| [logit, -logit]).collect();
                inference::activate(&mut laws, Activation::Softplus);
                laws.iter_mut().for_each(|law| *law = -*law);
                laws
            }
            PixelLaw::Softmax => {
                inference::log_softmax(&mut laws, 256);
                laws
            }
        }
    }

    /// The laws of all values of one image.
    fn all_laws(&self, values: &[u32]) -> Vec<f32> {
        let mut memory = self.memory(1);
        memory.x = values.iter().map(|&value| self.likelihood.number(value)).collect();
        let ImageShape { height, width, .. } = self.shape;
        let pixels: Vec<Pixel> = (0..height)
            .flat_map(|row| (0..width).map(move |column| Pixel { image: 0, row, column }))
            .collect();
        self.enter(&pixels, &mut memory);
        for (number, layer) in self.layers.iter().enumerate() {
            for (which, recurrence) in layer.recurrences.iter().enumerate() {
                let mut lines = vec![Vec::new(); height + width];
                pixels.iter().for_each(|&pixel| lines[recurrence.line(pixel, self.shape)].push(pixel));
                for line in lines {
                    self.recur(number, which, &line, &mut memory);
                }
            }
            self.leave(number, &pixels, &mut memory);
        }
        self.laws(&pixels, &memory)
    }
}

impl ExactConv {
    /// The outputs at `pixels` of `maps [images, height, width, inputs]`, without activation.
    fn at(&self, pixels: &[Pixel], maps: &[f32]) -> Vec<f32> {
        let starts = |pixel: &Pixel| self.window.starts(pixel.image, [pixel.row, pixel.column]);
        let starts: Vec<Option<usize>> = pixels.iter().flat_map(starts).collect();
        let mut out = vec![0.0; pixels.len() * self.linear.outputs()];
        self.linear.forward(Rows::pieces(maps, self.inputs, &starts), &mut out);
        out
    }
}

impl ExactRecurrence {
    fn hidden(&self) -> usize {
        self.state.outputs() / 4
    }

    /// The number of the line that `pixel` lies on, see [`Lines`].
    fn line(&self, pixel: Pixel, shape: ImageShape) -> usize {
        match self.lines {
            Lines::Rows => pixel.row,
            Lines::Diagonals => pixel.row + pixel.column,
            Lines::MirroredDiagonals => pixel.row + shape.width - 1 - pixel.column,
        }
    }

    /// The pixel whose cell goes on in that of `pixel`, and those whose states it sees, tap by tap.
    fn before(&self, pixel: Pixel, shape: ImageShape) -> (Option<usize>, Vec<Option<usize>>) {
        let at = |up: usize, right: isize| {
            let row = pixel.row.checked_sub(up)?;
            let column = pixel.column.checked_add_signed(right).filter(|&column| column < shape.width)?;
            Some(Pixel { row, column, ..pixel }.index(shape))
        };
        match self.lines {
            Lines::Rows => (at(1, 0), vec![at(1, -1), at(1, 0), at(1, 1)]),
            Lines::Diagonals => (at(0, -1), vec![at(1, 0), at(0, -1)]),
            Lines::MirroredDiagonals => (at(0, 1), vec![at(1, 0), at(0, 1)]),
        }
    }

    /// States and cells at `pixels`, none of which is before another.
    fn step(&self, pixels: &[Pixel], shape: ImageShape, maps: &[f32], states: &mut States) {
        let hidden = self.hidden();
        let mut gates = self.input.at(pixels, maps);
        let before: Vec<_> = pixels.iter().map(|&pixel| self.before(pixel, shape)).collect();
        let seen = before.iter().flat_map(|(_, seen)| seen.iter().map(|at| at.map(|at| at * hidden)));
        let seen: Vec<Option<usize>> = seen.collect();
        self.state.forward_add(Rows::pieces(&states.hidden, hidden, &seen), &mut gates);
        let mut cells = Vec::with_capacity(pixels.len() * hidden);
        for (before, _) in &before {
            match before {
                Some(before) => cells.extend_from_slice(&states.cells[before * hidden..][..hidden]),
                None => cells.resize(cells.len() + hidden, 0.0),
            }
        }
        let mut h = vec![0.0; cells.len()];
        inference::lstm_cell(&mut gates, &mut cells, &mut h, hidden);
        scatter(&cells, pixels, shape, &mut states.cells);
        scatter(&h, pixels, shape, &mut states.hidden);
    }
}

/// The features of `pixels`, one after another.
fn gather(maps: &[f32], pixels: &[Pixel], shape: ImageShape, features: usize) -> Vec<f32> {
    pixels.iter().flat_map(|pixel| &maps[pixel.index(shape) * features..][..features]).copied().collect()
}

/// Puts the features of `pixels` in their places.
fn scatter(features: &[f32], pixels: &[Pixel], shape: ImageShape, maps: &mut [f32]) {
    let count = features.len() / pixels.len().max(1);
    for (pixel, features) in pixels.iter().zip(features.chunks_exact(count.max(1))) {
        maps[pixel.index(shape) * count..][..count].copy_from_slice(features);
    }
}

impl ExactConv {
    fn new(conv: &MaskedConv2d, shape: ImageShape) -> ExactConv {
        let [height, width, inputs, outputs] = conv.weight.dims();
        let weight: Vec<f32> = conv.masked_weight().into_data().iter::<f32>().collect();
        let rows = conv.options().live.unwrap_or(height * width) * inputs;
        ExactConv {
            linear: PackedLinear::new(&weight[..rows * outputs], Some(&values(&conv.bias)), rows, outputs),
            window: Window::new([shape.height, shape.width, inputs], [height, width], conv.options()),
            inputs,
        }
    }
}

impl Recurrence {
    fn exact(&self, shape: ImageShape) -> ExactRecurrence {
        let [taps, hidden, gates] = self.state.dims();
        ExactRecurrence {
            input: ExactConv::new(&self.input, shape),
            state: PackedLinear::new(&values(&self.state), None, taps * hidden, gates),
            lines: self.lines,
        }
    }
}

/// Images that are read or written side by side. A value costs one pixel's part of every layer; the half of a Diagonal BiLSTM that
/// comes from the right passes over a row when the row is complete.
struct PixelReader {
    exact: Exact,
    memory: Memory,
    images: usize,
    /// How many values of each image are known.
    known: usize,
    /// Of the next value, `[images, alphabet]`.
    laws: Option<Vec<f32>>,
}

impl PixelReader {
    /// The pixel of every image at this place.
    fn pixels(&self, row: usize, column: usize) -> Vec<Pixel> {
        (0..self.images).map(|image| Pixel { image, row, column }).collect()
    }

    /// Row, column and channel of the next value.
    fn place(&self) -> [usize; 3] {
        let ImageShape { width, channels, .. } = self.exact.shape;
        let pixel = self.known / channels;
        [pixel / width, pixel % width, self.known % channels]
    }

    fn next_laws(&mut self) -> Vec<f32> {
        let shape = self.exact.shape;
        assert!(self.known < shape.dims(), "all {} values of the images are known", shape.dims());
        let [row, column, channel] = self.place();
        let pixels = self.pixels(row, column);
        self.exact.enter(&pixels, &mut self.memory);
        for layer in 0..self.exact.layers.len() {
            self.exact.recur(layer, 0, &pixels, &mut self.memory);
            self.exact.leave(layer, &pixels, &mut self.memory);
        }
        let laws = self.exact.laws(&pixels, &self.memory);
        let alphabet = self.exact.likelihood.alphabet();
        let of_pixels = laws.chunks_exact(shape.channels * alphabet);
        of_pixels.flat_map(|laws| &laws[channel * alphabet..][..alphabet]).copied().collect()
    }
}

impl Reader for PixelReader {
    fn laws(&mut self) -> &[f32] {
        let laws = match self.laws.take() {
            Some(laws) => laws,
            None => self.next_laws(),
        };
        self.laws.insert(laws)
    }

    fn push(&mut self, values: &[u32]) {
        assert!(values.len() == self.images, "{} values for {} images", values.len(), self.images);
        let alphabet = self.exact.likelihood.alphabet();
        assert!(
            values.iter().all(|&value| (value as usize) < alphabet),
            "a value of {values:?} is not below {alphabet}"
        );
        // What the network makes of this place is needed later, whether or not its law was.
        self.laws();
        let shape = self.exact.shape;
        let [row, column, _] = self.place();
        for (image, &value) in values.iter().enumerate() {
            self.memory.x[image * shape.dims() + self.known] = self.exact.likelihood.number(value);
        }
        self.known += 1;
        self.laws = None;
        if self.known.is_multiple_of(shape.width * shape.channels) {
            debug_assert_eq!(column, shape.width - 1);
            for layer in 0..self.exact.layers.len() {
                for recurrence in 1..self.exact.layers[layer].recurrences.len() {
                    for column in (0..shape.width).rev() {
                        self.exact.recur(layer, recurrence, &self.pixels(row, column), &mut self.memory);
                    }
                }
            }
        }
    }
}

impl Code for PixelRnn {
    fn alphabet(&self) -> usize {
        self.config.likelihood.alphabet()
    }

    fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
        let exact = Exact::new(self);
        let images = classes.len();
        Box::new(PixelReader { memory: exact.memory(images), exact, images, known: 0, laws: None })
    }

    fn all_laws(&self, sequences: &[&[u32]], _classes: &[Option<u32>]) -> Option<Vec<f32>> {
        let exact = Exact::new(self);
        let laws: Vec<Vec<f32>> = sequences.par_iter().map(|values| exact.all_laws(values)).collect();
        Some(laws.concat())
    }
}

impl Sample for PixelRnn {
    fn sample(&self, seed: u64, indices: Range<u64>) -> Tensor<4> {
        generate::images(self, self.shape, 0, seed, indices, &self.network.devices()[0])
    }
}

impl ImageLikelihood for PixelRnn {
    fn scale(&self) -> Scale {
        self.config.likelihood.scale()
    }

    fn log_prob(&self, images: Tensor<4>, _classes: &[u32]) -> Vec<f64> {
        PixelRnn::log_prob(self, images).into_data().iter::<f64>().collect()
    }
}

impl Model for PixelRnn {
    fn sampler(&self) -> Option<&dyn Sample> {
        Some(self)
    }

    fn likelihood(&self) -> Option<Likelihood<'_>> {
        Some(Likelihood::Images(self))
    }

    fn code(&self) -> Option<&dyn Code> {
        Some(self)
    }
}

/// A PixelRNN in training.
struct Training {
    model: PixelRnn,
    optimizer: Optimizer,
    batches: Batches,
}

impl Training {
    /// One step on given images.
    fn learn(&mut self, x: Tensor<4>, schedule: f64) -> Terms {
        let loss = self.model.loss(x);
        let mut gradients = loss.backward();
        let network = self.model.network.clone();
        self.model.network = self.optimizer.step(network, &mut gradients, schedule);
        let nll = loss.inner();
        let bits = nll.clone() / (self.model.shape.dims() as f64 * std::f64::consts::LN_2);
        Terms::new().with("nll", nll).with("bits_per_dim", bits)
    }
}

impl Session for Training {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        let x = match self.model.config.likelihood.scale() {
            Scale::Binary => self.batches.binarized(step),
            Scale::EightBit => self.batches.images(step),
        };
        self.learn(x, schedule)
    }

    fn weights(&self) -> Weights {
        Weights::of("network", &self.model.network)
    }

    fn optimizer_state(&self) -> Weights {
        self.optimizer.state("optimizer")
    }

    fn restore(&mut self, weights: &Weights, optimizer_state: &Weights) -> Result<(), String> {
        self.model.network = weights.put_into("network", self.model.network.clone())?;
        self.optimizer.restore("optimizer", optimizer_state);
        Ok(())
    }
}

/// The PixelRNN in the catalogue.
pub struct PixelRnnEntry;

impl Entry for PixelRnnEntry {
    fn name(&self) -> &'static str {
        "pixelrnn"
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
        recipes!("pixelrnn": "shapes", "mnist")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig { batch_size: 16, sample_schedule: SampleSchedule::Logarithmic, ..TrainConfig::default() }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&PixelRnnConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: PixelRnnConfig = start.config.model()?;
        let model = config.init(start.spec.images()?, start.config.seed, &start.device)?;
        let optimizer = config.optimizer.optimizer(config.learning_rate, config.clip_norm);
        Ok(Box::new(Training { model, optimizer, batches: start.batches()? }))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: PixelRnnConfig = config.model()?;
        let mut model = config.init(spec.images()?, 0, device)?;
        let misfit = |reason| Error::WeightsMismatch { model: "pixelrnn".into(), reason };
        model.network = weights.put_into("network", model.network).map_err(misfit)?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let shape = spec.images()?;
        let config: PixelRnnConfig = config.model()?;
        let model = config.init(shape, 0, &Device::flex())?;
        let recurrences = match config.body {
            Body::Row => 1,
            Body::Diagonal => 2,
        };
        // A recurrence holds its gates in front of and behind their functions, cells and states; a layer two maps of 2h.
        let layer = (recurrences * 10 + 4) * config.hidden;
        let outputs = config.likelihood.parameters() * shape.channels;
        let pixel = config.layers * layer + 4 * config.hidden + 2 * config.head + 2 * outputs;
        Ok(Footprint {
            parameters: vec![("network", num_parameters(&model.network))],
            activations: 2 * pixel * shape.height * shape.width,
        })
    }
}

#[cfg(test)]
mod tests;
