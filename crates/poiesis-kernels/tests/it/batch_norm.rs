//! Batch normalisation in training and evaluation.

use burn::tensor::{Distribution, Tensor};
use poiesis_kernels::internals::{default_batch_norm as default, default_batch_norm_eval as default_eval};
use poiesis_kernels::{Activation, Normalized, batch_norm, batch_norm_eval};

use crate::common::{
    assert_all_close, assert_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers,
    tensor, values, wide, with_gradients,
};

type BatchNorm = fn(Tensor<3>, Tensor<1>, Tensor<1>, f64, Activation) -> Normalized<3>;

const BY_DEFAULT: BatchNorm =
    |x, gamma, beta, epsilon, activation| default(x, [gamma, beta], epsilon, activation);

/// Statistics, result and every gradient.
fn run(batch_norm: BatchNorm, shape: [usize; 3], activation: Activation) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let count = shape.iter().product();
    let x: Vec<f32> = numbers(count, 1).iter().map(|x| x * 2.0 + 1.0).collect();
    let x = tensor(&x, shape, &device).require_grad();
    let gamma = tensor(&numbers(shape[2], 2), [shape[2]], &device).require_grad();
    let beta = tensor(&numbers(shape[2], 3), [shape[2]], &device).require_grad();
    let normalized = batch_norm(x.clone(), gamma.clone(), beta.clone(), 1e-3, activation);
    let mut all = vec![values(normalized.mean), values(normalized.var)];
    all.extend(with_gradients(normalized.y, &numbers(count, 4), (&x, &gamma, &beta)));
    all
}

#[test]
fn equals_the_default_implementation() {
    for shape in [[3, 700, 16], [1, 5, 3], [2, 1, 1], [9, 100, 37]] {
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::LeakyRelu(0.2),
            Activation::LeakyRelu(-0.5),
            Activation::Tanh,
            Activation::Softplus,
            Activation::Silu,
        ] {
            let got = run(batch_norm, shape, activation);
            let expected = run(BY_DEFAULT, shape, activation);
            assert_all_close(&got, &expected, 3e-5, &format!("{shape:?} {activation:?}"));
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(batch_norm, [9, 1000, 33], Activation::Relu));
}

#[test]
fn a_large_mean_leaves_the_variance_exact() {
    let device = flex_device();
    let x: Vec<f32> = numbers(100_000, 1).iter().map(|x| x + 1000.0).collect();
    let exact = {
        let n = x.len() as f64;
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n
    };
    let x = tensor(&x, [100_000, 1], &device);
    let (gamma, beta) = (Tensor::ones([1], &device), Tensor::zeros([1], &device));
    let var = batch_norm(x, gamma, beta, 1e-5, Activation::Identity).var;
    assert!((f64::from(values(var)[0]) / exact - 1.0).abs() < 1e-5);
}

#[test]
fn evaluation_equals_the_default_implementation() {
    let device = flex_device();
    let vector = |seed| tensor(&numbers(5, seed), [5], &device);
    let x = tensor(&numbers(35, 1), [7, 5], &device);
    let parameters = [vector(2), vector(3), vector(4), vector(5).abs()];
    let [gamma, beta, mean, var] = parameters.clone();
    let got = values(batch_norm_eval(x.clone(), gamma, beta, mean, var, 1e-5, Activation::Elu));
    let expected = values(default_eval(x, parameters, 1e-5, Activation::Elu));
    assert_close(&got, &wide(&expected), 1e-5, "evaluation");
}

#[test]
fn normalises_each_channel() {
    let device = autodiff_device();
    let x = Tensor::<4>::random([3, 4, 5, 2], Distribution::Normal(3.0, 2.0), &device);
    let (gamma, beta) = (Tensor::ones([2], &device), Tensor::zeros([2], &device));
    let Normalized { y, mean, var, count } = batch_norm(x, gamma, beta, 1e-5, Activation::Identity);
    assert_eq!((y.dims(), mean.dims(), var.dims(), count), ([3, 4, 5, 2], [2], [2], 60));
    assert!(y.clone().mean().into_scalar::<f32>().abs() < 1e-5);
    assert!(((y.clone() * y).mean().into_scalar::<f32>() - 1.0).abs() < 1e-4);
    assert!(!mean.is_tracked() && mean.is_autodiff());
}

#[test]
#[should_panic(expected = "[2, 3] does not fit parameters [[2], [3]]")]
fn wrong_channels_panic_with_both_shapes() {
    let device = flex_device();
    let x = Tensor::<2>::ones([2, 3], &device);
    let (gamma, beta) = (Tensor::ones([2], &device), Tensor::zeros([3], &device));
    batch_norm(x, gamma, beta, 1e-5, Activation::Identity);
}
