//! Moving averages.

use burn::tensor::Tensor;
use poiesis_kernels::ema;

use crate::common::{flex_device, values};

#[test]
fn moves_by_one_minus_decay() {
    let device = flex_device();
    let average = ema(Tensor::zeros([3], &device), Tensor::ones([3], &device), 0.9);
    assert!((average.max().into_scalar::<f32>() - 0.1).abs() < 1e-6);
}

#[test]
fn leaves_shared_tensors_unchanged() {
    let device = flex_device();
    let average = Tensor::<1>::from_data([1.0, 2.0], &device);
    let other = average.clone();
    ema(average, Tensor::zeros([2], &device), 0.5);
    assert_eq!(values(other), [1.0, 2.0]);
}

#[test]
#[should_panic(expected = "[3] does not fit value [4]")]
fn wrong_shapes_panic_with_both() {
    let device = flex_device();
    ema(Tensor::zeros([3], &device), Tensor::ones([4], &device), 0.9);
}
