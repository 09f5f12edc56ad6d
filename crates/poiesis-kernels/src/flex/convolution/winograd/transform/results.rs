//! Transforms of products to image tiles.

#![expect(unsafe_code, reason = "the transforms use dozens of pointers at once")]

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::grid::{Grid, Pairs, TransformLayout};
use super::super::scheme::{Scheme, both_axes, transpose, unrolled};
use super::vectors::{load, store};
use crate::flex::parallel::Shared;
use crate::flex::pool::Buffer;

/// Transforms the products of tiles to small pixels: `Aᵀ m A`.
pub(in super::super) struct TilesToSmall<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
{
    pub(in super::super) grid: &'a Grid,
    pub(in super::super) tiles: Range<usize>,
    pub(in super::super) products: &'a [f32],
    /// The channels of the products.
    pub(in super::super) columns: Range<usize>,
    pub(in super::super) bias: Option<&'a [f32]>,
    pub(in super::super) result: &'a Shared<'a>,
    pub(in super::super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for TilesToSmall<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Grid { small, out, .. } = *self.grid;
        let width = self.columns.len();
        let layout = TransformLayout::rows(self.tiles.len(), width, Pairs::None);
        let mut outside = Buffer::take(RESULTS * RESULTS * width);
        for (row, tile) in self.grid.walk(self.tiles.clone()).enumerate() {
            let pixel = |j, i| self.grid.small_pixel(tile, (j, i)).map(|at| at + self.columns.start);
            let whole = pixel(0, 0).zip(pixel(RESULTS - 1, RESULTS - 1));
            let (first, line, distance) = match whole {
                Some((first, last)) => {
                    assert!(last + width <= self.result.len());
                    (self.result.pointer(first), small[1] * out, out)
                }
                None => (outside.as_mut_ptr(), RESULTS * width, width),
            };
            for c in (0..width).step_by(S::F32_LANES) {
                let m: [[S::f32s; POINTS]; POINTS] = layout.load(simd, self.products, row * width + c);
                let bias = bias_vector(simd, self.bias, self.columns.start + c);
                let values = both_axes(simd, const { &W::RESULT }, m);
                unrolled!(j < RESULTS => {
                    unrolled!(i < RESULTS => {
                        let value = simd.add_f32s(values[j][i], bias);
                        // SAFETY: all pixels of the square are in the buffer, or in the image, where every tile has its own
                        // pixels and every task its own channels or tiles.
                        unsafe { store(first.wrapping_add(line * j + distance * i + c), value) };
                    });
                });
            }
            if whole.is_none() {
                for (index, values) in outside.chunks_exact(width).enumerate() {
                    if let Some(at) = pixel(index / RESULTS, index % RESULTS) {
                        // SAFETY: as above.
                        unsafe { self.result.part(at..at + width) }.copy_from_slice(values);
                    }
                }
            }
        }
    }
}

/// The bias of the channels from `at` on, or zeros.
#[inline(always)]
fn bias_vector<S: Simd>(simd: S, bias: Option<&[f32]>, at: usize) -> S::f32s {
    match bias {
        // SAFETY: the slice has as many values as are read.
        Some(bias) => unsafe { load::<S>(bias[at..at + S::F32_LANES].as_ptr()) },
        None => simd.splat_f32s(0.0),
    }
}

/// Transforms the products of tiles to large pixels, `B v Bᵀ`; neighbouring tiles are added where they overlap.
pub(in super::super) struct TilesToLarge<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
{
    pub(in super::super) grid: &'a Grid,
    pub(in super::super) tiles: Range<usize>,
    pub(in super::super) products: &'a [f32],
    /// The columns (phase and channel) of the products.
    pub(in super::super) columns: Range<usize>,
    pub(in super::super) bias: Option<&'a [f32]>,
    pub(in super::super) result: &'a Shared<'a>,
    pub(in super::super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for TilesToLarge<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.grid.channels;
        let width = self.columns.len();
        let layout = TransformLayout::rows(self.tiles.len(), width, Pairs::None);
        let overlap = POINTS - RESULTS;
        for (row, tile) in self.grid.walk(self.tiles.clone()).enumerate() {
            let mut lines = [None; POINTS];
            let mut columns = [None; POINTS];
            let mut current = usize::MAX;
            for column in (0..width).step_by(S::F32_LANES) {
                let (phase, channel) =
                    ((self.columns.start + column) / channels, (self.columns.start + column) % channels);
                if phase != current {
                    current = phase;
                    lines = std::array::from_fn(|j| self.grid.large_line(tile, phase, j));
                    columns = std::array::from_fn(|i| self.grid.large_column(tile, phase, i));
                }
                let v: [[S::f32s; POINTS]; POINTS] = layout.load(simd, self.products, row * width + column);
                let bias = bias_vector(simd, self.bias, channel);
                let values = both_axes(simd, const { &transpose(W::DATA) }, v);
                unrolled!(j < POINTS => {
                    unrolled!(i < POINTS => {
                        if let (Some(line), Some(column)) = (lines[j], columns[i]) {
                            let at = line + column + channel;
                            // SAFETY: a task's images, phases or channels are its own.
                            let pixel = unsafe { self.result.part(at..at + S::F32_LANES) };
                            // The tile above or to the left has written here already.
                            let seen = (j < overlap && tile.y > 0) || (i < overlap && tile.x > 0);
                            let old = if seen {
                                // SAFETY: the slice has as many values as are read.
                                unsafe { load::<S>(pixel.as_ptr()) }
                            } else {
                                bias
                            };
                            // SAFETY: the slice has as many values as are written.
                            unsafe { store(pixel.as_mut_ptr(), simd.add_f32s(old, values[j][i])) };
                        }
                    });
                });
            }
        }
    }
}
