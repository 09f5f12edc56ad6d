//! Transforms of image tiles to the factors of the products.

#![expect(unsafe_code, reason = "the transforms use dozens of pointers at once")]

use std::ops::Range;

use pulp::Simd;

use super::super::GROUP;
use super::super::grid::{Grid, Pairs, Tile, TransformLayout};
use super::super::scheme::{Scheme, both_axes, transpose, unrolled};
use super::Transform;
use super::vectors::{load, pairs, store};
use crate::flex::parallel::Shared;
use crate::flex::pool::Buffer;

/// Tiles of an image that become rows of a layout.
pub(in super::super) struct ImageTiles<'a> {
    pub(in super::super) grid: &'a Grid,
    pub(in super::super) tiles: Range<usize>,
    pub(in super::super) image: &'a [f32],
    pub(in super::super) layout: &'a TransformLayout,
    /// Row of the layout for the first of `tiles`.
    pub(in super::super) at: usize,
    pub(in super::super) result: &'a Shared<'a>,
}

/// Transforms the large image's phases, `Bᵀ d B`.
pub(in super::super) struct LargeToTiles<'a>(pub(in super::super) ImageTiles<'a>);

impl Transform for LargeToTiles<'_> {
    #[inline(always)]
    fn run<S: Simd, W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(self, simd: S) {
        let grid = self.0.grid;
        let Grid { large, channels, phases, .. } = *grid;
        let squares = Squares {
            count: grid.phases(),
            channels,
            line: phases.step * large[1] * channels,
            pixel: phases.step * channels,
        };
        self.0.transform(simd, W::ROUNDS, const { &W::DATA }, squares, |tile, phase, at| {
            grid.large_pixel(tile, phase, at)
        });
    }
}

/// Transforms the small image, `A y Aᵀ`.
pub(in super::super) struct SmallToTiles<'a>(pub(in super::super) ImageTiles<'a>);

impl Transform for SmallToTiles<'_> {
    #[inline(always)]
    fn run<S: Simd, W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(self, simd: S) {
        let grid = self.0.grid;
        let Grid { small, out, .. } = *grid;
        let squares = Squares { count: 1, channels: out, line: small[1] * out, pixel: out };
        self.0.transform(simd, W::ROUNDS, const { &transpose(W::RESULT) }, squares, |tile, _, at| {
            grid.small_pixel(tile, at)
        });
    }
}

/// The squares of pixels of a tile.
#[derive(Clone, Copy)]
struct Squares {
    /// Squares of a tile: the phases of its image.
    count: usize,
    channels: usize,
    /// Distance of the lines of a square in the image.
    line: usize,
    /// Distance of the pixels of a line.
    pixel: usize,
}

impl ImageTiles<'_> {
    /// Transforms all squares of the tiles by `matrix`, for a scheme that `rounds` or not. `offset(tile, square, (j, i))`
    /// is the offset in the image of a pixel of a square, `None` outside the image.
    #[inline(always)]
    fn transform<S: Simd, const SIDE: usize, const P: usize>(
        self,
        simd: S,
        rounds: bool,
        matrix: &'static [[f32; SIDE]; P],
        squares: Squares,
        offset: impl Fn(Tile, usize, (usize, usize)) -> Option<usize>,
    ) {
        // Lets the compiler leave out pairs for schemes that do not round.
        let pairs = if rounds { self.layout.pairs } else { Pairs::None };
        let copy = SIDE * SIDE * squares.channels;
        let mut first = Buffer::take(copy);
        let mut second = Buffer::take(if pairs == Pairs::Tiles { copy } else { 0 });
        let mut tiles = self.grid.walk(self.tiles.clone());
        let mut row = self.at;
        while let Some(tile) = tiles.next() {
            let partner = if pairs == Pairs::Tiles { tiles.next() } else { None };
            for square in 0..squares.count {
                let pixel = |j, i| offset(tile, square, (j, i));
                let next_pixel = |j, i| offset(partner?, square, (j, i));
                let next = if pairs == Pairs::Tiles {
                    Some(squares.pixels::<S, SIDE>(simd, self.image, next_pixel, &mut second))
                } else {
                    None
                };
                let tile = TileOfPixels {
                    pixels: squares.pixels::<S, SIDE>(simd, self.image, pixel, &mut first),
                    next,
                    pairs,
                    channels: squares.channels,
                    row,
                    column: square * squares.channels,
                };
                // SAFETY: a pixel has `channels` values, and every row, product and column has its own entry.
                unsafe { tile.transform(simd, matrix, self.layout, self.result) };
            }
            row += 1;
        }
    }
}

impl Squares {
    /// The pixels of a square; zeros outside the image and after the last tile.
    #[inline(always)]
    fn pixels<'a, S: Simd, const SIDE: usize>(
        self,
        simd: S,
        image: &'a [f32],
        pixel: impl Fn(usize, usize) -> Option<usize>,
        copy: &'a mut [f32],
    ) -> Square<'a> {
        let Self { channels, line, pixel: distance, .. } = self;
        match (pixel(0, 0), pixel(SIDE - 1, SIDE - 1)) {
            (Some(first), Some(last)) => {
                Square { values: &image[first..last + channels], line, pixel: distance }
            }
            _ => copy_square::<S, SIDE>(simd, image, pixel, channels, copy),
        }
    }
}

/// A square of pixels, with the distances of its lines and of the pixels of a line. The values end with the last pixel.
#[derive(Clone, Copy)]
struct Square<'a> {
    values: &'a [f32],
    line: usize,
    pixel: usize,
}

impl Square<'_> {
    /// The vectors of all pixels from channel `c` on.
    #[inline(always)]
    fn vectors<S: Simd, const SIDE: usize>(self, simd: S, c: usize) -> [[S::f32s; SIDE]; SIDE] {
        let Self { values, line, pixel } = self;
        let first = values[c..(SIDE - 1) * (line + pixel) + c + S::F32_LANES].as_ptr();
        let mut vectors = [[simd.splat_f32s(0.0); SIDE]; SIDE];
        unrolled!(j < SIDE => {
            unrolled!(i < SIDE => {
                // SAFETY: the slice begins with the first vector and ends with the last.
                vectors[j][i] = unsafe { load::<S>(first.wrapping_add(line * j + pixel * i)) };
            });
        });
        vectors
    }
}

/// A square of pixels of which some are outside the image, copied with zeros for those.
#[inline(always)]
fn copy_square<'a, S: Simd, const SIDE: usize>(
    simd: S,
    image: &[f32],
    pixel: impl Fn(usize, usize) -> Option<usize>,
    channels: usize,
    copy: &'a mut [f32],
) -> Square<'a> {
    for (index, copy) in copy.chunks_exact_mut(channels).enumerate() {
        let values = pixel(index / SIDE, index % SIDE).map(|at| &image[at..at + channels]);
        for c in (0..channels).step_by(S::F32_LANES) {
            let value = match values {
                // SAFETY: the slice has as many values as are read.
                Some(values) => unsafe { load::<S>(values[c..c + S::F32_LANES].as_ptr()) },
                None => simd.splat_f32s(0.0),
            };
            // SAFETY: the slice has as many values as are written.
            unsafe { store(copy[c..c + S::F32_LANES].as_mut_ptr(), value) };
        }
    }
    Square { values: copy, line: SIDE * channels, pixel: channels }
}

/// The pixels that become a row of a layout.
struct TileOfPixels<'a, const SIDE: usize> {
    pixels: Square<'a>,
    /// The pixels of the next tile, for pairs of tiles.
    next: Option<Square<'a>>,
    pairs: Pairs,
    channels: usize,
    row: usize,
    /// The column of the first channel.
    column: usize,
}

impl<const SIDE: usize> TileOfPixels<'_, SIDE> {
    /// # Safety
    ///
    /// `channels` are a multiple of [`GROUP`], of two for pairs of channels, and nothing else uses the row.
    #[inline(always)]
    unsafe fn transform<S: Simd, const POINTS: usize>(
        self,
        simd: S,
        matrix: &'static [[f32; SIDE]; POINTS],
        layout: &TransformLayout,
        result: &Shared<'_>,
    ) {
        let Self { pixels, channels, row, column, .. } = self;
        let (partner, values_of_entry) = match self.pairs {
            Pairs::None => (None, 1),
            Pairs::Channels => (Some(Square { values: &pixels.values[GROUP..], ..pixels }), 2),
            Pairs::Tiles => (self.next, 1),
        };
        for group in (0..channels).step_by(values_of_entry * GROUP) {
            let at = layout.offset(row, (column + group) / values_of_entry);
            for c in (group..group + GROUP).step_by(S::F32_LANES) {
                let mut values = both_axes(simd, matrix, pixels.vectors(simd, c));
                if let Some(partner) = partner {
                    values = pairs(simd, values, both_axes(simd, matrix, partner.vectors(simd, c)));
                }
                // SAFETY: the caller's promise.
                unsafe { layout.store(simd, result, at + c - group, values) };
            }
        }
    }
}
