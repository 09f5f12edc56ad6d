//! ELU of both signs.

use burn::tensor::Tensor;
use poiesis_kernels::concat_elu;
use poiesis_kernels::internals::default_concat_elu as default;

use crate::common::{
    assert_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values,
};

/// Result and gradient; the argument is transposed in memory.
fn run(function: fn(Tensor<2>) -> Tensor<2>, [rows, width]: [usize; 2]) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let x: Vec<f32> = numbers(rows * width, 1).iter().map(|x| 4.0 * x).collect();
    let leaf = tensor(&x, [width, rows], &device).require_grad();
    let y = function(leaf.clone().transpose());
    let dy = tensor(&numbers(2 * rows * width, 2), [rows, 2 * width], &device);
    let gradients = (y.clone() * dy).sum().backward();
    vec![values(y), values(leaf.grad(&gradients).unwrap())]
}

#[test]
fn equals_the_default_implementation() {
    for shape in [[1, 1], [7, 3], [300, 129], [3, 20_001], [5000, 6]] {
        for (got, expected) in run(concat_elu, shape).iter().zip(run(default, shape)) {
            let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
            assert_close(got, &expected, 2e-6, &format!("{shape:?}"));
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(concat_elu, [900, 77]));
}

#[test]
fn nothing() {
    let nothing = Tensor::<3>::zeros([2, 0, 4], &flex_device());
    assert_eq!(concat_elu(nothing).dims(), [2, 0, 8]);
}

#[test]
fn negative_and_positive_sides() {
    let x = tensor(&[1.5, -2.0], [1, 2], &flex_device());
    let low = |x: f64| x.exp() - 1.0;
    assert_close(&values(concat_elu(x)), &[1.5, low(-2.0), low(-1.5), 2.0], 1e-6, "y");
}
