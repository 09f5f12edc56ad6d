//! Elementwise activation functions.

use burn::tensor::{Tensor, activation};

use crate::flex;
use crate::types::Activation;

/// Applies `activation` to every element of `x`, any shape.
///
/// On Flex: one pass on all threads with branch-free vector code; exp, tanh, sigmoid and similar functions are within 2 to 5
/// units in the last place. The result is kept for the backward pass if the derivative follows from it, else the argument.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if activation == Activation::Identity {
        return x;
    }
    flex::elementwise::activate(&x, activation).unwrap_or_else(|| default(x, activation))
}

/// `t` times the derivative of `activation` at `x`, element by element: where the result of [`activate`] goes when `x` moves along `t`.
///
/// `x` is a constant, to which no gradient goes; its own derivative is zero almost everywhere for the activations that are allowed. On
/// Flex one pass on all threads, also backward.
///
/// # Panics
///
/// When the shapes differ, or `activation` is not made of straight lines: identity, ReLU or leaky ReLU with a slope of at least 0.
pub fn activation_tangent<const D: usize>(t: Tensor<D>, x: Tensor<D>, activation: Activation) -> Tensor<D> {
    assert!(t.dims() == x.dims(), "activation_tangent: {:?} does not fit {:?}", t.dims(), x.dims());
    let slope = match activation {
        Activation::Identity => return t,
        Activation::Relu => 0.0,
        Activation::LeakyRelu(slope) if slope >= 0.0 => slope,
        other => panic!("activation_tangent: the second derivative of {other:?} is not zero"),
    };
    flex::elementwise::tangent(&t, &x, activation).unwrap_or_else(|| default_tangent(t, x, slope))
}

/// The same in Burn's own operations.
pub fn default_tangent<const D: usize>(t: Tensor<D>, x: Tensor<D>, slope: f32) -> Tensor<D> {
    let slope = f64::from(slope);
    t * (x.detach().greater_elem(0.0).float() * (1.0 - slope) + slope)
}

/// The same in Burn's own operations.
pub fn default<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => activation::relu(x),
        Activation::LeakyRelu(slope) => activation::leaky_relu(x, f64::from(slope)),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Softplus => activation::softplus(x, 1.0),
        Activation::Elu => activation::elu(x, 1.0),
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
    }
}
