//! Linear layers.

use burn::tensor::Tensor;
use poiesis_kernels::internals::default_linear as default;
use poiesis_kernels::{Activation, linear};

use crate::common::{
    assert_all_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values,
    with_gradients,
};

type Linear = fn(Tensor<3>, Tensor<2>, Option<Tensor<1>>, Activation) -> Tensor<3>;

/// Result and every gradient.
fn run(linear: Linear, shape: [usize; 4], activation: Activation) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let [a, b, inputs, outputs] = shape;
    let x = tensor(&numbers(a * b * inputs, 1), [a, b, inputs], &device).require_grad();
    let weight = tensor(&numbers(inputs * outputs, 2), [inputs, outputs], &device);
    let weight = weight.require_grad();
    let bias = tensor(&numbers(outputs, 3), [outputs], &device).require_grad();
    let y = linear(x.clone(), weight.clone(), Some(bias.clone()), activation);
    with_gradients(y, &numbers(a * b * outputs, 4), (&x, &weight, &bias))
}

#[test]
fn equals_the_default_implementation() {
    let shapes = [
        [2, 64, 784, 500],
        [1, 1, 1, 1],
        [3, 5, 7, 66],
        [2, 150, 20, 30],
        [1, 1, 64, 6],
        // Several panels per task, with few rows and with many; some panels are read in place.
        [1, 5, 9, 4170],
        [1, 5, 4170, 9],
        [4, 300, 40, 600],
        [4, 300, 600, 40],
    ];
    for shape in shapes {
        for activation in [Activation::Identity, Activation::Relu, Activation::Tanh, Activation::Gelu] {
            let expected = run(default, shape, activation);
            let got = run(linear, shape, activation);
            // A sum just above 0 in one and just below 0 in the other has another derivative.
            let tolerance = if activation == Activation::Relu { 1e-4 } else { 3e-5 };
            assert_all_close(&got, &expected, tolerance, &format!("{shape:?} {activation:?}"));
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    for shape in [[2, 150, 300, 200], [4, 300, 40, 600]] {
        assert_same_for_any_threads(|| run(linear, shape, Activation::Relu));
    }
}

#[test]
fn rows_do_not_depend_on_the_batch() {
    let device = flex_device();
    let x = tensor(&numbers(300 * 40, 1), [300, 40], &device);
    let weight = tensor(&numbers(40 * 100, 2), [40, 100], &device);
    let all = values(linear(x.clone(), weight.clone(), None, Activation::Tanh));
    let one = values(linear(x.narrow(0, 217, 1), weight, None, Activation::Tanh));
    assert_eq!(all[217 * 100..218 * 100], one);
}

#[test]
fn an_empty_batch() {
    let device = flex_device();
    let y =
        linear(Tensor::<2>::zeros([0, 4], &device), Tensor::ones([4, 5], &device), None, Activation::Relu);
    assert_eq!(y.dims(), [0, 5]);
}

#[test]
fn keeps_leading_axes() {
    let device = flex_device();
    let x = Tensor::<3>::ones([2, 3, 4], &device);
    let bias = Some(Tensor::ones([5], &device));
    let y = linear(x, Tensor::ones([4, 5], &device), bias, Activation::Relu);
    assert_eq!(y.dims(), [2, 3, 5]);
    assert_eq!(y.max().into_scalar::<f32>(), 5.0);
}

#[test]
#[should_panic(expected = "[2, 3] does not fit weight [4, 5]")]
fn wrong_inputs_panic_with_both_shapes() {
    let device = flex_device();
    let x = Tensor::<2>::ones([2, 3], &device);
    linear(x, Tensor::ones([4, 5], &device), None, Activation::Identity);
}
