//! The fully connected network of policies and values.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use poiesis_kernels::{Activation, Mlp, linear};
use serde::{Deserialize, Serialize};

use crate::nn::{Init, Initializer, Linear};

/// What hidden layers apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HiddenActivation {
    /// Hyperbolic tangent.
    Tanh,
    /// max(x, 0).
    Relu,
}

impl HiddenActivation {
    /// The same for layers.
    pub fn activation(self) -> Activation {
        match self {
            HiddenActivation::Tanh => Activation::Tanh,
            HiddenActivation::Relu => Activation::Relu,
        }
    }

    /// The derivative, from what the layer gave: tanh′ = 1 − h², and 1 where a ReLU gave something.
    pub fn derivative(self, h: Tensor<2>) -> Tensor<2> {
        match self {
            HiddenActivation::Tanh => h.square().neg() + 1.0,
            HiddenActivation::Relu => h.greater_elem(0.0).float(),
        }
    }
}

/// Hidden layers, and one without activation.
#[derive(Module, Debug)]
pub struct Network {
    hidden: Vec<Linear>,
    output: Linear,
    #[module(skip)]
    activation: HiddenActivation,
}

impl Network {
    /// Weights are orthogonal, those of hidden layers times √2 and those of the output times `output_gain`; biases are zero.
    pub fn new(
        inputs: usize,
        hidden_dims: &[usize],
        outputs: usize,
        activation: HiddenActivation,
        output_gain: f64,
        init: &mut Init,
    ) -> Network {
        let hidden_gain = Initializer::Orthogonal(std::f64::consts::SQRT_2);
        let mut width = inputs;
        let mut layer = |outputs: usize, initializer| {
            Linear::with_bias(std::mem::replace(&mut width, outputs), outputs, initializer, init)
        };
        let hidden = hidden_dims.iter().map(|&dims| layer(dims, hidden_gain)).collect();
        let output = layer(outputs, Initializer::Orthogonal(output_gain));
        Network { hidden, output, activation }
    }

    /// `[n, inputs]` to `[n, outputs]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let activation = self.activation.activation();
        let h = self.hidden.iter().fold(x, |h, layer| layer.forward(h, activation));
        self.output.forward(h, Activation::Identity)
    }

    /// What each layer reads and what the last one gives, without autodiff: `[n, inputs]`, `[n, hidden]` … `[n, outputs]`.
    pub fn activations(&self, x: Tensor<2>) -> Vec<Tensor<2>> {
        let mut all = vec![x.inner()];
        for (layer, activation) in self.layers() {
            let last = all[all.len() - 1].clone();
            let bias = layer.bias().map(Tensor::inner);
            all.push(linear(last, layer.weight().inner(), bias, activation));
        }
        all
    }

    /// The outputs for the rows of `inputs`, `[n, inputs]` to `[n, outputs]`, without autodiff.
    ///
    /// # Panics
    ///
    /// When `inputs` is no multiple of the width.
    pub fn outputs(&self, inputs: &[f32], device: &Device) -> Vec<f32> {
        let width = self.layers()[0].0.weight().dims()[0];
        let shape = [inputs.len() / width, width];
        let x = Tensor::from_data(TensorData::new(inputs.to_vec(), shape), &device.clone().inner());
        self.activations(x)
            .pop()
            .map(|outputs| outputs.into_data().iter::<f32>().collect())
            .unwrap_or_default()
    }

    /// All layers from the first to the last, each with what it applies.
    pub fn layers(&self) -> Vec<(&Linear, Activation)> {
        let hidden = self.hidden.iter().map(|layer| (layer, self.activation.activation()));
        hidden.chain([(&self.output, Activation::Identity)]).collect()
    }

    /// What hidden layers apply.
    pub fn activation(&self) -> HiddenActivation {
        self.activation
    }

    /// A copy on slices, for control loops.
    pub fn mlp(&self) -> Mlp {
        let layer = |(layer, activation): (&Linear, Activation)| {
            let weight = layer.weight().inner();
            let bias = layer.bias().map(Tensor::inner);
            let bias = bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[1]], &weight.device()));
            (weight, bias, activation)
        };
        Mlp::new(&self.layers().into_iter().map(layer).collect::<Vec<_>>())
    }
}
