//! Transposing matrices by squares of eight rows and columns, which are transposed in registers.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::__m256;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use pulp::{Simd, WithSimd, x86::V3};

#[cfg(target_arch = "x86_64")]
use super::simd;

/// Rows and columns of a square.
const SIDE: usize = 8;

/// Writes column `c` of a matrix as row `c`: `target[c · target_stride + r] = source[r · source_stride + c]`.
pub fn transpose(
    source: &[f32],
    source_stride: usize,
    [rows, columns]: [usize; 2],
    target: &mut [f32],
    target_stride: usize,
) {
    let mut work = Transpose { source, source_stride, rows, columns, target, target_stride };
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = simd::avx2() {
        return Simd::vectorize(simd, Squares(work, simd));
    }
    // By squares too, so that the values stay in the L1 cache while they are read by rows and written by columns.
    for row in (0..rows).step_by(SIDE) {
        for column in (0..columns).step_by(SIDE) {
            work.one_by_one(row..(row + SIDE).min(rows), column..(column + SIDE).min(columns));
        }
    }
}

struct Transpose<'a> {
    source: &'a [f32],
    source_stride: usize,
    rows: usize,
    columns: usize,
    target: &'a mut [f32],
    target_stride: usize,
}

impl Transpose<'_> {
    #[inline(always)]
    fn one_by_one(&mut self, rows: Range<usize>, columns: Range<usize>) {
        for r in rows {
            for c in columns.clone() {
                self.target[c * self.target_stride + r] = self.source[r * self.source_stride + c];
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
struct Squares<'a>(Transpose<'a>, V3);

#[cfg(target_arch = "x86_64")]
impl WithSimd for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self(mut work, simd) = self;
        let (rows, columns) = (work.rows / SIDE * SIDE, work.columns / SIDE * SIDE);
        for row in (0..rows).step_by(SIDE) {
            for column in (0..columns).step_by(SIDE) {
                let mut square = [[0.0; SIDE]; SIDE];
                for (r, line) in square.iter_mut().enumerate() {
                    line.copy_from_slice(&work.source[(row + r) * work.source_stride + column..][..SIDE]);
                }
                for (c, line) in transposed(simd, square).into_iter().enumerate() {
                    let at = (column + c) * work.target_stride + row;
                    work.target[at..at + SIDE].copy_from_slice(&line);
                }
            }
        }
        work.one_by_one(0..rows, columns..work.columns);
        work.one_by_one(rows..work.rows, 0..work.columns);
    }
}

/// The transposed square: the halves of rows are exchanged last.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(simd: V3, square: [[f32; SIDE]; SIDE]) -> [[f32; SIDE]; SIDE] {
    const LOW: i32 = 0x20;
    const HIGH: i32 = 0x31;
    let [a, b, c, d, e, f, g, h] = square.map(bytemuck::cast);
    let (upper, lower) = (halves_transposed(simd, [a, b, c, d]), halves_transposed(simd, [e, f, g, h]));
    let mut columns = [[0.0; SIDE]; SIDE];
    for i in 0..SIDE / 2 {
        columns[i] = bytemuck::cast(simd.avx._mm256_permute2f128_ps::<LOW>(upper[i], lower[i]));
        columns[i + 4] = bytemuck::cast(simd.avx._mm256_permute2f128_ps::<HIGH>(upper[i], lower[i]));
    }
    columns
}

/// The two 4×4 squares of four rows, each transposed: pairs of rows are interleaved, then pairs of pairs.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn halves_transposed(simd: V3, [a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
    /// The first two values of each half, and the last two.
    const FIRST: i32 = 0b01_00_01_00;
    const LAST: i32 = 0b11_10_11_10;
    let avx = simd.avx;
    let (ab, ab_behind) = (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpackhi_ps(a, b));
    let (cd, cd_behind) = (avx._mm256_unpacklo_ps(c, d), avx._mm256_unpackhi_ps(c, d));
    [
        avx._mm256_shuffle_ps::<FIRST>(ab, cd),
        avx._mm256_shuffle_ps::<LAST>(ab, cd),
        avx._mm256_shuffle_ps::<FIRST>(ab_behind, cd_behind),
        avx._mm256_shuffle_ps::<LAST>(ab_behind, cd_behind),
    ]
}
