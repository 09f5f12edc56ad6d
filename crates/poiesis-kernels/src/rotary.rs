//! Rotary position embedding of queries and keys.

use burn::tensor::{Tensor, TensorData};

use crate::flex;
use crate::flex::rotary::angles;

/// Rotates pairs of the last axis of `x [batch, time, heads, dim]` by angles proportional to the position: the pair
/// `(i, i + dim / 2)` at time `t` by `(first_position + t) · base^(−2 i / dim)`, so that products of rotated queries and
/// keys depend on their distance only. `first_position` is the position of the first time step, for generation with cached
/// keys; the usual `base` is 10 000.
///
/// On Flex one pass over memory forward and one backward; only sine and cosine of the angles are kept,
/// `time · dim` values; those of the last call are reused by the next one.
///
/// Source: Su et al. 2021 (arXiv:2104.09864), equation 34, with the halves of the axis as the members of the pairs.
///
/// # Panics
///
/// When `dim` is odd.
pub fn rotary(x: Tensor<4>, first_position: usize, base: f64) -> Tensor<4> {
    let shape = x.dims();
    assert!(shape[3].is_multiple_of(2), "rotary: input {shape:?} has no pairs: its last axis must be even",);
    if shape.contains(&0) {
        return x;
    }
    flex::rotary::rotary(&x, shape[2], first_position, base)
        .unwrap_or_else(|| default(x, first_position, base))
}

/// [`rotary`] of the queries and keys of `qkv [batch, time, heads + 2 · kv_heads, dim]`, packed as
/// [`attention_packed`](crate::attention_packed) takes them; the values, which are the last `kv_heads` heads, are not
/// changed.
///
/// # Panics
///
/// When `dim` is odd, or there are no more than `kv_heads` heads.
pub fn rotary_packed(qkv: Tensor<4>, kv_heads: usize, first_position: usize, base: f64) -> Tensor<4> {
    let shape = qkv.dims();
    assert!(
        shape[3].is_multiple_of(2) && shape[2] > kv_heads,
        "rotary_packed: input {shape:?} has no pairs, or no heads besides {kv_heads} of values",
    );
    if shape.contains(&0) {
        return qkv;
    }
    flex::rotary::rotary(&qkv, shape[2] - kv_heads, first_position, base)
        .unwrap_or_else(|| default_packed(qkv, kv_heads, first_position, base))
}

/// The same in Burn's own operations.
pub fn default_packed(qkv: Tensor<4>, kv_heads: usize, first_position: usize, base: f64) -> Tensor<4> {
    let turned = qkv.dims()[2] - kv_heads;
    let values = qkv.clone().narrow(2, turned, kv_heads);
    Tensor::cat(vec![default(qkv.narrow(2, 0, turned), first_position, base), values], 2)
}

/// The same in Burn's own operations.
pub fn default(x: Tensor<4>, first_position: usize, base: f64) -> Tensor<4> {
    let [_, time, _, dim] = x.dims();
    let half = dim / 2;
    let mut table = vec![0.0; time * dim];
    for (t, row) in table.chunks_exact_mut(dim).enumerate() {
        angles(row, first_position + t, base);
    }
    let table = Tensor::<4>::from_data(TensorData::new(table, [1, time, 1, dim]), &x.device());
    let (cosine, sine) = (table.clone().narrow(3, 0, half), table.narrow(3, half, half));
    let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    Tensor::cat(
        vec![first.clone() * cosine.clone() - second.clone() * sine.clone(), second * cosine + first * sine],
        3,
    )
}
