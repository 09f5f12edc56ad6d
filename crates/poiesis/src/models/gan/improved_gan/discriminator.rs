//! The discriminator, which is a classifier too: a fully connected and a convolutional body (§5.1, §5.2).

use burn::module::Module;
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, activate};

use super::weight_normed::{NormedConv, NormedLinear};
use super::{Body, ImprovedGanConfig};
use crate::data::ImageShape;
use crate::error::{Error, Result};
use crate::models::gan::minibatch::MinibatchLayer;
use crate::nn::{FirstValues, Init, SquareKernel, dropout, flatten};

/// Deviations of the noise on the image and on hidden layers of the fully connected body; images are in [0, 1] there.
const INPUT_NOISE: f64 = 0.3;
const HIDDEN_NOISE: f64 = 0.5;
/// Parts of the convolutional body's values that are dropped: of the image, and of hidden layers.
const INPUT_DROPOUT: f64 = 0.2;
const HIDDEN_DROPOUT: f64 = 0.5;
/// The slope of the convolutional body's leaky ReLU below zero.
const LEAK: f32 = 0.2;

/// Draws noise for `[rows, values]`: from N(0, 1) for the fully connected body, uniform on [0, 1) for the convolutional one.
pub type Noise<'a> = dyn FnMut([usize; 2]) -> Tensor<2> + 'a;

/// What goes through the network with a batch.
pub enum Pass<'a> {
    /// No noise.
    Eval,
    /// With noise.
    Train(&'a mut Noise<'a>),
    /// Finds first values of gains and biases, with noise.
    Initialize {
        /// The noise.
        noise: &'a mut Noise<'a>,
        /// The values found.
        found: &'a mut FirstValues,
    },
}

impl Pass<'_> {
    fn noise(&mut self, shape: [usize; 2]) -> Option<Tensor<2>> {
        match self {
            Pass::Eval => None,
            Pass::Train(noise) | Pass::Initialize { noise, .. } => Some(noise(shape)),
        }
    }

    /// Adds Gaussian noise of this deviation.
    fn add_noise(&mut self, x: Tensor<2>, deviation: f64) -> Tensor<2> {
        match self.noise(x.dims()) {
            Some(noise) => x + noise * deviation,
            None => x,
        }
    }

    /// Drops this part of the values and scales up the others.
    fn drop(&mut self, x: Tensor<4>, part: f64) -> Tensor<4> {
        let shape = x.dims();
        let Some(noise) = self.noise([shape[0], shape[1] * shape[2] * shape[3]]) else { return x };
        dropout(x, noise.reshape(shape), part)
    }
}

/// What the discriminator says of a batch.
pub struct Outputs {
    /// The features before the last layer, `[batch, features]`, which feature matching compares.
    pub features: Tensor<2>,
    /// The logits of the classes, `[batch, classes]`; that of "generated" is 0 (§5).
    pub logits: Tensor<2>,
}

/// Tells the classes of real images from each other and from generated ones.
#[derive(Module, Debug)]
pub struct Discriminator {
    body: BodyLayers,
    minibatch: Option<MinibatchLayer>,
    output: NormedLinear,
}

#[derive(Module, Debug)]
enum BodyLayers {
    Mlp(MlpBody),
    Conv(ConvBody),
}

impl Discriminator {
    pub(super) fn new(
        config: &ImprovedGanConfig,
        shape: ImageShape,
        classes: usize,
        init: &mut Init,
    ) -> Result<Discriminator> {
        let (body, features) = match config.body {
            Body::Mlp => {
                let widths = &config.discriminator_hidden_dims;
                let body = MlpBody::new(shape.dims(), widths, init);
                (BodyLayers::Mlp(body), widths.last().copied().unwrap_or(shape.dims()))
            }
            Body::Conv => (BodyLayers::Conv(ConvBody::new(shape, config.width, init)?), 2 * config.width),
        };
        let minibatch = config
            .minibatch_discrimination
            .then(|| MinibatchLayer::new(features, config.minibatch_kernels, config.minibatch_dims, init));
        let inputs = features + if minibatch.is_some() { config.minibatch_kernels } else { 0 };
        let output = NormedLinear::output(inputs, classes, init);
        Ok(Discriminator { body, minibatch, output })
    }

    /// Whether it tells classes apart, and not only real from generated images.
    pub(super) fn classifies(&self) -> bool {
        self.output.outputs() > 1
    }

    /// What it says of several batches of images in [-1, 1], each `[batch, height, width, channels]`. The batches share a pass, but
    /// minibatch discrimination compares only images of the same batch (§3.2).
    pub fn forward<const N: usize>(&self, batches: [Tensor<4>; N], pass: &mut Pass<'_>) -> [Outputs; N] {
        let sizes = batches.each_ref().map(|batch| batch.dims()[0]);
        let x = Tensor::cat(Vec::from(batches), 0);
        let features = match &self.body {
            BodyLayers::Mlp(body) => body.forward((flatten(x) + 1.0) * 0.5, pass),
            BodyLayers::Conv(body) => body.forward(x, pass),
        };
        let h = match &self.body {
            BodyLayers::Mlp(_) => pass.add_noise(features.clone(), HIDDEN_NOISE),
            BodyLayers::Conv(_) => features.clone(),
        };
        let h = match &self.minibatch {
            Some(layer) => layer.forward(h, &sizes),
            None => h,
        };
        let logits = self.output.forward(h, pass);
        let mut first = 0;
        sizes.map(|size| {
            let rows = |all: &Tensor<2>| all.clone().narrow(0, first, size);
            let outputs = Outputs { features: rows(&features), logits: rows(&logits) };
            first += size;
            outputs
        })
    }
}

/// Fully connected layers with noise on the input of each.
#[derive(Module, Debug)]
struct MlpBody {
    hidden: Vec<NormedLinear>,
}

impl MlpBody {
    fn new(inputs: usize, widths: &[usize], init: &mut Init) -> MlpBody {
        let inputs_of = std::iter::once(inputs).chain(widths.iter().copied());
        let layer = |(inputs, &outputs)| NormedLinear::hidden(inputs, outputs, init);
        MlpBody { hidden: inputs_of.zip(widths).map(layer).collect() }
    }

    /// The features without the noise behind them, which the generator could not match.
    fn forward(&self, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let mut deviation = INPUT_NOISE;
        self.hidden.iter().fold(x, |h, layer| {
            let h = pass.add_noise(h, deviation);
            deviation = HIDDEN_NOISE;
            activate(layer.forward(h, pass), Activation::Relu)
        })
    }
}

/// Nine convolutions, the sides halved twice, then the mean over all pixels.
#[derive(Module, Debug)]
struct ConvBody {
    first: Vec<NormedConv>,
    second: Vec<NormedConv>,
    last: Vec<NormedConv>,
}

impl ConvBody {
    fn new(shape: ImageShape, width: usize, init: &mut Init) -> Result<ConvBody> {
        let sides = [shape.height, shape.width];
        if sides.iter().any(|side| side % 4 != 0 || side / 4 < 3) {
            let value = format!("{}×{}", shape.height, shape.width);
            let reason = "the convolutional body halves both sides twice, and needs 3 pixels then";
            return Err(Error::invalid_value(
                "data.size",
                &value,
                reason,
                "choose sides such as 28, 32 or 64",
            ));
        }
        let kernel = |size, stride| SquareKernel { size, stride };
        let wide = 2 * width;
        let mut same = |features, size, stride| NormedConv::same(features, kernel(size, stride), init);
        let first =
            vec![same([shape.channels, width], 3, 1), same([width, width], 3, 1), same([width, width], 3, 2)];
        let second = vec![same([width, wide], 3, 1), same([wide, wide], 3, 1), same([wide, wide], 3, 2)];
        let mut valid = |size| NormedConv::valid([wide, wide], kernel(size, 1), init);
        let last = vec![valid(3), valid(1), valid(1)];
        Ok(ConvBody { first, second, last })
    }

    fn forward(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<2> {
        let mut stage = |mut h: Tensor<4>, dropout, layers: &[NormedConv]| {
            if let Some(part) = dropout {
                h = pass.drop(h, part);
            }
            let layer = |h, layer: &NormedConv| activate(layer.forward(h, pass), Activation::LeakyRelu(LEAK));
            layers.iter().fold(h, layer)
        };
        let h = stage(x, Some(INPUT_DROPOUT), &self.first);
        let h = stage(h, Some(HIDDEN_DROPOUT), &self.second);
        let h = stage(h, Some(HIDDEN_DROPOUT), &self.last);
        let [batch, height, width, features] = h.dims();
        h.reshape([batch, height * width, features]).mean_dim(1).reshape([batch, features])
    }
}
