//! Activation functions.

/// An elementwise activation function, alone or fused with the operation before it.
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
