//! The fully connected body.

use burn::module::Module;
use burn::tensor::Tensor;

use super::VaeConfig;
use crate::nn::{Activation, Init, Initializer, Linear};

/// Fully connected layers with tanh between (§C.1, §C.2).
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Vec<Linear>,
    output: Linear,
}

impl Mlp {
    pub(super) fn new(inputs: usize, outputs: usize, config: &VaeConfig, init: &mut Init) -> Mlp {
        let hidden = (0..config.layers)
            .map(|layer| {
                let inputs = if layer == 0 { inputs } else { config.hidden_dim };
                Linear::with_bias(inputs, config.hidden_dim, Initializer::Glorot, init)
            })
            .collect();
        Mlp { hidden, output: Linear::with_bias(config.hidden_dim, outputs, Initializer::Glorot, init) }
    }

    /// The layer that the inputs go through first.
    pub(super) fn first(&self) -> &Linear {
        self.hidden.first().unwrap_or(&self.output)
    }

    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let h = self.hidden.iter().fold(x, |h, layer| layer.forward(h, Activation::Tanh));
        self.output.forward(h, Activation::Identity)
    }
}
