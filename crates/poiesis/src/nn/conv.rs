//! Convolutions over images, channels last.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{ConvOptions, ConvTransposeOptions, conv_transpose2d, conv2d};

use super::{Init, Initializer};

/// A square kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SquareKernel {
    /// Its height and width.
    pub size: usize,
    /// Its stride.
    pub stride: usize,
}

impl SquareKernel {
    pub(super) fn padding(self) -> usize {
        (self.size - 1) / 2
    }
}

/// A convolution with a square kernel.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[size, size, inputs, outputs]`.
    weight: Param<Tensor<4>>,
    /// `[outputs]`.
    bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    kernel: SquareKernel,
}

impl Conv2d {
    /// Makes a convolution without bias that divides height and width by the stride, which must divide them. The padding is
    /// `(size - 1) / 2`.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        kernel: SquareKernel,
        initializer: Initializer,
        init: &mut Init,
    ) -> Conv2d {
        let area = kernel.size * kernel.size;
        let shape = [kernel.size, kernel.size, inputs, outputs];
        let weight = init.weight(shape, area * inputs, area * outputs, initializer);
        Conv2d { weight, bias: None, kernel }
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
        let options = ConvOptions::new([self.kernel.stride; 2], [self.kernel.padding(); 2]);
        conv2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), &options)
    }
}

/// A transposed convolution with a square kernel: the adjoint of [`Conv2d`], which multiplies height and width.
#[derive(Module, Debug)]
pub struct ConvTranspose2d {
    /// `[size, size, inputs, outputs]`.
    weight: Param<Tensor<4>>,
    /// `[outputs]`.
    bias: Option<Param<Tensor<1>>>,
    output_padding: usize,
    #[module(skip)]
    kernel: SquareKernel,
}

impl ConvTranspose2d {
    /// Makes a transposed convolution without bias that multiplies height and width by the stride.
    ///
    /// # Panics
    ///
    /// When the size is below the stride, which would leave gaps in the output.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        kernel: SquareKernel,
        initializer: Initializer,
        init: &mut Init,
    ) -> ConvTranspose2d {
        let SquareKernel { size, stride } = kernel;
        assert!(size >= stride, "a kernel of {size} leaves gaps at stride {stride}");
        // out = (in - 1) stride - 2 padding + size + output padding, which must be stride · in.
        let output_padding = stride + 2 * kernel.padding() - size;
        let (fan_in, fan_out) = (size * size * inputs / (stride * stride), size * size * outputs);
        let weight = init.weight([size, size, inputs, outputs], fan_in, fan_out, initializer);
        ConvTranspose2d { weight, bias: None, kernel, output_padding }
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
            stride: [self.kernel.stride; 2],
            padding: [[self.kernel.padding(); 2]; 2],
            output_padding: [self.output_padding; 2],
            dilation: [1; 2],
            groups: 1,
        };
        conv_transpose2d(x, self.weight.val(), self.bias.as_ref().map(Param::val), &options)
    }
}
