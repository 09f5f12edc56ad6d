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
//! Differences from the paper: Adam is the usual choice here, beside RMSProp; 0 stands for what lies outside of an image, whose
//! numbers are in [-1, 1]; all rows of a vertical kernel are computed at once instead of by n×1 and 1×n convolutions. The vertical
//! stack is moved down by one row at the image and not at every layer, which is the same.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_kernels::{add, embedding, gate_halves};
use serde::{Deserialize, Serialize};

use super::causal::{Mask, MaskedConv2d};
use super::pixels::{PixelLaw, Pixels};
use crate::capability::{Capability, ImageLikelihood, Likelihood, Model, Scale};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Recipe, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{Batches, DataSpec};
use crate::error::{Error, Result};
use crate::nn::{Activation, Init, Law, Linear, Weights, activate, num_parameters};
use crate::train::{Optimizer, OptimizerConfig, Session, Terms};

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
    /// Rule of the optimizer: `adam` or `rmsprop`.
    pub optimizer: Rule,
    /// Step size.
    pub learning_rate: f64,
    /// Norm that gradients are scaled down to; 0 leaves them alone.
    pub clip_norm: f64,
}

/// Rule of the optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Adam (Kingma and Ba 2015).
    Adam,
    /// RMSProp, as in the paper.
    RmsProp,
}

impl Rule {
    /// The optimizer's settings.
    pub(crate) fn settings(self, learning_rate: f64, clip_norm: f64) -> OptimizerConfig {
        let rule = match self {
            Rule::Adam => {
                return OptimizerConfig { clip_norm, ..OptimizerConfig::adam(learning_rate, 0.9, 0.999) };
            }
            Rule::RmsProp => poiesis_kernels::Rule::RmsProp { alpha: 0.95, epsilon: 1e-8, momentum: 0.0 },
        };
        OptimizerConfig { clip_norm, ..OptimizerConfig::new(rule, learning_rate) }
    }
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
    pub fn init(&self, spec: &DataSpec, seed: u64, device: &Device) -> Result<GatedPixelCnn> {
        let shape = spec.images()?;
        let pixels = Pixels::new(self.law, self.levels, shape, NAME)?;
        self.check(shape.channels, spec.classes)?;
        let classes = if self.conditional { spec.classes } else { 0 };
        let network = Network::new(self, &pixels, classes, &mut Init::new(seed, device));
        Ok(GatedPixelCnn { pixels, network })
    }

    fn check(&self, channels: usize, classes: usize) -> Result<()> {
        let invalid = |key: &str, value: String, reason: &str, remedy: &str| {
            let (reason, remedy) = (reason.into(), remedy.into());
            Err(Error::InvalidValue { key: format!("{NAME}.{key}"), value, reason, remedy })
        };
        for (key, size) in [("width", self.width), ("head", self.head)] {
            if size < channels {
                return invalid(key, size.to_string(), "each channel needs features", "set a larger number");
            }
        }
        if self.layers == 0 {
            return invalid("layers", "0".into(), "a network needs a layer", "set a positive number");
        }
        for (key, side) in [("first_kernel", self.first_kernel), ("kernel", self.kernel)] {
            if side % 2 == 0 || side == 1 {
                return invalid(key, side.to_string(), "a kernel has a centre and sides", "choose 3, 5 or 7");
            }
        }
        if self.conditional && classes == 0 {
            return invalid("conditional", "true".into(), "the data have no classes", "set it to false");
        }
        Ok(())
    }
}

/// The network and what it is a distribution over.
#[derive(Clone, Debug)]
pub struct GatedPixelCnn {
    pixels: Pixels,
    network: Network,
}

impl GatedPixelCnn {
    /// The logits of all numbers of images (Eq. 1).
    ///
    /// # Shapes
    ///
    /// `images` is `[batch, height, width, channels]` on the scale of the law, `classes` has one for each image, read by a conditional
    /// model alone; the result is `[batch, height, width, channels · logits]`.
    ///
    /// # Panics
    ///
    /// When a conditional model does not get a class for each image.
    pub fn logits(&self, images: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        self.network.forward(self.pixels.inputs(images), classes)
    }

    /// −log p(x), averaged over the batch, in nats: `[1]`. Shapes as in [`logits`](GatedPixelCnn::logits).
    pub fn loss(&self, images: Tensor<4>, classes: &[u32]) -> Tensor<1> {
        self.pixels.log_prob(self.logits(images.clone(), classes), images).mean().neg()
    }
}

/// Both stacks and what follows them.
#[derive(Module, Debug)]
struct Network {
    layers: Vec<Layer>,
    /// 1×1, masked, to `head` features.
    hidden: MaskedConv2d,
    /// 1×1, masked, to the logits.
    output: MaskedConv2d,
}

impl Network {
    fn new(config: &GatedPixelCnnConfig, pixels: &Pixels, classes: usize, init: &mut Init) -> Network {
        let channels = pixels.shape.channels;
        let layers = (0..config.layers).map(|index| Layer::new(index == 0, config, channels, classes, init));
        let layers = layers.collect();
        let mut pointwise = |sizes| MaskedConv2d::new([1, 1], [0, 0], sizes, 1, Mask::B, 1.0, channels, init);
        let hidden = pointwise([config.width, config.head]);
        let output = pointwise([config.head, channels * pixels.logits()]);
        Network { layers, hidden, output }
    }

    fn forward(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        let classes: Vec<i32> = classes.iter().map(|&class| class as i32).collect();
        let classes = Tensor::from_data(TensorData::new(classes.clone(), [classes.len(), 1]), &x.device());
        let (mut v, mut h) = (x.clone(), x);
        for layer in &self.layers {
            (v, h) = layer.forward(v, h, &classes);
        }
        let h = self.hidden.forward(activate(h, Activation::Relu));
        self.output.forward(activate(h, Activation::Relu))
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

/// V_f and V_g of both stacks.
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
        let (kernel, inputs, [rows, left]) = match first {
            true => (config.first_kernel, channels, [Mask::Above, Mask::A]),
            false => (config.kernel, width, [Mask::Row, Mask::B]),
        };
        let reach = kernel / 2;
        let mut conv = |size, centre, sizes, parts, mask, gain| {
            MaskedConv2d::new(size, centre, sizes, parts, mask, gain, channels, init)
        };
        // A gate halves what passes, and no residual connection carries the vertical stack past it.
        let gain = if first { 1.0 } else { 2.0 };
        let vertical = conv([reach + 1, kernel], [reach, reach], [inputs, 2 * width], 2, rows, gain);
        let horizontal = conv([1, reach + 1], [0, reach], [inputs, 2 * width], 2, left, 1.0);
        let merge = conv([1, 1], [0, 0], [width, width], 1, Mask::B, 1.0);
        let link = Linear::new(2 * width, 2 * width, Law::FanIn, init);
        let class = (classes > 0).then(|| ClassBias {
            vertical: init.normal([classes, 2 * width], 0.0, 0.1),
            horizontal: init.normal([classes, 2 * width], 0.0, 0.1),
        });
        Layer { vertical, link, horizontal, merge, class, first }
    }

    /// The next features of both stacks, `[batch, height, width, p]`.
    fn forward(&self, v: Tensor<4>, h: Tensor<4>, classes: &Tensor<2, Int>) -> (Tensor<4>, Tensor<4>) {
        let mut rows = self.vertical.forward(v);
        let link = self.link.forward(rows.clone(), Activation::Identity);
        let mut left = add(self.horizontal.forward(h.clone()), link);
        if let Some(class) = &self.class {
            rows = rows + of_classes(&class.vertical, classes);
            left = left + of_classes(&class.horizontal, classes);
        }
        let v = gate_halves(rows, Activation::Tanh, Activation::Sigmoid);
        let next = self.merge.forward(gate_halves(left, Activation::Tanh, Activation::Sigmoid));
        (v, if self.first { next } else { add(h, next) })
    }
}

/// The rows of a table `[classes, features]` for `[batch, 1]` classes: `[batch, 1, 1, features]`.
fn of_classes(table: &Param<Tensor<2>>, classes: &Tensor<2, Int>) -> Tensor<4> {
    embedding(table.val(), classes.clone()).unsqueeze_dim(1)
}

impl ImageLikelihood for GatedPixelCnn {
    fn scale(&self) -> Scale {
        self.pixels.scale()
    }

    fn log_prob(&self, images: Tensor<4>, classes: &[u32]) -> Vec<f64> {
        let logits = self.logits(images.clone(), classes);
        self.pixels.log_prob(logits, images).into_data().iter::<f64>().collect()
    }
}

impl Model for GatedPixelCnn {
    fn likelihood(&self) -> Option<Likelihood<'_>> {
        Some(Likelihood::Images(self))
    }
}

/// A gated PixelCNN in training.
struct Training {
    model: GatedPixelCnn,
    optimizer: Optimizer,
    batches: Batches,
}

impl Training {
    /// One step on given data.
    fn learn(&mut self, images: Tensor<4>, classes: &[u32], schedule: f64) -> Terms {
        let loss = self.model.loss(images, classes);
        let mut gradients = loss.backward();
        self.model.network = self.optimizer.step(self.model.network.clone(), &mut gradients, schedule);
        Terms::new().with("nll", loss.inner())
    }
}

impl Session for Training {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        let images = match self.model.pixels.scale() {
            Scale::Binary => self.batches.binarized(step),
            Scale::EightBit => self.batches.images(step),
        };
        self.learn(images, &self.batches.classes(step), schedule)
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
        &[Capability::Likelihood]
    }

    fn recipes(&self) -> &'static [Recipe] {
        recipes!("gated-pixelcnn": "mnist")
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
        let settings = config.optimizer.settings(config.learning_rate, config.clip_norm);
        Ok(Box::new(Training { model, optimizer: Optimizer::new(settings), batches: start.batches()? }))
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
        let misfit = |reason| Error::WeightsMismatch { model: NAME.into(), reason };
        model.network = weights.put_into("network", model.network).map_err(misfit)?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let config: GatedPixelCnnConfig = config.model()?;
        let model = config.init(spec, 0, &Device::flex())?;
        let shape = spec.images()?;
        // A layer keeps 2 p features three times and p features four times.
        let each =
            10 * config.width * config.layers + 4 * config.head + 2 * shape.channels * model.pixels.logits();
        Ok(Footprint {
            parameters: vec![("network", num_parameters(&model.network))],
            activations: 2 * each * shape.height * shape.width,
        })
    }
}
