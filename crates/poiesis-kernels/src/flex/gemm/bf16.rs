//! The matrix product with factors of bf16 and sums of f32, by the instruction for pairs of them (AVX512-BF16).
//!
//! Packing rounds the right matrix to pairs of neighbours in the order of the sum. If the left matrix is not rounded already,
//! blocks of [`DEPTH`] columns of [`ROWS`] rows are rounded into a buffer that stays in the cache and is used for all panels
//! of a call. The order of each element's sum depends on the depth alone.

#![expect(unsafe_code, reason = "vector instructions that not every processor has, through raw pointers")]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_epi32,
    _mm512_loadu_ps, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};
use std::cell::RefCell;
use std::mem::transmute;
use std::ops::Range;

use pulp::x86::V4;

use super::packing::Panel;
use super::product::Call;
use super::tile::{tile, tile_rows, tiles};
use super::{Left, Product, Right, Strides, Write};
use crate::flex::parallel;

/// Columns of the left matrix in a block.
const DEPTH: usize = 128;

/// Pairs of columns in a block.
const PAIRS: usize = DEPTH / 2;

/// Rows of the left matrix in a block; a multiple of the rows of every tile.
const ROWS: usize = 96;

// Lines of the left matrix are its rows or its columns.
const _: () = assert!(ROWS <= DEPTH);

/// Values in a vector.
const LANES: usize = 16;

/// Vectors in a row of a panel.
const VECTORS: usize = 4;

/// The partner of the last of an odd number of lines.
const ZEROS: [f32; DEPTH] = [0.0; DEPTH];

/// Scratch of a thread.
#[repr(align(64))]
struct Blocks {
    /// A rounded block of the left matrix. An element holds a pair, the first value in the lower half.
    left: [u32; ROWS * PAIRS],
    /// Lines of the left matrix that are not contiguous in memory.
    lines: [[f32; DEPTH]; 2],
    /// Rows of a panel before they are rounded.
    right: [f32; DEPTH * VECTORS * LANES],
}

thread_local! {
    static BLOCKS: RefCell<Box<Blocks>> = RefCell::new(Box::new(Blocks {
        left: [0; ROWS * PAIRS],
        lines: [[0.0; DEPTH]; 2],
        right: [0.0; DEPTH * VECTORS * LANES],
    }));
}

/// Rounds the rows of a panel to pairs, an odd last one with zeros.
///
/// # Safety
///
/// The processor has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn pack_panel(panel: &Panel<'_>, packed: &mut [f32]) {
    let (stride, rows) = (panel.stride, panel.matrix.rows());
    let packed: &mut [u32] = bytemuck::cast_slice_mut(packed);
    BLOCKS.with_borrow_mut(|blocks| {
        for start in (0..rows).step_by(DEPTH) {
            let count = DEPTH.min(rows - start);
            let copy = &mut blocks.right[..count * stride];
            panel.copy(start..start + count, copy);
            let pairs = packed[start / 2 * stride..].chunks_exact_mut(stride);
            for (two, pairs) in copy.chunks(2 * stride).zip(pairs) {
                let (a, b) = two.split_at(stride);
                interleave(a, if b.is_empty() { &ZEROS[..stride] } else { b }, pairs);
            }
        }
    });
}

/// # Safety
///
/// Both matrices are complete, the result is this call's own as [`Call::run`] demands, and the processor has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn multiply(call: &Call<'_>) {
    let Product { left, rows, depth, .. } = call.product;
    if left.rounded {
        let values: &[u32] = bytemuck::cast_slice(left.values);
        for start in (0..depth).step_by(DEPTH) {
            let from = left.columns.skip(start / 2);
            let block =
                Block { left: values.as_ptr(), rows: left.rows, columns: from, count: rows, first_row: 0 };
            // SAFETY: the caller's promise.
            unsafe { block.multiply(call, start) };
        }
        return;
    }
    BLOCKS.with_borrow_mut(|blocks| {
        for start in (0..depth).step_by(DEPTH) {
            for part in 0..parallel::parts(rows, ROWS) {
                let part = parallel::part(rows, ROWS, part);
                let (row, pair) = round_left(left, part.clone(), start, DEPTH.min(depth - start), blocks);
                let block = Block {
                    left: blocks.left.as_ptr(),
                    rows: Strides::even(row),
                    columns: Strides::even(pair),
                    count: part.len(),
                    first_row: part.start,
                };
                // SAFETY: the block is in the scratch, and the caller promises the rest.
                unsafe { block.multiply(call, start) };
            }
        }
    });
}

/// A rounded block of the left matrix: element `(i, p)` of pairs is `left[rows.at(i) + columns.at(p)]`.
struct Block {
    left: *const u32,
    rows: Strides,
    columns: Strides,
    /// Number of rows, and the row of the result that the first one belongs to.
    count: usize,
    first_row: usize,
}

impl Block {
    /// Multiplies with the rows of all panels from `start` on.
    ///
    /// # Safety
    ///
    /// The block has as many pairs as that, the right matrix is complete, and the result is this call's own.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn multiply(&self, call: &Call<'_>, start: usize) {
        let product = call.product;
        let Right::Packed(packed) = product.right else {
            unreachable!("bf16 products need a packed right matrix")
        };
        let packed: &[u32] = bytemuck::cast_slice(packed);
        let pairs = DEPTH.min(product.depth - start).div_ceil(2);
        let panel = VECTORS * LANES;
        for first in (0..product.columns).step_by(panel) {
            let width = panel.min(product.columns - first);
            let vectors = width.div_ceil(LANES);
            let result_rows = call.result_rows.skip(self.first_row);
            let right = &packed[first * product.depth.div_ceil(2) + start / 2 * vectors * LANES..];
            assert!(right.len() >= pairs * vectors * LANES);
            for tiles in tiles(self.rows, result_rows, self.count, tile_rows::<V4>(vectors)) {
                let column = Column {
                    tiles: tiles.count,
                    left: self.left.wrapping_add(self.rows.at(tiles.first) + self.columns.at(0)),
                    left_row: self.rows.step,
                    left_pair: self.columns.step,
                    run: self.columns.run,
                    left_in_run: self.columns.left_in_run(0),
                    jump: self.columns.jump.wrapping_sub(self.columns.run.wrapping_mul(self.columns.step)),
                    right: right.as_ptr(),
                    pairs,
                    result: call.result.wrapping_add(result_rows.at(tiles.first) + first),
                    stride: result_rows.step,
                    last: mask(width - (vectors - 1) * LANES),
                    add: start > 0 || product.write == Write::Add,
                };
                macro_rules! run {
                    ($rows:literal, $vectors:literal) => {
                        // SAFETY: the caller's promise, and the panel has `pairs` pairs of rows from `right` on.
                        unsafe { column.run::<$rows, $vectors>() }
                    };
                }
                tile!((tiles.rows, vectors), run);
            }
        }
    }
}

/// Rounds the rows `rows`, columns from `start` on, into the left block; returns the distances of its rows and its pairs. Of an
/// odd number of columns the last is paired with zero.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn round_left(
    left: Left<'_>,
    rows: Range<usize>,
    start: usize,
    depth: usize,
    blocks: &mut Blocks,
) -> (usize, usize) {
    let [first, second] = &mut blocks.lines;
    let count = rows.len();
    if left.columns.step == 1 {
        for (row, pairs) in rows.zip(blocks.left.chunks_exact_mut(PAIRS)) {
            let line = line(left.values, left.rows.at(row), left.columns, start, &mut first[..depth]);
            round(line, &mut pairs[..depth.div_ceil(2)]);
        }
        return (PAIRS, 1);
    }
    for (pair, block) in blocks.left.chunks_exact_mut(ROWS).take(depth.div_ceil(2)).enumerate() {
        let column = start + 2 * pair;
        let a = line(left.values, left.columns.at(column), left.rows, rows.start, &mut first[..count]);
        let b = if 2 * pair + 1 < depth {
            line(left.values, left.columns.at(column + 1), left.rows, rows.start, &mut second[..count])
        } else {
            &ZEROS[..count]
        };
        interleave(a, b, &mut block[..count]);
    }
    (1, ROWS)
}

/// The elements `at + steps.at(start) …` of `values`, as many as `copy` has, copied only if they are not contiguous.
#[inline(always)]
fn line<'a>(values: &'a [f32], at: usize, steps: Strides, start: usize, copy: &'a mut [f32]) -> &'a [f32] {
    if steps.step == 1 && copy.len() <= steps.left_in_run(start) {
        return &values[at + steps.at(start)..][..copy.len()];
    }
    let mut done = 0;
    while done < copy.len() {
        let run = steps.left_in_run(start + done).min(copy.len() - done);
        let (to, from) = (&mut copy[done..done + run], &values[at + steps.at(start + done)..]);
        if steps.step == 1 {
            to.copy_from_slice(&from[..run]);
        } else {
            for (to, from) in to.iter_mut().zip(from.iter().step_by(steps.step.max(1))) {
                *to = *from;
            }
        }
        done += run;
    }
    copy
}

/// The first `count` lanes, all for more.
fn mask(count: usize) -> __mmask16 {
    if count >= LANES { !0 } else { (1 << count) - 1 }
}

/// Loads a vector.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn load(values: &[f32; LANES]) -> __m512 {
    // SAFETY: the array has exactly the values that are read.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

/// Loads fewer values than a vector has, followed by zeros.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn load_part(values: &[f32]) -> __m512 {
    // SAFETY: lanes past the end of the slice are not read.
    unsafe { _mm512_maskz_loadu_ps(mask(values.len()), values.as_ptr()) }
}

/// Stores the first lanes of `pairs`, as many as `to` has.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn store(pairs: __m512i, to: &mut [u32]) {
    // SAFETY: lanes past the end of the slice are not written.
    unsafe { _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), mask(to.len()), pairs) }
}

/// `a` followed by `b`, rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn round_vectors(a: __m512, b: __m512) -> __m512i {
    // SAFETY: vectors of 512 bits, all of whose values are valid.
    unsafe { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a)) }
}

/// Rounds values; neighbours make a pair.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn round(values: &[f32], pairs: &mut [u32]) {
    for (values, pairs) in values.chunks(2 * LANES).zip(pairs.chunks_mut(LANES)) {
        let (vectors, rest) = values.as_chunks::<LANES>();
        let rounded = match vectors {
            [a, b] => round_vectors(load(a), load(b)),
            [a] => round_vectors(load(a), load_part(rest)),
            _ => round_vectors(load_part(rest), _mm512_setzero_ps()),
        };
        store(rounded, pairs);
    }
}

/// Rounds values; a pair holds one value of `a` and one of `b`.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn interleave(a: &[f32], b: &[f32], pairs: &mut [u32]) {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut lane = 0;
        while lane < LANES {
            order[2 * lane] = lane as u16;
            order[2 * lane + 1] = (LANES + lane) as u16;
            lane += 1;
        }
        order
    };
    // SAFETY: vectors of 512 bits, all of whose values are valid.
    let order = unsafe { transmute::<[u16; 32], __m512i>(ORDER) };
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let (full, rest) = pairs.as_chunks_mut::<LANES>();
    for ((a, b), pairs) in a.iter().zip(b).zip(full) {
        store(_mm512_permutexvar_epi16(order, round_vectors(load(a), load(b))), pairs);
    }
    if !rest.is_empty() {
        let rounded = round_vectors(load_part(rest_a), load_part(rest_b));
        store(_mm512_permutexvar_epi16(order, rounded), rest);
    }
}

/// Tiles of the result, one below the other; rows and pairs of the left block are `left_row` and `left_pair` apart.
struct Column {
    tiles: usize,
    left: *const u32,
    left_row: usize,
    left_pair: usize,
    /// Pairs in a run, pairs of the first run, and the distance added after a run.
    run: usize,
    left_in_run: usize,
    jump: usize,
    right: *const u32,
    pairs: usize,
    result: *mut f32,
    stride: usize,
    /// The columns of the last vector that exist.
    last: __mmask16,
    add: bool,
}

impl Column {
    /// # Safety
    ///
    /// The blocks reach to the last pair of the last row and column, and the result is this call's own.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn run<const ROWS: usize, const VECTORS: usize>(&self) {
        for tile in 0..self.tiles {
            // SAFETY: the caller's promise.
            unsafe { self.tile::<ROWS, VECTORS>(tile * ROWS) };
        }
    }

    /// The tile from row `first` on.
    ///
    /// # Safety
    ///
    /// As for all tiles.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    #[inline]
    #[expect(clippy::needless_range_loop, reason = "indices over registers")]
    unsafe fn tile<const ROWS: usize, const VECTORS: usize>(&self, first: usize) {
        let first_left = self.left.wrapping_add(first * self.left_row);
        let first_result = self.result.wrapping_add(first * self.stride);
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        // SAFETY: the caller's promise; of the last vector only what exists is read and written.
        unsafe {
            if self.add {
                for i in 0..ROWS {
                    let result = first_result.wrapping_add(i * self.stride);
                    for v in 0..VECTORS - 1 {
                        sums[i][v] = _mm512_loadu_ps(result.wrapping_add(v * LANES));
                    }
                    let last = result.wrapping_add((VECTORS - 1) * LANES);
                    sums[i][VECTORS - 1] = _mm512_maskz_loadu_ps(self.last, last);
                }
            }
            let mut left = first_left;
            let mut right = self.right;
            let mut pairs = self.pairs;
            let mut run = self.left_in_run.min(pairs);
            loop {
                for _ in 0..run {
                    let mut columns = [transmute::<__m512i, __m512bh>(_mm512_set1_epi32(0)); VECTORS];
                    for v in 0..VECTORS {
                        let column = _mm512_loadu_epi32(right.wrapping_add(v * LANES).cast());
                        columns[v] = transmute::<__m512i, __m512bh>(column);
                    }
                    for i in 0..ROWS {
                        let factor = left.wrapping_add(i * self.left_row).read();
                        let factor = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(factor.cast_signed()));
                        for v in 0..VECTORS {
                            sums[i][v] = _mm512_dpbf16_ps(sums[i][v], factor, columns[v]);
                        }
                    }
                    left = left.wrapping_add(self.left_pair);
                    right = right.wrapping_add(VECTORS * LANES);
                }
                pairs -= run;
                if pairs == 0 {
                    break;
                }
                left = left.wrapping_add(self.jump);
                run = self.run.min(pairs);
            }
            for i in 0..ROWS {
                let result = first_result.wrapping_add(i * self.stride);
                for v in 0..VECTORS - 1 {
                    _mm512_storeu_ps(result.wrapping_add(v * LANES), sums[i][v]);
                }
                let last = result.wrapping_add((VECTORS - 1) * LANES);
                _mm512_mask_storeu_ps(last, self.last, sums[i][VECTORS - 1]);
            }
        }
    }
}
