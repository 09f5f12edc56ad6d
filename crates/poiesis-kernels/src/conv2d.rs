//! Two-dimensional convolution, channels last.

use std::fmt::Debug;

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops;

use crate::flex;
use crate::flex::convolution::Geometry;

/// The shape of images and weights.
pub(crate) type Shape = [usize; 4];

/// The options of a [`conv2d`]. The default is stride 1, no padding, dilation 1
/// and one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvOptions {
    /// Stride of the kernel `[vertical, horizontal]`, in input pixels, at least 1.
    pub stride: [usize; 2],
    /// Zeros around the input `[[top, bottom], [left, right]]`, in pixels.
    pub padding: [[usize; 2]; 2],
    /// Distance of neighbouring kernel elements `[vertical, horizontal]`, in input pixels, at least 1.
    pub dilation: [usize; 2],
    /// Number of groups; divides both channel counts. With as many groups as input channels the
    /// convolution is depthwise.
    pub groups: usize,
    /// The number of taps (kernel elements, counted row by row) that are used. The others count as zero, whatever their values,
    /// have a gradient of zero, and cost no time. `None` for all. In a kernel of odd size, `(size² − 1) / 2`
    /// taps are those before the centre, PixelCNN's mask A; one more is its mask B (van den Oord et al. 2016).
    pub active_taps: Option<usize>,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self { stride: [1, 1], padding: [[0, 0], [0, 0]], dilation: [1, 1], groups: 1, active_taps: None }
    }
}

impl ConvOptions {
    /// A convolution with this stride and the same padding on opposite sides, `[vertical,
    /// horizontal]` each.
    pub fn new(stride: [usize; 2], padding: [usize; 2]) -> Self {
        Self { stride, padding: padding.map(|p| [p, p]), ..Self::default() }
    }
}

/// Convolves `x [batch, height, width, in]` with `weight [kernel_height, kernel_width, in / groups, out]`
/// and adds `bias [out]`; the result is `[batch, out_height, out_width, out]` where
/// `out_height = (height + top + bottom − dilation · (kernel_height − 1) − 1) / stride + 1`, rounded down.
///
/// As in every deep learning library this is the cross-correlation: the kernel is not mirrored.
///
/// On Flex: square kernels of up to ten taps per axis at stride 1 and 2 use Winograd's minimal filtering (Lavin & Gray 2016,
/// arXiv:1509.09308), large ones in four parts, where the channels are multiples of 16 and numerous enough for a gain. All
/// others are matrix products whose left matrix is the image in place, a copy of its border with zeros around it (of all lines
/// if many windows cross the border), or gathered pixels for dilated and grouped kernels. The choice depends on the shape, and
/// for the gradient of many weights also on how fast the processor multiplies. The gradients are the exact adjoints; a gradient
/// that is not needed is not computed.
///
/// Memory besides the result: some hundred kilobytes per thread, for Winograd also the transformed weights
/// (up to six times the weights), and for the gradient of the weights some tens of MiB of pixels. Kept for the backward pass:
/// the input and the weights, shared and not copied.
///
/// # Panics
///
/// When the shapes do not fit each other, the kernel does not fit into the padded input, or it has fewer taps
/// than `options.active_taps`.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: &ConvOptions) -> Tensor<4> {
    let shape = output_shape(x.dims(), weight.dims(), bias.as_ref().map(Tensor::dims), options);
    let geometry = geometry(x.dims(), shape, weight.dims(), options, false);
    flex::convolution::convolve(&x, &weight, bias.as_ref(), geometry)
        .unwrap_or_else(|| default(x, weight, bias, options))
}

/// The geometry of a convolution from a `large` to a `small` image, or of the transposed one back, with these shapes.
pub(crate) fn geometry(
    [batch, height, width, channels]: Shape,
    small: Shape,
    weight: Shape,
    options: &ConvOptions,
    transposed: bool,
) -> Geometry {
    Geometry {
        batch,
        large: [height, width],
        channels,
        small: [small[1], small[2]],
        out: small[3],
        kernel: [weight[0], weight[1]],
        stride: options.stride,
        padding: options.padding.map(|[begin, _]| begin),
        dilation: options.dilation,
        groups: options.groups,
        active_taps: options.active_taps.unwrap_or(weight[0] * weight[1]),
        transposed,
    }
}

/// Panics unless the bias has the `out` channels of the result, and stride and dilation are at least 1.
pub(crate) fn check(
    name: &str,
    weight: Shape,
    bias: Option<[usize; 1]>,
    out: usize,
    steps: [[usize; 2]; 2],
    options: &impl Debug,
) {
    assert!(
        bias.is_none_or(|bias| bias == [out]),
        "{name}: bias {bias:?} does not fit weight {weight:?}: it must be [{out}]",
    );
    assert!(
        steps.iter().flatten().all(|&step| step > 0),
        "{name}: stride and dilation must be at least 1: {options:?}",
    );
}

/// The shape of the result, after checking that the arguments fit each other.
fn output_shape(x: Shape, weight: Shape, bias: Option<[usize; 1]>, options: &ConvOptions) -> Shape {
    let [batch, height, width, channels] = x;
    let [kernel_height, kernel_width, group_channels, out] = weight;
    let groups = options.groups;
    assert!(
        groups > 0 && channels == group_channels * groups && out.is_multiple_of(groups),
        "conv2d: input {x:?} does not fit weight {weight:?} with {groups} groups: \
         the weight is [kernel_height, kernel_width, in / groups, out]",
    );
    check("conv2d", weight, bias, out, [options.stride, options.dilation], options);
    assert!(
        options.active_taps.is_none_or(|active_taps| active_taps <= kernel_height * kernel_width),
        "conv2d: weight {weight:?} has fewer taps than the {:?} active ones",
        options.active_taps,
    );
    let size = |input: usize, kernel: usize, axis: usize| {
        let padded = input + options.padding[axis][0] + options.padding[axis][1];
        let reach = options.dilation[axis] * kernel.saturating_sub(1) + 1;
        assert!(
            kernel > 0 && padded >= reach,
            "conv2d: weight {weight:?} does not fit into input {x:?} with {options:?}",
        );
        (padded - reach) / options.stride[axis] + 1
    };
    [batch, size(height, kernel_height, 0), size(width, kernel_width, 1), out]
}

/// The same by Burn's own convolution on permuted tensors.
pub fn default(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: &ConvOptions) -> Tensor<4> {
    let shape = output_shape(x.dims(), weight.dims(), bias.as_ref().map(Tensor::dims), options);
    if shape[0] == 0 || shape[3] == 0 {
        return Tensor::zeros(shape, &x.device());
    }
    let weight = options.active_taps.map_or(weight.clone(), |active_taps| mask(weight, active_taps));
    let options = ops::ConvOptions::new_with_padding(
        options.stride,
        options.padding.map(|[begin, end]| (begin, end)),
        options.dilation,
        options.groups,
    );
    let x = x.permute([0, 3, 1, 2]);
    let weight = weight.permute([3, 2, 0, 1]);
    module::conv2d(x, weight, bias, options).permute([0, 2, 3, 1])
}

/// The weight with zeros for all taps but the first `active_taps`.
fn mask(weight: Tensor<4>, active_taps: usize) -> Tensor<4> {
    let [height, width, channels, out] = weight.dims();
    let device = weight.device();
    let ones = Tensor::<2>::ones([active_taps, channels * out], &device);
    let zeros = Tensor::zeros([height * width - active_taps, channels * out], &device);
    weight * Tensor::cat(vec![ones, zeros], 0).reshape([height, width, channels, out])
}
