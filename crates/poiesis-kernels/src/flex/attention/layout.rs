//! The layout of heads in arrays.

use std::ops::Range;

use super::Size;
use crate::flex::gemm::{Left, Matrix};

/// The layout of heads in an array: row `t` of head `h` of example `b` starts at `start + b · batch + t · time + h · dim`.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLayout {
    pub(super) start: usize,
    batch: usize,
    time: usize,
    pub(super) dim: usize,
}

impl HeadLayout {
    /// An array `[batch, time, heads, dim]`.
    pub(super) fn whole([_, time, heads, dim]: [usize; 4]) -> Self {
        Self { start: 0, batch: time * heads * dim, time: heads * dim, dim }
    }

    pub(super) fn at(&self, batch: usize, time: usize, head: usize) -> usize {
        self.start + batch * self.batch + time * self.time + head * self.dim
    }
}

/// The layouts of queries, keys and values in one array.
pub(super) fn packed_layouts(size: &Size) -> [HeadLayout; 3] {
    let all = size.heads + 2 * size.kv_heads;
    let whole = HeadLayout::whole([size.batch, size.keys, all, size.dim]);
    [0, size.heads, size.heads + size.kv_heads].map(|head| HeadLayout { start: head * size.dim, ..whole })
}

/// Heads in an array.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) values: &'a [f32],
    pub(super) layout: HeadLayout,
}

impl<'a> View<'a> {
    /// The array from a row on.
    fn from(&self, batch: usize, time: usize, head: usize) -> &'a [f32] {
        &self.values[self.layout.at(batch, time, head)..]
    }

    /// One row.
    pub(super) fn row(&self, batch: usize, time: usize, head: usize) -> &'a [f32] {
        &self.from(batch, time, head)[..self.layout.dim]
    }

    /// Rows from `time` on as the left matrix of a product.
    pub(super) fn left(&self, batch: usize, time: usize, head: usize) -> Left<'a> {
        Left::new(self.from(batch, time, head), self.layout.time, 1)
    }

    /// The rows `times` as a matrix to pack.
    pub(super) fn rows(&self, batch: usize, times: &Range<usize>, head: usize) -> Matrix<'a> {
        let HeadLayout { time, dim, .. } = self.layout;
        Matrix::strided(self.from(batch, times.start, head), [times.len(), dim], [time, 1])
    }

    /// The rows `times` as the columns of a matrix to pack.
    pub(super) fn columns(&self, batch: usize, times: &Range<usize>, head: usize) -> Matrix<'a> {
        let HeadLayout { time, dim, .. } = self.layout;
        Matrix::strided(self.from(batch, times.start, head), [dim, times.len()], [1, time])
    }
}
