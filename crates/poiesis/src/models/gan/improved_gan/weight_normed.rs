//! Weight-normalised layers: y = x (g v / ‖v‖) + b.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, ConvOptions, conv2d, linear};

use super::discriminator::Pass;
use crate::nn::{Init, SquareKernel, weight_norm};

/// Deviation of the first values of directions.
const DIRECTION: f64 = 0.05;

/// v, g and b of a layer. As in the paper's code, the gain of a hidden layer keeps its data-dependent first value: noise or dropout
/// behind the layer could otherwise be outgrown.
#[derive(Module, Debug)]
struct Weights<const D: usize> {
    /// v, `[.., outputs]`.
    direction: Param<Tensor<D>>,
    /// g, `[outputs]`.
    gain: Param<Tensor<1>>,
    /// b, `[outputs]`.
    bias: Param<Tensor<1>>,
    trained_gain: bool,
}

impl<const D: usize> Weights<D> {
    fn new(shape: [usize; D], init: &mut Init) -> Weights<D> {
        let outputs = [shape[D - 1]];
        let direction = init.normal(shape, 0.0, DIRECTION);
        let (gain, bias) = (init.constant(outputs, 1.0), init.constant(outputs, 0.0));
        Weights { direction, gain, bias, trained_gain: false }
    }

    /// The features that `product` computes with a weight and a bias; their first values in a pass that looks for them.
    fn apply<const E: usize>(
        &self,
        pass: &mut Pass<'_>,
        product: impl FnOnce(Tensor<D>, Option<Tensor<1>>) -> Tensor<E>,
    ) -> Tensor<E> {
        if let Pass::Initialize { found, .. } = pass {
            let unit = weight_norm(self.direction.val(), self.gain.val().ones_like());
            return found.find(product(unit, None), 1.0, &self.gain, &self.bias);
        }
        let gain = self.gain.val();
        let gain = if self.trained_gain { gain } else { gain.detach() };
        product(weight_norm(self.direction.val(), gain), Some(self.bias.val()))
    }
}

/// A fully connected layer.
#[derive(Module, Debug)]
pub(super) struct NormedLinear {
    weights: Weights<2>,
}

impl NormedLinear {
    /// A hidden layer, whose gain is not trained.
    pub(super) fn hidden(inputs: usize, outputs: usize, init: &mut Init) -> NormedLinear {
        NormedLinear { weights: Weights::new([inputs, outputs], init) }
    }

    /// An output layer.
    pub(super) fn output(inputs: usize, outputs: usize, init: &mut Init) -> NormedLinear {
        let weights = Weights { trained_gain: true, ..Weights::new([inputs, outputs], init) };
        NormedLinear { weights }
    }

    /// Features that it computes.
    pub(super) fn outputs(&self) -> usize {
        self.weights.bias.dims()[0]
    }

    /// `[batch, inputs]` to `[batch, outputs]`.
    pub(super) fn forward(&self, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        self.weights.apply(pass, |weight, bias| linear(x, weight, bias, Activation::Identity))
    }
}

/// A convolution.
#[derive(Module, Debug)]
pub(super) struct NormedConv {
    weights: Weights<4>,
    stride: usize,
    padding: usize,
}

impl NormedConv {
    /// A hidden layer whose kernel pads the image, so that only its stride changes the sides.
    pub(super) fn same(features: [usize; 2], kernel: SquareKernel, init: &mut Init) -> NormedConv {
        NormedConv { padding: (kernel.size - 1) / 2, ..NormedConv::valid(features, kernel, init) }
    }

    /// A hidden layer whose kernel stays inside the image.
    pub(super) fn valid([inputs, outputs]: [usize; 2], kernel: SquareKernel, init: &mut Init) -> NormedConv {
        let weights = Weights::new([kernel.size, kernel.size, inputs, outputs], init);
        NormedConv { weights, stride: kernel.stride, padding: 0 }
    }

    /// `[batch, height, width, inputs]` to the same with `outputs` features.
    pub(super) fn forward(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2]);
        self.weights.apply(pass, |weight, bias| conv2d(x, weight, bias, &options))
    }
}
