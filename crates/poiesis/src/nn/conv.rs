//! Convolutions over images, channels last.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{ConvOptions, ConvTransposeOptions, conv_transpose2d, conv2d};

use super::{Init, Initializer};

/// A convolution with a square kernel.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[kernel, kernel, inputs, outputs]`.
    weight: Param<Tensor<4>>,
    /// `[outputs]`.
    bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// Makes a convolution without bias that divides height and width by `stride`, where `stride` divides them. The padding
    /// is `(kernel - 1) / 2`.
    pub fn new(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        initializer: Initializer,
        init: &mut Init,
    ) -> Conv2d {
        let area = kernel * kernel;
        let weight =
            init.weight([kernel, kernel, inputs, outputs], area * inputs, area * outputs, initializer);
        Conv2d { weight, bias: None, stride, padding: (kernel - 1) / 2 }
    }

    /// Adds a bias that starts at zero.
    pub fn with_bias(mut self, init: &mut Init) -> Conv2d {
        self.bias = Some(init.constant([self.weight.dims()[3]], 0.0));
        self
    }

    /// Applies the convolution.
    ///
    /// # Shapes
    ///
    /// `[batch, height, width, inputs]` to `[batch, height / stride, width / stride, outputs]`.
    ///
    /// # Panics
    ///
    /// When `x` does not have `inputs` channels.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2]);
        conv2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), &options)
    }
}

/// A transposed convolution with a square kernel: the adjoint of [`Conv2d`], which multiplies height and width.
#[derive(Module, Debug)]
pub struct ConvTranspose2d {
    /// `[kernel, kernel, inputs, outputs]`.
    weight: Param<Tensor<4>>,
    /// `[outputs]`.
    bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
    output_padding: usize,
}

impl ConvTranspose2d {
    /// Makes a transposed convolution without bias that multiplies height and width by `stride`.
    ///
    /// # Panics
    ///
    /// When `kernel` is below `stride`, which would leave gaps in the output.
    pub fn new(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        initializer: Initializer,
        init: &mut Init,
    ) -> ConvTranspose2d {
        assert!(kernel >= stride, "a kernel of {kernel} leaves gaps at stride {stride}");
        let padding = (kernel - 1) / 2;
        // out = (in - 1) stride - 2 padding + kernel + output padding, which must be stride · in.
        let output_padding = stride + 2 * padding - kernel;
        let fan_in = kernel * kernel * inputs / (stride * stride);
        let fan_out = kernel * kernel * outputs;
        let weight = init.weight([kernel, kernel, inputs, outputs], fan_in, fan_out, initializer);
        ConvTranspose2d { weight, bias: None, stride, padding, output_padding }
    }

    /// Adds a bias that starts at zero.
    pub fn with_bias(mut self, init: &mut Init) -> ConvTranspose2d {
        self.bias = Some(init.constant([self.weight.dims()[3]], 0.0));
        self
    }

    /// Applies the transposed convolution.
    ///
    /// # Shapes
    ///
    /// `[batch, height, width, inputs]` to `[batch, stride · height, stride · width, outputs]`.
    ///
    /// # Panics
    ///
    /// When `x` does not have `inputs` channels.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let options = ConvTransposeOptions {
            stride: [self.stride; 2],
            padding: [[self.padding; 2]; 2],
            output_padding: [self.output_padding; 2],
            dilation: [1; 2],
            groups: 1,
        };
        conv_transpose2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), &options)
    }
}
