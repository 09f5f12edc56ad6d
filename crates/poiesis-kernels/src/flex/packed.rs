//! A matrix of weights, packed once for many products.

#![expect(unsafe_code, reason = "tasks write their own panels of one array through `Shared`")]

use std::ops::Range;

use super::gemm::{self, Gemm, Left, Matrix, Product, Right, Write};
use super::parallel::{self, Shared};
use super::pool::Buffer;

/// Matrices of fewer values than this are packed on one thread.
pub(crate) const SMALL: usize = 1 << 16;

/// A matrix in panels of columns, as [`Gemm::multiply`] reads it.
pub(crate) struct Packed {
    gemm: Gemm,
    values: Buffer,
    rows: usize,
    columns: usize,
}

impl Packed {
    pub(crate) fn new(gemm: Gemm, matrix: &Matrix<'_>) -> Self {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let mut values = Buffer::take(gemm.packed_len(rows, columns));
        let shared = Shared::new(&mut values);
        let pack = |panel: usize| {
            let range = gemm.panel_range(rows, columns, panel);
            // SAFETY: panels are disjoint.
            let packed = unsafe { shared.part(range) };
            gemm.pack_panel(packed, matrix, panel);
        };
        let panels = columns.div_ceil(gemm::panel_width());
        if rows * columns < SMALL {
            (0..panels).for_each(pack);
        } else {
            parallel::tasks(panels, pack);
        }
        Self { gemm, values, rows, columns }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The product of `rows` rows with the columns `columns` of this matrix, on this thread; see [`Gemm::multiply`]. The columns
    /// must be whole panels, except that the last panel of the matrix may be narrower.
    pub(crate) fn product(
        &self,
        left: Left<'_>,
        rows: usize,
        columns: Range<usize>,
        write: Write,
        result: &mut [f32],
        stride: usize,
    ) {
        let first = self.gemm.panel_range(self.rows, self.columns, columns.start / gemm::panel_width()).start;
        let right = Right::Packed(&self.values[first..]);
        let product = Product { left, right, rows, depth: self.rows, columns: columns.len(), write };
        self.gemm.multiply(product, result, stride);
    }
}
