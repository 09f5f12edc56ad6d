//! Attention of the last positions to cached keys and values.

#![expect(unsafe_code, reason = "tasks write interleaved heads of one array through `Shared`")]

use burn::backend::Flex;
use burn::tensor::Tensor;

use super::tile::{PackedRows, RunningSoftmax, Tile};
use super::{KEYS, ROWS, STRIDE, scale};
use crate::flex::gemm::{self, Gemm, Left, Strides};
use crate::flex::operand::{self, Operand, values};
use crate::flex::parallel::{self, Shared};
use crate::flex::pool::Buffer;
use crate::types::AttentionOptions;

/// Steps of fewer multiplications than this stay on the calling thread.
const SMALL_STEP: usize = 1 << 18;

/// Keys and values in the order in which [`Cache::attend`] reads them: for each example and head the keys as packed columns,
/// the values as packed rows.
pub(crate) struct Cache {
    keys: Buffer,
    values: Buffer,
    /// Rounded up to whole panels.
    capacity: usize,
    kv_heads: usize,
    dim: usize,
}

impl Cache {
    pub(crate) fn new([batch, capacity, kv_heads, dim]: [usize; 4]) -> Self {
        let capacity = capacity.next_multiple_of(gemm::panel_width());
        let heads = batch * kv_heads;
        let keys = Buffer::zeros(heads * capacity * dim);
        let values = Buffer::zeros(heads * Gemm::F32.packed_len(capacity, dim));
        Self { keys, values, capacity, kv_heads, dim }
    }

    /// Writes `k` and `v [batch, count, kv_heads, dim]` to the positions from `first` on; `None` if they are not
    /// on Flex.
    pub(crate) fn write(&mut self, k: &Tensor<4>, v: &Tensor<4>, first: usize) -> Option<()> {
        let [_, count, kv_heads, dim] = k.dims();
        let (k, v) = (Operand::new(k)?.into_values(), Operand::new(v)?.into_values());
        if dim == 0 {
            return Some(());
        }
        let rows = values(&k).chunks_exact(dim).zip(values(&v).chunks_exact(dim));
        for (i, (k, v)) in rows.enumerate() {
            let (b, position, kv) = (i / kv_heads / count, first + i / kv_heads % count, i % kv_heads);
            self.write_row(b * self.kv_heads + kv, position, k, v);
        }
        Some(())
    }

    /// Writes one position of one head; heads are counted through the batch.
    pub(crate) fn write_row(&mut self, head: usize, position: usize, k: &[f32], v: &[f32]) {
        let width = gemm::panel_width();
        let start = (head * self.capacity + position / width * width) * self.dim + position % width;
        for (d, &k) in k.iter().enumerate() {
            self.keys[start + d * width] = k;
        }
        let start = head * Gemm::F32.packed_len(self.capacity, self.dim);
        for (panel, v) in v.chunks(width).enumerate() {
            let range = Gemm::F32.panel_range(self.capacity, self.dim, panel);
            let at = start + range.start + range.len() / self.capacity * position;
            self.values[at..at + v.len()].copy_from_slice(v);
        }
    }

    /// The rows of one query per head that sees the first `len` positions; `None` if `q` is not on Flex.
    pub(crate) fn attend(&self, q: &Tensor<4>, len: usize, options: &AttentionOptions) -> Option<Tensor<4>> {
        let [batch, _, heads, dim] = q.dims();
        let q = Operand::new(q)?.into_values();
        let mut y = Buffer::take(batch * heads * dim);
        let queries = Queries { values: values(&q), stride: heads * dim, batch, count: 1, heads };
        self.attend_rows(&queries, len, scale(options, dim), &mut y, heads * dim);
        Some(Tensor::from_primitive::<Flex>(operand::tensor(y, &[batch, 1, heads, dim])))
    }

    /// Writes the results of the queries of the last of `len` positions, `stride` values apart.
    pub(crate) fn attend_rows(
        &self,
        queries: &Queries<'_>,
        len: usize,
        scale: f32,
        y: &mut [f32],
        stride: usize,
    ) {
        let Queries { batch, count, heads, .. } = *queries;
        let (kv_heads, dim) = (self.kv_heads, self.dim);
        let group = heads / kv_heads;
        let tiles = parallel::parts(count * group, ROWS);
        let shared = Shared::new(y);
        let task = |task: usize| {
            let (head, rows) = (task / tiles, parallel::part(count * group, ROWS, task % tiles));
            let (b, first_head) = (head / kv_heads, head % kv_heads * group);
            let q = Left {
                values: &queries.values[b * count * queries.stride + first_head * dim..],
                // The heads of a position follow one another.
                rows: Strides { first: rows.start, step: dim, run: group, jump: queries.stride },
                columns: Strides::even(1),
                rounded: false,
            };
            let seen = |i: usize| len - count + (rows.start + i) / group + 1;
            self.attend_tile(head, q, rows.len(), seen, scale, |i, row, total| {
                let row_of_y = b * count + (rows.start + i) / group;
                let start = row_of_y * stride + (first_head + (rows.start + i) % group) * dim;
                // SAFETY: every head of every position belongs to one task.
                row.finish(total, unsafe { shared.part(start..start + dim) });
            });
        };
        let tasks = batch * kv_heads * tiles;
        if batch * count * heads * len * dim < SMALL_STEP {
            (0..tasks).for_each(task);
        } else {
            parallel::tasks(tasks, task);
        }
    }

    /// Calls `finish` with each of `count` rows of queries that share a head of keys and values, of which row `i` sees the
    /// first `seen(i)` positions.
    fn attend_tile(
        &self,
        head: usize,
        q: Left<'_>,
        count: usize,
        seen: impl Fn(usize) -> usize,
        scale: f32,
        finish: impl Fn(usize, &RunningSoftmax, &[f32]),
    ) {
        let Self { capacity, dim, .. } = *self;
        let mut rows = [RunningSoftmax::NEW; ROWS];
        let rows = &mut rows[..count];
        let mut totals = Buffer::zeros(count * dim);
        let mut scores = Buffer::take(count * STRIDE);
        let keys = &self.keys[head * capacity * dim..][..capacity * dim];
        let values_len = Gemm::F32.packed_len(capacity, dim);
        for start in (0..seen(count - 1)).step_by(KEYS) {
            let tile = Tile {
                q,
                k: &keys[start * dim..],
                keys: KEYS.min(capacity - start),
                v: PackedRows {
                    gemm: Gemm::F32,
                    packed: &self.values[head * values_len..][..values_len],
                    rows: capacity,
                    first: start,
                    columns: dim,
                },
                scale,
            };
            let seen = |i: usize| seen(i).saturating_sub(start).min(KEYS);
            tile.add_block(rows, seen, &mut scores, &mut totals);
        }
        for (i, (row, total)) in rows.iter().zip(totals.chunks_exact(dim)).enumerate() {
            finish(i, row, total);
        }
    }
}

/// Queries `[batch, count, heads, dim]`; those of one position have no gaps, and positions are `stride` apart.
pub(crate) struct Queries<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) batch: usize,
    pub(crate) count: usize,
    pub(crate) heads: usize,
}
