//! Rows of a table looked up by index.

use burn::tensor::{Int, Tensor};

use crate::flex;
use crate::flex::embedding::check;

/// The rows of `weight [n, dim]` at `indices [rows, columns]`: `[rows, columns, dim]`.
///
/// On Flex the gradient of each row of `weight` is summed in the order of the indices, without a lock and the same
/// for any number of threads. Integers may be i64 or i32. On other devices the check of the indices waits for the device.
///
/// # Panics
///
/// When an index is outside of `0..n`.
pub fn embedding(weight: Tensor<2>, indices: Tensor<2, Int>) -> Tensor<3> {
    let [rows, columns] = indices.dims();
    let [_, dim] = weight.dims();
    if rows * columns * dim == 0 {
        return Tensor::zeros([rows, columns, dim], &weight.device());
    }
    flex::embedding::embedding(&weight, &indices).unwrap_or_else(|| default(weight, indices))
}

/// The same in Burn's own operations.
pub fn default(weight: Tensor<2>, indices: Tensor<2, Int>) -> Tensor<3> {
    let [rows, columns] = indices.dims();
    let [_, dim] = weight.dims();
    check(indices.clone().min().into_scalar(), weight.dims());
    check(indices.clone().max().into_scalar(), weight.dims());
    weight.select(0, indices.reshape([rows * columns])).reshape([rows, columns, dim])
}
