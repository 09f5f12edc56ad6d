//! Log probability of binary data under independent Bernoulli distributions given by logits.

use burn::tensor::Tensor;

use crate::activation::{self, Activation};

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
    default(logits, x)
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
    use burn::tensor::Device;

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
