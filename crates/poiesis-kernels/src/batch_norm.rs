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

/// The same in Burn's own operations.
pub fn default<const D: usize>(
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

/// The same in Burn's own operations.
pub fn default_eval<const D: usize>(
    x: Tensor<D>,
    [gamma, beta, mean, var]: [Tensor<1>; 4],
    epsilon: f64,
    activation: Activation,
) -> Tensor<D> {
    let scale = gamma / (var + epsilon).sqrt();
    let shift = beta - mean * scale.clone();
    activation::default(x * scale.unsqueeze() + shift.unsqueeze(), activation)
}
