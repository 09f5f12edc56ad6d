//! The backward pass, which computes the scores again.

#![expect(unsafe_code, reason = "tasks write interleaved heads of one array through `Shared`")]

use std::ops::Range;

use super::layout::{HeadLayout, View};
use super::tile::{PackedRows, columns};
use super::{KEYS, ROWS, STRIDE, SUMS, Size, tiles};
use crate::flex::function;
use crate::flex::gemm::{Gemm, Left, Product, Right, Write};
use crate::flex::parallel::{self, Shared};
use crate::flex::pool::Buffer;
use crate::flex::simd;

/// The arrays that the backward pass reads.
pub(super) struct Saved<'a> {
    pub(super) size: Size,
    pub(super) views: [View<'a>; 3],
    pub(super) y: View<'a>,
    pub(super) dy: View<'a>,
    pub(super) log_sums: &'a [f32],
}

/// The array that a gradient is written to; `None` for a gradient that is not needed.
pub(super) type Target<'a> = Option<(&'a Shared<'a>, HeadLayout)>;

/// Writes the gradients of queries, keys and values that have a target.
pub(super) fn backward(saved: &Saved<'_>, targets: [Target<'_>; 3]) {
    let Size { batch, kv_heads, .. } = saved.size;
    parallel::tasks(batch * kv_heads, |task| backward_head(saved, targets, task / kv_heads, task % kv_heads));
}

/// The gradients of one head of keys and values and the heads of queries that share it.
fn backward_head(saved: &Saved<'_>, [dq_target, dk_target, dv_target]: [Target<'_>; 3], b: usize, kv: usize) {
    let Size { queries, keys, dim, scale, .. } = saved.size;
    let size = saved.size;
    let [q, k, v] = saved.views;
    let group = size.group();
    let means = means(saved, b, kv);
    let mut dq = Buffer::zeros(if dq_target.is_some() { group * queries * dim } else { 0 });
    let gemm = Gemm::current();
    let block_len = KEYS.min(keys);
    let [mut dk, mut dv] = [(); 2].map(|()| Buffer::take(block_len * dim));
    let [mut k_columns, mut v_columns] = [(); 2].map(|()| Buffer::take(gemm.packed_len(dim, block_len)));
    let mut k_rows = Buffer::take(gemm.packed_len(block_len, dim));
    let [mut q_rows, mut dy_rows] = [(); 2].map(|()| Buffer::take(gemm.packed_len(ROWS, dim)));
    let [mut weights, mut dscores] = [(); 2].map(|()| Buffer::take(ROWS * STRIDE));
    for block in 0..parallel::parts(keys, KEYS) {
        let block = parallel::part(keys, KEYS, block);
        let count = block.len();
        let k_columns = &mut k_columns[..gemm.packed_len(dim, count)];
        let v_columns = &mut v_columns[..gemm.packed_len(dim, count)];
        let k_rows = &mut k_rows[..gemm.packed_len(count, dim)];
        gemm.pack(k_columns, &k.columns(b, &block, kv));
        gemm.pack(v_columns, &v.columns(b, &block, kv));
        gemm.pack(k_rows, &k.rows(b, &block, kv));
        dk.fill(0.0);
        dv.fill(0.0);
        for (h, tile) in tiles(group, queries) {
            let head = kv * group + h;
            let seen = |i: usize| size.seen(tile.start + i).saturating_sub(block.start).min(count);
            let most = seen(tile.len() - 1);
            if most == 0 {
                continue;
            }
            let columns = columns(most, count);
            let q_left = q.left(b, tile.start, head);
            let dy_left = saved.dy.left(b, tile.start, head);
            let rows = tile.len();
            for (left, right, result) in
                [(q_left, &*k_columns, &mut weights), (dy_left, &*v_columns, &mut dscores)]
            {
                let right = Right::Packed(right);
                let product = Product { left, right, rows, depth: dim, columns, write: Write::Replace };
                gemm.multiply(product, result, STRIDE);
            }
            simd::run(
                #[inline(always)]
                || {
                    let rows = weights.chunks_exact_mut(STRIDE).zip(dscores.chunks_exact_mut(STRIDE));
                    for (i, (weights, dscores)) in rows.take(tile.len()).enumerate() {
                        let log_sum = saved.log_sums[size.row(b, tile.start + i, head)];
                        let mean = means[h * queries + tile.start + i];
                        let seen = seen(i);
                        for (weight, dscore) in weights[..seen].iter_mut().zip(&mut dscores[..seen]) {
                            *weight = function::exp(*weight * scale - log_sum);
                            *dscore = *weight * (*dscore - mean) * scale;
                        }
                        weights[seen..most].fill(0.0);
                        dscores[seen..most].fill(0.0);
                    }
                },
            );
            if dv_target.is_some() {
                let packed = &mut dy_rows[..gemm.packed_len(rows, dim)];
                gemm.pack(packed, &saved.dy.rows(b, &tile, head));
                let right = PackedRows { gemm, packed, rows, first: 0, columns: dim };
                right.add_product(Left::new(&weights, 1, STRIDE), most, rows, &mut dv);
            }
            if dk_target.is_some() {
                let packed = &mut q_rows[..gemm.packed_len(rows, dim)];
                gemm.pack(packed, &q.rows(b, &tile, head));
                let right = PackedRows { gemm, packed, rows, first: 0, columns: dim };
                right.add_product(Left::new(&dscores, 1, STRIDE), most, rows, &mut dk);
            }
            if dq_target.is_some() {
                let left = Left::new(&dscores, STRIDE, 1);
                let right = PackedRows { gemm, packed: k_rows, rows: count, first: 0, columns: dim };
                let first = h * queries + tile.start;
                right.add_product(left, rows, most, &mut dq[first * dim..(first + rows) * dim]);
            }
        }
        write(dk_target, b, kv, block.clone(), &dk[..count * dim]);
        write(dv_target, b, kv, block, &dv[..count * dim]);
    }
    if dq_target.is_some() {
        for (h, dq) in dq.chunks_exact(queries * dim).enumerate() {
            write(dq_target, b, kv * group + h, 0..queries, dq);
        }
    }
}

/// Copies rows of a head to the target.
fn write(target: Target<'_>, batch: usize, head: usize, times: Range<usize>, rows: &[f32]) {
    let Some((shared, layout)) = target else { return };
    for (time, row) in times.zip(rows.chunks_exact(layout.dim)) {
        let at = layout.at(batch, time, head);
        // SAFETY: every row of a head belongs to the task of that head.
        unsafe { shared.part(at..at + layout.dim) }.copy_from_slice(row);
    }
}

/// For each query of each head of a group the product of result and gradient, which is the mean of the gradients of the
/// weights under the weights.
fn means(saved: &Saved<'_>, b: usize, kv: usize) -> Vec<f32> {
    let Size { queries, .. } = saved.size;
    let group = saved.size.group();
    simd::run(
        #[inline(always)]
        || {
            let rows = (0..group * queries).map(|i| (i % queries, kv * group + i / queries));
            rows.map(|(query, head)| dot(saved.y.row(b, query, head), saved.dy.row(b, query, head))).collect()
        },
    )
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; SUMS];
    let (a_chunks, b_chunks) = (a.chunks_exact(SUMS), b.chunks_exact(SUMS));
    let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..SUMS {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}
