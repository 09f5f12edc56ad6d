//! Elementwise functions of one number without branches, so that loops over them vectorise, and their
//! derivatives.
//!
//! Errors against the exact value, in units in the last place of the result, over all finite arguments
//! (tests hold them): `exp` 2, `log` 2, `tanh` 4, `sigmoid` 4, `softplus` 4, `elu` 4, `silu` 5 above −87 (below, where its
//! sigmoid is subnormal, the absolute error is under 1e-42). `gelu` has an absolute
//! error of 3e-7 times the greater of 1 and its argument. NaN stays NaN, infinities go to the limits.

use crate::activation::Activation;

/// An elementwise function and its derivative.
pub(crate) trait Function: Copy + Send + Sync {
    /// Whether [`Function::slope`] needs only the function's value.
    const FROM_VALUE: bool;

    fn value(self, x: f32) -> f32;

    /// The derivative at `x`, where the value is `y`. If [`Function::FROM_VALUE`], `x` may be anything.
    fn slope(self, x: f32, y: f32) -> f32;
}

/// Runs `$body` with `$function` standing for the [`Function`] of an [`Activation`].
macro_rules! with_function {
    ($activation:expr, $function:ident => $body:expr) => {
        match $activation {
            crate::activation::Activation::Identity => {
                let $function = $crate::flex::function::Identity;
                $body
            }
            crate::activation::Activation::Relu => {
                let $function = $crate::flex::function::LeakyRelu(0.0);
                $body
            }
            crate::activation::Activation::LeakyRelu(slope) => {
                let $function = $crate::flex::function::LeakyRelu(slope);
                $body
            }
            crate::activation::Activation::Tanh => {
                let $function = $crate::flex::function::Tanh;
                $body
            }
            crate::activation::Activation::Sigmoid => {
                let $function = $crate::flex::function::Sigmoid;
                $body
            }
            crate::activation::Activation::Softplus => {
                let $function = $crate::flex::function::Softplus;
                $body
            }
            crate::activation::Activation::Elu => {
                let $function = $crate::flex::function::Elu;
                $body
            }
            crate::activation::Activation::Silu => {
                let $function = $crate::flex::function::Silu;
                $body
            }
            crate::activation::Activation::Gelu => {
                let $function = $crate::flex::function::Gelu;
                $body
            }
        }
    };
}
pub(crate) use with_function;

/// Whether the derivative of `activation` follows from its value alone.
pub(crate) fn slope_from_value(activation: Activation) -> bool {
    fn of<F: Function>(_: F) -> bool {
        F::FROM_VALUE
    }
    match activation {
        // The value of a falling line does not tell where it came from.
        Activation::LeakyRelu(slope) => slope >= 0.0,
        other => with_function!(other, function => of(function)),
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl Function for Identity {
    const FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn slope(self, _x: f32, _y: f32) -> f32 {
        1.0
    }
}

/// ReLU is the leaky one of slope 0.
#[derive(Clone, Copy)]
pub(crate) struct LeakyRelu(pub(crate) f32);

impl Function for LeakyRelu {
    const FROM_VALUE: bool = true;

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
    fn slope(self, x: f32, y: f32) -> f32 {
        // The value of a falling line does not tell where it came from.
        let side = if self.0 < 0.0 { x } else { y };
        if side > 0.0 { 1.0 } else { self.0 }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Tanh;

impl Function for Tanh {
    const FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        let t = exp_minus_one(-2.0 * x.abs());
        (-t / (2.0 + t)).copysign(x)
    }

    #[inline(always)]
    fn slope(self, _x: f32, y: f32) -> f32 {
        1.0 - y * y
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Function for Sigmoid {
    const FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        sigmoid(x)
    }

    #[inline(always)]
    fn slope(self, _x: f32, y: f32) -> f32 {
        y * (1.0 - y)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Softplus;

impl Function for Softplus {
    const FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        softplus(x)
    }

    #[inline(always)]
    fn slope(self, _x: f32, y: f32) -> f32 {
        -exp_minus_one(-y)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Elu;

impl Function for Elu {
    const FROM_VALUE: bool = true;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        let low = exp_minus_one(if x > 0.0 { 0.0 } else { x });
        if x > 0.0 { x } else { low }
    }

    #[inline(always)]
    fn slope(self, _x: f32, y: f32) -> f32 {
        if y > 0.0 { 1.0 } else { y + 1.0 }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Function for Silu {
    const FROM_VALUE: bool = false;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        // −∞ times 0 would be NaN; the limit is 0.
        let y = x * sigmoid(x);
        if x < -200.0 { -0.0 } else { y }
    }

    #[inline(always)]
    fn slope(self, x: f32, _y: f32) -> f32 {
        let s = sigmoid(x);
        let x = if x < -200.0 { -200.0 } else { x };
        s * (1.0 + x * (1.0 - s))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Gelu;

impl Function for Gelu {
    const FROM_VALUE: bool = false;

    #[inline(always)]
    fn value(self, x: f32) -> f32 {
        let y = x * normal_distribution(x);
        if x < -20.0 { -0.0 } else { y }
    }

    #[inline(always)]
    fn slope(self, x: f32, _y: f32) -> f32 {
        const ROOT: f32 = 0.398_942_3;
        let near = if x < -20.0 { -20.0 } else { x };
        let near = if near > 20.0 { 20.0 } else { near };
        normal_distribution(x) + near * ROOT * exp(-0.5 * near * near)
    }
}

/// `1 / (1 + exp(−x))`
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    let top = if x >= 0.0 { 1.0 } else { e };
    top / (1.0 + e)
}

/// `log(1 + exp(x))`
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    let high = if x < 0.0 { 0.0 } else { x };
    high + log_one_plus(exp(-x.abs()))
}

/// Powers of two come out of the exponent bits after adding this: 1.5 · 2²³.
const ROUND: f32 = 12_582_912.0;
const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// The natural logarithm of 2 in two parts; multiples of the first up to ±2⁸ are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// The nearest integer to `x / ln 2` and `exp(rest) − 1` of what is left, by the Taylor series: `|rest| ≤ 0.3466`, so
/// that the first term left out, of degree 8, is below 6e-9.
#[inline(always)]
fn exp_parts(x: f32) -> (i32, f32) {
    let rounded = x * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let power = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    (power, r + r * r * p)
}

/// `2ⁿ` for `−126 ≤ n ≤ 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `exp(x)`, subnormal results and overflow to infinity included.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let low = if x < -105.0 { -105.0 } else { x };
    let inside = if low > 90.0 { 90.0 } else { low };
    let (n, rest) = exp_parts(inside);
    // Two factors, because 2ⁿ itself may lie outside the normal numbers.
    let half = n >> 1;
    (1.0 + rest) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `exp(x) − 1` for `x ≤ 0`.
#[inline(always)]
pub(crate) fn exp_minus_one(x: f32) -> f32 {
    let inside = if x < -30.0 { -30.0 } else { x };
    let (n, rest) = exp_parts(inside);
    let power = power_of_two(n);
    power * rest + (power - 1.0)
}

/// The natural logarithm: `n ln 2 + 2 artanh z` with `x = 2ⁿ m`, `√½ ≤ m < √2` and `z = (m − 1) / (m + 1)` by its
/// series, whose first term left out is below 3e-9 of the sum.
#[inline(always)]
pub(crate) fn log(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let bits = if subnormal { x * 8_388_608.0 } else { x }.to_bits() as i32;
    let n = bits.wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(n << 23) as u32);
    let z = (m - 1.0) / (m + 1.0);
    let q = z * z;
    let p = 1.0 / 9.0;
    let p = p * q + 1.0 / 7.0;
    let p = p * q + 1.0 / 5.0;
    let p = p * q + 1.0 / 3.0;
    let n = n as f32 - if subnormal { 23.0 } else { 0.0 };
    let value = n * LN_2_HIGH + (2.0 * z + (2.0 * z * q * p + n * LN_2_LOW));
    let value = if x < f32::INFINITY { value } else { x };
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    if x < 0.0 { f32::NAN } else { value }
}

/// Sine and cosine of `turns · 2π / 2³²`, absolute error 2e-7, by the series around the nearest quarter turn.
#[inline(always)]
pub(crate) fn sin_cos(turns: u32) -> (f32, f32) {
    const UNIT: f32 = std::f32::consts::FRAC_PI_2 / 1_073_741_824.0;
    let quarter = turns.wrapping_add(1 << 29) >> 30;
    let x = turns.wrapping_sub(quarter << 30) as i32 as f32 * UNIT;
    let q = x * x;
    let p = 1.0 / 362_880.0;
    let p = p * q - 1.0 / 5040.0;
    let p = p * q + 1.0 / 120.0;
    let p = p * q - 1.0 / 6.0;
    let near = x + x * q * p;
    let p = 1.0 / 40_320.0;
    let p = p * q - 1.0 / 720.0;
    let p = p * q + 1.0 / 24.0;
    let p = p * q - 0.5;
    let far = 1.0 + q * p;
    let (sin, cos) = if quarter & 1 == 1 { (far, near) } else { (near, far) };
    let sin = if quarter & 2 == 2 { -sin } else { sin };
    let cos = if quarter.wrapping_add(1) & 2 == 2 { -cos } else { cos };
    (sin, cos)
}

/// `log(1 + t)` for `0 ≤ t ≤ 1`: `2 artanh z` with `z = t / (2 + t) ≤ 1/3` by its series.
#[inline(always)]
fn log_one_plus(t: f32) -> f32 {
    let z = t / (2.0 + t);
    let q = z * z;
    let p = 1.0 / 17.0;
    let p = p * q + 1.0 / 15.0;
    let p = p * q + 1.0 / 13.0;
    let p = p * q + 1.0 / 11.0;
    let p = p * q + 1.0 / 9.0;
    let p = p * q + 1.0 / 7.0;
    let p = p * q + 1.0 / 5.0;
    let p = p * q + 1.0 / 3.0;
    2.0 * z + 2.0 * z * q * p
}

/// The normal distribution function Φ, by `Φ(−|x|) = exp(−x²/2) · w(|x|)` with a polynomial for `w` in
/// `1 / (1 + 0.3 |x|)`.
#[inline(always)]
fn normal_distribution(x: f32) -> f32 {
    let size = x.abs();
    let near = if size > 20.0 { 20.0 } else { size };
    let u = 1.0 / (1.0 + 0.3 * near);
    let mut w = NORMAL_TAIL[NORMAL_TAIL.len() - 1];
    let mut i = NORMAL_TAIL.len() - 1;
    while i > 0 {
        i -= 1;
        w = w * u + NORMAL_TAIL[i];
    }
    let tail = exp(-0.5 * near * near) * w;
    let value = if x > 0.0 { 1.0 - tail } else { tail };
    if x.is_nan() { x } else { value }
}

/// Coefficients of `w(u)` in rising powers, fitted in Chebyshev nodes over `0 ≤ |x| ≤ 20`; absolute error 1e-7.
const NORMAL_TAIL: [f32; 9] = [
    5.341_299e-6,
    0.119_527_65,
    0.121_567_63,
    0.096_334_4,
    0.138_022_42,
    -0.069_075_1,
    0.221_413_66,
    -0.165_316_76,
    0.037_520_77,
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Floats from all over the range of `f32`, every sign and exponent.
    fn everywhere() -> impl Iterator<Item = f32> {
        (0..=u32::MAX).step_by(40_009).map(f32::from_bits)
    }

    /// The greatest error in units in the last place of the exact value (of the smallest normal number
    /// below that), and where it is.
    fn error(
        got: impl Fn(f32) -> f32,
        exact: impl Fn(f64) -> f64,
        arguments: impl Iterator<Item = f32>,
    ) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for x in arguments.filter(|x| x.is_finite()) {
            let exact = exact(f64::from(x));
            let rounded = exact as f32;
            if rounded.is_infinite() {
                assert_eq!(got(x), rounded, "at {x}");
                continue;
            }
            let unit = rounded.abs().max(f32::MIN_POSITIVE);
            let unit = f64::from(f32::from_bits(unit.to_bits() + 1) - unit);
            let error = (f64::from(got(x)) - exact).abs() / unit;
            assert!(!error.is_nan(), "at {x}: {} instead of {exact}", got(x));
            if error > worst.0 {
                worst = (error, x);
            }
        }
        worst
    }

    fn near_zero() -> impl Iterator<Item = f32> {
        (-400_000..400_000).map(|i| i as f32 * 3e-4)
    }

    fn arguments() -> impl Iterator<Item = f32> {
        everywhere().chain(near_zero())
    }

    /// `erfc(x) / 2` at `x / √2`, by its series near 0 and its continued fraction elsewhere.
    pub(crate) fn normal(x: f64) -> f64 {
        let z = x.abs();
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let tail = if z < 3.0 {
            let mut term = z;
            let mut sum = z;
            for k in 1..100 {
                term *= z * z / f64::from(2 * k + 1);
                sum += term;
            }
            0.5 - density * sum
        } else {
            density / (1..200).rev().fold(z, |f, k| z + f64::from(k) / f)
        };
        if x > 0.0 { 1.0 - tail } else { tail }
    }

    #[test]
    fn within_the_stated_units_everywhere() {
        let sigmoid_exact = |x: f64| 1.0 / (1.0 + (-x).exp());
        let softplus_exact = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let elu_exact = |x: f64| if x > 0.0 { x } else { x.exp_m1() };
        let cases = [
            ("exp", error(exp, f64::exp, arguments()), 2.0),
            ("log", error(log, f64::ln, arguments().filter(|&x| x > 0.0)), 2.0),
            ("tanh", error(|x| Tanh.value(x), f64::tanh, arguments()), 4.0),
            ("sigmoid", error(|x| Sigmoid.value(x), sigmoid_exact, arguments()), 4.0),
            ("softplus", error(|x| Softplus.value(x), softplus_exact, arguments()), 4.0),
            ("elu", error(|x| Elu.value(x), elu_exact, arguments()), 4.0),
            (
                "silu",
                error(|x| Silu.value(x), |x| x * sigmoid_exact(x), arguments().filter(|&x| x > -87.0)),
                5.0,
            ),
        ];
        for (name, (units, at), stated) in cases {
            assert!(units <= stated, "{name}: {units} units at {at}");
        }
    }

    #[test]
    fn sine_and_cosine_are_within_their_absolute_error() {
        for turns in (0..=u32::MAX).step_by(10_007).chain([u32::MAX, 1 << 29, 3 << 29, 5 << 29, 7 << 29]) {
            let angle = f64::from(turns) / 2f64.powi(32) * std::f64::consts::TAU;
            let (sin, cos) = sin_cos(turns);
            assert!((f64::from(sin) - angle.sin()).abs() < 2e-7, "sine at {turns}");
            assert!((f64::from(cos) - angle.cos()).abs() < 2e-7, "cosine at {turns}");
        }
    }

    #[test]
    fn gelu_is_within_its_absolute_error() {
        for x in arguments().filter(|x| x.is_finite()) {
            let exact = f64::from(x) * normal(f64::from(x));
            let error = (f64::from(Gelu.value(x)) - exact).abs();
            assert!(error <= 3e-7 * f64::from(x.abs()).max(1.0), "at {x}: {error}");
        }
    }

    #[test]
    fn slopes_are_the_derivatives() {
        fn check(name: &str, function: impl Function, exact: impl Fn(f64) -> f64) {
            for x in near_zero().step_by(97) {
                let got = f64::from(function.slope(x, function.value(x)));
                let h = 1e-4;
                let x = f64::from(x);
                let expected = (exact(x + h) - exact(x - h)) / (2.0 * h);
                assert!((got - expected).abs() < 2e-6, "{name} at {x}: {got} {expected}");
            }
        }
        let sigmoid_exact = |x: f64| 1.0 / (1.0 + (-x).exp());
        check("tanh", Tanh, f64::tanh);
        check("sigmoid", Sigmoid, sigmoid_exact);
        check("softplus", Softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p());
        check("silu", Silu, |x| x * sigmoid_exact(x));
        check("gelu", Gelu, |x| x * normal(x));
    }

    #[test]
    fn not_a_number_and_infinities() {
        assert!(log(f32::NAN).is_nan() && log(-1.0).is_nan() && log(f32::NEG_INFINITY).is_nan());
        assert_eq!((log(0.0), log(f32::INFINITY)), (f32::NEG_INFINITY, f32::INFINITY));
        fn check(name: &str, function: impl Function, low: f32, high: f32) {
            assert!(function.value(f32::NAN).is_nan(), "{name} of NaN");
            assert_eq!(function.value(f32::NEG_INFINITY), low, "{name} of −∞");
            assert_eq!(function.value(f32::INFINITY), high, "{name} of ∞");
        }
        let infinity = f32::INFINITY;
        check("identity", Identity, -infinity, infinity);
        check("relu", LeakyRelu(0.0), 0.0, infinity);
        check("leaky relu", LeakyRelu(0.2), -infinity, infinity);
        check("tanh", Tanh, -1.0, 1.0);
        check("sigmoid", Sigmoid, 0.0, 1.0);
        check("softplus", Softplus, 0.0, infinity);
        check("elu", Elu, -1.0, infinity);
        check("silu", Silu, 0.0, infinity);
        check("gelu", Gelu, 0.0, infinity);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!((exp(-infinity), exp(infinity)), (0.0, infinity));
    }
}
