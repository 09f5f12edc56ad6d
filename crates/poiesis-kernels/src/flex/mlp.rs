//! Fully connected layers of one example, on slices.

use std::mem;

use super::function::with_function;
use super::linear;
use super::row;
use crate::types::Activation;

/// A layer with its weight `[in, out]`.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    weight: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
}

impl Layer {
    pub(crate) fn new(weight: Vec<f32>, bias: Vec<f32>, activation: Activation) -> Self {
        Self { weight, bias, activation }
    }

    fn forward(&self, x: &[f32], y: &mut [f32]) {
        row::product(x, &self.weight, y.len(), y);
        with_function!(self.activation, function => linear::finish_row(y, Some(&self.bias), function));
    }
}

/// All layers; each of `scratch` has room for the widest.
pub(crate) fn forward(layers: &[Layer], x: &[f32], scratch: [&mut [f32]; 2], y: &mut [f32]) {
    match layers {
        [] => {}
        [only] => only.forward(x, y),
        [first, between @ .., last] => {
            let [mut here, mut there] = scratch;
            let mut width = first.bias.len();
            first.forward(x, &mut here[..width]);
            for layer in between {
                let outputs = layer.bias.len();
                layer.forward(&here[..width], &mut there[..outputs]);
                mem::swap(&mut here, &mut there);
                width = outputs;
            }
            last.forward(&here[..width], y);
        }
    }
}
