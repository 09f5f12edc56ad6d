//! PixelCNN++.
//!
//! Salimans, Karpathy, Chen and Kingma, "PixelCNN++: Improving the PixelCNN with discretized logistic mixture likelihood
//! and other modifications", 2017, arXiv:1701.05517. An image is the product of the laws of its pixels, row by row. All
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

use std::collections::BTreeMap;
use std::f64::consts::LN_2;
use std::ops::Range;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_kernels::{
    ConvOptions, ConvTransposeOptions, Grid, add, concat_elu, conv_transpose2d, conv2d, embedding,
    gate_halves, logistic_mixture_log_prob, uniform,
};
use serde::{Deserialize, Serialize};

use crate::capability::{Capability, Code, ImageLikelihood, Likelihood, Model, Reader, Sample, Scale};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{Batches, DataSpec, ImageShape};
use crate::error::{Error, Result};
use crate::generate;
use crate::nn::{Activation, Init, Weights, num_parameters};
use crate::rng;
use crate::train::{Optimizer, OptimizerConfig, Session, Terms};

/// How often both sides are halved.
const HALVINGS: usize = 2;
/// Deviation of the first values of directions.
const DIRECTION: f64 = 0.05;
/// Deviation that data-dependent first values give to what a residual block adds, before its gate; 1 elsewhere.
const RESIDUAL: f64 = 0.1;

/// Data-dependent first gains stretch the deviation of a feature by no more than this. Features of the smallest sizes may hardly
/// vary over a batch: of images of four rows, the stream of the rows above is constant there.
const LARGEST_GAIN: f64 = 10.0;

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
    /// Part of the features that is left out inside of residual blocks in training (the paper: 0.5, which a small network
    /// that sees its data once does without).
    pub dropout: f64,
    /// Whether the image depends on its class, which then adds a bias in every residual block.
    pub conditional: bool,
    /// Step size of Adam (the paper's code: 0.001).
    pub learning_rate: f64,
    /// What each step multiplies the step size with (the paper's code: 0.999995).
    pub learning_rate_decay: f64,
}

impl Default for PixelCnnPpConfig {
    fn default() -> PixelCnnPpConfig {
        PixelCnnPpConfig {
            width: 40,
            blocks: 2,
            mixtures: 5,
            dropout: 0.0,
            conditional: false,
            learning_rate: 1e-3,
            learning_rate_decay: 0.999_995,
        }
    }
}

impl PixelCnnPpConfig {
    /// Makes the network for images of `shape` in `classes` classes, with first weights drawn from `seed`; gains and biases
    /// wait for [`PixelCnnPp::initialise`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a size of zero, a dropout that leaves nothing, sides that 4 does not divide, or classes
    /// asked for where there are none.
    pub fn init(&self, shape: ImageShape, classes: usize, seed: u64, device: &Device) -> Result<PixelCnnPp> {
        self.validate(shape, classes)?;
        let mut init = Init::new(seed, device);
        let classes = if self.conditional { classes } else { 0 };
        let network = Network::new(self, shape.channels, classes, &mut init);
        Ok(PixelCnnPp { config: self.clone(), shape, network })
    }

    fn validate(&self, shape: ImageShape, classes: usize) -> Result<()> {
        let fault = |key: &str, value: String, reason: &str, remedy: &str| {
            Err(Error::InvalidValue { key: key.into(), value, reason: reason.into(), remedy: remedy.into() })
        };
        let sizes = [("width", self.width), ("blocks", self.blocks), ("mixtures", self.mixtures)];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            let remedy = format!("set a positive number with --set pixelcnn-pp.{key}=N");
            return fault(&format!("pixelcnn-pp.{key}"), "0".into(), "a network needs at least one", &remedy);
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let (value, reason) = (self.dropout.to_string(), "it is a part, and something has to be left");
            return fault("pixelcnn-pp.dropout", value, reason, "give 0 to 0.9");
        }
        let ImageShape { height, width, channels } = shape;
        let unit = 1 << HALVINGS;
        if !height.is_multiple_of(unit) || !width.is_multiple_of(unit) || height * width == 0 {
            let value = format!("{height}×{width}×{channels}");
            let reason = "the network halves both sides twice";
            return fault("data.size", value, reason, "choose sides that 4 divides with --size");
        }
        if self.conditional && classes == 0 {
            let reason = "the data have no classes";
            let remedy = "set pixelcnn-pp.conditional=false, or give data with labels";
            return fault("pixelcnn-pp.conditional", "true".into(), reason, remedy);
        }
        Ok(())
    }

    fn adam(&self) -> OptimizerConfig {
        OptimizerConfig::adam(self.learning_rate, 0.95, 0.9995)
    }
}

/// The network with what it was made for.
#[derive(Clone, Debug)]
pub struct PixelCnnPp {
    config: PixelCnnPpConfig,
    shape: ImageShape,
    /// Images to the parameters of their pixels' laws.
    pub network: Network,
}

impl PixelCnnPp {
    /// The parameters of the law of each pixel given those before it, in the order of [`logistic_mixture_log_prob`].
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` in [-1, 1], with a class for each image that only a model conditioned on
    /// classes reads; the result is `[batch, height, width, parameters]`.
    pub fn parameters(&self, x: &Tensor<4>, classes: &[u32]) -> Tensor<4> {
        self.network.forward(x, &mut self.pass(classes, Mode::Use))
    }

    /// −log p(x) of each image in nats, `[batch]`; `noise` draws numbers in [0, 1) of the shape it is given, which dropout
    /// compares with its part.
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
            Mode::Use
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
    pub fn initialise(&mut self, x: &Tensor<4>, classes: &[u32]) {
        let mut found = FirstValues(BTreeMap::new());
        self.network.forward(x, &mut self.pass(classes, Mode::Initialise(&mut found)));
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

/// What goes through the network beside features.
struct Pass<'a> {
    /// `[batch, 1]`, of a model conditioned on classes.
    classes: Option<Tensor<2, Int>>,
    mode: Mode<'a>,
}

enum Mode<'a> {
    Use,
    /// Leaves features out where `noise`, in [0, 1), is below `part`.
    Dropout {
        part: f64,
        noise: &'a mut dyn FnMut([usize; 4]) -> Tensor<4>,
    },
    /// Finds first values of gains and biases.
    Initialise(&'a mut FirstValues),
}

/// The streams through three sizes and back (§2.3).
#[derive(Module, Debug)]
pub struct Network {
    input: Input,
    /// From the image to the smallest size.
    shrinking: Vec<Size>,
    /// From the smallest size to the image.
    growing: Vec<Size>,
    /// 1×1, to the parameters of the pixels.
    output: Normed,
}

/// The first layers, in which a pixel begins to see those before it, and not itself.
#[derive(Module, Debug)]
struct Input {
    /// Two rows above.
    above: Normed,
    /// One row above.
    row: Normed,
    /// The column to the left.
    column: Normed,
}

/// What happens at one size on the way down or back.
#[derive(Module, Debug)]
struct Size {
    blocks: Vec<Pair>,
    /// To the next size.
    next: Option<Resize>,
}

/// A residual block of each stream.
#[derive(Module, Debug)]
struct Pair {
    above: Residual,
    before: Residual,
}

/// A strided or a transposed convolution of each stream.
#[derive(Module, Debug)]
struct Resize {
    above: Normed,
    before: Normed,
}

/// Features at one size.
#[derive(Clone)]
struct Streams {
    above: Features,
    before: Features,
}

/// Features of one stream, as residual blocks add to them, and as layers read them.
#[derive(Clone)]
struct Features {
    /// `[batch, height, width, width of the stream]`.
    plain: Tensor<4>,
    /// The same and their negatives, through an ELU.
    active: Tensor<4>,
}

impl Features {
    fn new(plain: Tensor<4>) -> Features {
        Features { active: concat_elu(plain.clone()), plain }
    }
}

impl Network {
    fn new(config: &PixelCnnPpConfig, channels: usize, classes: usize, init: &mut Init) -> Network {
        let width = config.width;
        let mut input = |stream, kernel| Normed::conv(stream, kernel, 1, channels + 1, width, init);
        let input = Input {
            above: input(Stream::Above, [2, 3]),
            row: input(Stream::Above, [1, 3]),
            column: input(Stream::Before, [2, 1]),
        };
        let mut blocks = |count, short_cuts: [usize; 2]| -> Vec<Pair> {
            let mut block = |stream, short_cut| Residual::new(stream, width, short_cut, classes, init);
            let pair = |_| Pair {
                above: block(Stream::Above, short_cuts[0]),
                before: block(Stream::Before, short_cuts[1]),
            };
            (0..count).map(pair).collect()
        };
        let mut shrinking: Vec<Size> = (0..=HALVINGS)
            .map(|_| Size { blocks: blocks(config.blocks, [0, 2 * width]), next: None })
            .collect();
        let mut growing: Vec<Size> = (0..=HALVINGS)
            .map(|size| {
                let count = config.blocks + usize::from(size > 0);
                Size { blocks: blocks(count, [2 * width, 4 * width]), next: None }
            })
            .collect();
        for size in 0..HALVINGS {
            let mut halve = |stream, kernel| Normed::conv(stream, kernel, 2, width, width, init);
            shrinking[size].next =
                Some(Resize { above: halve(Stream::Above, [2, 3]), before: halve(Stream::Before, [2, 2]) });
            let mut double = |stream, kernel| Normed::transposed(stream, kernel, width, init);
            growing[size].next =
                Some(Resize { above: double(Stream::Above, [2, 3]), before: double(Stream::Before, [2, 2]) });
        }
        let parameters = config.mixtures * (1 + 2 * channels + channels * (channels - 1) / 2);
        let output = Normed::conv(Stream::Above, [1, 1], 1, width, parameters, init);
        Network { input, shrinking, growing, output }
    }

    /// How many classes it is conditioned on.
    fn classes(&self) -> usize {
        let class = &self.shrinking[0].blocks[0].above.class;
        class.as_ref().map_or(0, |table| table.dims()[0])
    }

    /// `[batch, height, width, channels]` to `[batch, height, width, parameters]`.
    fn forward(&self, x: &Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        let mut features = self.input.forward(x, pass);
        let mut passed = vec![features.clone()];
        for size in &self.shrinking {
            for pair in &size.blocks {
                features = pair.forward(&features, None, pass);
                passed.push(features.clone());
            }
            if let Some(halve) = &size.next {
                features = halve.forward(features, pass);
                passed.push(features.clone());
            }
        }
        // The smallest size goes back from where it is; everything before it comes in again as a short-cut.
        passed.pop();
        for size in &self.growing {
            for pair in &size.blocks {
                features = pair.forward(&features, passed.pop(), pass);
            }
            if let Some(double) = &size.next {
                features = double.forward(features, pass);
            }
        }
        let width = features.before.plain.dims()[3];
        // The first half of the active features is their ELU.
        self.output.forward(features.before.active.narrow(3, 0, width), pass)
    }
}

impl Input {
    fn forward(&self, x: &Tensor<4>, pass: &mut Pass) -> Streams {
        let [batch, height, width, channels] = x.dims();
        // A channel of ones tells the image from what lies around it.
        let x = Tensor::cat(vec![x.clone(), Tensor::ones([batch, height, width, 1], &x.device())], 3);
        let nothing = |shape| Tensor::zeros(shape, &x.device());
        let row = nothing([batch, 1, width, channels + 1]);
        let down = Tensor::cat(vec![row, x.clone().narrow(1, 0, height - 1)], 1);
        let column = nothing([batch, height, 1, channels + 1]);
        let right = Tensor::cat(vec![column, x.clone().narrow(2, 0, width - 1)], 2);
        let above = self.above.forward(down.clone(), pass);
        let before = add(self.row.forward(down, pass), self.column.forward(right, pass));
        Streams { above: Features::new(above), before: Features::new(before) }
    }
}

impl Pair {
    /// `passed` is what the mirror layer on the way down had.
    fn forward(&self, features: &Streams, passed: Option<Streams>, pass: &mut Pass) -> Streams {
        let (mirror_above, mirror_before) = passed.map(|p| (p.above.active, p.before.active)).unzip();
        let above = self.above.forward(&features.above, mirror_above.into_iter().collect(), pass);
        let beside = std::iter::once(above.active.clone()).chain(mirror_before).collect();
        let before = self.before.forward(&features.before, beside, pass);
        Streams { above, before }
    }
}

impl Resize {
    fn forward(&self, features: Streams, pass: &mut Pass) -> Streams {
        Streams {
            above: Features::new(self.above.forward(features.above.plain, pass)),
            before: Features::new(self.before.forward(features.before.plain, pass)),
        }
    }
}

/// x + a ⊙ σ(b), where a and b come from two convolutions with a dropout between them (§2.4).
#[derive(Module, Debug)]
struct Residual {
    first: Normed,
    /// 1×1, from active features that come in by a short-cut.
    short_cut: Option<Normed>,
    /// To a and b.
    second: Normed,
    /// What a class adds to a and b, `[classes, 2 · width]`.
    class: Option<Param<Tensor<2>>>,
}

impl Residual {
    fn new(stream: Stream, width: usize, short_cut: usize, classes: usize, init: &mut Init) -> Residual {
        let kernel = match stream {
            Stream::Above => [2, 3],
            Stream::Before => [2, 2],
        };
        Residual {
            first: Normed::conv(stream, kernel, 1, 2 * width, width, init),
            short_cut: (short_cut > 0).then(|| Normed::conv(stream, [1, 1], 1, short_cut, width, init)),
            second: Normed {
                first_deviation: RESIDUAL,
                ..Normed::conv(stream, kernel, 1, 2 * width, 2 * width, init)
            },
            class: (classes > 0).then(|| init.normal([classes, 2 * width], 0.0, DIRECTION)),
        }
    }

    /// `short_cuts` are the active features that come in, if any do.
    fn forward(&self, x: &Features, short_cuts: Vec<Tensor<4>>, pass: &mut Pass) -> Features {
        let mut h = self.first.forward(x.active.clone(), pass);
        if let Some(layer) = &self.short_cut {
            h = add(h, layer.forward_side_by_side(short_cuts, pass));
        }
        let mut h = concat_elu(h);
        if let Mode::Dropout { part, noise } = &mut pass.mode {
            let kept = noise(h.dims()).greater_equal_elem(*part).float();
            h = h * (kept * (1.0 / (1.0 - *part)));
        }
        let mut h = self.second.forward(h, pass);
        if let (Some(table), Some(classes)) = (&self.class, &pass.classes) {
            let bias = embedding(table.val(), classes.clone());
            let [batch, _, width] = bias.dims();
            h = h + bias.reshape([batch, 1, 1, width]);
        }
        Features::new(add(x.plain.clone(), gate_halves(h, Activation::Identity, Activation::Sigmoid)))
    }
}

/// Which way a kernel looks from its pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// Up, to both sides.
    Above,
    /// Up and to the left.
    Before,
}

/// A weight-normalised convolution: y = x ∗ (g v / ‖v‖) + b, with a norm for each output.
#[derive(Module, Debug)]
struct Normed {
    /// v, `[kernel height, kernel width, inputs, outputs]`.
    direction: Param<Tensor<4>>,
    /// g, `[outputs]`.
    gain: Param<Tensor<1>>,
    /// b, `[outputs]`.
    bias: Param<Tensor<1>>,
    /// Columns of the kernel to the left of its pixel.
    left: usize,
    /// Pixels from one kernel to the next, in the input, or in the output of a transposed convolution.
    stride: usize,
    transposed: bool,
    /// What data-dependent first values make of the deviation of the result.
    #[module(skip)]
    first_deviation: f64,
}

impl Normed {
    /// A convolution that divides the sides by `stride`. The kernel's last row is that of the pixel; its columns are around the
    /// pixel, or end with it.
    fn conv(
        stream: Stream,
        kernel: [usize; 2],
        stride: usize,
        inputs: usize,
        outputs: usize,
        init: &mut Init,
    ) -> Normed {
        let left = match stream {
            Stream::Above => (kernel[1] - 1) / 2,
            Stream::Before => kernel[1] - 1,
        };
        Normed {
            direction: init.normal([kernel[0], kernel[1], inputs, outputs], 0.0, DIRECTION),
            gain: init.constant([outputs], 1.0),
            bias: init.constant([outputs], 0.0),
            left,
            stride,
            transposed: false,
            first_deviation: 1.0,
        }
    }

    /// A transposed convolution that doubles the sides: a pixel goes to the two rows and columns it becomes, and with
    /// three columns to the one before them.
    fn transposed(stream: Stream, kernel: [usize; 2], width: usize, init: &mut Init) -> Normed {
        Normed {
            left: kernel[1] - 2,
            transposed: true,
            ..Normed::conv(stream, kernel, 2, width, width, init)
        }
    }

    fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.forward_side_by_side(vec![x], pass)
    }

    /// The convolution of inputs whose channels follow one another.
    fn forward_side_by_side(&self, inputs: Vec<Tensor<4>>, pass: &mut Pass) -> Tensor<4> {
        let Mode::Initialise(found) = &mut pass.mode else {
            return self.apply(inputs, &self.weight(), Some(self.bias.val()));
        };
        let y = self.apply(inputs, &self.unit(), None);
        let (with_autodiff, outputs) = (y.is_autodiff(), self.gain.dims());
        let [y, gain, bias] = centred(y.inner(), self.first_deviation);
        found.0.insert(self.gain.id, gain.reshape(outputs));
        found.0.insert(self.bias.id, bias.reshape(outputs));
        if with_autodiff { y.autodiff() } else { y }
    }

    /// g v / ‖v‖.
    fn weight(&self) -> Tensor<4> {
        let direction = self.direction.val();
        let [rows, columns, inputs, outputs] = direction.dims();
        let flat = direction.reshape([rows * columns * inputs, outputs]);
        let norm = flat.clone().powi_scalar(2).sum_dim(0).sqrt();
        let scale = self.gain.val().reshape([1, outputs]) / norm;
        (flat * scale).reshape([rows, columns, inputs, outputs])
    }

    /// v / ‖v‖.
    fn unit(&self) -> Tensor<4> {
        let outputs = self.gain.dims()[0];
        self.weight() / self.gain.val().reshape([1, 1, 1, outputs])
    }

    fn apply(&self, inputs: Vec<Tensor<4>>, weight: &Tensor<4>, mut bias: Option<Tensor<1>>) -> Tensor<4> {
        let mut first = 0;
        let parts = inputs.into_iter().map(|x| {
            let channels = x.dims()[3];
            // Weights are cut apart, which are small, and not features put together.
            let part = weight.clone().narrow(2, first, channels);
            first += channels;
            self.convolve(x, part, bias.take())
        });
        parts.reduce(add).expect("a layer has an input")
    }

    fn convolve(&self, x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
        let [rows, columns, ..] = weight.dims();
        let stride = [self.stride; 2];
        if self.transposed {
            let padding = [[0, 0], [self.left, 0]];
            let options = ConvTransposeOptions { stride, padding, ..ConvTransposeOptions::default() };
            return conv_transpose2d(x, weight, bias, &options);
        }
        let padding = [[rows - 1, 0], [self.left, columns - 1 - self.left]];
        conv2d(x, weight, bias, &ConvOptions { stride, padding, ..ConvOptions::default() })
    }
}

/// The features `y` with mean 0 and the given deviation, and the gain and the bias that make them so.
fn centred(y: Tensor<4>, deviation: f64) -> [Tensor<4>; 3] {
    let shape = y.dims();
    let y = y.reshape([1, 1, shape[0] * shape[1] * shape[2], shape[3]]);
    let mean = y.clone().mean_dim(2);
    let var = (y.clone() - mean.clone()).powi_scalar(2).mean_dim(2);
    let gain = (var + 1e-10).sqrt().recip().clamp_max(LARGEST_GAIN) * deviation;
    let bias = mean.neg() * gain.clone();
    [(y * gain.clone() + bias.clone()).reshape(shape), gain, bias]
}

/// First values of gains and biases by parameter.
struct FirstValues(BTreeMap<ParamId, Tensor<1>>);

impl ModuleMapper for FirstValues {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(values) = self.0.remove(&param.id) else { return param };
        param.map(|old| {
            let new = values.reshape(old.dims());
            if old.is_autodiff() { new.autodiff().set_require_grad(old.is_require_grad()) } else { new }
        })
    }
}

impl ImageLikelihood for PixelCnnPp {
    fn scale(&self) -> Scale {
        Scale::EightBit
    }

    fn log_prob(&self, images: Tensor<4>, classes: &[u32]) -> Vec<f64> {
        log_prob(self.parameters(&images, classes), images).into_data().iter::<f64>().collect()
    }
}

impl Code for PixelCnnPp {
    fn alphabet(&self) -> usize {
        incremental::LEVELS
    }

    fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
        Box::new(incremental::PixelReader::new(self, classes))
    }

    fn all_laws(&self, sequences: &[&[u32]], classes: &[Option<u32>]) -> Option<Vec<f32>> {
        assert_eq!(classes.len(), sequences.len(), "classes for another number of images");
        let mut whole = incremental::WholeImages::new(self);
        let mut laws = Vec::with_capacity(sequences.len() * self.shape.dims() * incremental::LEVELS);
        for (image, class) in sequences.iter().zip(classes) {
            whole.laws(image, class.unwrap_or(0), &mut laws);
        }
        Some(laws)
    }
}

impl Sample for PixelCnnPp {
    /// Draws the images value by value; of a model conditioned on classes, image *i* is one of class *i*, counted around.
    fn sample(&self, seed: u64, indices: Range<u64>) -> Tensor<4> {
        let device = &self.network.devices()[0];
        generate::images(self, self.shape, self.network.classes(), seed, indices, device)
    }
}

impl Model for PixelCnnPp {
    fn sampler(&self) -> Option<&dyn Sample> {
        Some(self)
    }

    fn code(&self) -> Option<&dyn Code> {
        Some(self)
    }

    fn likelihood(&self) -> Option<Likelihood<'_>> {
        Some(Likelihood::Images(self))
    }
}

/// A PixelCNN++ in training.
struct Training {
    model: PixelCnnPp,
    adam: Optimizer,
    batches: Batches,
    seed: u64,
    device: Device,
}

impl Training {
    fn new(
        config: &PixelCnnPpConfig,
        shape: ImageShape,
        classes: usize,
        batches: Batches,
        seed: u64,
        device: Device,
    ) -> Result<Training> {
        let mut model = config.init(shape, classes, seed, &device)?;
        model.initialise(&batches.images(0), &batches.classes(0));
        Ok(Training { model, adam: Optimizer::new(config.adam()), batches, seed, device })
    }

    /// One step on given data and noise.
    fn learn(
        &mut self,
        step: u64,
        x: Tensor<4>,
        classes: &[u32],
        noise: &mut dyn FnMut([usize; 4]) -> Tensor<4>,
        schedule: f64,
    ) -> Terms {
        let nll = self.model.loss(x, classes, noise).mean();
        let mut gradients = nll.backward();
        let decay = self.model.config.learning_rate_decay.powf(step as f64);
        let network = self.model.network.clone();
        self.model.network = self.adam.step(network, &mut gradients, schedule * decay);
        let nll = nll.inner();
        let bits = nll.clone() / (self.model.shape.dims() as f64 * LN_2);
        Terms::new().with("nll", nll).with("bits_per_dim", bits)
    }
}

impl Session for Training {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        let (key, device) = (rng::key(self.seed, "dropout"), self.device.clone());
        // No network has as many blocks.
        let mut stream = step << 16;
        let mut noise = |shape| {
            stream += 1;
            uniform(shape, &key, stream, &device)
        };
        let (x, classes) = (self.batches.images(step), self.batches.classes(step));
        self.learn(step, x, &classes, &mut noise, schedule)
    }

    fn weights(&self) -> Weights {
        Weights::of("network", &self.model.network)
    }

    fn optimizer_state(&self) -> Weights {
        self.adam.state("adam")
    }

    fn restore(&mut self, weights: &Weights, optimizer_state: &Weights) -> Result<(), String> {
        self.model.network = weights.put_into("network", self.model.network.clone())?;
        self.adam.restore("adam", optimizer_state);
        Ok(())
    }
}

/// PixelCNN++ in the catalogue.
pub struct PixelCnnPpEntry;

impl Entry for PixelCnnPpEntry {
    fn name(&self) -> &'static str {
        "pixelcnn-pp"
    }

    fn summary(&self) -> &'static str {
        "PixelCNN++: exact log p(x) of images by mixtures of logistics over two shifted streams"
    }

    fn paper(&self) -> Paper {
        Paper {
            title: "PixelCNN++: Improving the PixelCNN with discretized logistic mixture likelihood and other modifications",
            authors: "Salimans, Karpathy, Chen, Kingma",
            year: 2017,
            arxiv: "1701.05517",
        }
    }

    fn domains(&self) -> &'static [Domain] {
        &[Domain::Images]
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sample, Capability::Likelihood, Capability::Code, Capability::Complete]
    }

    fn recipes(&self) -> &'static [crate::catalogue::Recipe] {
        recipes!("shapes", "cifar10")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig {
            batch_size: 16,
            // The paper's Polyak average.
            ema_decay: 0.9995,
            sample_schedule: SampleSchedule::Logarithmic,
            sample_frames: 20,
            sample_count: 16,
            ..TrainConfig::default()
        }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&PixelCnnPpConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: PixelCnnPpConfig = start.config.model()?;
        let (shape, classes) = (start.spec.images()?, start.spec.classes);
        let batches = start.batches()?;
        Ok(Box::new(Training::new(&config, shape, classes, batches, start.config.seed, start.device)?))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: PixelCnnPpConfig = config.model()?;
        let mut model = config.init(spec.images()?, spec.classes, 0, device)?;
        let misfit = |reason| Error::WeightsMismatch { model: "pixelcnn-pp".into(), reason };
        model.network = weights.put_into("network", model.network).map_err(misfit)?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let shape = spec.images()?;
        let config: PixelCnnPpConfig = config.model()?;
        let model = config.init(shape, spec.classes, 0, &Device::flex())?;
        // A block of a stream keeps its features, them and their negatives twice, and what its gate reads; with dropout
        // also the noise. At a half and a quarter of the sides there are a fourth and a sixteenth of the pixels.
        let block = config.width * if config.dropout > 0.0 { 11 } else { 7 };
        let blocks = 2 * (2 * config.blocks + 1);
        let pixels = shape.height * shape.width * 21 / 16;
        let parameters = model.network.output.gain.dims()[0];
        let activations = 2 * pixels * (blocks + 2) * block + 2 * shape.height * shape.width * parameters;
        Ok(Footprint { parameters: vec![("network", num_parameters(&model.network))], activations })
    }
}

mod incremental;
#[cfg(test)]
mod tests;
