//! Sums over the rows of a matrix, in an order that depends on its size only.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Rows that are summed in f32 before the sum goes on in f64.
const ROWS: usize = 256;

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

/// Lets `add` put sums over blocks of rows of a matrix of `len` values into arrays of `width` floats,
/// and returns their sums. `add` gets the range of the block's values and its array, cleared.
#[inline(always)]
pub(crate) fn blocks(
    len: usize,
    columns: usize,
    width: usize,
    add: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f64> {
    let mut total = vec![0.0; width];
    if len == 0 {
        return total;
    }
    let size = ROWS * columns;
    let count = parallel::parts(len, size);
    let mut partial = Buffer::zeros(count * width);
    let shared = Shared::new(&mut partial);
    let step = 8;
    parallel::tasks(parallel::parts(count, step), |task| {
        for block in parallel::part(count, step, task) {
            // SAFETY: every block has an array of its own.
            let sums = unsafe { shared.part(block * width..(block + 1) * width) };
            let range = parallel::part(len, size, block);
            simd::dispatch(
                #[inline(always)]
                || add(range, sums),
            );
        }
    });
    for sums in partial.chunks_exact(width) {
        for (total, &sum) in total.iter_mut().zip(sums) {
            *total += f64::from(sum);
        }
    }
    total
}
