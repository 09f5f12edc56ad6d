//! Transforms of image tiles to the factors of the products.

#![expect(unsafe_code, reason = "the transforms use dozens of pointers at once")]

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::GROUP;
use super::super::grid::{Grid, Pairs, Tile, TransformLayout};
use super::super::scheme::{Scheme, both_axes, transpose, unrolled};
use super::vectors::{load, pairs, store};
use crate::flex::parallel::Shared;
use crate::flex::pool::Buffer;

/// Transforms the large image's phases, `Bᵀ d B`.
pub(in super::super) struct LargeToTiles<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
{
    pub(in super::super) grid: &'a Grid,
    pub(in super::super) tiles: Range<usize>,
    pub(in super::super) image: &'a [f32],
    pub(in super::super) layout: &'a TransformLayout,
    /// Row of the layout for the first of `tiles`.
    pub(in super::super) at: usize,
    pub(in super::super) result: &'a Shared<'a>,
    pub(in super::super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for LargeToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Lets the compiler leave out pairs for schemes that do not round.
        let pairs = if W::ROUNDS { self.layout.pairs } else { Pairs::None };
        let copy = POINTS * POINTS * self.grid.channels;
        let mut first = Buffer::take(copy);
        let mut second = Buffer::take(if pairs == Pairs::Tiles { copy } else { 0 });
        let mut tiles = self.grid.walk(self.tiles.clone());
        let mut row = self.at;
        while let Some(tile) = tiles.next() {
            let partner = if pairs == Pairs::Tiles { tiles.next() } else { None };
            for phase in 0..self.grid.phases() {
                let next = if pairs == Pairs::Tiles {
                    Some(self.pixels(simd, partner, phase, &mut second))
                } else {
                    None
                };
                let tile = TileOfPixels {
                    pixels: self.pixels(simd, Some(tile), phase, &mut first),
                    next,
                    pairs,
                    channels: self.grid.channels,
                    row,
                    column: phase * self.grid.channels,
                };
                // SAFETY: a pixel has `channels` values, and every row, product and column has its own entry.
                unsafe { tile.transform(simd, const { &W::DATA }, self.layout, self.result) };
            }
            row += 1;
        }
    }
}

impl<W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
    LargeToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    /// The pixels of a phase of a tile; zeros outside the image and after the last tile.
    #[inline(always)]
    fn pixels<'a, S: Simd>(
        &'a self,
        simd: S,
        tile: Option<Tile>,
        phase: usize,
        copy: &'a mut [f32],
    ) -> Square<'a> {
        let Grid { large, channels, phases, .. } = *self.grid;
        let pixel = |j, i| self.grid.large_pixel(tile?, phase, (j, i));
        match (pixel(0, 0), pixel(POINTS - 1, POINTS - 1)) {
            (Some(first), Some(last)) => {
                let values = &self.image[first..last + channels];
                Square { values, line: phases.step * large[1] * channels, pixel: phases.step * channels }
            }
            _ => copy_square::<S, POINTS>(simd, self.image, pixel, channels, copy),
        }
    }
}

/// Transforms the small image, `A y Aᵀ`.
pub(in super::super) struct SmallToTiles<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
{
    pub(in super::super) grid: &'a Grid,
    pub(in super::super) tiles: Range<usize>,
    pub(in super::super) image: &'a [f32],
    pub(in super::super) layout: &'a TransformLayout,
    /// Row of the layout for the first of `tiles`.
    pub(in super::super) at: usize,
    pub(in super::super) result: &'a Shared<'a>,
    pub(in super::super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for SmallToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Lets the compiler leave out pairs for schemes that do not round.
        let pairs = if W::ROUNDS { self.layout.pairs } else { Pairs::None };
        let copy = RESULTS * RESULTS * self.grid.out;
        let mut first = Buffer::take(copy);
        let mut second = Buffer::take(if pairs == Pairs::Tiles { copy } else { 0 });
        let mut tiles = self.grid.walk(self.tiles.clone());
        let mut row = self.at;
        while let Some(tile) = tiles.next() {
            let next =
                if pairs == Pairs::Tiles { Some(self.pixels(simd, tiles.next(), &mut second)) } else { None };
            let tile = TileOfPixels {
                pixels: self.pixels(simd, Some(tile), &mut first),
                next,
                pairs,
                channels: self.grid.out,
                row,
                column: 0,
            };
            // SAFETY: a pixel has `out` values, and every row, product and column has its own entry.
            unsafe { tile.transform(simd, const { &transpose(W::RESULT) }, self.layout, self.result) };
            row += 1;
        }
    }
}

impl<W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
    SmallToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    /// The pixels of a tile; zeros outside the image and after the last tile.
    #[inline(always)]
    fn pixels<'a, S: Simd>(&'a self, simd: S, tile: Option<Tile>, copy: &'a mut [f32]) -> Square<'a> {
        let Grid { small, out, .. } = *self.grid;
        let pixel = |j, i| self.grid.small_pixel(tile?, (j, i));
        match (pixel(0, 0), pixel(RESULTS - 1, RESULTS - 1)) {
            (Some(first), Some(last)) => {
                Square { values: &self.image[first..last + out], line: small[1] * out, pixel: out }
            }
            _ => copy_square::<S, RESULTS>(simd, self.image, pixel, out, copy),
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
