//! Shapes and masks of convolutions; `convolution` has their results.

use burn::tensor::Tensor;
use poiesis_kernels::internals::default_conv2d as default;
use poiesis_kernels::{ConvOptions, conv2d};

use crate::common::{assert_close, flex_device, numbers, tensor, values};

#[test]
fn shape_follows_the_formula() {
    let device = flex_device();
    let x = Tensor::<4>::ones([2, 7, 5, 4], &device);
    let weight = Tensor::<4>::ones([3, 2, 2, 6], &device);
    let options = ConvOptions {
        stride: [2, 1],
        padding: [[1, 0], [0, 2]],
        dilation: [1, 3],
        groups: 2,
        active_taps: None,
    };
    let y = conv2d(x, weight, Some(Tensor::ones([6], &device)), &options);
    assert_eq!(y.dims(), [2, 3, 4, 6]);
}

#[test]
fn masked_kernels_equal_the_default_implementation() {
    let device = flex_device();
    let x = tensor(&numbers(6 * 5 * 4, 1), [1, 6, 5, 4], &device);
    let weight = tensor(&numbers(3 * 3 * 4 * 6, 2), [3, 3, 4, 6], &device);
    for active_taps in [0, 4, 5, 9] {
        let options = ConvOptions { active_taps: Some(active_taps), ..ConvOptions::new([1, 1], [1, 1]) };
        let expected = values(default(x.clone(), weight.clone(), None, &options));
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        assert_close(&values(conv2d(x.clone(), weight.clone(), None, &options)), &expected, 1e-6, "y");
    }
}

#[test]
#[should_panic(expected = "[1, 4, 4, 3] does not fit weight [3, 3, 2, 8]")]
fn wrong_channels_panic_with_both_shapes() {
    let device = flex_device();
    let x = Tensor::<4>::ones([1, 4, 4, 3], &device);
    conv2d(x, Tensor::ones([3, 3, 2, 8], &device), None, &ConvOptions::default());
}
