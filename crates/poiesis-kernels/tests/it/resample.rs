//! Halving and doubling images.

use burn::tensor::Tensor;
use poiesis_kernels::internals::{default_downsample, default_upsample};
use poiesis_kernels::{downsample, upsample};

use crate::common::{
    assert_all_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values,
};

/// Result and gradient.
fn run(resample: fn(Tensor<4>) -> Tensor<4>, shape: [usize; 4]) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let x = tensor(&numbers(shape.iter().product(), 1), shape, &device).require_grad();
    let y = resample(x.clone());
    let dy = tensor(&numbers(y.dims().iter().product(), 2), y.dims(), &device);
    let gradients = (y.clone() * dy).sum().backward();
    vec![values(y), values(x.grad(&gradients).unwrap())]
}

#[test]
fn equal_the_default_implementation() {
    for shape in [[1, 2, 2, 1], [2, 4, 6, 3], [3, 16, 8, 37], [2, 2, 10, 64]] {
        let what = format!("{shape:?}");
        assert_all_close(&run(downsample, shape), &run(default_downsample, shape), 1e-6, &what);
        assert_all_close(&run(upsample, shape), &run(default_upsample, shape), 1e-6, &what);
    }
}

#[test]
fn take_a_pixel_and_the_means_of_neighbours() {
    let row = tensor(&[2.0, 4.0, -6.0, 8.0], [1, 1, 4, 1], &flex_device());
    let rows = row.expand([1, 4, 4, 1]);
    // The row after the first, which sees the zeros above the image.
    let second = |x: Tensor<4>| values(x.narrow(1, 1, 1));
    assert_eq!(second(upsample(rows.clone())), [1.0, 2.0, 3.0, 4.0, -1.0, -6.0, 1.0, 8.0]);
    // (0 + 2·2 + 4) / 4 and (4 + 2·(−6) + 8) / 4.
    assert_eq!(second(downsample(rows)), [2.0, 0.0]);
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(downsample, [3, 32, 32, 17]));
    assert_same_for_any_threads(|| run(upsample, [3, 32, 32, 17]));
}

#[test]
fn nothing() {
    let nothing = Tensor::<4>::zeros([0, 4, 4, 2], &flex_device());
    assert_eq!(downsample(nothing.clone()).dims(), [0, 2, 2, 2]);
    assert_eq!(upsample(nothing).dims(), [0, 8, 8, 2]);
}

#[test]
#[should_panic(expected = "the sides of input [1, 3, 4, 1] are not even")]
fn odd_sides_panic() {
    downsample(Tensor::ones([1, 3, 4, 1], &flex_device()));
}
