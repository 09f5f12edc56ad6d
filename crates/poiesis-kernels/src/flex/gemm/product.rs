//! One matrix product: its sizes, its checks, and how it is cut into panels and tiles.

#![expect(unsafe_code, reason = "the result is written through a raw pointer")]

use pulp::{Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
use super::bf16;
use super::tile::{Column, Pointers, tile, tile_rows, tiles, vectors};
use super::{Gemm, Left, Right, Strides, Write};
use crate::flex::parallel::Shared;
use crate::flex::simd;

/// Rows of the right matrix that are processed together, so that a panel of them stays in the L1 cache.
pub(super) const DEPTH: usize = 128;

/// The product of `left` (`rows × depth`) and `right` (`depth × columns`).
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// The left matrix.
    pub left: Left<'a>,
    /// The right matrix.
    pub right: Right<'a>,
    /// Rows of the left matrix and of the result.
    pub rows: usize,
    /// Columns of the left matrix and rows of the right one.
    pub depth: usize,
    /// Columns of the right matrix and of the result.
    pub columns: usize,
    /// What happens to the old result.
    pub write: Write,
}

impl Gemm {
    /// Writes `product` or adds it to `result`, on this thread. Row `i` of the result starts at `result[i · stride]`.
    pub fn multiply(self, product: Product<'_>, result: &mut [f32], stride: usize) {
        let Product { rows, columns, .. } = product;
        if rows == 0 || columns == 0 {
            return;
        }
        assert!((rows - 1) * stride + columns <= result.len());
        let call =
            Call { gemm: self, product, result: result.as_mut_ptr(), result_rows: Strides::even(stride) };
        // SAFETY: the result is borrowed mutably and reaches to the last column of the last row.
        unsafe { call.run() }
    }

    /// [`Gemm::multiply`] into an array that other tasks write too. Row `i` of the result starts at element
    /// `at + result_rows.at(i)`.
    ///
    /// # Safety
    ///
    /// Nothing else reads or writes the `columns` columns of the `rows` rows of the result at the same time.
    pub(crate) unsafe fn multiply_shared(
        self,
        product: Product<'_>,
        result: &Shared<'_>,
        at: usize,
        result_rows: Strides,
    ) {
        let Product { rows, columns, .. } = product;
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(at + result_rows.last(rows) + columns <= result.len());
        let call = Call { gemm: self, product, result: result.pointer(at), result_rows };
        // SAFETY: the result reaches to the last column of the last row, and the caller promises that nothing else uses it.
        unsafe { call.run() }
    }
}

/// A product and the place of its result.
pub(super) struct Call<'a> {
    gemm: Gemm,
    pub(super) product: Product<'a>,
    pub(super) result: *mut f32,
    pub(super) result_rows: Strides,
}

impl Call<'_> {
    /// # Safety
    ///
    /// `result` points to `columns` values in each of `rows` rows, at least one, that nothing else reads or writes.
    unsafe fn run(self) {
        let Product { left, right, rows, depth, columns, write } = self.product;
        if depth > 0 {
            assert!(self.gemm.rounds() || !left.rounded);
            let left_depth = if left.rounded { depth.div_ceil(2) } else { depth };
            assert!(left.rows.last(rows) + left.columns.last(left_depth) < left.values.len());
            match right {
                Right::Packed(packed) => assert!(packed.len() >= self.gemm.packed_len(depth, columns)),
                Right::InPlace(values, row) => {
                    assert!(self.gemm.reads_in_place(columns) && values.len() >= (depth - 1) * row + columns);
                }
            }
            #[cfg(target_arch = "x86_64")]
            if self.gemm.rounds() {
                // SAFETY: both matrices are complete and the caller promises the result; `Bf16` is only chosen where the
                // processor has it.
                return unsafe { bf16::multiply(&self) };
            }
            simd::dispatch(self);
        } else if write == Write::Replace {
            for row in 0..rows {
                // SAFETY: the caller promises this row.
                let row = unsafe {
                    std::slice::from_raw_parts_mut(
                        self.result.wrapping_add(self.result_rows.at(row)),
                        columns,
                    )
                };
                row.fill(0.0);
            }
        }
    }

    /// The right matrix from row `start` on, the panel of `width` columns from `first` on, and the distance of its rows.
    #[inline(always)]
    fn panel(&self, first: usize, start: usize, width: usize) -> (&[f32], usize) {
        match self.product.right {
            Right::Packed(packed) => (&packed[first * self.product.depth + start * width..], width),
            Right::InPlace(values, row) => (&values[start * row + first..], row),
        }
    }
}

impl WithSimd for Call<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        let full = vectors::<S>() * lanes;
        let Product { left, rows, depth: whole_depth, columns: whole_columns, write, .. } = self.product;
        let columns = left.columns;
        for start in (0..whole_depth).step_by(DEPTH) {
            let depth = DEPTH.min(whole_depth - start);
            for first in (0..whole_columns).step_by(full) {
                let width = full.min(whole_columns - first);
                let count = width.div_ceil(lanes);
                let (right, right_row) = self.panel(first, start, count * lanes);
                for tiles in tiles(left.rows, self.result_rows, rows, tile_rows::<S>(count)) {
                    let offset = left.rows.at(tiles.first) + columns.at(start);
                    let tile = Pointers {
                        tiles: tiles.count,
                        left: left.values[offset..].as_ptr(),
                        left_row: left.rows.step,
                        left_column: columns.step,
                        run: columns.run,
                        left_in_run: columns.left_in_run(start),
                        jump: columns.jump.wrapping_sub(columns.run.wrapping_mul(columns.step)),
                        right: right.as_ptr(),
                        right_row,
                        depth,
                        result: self.result.wrapping_add(self.result_rows.at(tiles.first) + first),
                        stride: self.result_rows.step,
                        last: width - (count - 1) * lanes,
                        add: start > 0 || write == Write::Add,
                    };
                    macro_rules! run {
                        ($rows:literal, $vectors:literal) => {
                            // Tiles that this instruction set never cuts are not compiled for it: they would take longest.
                            if const { $vectors <= vectors::<S>() && $rows <= tile_rows::<S>($vectors) } {
                                simd.vectorize(Column::<$rows, $vectors>(tile));
                            } else {
                                unreachable!("tiles fit the registers");
                            }
                        };
                    }
                    tile!((tiles.rows, count), run);
                }
            }
        }
    }
}
