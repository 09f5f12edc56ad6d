//! Packing of right matrices into panels of columns, and rounding of left matrices to bf16.

#![expect(unsafe_code, reason = "packing for bf16 uses instructions that not every processor has")]

use std::ops::Range;

use pulp::{Simd, WithSimd};

#[cfg(target_arch = "x86_64")]
use super::bf16;
use super::tile::vectors;
use super::{Gemm, Matrix};
use crate::flex::simd;
use crate::flex::transpose::transpose;
use crate::precision::Precision;

/// Number of columns in a panel on this machine.
pub(crate) fn panel_width() -> usize {
    simd::dispatch(PanelWidth).0
}

/// Columns of a panel and values of a vector.
struct PanelWidth;

impl WithSimd for PanelWidth {
    type Output = (usize, usize);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> (usize, usize) {
        (vectors::<S>() * S::F32_LANES, S::F32_LANES)
    }
}

impl Gemm {
    /// Whether this many columns of a right matrix, adjacent in memory, can be read without packing.
    pub(crate) fn reads_in_place(self, columns: usize) -> bool {
        !self.rounds() && columns.is_multiple_of(simd::dispatch(PanelWidth).1)
    }

    /// `matrix` with `columns` columns without gaps, if packing would leave it unchanged.
    pub(crate) fn packed_already(self, matrix: &[f32], columns: usize) -> Option<&[f32]> {
        (columns <= panel_width() && self.reads_in_place(columns)).then_some(matrix)
    }

    /// Rows of entries that `rows` rows of a right matrix are packed to.
    fn packed_rows(self, rows: usize) -> usize {
        if self.rounds() { rows.div_ceil(2) } else { rows }
    }

    /// Number of floats that a packed matrix of `rows × columns` takes.
    pub fn packed_len(self, rows: usize, columns: usize) -> usize {
        let (panel, lanes) = simd::dispatch(PanelWidth);
        let last = (columns % panel).next_multiple_of(lanes);
        (columns / panel * panel + last) * self.packed_rows(rows)
    }

    /// The floats of panel `panel` inside a packed matrix of `rows × columns`.
    pub(crate) fn panel_range(self, rows: usize, columns: usize, panel: usize) -> Range<usize> {
        let (full, lanes) = simd::dispatch(PanelWidth);
        let start = panel * full;
        let width = full.min(columns - start).next_multiple_of(lanes);
        let rows = self.packed_rows(rows);
        start * rows..(start + width) * rows
    }

    /// Packs panel `panel` of a matrix. `packed` is the part of the whole packed matrix at [`Gemm::panel_range`].
    pub(crate) fn pack_panel(self, packed: &mut [f32], matrix: &Matrix<'_>, panel: usize) {
        let (full, lanes) = simd::dispatch(PanelWidth);
        let first = panel * full;
        let width = full.min(matrix.columns - first);
        let stride = width.next_multiple_of(lanes);
        let panel = Panel { matrix: *matrix, first, width, stride };
        let rows = matrix.rows();
        assert_eq!(packed.len(), self.packed_rows(rows) * stride);
        match self.0 {
            Precision::F32 => panel.copy(0..rows, packed),
            // SAFETY: `Bf16` is only chosen where the processor has the features.
            #[cfg(target_arch = "x86_64")]
            Precision::Bf16 => unsafe { bf16::pack_panel(&panel, packed) },
            #[cfg(not(target_arch = "x86_64"))]
            Precision::Bf16 => unreachable!("only x86-64 processors support bf16"),
        }
    }

    /// Packs a whole matrix on this thread.
    pub fn pack(self, packed: &mut [f32], matrix: &Matrix<'_>) {
        for panel in 0..matrix.columns.div_ceil(panel_width()) {
            let range = self.panel_range(matrix.rows(), matrix.columns, panel);
            self.pack_panel(&mut packed[range], matrix, panel);
        }
    }
}

/// The columns of one panel of a matrix.
pub(super) struct Panel<'a> {
    pub(super) matrix: Matrix<'a>,
    /// The first column of the panel.
    first: usize,
    /// Columns of the panel.
    width: usize,
    /// Distance of packed rows.
    pub(super) stride: usize,
}

impl Panel<'_> {
    /// Copies the rows `rows`, with zeros after the last column.
    pub(super) fn copy(&self, rows: Range<usize>, packed: &mut [f32]) {
        let Self { matrix, first, width, stride } = *self;
        let Matrix { values, blocks, block_rows, row_stride, column_stride, .. } = matrix;
        let mut at = rows.start;
        while at < rows.end {
            let (block, first_row) = (at / block_rows, at % block_rows);
            let count = (block_rows - first_row).min(rows.end - at);
            let source = &values[blocks[block] + first_row * row_stride + first * column_stride..];
            let packed = &mut packed[(at - rows.start) * stride..][..count * stride];
            if column_stride == 1 {
                for (r, packed) in packed.chunks_exact_mut(stride).enumerate() {
                    packed[..width].copy_from_slice(&source[r * row_stride..][..width]);
                }
            } else {
                assert_eq!(row_stride, 1, "either rows or columns of a matrix must be contiguous");
                transpose(source, column_stride, [width, count], packed, stride);
            }
            if width < stride {
                packed.chunks_exact_mut(stride).for_each(|packed| packed[width..].fill(0.0));
            }
            at += count;
        }
    }
}

/// Rounds values to half as many pairs of neighbours, for the [`Left`](super::Left) of a product that
/// [rounds](Gemm::rounds).
pub(crate) fn round_neighbours(values: &[f32], pairs: &mut [f32]) {
    assert!(Precision::Bf16.is_supported() && values.len() == 2 * pairs.len());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the features.
    unsafe {
        bf16::round(values, bytemuck::cast_slice_mut(pairs));
    }
}

/// Rounds values to pairs of each with the one `distance` after it, for the [`Left`](super::Left) of a product that
/// [rounds](Gemm::rounds).
pub(crate) fn round_with_distant(values: &[f32], distance: usize, pairs: &mut [f32]) {
    assert!(Precision::Bf16.is_supported() && values.len() == distance + pairs.len());
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the features.
    unsafe {
        bf16::interleave(&values[..pairs.len()], &values[distance..], bytemuck::cast_slice_mut(pairs));
    }
}
