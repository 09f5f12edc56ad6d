//! Elementwise activations and their tangents.

use burn::tensor::Tensor;
use poiesis_kernels::internals::{
    default_activate as default, default_activation_tangent as default_tangent,
};
use poiesis_kernels::{Activation, activate, activation_tangent};

use crate::common::{
    ACTIVATIONS, assert_all_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers,
    tensor, values,
};

fn run(
    function: impl Fn(Tensor<2>, Activation) -> Tensor<2>,
    activation: Activation,
    x: &[f32],
    dy: &[f32],
) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let x = tensor(x, [x.len() / 7, 7], &device).require_grad();
    let y = function(x.clone(), activation);
    let gradients = (y.clone() * tensor(dy, y.dims(), &device)).sum().backward();
    vec![values(y), values(x.grad(&gradients).unwrap())]
}

#[test]
fn equals_the_default_implementation() {
    for activation in [Activation::LeakyRelu(-0.5)].into_iter().chain(ACTIVATIONS) {
        let x: Vec<f32> = numbers(7 * 5000, 1).iter().map(|x| x * 6.0).collect();
        let dy = numbers(x.len(), 2);
        let got = run(activate, activation, &x, &dy);
        let expected = run(default, activation, &x, &dy);
        assert_all_close(&got, &expected, 2e-6, &format!("{activation:?}"));
    }
}

#[test]
fn a_tangent_is_multiplied_by_the_slope_and_so_is_its_gradient() {
    let device = autodiff_device();
    let x = tensor(&numbers(7 * 3000, 1), [3000, 7], &device);
    let dy = tensor(&numbers(7 * 3000, 2), [3000, 7], &device);
    for (activation, slope) in [(Activation::Relu, 0.0), (Activation::LeakyRelu(0.2), 0.2)] {
        let run = |tangent: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let t = tensor(&numbers(7 * 3000, 3), [3000, 7], &device).require_grad();
            let y = tangent(t.clone());
            let gradients = (y.clone() * dy.clone()).sum().backward();
            vec![values(y), values(t.grad(&gradients).unwrap())]
        };
        let got = run(&|t| activation_tangent(t, x.clone(), activation));
        let expected = run(&|t| default_tangent(t, x.clone(), slope));
        assert_all_close(&got, &expected, 1e-6, &format!("{activation:?}"));
    }
}

#[test]
#[should_panic(expected = "the second derivative of Tanh is not zero")]
fn curved_activations_have_no_tangent() {
    let x = Tensor::<1>::ones([2], &flex_device());
    activation_tangent(x.clone(), x, Activation::Tanh);
}

#[test]
fn the_same_for_any_number_of_threads() {
    let x = numbers(7 * 9000, 1);
    assert_same_for_any_threads(|| run(activate, Activation::Tanh, &x, &x));
}

#[test]
fn views_and_nothing() {
    let device = flex_device();
    let x = tensor(&numbers(12, 1), [3, 4], &device);
    let y = activate(x.clone().transpose(), Activation::Tanh);
    assert_eq!(values(y), values(activate(x, Activation::Tanh).transpose()));
    let nothing = Tensor::<2>::zeros([0, 4], &device);
    assert_eq!(activate(nothing, Activation::Silu).dims(), [0, 4]);
}
