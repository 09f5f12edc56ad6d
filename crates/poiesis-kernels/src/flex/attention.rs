//! Attention by blocks of keys, with a running maximum and sum for each row of queries.
//!
//! Keys come in blocks of [`KEYS`] counted from the first one, and every sum of a row runs over all keys of a block in a
//! fixed order, those that the row does not see with weight 0. So a row does not depend on the other queries.

#![expect(unsafe_code, reason = "tasks write interleaved heads of one array through `Shared`")]

use std::ops::Range;

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::function;
use super::gemm::{self, Gemm, Left, Steps, Write};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use crate::attention::AttentionOptions;

/// Keys of a block, a multiple of every panel's width.
pub(super) const KEYS: usize = 256;

/// Queries of a tile of scores.
const ROWS: usize = 32;

/// Queries of a task of the forward pass.
const QUERIES: usize = 512;

/// Distance of the rows of a tile of scores; not a power of two, so that a column does not fall into few sets of
/// the cache.
pub(super) const STRIDE: usize = KEYS + 16;

/// Sums that run side by side, so that the loop vectorises and its order is fixed.
const SUMS: usize = 16;

/// [`crate::attention`] of tensors that live on Flex; `None` for others. None is empty.
pub(crate) fn attention(
    q: &Tensor<4>,
    k: &Tensor<4>,
    v: &Tensor<4>,
    options: &AttentionOptions,
) -> Option<Tensor<4>> {
    let q_shape = q.dims();
    let size = Size::new(q_shape, k.dims(), options);
    let places = [Place::whole(q_shape), Place::whole(k.dims()), Place::whole(k.dims())];
    let operands = [Operand::new(q)?, Operand::new(k)?, Operand::new(v)?];
    if !operands.iter().any(Operand::is_autodiff) {
        let arrays = operands.map(Operand::into_values);
        let (y, _) = forward(size, views(&arrays, places));
        return Some(Tensor::from_primitive::<Flex>(operand::tensor(y, &q_shape)));
    }
    let [(q, q_node), (k, k_node), (v, v_node)] = operands.map(Operand::into_parts);
    let arrays = [q, k, v];
    let (y, log_sums) = forward(size, views(&arrays, places));
    let y = operand::tensor(y, &q_shape);
    let y = match Attention.prepare::<NoCheckpointing>([q_node, k_node, v_node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(State::new(size, arrays, &y, log_sums), y),
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

/// [`crate::attention_packed`] of a tensor that lives on Flex; `None` for others. It is not empty.
pub(crate) fn packed(qkv: &Tensor<4>, kv_heads: usize, options: &AttentionOptions) -> Option<Tensor<4>> {
    let [batch, time, all, dim] = qkv.dims();
    let y_shape = [batch, time, all - 2 * kv_heads, dim];
    let size = Size::new(y_shape, [batch, time, kv_heads, dim], options);
    let places = packed_places(&size);
    let qkv = Operand::new(qkv)?;
    if !qkv.is_autodiff() {
        let qkv = qkv.into_values();
        let (y, _) = forward(size, places.map(|place| View { values: values(&qkv), place }));
        return Some(Tensor::from_primitive::<Flex>(operand::tensor(y, &y_shape)));
    }
    let (qkv, node) = qkv.into_parts();
    let (y, log_sums) = forward(size, places.map(|place| View { values: values(&qkv), place }));
    let y = operand::tensor(y, &y_shape);
    let y = match Packed.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(State::new(size, [qkv], &y, log_sums), y),
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

#[derive(Clone, Copy, Debug)]
struct Size {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    causal: bool,
    scale: f32,
}

impl Size {
    fn new(q: [usize; 4], k: [usize; 4], options: &AttentionOptions) -> Self {
        let [batch, queries, heads, dim] = q;
        let [_, keys, kv_heads, _] = k;
        Self {
            batch,
            queries,
            keys,
            heads,
            kv_heads,
            dim,
            causal: options.causal,
            scale: scale(options, dim),
        }
    }

    /// Heads of queries that share one of keys and values.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// How many keys, from the first one on, a query sees.
    fn seen(&self, query: usize) -> usize {
        if self.causal { self.keys - self.queries + query + 1 } else { self.keys }
    }

    /// Where the row of a query of a head stands among all rows.
    fn row(&self, batch: usize, query: usize, head: usize) -> usize {
        (batch * self.queries + query) * self.heads + head
    }
}

pub(super) fn scale(options: &AttentionOptions, dim: usize) -> f32 {
    options.scale.unwrap_or(1.0 / (dim as f64).sqrt()) as f32
}

/// Where heads lie in an array: row `t` of head `h` of example `b` starts at `start + b · batch + t · time + h · dim`.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    batch: usize,
    time: usize,
    dim: usize,
}

impl Place {
    /// An array `[batch, time, heads, dim]`.
    fn whole([_, time, heads, dim]: [usize; 4]) -> Self {
        Self { start: 0, batch: time * heads * dim, time: heads * dim, dim }
    }

    fn at(&self, batch: usize, time: usize, head: usize) -> usize {
        self.start + batch * self.batch + time * self.time + head * self.dim
    }
}

/// Where queries, keys and values lie in one array.
fn packed_places(size: &Size) -> [Place; 3] {
    let all = size.heads + 2 * size.kv_heads;
    let whole = Place::whole([size.batch, size.keys, all, size.dim]);
    [0, size.heads, size.heads + size.kv_heads].map(|head| Place { start: head * size.dim, ..whole })
}

#[derive(Clone, Copy)]
struct View<'a> {
    values: &'a [f32],
    place: Place,
}

impl<'a> View<'a> {
    /// The array from a row on.
    fn from(&self, batch: usize, time: usize, head: usize) -> &'a [f32] {
        &self.values[self.place.at(batch, time, head)..]
    }

    /// One row.
    fn row(&self, batch: usize, time: usize, head: usize) -> &'a [f32] {
        &self.from(batch, time, head)[..self.place.dim]
    }

    /// Rows from `time` on as the left matrix of a product.
    fn left(&self, batch: usize, time: usize, head: usize) -> Left<'a> {
        Left::new(self.from(batch, time, head), self.place.time, 1)
    }

    /// Packs the rows `times`.
    fn pack(&self, gemm: Gemm, packed: &mut [f32], batch: usize, times: &Range<usize>, head: usize) {
        let source = self.from(batch, times.start, head);
        gemm.pack(packed, source, times.len(), self.place.dim, self.place.time, 1);
    }

    /// Packs the rows `times` as columns.
    fn pack_transposed(
        &self,
        gemm: Gemm,
        packed: &mut [f32],
        batch: usize,
        times: &Range<usize>,
        head: usize,
    ) {
        let source = self.from(batch, times.start, head);
        gemm.pack(packed, source, self.place.dim, times.len(), 1, self.place.time);
    }
}

fn views(arrays: &[FlexTensor; 3], places: [Place; 3]) -> [View<'_>; 3] {
    let [q, k, v] = arrays;
    let [q_place, k_place, v_place] = places;
    [
        View { values: values(q), place: q_place },
        View { values: values(k), place: k_place },
        View { values: values(v), place: v_place },
    ]
}

/// Columns to compute for `seen` keys of a block of `keys`: whole panels, or all.
pub(super) fn columns(seen: usize, keys: usize) -> usize {
    seen.next_multiple_of(gemm::panel_width()).min(keys)
}

/// Packed rows as the right matrix of a product.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    /// As which they were packed.
    pub(super) gemm: Gemm,
    pub(super) packed: &'a [f32],
    /// All rows that were packed, and the first that takes part: 0 where they were rounded to pairs.
    pub(super) rows: usize,
    pub(super) first: usize,
    pub(super) columns: usize,
}

impl Right<'_> {
    /// Adds `left` (`rows` by `depth`) times the first `depth` rows to `result`, whose rows stand close.
    fn add_product(&self, left: Left<'_>, rows: usize, depth: usize, result: &mut [f32]) {
        assert!(self.first == 0 || !self.gemm.rounds());
        for panel in 0..self.columns.div_ceil(gemm::panel_width()) {
            let range = self.gemm.panel_range(self.rows, self.columns, panel);
            let packed = &self.packed[range.clone()][range.len() / self.rows * self.first..];
            let columns = parallel::part(self.columns, gemm::panel_width(), panel);
            let result = &mut result[columns.start..];
            self.gemm.multiply(left, rows, depth, packed, columns.len(), result, self.columns, Write::Add);
        }
    }
}

/// What a row has gathered from the blocks of keys so far.
#[derive(Clone, Copy)]
pub(super) struct Row {
    max: f32,
    sum: f32,
}

impl Row {
    pub(super) const NEW: Self = Self { max: f32::NEG_INFINITY, sum: 0.0 };

    /// Turns the scores of a block, of which the first `seen` count, into weights, zero behind, and scales the
    /// weighted sum of the blocks before to the new maximum.
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

/// Rows of queries that meet one block of keys together.
pub(super) struct Tile<'a> {
    pub(super) q: Left<'a>,
    /// The keys of the block, packed as columns, and how many there are.
    pub(super) k: &'a [f32],
    pub(super) keys: usize,
    pub(super) v: Right<'a>,
    pub(super) scale: f32,
}

impl Tile<'_> {
    /// Adds the block to `rows` and their weighted sums. Row `i` sees the first `seen(i)` keys of the block, and the
    /// last row the most.
    pub(super) fn add_block(
        &self,
        rows: &mut [Row],
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
        self.v.gemm.multiply(self.q, rows.len(), dim, self.k, columns, scores, STRIDE, Write::Replace);
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

/// The result, and for each row the logarithm of the sum of the exponentials of its scores.
fn forward(size: Size, [q, k, v]: [View<'_>; 3]) -> (Buffer, Buffer) {
    let Size { batch, queries, keys, heads, kv_heads, dim, scale, .. } = size;
    let group = size.group();
    let mut y = Buffer::take(batch * queries * heads * dim);
    let mut log_sums = Buffer::take(batch * queries * heads);
    let (shared, shared_log_sums) = (Shared::new(&mut y), Shared::new(&mut log_sums));
    let gemm = Gemm::in_force();
    let chunks = parallel::parts(queries, QUERIES);
    parallel::tasks(batch * kv_heads * chunks, |task| {
        let (b, kv) = (task / chunks / kv_heads, task / chunks % kv_heads);
        let chunk = parallel::part(queries, QUERIES, task % chunks);
        let len = chunk.len();
        let mut rows = vec![Row::NEW; group * len];
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
            k.pack_transposed(gemm, packed_k, b, &block, kv);
            v.pack(gemm, packed_v, b, &block, kv);
            for (h, tile) in tiles(group, len) {
                let first = chunk.start + tile.start;
                let own = h * len + tile.start..h * len + tile.end;
                let work = Tile {
                    q: q.left(b, first, kv * group + h),
                    k: packed_k,
                    keys: count,
                    v: Right { gemm, packed: packed_v, rows: count, first: 0, columns: dim },
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

/// The heads of a group and, in each, the tiles of `0..queries`.
fn tiles(group: usize, queries: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let count = parallel::parts(queries, ROWS);
    (0..group * count).map(move |i| (i / count, parallel::part(queries, ROWS, i % count)))
}

/// What the backward pass reads.
struct Saved<'a> {
    size: Size,
    views: [View<'a>; 3],
    y: View<'a>,
    dy: View<'a>,
    log_sums: &'a [f32],
}

/// Where a gradient goes.
type Target<'a> = Option<(&'a Shared<'a>, Place)>;

/// Writes the gradients of queries, keys and values that have a target.
fn backward(saved: &Saved<'_>, targets: [Target<'_>; 3]) {
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
    let gemm = Gemm::in_force();
    let block_len = KEYS.min(keys);
    let [mut dk, mut dv] = [(); 2].map(|()| Buffer::take(block_len * dim));
    let [mut k_columns, mut v_columns] = [(); 2].map(|()| Buffer::take(gemm.packed_len(dim, block_len)));
    let mut k_rows = Buffer::take(gemm.packed_len(block_len, dim));
    let [mut q_rows, mut dy_rows] = [(); 2].map(|()| Buffer::take(gemm.packed_len(ROWS, dim)));
    let [mut weights, mut slopes] = [(); 2].map(|()| Buffer::take(ROWS * STRIDE));
    for block in 0..parallel::parts(keys, KEYS) {
        let block = parallel::part(keys, KEYS, block);
        let count = block.len();
        let k_columns = &mut k_columns[..gemm.packed_len(dim, count)];
        let v_columns = &mut v_columns[..gemm.packed_len(dim, count)];
        let k_rows = &mut k_rows[..gemm.packed_len(count, dim)];
        k.pack_transposed(gemm, k_columns, b, &block, kv);
        v.pack_transposed(gemm, v_columns, b, &block, kv);
        k.pack(gemm, k_rows, b, &block, kv);
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
            gemm.multiply(q_left, rows, dim, k_columns, columns, &mut weights, STRIDE, Write::Replace);
            gemm.multiply(dy_left, rows, dim, v_columns, columns, &mut slopes, STRIDE, Write::Replace);
            simd::run(
                #[inline(always)]
                || {
                    let rows = weights.chunks_exact_mut(STRIDE).zip(slopes.chunks_exact_mut(STRIDE));
                    for (i, (weights, slopes)) in rows.take(tile.len()).enumerate() {
                        let log_sum = saved.log_sums[size.row(b, tile.start + i, head)];
                        let mean = means[h * queries + tile.start + i];
                        let seen = seen(i);
                        for (weight, slope) in weights[..seen].iter_mut().zip(&mut slopes[..seen]) {
                            *weight = function::exp(*weight * scale - log_sum);
                            *slope = *weight * (*slope - mean) * scale;
                        }
                        weights[seen..most].fill(0.0);
                        slopes[seen..most].fill(0.0);
                    }
                },
            );
            if dv_target.is_some() {
                let packed = &mut dy_rows[..gemm.packed_len(rows, dim)];
                saved.dy.pack(gemm, packed, b, &tile, head);
                let right = Right { gemm, packed, rows, first: 0, columns: dim };
                right.add_product(Left::new(&weights, 1, STRIDE), most, rows, &mut dv);
            }
            if dk_target.is_some() {
                let packed = &mut q_rows[..gemm.packed_len(rows, dim)];
                q.pack(gemm, packed, b, &tile, head);
                let right = Right { gemm, packed, rows, first: 0, columns: dim };
                right.add_product(Left::new(&slopes, 1, STRIDE), most, rows, &mut dk);
            }
            if dq_target.is_some() {
                let left = Left::new(&slopes, STRIDE, 1);
                let right = Right { gemm, packed: k_rows, rows: count, first: 0, columns: dim };
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

/// Copies rows of a head to their target.
fn write(target: Target<'_>, batch: usize, head: usize, times: Range<usize>, rows: &[f32]) {
    let Some((shared, place)) = target else { return };
    for (time, row) in times.zip(rows.chunks_exact(place.dim)) {
        let at = place.at(batch, time, head);
        // SAFETY: every row of a head belongs to the task of that head.
        unsafe { shared.part(at..at + place.dim) }.copy_from_slice(row);
    }
}

/// For each query of each head of a group the product of result and gradient, which is the mean of the weights'
/// gradients under the weights.
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

#[derive(Debug)]
struct Attention;

#[derive(Debug)]
struct Packed;

#[derive(Clone, Debug)]
struct State<const N: usize> {
    size: Size,
    arrays: [FlexTensor; N],
    y: FlexTensor,
    log_sums: FlexTensor,
}

impl<const N: usize> State<N> {
    fn new(size: Size, arrays: [FlexTensor; N], y: &FlexTensor, log_sums: Buffer) -> Self {
        let shape = [log_sums.len()];
        Self { size, arrays, y: y.clone(), log_sums: operand::tensor(log_sums, &shape) }
    }

    fn saved<'a>(&'a self, views: [View<'a>; 3], dy: &'a FlexTensor) -> Saved<'a> {
        let Size { batch, queries, heads, dim, .. } = self.size;
        let place = Place::whole([batch, queries, heads, dim]);
        Saved {
            size: self.size,
            views,
            y: View { values: values(&self.y), place },
            dy: View { values: values(dy), place },
            log_sums: values(&self.log_sums),
        }
    }
}

impl Backward<Flex, 3> for Attention {
    type State = State<3>;

    fn backward(self, ops: Ops<State<3>, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let state = ops.state;
        let Size { batch, queries, keys, heads, kv_heads, dim, .. } = state.size;
        let shapes =
            [[batch, queries, heads, dim], [batch, keys, kv_heads, dim], [batch, keys, kv_heads, dim]];
        let places = shapes.map(Place::whole);
        let mut results = [0, 1, 2]
            .map(|i| ops.parents[i].as_ref().map(|node| (node.id, Buffer::take(shapes[i].iter().product()))));
        let shared = results.each_mut().map(|result| result.as_mut().map(|(_, buffer)| Shared::new(buffer)));
        let targets = [0, 1, 2].map(|i| shared[i].as_ref().map(|shared| (shared, places[i])));
        backward(&state.saved(views(&state.arrays, places), &dy), targets);
        for (result, shape) in results.into_iter().zip(shapes) {
            if let Some((id, buffer)) = result {
                gradients.register::<Flex>(id, operand::tensor(buffer, &shape));
            }
        }
    }
}

impl Backward<Flex, 1> for Packed {
    type State = State<1>;

    fn backward(self, ops: Ops<State<1>, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let state = ops.state;
        let [node] = ops.parents;
        let Some(node) = node else { return };
        let [qkv] = &state.arrays;
        let places = packed_places(&state.size);
        let views = places.map(|place| View { values: values(qkv), place });
        let mut result = Buffer::take(values(qkv).len());
        let shared = Shared::new(&mut result);
        backward(&state.saved(views, &dy), places.map(|place| Some((&shared, place))));
        let shape = qkv.layout().shape();
        gradients.register::<Flex>(node.id, operand::tensor(result, shape));
    }
}

/// Steps of fewer multiplications than this stay on the calling thread.
const SMALL_STEP: usize = 1 << 18;

/// Keys and values in the order in which [`step`] reads them: for each example and head the keys as packed columns,
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

    /// Writes `k` and `v [batch, count, kv_heads, dim]` to the positions from `first` on; `None` if they do not
    /// live on Flex.
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

    /// Writes one position of one head of all examples' heads.
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

    /// The rows of one query per head that sees the first `len` positions; `None` if `q` does not live on Flex.
    pub(crate) fn attend(&self, q: &Tensor<4>, len: usize, options: &AttentionOptions) -> Option<Tensor<4>> {
        let [batch, _, heads, dim] = q.dims();
        let q = Operand::new(q)?.into_values();
        let mut y = Buffer::take(batch * heads * dim);
        let queries = Queries { values: values(&q), stride: heads * dim, batch, count: 1, heads };
        self.attend_rows(&queries, len, scale(options, dim), &mut y, heads * dim);
        Some(Tensor::from_primitive::<Flex>(operand::tensor(y, &[batch, 1, heads, dim])))
    }

    /// Writes the rows of queries of the last positions of `len`, `stride` values apart.
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
                // A position's heads follow one another.
                rows: Steps { first: rows.start, step: dim, run: group, jump: queries.stride },
                columns: Steps::even(1),
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
        finish: impl Fn(usize, &Row, &[f32]),
    ) {
        let Self { capacity, dim, .. } = *self;
        let mut rows = [Row::NEW; ROWS];
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
                v: Right {
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

/// Queries `[batch, count, heads, dim]`; those of one position stand close, and positions `stride` apart.
pub(crate) struct Queries<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) batch: usize,
    pub(crate) count: usize,
    pub(crate) heads: usize,
}
