//! The fully connected layer.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::inference::PackedLinear;
use poiesis_kernels::{Activation, linear};

use super::{Init, Initializer, values};

/// y = x W + b.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[inputs, outputs]`.
    weight: Param<Tensor<2>>,
    /// `[outputs]`.
    bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Makes a layer without bias.
    pub fn new(inputs: usize, outputs: usize, initializer: Initializer, init: &mut Init) -> Linear {
        Linear { weight: init.weight([inputs, outputs], inputs, outputs, initializer), bias: None }
    }

    /// Makes a layer whose bias starts at zero.
    pub fn with_bias(inputs: usize, outputs: usize, initializer: Initializer, init: &mut Init) -> Linear {
        Linear {
            bias: Some(init.constant([outputs], 0.0)),
            ..Linear::new(inputs, outputs, initializer, init)
        }
    }

    /// The layer on slices, for incremental decoding.
    pub fn packed(&self) -> PackedLinear {
        let [inputs, outputs] = self.weight.dims();
        let bias = self.bias.as_ref().map(values);
        PackedLinear::new(&values(&self.weight), bias.as_deref(), inputs, outputs)
    }

    /// The weight, `[inputs, outputs]`.
    pub fn weight(&self) -> Tensor<2> {
        self.weight.val()
    }

    /// The bias, `[outputs]`, where there is one.
    pub fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }

    /// The weight by rows, `[outputs, inputs]`, each row multiplied by the scale of its channel: `scale` is `[channels]`, and the channels
    /// of the outputs take turns, as in a flattened image.
    ///
    /// # Panics
    ///
    /// When the outputs are not a multiple of the channels.
    pub fn scaled_rows(&self, scale: Tensor<1>) -> Tensor<2> {
        let [inputs, outputs] = self.weight.dims();
        let channels = scale.dims()[0];
        let rows = self.weight.val().transpose().reshape([outputs / channels, channels, inputs]);
        (rows * scale.reshape([1, channels, 1])).reshape([outputs, inputs])
    }

    /// Applies the layer to the last axis, then `activation`.
    ///
    /// # Shapes
    ///
    /// `[.., inputs]` to `[.., outputs]`.
    ///
    /// # Panics
    ///
    /// When the last axis of `x` is not `inputs` long.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, activation: Activation) -> Tensor<D> {
        linear(x, self.weight.val(), self.bias.as_ref().map(Param::val), activation)
    }
}
