//! The ELU of features and of their negatives, side by side.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::Activation;

/// `[ELU(x), ELU(−x)]` along the last axis: `x [.., n]` to `[.., 2 · n]`.
///
/// On Flex one pass over memory forward and one backward, on all threads; only the result is kept for the backward pass.
///
/// Source: Shang et al. 2016 with ELU for ReLU, as in Salimans et al. 2017.
pub fn concat_elu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let mut shape = x.dims();
    if shape.contains(&0) {
        shape[D - 1] *= 2;
        return Tensor::zeros(shape, &x.device());
    }
    flex::concat_elu::concat_elu(&x).unwrap_or_else(|| default(x))
}

/// The same in Burn's own operations.
pub fn default<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::default(Tensor::cat(vec![x.clone(), x.neg()], D - 1), Activation::Elu)
}
