//! Elementwise functions of one value without branches, so that loops over them vectorise, and their
//! derivatives.
//!
//! Errors against the exact value, in units in the last place of the result, over all finite arguments
//! (verified by tests): `exp` 2, `log` 2, `tanh` 4, `sigmoid` 4, `softplus` 4, `elu` 4, `silu` 5 above −87 (below, where its
//! sigmoid is subnormal, the absolute error is under 1e-42). `gelu` has an absolute
//! error of 3e-7 times the greater of 1 and its argument. NaN stays NaN, infinities give the limits.

mod math;

pub use math::{exp, log, sin_cos};
pub(crate) use math::{exp_minus_one, sigmoid, softplus};

use self::math::{elu, gelu, gelu_derivative, silu, silu_derivative, tanh};
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
        with_function! {
            @$activation, $function => $body;
            Identity => Identity,
            Relu => LeakyRelu(0.0),
            LeakyRelu(slope) => LeakyRelu(slope),
            Tanh => Tanh,
            Sigmoid => Sigmoid,
            Softplus => Softplus,
            Elu => Elu,
            Silu => Silu,
            Gelu => Gelu,
        }
    };
    (
        @$activation:expr, $variable:ident => $body:expr;
        $($variant:ident $(($field:ident))? => $function:ident $(($argument:expr))?,)*
    ) => {
        match $activation {
            $($crate::types::Activation::$variant $(($field))? => {
                let $variable = $crate::flex::function::$function $(($argument))?;
                $body
            })*
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

/// A function without parameters: its name, [`Function::DERIVATIVE_FROM_VALUE`], its value and its derivative.
macro_rules! function {
    ($name:ident, $from_value:literal, |$x:ident| $value:expr, |$at:ident, $y:ident| $derivative:expr) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Function for $name {
            const DERIVATIVE_FROM_VALUE: bool = $from_value;

            #[inline(always)]
            fn value(self, $x: f32) -> f32 {
                $value
            }

            #[inline(always)]
            fn derivative(self, $at: f32, $y: f32) -> f32 {
                $derivative
            }
        }
    };
}

function!(Identity, true, |x| x, |_x, _y| 1.0);
function!(Tanh, true, |x| tanh(x), |_x, y| 1.0 - y * y);
function!(Sigmoid, true, |x| sigmoid(x), |_x, y| y * (1.0 - y));
function!(Softplus, true, |x| softplus(x), |_x, y| -exp_minus_one(-y));
function!(Elu, true, |x| elu(x), |_x, y| if y > 0.0 { 1.0 } else { y + 1.0 });
function!(Silu, false, |x| silu(x), |x, _y| silu_derivative(x));
function!(Gelu, false, |x| gelu(x), |x, _y| gelu_derivative(x));
