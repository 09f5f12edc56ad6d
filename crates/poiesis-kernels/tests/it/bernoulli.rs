//! Log probabilities of Bernoulli variables.

use burn::tensor::Tensor;
use poiesis_kernels::bernoulli_log_prob;
use poiesis_kernels::internals::default_bernoulli_log_prob as default;

use crate::common::{
    assert_all_close, assert_same_for_any_threads, autodiff_device, flex_device, numbers, tensor, values,
};

/// Result and the logits' gradient.
fn run(log_prob: fn(Tensor<3>, Tensor<3>) -> Tensor<1>, shape: [usize; 3]) -> Vec<Vec<f32>> {
    let device = autodiff_device();
    let count = shape.iter().product();
    let logits: Vec<f32> = numbers(count, 1).iter().map(|x| x * 9.0).collect();
    let logits = tensor(&logits, shape, &device).require_grad();
    let x = tensor(&numbers(count, 2), shape, &device).abs();
    let y = log_prob(logits.clone(), x);
    let dy = tensor(&numbers(shape[0], 3), [shape[0]], &device);
    let gradients = (y.clone() * dy).sum().backward();
    vec![values(y), values(logits.grad(&gradients).unwrap())]
}

#[test]
fn equals_the_default_implementation() {
    for shape in [[3, 28, 28], [1, 1, 1], [40, 7, 5], [2, 100, 300]] {
        let expected = run(default, shape);
        assert_all_close(&run(bernoulli_log_prob, shape), &expected, 3e-6, &format!("{shape:?}"));
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| run(bernoulli_log_prob, [300, 28, 28]));
}

#[test]
fn zero_logits_give_one_bit_each() {
    let device = flex_device();
    let logits = Tensor::<3>::zeros([2, 3, 4], &device);
    let log_prob = bernoulli_log_prob(logits, Tensor::ones([2, 3, 4], &device));
    assert_eq!(log_prob.dims(), [2]);
    let nats = log_prob.into_data().try_to_vec::<f32>().unwrap()[1];
    assert!((nats + 12.0 * std::f32::consts::LN_2).abs() < 1e-5);
}

#[test]
#[should_panic(expected = "[2, 3] do not fit data [3, 2]")]
fn wrong_shapes_panic_with_both() {
    let device = flex_device();
    bernoulli_log_prob(Tensor::<2>::ones([2, 3], &device), Tensor::ones([3, 2], &device));
}
