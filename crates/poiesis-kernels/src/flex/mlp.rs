//! Fully connected layers of one example, on slices.

use super::function::with_function;
use super::linear;
use super::row;
use crate::activation::Activation;

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

    /// `sums` has room for the layer's outputs, like `y`.
    fn forward(&self, x: &[f32], sums: &mut [f32], y: &mut [f32]) {
        let sums = &mut sums[..y.len()];
        row::product(x, &self.weight, y.len(), sums);
        with_function!(self.activation, function => linear::finish_row(y, sums, Some(&self.bias), function));
    }

    /// From the first `inputs` of `values` to the first ones.
    fn forward_in_place(&self, inputs: usize, values: &mut [f32], sums: &mut [f32]) {
        let outputs = self.bias.len();
        let sums = &mut sums[..outputs];
        row::product(&values[..inputs], &self.weight, outputs, sums);
        let y = &mut values[..outputs];
        with_function!(self.activation, function => linear::finish_row(y, sums, Some(&self.bias), function));
    }
}

/// All layers; `values` and `sums` have room for the widest.
pub(crate) fn forward(layers: &[Layer], x: &[f32], values: &mut [f32], sums: &mut [f32], y: &mut [f32]) {
    match layers {
        [] => {}
        [only] => only.forward(x, sums, y),
        [first, between @ .., last] => {
            let mut width = first.bias.len();
            first.forward(x, sums, &mut values[..width]);
            for layer in between {
                let outputs = layer.bias.len();
                layer.forward_in_place(width, values, sums);
                width = outputs;
            }
            last.forward(&values[..width], sums, y);
        }
    }
}
