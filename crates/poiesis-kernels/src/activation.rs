//! Elementwise activation functions.

use burn::tensor::{Tensor, activation};

/// An elementwise activation function, alone or fused behind another operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `x` where positive, else `slope · x`
    LeakyRelu(f32),
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(−x))`
    Sigmoid,
    /// `log(1 + exp(x))`
    Softplus,
    /// `x` where positive, else `exp(x) − 1`
    Elu,
    /// `x · sigmoid(x)`
    Silu,
    /// `x · Φ(x)` with the normal distribution function Φ (the exact form, not the tanh one)
    Gelu,
}

/// Applies `activation` to every element of `x`, any shape.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    default(x, activation)
}

pub(crate) fn default<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
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
