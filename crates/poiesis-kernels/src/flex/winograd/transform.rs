//! The transforms of tiles and weights, a vector of channels at a time.

#![expect(unsafe_code, reason = "the transforms run through dozens of pointers at once")]

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::convolution::Geometry;
use super::super::parallel::Shared;
use super::super::pool::Buffer;
use super::GROUP;
use super::grid::{Grid, Pairs, Phases, Slab, Tile};
use super::scheme::{Scheme, both_axes, transpose, unrolled};

/// Transforms the large image's phases, `Bᵀ d B`.
pub(super) struct LargeToTiles<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    pub(super) grid: &'a Grid,
    pub(super) tiles: Range<usize>,
    pub(super) image: &'a [f32],
    pub(super) slab: &'a Slab,
    /// Row of the slab for the first of `tiles`.
    pub(super) at: usize,
    pub(super) result: &'a Shared<'a>,
    pub(super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for LargeToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // The code of schemes that do not round has no pairs.
        let pairs = if W::ROUNDS { self.slab.pairs } else { Pairs::None };
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
                // SAFETY: a pixel has `channels` values, and every row, product and column has a place of its own.
                unsafe { tile.transform(simd, const { &W::DATA }, self.slab, self.result) };
            }
            row += 1;
        }
    }
}

impl<W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
    LargeToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    /// The pixels of a phase of a tile; zeros outside the image and behind the last tile.
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
pub(super) struct SmallToTiles<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    pub(super) grid: &'a Grid,
    pub(super) tiles: Range<usize>,
    pub(super) image: &'a [f32],
    pub(super) slab: &'a Slab,
    /// Row of the slab for the first of `tiles`.
    pub(super) at: usize,
    pub(super) result: &'a Shared<'a>,
    pub(super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for SmallToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // The code of schemes that do not round has no pairs.
        let pairs = if W::ROUNDS { self.slab.pairs } else { Pairs::None };
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
            // SAFETY: a pixel has `out` values, and every row, product and column has a place of its own.
            unsafe { tile.transform(simd, const { &transpose(W::RESULT) }, self.slab, self.result) };
            row += 1;
        }
    }
}

impl<W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
    SmallToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    /// The pixels of a tile; zeros outside the image and behind the last tile.
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

/// A square of pixels: how far apart its lines and the pixels of a line lie. The values end with the last pixel's.
#[derive(Clone, Copy)]
struct Square<'a> {
    values: &'a [f32],
    line: usize,
    pixel: usize,
}

impl Square<'_> {
    /// The pixels' vectors from channel `c` on.
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

/// A square of pixels of which some lie outside the image, copied with zeros in their place.
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

/// What goes into a row of a slab.
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
        slab: &Slab,
        result: &Shared<'_>,
    ) {
        let Self { pixels, channels, row, column, .. } = self;
        let (partner, values_of_entry) = match self.pairs {
            Pairs::None => (None, 1),
            Pairs::Channels => (Some(Square { values: &pixels.values[GROUP..], ..pixels }), 2),
            Pairs::Tiles => (self.next, 1),
        };
        for group in (0..channels).step_by(values_of_entry * GROUP) {
            let at = slab.offset(row, (column + group) / values_of_entry);
            for c in (group..group + GROUP).step_by(S::F32_LANES) {
                let mut values = both_axes(simd, matrix, pixels.vectors(simd, c));
                if let Some(partner) = partner {
                    values = pairs(simd, values, both_axes(simd, matrix, partner.vectors(simd, c)));
                }
                // SAFETY: the caller's promise.
                unsafe { slab.store(simd, result, at + c - group, values) };
            }
        }
    }
}

/// Entries of two values each, rounded to the nearest bf16, of two as near to the even one; `a` is the lower half. Arithmetic never
/// makes a NaN that this would round to a number.
#[inline(always)]
fn pairs<S: Simd, const POINTS: usize>(
    simd: S,
    a: [[S::f32s; POINTS]; POINTS],
    b: [[S::f32s; POINTS]; POINTS],
) -> [[S::f32s; POINTS]; POINTS] {
    let mut entries = a;
    unrolled!(j < POINTS => {
        unrolled!(i < POINTS => {
            let low = simd.wrapping_dyn_shr_u32s(rounded(simd, a[j][i]), simd.splat_u32s(16));
            let high = simd.and_u32s(rounded(simd, b[j][i]), simd.splat_u32s(0xffff_0000));
            entries[j][i] = simd.transmute_f32s_u32s(simd.or_u32s(low, high));
        });
    });
    entries
}

impl Slab {
    /// Stores the vectors of all products from `at` in the first product on.
    ///
    /// # Safety
    ///
    /// Nothing else may use these places at the same time.
    #[inline(always)]
    unsafe fn store<S: Simd, const POINTS: usize>(
        &self,
        _simd: S,
        result: &Shared<'_>,
        at: usize,
        values: [[S::f32s; POINTS]; POINTS],
    ) {
        let product = self.product();
        assert!(at + (POINTS * POINTS - 1) * product + S::F32_LANES <= result.len());
        let first = result.pointer(at);
        unrolled!(j < POINTS => {
            unrolled!(i < POINTS => {
                // SAFETY: the last of the vectors lies inside the array, and nothing else uses any of them.
                unsafe { store(first.wrapping_add((POINTS * j + i) * product), values[j][i]) };
            });
        });
    }
}

/// The bits of numbers whose upper halves are the nearest bf16.
#[inline(always)]
fn rounded<S: Simd>(simd: S, x: S::f32s) -> S::u32s {
    let bits = simd.transmute_u32s_f32s(x);
    let odd = simd.and_u32s(simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16)), simd.splat_u32s(1));
    simd.add_u32s(bits, simd.add_u32s(simd.splat_u32s(0x7fff), odd))
}

/// Puts the tiles' products together to small pixels: `Aᵀ m A`.
pub(super) struct TilesToSmall<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    pub(super) grid: &'a Grid,
    pub(super) tiles: Range<usize>,
    pub(super) products: &'a [f32],
    /// The channels that the products have.
    pub(super) columns: Range<usize>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) result: &'a Shared<'a>,
    pub(super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for TilesToSmall<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Grid { small, out, .. } = *self.grid;
        let width = self.columns.len();
        let slab = Slab::rows(self.tiles.len(), width, Pairs::None);
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
                let m: [[S::f32s; POINTS]; POINTS] = slab.load(simd, self.products, row * width + c);
                let bias = bias_vector(simd, self.bias, self.columns.start + c);
                let values = both_axes(simd, const { &W::RESULT }, m);
                unrolled!(j < RESULTS => {
                    unrolled!(i < RESULTS => {
                        let value = simd.add_f32s(values[j][i], bias);
                        // SAFETY: all of the square's pixels lie in the image, where every tile has pixels of its own, every
                        // task channels or tiles; or in the buffer.
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

impl Slab {
    /// The vectors of all products from `at` in the first product on.
    #[inline(always)]
    fn load<S: Simd, const POINTS: usize>(
        &self,
        simd: S,
        products: &[f32],
        at: usize,
    ) -> [[S::f32s; POINTS]; POINTS] {
        let product = self.product();
        let first = products[at..at + (POINTS * POINTS - 1) * product + S::F32_LANES].as_ptr();
        let mut values = [[simd.splat_f32s(0.0); POINTS]; POINTS];
        unrolled!(j < POINTS => {
            unrolled!(i < POINTS => {
                // SAFETY: the slice begins with the first vector and ends with the last.
                values[j][i] = unsafe { load::<S>(first.wrapping_add((POINTS * j + i) * product)) };
            });
        });
        values
    }
}

#[inline(always)]
fn bias_vector<S: Simd>(simd: S, bias: Option<&[f32]>, at: usize) -> S::f32s {
    match bias {
        // SAFETY: the slice has as many values as are read.
        Some(bias) => unsafe { load::<S>(bias[at..at + S::F32_LANES].as_ptr()) },
        None => simd.splat_f32s(0.0),
    }
}

/// Puts the tiles' products together to large pixels, `B v Bᵀ`; neighbouring tiles add up where they overlap.
pub(super) struct TilesToLarge<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    pub(super) grid: &'a Grid,
    pub(super) tiles: Range<usize>,
    pub(super) products: &'a [f32],
    /// The columns (phase and channel) that the products have.
    pub(super) columns: Range<usize>,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) result: &'a Shared<'a>,
    pub(super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for TilesToLarge<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.grid.channels;
        let width = self.columns.len();
        let slab = Slab::rows(self.tiles.len(), width, Pairs::None);
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
                let v: [[S::f32s; POINTS]; POINTS] = slab.load(simd, self.products, row * width + column);
                let bias = bias_vector(simd, self.bias, channel);
                let values = both_axes(simd, const { &transpose(W::DATA) }, v);
                unrolled!(j < POINTS => {
                    unrolled!(i < POINTS => {
                        if let (Some(line), Some(column)) = (lines[j], columns[i]) {
                            let at = line + column + channel;
                            // SAFETY: a task's images, phases or channels are its own.
                            let pixel = unsafe { self.result.part(at..at + S::F32_LANES) };
                            // The tile above or to the left was here before.
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

/// Transforms the weights, `G g Gᵀ`, and packs `(phase, channel) × out` if `forward`, else
/// `out × (phase, channel)`.
pub(super) struct WeightsToPanel<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    pub(super) g: &'a Geometry,
    pub(super) weight: &'a [f32],
    pub(super) forward: bool,
    pub(super) columns: Range<usize>,
    /// Has either all columns or only these.
    pub(super) slab: &'a Slab,
    pub(super) result: &'a Shared<'a>,
    pub(super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for WeightsToPanel<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let first = if self.slab.columns == self.columns.len() { self.columns.start } else { 0 };
        let rounds = W::ROUNDS && self.slab.pairs != Pairs::None;
        let rows_of_entry = if rounds { 2 } else { 1 };
        for row in (0..self.slab.rows).step_by(GROUP) {
            for column in self.columns.clone().step_by(GROUP) {
                let taps = self.taps(row * rows_of_entry, column);
                let partners =
                    if rounds { Some(self.taps(row * rows_of_entry + GROUP, column)) } else { None };
                for r in 0..GROUP {
                    let at = self.slab.offset(row + r, column - first);
                    for c in (0..GROUP).step_by(S::F32_LANES) {
                        let mut values = self.transform(simd, &taps, r, c);
                        if let Some(partners) = &partners {
                            values = pairs(simd, values, self.transform(simd, partners, r, c));
                        }
                        // SAFETY: every row, column and product has a place of its own.
                        unsafe { self.slab.store(simd, self.result, at + c, values) };
                    }
                }
            }
        }
    }
}

/// The taps of a group of channels of one image and one of the other.
type Taps<const TAPS: usize> = [[[[f32; GROUP]; GROUP]; TAPS]; TAPS];

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
    WeightsToPanel<'_, W, RESULTS, TAPS, POINTS>
{
    /// The taps of the groups of channels from `row` and `column` on.
    #[inline(always)]
    fn taps(&self, row: usize, column: usize) -> Taps<TAPS> {
        let straight = self.forward != self.g.transposed;
        let (large, out) = if self.forward { (row, column) } else { (column, row) };
        let mut taps = [[[[0.0; GROUP]; GROUP]; TAPS]; TAPS];
        unrolled!(j < TAPS => {
            unrolled!(i < TAPS => {
                weight_block(self.g, self.weight, (large, out), (j, i), straight, &mut taps[j][i]);
            });
        });
        taps
    }

    /// The vectors of all products from row `r` and column `c` of a group on.
    #[inline(always)]
    fn transform<S: Simd>(
        &self,
        simd: S,
        taps: &Taps<TAPS>,
        r: usize,
        c: usize,
    ) -> [[S::f32s; POINTS]; POINTS] {
        let mut w = [[simd.splat_f32s(0.0); TAPS]; TAPS];
        unrolled!(j < TAPS => {
            unrolled!(i < TAPS => {
                let values = &taps[j][i][r][c..c + S::F32_LANES];
                // SAFETY: the slice has as many values as are read.
                w[j][i] = unsafe { load::<S>(values.as_ptr()) };
            });
        });
        both_axes(simd, const { &W::KERNEL }, w)
    }
}

/// The place in the weights of tap `(j, i)` of a phase, a channel of the large and one of the small image;
/// `large` counts phases and channels. `None` beyond the kernel.
#[inline(always)]
fn weight_offset(g: &Geometry, large: usize, out: usize, tap: (usize, usize)) -> Option<usize> {
    let phases = Phases::of(g);
    let (phase, channel) = (large / g.channels, large % g.channels);
    let y = phases.place(phase / phases.count, tap.0);
    let x = phases.place(phase % phases.count, tap.1);
    let tap = y * g.kernel[1] + x;
    (y < g.kernel[0] && x < g.kernel[1]).then(|| {
        if g.transposed {
            (tap * g.out + out) * g.channels + channel
        } else {
            (tap * g.channels + channel) * g.out + out
        }
    })
}

/// One tap of a phase for a group of channels of the large image and a group of channels of the small one.
/// The inner index runs over those that lie side by side in the weights if `straight`, else over the others.
#[inline(always)]
fn weight_block(
    g: &Geometry,
    weight: &[f32],
    (large, out): (usize, usize),
    tap: (usize, usize),
    straight: bool,
    block: &mut [[f32; GROUP]; GROUP],
) {
    let Some(start) = weight_offset(g, large, out, tap) else {
        return;
    };
    let distance = if g.transposed { g.channels } else { g.out };
    for i in 0..GROUP {
        let values = &weight[start + i * distance..][..GROUP];
        if straight {
            block[i].copy_from_slice(values);
        } else {
            for j in 0..GROUP {
                block[j][i] = values[j];
            }
        }
    }
}

/// The weights' gradient from that of the transformed weights, `Gᵀ u G`.
pub(super) struct SumsToWeights<'a, W, const RESULTS: usize, const TAPS: usize, const POINTS: usize> {
    pub(super) g: &'a Geometry,
    /// Products of rows (phase, channel) and columns out, or the other way if the weights are transposed.
    pub(super) sums: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) result: &'a Shared<'a>,
    pub(super) scheme: PhantomData<W>,
}

impl<W: Scheme<RESULTS, TAPS, POINTS>, const RESULTS: usize, const TAPS: usize, const POINTS: usize> WithSimd
    for SumsToWeights<'_, W, RESULTS, TAPS, POINTS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let g = self.g;
        let large = Phases::of(g).depth(g.channels);
        let slab = if g.transposed {
            Slab::rows(g.out, large, Pairs::None)
        } else {
            Slab::rows(large, g.out, Pairs::None)
        };
        for row in self.rows {
            for column in (0..slab.columns).step_by(S::F32_LANES) {
                let u: [[S::f32s; POINTS]; POINTS] = slab.load(simd, self.sums, row * slab.columns + column);
                let values = both_axes(simd, const { &transpose(W::KERNEL) }, u);
                let (large, out) = if g.transposed { (column, row) } else { (row, column) };
                unrolled!(j < TAPS => {
                    unrolled!(i < TAPS => {
                        if let Some(at) = weight_offset(g, large, out, (j, i)) {
                            // SAFETY: every tap and pair of channels has a place of its own.
                            unsafe {
                                store(self.result.part(at..at + S::F32_LANES).as_mut_ptr(), values[j][i]);
                            }
                        }
                    });
                });
            }
        }
    }
}

/// # Safety
///
/// A vector's values must be readable from `source` on.
#[inline(always)]
unsafe fn load<S: Simd>(source: *const f32) -> S::f32s {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { source.cast::<S::f32s>().read_unaligned() }
}

/// # Safety
///
/// A vector's values must be writable from `target` on.
#[inline(always)]
unsafe fn store<V>(target: *mut f32, value: V) {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { target.cast::<V>().write_unaligned(value) }
}
