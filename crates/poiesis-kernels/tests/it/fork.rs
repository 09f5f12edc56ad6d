//! Two uses of a tensor.

use burn::tensor::Tensor;
use poiesis_kernels::fork;

use crate::common::{assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values};

/// The gradient of two uses, of which the second may be left out.
fn run(fork: fn(Tensor<2>) -> [Tensor<2>; 2], shape: [usize; 2], both: bool) -> Vec<f32> {
    let device = autodiff_device();
    let count = shape[0] * shape[1];
    let x = tensor(&numbers(count, 1), shape, &device).require_grad();
    let [first, second] = fork(x.clone());
    assert_eq!([values(first.clone()), values(second.clone())], [values(x.clone()), values(x.clone())]);
    let weight = |seed| tensor(&numbers(count, seed), shape, &device);
    let mut y = first.exp() * weight(2);
    if both {
        y = y + second.transpose().sin().transpose() * weight(3);
    }
    values(x.grad(&y.sum().backward()).unwrap())
}

#[test]
fn has_the_gradient_of_clones() {
    for shape in [[300, 129], [1, 1], [0, 3]] {
        for both in [false, true] {
            assert_eq!(run(fork, shape, both), run(|x| [x.clone(), x], shape, both));
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| vec![run(fork, [300, 1001], true)]);
}

#[test]
fn forks_of_forks() {
    let device = autodiff_device();
    let x = tensor(&numbers(600, 1), [20, 30], &device).require_grad();
    let [a, rest] = fork(x.clone());
    let [b, c] = fork(rest);
    let y = a.clone() * a * 2.0 + b.exp() + c.sin();
    let gradient = values(x.grad(&y.sum().backward()).unwrap());
    for (got, x) in gradient.iter().zip(numbers(600, 1)) {
        let expected = 4.0 * x + x.exp() + x.cos();
        assert!((got - expected).abs() < 1e-5, "{got} {expected}");
    }
}

#[test]
fn constants_are_cloned() {
    let x = Tensor::<1>::ones([3], &flex_device());
    let [first, second] = fork(x);
    assert_eq!(values(first), values(second));
}
