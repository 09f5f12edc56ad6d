//! The sum of two tensors, for residual connections.

use burn::tensor::Tensor;

use crate::flex;

/// `x + y`, element by element, for tensors of the same shape.
///
/// On Flex on all threads, while Burn's own sum runs on one; nothing is kept, and the gradient of the result becomes the
/// gradient of both arguments without a copy.
///
/// # Panics
///
/// When the shapes differ.
pub fn add<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    assert!(x.dims() == y.dims(), "add: first {:?} does not fit second {:?}", x.dims(), y.dims());
    if x.dims().contains(&0) {
        return x;
    }
    flex::add::add(&x, &y).unwrap_or_else(|| x + y)
}
