//! A fully connected layer on slices.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::rows::{Rows, RowsMut, StridedRows};
use crate::flex::gemm::{self, Gemm, Left, Matrix, Write};
use crate::flex::packed::Packed;
use crate::flex::parallel;
use crate::flex::pool::Buffer;

/// Products of fewer multiplications than this stay on the calling thread.
const SMALL: usize = 1 << 19;

/// Multiplications of a task where tasks divide the columns, about.
const TASK: usize = 1 << 17;

/// Rows of a task; with up to this many rows, tasks divide the columns instead.
const ROWS: usize = 48;

/// A fully connected layer whose weights are packed once for matrix products of any number of rows; clones share them.
///
/// Each value is one chain of fused multiply-adds over the inputs, first to last, which begins with the bias: its bits do not
/// depend on the number of rows, its position or the number of threads. For several inputs, `forward` of the first and
/// [`PackedLinear::forward_add`] of the others give the same bits as `forward` of all of them concatenated.
///
/// [`crate::linear`] adds the bias last and differs by rounding.
#[derive(Clone)]
pub struct PackedLinear {
    weight: Arc<Packed>,
    bias: Option<Arc<[f32]>>,
    inputs: usize,
    outputs: usize,
}

impl PackedLinear {
    /// Packs a copy of `weight [inputs, outputs]` and `bias [outputs]`.
    ///
    /// # Panics
    ///
    /// When the lengths do not fit, or `inputs` or `outputs` is 0.
    pub fn new(weight: &[f32], bias: Option<&[f32]>, inputs: usize, outputs: usize) -> Self {
        assert!(
            weight.len() == inputs * outputs && !weight.is_empty(),
            "PackedLinear: weight [{}] does not fit [{inputs}, {outputs}], none of them 0",
            weight.len(),
        );
        if let Some(bias) = bias {
            assert!(
                bias.len() == outputs,
                "PackedLinear: bias [{}] does not fit weight [{inputs}, {outputs}]",
                bias.len(),
            );
        }
        let weight =
            Arc::new(Packed::new(Gemm::F32, &Matrix::strided(weight, [inputs, outputs], [outputs, 1])));
        Self { weight, bias: bias.map(Arc::from), inputs, outputs }
    }

    /// Values in a row of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values in a row of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `out = x · weight + bias` for rows `x [rows, inputs]` and `out [rows, outputs]`; `out` determines the number of rows.
    ///
    /// # Panics
    ///
    /// When `x` and `out` do not fit the layer or each other.
    pub fn forward<'x, 'out>(&self, x: impl Into<Rows<'x>>, out: impl Into<RowsMut<'out>>) {
        self.product(x.into(), out.into(), Begin::Bias);
    }

    /// Continues the sums in `out`: `out = out + x · weight`, without the bias. For residuals, and for sums of several inputs.
    ///
    /// # Panics
    ///
    /// When `x` and `out` do not fit the layer or each other.
    pub fn forward_add<'x, 'out>(&self, x: impl Into<Rows<'x>>, out: impl Into<RowsMut<'out>>) {
        self.product(x.into(), out.into(), Begin::Old);
    }

    fn product(&self, x: Rows<'_>, out: RowsMut<'_>, begin: Begin) {
        let StridedRows { values: out, rows, stride } = out.strided_rows(self.outputs, "PackedLinear");
        x.check(rows, self.inputs, "PackedLinear");
        if rows == 0 {
            return;
        }
        let small = rows * self.inputs * self.outputs < SMALL;
        if rows <= ROWS && !small {
            x.with_left(0..rows, self.inputs, |left| self.by_columns(left, rows, out, stride, begin));
            return;
        }
        let size = if small { rows } else { rows.div_ceil(4).min(ROWS) };
        parallel::chunks(out, size * stride, |block, out| {
            let rows = parallel::part(rows, size, block);
            if begin == Begin::Bias {
                self.write_bias(0..self.outputs, out, stride);
            }
            x.with_left(rows.clone(), self.inputs, |left| {
                self.weight.product(left, rows.len(), 0..self.outputs, self.write(begin), out, stride);
            });
        });
    }

    /// The product where tasks divide the columns.
    fn by_columns(&self, left: Left<'_>, rows: usize, out: &mut [f32], stride: usize, begin: Begin) {
        let panel = gemm::panel_width();
        let width = panel * (TASK / (rows * self.inputs * panel)).max(1);
        let tiles = parallel::map(parallel::parts(self.outputs, width), |task| {
            let columns = parallel::part(self.outputs, width, task);
            let width = columns.len();
            let mut tile = Buffer::take(rows * width);
            match begin {
                Begin::Bias => self.write_bias(columns.clone(), &mut tile, width),
                Begin::Old => {
                    for (tile, out) in tile.chunks_exact_mut(width).zip(out.chunks(stride)) {
                        tile.copy_from_slice(&out[columns.clone()]);
                    }
                }
            }
            self.weight.product(left, rows, columns, self.write(begin), &mut tile, width);
            tile
        });
        for (task, tile) in tiles.iter().enumerate() {
            let columns = parallel::part(self.outputs, width, task);
            for (tile, out) in tile.chunks_exact(columns.len()).zip(out.chunks_mut(stride)) {
                out[columns.clone()].copy_from_slice(tile);
            }
        }
    }

    /// How a product continues after [`PackedLinear::write_bias`].
    fn write(&self, begin: Begin) -> Write {
        if begin == Begin::Bias && self.bias.is_none() { Write::Replace } else { Write::Add }
    }

    fn write_bias(&self, columns: Range<usize>, out: &mut [f32], stride: usize) {
        if let Some(bias) = &self.bias {
            for out in out.chunks_mut(stride) {
                out[..columns.len()].copy_from_slice(&bias[columns.clone()]);
            }
        }
    }
}

/// The initial values of the sums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    Bias,
    Old,
}

impl fmt::Debug for PackedLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedLinear")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .field("bias", &self.bias.is_some())
            .finish_non_exhaustive()
    }
}
