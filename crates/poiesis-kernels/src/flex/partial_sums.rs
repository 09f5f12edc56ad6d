//! Sums over parts of many terms, computed side by side and added in a fixed order.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use super::parallel::{self, Shared};
use super::pool::Buffer;

/// The gradient of up to this many weights, or transformed weights, is computed as partial sums over parts of the pixels.
pub(crate) const FEW_WEIGHTS: usize = 5 << 17;

/// Values of every partial sum that a task adds up.
const SUM: usize = 1 << 13;

/// The number of parts that `terms` terms of a sum of `len` values should be split into, each of at least `least` terms: a power
/// of two, so that threads have equal work, and at most 16 MiB of partial sums.
pub(crate) fn count_of_parts(terms: usize, least: usize, len: usize) -> usize {
    let most = ((1 << 22) / len.max(1)).clamp(1, 16);
    1 << (terms / least).clamp(1, most).ilog2()
}

/// Lets `add_part` add each of `count` parts to its own partial sum, and writes the total to `total`.
pub(crate) fn sum_parts(count: usize, total: &mut [f32], add_part: impl Fn(usize, &mut [f32]) + Send + Sync) {
    let len = total.len();
    if count == 1 {
        total.fill(0.0);
        return add_part(0, total);
    }
    let mut sums = Buffer::take(count * len);
    let shared = Shared::new(&mut sums);
    parallel::tasks(count, |part| {
        // SAFETY: every part has its own sum.
        let sum = unsafe { shared.part(part * len..(part + 1) * len) };
        sum.fill(0.0);
        add_part(part, sum);
    });
    parallel::chunks(total, SUM, |index, total| {
        total.fill(0.0);
        for sum in sums.chunks_exact(len.max(1)) {
            add(total, &sum[index * SUM..][..total.len()]);
        }
    });
}

/// Adds `values` to `sums`, element by element.
#[inline(always)]
pub(crate) fn add(sums: &mut [f32], values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}
