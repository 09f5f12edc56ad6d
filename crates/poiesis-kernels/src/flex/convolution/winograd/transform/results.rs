//! Transforms of products to image tiles.

#![expect(unsafe_code, reason = "the transforms use dozens of pointers at once")]

use std::ops::Range;

use pulp::Simd;

use super::super::grid::{Grid, Pairs, TransformLayout};
use super::super::scheme::{Scheme, both_axes, transpose, unrolled};
use super::Transform;
use super::vectors::{load, store};
use crate::flex::parallel::Shared;
use crate::flex::pool::Buffer;

/// The products of tiles, which become pixels of an image.
pub(in super::super) struct TileProducts<'a> {
    pub(in super::super) grid: &'a Grid,
    pub(in super::super) tiles: Range<usize>,
    pub(in super::super) products: &'a [f32],
    /// The columns of all products that these are: channels, of the large image in all phases.
    pub(in super::super) columns: Range<usize>,
    pub(in super::super) bias: Option<&'a [f32]>,
    pub(in super::super) result: &'a Shared<'a>,
}

impl TileProducts<'_> {
    /// The layout of the products.
    fn layout(&self) -> TransformLayout {
        TransformLayout::rows(self.tiles.len(), self.columns.len(), Pairs::None)
    }

    /// The bias of the channels from `at` on, or zeros.
    #[inline(always)]
    fn bias<S: Simd>(&self, simd: S, at: usize) -> S::f32s {
        match self.bias {
            // SAFETY: the slice has as many values as are read.
            Some(bias) => unsafe { load::<S>(bias[at..at + S::F32_LANES].as_ptr()) },
            None => simd.splat_f32s(0.0),
        }
    }
}

/// Transforms the products of tiles to small pixels: `Aᵀ m A`.
pub(in super::super) struct TilesToSmall<'a>(pub(in super::super) TileProducts<'a>);

impl Transform for TilesToSmall<'_> {
    #[inline(always)]
    fn run<S: Simd, W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(self, simd: S) {
        let Self(tiles) = self;
        let Grid { small, out, .. } = *tiles.grid;
        let width = tiles.columns.len();
        let layout = tiles.layout();
        let mut outside = Buffer::take(R * R * width);
        for (row, tile) in tiles.grid.walk(tiles.tiles.clone()).enumerate() {
            let pixel = |j, i| tiles.grid.small_pixel(tile, (j, i)).map(|at| at + tiles.columns.start);
            let whole = pixel(0, 0).zip(pixel(R - 1, R - 1));
            let (first, line, distance) = match whole {
                Some((first, last)) => {
                    assert!(last + width <= tiles.result.len());
                    (tiles.result.pointer(first), small[1] * out, out)
                }
                None => (outside.as_mut_ptr(), R * width, width),
            };
            for c in (0..width).step_by(S::F32_LANES) {
                let m: [[S::f32s; P]; P] = layout.load(simd, tiles.products, row * width + c);
                let bias = tiles.bias(simd, tiles.columns.start + c);
                let values = both_axes(simd, const { &W::RESULT }, m);
                unrolled!(j < R => {
                    unrolled!(i < R => {
                        let value = simd.add_f32s(values[j][i], bias);
                        // SAFETY: all pixels of the square are in the buffer, or in the image, where every tile has its own
                        // pixels and every task its own channels or tiles.
                        unsafe { store(first.wrapping_add(line * j + distance * i + c), value) };
                    });
                });
            }
            if whole.is_none() {
                for (index, values) in outside.chunks_exact(width).enumerate() {
                    if let Some(at) = pixel(index / R, index % R) {
                        // SAFETY: as above.
                        unsafe { tiles.result.part(at..at + width) }.copy_from_slice(values);
                    }
                }
            }
        }
    }
}

/// Transforms the products of tiles to large pixels, `B v Bᵀ`; neighbouring tiles are added where they overlap.
pub(in super::super) struct TilesToLarge<'a>(pub(in super::super) TileProducts<'a>);

impl Transform for TilesToLarge<'_> {
    #[inline(always)]
    fn run<S: Simd, W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(self, simd: S) {
        let Self(tiles) = self;
        let channels = tiles.grid.channels;
        let width = tiles.columns.len();
        let layout = tiles.layout();
        let overlap = P - R;
        for (row, tile) in tiles.grid.walk(tiles.tiles.clone()).enumerate() {
            let mut lines = [None; P];
            let mut columns = [None; P];
            let mut current = usize::MAX;
            for column in (0..width).step_by(S::F32_LANES) {
                let (phase, channel) =
                    ((tiles.columns.start + column) / channels, (tiles.columns.start + column) % channels);
                if phase != current {
                    current = phase;
                    lines = std::array::from_fn(|j| tiles.grid.large_line(tile, phase, j));
                    columns = std::array::from_fn(|i| tiles.grid.large_column(tile, phase, i));
                }
                let v: [[S::f32s; P]; P] = layout.load(simd, tiles.products, row * width + column);
                let bias = tiles.bias(simd, channel);
                let values = both_axes(simd, const { &transpose(W::DATA) }, v);
                unrolled!(j < P => {
                    unrolled!(i < P => {
                        if let (Some(line), Some(column)) = (lines[j], columns[i]) {
                            let at = line + column + channel;
                            // SAFETY: a task's images, phases or channels are its own.
                            let pixel = unsafe { tiles.result.part(at..at + S::F32_LANES) };
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
