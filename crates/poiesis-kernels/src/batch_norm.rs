//! Batch normalisation over every axis but the last, with a following activation.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::{Activation, Normalized};

/// Normalises each channel (last axis) of `x` by its own mean and variance over this batch:
/// `activation(gamma · (x − mean) / √(var + epsilon) + beta)`, differentiable in `x`, `gamma` and
/// `beta` through the statistics.
///
/// Source: Ioffe & Szegedy 2015, algorithm 1 (arXiv:1502.03167).
///
/// On Flex: one pass for the statistics (differences from the first row, in f32 by blocks of 256 rows, then f64), one for the
/// result; two for the gradients. Normalised values are not stored but computed again in the backward pass, for which only the
/// input is kept.
///
/// # Panics
///
/// When `gamma` or `beta` is not `[channels]`, or `x` is empty.
pub fn batch_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    activation: Activation,
) -> Normalized<D> {
    check("batch_norm", &x.dims(), &[gamma.dims(), beta.dims()]);
    assert!(
        x.dims().iter().all(|&n| n > 0),
        "batch_norm: input {:?} has no values to compute statistics from",
        x.dims(),
    );
    flex::norm::batch_norm(&x, &gamma, &beta, epsilon, activation)
        .unwrap_or_else(|| default(x, [gamma, beta], epsilon, activation))
}

/// The same with given statistics `mean` and `var`, `[channels]` each, as in evaluation.
///
/// # Panics
///
/// When `gamma`, `beta`, `mean` or `var` is not `[channels]`.
pub fn batch_norm_eval<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    mean: Tensor<1>,
    var: Tensor<1>,
    epsilon: f64,
    activation: Activation,
) -> Tensor<D> {
    let parameters = [gamma, beta, mean, var];
    check("batch_norm_eval", &x.dims(), &parameters.each_ref().map(Tensor::dims));
    flex::norm::batch_norm_eval(&x, parameters.each_ref(), epsilon, activation)
        .unwrap_or_else(|| default_eval(x, parameters, epsilon, activation))
}

fn check(name: &str, x: &[usize], channels: &[[usize; 1]]) {
    let last = x.last().copied().unwrap_or(0);
    assert!(
        channels.iter().all(|&shape| shape == [last]),
        "{name}: input {x:?} does not fit parameters {channels:?}: each must be [{last}]",
    );
}

fn default<const D: usize>(
    x: Tensor<D>,
    [gamma, beta]: [Tensor<1>; 2],
    epsilon: f64,
    activation: Activation,
) -> Normalized<D> {
    let shape = x.dims();
    let channels = shape[D - 1];
    let count = shape.iter().product::<usize>() / channels;
    let x = x.reshape([count, channels]);
    let mean = x.clone().mean_dim(0);
    let centered = x - mean.clone();
    let var = (centered.clone() * centered.clone()).mean_dim(0);
    let normal = centered / (var.clone() + epsilon).sqrt();
    let y = normal * gamma.unsqueeze::<2>() + beta.unsqueeze::<2>();
    Normalized {
        y: activation::default(y.reshape(shape), activation),
        mean: constant(mean.reshape([channels])),
        var: constant(var.reshape([channels])),
        count,
    }
}

/// The values of `tensor` on the same device, outside any graph. Burn's `detach` would keep asking
/// for a gradient.
fn constant(tensor: Tensor<1>) -> Tensor<1> {
    if tensor.is_autodiff() { tensor.inner().autodiff() } else { tensor }
}

fn default_eval<const D: usize>(
    x: Tensor<D>,
    [gamma, beta, mean, var]: [Tensor<1>; 4],
    epsilon: f64,
    activation: Activation,
) -> Tensor<D> {
    let scale = gamma / (var + epsilon).sqrt();
    let shift = beta - mean * scale.clone();
    activation::default(x * scale.unsqueeze() + shift.unsqueeze(), activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_all_close, assert_close, assert_same_for_any_threads, numbers, tensor, values, wide,
        with_gradients,
    };
    use burn::tensor::{Device, Distribution};

    type BatchNorm = fn(Tensor<3>, Tensor<1>, Tensor<1>, f64, Activation) -> Normalized<3>;

    const BY_DEFAULT: BatchNorm =
        |x, gamma, beta, epsilon, activation| default(x, [gamma, beta], epsilon, activation);

    /// Statistics, result and every gradient.
    fn run(batch_norm: BatchNorm, shape: [usize; 3], activation: Activation) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
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
        let device = Device::flex();
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
        let device = Device::flex();
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
        let device = Device::flex().autodiff();
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
        let device = Device::flex();
        let x = Tensor::<2>::ones([2, 3], &device);
        let (gamma, beta) = (Tensor::ones([2], &device), Tensor::zeros([3], &device));
        batch_norm(x, gamma, beta, 1e-5, Activation::Identity);
    }
}
