//! Tiles of scores, and the softmax of a row over blocks of keys.

use super::{STRIDE, SUMS};
use crate::flex::function;
use crate::flex::gemm::{self, Gemm, Left, Product, Right, Write};
use crate::flex::parallel;
use crate::flex::simd;

/// Columns to compute for `seen` keys of a block of `keys`: whole panels, or all columns.
pub(super) fn columns(seen: usize, keys: usize) -> usize {
    seen.next_multiple_of(gemm::panel_width()).min(keys)
}

/// Packed rows as the right matrix of a product.
#[derive(Clone, Copy)]
pub(super) struct PackedRows<'a> {
    /// The precision that they were packed with.
    pub(super) gemm: Gemm,
    pub(super) packed: &'a [f32],
    /// The number of packed rows, and the first one that is used: 0 where they were rounded to pairs.
    pub(super) rows: usize,
    pub(super) first: usize,
    pub(super) columns: usize,
}

impl PackedRows<'_> {
    /// Adds `left` (`rows` by `depth`) times the first `depth` rows to `result`, whose rows have no gaps.
    pub(super) fn add_product(&self, left: Left<'_>, rows: usize, depth: usize, result: &mut [f32]) {
        assert!(self.first == 0 || !self.gemm.rounds());
        for panel in 0..self.columns.div_ceil(gemm::panel_width()) {
            let range = self.gemm.panel_range(self.rows, self.columns, panel);
            let packed = &self.packed[range.clone()][range.len() / self.rows * self.first..];
            let columns = parallel::part(self.columns, gemm::panel_width(), panel);
            let result = &mut result[columns.start..];
            let right = Right::Packed(packed);
            let product = Product { left, right, rows, depth, columns: columns.len(), write: Write::Add };
            self.gemm.multiply(product, result, self.columns);
        }
    }
}

/// The maximum and the sum of exponentials of a row over the blocks of keys so far.
#[derive(Clone, Copy)]
pub(super) struct RunningSoftmax {
    pub(super) max: f32,
    pub(super) sum: f32,
}

impl RunningSoftmax {
    pub(super) const NEW: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    /// Turns the scores of a block, of which the first `seen` count, into weights, followed by zeros, and rescales the
    /// weighted sum of the previous blocks to the new maximum.
    #[inline(always)]
    fn add_block(&mut self, scores: &mut [f32], seen: usize, scale: f32, total: &mut [f32]) {
        let padded = seen.next_multiple_of(SUMS);
        for score in &mut scores[..seen] {
            *score *= scale;
        }
        scores[seen..padded].fill(f32::NEG_INFINITY);
        let mut maxima = [self.max; SUMS];
        for chunk in scores[..padded].chunks_exact(SUMS) {
            for (max, &score) in maxima.iter_mut().zip(chunk) {
                *max = if score > *max { score } else { *max };
            }
        }
        let max = maxima.iter().fold(self.max, |max, &other| max.max(other));
        let mut sums = [0.0; SUMS];
        for chunk in scores[..padded].chunks_exact_mut(SUMS) {
            for (sum, score) in sums.iter_mut().zip(chunk) {
                *score = function::exp(*score - max);
                *sum += *score;
            }
        }
        scores[padded..].fill(0.0);
        let factor = function::exp(self.max - max);
        self.sum = self.sum * factor + sums.iter().sum::<f32>();
        self.max = max;
        for total in total {
            *total *= factor;
        }
    }

    /// Writes the weighted mean.
    #[inline(always)]
    pub(super) fn finish(&self, total: &[f32], y: &mut [f32]) {
        let factor = 1.0 / self.sum;
        for (y, &total) in y.iter_mut().zip(total) {
            *y = total * factor;
        }
    }
}

/// Rows of queries that are multiplied with one block of keys.
pub(super) struct Tile<'a> {
    pub(super) q: Left<'a>,
    /// The keys of the block, packed as columns, and their number.
    pub(super) k: &'a [f32],
    pub(super) keys: usize,
    pub(super) v: PackedRows<'a>,
    pub(super) scale: f32,
}

impl Tile<'_> {
    /// Adds the block to `rows` and their weighted sums. RunningSoftmax `i` sees the first `seen(i)` keys of the block, and the
    /// last row the most.
    pub(super) fn add_block(
        &self,
        rows: &mut [RunningSoftmax],
        seen: impl Fn(usize) -> usize,
        scores: &mut [f32],
        totals: &mut [f32],
    ) {
        let dim = self.v.columns;
        let most = seen(rows.len() - 1);
        if most == 0 {
            return;
        }
        let columns = columns(most, self.keys);
        let product = Product {
            left: self.q,
            right: Right::Packed(self.k),
            rows: rows.len(),
            depth: dim,
            columns,
            write: Write::Replace,
        };
        self.v.gemm.multiply(product, scores, STRIDE);
        simd::run(
            #[inline(always)]
            || {
                let scores = scores.chunks_exact_mut(STRIDE);
                let totals = totals.chunks_exact_mut(dim);
                for (i, ((row, scores), total)) in rows.iter_mut().zip(scores).zip(totals).enumerate() {
                    let seen = seen(i);
                    let scores = &mut scores[..most.next_multiple_of(SUMS)];
                    if seen == 0 {
                        scores.fill(0.0);
                    } else {
                        row.add_block(scores, seen, self.scale, total);
                    }
                }
            },
        );
        let left = Left::new(scores, STRIDE, 1);
        self.v.add_product(left, rows.len(), most, totals);
    }
}
