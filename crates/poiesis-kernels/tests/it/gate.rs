//! Gates of two tensors and of halves.

use burn::tensor::Tensor;
use poiesis_kernels::internals::{default_gate as default, default_gate_halves as default_halves};
use poiesis_kernels::{Activation, gate, gate_halves};

use crate::common::{
    Fixture, assert_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor,
    values, wide,
};

use Activation::{Elu, Gelu, Identity, LeakyRelu, Relu, Sigmoid, Silu, Softplus, Tanh};

const PAIRS: [[Activation; 2]; 7] = [
    [Silu, Identity],
    [Tanh, Sigmoid],
    [Identity, Silu],
    [Gelu, Softplus],
    [Elu, LeakyRelu(-0.5)],
    [Identity, Identity],
    [Relu, Gelu],
];

const SHAPES: [[usize; 3]; 5] = [[3, 70, 129], [1, 1, 1], [2, 5, 3], [1, 2, 3001], [900, 1, 16]];

/// Arguments in (−4, 4) or nearer to 0, and the gradient of the result.
fn arguments(shape: [usize; 3]) -> [Vec<f32>; 3] {
    let count = shape.iter().product();
    // Derivatives near 0 have fewer digits, and a single value has no larger one to be compared with.
    let reach = if count == 1 { 0.25 } else { 4.0 };
    [1, 2, 3].map(|seed| numbers(count, seed).iter().map(|x| reach * x).collect())
}

type Gate = fn(Tensor<3>, Tensor<3>, Activation, Activation) -> Tensor<3>;

/// Result and both gradients.
fn run(gate: Gate, shape: [usize; 3], [f, g]: [Activation; 2]) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let [a, b, dy] = arguments(shape).map(|x| tensor(&x, shape, &device));
    let (a, b) = (a.require_grad(), b.require_grad());
    let y = gate(a.clone(), b.clone(), f, g);
    let gradients = (y.clone() * dy).sum().backward();
    [y, a.grad(&gradients).unwrap(), b.grad(&gradients).unwrap()].map(values).to_vec()
}

/// The same with both arguments as halves of one tensor, whose gradient is split again.
fn run_halves(
    gate: fn(Tensor<3>, Activation, Activation) -> Tensor<3>,
    shape: [usize; 3],
    [f, g]: [Activation; 2],
) -> Vec<Vec<f32>> {
    let device = flex_device();
    let [a, b, dy] = arguments(shape).map(|x| tensor(&x, shape, &device));
    let x = Tensor::cat(vec![a, b], 2).autodiff().require_grad();
    let y = gate(x.clone(), f, g);
    let gradients = (y.clone() * dy.autodiff()).sum().backward();
    let dx = x.grad(&gradients).unwrap();
    let half = |start| values(dx.clone().narrow(2, start, shape[2]));
    vec![values(y.inner()), half(0), half(shape[2])]
}

#[test]
fn equals_the_default_implementation() {
    for shape in SHAPES {
        for pair in PAIRS {
            let expected = run(default, shape, pair);
            let results = [run(gate, shape, pair), run_halves(gate_halves, shape, pair)];
            let halves = run_halves(default_halves, shape, pair);
            for (i, expected) in expected.iter().enumerate() {
                let expected = wide(expected);
                for got in [&results[0][i], &results[1][i], &halves[i]] {
                    assert_close(got, &expected, 2e-6, &format!("{shape:?} {pair:?}, output {i}"));
                }
            }
        }
    }
}

#[test]
fn equals_plain_loops() {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let shape = [3, 70, 129];
    let [a, b, dy] = arguments(shape).map(|x| x.into_iter().map(f64::from).collect::<Vec<f64>>());
    let mut expected = vec![Vec::new(); 3];
    for ((a, b), dy) in a.into_iter().zip(b).zip(dy) {
        let (f, g) = (a.tanh(), sigmoid(b));
        expected[0].push(f * g);
        expected[1].push(dy * g * (1.0 - f * f));
        expected[2].push(dy * f * g * (1.0 - g));
    }
    let results = [run(gate, shape, [Tanh, Sigmoid]), run_halves(gate_halves, shape, [Tanh, Sigmoid])];
    for got in results {
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert_close(got, expected, 1e-6, &format!("output {i}"));
        }
    }
}

#[test]
fn equals_pytorch() {
    let device = autodiff_device();
    let fixture = Fixture::read("gate");
    for (name, f, g) in [("swiglu", Silu, Identity), ("tanh_sigmoid", Tanh, Sigmoid)] {
        let x = fixture.tensor::<3>("x", &device).require_grad();
        let y = gate_halves(x.clone(), f, g);
        let gradients = (y.clone() * fixture.tensor("dy", &device)).sum().backward();
        fixture.assert_close(&format!("{name}.y"), y, 1e-6);
        fixture.assert_close(&format!("{name}.dx"), x.grad(&gradients).unwrap(), 1e-6);
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(gate, [70, 30, 129], [Silu, Identity]));
    assert_same_for_any_threads(|| run_halves(gate_halves, [70, 30, 129], [Tanh, Sigmoid]));
}

#[test]
fn views_are_read_in_their_own_order() {
    let device = flex_device();
    let x = tensor(&numbers(8 * 6, 1), [8, 6], &device).transpose();
    let copy = tensor(&values(x.clone()), [6, 8], &device);
    let expected = values(gate_halves(copy.clone(), Silu, Tanh));
    assert_eq!(values(gate_halves(x.clone(), Silu, Tanh)), expected);
    let half = |x: &Tensor<2>, start| x.clone().narrow(1, start, 4);
    assert_eq!(values(gate(half(&x, 0), half(&x, 4), Silu, Tanh)), expected);
}

#[test]
fn constants_take_no_gradient() {
    let shape = [2, 3, 5];
    let device = flex_device();
    let [a, b, _] = arguments(shape).map(|x| tensor(&x, shape, &device));
    let leaf = |x: &Tensor<3>| x.clone().autodiff().require_grad();
    let both = [leaf(&a), leaf(&b)];
    let gradients = gate(both[0].clone(), both[1].clone(), Silu, Tanh).sum().backward();
    let [da, db] = both.map(|x| values(x.grad(&gradients).unwrap()));
    let first = leaf(&a);
    let gradients = gate(first.clone(), b.clone(), Silu, Tanh).sum().backward();
    assert_eq!(values(first.grad(&gradients).unwrap()), da);
    let second = leaf(&b);
    let gradients = gate(a, second.clone(), Silu, Tanh).sum().backward();
    assert_eq!(values(second.grad(&gradients).unwrap()), db);
}

#[test]
fn nothing() {
    let device = flex_device();
    let zeros = || Tensor::<2>::zeros([0, 4], &device);
    assert_eq!(gate(zeros(), zeros(), Silu, Identity).dims(), [0, 4]);
    assert_eq!(gate_halves(zeros(), Silu, Identity).dims(), [0, 2]);
}

#[test]
#[should_panic(expected = "first [2, 3] does not fit second [3, 2]")]
fn wrong_shapes_panic_with_both() {
    let device = flex_device();
    gate(Tensor::<2>::ones([2, 3], &device), Tensor::ones([3, 2], &device), Silu, Identity);
}

#[test]
#[should_panic(expected = "input [2, 3] has no halves")]
fn an_odd_axis_has_no_halves() {
    gate_halves(Tensor::<2>::ones([2, 3], &flex_device()), Silu, Identity);
}
