//! One step of Adam.

use burn::tensor::Tensor;
use poiesis_kernels::{AdamStep, adam};

use crate::common::flex_device;

#[test]
fn first_step_moves_by_the_learning_rate() {
    let device = flex_device();
    let step = AdamStep {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decoupled_weight_decay: 0.0,
        step: 1,
        gradient_scale: 1.0,
    };
    let (parameter, first, second) = adam(
        Tensor::<2>::ones([2, 3], &device),
        Tensor::ones([2, 3], &device) * 7.0,
        Tensor::zeros([6], &device),
        Tensor::zeros([6], &device),
        &step,
    );
    assert_eq!((parameter.dims(), first.dims(), second.dims()), ([2, 3], [6], [6]));
    assert!((parameter.max().into_scalar::<f32>() - 0.9).abs() < 1e-6);
}
