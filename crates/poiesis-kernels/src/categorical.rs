//! Log probability of classes under categorical distributions given by logits.

use burn::tensor::{Int, Tensor};

use crate::flex;
use crate::flex::categorical::check;

/// `log p(target)` of each row in nats, `[rows]`: the natural logarithm of the softmax of `logits [rows, classes]` at
/// the row's class in `targets [rows]`. Differentiable in `logits`.
///
/// On Flex one pass over the logits forward and one backward; the softmax is not stored, only the logarithm of its
/// denominator for each row. Integers may be i64 or i32. On other devices the check of the targets waits for the device.
///
/// # Panics
///
/// When `targets` is not `[rows]` or holds a class outside of `0..classes`.
pub fn categorical_log_prob(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let [rows, _] = logits.dims();
    assert!(
        targets.dims() == [rows],
        "categorical_log_prob: logits {:?} do not fit targets {:?}: there must be one for each row",
        logits.dims(),
        targets.dims(),
    );
    if rows == 0 {
        return Tensor::zeros([0], &logits.device());
    }
    flex::categorical::log_prob(&logits, &targets).unwrap_or_else(|| default(logits, targets))
}

/// The same in Burn's own operations.
pub fn default(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    check(targets.clone().min().into_scalar(), classes);
    check(targets.clone().max().into_scalar(), classes);
    // The largest logit, which only keeps the exponential in range, takes no gradient.
    let max = logits.clone().max_dim(1).inner();
    let shifted = logits - max;
    let denominator = shifted.clone().exp().sum_dim(1).log();
    (shifted.gather(1, targets.reshape([rows, 1])) - denominator).reshape([rows])
}
