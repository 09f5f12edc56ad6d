//! Layer norm and RMS norm: normalisation of each position by its own channels.

use burn::tensor::Tensor;

use crate::flex;

/// Normalises each row (last axis) of `x [.., channels]` by its own mean and biased variance:
/// `gamma · (x − mean) / √(variance + epsilon) + beta`, with `gamma` and `beta` `[channels]`.
///
/// On Flex one pass over memory forward and one backward; two values per row are kept besides the input.
///
/// Source: Ba, Kiros & Hinton 2016, §3.
///
/// # Panics
///
/// When `gamma` or `beta` is not `[channels]`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    check("layer_norm", &x.dims(), "gamma", gamma.dims());
    if let Some(beta) = &beta {
        check("layer_norm", &x.dims(), "beta", beta.dims());
    }
    if gamma.dims() == [0] {
        return x;
    }
    flex::layer_norm::layer_norm(&x, &gamma, beta.as_ref(), epsilon, true)
        .unwrap_or_else(|| default(x, gamma, beta, epsilon))
}

/// Scales each row (last axis) of `x [.., channels]` by its root mean square:
/// `gamma · x / √(mean(x²) + epsilon)`, with `gamma` `[channels]`.
///
/// On Flex one pass over memory forward and one backward; two values per row are kept besides the input.
///
/// Source: Zhang & Sennrich 2019, equation 4.
///
/// # Panics
///
/// When `gamma` is not `[channels]`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    check("rms_norm", &x.dims(), "gamma", gamma.dims());
    if gamma.dims() == [0] {
        return x;
    }
    flex::layer_norm::layer_norm(&x, &gamma, None, epsilon, false)
        .unwrap_or_else(|| default_rms(x, gamma, epsilon))
}

fn check(name: &str, x: &[usize], parameter: &str, shape: [usize; 1]) {
    let last = x.last().copied().unwrap_or(0);
    assert!(shape == [last], "{name}: input {x:?} does not fit {parameter} {shape:?}: it must be [{last}]",);
}

/// The same in Burn's own operations.
pub fn default<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    if x.dims().contains(&0) {
        return x;
    }
    let centered = x.clone() - x.mean_dim(D - 1);
    let y = default_rms(centered, gamma, epsilon);
    match beta {
        Some(beta) => y + beta.unsqueeze(),
        None => y,
    }
}

/// The same in Burn's own operations.
pub fn default_rms<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    if x.dims().contains(&0) {
        return x;
    }
    let mean_square = (x.clone() * x.clone()).mean_dim(D - 1);
    x / (mean_square + epsilon).sqrt() * gamma.unsqueeze()
}
