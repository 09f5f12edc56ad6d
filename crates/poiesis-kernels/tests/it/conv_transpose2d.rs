//! Shapes of transposed convolutions; `convolution` has their results.

use burn::tensor::Tensor;
use poiesis_kernels::{ConvTransposeOptions, conv_transpose2d};

use crate::common::flex_device;

#[test]
fn shape_follows_the_formula() {
    let ones = |shape| Tensor::ones(shape, &flex_device());
    let options = ConvTransposeOptions {
        stride: [2, 1],
        padding: [[1, 0], [0, 2]],
        output_padding: [1, 0],
        dilation: [1, 2],
        groups: 2,
    };
    let bias = Some(Tensor::ones([6], &flex_device()));
    let y = conv_transpose2d(ones([2, 4, 3, 4]), ones([4, 3, 4, 3]), bias, &options);
    assert_eq!(y.dims(), [2, 10, 5, 6]);
}

#[test]
#[should_panic(expected = "[1, 4, 4, 3] does not fit weight [3, 3, 2, 8]")]
fn wrong_channels_panic_with_both_shapes() {
    let ones = |shape| Tensor::ones(shape, &flex_device());
    conv_transpose2d(ones([1, 4, 4, 3]), ones([3, 3, 2, 8]), None, &ConvTransposeOptions::default());
}
