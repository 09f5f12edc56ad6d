//! Filters of images that are a product of one along the rows and one along the columns.

use burn::tensor::Tensor;

/// A x Bᵀ of each channel.
///
/// # Shapes
///
/// `a` is `[batch, to_height, height]` and `b` `[batch, to_width, width]`; `[batch, height, width, channels]` to
/// `[batch, to_height, to_width, channels]`.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub(super) fn both_sides(a: Tensor<3>, x: Tensor<4>, b: Tensor<3>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let (to_height, to_width) = (a.dims()[1], b.dims()[1]);
    let rows = a.matmul(x.reshape([batch, height, width * channels]));
    let by_column = rows.reshape([batch, to_height, width, channels]).swap_dims(1, 2);
    let columns = b.matmul(by_column.reshape([batch, width, to_height * channels]));
    columns.reshape([batch, to_width, to_height, channels]).swap_dims(1, 2)
}
