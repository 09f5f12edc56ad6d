//! The networks of couplings: residual networks for images, fully connected ones for points. Their last layers start at zero.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{ConvOptions, add, conv2d};

use crate::nn::{Activation, FirstValues, Init, Initializer, Linear, activate, weight_norm};

/// Deviation of the first values of directions (Salimans and Kingma 2016, §3).
const DIRECTION: f64 = 0.05;

/// Two values for each channel that a coupling transforms: what its scale is made of, and its shift.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has a few dozen of them")]
pub(super) enum Network {
    /// Of images.
    Residual(Residual),
    /// Of points.
    Mlp(Mlp),
}

impl Network {
    /// `[batch, height, width, inputs]` to `[batch, height, width, 2 · transformed]`.
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Network::Residual(network) => network.forward(x),
            Network::Mlp(network) => network.forward(x),
        }
    }

    /// Gives gains and biases their first values, where they depend on data.
    pub(super) fn set_first_values(&mut self, x: Tensor<4>) {
        if let Network::Residual(network) = self {
            network.set_first_values(x);
        }
    }
}

/// A residual network with weight-normalised convolutions (Dinh et al. 2016, §4.1).
#[derive(Module, Debug)]
pub(super) struct Residual {
    input: NormedConv,
    blocks: Vec<Block>,
    output: Linear,
}

impl Residual {
    pub(super) fn new(
        [inputs, transformed]: [usize; 2],
        width: usize,
        blocks: usize,
        init: &mut Init,
    ) -> Residual {
        let input = NormedConv::new([inputs, width], init);
        let blocks = (0..blocks).map(|_| Block::new(width, init)).collect();
        Residual { input, blocks, output: zero(width, 2 * transformed, init) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = self.blocks.iter().fold(self.input.forward(x), |h, block| block.forward(h));
        self.output.forward(relu(h), Activation::Identity)
    }

    fn set_first_values(&mut self, x: Tensor<4>) {
        let h = self.input.set_first_values(x);
        self.blocks.iter_mut().fold(h, |h, block| block.set_first_values(h));
    }
}

/// h + conv(relu(conv(relu(h)))).
#[derive(Module, Debug)]
struct Block {
    first: NormedConv,
    second: NormedConv,
}

impl Block {
    fn new(width: usize, init: &mut Init) -> Block {
        Block { first: NormedConv::new([width; 2], init), second: NormedConv::new([width; 2], init) }
    }

    fn forward(&self, h: Tensor<4>) -> Tensor<4> {
        let change = self.second.forward(relu(self.first.forward(relu(h.clone()))));
        add(h, change)
    }

    fn set_first_values(&mut self, h: Tensor<4>) -> Tensor<4> {
        let inner = self.first.set_first_values(relu(h.clone()));
        add(h, self.second.set_first_values(relu(inner)))
    }
}

/// A convolution by kernels of 3×3: x ∗ (g v / ‖v‖) + b (Salimans and Kingma 2016, arXiv:1602.07868).
#[derive(Module, Debug)]
struct NormedConv {
    /// v, `[3, 3, inputs, outputs]`.
    direction: Param<Tensor<4>>,
    /// g, `[outputs]`.
    gain: Param<Tensor<1>>,
    /// b, `[outputs]`.
    bias: Param<Tensor<1>>,
}

impl NormedConv {
    fn new([inputs, outputs]: [usize; 2], init: &mut Init) -> NormedConv {
        NormedConv {
            direction: init.normal([3, 3, inputs, outputs], 0.0, DIRECTION),
            gain: init.constant([outputs], 1.0),
            bias: init.constant([outputs], 0.0),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let weight = weight_norm(self.direction.val(), self.gain.val());
        conv2d(x, weight, Some(self.bias.val()), &ConvOptions::new([1, 1], [1, 1]))
    }

    /// Finds gains and biases with which the features of `x` have mean 0 and deviation 1, and returns these features.
    fn set_first_values(&mut self, x: Tensor<4>) -> Tensor<4> {
        let unit = weight_norm(self.direction.val(), self.gain.val().ones_like());
        let y = conv2d(x, unit, None, &ConvOptions::new([1, 1], [1, 1]));
        let mut found = FirstValues::default();
        let y = found.find(y, 1.0, &self.gain, &self.bias);
        *self = self.clone().map(&mut found);
        y
    }
}

/// Fully connected layers with ReLU between.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    hidden: Vec<Linear>,
    output: Linear,
}

impl Mlp {
    pub(super) fn new(
        [inputs, transformed]: [usize; 2],
        hidden_dim: usize,
        layers: usize,
        init: &mut Init,
    ) -> Mlp {
        let hidden = (0..layers).map(|layer| {
            let inputs = if layer == 0 { inputs } else { hidden_dim };
            Linear::with_bias(inputs, hidden_dim, Initializer::FanIn, init)
        });
        Mlp { hidden: hidden.collect(), output: zero(hidden_dim, 2 * transformed, init) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = self.hidden.iter().fold(x, |h, layer| layer.forward(h, Activation::Relu));
        self.output.forward(h, Activation::Identity)
    }
}

/// A layer that starts at zero.
fn zero(inputs: usize, outputs: usize, init: &mut Init) -> Linear {
    Linear::with_bias(inputs, outputs, Initializer::Normal(0.0), init)
}

fn relu(h: Tensor<4>) -> Tensor<4> {
    activate(h, Activation::Relu)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::testing::noise;
    use super::*;

    #[test]
    fn on_the_first_batch_features_have_mean_0_and_deviation_1() {
        let device = Device::flex();
        let mut conv = NormedConv::new([2, 3], &mut Init::new(1, &device));
        let x = noise([8, 6, 6, 2], 2, &device) * 3.0 + 1.0;
        let first = conv.set_first_values(x.clone());
        let y = conv.forward(x);
        assert!((y.clone() - first).abs().max().into_scalar::<f64>() < 1e-4);
        for channel in 0..3 {
            let y = y.clone().narrow(3, channel, 1);
            let (mean, square) =
                (y.clone().mean().into_scalar::<f64>(), y.square().mean().into_scalar::<f64>());
            assert!(mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-3, "{mean} {square}");
        }
    }
}
