//! Elementwise functions of one value without branches, so that loops over them vectorise, and their
//! derivatives.
//!
//! Errors against the exact value, in units in the last place of the result, over all finite arguments
//! (verified by tests): `exp` 2, `log` 2, `tanh` 4, `sigmoid` 4, `softplus` 4, `elu` 4, `silu` 5 above −87 (below, where its
//! sigmoid is subnormal, the absolute error is under 1e-42). `gelu` has an absolute
//! error of 3e-7 times the greater of 1 and its argument. NaN stays NaN, infinities give the limits.

mod math;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use math::{exp, exp_minus_one, log, sigmoid, sin_cos, softplus};

use self::math::normal_distribution;
use crate::types::Activation;

/// An elementwise function and its derivative.
pub(crate) trait Function: Copy + Send + Sync {
    /// Whether [`Function::derivative`] needs only the value of the function.
    const DERIVATIVE_FROM_VALUE: bool;

    fn value(self, x: f32) -> f32;

    /// The derivative at `x`, where the value is `y`. If [`Function::DERIVATIVE_FROM_VALUE`], `x` may be anything.
    fn derivative(self, x: f32, y: f32) -> f32;
}

/// Runs `$body` with `$function` standing for the [`Function`] of an [`Activation`].
macro_rules! with_function {
    ($activation:expr, $function:ident => $body:expr) => {
        match $activation {
            $crate::types::Activation::Identity => {
                let $function = $crate::flex::function::Identity;
                $body
            }
            $crate::types::Activation::Relu => {
                let $function = $crate::flex::function::LeakyRelu(0.0);
                $body
            }
            $crate::types::Activation::LeakyRelu(slope) => {
                let $function = $crate::flex::function::LeakyRelu(slope);
                $body
            }
            $crate::types::Activation::Tanh => {
                let $function = $crate::flex::function::Tanh;
                $body
            }
            $crate::types::Activation::Sigmoid => {
                let $function = $crate::flex::function::Sigmoid;
                $body
            }
            $crate::types::Activation::Softplus => {
                let $function = $crate::flex::function::Softplus;
                $body
            }
            $crate::types::Activation::Elu => {
                let $function = $crate::flex::function::Elu;
                $body
            }
            $crate::types::Activation::Silu => {
                let $function = $crate::flex::function::Silu;
                $body
            }
            $crate::types::Activation::Gelu => {
                let $function = $crate::flex::function::Gelu;
                $body
            }
        }
    };
}
pub(crate) use with_function;

/// Whether the derivative of `activation` follows from its value alone.
pub(crate) fn derivative_from_value(activation: Activation) -> bool {
    fn of<F: Function>(_: F) -> bool {
        F::DERIVATIVE_FROM_VALUE
    }
    match activation {
        // The value of a decreasing line does not determine the sign of its argument.
        Activation::LeakyRelu(slope) => slope >= 0.0,
        other => with_function!(other, function => of(function)),
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl Function for Identity {
    const DERIVATIVE_FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn derivative(self, _x: f32, _y: f32) -> f32 {
        1.0
    }
}

/// ReLU is leaky ReLU with slope 0.
#[derive(Clone, Copy)]
pub(crate) struct LeakyRelu(pub(crate) f32);

impl Function for LeakyRelu {
    const DERIVATIVE_FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        // Written so that NaN stays NaN and that −∞ times slope 0 does not become NaN.
        let low = if self.0 == 0.0 { 0.0 } else { x * self.0 };
        if x > 0.0 {
            x
        } else if x <= 0.0 {
            low
        } else {
            x
        }
    }

    #[inline(always)]
    fn derivative(self, x: f32, y: f32) -> f32 {
        // The value of a decreasing line does not determine the sign of its argument.
        let side = if self.0 < 0.0 { x } else { y };
        if side > 0.0 { 1.0 } else { self.0 }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Function for Tanh {
    const DERIVATIVE_FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        let t = exp_minus_one(-2.0 * x.abs());
        (-t / (2.0 + t)).copysign(x)
    }

    #[inline(always)]
    fn derivative(self, _x: f32, y: f32) -> f32 {
        1.0 - y * y
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Function for Sigmoid {
    const DERIVATIVE_FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        sigmoid(x)
    }

    #[inline(always)]
    fn derivative(self, _x: f32, y: f32) -> f32 {
        y * (1.0 - y)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Softplus;

impl Function for Softplus {
    const DERIVATIVE_FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        softplus(x)
    }

    #[inline(always)]
    fn derivative(self, _x: f32, y: f32) -> f32 {
        -exp_minus_one(-y)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Elu;

impl Function for Elu {
    const DERIVATIVE_FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        let low = exp_minus_one(if x > 0.0 { 0.0 } else { x });
        if x > 0.0 { x } else { low }
    }

    #[inline(always)]
    fn derivative(self, _x: f32, y: f32) -> f32 {
        if y > 0.0 { 1.0 } else { y + 1.0 }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Function for Silu {
    const DERIVATIVE_FROM_VALUE: bool = false;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        // −∞ times 0 would be NaN; the limit is 0.
        let y = x * sigmoid(x);
        if x < -200.0 { -0.0 } else { y }
    }

    #[inline(always)]
    fn derivative(self, x: f32, _y: f32) -> f32 {
        let s = sigmoid(x);
        let x = if x < -200.0 { -200.0 } else { x };
        s * (1.0 + x * (1.0 - s))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Gelu;

impl Function for Gelu {
    const DERIVATIVE_FROM_VALUE: bool = false;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        let y = x * normal_distribution(x);
        if x < -20.0 { -0.0 } else { y }
    }

    #[inline(always)]
    fn derivative(self, x: f32, _y: f32) -> f32 {
        const ROOT: f32 = 0.398_942_3;
        let near = if x < -20.0 { -20.0 } else { x };
        let near = if near > 20.0 { 20.0 } else { near };
        normal_distribution(x) + near * ROOT * exp(-0.5 * near * near)
    }
}
