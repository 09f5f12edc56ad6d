//! Sums of two tensors.

use burn::tensor::Tensor;
use poiesis_kernels::add;

use crate::common::{assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values};

/// Result and both gradients; the first argument is transposed in memory.
fn run(add: fn(Tensor<2>, Tensor<2>) -> Tensor<2>, shape: [usize; 2]) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let count = shape[0] * shape[1];
    let x = tensor(&numbers(count, 1), [shape[1], shape[0]], &device).require_grad();
    let y = tensor(&numbers(count, 2), shape, &device).require_grad();
    let sum = add(x.clone().transpose(), y.clone());
    let dy = tensor(&numbers(count, 3), shape, &device);
    let gradients = (sum.clone() * dy).sum().backward();
    vec![values(sum), values(x.grad(&gradients).unwrap()), values(y.grad(&gradients).unwrap())]
}

#[test]
fn equals_burn() {
    for shape in [[300, 129], [1, 1], [7, 3]] {
        assert_eq!(run(add, shape), run(|x, y| x + y, shape));
    }
}

#[test]
fn equals_a_plain_loop() {
    let (x, y) = (numbers(70_001, 1), numbers(70_001, 2));
    let device = flex_device();
    let sum = add(tensor(&x, [70_001], &device), tensor(&y, [70_001], &device));
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
    assert_eq!(values(sum), expected);
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(add, [300, 1001]));
}

#[test]
fn twice_the_same_tensor_gets_both_gradients() {
    let device = autodiff_device();
    let x = tensor(&numbers(6, 1), [6], &device).require_grad();
    let gradients = add(x.clone(), x.clone()).sum().backward();
    assert_eq!(values(x.grad(&gradients).unwrap()), [2.0; 6]);
}

#[test]
fn gradients_are_independent() {
    let device = autodiff_device();
    let x = tensor(&numbers(6, 1), [6], &device).require_grad();
    let y = tensor(&numbers(6, 2), [6], &device).require_grad();
    // What is added to one gradient must not change the other.
    let sum = add(x.clone(), y.clone()).sum() + (x.clone() * 3.0).sum();
    let gradients = sum.backward();
    assert_eq!(values(x.grad(&gradients).unwrap()), [4.0; 6]);
    assert_eq!(values(y.grad(&gradients).unwrap()), [1.0; 6]);
}

#[test]
fn a_constant_and_a_parameter() {
    let x = tensor(&numbers(6, 1), [6], &flex_device());
    let y = x.clone().autodiff().require_grad();
    let sum = add(x, y.clone());
    assert_eq!(values(y.grad(&sum.sum().backward()).unwrap()), [1.0; 6]);
}

#[test]
fn nothing() {
    let device = flex_device();
    let zeros = || Tensor::<2>::zeros([0, 4], &device);
    assert_eq!(add(zeros(), zeros()).dims(), [0, 4]);
}

#[test]
#[should_panic(expected = "first [2, 3] does not fit second [3, 2]")]
fn wrong_shapes_panic_with_both() {
    let device = flex_device();
    add(Tensor::<2>::ones([2, 3], &device), Tensor::ones([3, 2], &device));
}
