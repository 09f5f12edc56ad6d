//! Weight-normalised convolutions with data-dependent first values (Salimans and Kingma 2016, arXiv:1602.07868).

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use poiesis_kernels::{ConvOptions, ConvTransposeOptions, add, conv_transpose2d, conv2d};

use crate::nn::{FirstValues, Init, weight_norm};

/// Deviation of the first values of directions.
const DIRECTION: f64 = 0.05;
/// What goes through the network with the features.
pub(super) struct Pass<'a> {
    /// `[batch, 1]`, of a model conditioned on classes.
    pub(super) classes: Option<Tensor<2, Int>>,
    pub(super) mode: Mode<'a>,
}

pub(super) enum Mode<'a> {
    Eval,
    /// Leaves features out where `noise`, in [0, 1), is below `part`.
    Dropout {
        part: f64,
        noise: &'a mut dyn FnMut([usize; 4]) -> Tensor<4>,
    },
    /// Finds first values of gains and biases.
    Initialize(&'a mut FirstValues),
}

/// Which way a kernel looks from its pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Up, to both sides.
    Above,
    /// Up and to the left.
    Before,
}

/// A weight-normalised convolution: y = x ∗ (g v / ‖v‖) + b, with a norm for each output.
#[derive(Module, Debug)]
pub(super) struct Normed {
    /// v, `[kernel height, kernel width, inputs, outputs]`.
    pub(super) direction: Param<Tensor<4>>,
    /// g, `[outputs]`.
    pub(super) gain: Param<Tensor<1>>,
    /// b, `[outputs]`.
    pub(super) bias: Param<Tensor<1>>,
    /// Columns of the kernel to the left of its pixel.
    pub(super) left: usize,
    /// Pixels from one kernel to the next, in the input, or in the output of a transposed convolution.
    pub(super) stride: usize,
    pub(super) transposed: bool,
    /// What data-dependent first values make of the deviation of the result.
    #[module(skip)]
    pub(super) first_deviation: f64,
}

impl Normed {
    /// A convolution that divides the sides by `stride`. The kernel's last row is that of the pixel; its columns are around the
    /// pixel, or end with it.
    pub(super) fn conv(
        stream: Stream,
        kernel: [usize; 2],
        stride: usize,
        inputs: usize,
        outputs: usize,
        init: &mut Init,
    ) -> Normed {
        let left = match stream {
            Stream::Above => (kernel[1] - 1) / 2,
            Stream::Before => kernel[1] - 1,
        };
        Normed {
            direction: init.normal([kernel[0], kernel[1], inputs, outputs], 0.0, DIRECTION),
            gain: init.constant([outputs], 1.0),
            bias: init.constant([outputs], 0.0),
            left,
            stride,
            transposed: false,
            first_deviation: 1.0,
        }
    }

    /// A transposed convolution that doubles the sides: a pixel goes to the two rows and columns it becomes, and with
    /// three columns to the one before them.
    pub(super) fn transposed(stream: Stream, kernel: [usize; 2], width: usize, init: &mut Init) -> Normed {
        Normed {
            left: kernel[1] - 2,
            transposed: true,
            ..Normed::conv(stream, kernel, 2, width, width, init)
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>, pass: &mut Pass) -> Tensor<4> {
        self.forward_side_by_side(vec![x], pass)
    }

    /// The convolution of inputs whose channels follow one another.
    pub(super) fn forward_side_by_side(&self, inputs: Vec<Tensor<4>>, pass: &mut Pass) -> Tensor<4> {
        let Mode::Initialize(found) = &mut pass.mode else {
            return self.apply(inputs, &self.weight(), Some(self.bias.val()));
        };
        let y = self.apply(inputs, &self.unit(), None);
        found.find(y, self.first_deviation, &self.gain, &self.bias)
    }

    /// g v / ‖v‖.
    pub(super) fn weight(&self) -> Tensor<4> {
        weight_norm(self.direction.val(), self.gain.val())
    }

    /// v / ‖v‖.
    fn unit(&self) -> Tensor<4> {
        let outputs = self.gain.dims()[0];
        self.weight() / self.gain.val().reshape([1, 1, 1, outputs])
    }

    fn apply(&self, inputs: Vec<Tensor<4>>, weight: &Tensor<4>, mut bias: Option<Tensor<1>>) -> Tensor<4> {
        let mut first = 0;
        let parts = inputs.into_iter().map(|x| {
            let channels = x.dims()[3];
            // Weights are cut apart, which are small, and not features put together.
            let part = weight.clone().narrow(2, first, channels);
            first += channels;
            self.convolve(x, part, bias.take())
        });
        parts.reduce(add).expect("a layer has an input")
    }

    fn convolve(&self, x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
        let [rows, columns, ..] = weight.dims();
        let stride = [self.stride; 2];
        if self.transposed {
            let padding = [[0, 0], [self.left, 0]];
            let options = ConvTransposeOptions { stride, padding, ..ConvTransposeOptions::default() };
            return conv_transpose2d(x, weight, bias, &options);
        }
        let padding = [[rows - 1, 0], [self.left, columns - 1 - self.left]];
        conv2d(x, weight, bias, &ConvOptions { stride, padding, ..ConvOptions::default() })
    }
}
