//! Gated activations: the product of two activated tensors or halves of a tensor.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::Activation;

/// `activation_a(a) · activation_b(b)`, element by element, for `a` and `b` of the same shape.
///
/// Silu and Identity give SwiGLU (Shazeer 2020, equation 6), Tanh and Sigmoid the gate of the gated PixelCNN and WaveNet
/// (van den Oord et al. 2016). On Flex one pass over memory forward and one backward; only `a` and `b` are kept.
///
/// # Panics
///
/// When the shapes differ.
pub fn gate<const D: usize>(
    a: Tensor<D>,
    b: Tensor<D>,
    activation_a: Activation,
    activation_b: Activation,
) -> Tensor<D> {
    assert!(a.dims() == b.dims(), "gate: first {:?} does not fit second {:?}", a.dims(), b.dims());
    if a.dims().contains(&0) {
        return a;
    }
    flex::gate::gate(&a, &b, [activation_a, activation_b])
        .unwrap_or_else(|| default(a, b, activation_a, activation_b))
}

/// [`gate`] of the two halves of the last axis of `x [.., 2 · n]`, the first through `activation_a`; the result is
/// `[.., n]`. On Flex the halves and their gradients are not copied; only `x` is kept.
///
/// # Panics
///
/// When the last axis is odd.
pub fn gate_halves<const D: usize>(
    x: Tensor<D>,
    activation_a: Activation,
    activation_b: Activation,
) -> Tensor<D> {
    let mut shape = x.dims();
    assert!(
        shape[D - 1].is_multiple_of(2),
        "gate_halves: input {shape:?} has no halves: its last axis must be even",
    );
    shape[D - 1] /= 2;
    if shape.contains(&0) {
        return Tensor::zeros(shape, &x.device());
    }
    flex::gate::gate_halves(&x, [activation_a, activation_b])
        .unwrap_or_else(|| default_halves(x, activation_a, activation_b))
}

/// The same in Burn's own operations.
pub fn default<const D: usize>(
    a: Tensor<D>,
    b: Tensor<D>,
    activation_a: Activation,
    activation_b: Activation,
) -> Tensor<D> {
    activation::default(a, activation_a) * activation::default(b, activation_b)
}

/// The same in Burn's own operations.
pub fn default_halves<const D: usize>(
    x: Tensor<D>,
    activation_a: Activation,
    activation_b: Activation,
) -> Tensor<D> {
    let n = x.dims()[D - 1] / 2;
    let (a, b) = (x.clone().narrow(D - 1, 0, n), x.narrow(D - 1, n, n));
    default(a, b, activation_a, activation_b)
}
