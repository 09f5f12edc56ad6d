//! Transposed two-dimensional convolution, channels last.

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops;

use crate::conv2d::{ConvOptions, Shape, check, geometry};
use crate::flex;

/// The options of a [`conv_transpose2d`]. The default is stride 1, no padding,
/// dilation 1 and one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvTransposeOptions {
    /// Output pixels between the kernels of neighbouring input pixels `[vertical, horizontal]`, at least 1.
    pub stride: [usize; 2],
    /// Pixels cut from the full output `[[top, bottom], [left, right]]`.
    pub padding: [[usize; 2]; 2],
    /// Pixels added to the output at the bottom and on the right `[vertical, horizontal]`.
    pub output_padding: [usize; 2],
    /// Distance of neighbouring kernel elements `[vertical, horizontal]`, in output pixels, at least 1.
    pub dilation: [usize; 2],
    /// Number of groups; divides both channel counts.
    pub groups: usize,
}

impl Default for ConvTransposeOptions {
    fn default() -> Self {
        Self::new([1, 1], [0, 0])
    }
}

impl ConvTransposeOptions {
    /// A transposed convolution with this stride and the same padding on opposite sides,
    /// `[vertical, horizontal]` each.
    pub fn new(stride: [usize; 2], padding: [usize; 2]) -> Self {
        let padding = padding.map(|p| [p, p]);
        Self { stride, padding, output_padding: [0, 0], dilation: [1, 1], groups: 1 }
    }
}

/// The transposed convolution of `x [batch, height, width, in]` with `weight [kernel_height,
/// kernel_width, in, out / groups]`, plus `bias [out]`; the result is `[batch, out_height, out_width, out]` where
/// `out_height = (height − 1) · stride + dilation · (kernel_height − 1) + 1 − top − bottom + output_padding`.
///
/// Without bias it is the adjoint (the gradient with respect to the input) of [`conv2d`](crate::conv2d)
/// with the same options, and on Flex it is computed as that gradient is, with the algorithms and the memory given there;
/// for results of few channels the products come first and are then added to their pixels.
///
/// # Panics
///
/// When the shapes do not fit each other, or the padding removes the whole output.
pub fn conv_transpose2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: &ConvTransposeOptions,
) -> Tensor<4> {
    let shape = output_shape(x.dims(), weight.dims(), bias.as_ref().map(Tensor::dims), options);
    let &ConvTransposeOptions { stride, padding, dilation, groups, .. } = options;
    let adjoint = ConvOptions { stride, padding, dilation, groups, active_taps: None };
    let geometry = geometry(shape, x.dims(), weight.dims(), &adjoint, true);
    flex::convolution::convolve(&x, &weight, bias.as_ref(), geometry)
        .unwrap_or_else(|| default((x, weight, bias), shape, options))
}

/// The shape of the result, after checking that the arguments fit each other.
fn output_shape(x: Shape, weight: Shape, bias: Option<[usize; 1]>, options: &ConvTransposeOptions) -> Shape {
    let [batch, height, width, channels] = x;
    let [kernel_height, kernel_width, weight_channels, group_out] = weight;
    let groups = options.groups;
    assert!(
        groups > 0 && channels == weight_channels && channels.is_multiple_of(groups),
        "conv_transpose2d: input {x:?} does not fit weight {weight:?} with {groups} groups: \
         the weight is [kernel_height, kernel_width, in, out / groups]",
    );
    let out = group_out * groups;
    check("conv_transpose2d", weight, bias, out, [options.stride, options.dilation], options);
    let size = |input: usize, kernel: usize, axis: usize| {
        assert!(
            input > 0 && kernel > 0,
            "conv_transpose2d: input {x:?} and weight {weight:?} must not be empty",
        );
        let full = (input - 1) * options.stride[axis]
            + options.dilation[axis] * (kernel - 1)
            + 1
            + options.output_padding[axis];
        let cut = options.padding[axis][0] + options.padding[axis][1];
        assert!(
            full > cut,
            "conv_transpose2d: the padding removes the whole output of input {x:?} with weight {weight:?} and {options:?}",
        );
        full - cut
    };
    [batch, size(height, kernel_height, 0), size(width, kernel_width, 1), out]
}

/// The same by Burn's own transposed convolution on permuted tensors. `shape` is that of the result.
fn default(
    (x, weight, bias): (Tensor<4>, Tensor<4>, Option<Tensor<1>>),
    shape: Shape,
    options: &ConvTransposeOptions,
) -> Tensor<4> {
    if shape[0] == 0 || shape[3] == 0 {
        return Tensor::zeros(shape, &x.device());
    }
    // Burn removes the same padding on both sides; the rest is sliced off.
    let common = options.padding.map(|[begin, end]| begin.min(end));
    let top = options.padding[0][0] - common[0];
    let left = options.padding[1][0] - common[1];
    let burn_options = ops::ConvTransposeOptions::new(
        options.stride,
        common,
        options.output_padding,
        options.dilation,
        options.groups,
    );
    let x = x.permute([0, 3, 1, 2]);
    let weight = weight.permute([2, 3, 0, 1]);
    let y = module::conv_transpose2d(x, weight, bias, burn_options).permute([0, 2, 3, 1]);
    if options.padding.iter().all(|[begin, end]| begin == end) {
        return y;
    }
    let [batch, height, width, out] = shape;
    y.slice([0..batch, top..top + height, left..left + width, 0..out])
}
