//! Rows of a matrix in a slice.

use std::ops::Range;

use crate::flex::gemm::Left;
use crate::flex::pool::Buffer;

/// Rows to read: dense (any slice), at a distance, or each gathered from pieces.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    layout: Layout<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Layout<'a> {
    Dense,
    Strided(usize),
    Pieces { length: usize, starts: &'a [Option<usize>] },
}

impl<'a> Rows<'a> {
    /// Row `i` begins at `values[i · stride]`: for example columns of a wider matrix.
    pub fn strided(values: &'a [f32], stride: usize) -> Self {
        Self { values, layout: Layout::Strided(stride) }
    }

    /// Each row consists of pieces of `length` values that begin at `values[start]`, or of zeros where the start is
    /// `None`. `starts` holds the starts of the first row, then of the second, and so on, the same number for each;
    /// [`super::Window`] computes them for images.
    pub fn pieces(values: &'a [f32], length: usize, starts: &'a [Option<usize>]) -> Self {
        Self { values, layout: Layout::Pieces { length, starts } }
    }

    /// Panics if there are not `rows` rows of `width` values.
    pub(super) fn check(&self, rows: usize, width: usize, what: &str) {
        let len = self.values.len();
        match self.layout {
            Layout::Dense => {
                assert!(len == rows * width, "{what}: input [{len}] does not fit {rows} rows of [{width}]");
            }
            Layout::Strided(stride) => {
                assert!(
                    rows == 0 || (rows - 1) * stride + width <= len,
                    "{what}: input [{len}] does not fit {rows} rows of [{width}] at a distance of {stride}",
                );
            }
            Layout::Pieces { length, starts } => {
                assert!(
                    rows * width == starts.len() * length && width.is_multiple_of(length),
                    "{what}: {} pieces of [{length}] do not fit {rows} rows of [{width}]",
                    starts.len(),
                );
            }
        }
    }

    /// The values and the distance of rows that are not gathered from pieces.
    pub(super) fn strided_values(&self, width: usize, what: &str) -> (&'a [f32], usize) {
        match self.layout {
            Layout::Dense => (self.values, width),
            Layout::Strided(stride) => (self.values, stride),
            Layout::Pieces { .. } => panic!("{what}: rows in pieces are only supported by matrix products"),
        }
    }

    /// Runs `work` with some rows as the left matrix of a product.
    pub(super) fn with_left<R>(
        &self,
        rows: Range<usize>,
        width: usize,
        work: impl FnOnce(Left<'_>) -> R,
    ) -> R {
        let stride = match self.layout {
            Layout::Dense => width,
            Layout::Strided(stride) => stride,
            Layout::Pieces { length, starts } => {
                let gathered =
                    self.gather(length, &starts[rows.start * width / length..rows.end * width / length]);
                return work(Left::new(&gathered, width, 1));
            }
        };
        work(Left::new(&self.values[rows.start * stride..], stride, 1))
    }

    fn gather(&self, length: usize, starts: &[Option<usize>]) -> Buffer {
        let mut gathered = Buffer::take(starts.len() * length);
        for (piece, start) in gathered.chunks_exact_mut(length).zip(starts) {
            match start {
                Some(start) => piece.copy_from_slice(&self.values[*start..][..length]),
                None => piece.fill(0.0),
            }
        }
        gathered
    }
}

impl<'a> From<&'a [f32]> for Rows<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self { values, layout: Layout::Dense }
    }
}

impl<'a> From<&'a Vec<f32>> for Rows<'a> {
    fn from(values: &'a Vec<f32>) -> Self {
        Self::from(&values[..])
    }
}

impl<'a, const N: usize> From<&'a [f32; N]> for Rows<'a> {
    fn from(values: &'a [f32; N]) -> Self {
        Self::from(&values[..])
    }
}

/// Rows to write: dense (any slice) or at a distance.
#[derive(Debug)]
pub struct RowsMut<'a> {
    values: &'a mut [f32],
    /// Number and distance of the rows; dense rows fill the slice.
    strided: Option<[usize; 2]>,
}

/// `rows` rows that begin `stride` values apart and end with the slice.
pub(super) struct StridedRows<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) rows: usize,
    pub(super) stride: usize,
}

impl<'a> RowsMut<'a> {
    /// `rows` rows, of which row `i` begins at `values[i · stride]`: for example one pixel of each of several images.
    pub fn strided(values: &'a mut [f32], rows: usize, stride: usize) -> Self {
        Self { values, strided: Some([rows, stride]) }
    }

    /// The rows, of `width` values, at least 1. Panics if they do not fit.
    pub(super) fn strided_rows(self, width: usize, what: &str) -> StridedRows<'a> {
        let len = self.values.len();
        let [rows, stride] = match self.strided {
            Some(strided) => strided,
            None => {
                assert!(len.is_multiple_of(width), "{what}: output [{len}] does not fit rows of [{width}]");
                [len / width, width]
            }
        };
        let end = rows.saturating_sub(1) * stride + if rows == 0 { 0 } else { width };
        assert!(
            end <= len && (stride >= width || rows <= 1),
            "{what}: output [{len}] does not fit {rows} rows of [{width}] at a distance of {stride}",
        );
        StridedRows { values: &mut self.values[..end], rows, stride: stride.max(width) }
    }
}

impl<'a> From<&'a mut [f32]> for RowsMut<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        Self { values, strided: None }
    }
}

impl<'a> From<&'a mut Vec<f32>> for RowsMut<'a> {
    fn from(values: &'a mut Vec<f32>) -> Self {
        Self::from(&mut values[..])
    }
}

impl<'a, const N: usize> From<&'a mut [f32; N]> for RowsMut<'a> {
    fn from(values: &'a mut [f32; N]) -> Self {
        Self::from(&mut values[..])
    }
}
