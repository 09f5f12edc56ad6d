//! The matrices of a product, and what happens to the old result.

use super::Strides;

/// The left matrix: element `(i, p)` is `values[rows.at(i) + columns.at(p)]`.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    /// Where the elements are.
    pub values: &'a [f32],
    /// Offsets of the rows.
    pub rows: Strides,
    /// Offsets of the columns.
    pub columns: Strides,
    /// Whether the values are pairs of bf16. A pair holds neighbours in the order of the sum, the first in the lower half,
    /// and `columns` are those of pairs. A last column without a neighbour is paired with zero.
    pub rounded: bool,
}

impl<'a> Left<'a> {
    /// Element `(i, p)` is `values[i · row + p · column]`.
    pub fn new(values: &'a [f32], row: usize, column: usize) -> Self {
        Self { values, rows: Strides::even(row), columns: Strides::even(column), rounded: false }
    }

    /// Rows without gaps that begin at `rows`.
    pub(crate) fn of_rows(values: &'a [f32], rows: Strides) -> Self {
        Self { values, rows, columns: Strides::even(1), rounded: false }
    }

    /// Columns without gaps that begin at `columns`.
    pub(crate) fn of_columns(values: &'a [f32], columns: Strides) -> Self {
        Self { values, rows: Strides::even(1), columns, rounded: false }
    }
}

/// The right matrix.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// In the layout of [`Gemm::pack`](super::Gemm::pack).
    Packed(&'a [f32]),
    /// Not packed, with this distance between rows, where [`Gemm::reads_in_place`](super::Gemm::reads_in_place). Where
    /// threads share the work, packing costs more than its own time, because each thread must fetch what the others packed.
    InPlace(&'a [f32], usize),
}

/// A right matrix before it is packed: element `(r, j)` is `values[r · row_stride + j · column_stride]`. Rows may come in
/// blocks of equal size, of which each begins at an offset of its own.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) blocks: &'a [usize],
    pub(super) block_rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix of `[rows, columns]` with these distances between rows and between columns. One of the two distances must be 1.
    pub fn strided(
        values: &'a [f32],
        [rows, columns]: [usize; 2],
        [row_stride, column_stride]: [usize; 2],
    ) -> Self {
        Self { values, blocks: &[0], block_rows: rows, columns, row_stride, column_stride }
    }

    /// One such matrix below the other: block `b` begins at `values[blocks[b]]`.
    pub(crate) fn in_blocks(self, blocks: &'a [usize]) -> Self {
        Self { blocks, ..self }
    }

    pub(crate) fn rows(&self) -> usize {
        self.blocks.len() * self.block_rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }
}

/// What happens to the old result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// It is overwritten.
    Replace,
    /// The product is added to it.
    Add,
}
