//! Gradients against finite differences of the forward passes.

use burn::tensor::{Int, Tensor};
use poiesis_kernels::{
    Activation, AttentionOptions, ConvOptions, ConvTransposeOptions, Grid, attention, batch_norm,
    categorical_log_prob, conv_transpose2d, conv2d, gate_halves, group_norm, gru, layer_norm, linear,
    logistic_mixture_log_prob, lstm, rms_norm, rotary,
};

use crate::common::{autodiff_device, flex_device, numbers, tensor, values};

/// Directions in which each argument is moved.
const DIRECTIONS: u64 = 3;

/// How far curved operations are moved: the errors of the formula and of rounding then are about equal.
const SHORT: f64 = 0.06;

/// The same for operations that are linear in each argument, where only rounding errs.
const LONG: f64 = 1.0;

/// Asserts that the change of `Σ dy · operation(arguments)` when each of the arguments, of these lengths, moves agrees with their
/// gradients; `dy` is fixed.
fn assert_gradients(name: &str, step: f64, lens: &[usize], operation: impl Fn(&[Tensor<1>]) -> Tensor<1>) {
    let arguments: Vec<Vec<f32>> = lens.iter().zip(1..).map(|(&len, seed)| numbers(len, seed)).collect();
    let run = |arguments: &[Vec<f32>]| {
        let device = flex_device();
        let arguments: Vec<_> = arguments.iter().map(|x| tensor(x, [x.len()], &device)).collect();
        values(operation(&arguments))
    };
    let dy = numbers(run(&arguments).len(), 100);
    let objective = |arguments: &[Vec<f32>]| -> f64 {
        run(arguments).iter().zip(&dy).map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum()
    };
    let device = autodiff_device();
    let leaves: Vec<_> = arguments.iter().map(|x| tensor(x, [x.len()], &device).require_grad()).collect();
    let y = operation(&leaves);
    let gradients = (y * tensor(&dy, [dy.len()], &device)).sum().backward();
    for (i, leaf) in leaves.iter().enumerate() {
        let gradient = values(leaf.grad(&gradients).unwrap());
        let length = |x: &[f32]| x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        for seed in 0..DIRECTIONS {
            let direction = numbers(gradient.len(), 200 + seed);
            let unit = length(&direction);
            let expected: f64 =
                gradient.iter().zip(&direction).map(|(&g, &d)| f64::from(g) * f64::from(d) / unit).sum();
            let moved = |steps: f64| {
                let mut arguments = arguments.clone();
                for (x, &d) in arguments[i].iter_mut().zip(&direction) {
                    *x = (f64::from(*x) + steps * step * f64::from(d) / unit) as f32;
                }
                objective(&arguments)
            };
            // Exact up to the fourth power of the step.
            let got = (8.0 * (moved(1.0) - moved(-1.0)) - (moved(2.0) - moved(-2.0))) / (12.0 * step);
            let scale = length(&gradient) / (gradient.len() as f64).sqrt();
            assert!(
                (got - expected).abs() < 5e-4 * scale,
                "{name}, argument {i}: moving it changes the values by {got}, its gradient says {expected}"
            );
        }
    }
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let count = x.dims().iter().product::<usize>();
    x.reshape([count])
}

fn part<const D: usize>(x: &Tensor<1>, shape: [usize; D]) -> Tensor<D> {
    x.clone().reshape(shape)
}

#[test]
fn products() {
    assert_gradients("linear", SHORT, &[7 * 19, 19 * 70, 70], |p| {
        flat(linear(part(&p[0], [7, 19]), part(&p[1], [19, 70]), Some(p[2].clone()), Activation::Gelu))
    });
    let options = ConvOptions { active_taps: Some(7), ..ConvOptions::new([1, 1], [1, 1]) };
    assert_gradients("masked conv2d", LONG, &[2 * 6 * 7 * 5, 3 * 3 * 5 * 9, 9], |p| {
        let (x, weight) = (part(&p[0], [2, 6, 7, 5]), part(&p[1], [3, 3, 5, 9]));
        flat(conv2d(x, weight, Some(p[2].clone()), &options))
    });
    // Large enough for Winograd's algorithm.
    let options = ConvOptions::new([1, 1], [1, 1]);
    assert_gradients("conv2d", LONG, &[8 * 8 * 64, 3 * 3 * 64 * 64, 64], |p| {
        let (x, weight) = (part(&p[0], [1, 8, 8, 64]), part(&p[1], [3, 3, 64, 64]));
        flat(conv2d(x, weight, Some(p[2].clone()), &options))
    });
    let options = ConvTransposeOptions::new([2, 2], [1, 1]);
    assert_gradients("conv_transpose2d", LONG, &[3 * 4 * 5, 4 * 4 * 5 * 3, 3], |p| {
        let (x, weight) = (part(&p[0], [1, 3, 4, 5]), part(&p[1], [4, 4, 5, 3]));
        flat(conv_transpose2d(x, weight, Some(p[2].clone()), &options))
    });
}

#[test]
fn norms() {
    assert_gradients("batch_norm", SHORT, &[40 * 5, 5, 5], |p| {
        flat(batch_norm(part(&p[0], [40, 5]), p[1].clone(), p[2].clone(), 1e-3, Activation::Tanh).y)
    });
    assert_gradients("layer_norm", SHORT, &[6 * 35, 35, 35], |p| {
        flat(layer_norm(part(&p[0], [6, 35]), p[1].clone(), Some(p[2].clone()), 1e-3))
    });
    assert_gradients("rms_norm", SHORT, &[6 * 35, 35], |p| {
        flat(rms_norm(part(&p[0], [6, 35]), p[1].clone(), 1e-3))
    });
    assert_gradients("group_norm", SHORT, &[2 * 9 * 12, 12, 12], |p| {
        flat(group_norm(part(&p[0], [2, 9, 12]), 3, p[1].clone(), p[2].clone(), 1e-3, Activation::Silu))
    });
}

#[test]
fn sequences() {
    let options = AttentionOptions { causal: true, scale: Some(0.7) };
    assert_gradients("attention", SHORT, &[2 * 9 * 4 * 6, 2 * 9 * 2 * 6, 2 * 9 * 2 * 6], |p| {
        let [q, k, v] = [0, 1, 2].map(|i| part(&p[i], [2, 9, if i == 0 { 4 } else { 2 }, 6]));
        flat(attention(q, k, v, &options))
    });
    let (batch, time, inputs, hidden) = (2, 5, 3, 7);
    let x = batch * time * inputs;
    let (input, recurrent) = (inputs * hidden, hidden * hidden);
    assert_gradients(
        "lstm",
        SHORT,
        &[x, 4 * input, 4 * recurrent, 4 * hidden, batch * hidden, batch * hidden],
        |p| {
            let state = (part(&p[4], [batch, hidden]), part(&p[5], [batch, hidden]));
            let weights = (part(&p[1], [inputs, 4 * hidden]), part(&p[2], [hidden, 4 * hidden]));
            let x = part(&p[0], [batch, time, inputs]);
            let (y, (_, c)) = lstm(x, weights.0, weights.1, p[3].clone(), Some(state));
            Tensor::cat(vec![flat(y), flat(c)], 0)
        },
    );
    assert_gradients(
        "gru",
        SHORT,
        &[x, 3 * input, 3 * recurrent, 3 * hidden, 3 * hidden, batch * hidden],
        |p| {
            let weights = (part(&p[1], [inputs, 3 * hidden]), part(&p[2], [hidden, 3 * hidden]));
            let x = part(&p[0], [batch, time, inputs]);
            let state = part(&p[5], [batch, hidden]);
            flat(gru(x, weights.0, weights.1, p[3].clone(), p[4].clone(), Some(state)).0)
        },
    );
    assert_gradients("rotary", LONG, &[2 * 5 * 3 * 8], |p| flat(rotary(part(&p[0], [2, 5, 3, 8]), 3, 100.0)));
}

#[test]
fn gates_and_losses() {
    assert_gradients("gate_halves", SHORT, &[5 * 34], |p| {
        flat(gate_halves(part(&p[0], [5, 34]), Activation::Tanh, Activation::Sigmoid))
    });
    assert_gradients("categorical_log_prob", SHORT, &[6 * 11], |p| {
        let targets = Tensor::<1, Int>::arange(2..8, &p[0].device());
        categorical_log_prob(part(&p[0], [6, 11]), targets)
    });
    let (pixels, mixtures) = (4, 3);
    assert_gradients("logistic_mixture_log_prob", SHORT, &[pixels * mixtures * 10], |p| {
        let levels = Tensor::<1, Int>::arange(0..3 * pixels as i64, &p[0].device());
        let x = (levels * 83).remainder_scalar(256).float().reshape([pixels, 3]) * (2.0 / 255.0) - 1.0;
        flat(logistic_mixture_log_prob(part(&p[0], [pixels, mixtures * 10]), x, Grid::Bits8))
    });
}
