//! Errors of activations and of the functions below them against f64.

use poiesis_kernels::inference::activate;
use poiesis_kernels::internals::{exp, log, sin_cos};
use poiesis_kernels::{Activation, activate as activate_tensor};

use crate::common::{autodiff_device, gradient, limit_instruction_set, normal_distribution, tensor};

/// Floats over the whole range of `f32`, with every sign and exponent.
fn everywhere() -> impl Iterator<Item = f32> {
    (0..=u32::MAX).step_by(40_009).map(f32::from_bits)
}

fn near_zero() -> impl Iterator<Item = f32> {
    (-400_000..400_000).map(|i| i as f32 * 3e-4)
}

fn arguments() -> Vec<f32> {
    everywhere().chain(near_zero()).filter(|x| x.is_finite()).collect()
}

/// The values of an activation.
fn values_of(activation: Activation, arguments: &[f32]) -> Vec<f32> {
    limit_instruction_set();
    let mut values = arguments.to_vec();
    activate(&mut values, activation);
    values
}

/// The largest error of `values` in units in the last place of the exact value (of the smallest normal number below that), and
/// its argument.
fn error(arguments: &[f32], values: &[f32], exact: impl Fn(f64) -> f64) -> (f64, f32) {
    assert_eq!(arguments.len(), values.len());
    let mut worst = (0.0, 0.0);
    for (&x, &got) in arguments.iter().zip(values) {
        let exact = exact(f64::from(x));
        let rounded = exact as f32;
        if rounded.is_infinite() {
            assert_eq!(got, rounded, "at {x}");
            continue;
        }
        let unit = rounded.abs().max(f32::MIN_POSITIVE);
        let unit = f64::from(f32::from_bits(unit.to_bits() + 1) - unit);
        let error = (f64::from(got) - exact).abs() / unit;
        assert!(!error.is_nan(), "at {x}: {got} instead of {exact}");
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[test]
fn within_the_stated_units_everywhere() {
    let all = arguments();
    let positive: Vec<f32> = all.iter().copied().filter(|&x| x > 0.0).collect();
    let above: Vec<f32> = all.iter().copied().filter(|&x| x > -87.0).collect();
    let of = |activation, x: &[f32], exact: fn(f64) -> f64| error(x, &values_of(activation, x), exact);
    let one_by_one = |function: fn(f32) -> f32, x: &[f32], exact: fn(f64) -> f64| {
        error(x, &x.iter().map(|&x| function(x)).collect::<Vec<f32>>(), exact)
    };
    let elu = |x: f64| if x > 0.0 { x } else { x.exp_m1() };
    let cases = [
        ("exp", one_by_one(exp, &all, f64::exp), 2.0),
        ("log", one_by_one(log, &positive, f64::ln), 2.0),
        ("tanh", of(Activation::Tanh, &all, f64::tanh), 4.0),
        ("sigmoid", of(Activation::Sigmoid, &all, sigmoid), 4.0),
        ("softplus", of(Activation::Softplus, &all, softplus), 4.0),
        ("elu", of(Activation::Elu, &all, elu), 4.0),
        ("silu", of(Activation::Silu, &above, |x| x * sigmoid(x)), 5.0),
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
    let arguments = arguments();
    for (&x, got) in arguments.iter().zip(values_of(Activation::Gelu, &arguments)) {
        let exact = f64::from(x) * normal_distribution(f64::from(x));
        let error = (f64::from(got) - exact).abs();
        assert!(error <= 3e-7 * f64::from(x.abs()).max(1.0), "at {x}: {error}");
    }
}

#[test]
fn derivatives_are_those_of_the_values() {
    fn check(name: &str, activation: Activation, exact: impl Fn(f64) -> f64) {
        let arguments: Vec<f32> = near_zero().step_by(97).collect();
        let x = tensor(&arguments, [arguments.len()], &autodiff_device()).require_grad();
        let gradients = activate_tensor(x.clone(), activation).sum().backward();
        for (x, got) in arguments.into_iter().zip(gradient(&x, &gradients)) {
            let h = 1e-4;
            let x = f64::from(x);
            let expected = (exact(x + h) - exact(x - h)) / (2.0 * h);
            assert!((f64::from(got) - expected).abs() < 2e-6, "{name} at {x}: {got} {expected}");
        }
    }
    check("tanh", Activation::Tanh, f64::tanh);
    check("sigmoid", Activation::Sigmoid, sigmoid);
    check("softplus", Activation::Softplus, softplus);
    check("silu", Activation::Silu, |x| x * sigmoid(x));
    check("gelu", Activation::Gelu, |x| x * normal_distribution(x));
}

#[test]
fn not_a_number_and_infinities() {
    assert!(log(f32::NAN).is_nan() && log(-1.0).is_nan() && log(f32::NEG_INFINITY).is_nan());
    assert_eq!((log(0.0), log(f32::INFINITY)), (f32::NEG_INFINITY, f32::INFINITY));
    let infinity = f32::INFINITY;
    // In full vectors, in what is left after them, and alone.
    let check = |name: &str, activation: Activation, low: f32, high: f32| {
        for count in [1, 101] {
            let each = |x: f32| values_of(activation, &vec![x; count]);
            assert!(each(f32::NAN).iter().all(|y| y.is_nan()), "{name} of NaN");
            assert_eq!(each(-infinity), vec![low; count], "{name} of −∞");
            assert_eq!(each(infinity), vec![high; count], "{name} of ∞");
        }
    };
    check("identity", Activation::Identity, -infinity, infinity);
    check("relu", Activation::Relu, 0.0, infinity);
    check("leaky relu of slope 0", Activation::LeakyRelu(0.0), 0.0, infinity);
    check("leaky relu", Activation::LeakyRelu(0.2), -infinity, infinity);
    check("tanh", Activation::Tanh, -1.0, 1.0);
    check("sigmoid", Activation::Sigmoid, 0.0, 1.0);
    check("softplus", Activation::Softplus, 0.0, infinity);
    check("elu", Activation::Elu, -1.0, infinity);
    check("silu", Activation::Silu, 0.0, infinity);
    check("gelu", Activation::Gelu, 0.0, infinity);
    assert!(exp(f32::NAN).is_nan());
    assert_eq!((exp(-infinity), exp(infinity)), (0.0, infinity));
}
