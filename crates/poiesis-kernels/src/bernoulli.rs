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

/// The same in Burn's own operations.
pub fn default<const D: usize>(logits: Tensor<D>, x: Tensor<D>) -> Tensor<1> {
    let shape = logits.dims();
    let each = shape[1..].iter().product::<usize>();
    if shape[0] * each == 0 {
        return Tensor::zeros([shape[0]], &logits.device());
    }
    let terms = x.inner() * logits.clone() - activation::default(logits, Activation::Softplus);
    terms.reshape([shape[0], each]).sum_dim(1).reshape([shape[0]])
}
