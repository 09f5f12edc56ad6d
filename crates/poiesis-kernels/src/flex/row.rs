//! Product of one row with a matrix that is not packed: where a matrix is read only once, packing would cost more than the
//! product.

#![expect(unsafe_code, reason = "the inner kernel reads through raw pointers")]

use super::simd;
use pulp::{Simd, WithSimd};

/// `y[j] = Σ x[k] · weight[k · stride + j]`, for every `j` a chain of fused multiply-adds in the order of `k`, with the same
/// bits as a row of [`Gemm::multiply`](super::gemm::Gemm::multiply).
pub fn product(x: &[f32], weight: &[f32], stride: usize, y: &mut [f32]) {
    if x.is_empty() || y.is_empty() {
        y.fill(0.0);
        return;
    }
    assert!(y.len() <= stride && (x.len() - 1) * stride + y.len() <= weight.len());
    simd::dispatch(Row { x, weight, stride, y });
}

struct Row<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    stride: usize,
    y: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        let whole = self.y.len() / lanes;
        let (y, rest) = self.y.split_at_mut(whole * lanes);
        let mut first = 0;
        while first < whole {
            // SAFETY: `product` has checked that rows of `y.len()` columns, `stride` apart, are inside `weight`.
            let count = unsafe {
                let weight = self.weight.as_ptr().add(first * lanes);
                let y = &mut y[first * lanes..];
                match whole - first {
                    8.. => vectors::<S, 8>(simd, self.x, weight, self.stride, y),
                    4.. => vectors::<S, 4>(simd, self.x, weight, self.stride, y),
                    2.. => vectors::<S, 2>(simd, self.x, weight, self.stride, y),
                    _ => vectors::<S, 1>(simd, self.x, weight, self.stride, y),
                }
            };
            first += count;
        }
        if !rest.is_empty() {
            let mut sum = simd.splat_f32s(0.0);
            for (k, &x) in self.x.iter().enumerate() {
                let weight = &self.weight[k * self.stride + whole * lanes..][..rest.len()];
                sum = simd.mul_add_e_f32s(simd.splat_f32s(x), simd.partial_load_f32s(weight), sum);
            }
            simd.partial_store_f32s(rest, sum);
        }
    }
}

/// `VECTORS` vectors of the result, whose sums stay in registers; returns their number.
///
/// # Safety
///
/// `VECTORS` vectors must be readable at `weight + k · stride` for every `k` below `x.len()`.
#[inline(always)]
unsafe fn vectors<S: Simd, const VECTORS: usize>(
    simd: S,
    x: &[f32],
    weight: *const f32,
    stride: usize,
    y: &mut [f32],
) -> usize {
    let lanes = S::F32_LANES;
    let mut sums = [simd.splat_f32s(0.0); VECTORS];
    for (k, &x) in x.iter().enumerate() {
        let factor = simd.splat_f32s(x);
        for (v, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller promises that these vectors are inside the matrix.
            let right = unsafe { weight.add(k * stride + v * lanes).cast::<S::f32s>().read_unaligned() };
            *sum = simd.mul_add_e_f32s(factor, right, *sum);
        }
    }
    for (y, &sum) in y.chunks_exact_mut(lanes).zip(&sums) {
        simd.partial_store_f32s(y, sum);
    }
    VECTORS
}
