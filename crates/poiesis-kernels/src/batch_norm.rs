//! Batch normalisation over every axis but the last, with a following activation.

use burn::tensor::Tensor;

use crate::activation::{self, Activation};

/// What [`batch_norm`] returns: the result and the statistics it used.
#[derive(Clone, Debug)]
pub struct Normalized<const D: usize> {
    /// The normalised, scaled, shifted and activated input, of its shape.
    pub y: Tensor<D>,
    /// Mean of each channel over all other axes, `[channels]`, without a gradient.
    pub mean: Tensor<1>,
    /// Biased variance (divided by `count`) of each channel, `[channels]`, without a gradient.
    /// Running statistics as PyTorch keeps them take `var · count / (count − 1)`.
    pub var: Tensor<1>,
    /// How many values each channel had.
    pub count: usize,
}

/// Normalises each channel (last axis) of `x` by its own mean and variance over this batch:
/// `activation(gamma · (x − mean) / √(var + epsilon) + beta)`, differentiable in `x`, `gamma` and
/// `beta` through the statistics.
///
/// Source: Ioffe & Szegedy 2015, algorithm 1.
///
/// # Panics
///
/// When `gamma` or `beta` is not `[channels]`, or `x` holds nothing.
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
        "batch_norm: input {:?} has no values to take statistics of",
        x.dims(),
    );
    default(x, gamma, beta, epsilon, activation)
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
    let shapes = [gamma.dims(), beta.dims(), mean.dims(), var.dims()];
    check("batch_norm_eval", &x.dims(), &shapes);
    default_eval(x, gamma, beta, mean, var, epsilon, activation)
}

fn check(name: &str, x: &[usize], channels: &[[usize; 1]]) {
    let last = x.last().copied().unwrap_or(0);
    assert!(
        channels.iter().all(|&shape| shape == [last]),
        "{name}: input {x:?} does not fit parameters {channels:?}: each must be [{last}]",
    );
}

pub(crate) fn default<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
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

pub(crate) fn default_eval<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    mean: Tensor<1>,
    var: Tensor<1>,
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
    use burn::tensor::{Device, Distribution};

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
