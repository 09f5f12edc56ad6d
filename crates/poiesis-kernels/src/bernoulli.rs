//! Log probability of binary data under independent Bernoulli distributions given by logits.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::Activation;

/// `log p(x)` of each example in nats, `[batch]`: the sum over all axes but the first of
/// `x · logits − softplus(logits)`. `x` has the shape of `logits` and values in `[0, 1]`.
/// Differentiable in `logits` only; `x` is data.
///
/// # Panics
///
/// When the shapes differ.
pub fn bernoulli_log_prob<const D: usize>(logits: Tensor<D>, x: Tensor<D>) -> Tensor<1> {
    assert!(
        logits.dims() == x.dims(),
        "bernoulli_log_prob: logits {:?} do not fit data {:?}",
        logits.dims(),
        x.dims(),
    );
    if logits.dims().contains(&0) {
        return default(logits, x);
    }
    flex::bernoulli::log_prob(&logits, &x).unwrap_or_else(|| default(logits, x))
}

pub(crate) fn default<const D: usize>(logits: Tensor<D>, x: Tensor<D>) -> Tensor<1> {
    let shape = logits.dims();
    let each = shape[1..].iter().product::<usize>();
    if shape[0] * each == 0 {
        return Tensor::zeros([shape[0]], &logits.device());
    }
    let terms = x.inner() * logits.clone() - activation::default(logits, Activation::Softplus);
    terms.reshape([shape[0], each]).sum_dim(1).reshape([shape[0]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_all_close, assert_same_for_any_threads, numbers, tensor, values};
    use burn::tensor::Device;

    /// Result and the logits' gradient.
    fn run(log_prob: fn(Tensor<3>, Tensor<3>) -> Tensor<1>, shape: [usize; 3]) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
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
        let device = Device::flex();
        let logits = Tensor::<3>::zeros([2, 3, 4], &device);
        let log_prob = bernoulli_log_prob(logits, Tensor::ones([2, 3, 4], &device));
        assert_eq!(log_prob.dims(), [2]);
        let nats = log_prob.into_data().try_to_vec::<f32>().unwrap()[1];
        assert!((nats + 12.0 * std::f32::consts::LN_2).abs() < 1e-5);
    }

    #[test]
    #[should_panic(expected = "[2, 3] do not fit data [3, 2]")]
    fn wrong_shapes_panic_with_both() {
        let device = Device::flex();
        bernoulli_log_prob(Tensor::<2>::ones([2, 3], &device), Tensor::ones([3, 2], &device));
    }
}
