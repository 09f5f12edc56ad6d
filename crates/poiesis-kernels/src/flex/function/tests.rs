//! Errors against f64.

use super::math::{exp, log, sin_cos};
use super::{Elu, Function, Gelu, Identity, LeakyRelu, Sigmoid, Silu, Softplus, Tanh};

/// Floats over the whole range of `f32`, with every sign and exponent.
fn everywhere() -> impl Iterator<Item = f32> {
    (0..=u32::MAX).step_by(40_009).map(f32::from_bits)
}

/// The largest error in units in the last place of the exact value (of the smallest normal number
/// below that), and its argument.
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
        ("silu", error(|x| Silu.value(x), |x| x * sigmoid_exact(x), arguments().filter(|&x| x > -87.0)), 5.0),
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
fn derivatives_are_those_of_the_values() {
    fn check(name: &str, function: impl Function, exact: impl Fn(f64) -> f64) {
        for x in near_zero().step_by(97) {
            let got = f64::from(function.derivative(x, function.value(x)));
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
