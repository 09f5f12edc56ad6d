//! The networks that find, read and draw objects, and the baseline of what their presence costs.

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;

use super::AirConfig;
use crate::data::ImageShape;
use crate::dist::DiagonalNormal;
use crate::nn::{Activation, Init, Initializer, Linear, Lstm, LstmState, flatten};

/// Values of z_where: size, column, row.
pub(super) const WHERE: usize = 3;

/// What is subtracted from the logits of an object's pixels, so that a new object is dark.
const DARK: f64 = 2.0;

/// The networks of inference and of objects.
#[derive(Module, Debug)]
pub struct Network {
    /// Reads the image and the object before; one state for each object.
    lstm: Lstm,
    /// States to the logit of the object's presence, and mean and log variance of z_where.
    place: Linear,
    /// Windows to mean and log variance of z_what.
    reader: Perceptron,
    /// z_what to logits of the object's pixels.
    object: Perceptron,
}

/// One hidden layer with ReLU.
#[derive(Module, Debug)]
pub struct Perceptron {
    hidden: Linear,
    output: Linear,
}

impl Perceptron {
    pub(super) fn new(inputs: usize, hidden: usize, outputs: usize, init: &mut Init) -> Perceptron {
        Perceptron {
            hidden: Linear::with_bias(inputs, hidden, Initializer::FanIn, init),
            output: Linear::with_bias(hidden, outputs, Initializer::FanIn, init),
        }
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.hidden.forward(x, Activation::Relu), Activation::Identity)
    }
}

impl Network {
    pub(super) fn new(config: &AirConfig, shape: ImageShape, init: &mut Init) -> Network {
        let AirConfig { width, what_dim, object_size, hidden_dim, .. } = *config;
        let before = 1 + WHERE + what_dim;
        let pixels = object_size * object_size * shape.channels;
        Network {
            lstm: Lstm::new(shape.dims() + before, width, 1.0 / (width as f64).sqrt(), init),
            place: Linear::with_bias(width, 1 + 2 * WHERE, Initializer::FanIn, init),
            reader: Perceptron::new(pixels, hidden_dim, 2 * what_dim, init),
            object: Perceptron::new(what_dim, hidden_dim, pixels, init),
        }
    }

    /// The state for the next object, from the image and what is known of the object before, `[batch, 1 + 3 + what_dim]`.
    pub(super) fn next(&self, x: Tensor<4>, before: Tensor<2>, state: LstmState) -> LstmState {
        self.lstm.step(Tensor::cat(vec![flatten(x), before], 1), state)
    }

    /// The logit of q(z_pres), `[batch]`, and q(z_where).
    pub(super) fn place(&self, state: Tensor<2>) -> (Tensor<1>, DiagonalNormal) {
        let batch = state.dims()[0];
        let values = self.place.forward(state, Activation::Identity);
        let logit = values.clone().narrow(1, 0, 1).reshape([batch]);
        (logit, normal(values.narrow(1, 1, 2 * WHERE)))
    }

    /// q(z_what) of what a window shows, `[batch, object_size, object_size, channels]`.
    pub(super) fn read(&self, window: Tensor<4>) -> DiagonalNormal {
        normal(self.reader.forward(flatten(window)))
    }

    /// The pixels of objects in [0, 1], `[batch, what_dim]` to `[batch, object_size, object_size, channels]`.
    pub(super) fn draw(&self, what: Tensor<2>, size: usize, channels: usize) -> Tensor<4> {
        let batch = what.dims()[0];
        sigmoid(self.object.forward(what) - DARK).reshape([batch, size, size, channels])
    }
}

/// The normal distribution whose means are the first half of `values`, and whose log variances are the second.
fn normal(values: Tensor<2>) -> DiagonalNormal {
    let dims = values.dims()[1] / 2;
    DiagonalNormal { mean: values.clone().narrow(1, 0, dims), log_var: values.narrow(1, dims, dims) }
}
