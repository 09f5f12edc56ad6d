//! Vectors of all products: loading, storing, and rounding to pairs of bf16.

#![expect(unsafe_code, reason = "the transforms use dozens of pointers at once")]

use pulp::Simd;

use super::super::grid::TransformLayout;
use super::super::scheme::unrolled;
use crate::flex::parallel::Shared;

/// Entries of two values each, rounded to the nearest bf16, ties to even; `a` is the lower half. No NaN that arithmetic
/// produces is rounded to a number.
#[inline(always)]
pub(super) fn pairs<S: Simd, const POINTS: usize>(
    simd: S,
    a: [[S::f32s; POINTS]; POINTS],
    b: [[S::f32s; POINTS]; POINTS],
) -> [[S::f32s; POINTS]; POINTS] {
    let mut entries = a;
    unrolled!(j < POINTS => {
        unrolled!(i < POINTS => {
            let low = simd.wrapping_dyn_shr_u32s(rounded(simd, a[j][i]), simd.splat_u32s(16));
            let high = simd.and_u32s(rounded(simd, b[j][i]), simd.splat_u32s(0xffff_0000));
            entries[j][i] = simd.transmute_f32s_u32s(simd.or_u32s(low, high));
        });
    });
    entries
}

impl TransformLayout {
    /// Stores the vectors of all products from `at` in the first product on.
    ///
    /// # Safety
    ///
    /// Nothing else may use these entries at the same time.
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd, const POINTS: usize>(
        &self,
        _simd: S,
        result: &Shared<'_>,
        at: usize,
        values: [[S::f32s; POINTS]; POINTS],
    ) {
        let product = self.product();
        assert!(at + (POINTS * POINTS - 1) * product + S::F32_LANES <= result.len());
        let first = result.pointer(at);
        unrolled!(j < POINTS => {
            unrolled!(i < POINTS => {
                // SAFETY: the last of the vectors is inside the array, and nothing else uses any of them.
                unsafe { store(first.wrapping_add((POINTS * j + i) * product), values[j][i]) };
            });
        });
    }
}

/// The bits of values whose upper halves are the nearest bf16.
#[inline(always)]
fn rounded<S: Simd>(simd: S, x: S::f32s) -> S::u32s {
    let bits = simd.transmute_u32s_f32s(x);
    let odd = simd.and_u32s(simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16)), simd.splat_u32s(1));
    simd.add_u32s(bits, simd.add_u32s(simd.splat_u32s(0x7fff), odd))
}

impl TransformLayout {
    /// The vectors of all products from `at` in the first product on.
    #[inline(always)]
    pub(super) fn load<S: Simd, const POINTS: usize>(
        &self,
        simd: S,
        products: &[f32],
        at: usize,
    ) -> [[S::f32s; POINTS]; POINTS] {
        let product = self.product();
        let first = products[at..at + (POINTS * POINTS - 1) * product + S::F32_LANES].as_ptr();
        let mut values = [[simd.splat_f32s(0.0); POINTS]; POINTS];
        unrolled!(j < POINTS => {
            unrolled!(i < POINTS => {
                // SAFETY: the slice begins with the first vector and ends with the last.
                values[j][i] = unsafe { load::<S>(first.wrapping_add((POINTS * j + i) * product)) };
            });
        });
        values
    }
}

/// Loads a vector.
///
/// # Safety
///
/// A vector's values must be readable from `source` on.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(source: *const f32) -> S::f32s {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { source.cast::<S::f32s>().read_unaligned() }
}

/// Stores a vector.
///
/// # Safety
///
/// A vector's values must be writable from `target` on.
#[inline(always)]
pub(super) unsafe fn store<V>(target: *mut f32, value: V) {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { target.cast::<V>().write_unaligned(value) }
}
