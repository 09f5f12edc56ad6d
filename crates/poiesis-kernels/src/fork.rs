//! A tensor for two uses, as at the start of a residual connection.

use burn::tensor::Tensor;

use crate::flex;

/// `x` twice, for two uses.
///
/// A clone would work too, but Burn adds the gradients of a tensor with several uses on one thread. On Flex the two gradients are
/// added on all threads, in one pass; nothing is kept. On other devices, and if `x` takes no gradient, these are clones.
///
/// # Panics
///
/// The backward pass panics when the result depends on the second and not on the first. If it is certain for only one of the
/// uses that the result depends on it, that use must take the first.
pub fn fork<const D: usize>(x: Tensor<D>) -> [Tensor<D>; 2] {
    flex::fork::fork(&x).unwrap_or_else(|| [x.clone(), x])
}
