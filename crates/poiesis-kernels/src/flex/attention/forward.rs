//! The forward pass.

#![expect(unsafe_code, reason = "tasks write interleaved heads of one array through `Shared`")]

use super::layout::View;
use super::tile::{PackedRows, RunningSoftmax, Tile};
use super::{KEYS, QUERIES, ROWS, STRIDE, Size, tiles};
use crate::flex::gemm::Gemm;
use crate::flex::parallel::{self, Shared};
use crate::flex::pool::Buffer;

/// The result, and for each row the logarithm of the sum of the exponentials of its scores.
pub(super) fn forward(size: Size, [q, k, v]: [View<'_>; 3]) -> (Buffer, Buffer) {
    let Size { batch, queries, keys, heads, kv_heads, dim, scale, .. } = size;
    let group = size.group();
    let mut y = Buffer::take(batch * queries * heads * dim);
    let mut log_sums = Buffer::take(batch * queries * heads);
    let (shared, shared_log_sums) = (Shared::new(&mut y), Shared::new(&mut log_sums));
    let gemm = Gemm::current();
    let chunks = parallel::parts(queries, QUERIES);
    parallel::tasks(batch * kv_heads * chunks, |task| {
        let (b, kv) = (task / chunks / kv_heads, task / chunks % kv_heads);
        let chunk = parallel::part(queries, QUERIES, task % chunks);
        let len = chunk.len();
        let mut rows = vec![RunningSoftmax::NEW; group * len];
        let mut totals = Buffer::zeros(group * len * dim);
        let mut scores = Buffer::take(ROWS * STRIDE);
        let most = size.seen(chunk.end - 1);
        let block_len = KEYS.min(keys);
        let mut packed_k = Buffer::take(gemm.packed_len(dim, block_len));
        let mut packed_v = Buffer::take(gemm.packed_len(block_len, dim));
        for block in 0..parallel::parts(most, KEYS) {
            let block = parallel::part(most, KEYS, block);
            let count = block.len();
            let packed_k = &mut packed_k[..gemm.packed_len(dim, count)];
            let packed_v = &mut packed_v[..gemm.packed_len(count, dim)];
            gemm.pack(packed_k, &k.columns(b, &block, kv));
            gemm.pack(packed_v, &v.rows(b, &block, kv));
            for (h, tile) in tiles(group, len) {
                let first = chunk.start + tile.start;
                let own = h * len + tile.start..h * len + tile.end;
                let work = Tile {
                    q: q.left(b, first, kv * group + h),
                    k: packed_k,
                    keys: count,
                    v: PackedRows { gemm, packed: packed_v, rows: count, first: 0, columns: dim },
                    scale,
                };
                let seen = |i: usize| size.seen(first + i).saturating_sub(block.start).min(count);
                let totals = &mut totals[own.start * dim..own.end * dim];
                work.add_block(&mut rows[own], seen, &mut scores, totals);
            }
        }
        for (i, (row, total)) in rows.iter().zip(totals.chunks_exact(dim)).enumerate() {
            let at = size.row(b, chunk.start + i % len, kv * group + i / len);
            // SAFETY: every row of the result belongs to one task.
            let (y, log_sum) =
                unsafe { (shared.part(at * dim..(at + 1) * dim), shared_log_sums.part(at..at + 1)) };
            row.finish(total, y);
            log_sum[0] = row.max + row.sum.ln();
        }
    });
    (y, log_sums)
}
