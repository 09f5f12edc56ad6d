//! Sums over the rows of a matrix, in an order that depends on its size only.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use std::ops::Range;

use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Rows that are summed in f32 before they are added in f64.
const ROWS: usize = 256;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// Sums that run side by side.
pub(crate) const LANES: usize = 32;

/// Values that are summed in f32 before they are added in f64.
pub(crate) const RUN: usize = 1 << 12;

/// The sum of each column of a matrix with `columns` columns.
pub(crate) fn columns(matrix: &[f32], columns: usize) -> Buffer {
    let mut total = Buffer::take(columns);
    let sums = blocks(matrix.len(), columns, columns, |range, sums| {
        for row in matrix[range].chunks_exact(columns) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    });
    for (total, sum) in total.iter_mut().zip(sums) {
        *total = sum as f32;
    }
    total
}

/// Lets `add` write sums over blocks of rows of a matrix of `len` values to arrays of `width` floats,
/// and returns their sums. `add` receives the range of the values of a block and its array, filled with zeros.
#[inline(always)]
pub(crate) fn blocks(
    len: usize,
    columns: usize,
    width: usize,
    add: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f64> {
    examples(1, len, columns, width, add)
}

/// The same for each of `count` consecutive matrices of `len` values; returns `width` sums of each.
#[inline(always)]
pub(crate) fn examples(
    count: usize,
    len: usize,
    columns: usize,
    width: usize,
    add: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f64> {
    let mut total = vec![0.0; count * width];
    if len == 0 {
        return total;
    }
    let size = ROWS * columns;
    let each = parallel::parts(len, size);
    let mut partial = Buffer::zeros(count * each * width);
    let shared = Shared::new(&mut partial);
    let step = PART.div_ceil(size.min(len));
    parallel::tasks(parallel::parts(count * each, step), |task| {
        for block in parallel::part(count * each, step, task) {
            // SAFETY: every block has its own array.
            let sums = unsafe { shared.part(block * width..(block + 1) * width) };
            let start = block / each * len;
            let range = parallel::part(len, size, block % each);
            simd::run(
                #[inline(always)]
                || add(start + range.start..start + range.end, sums),
            );
        }
    });
    for (total, sums) in total.chunks_exact_mut(width).zip(partial.chunks_exact(each * width)) {
        for sums in sums.chunks_exact(width) {
            for (total, &sum) in total.iter_mut().zip(sums) {
                *total += f64::from(sum);
            }
        }
    }
    total
}

/// The sum of `term` of every value, in [`LANES`] sums side by side, so that the loop vectorises and its order is
/// fixed.
#[inline(always)]
pub(crate) fn of_terms(values: &[f32], term: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for values in values.chunks(RUN) {
        let mut sums = [0.0f32; LANES];
        let chunks = values.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (sum, &value) in sums.iter_mut().zip(chunk) {
                *sum += term(value);
            }
        }
        for (sum, &value) in sums.iter_mut().zip(rest) {
            *sum += term(value);
        }
        total += f64::from(of_lanes(sums));
    }
    total
}

/// The total of [`LANES`] partial sums: one half is added to the other until one value is left.
#[inline(always)]
pub(crate) fn of_lanes(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = sums.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        half /= 2;
    }
    sums[0]
}

/// Adds to `sums`, for each channel of some rows, its differences from `pivot`, followed by their squares.
#[inline(always)]
pub(crate) fn add_differences(rows: &[f32], pivot: &[f32], sums: &mut [f32]) {
    let channels = pivot.len();
    let (first, second) = sums.split_at_mut(channels);
    for row in rows.chunks_exact(channels) {
        let first = &mut first[..row.len()];
        let second = &mut second[..row.len()];
        let pivot = &pivot[..row.len()];
        for c in 0..row.len() {
            let d = row[c] - pivot[c];
            first[c] += d;
            second[c] += d * d;
        }
    }
}
