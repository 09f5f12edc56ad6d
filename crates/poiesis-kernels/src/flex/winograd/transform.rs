//! The transforms of tiles and weights, a vector of channels at a time.

#![expect(unsafe_code, reason = "the transforms run through dozens of pointers at once")]

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::convolution::Geometry;
use super::super::parallel::Shared;
use super::GROUP;
use super::grid::{Grid, Pairs, Phases, Slab};
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
        for (row, index) in self.tiles.clone().step_by(pairs.tiles_of_row()).enumerate() {
            for phase in 0..self.grid.phases() {
                let tile = TileOfPixels {
                    pixels: self.pixels(index, phase),
                    next: (pairs == Pairs::Tiles).then(|| self.pixels(index + 1, phase)),
                    pairs,
                    channels: self.grid.channels,
                    row: self.at + row,
                    column: phase * self.grid.channels,
                };
                // SAFETY: a pixel has `channels` values, `zeros` are as many, and every row, product and column has a place of
                // its own.
                unsafe { tile.transform(simd, const { &W::DATA }, self.slab, self.result) };
            }
        }
    }
}

impl<W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
    LargeToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    /// The pixels of a phase of a tile; zeros outside the image and behind the last tile.
    #[inline(always)]
    fn pixels(&self, index: usize, phase: usize) -> [[*const f32; POINTS]; POINTS] {
        let mut pixels = [[self.grid.zeros.as_ptr(); POINTS]; POINTS];
        if index < self.tiles.end {
            let tile = self.grid.tile(index);
            unrolled!(j < POINTS => {
                unrolled!(i < POINTS => {
                    if let Some(at) = self.grid.large_pixel(tile, phase, (j, i)) {
                        pixels[j][i] = self.image[at..at + self.grid.channels].as_ptr();
                    }
                });
            });
        }
        pixels
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
        for (row, index) in self.tiles.clone().step_by(pairs.tiles_of_row()).enumerate() {
            let tile = TileOfPixels {
                pixels: self.pixels(index),
                next: (pairs == Pairs::Tiles).then(|| self.pixels(index + 1)),
                pairs,
                channels: self.grid.out,
                row: self.at + row,
                column: 0,
            };
            // SAFETY: a pixel has `out` values, `zeros` are as many, and every row, product and column has a place of its own.
            unsafe { tile.transform(simd, const { &transpose(W::RESULT) }, self.slab, self.result) };
        }
    }
}

impl<W, const RESULTS: usize, const TAPS: usize, const POINTS: usize>
    SmallToTiles<'_, W, RESULTS, TAPS, POINTS>
{
    /// The pixels of a tile; zeros outside the image and behind the last tile.
    #[inline(always)]
    fn pixels(&self, index: usize) -> [[*const f32; RESULTS]; RESULTS] {
        let mut pixels = [[self.grid.zeros.as_ptr(); RESULTS]; RESULTS];
        if index < self.tiles.end {
            let tile = self.grid.tile(index);
            unrolled!(j < RESULTS => {
                unrolled!(i < RESULTS => {
                    if let Some(at) = self.grid.small_pixel(tile, (j, i)) {
                        pixels[j][i] = self.image[at..at + self.grid.out].as_ptr();
                    }
                });
            });
        }
        pixels
    }
}

/// What goes into a row of a slab.
struct TileOfPixels<const SIDE: usize> {
    pixels: [[*const f32; SIDE]; SIDE],
    /// The pixels of the next tile, for pairs of tiles.
    next: Option<[[*const f32; SIDE]; SIDE]>,
    pairs: Pairs,
    channels: usize,
    row: usize,
    /// The column of the first channel.
    column: usize,
}

impl<const SIDE: usize> TileOfPixels<SIDE> {
    /// # Safety
    ///
    /// All pixels have `channels` values, a multiple of [`GROUP`], of two for pairs of channels, and nothing else uses the row.
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
            Pairs::Channels => (Some(pixels.map(|line| line.map(|pixel| pixel.wrapping_add(GROUP)))), 2),
            Pairs::Tiles => (self.next, 1),
        };
        for group in (0..channels).step_by(values_of_entry * GROUP) {
            let at = slab.offset(row, (column + group) / values_of_entry);
            for c in (group..group + GROUP).step_by(S::F32_LANES) {
                // SAFETY: the caller's promise, and a group is a multiple of the lanes.
                let x = unsafe { gather(simd, pixels, c) };
                let mut values = both_axes(simd, matrix, x);
                if let Some(partner) = partner {
                    // SAFETY: as above.
                    let x = unsafe { gather(simd, partner, c) };
                    values = pairs(simd, values, both_axes(simd, matrix, x));
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
        unrolled!(j < POINTS => {
            unrolled!(i < POINTS => {
                let at = at + (POINTS * j + i) * self.product();
                // SAFETY: the caller's promise; the part has a vector's values.
                unsafe { store(result.part(at..at + S::F32_LANES), values[j][i]) };
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
        let width = self.columns.len();
        let slab = Slab::rows(self.tiles.len(), width, Pairs::None);
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            for c in (0..width).step_by(S::F32_LANES) {
                // SAFETY: `multiply_all` filled the products.
                let m: [[S::f32s; POINTS]; POINTS] =
                    unsafe { slab.load(simd, self.products, row * width + c) };
                let bias = bias_vector(simd, self.bias, self.columns.start + c);
                let values = both_axes(simd, const { &W::RESULT }, m);
                unrolled!(j < RESULTS => {
                    unrolled!(i < RESULTS => {
                        if let Some(at) = self.grid.small_pixel(tile, (j, i)) {
                            let at = at + self.columns.start + c;
                            let value = simd.add_f32s(values[j][i], bias);
                            // SAFETY: every tile has pixels of its own, every task channels or tiles.
                            unsafe { store(self.result.part(at..at + S::F32_LANES), value) };
                        }
                    });
                });
            }
        }
    }
}

impl Slab {
    /// The vectors of all products from `at` in the first product on.
    ///
    /// # Safety
    ///
    /// They must lie inside `products`, which is checked.
    #[inline(always)]
    unsafe fn load<S: Simd, const POINTS: usize>(
        &self,
        simd: S,
        products: &[f32],
        at: usize,
    ) -> [[S::f32s; POINTS]; POINTS] {
        let mut values = [[simd.splat_f32s(0.0); POINTS]; POINTS];
        unrolled!(j < POINTS => {
            unrolled!(i < POINTS => {
                let at = at + (POINTS * j + i) * self.product();
                // SAFETY: the slice has as many values as are read.
                values[j][i] = unsafe { load::<S>(products[at..at + S::F32_LANES].as_ptr()) };
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
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            let mut pixels = [[None; POINTS]; POINTS];
            let mut current = usize::MAX;
            for column in (0..width).step_by(S::F32_LANES) {
                let (phase, channel) =
                    ((self.columns.start + column) / channels, (self.columns.start + column) % channels);
                if phase != current {
                    current = phase;
                    unrolled!(j < POINTS => {
                        unrolled!(i < POINTS => {
                            pixels[j][i] = self.grid.large_pixel(tile, phase, (j, i));
                        });
                    });
                }
                // SAFETY: `multiply_all` filled the products.
                let v: [[S::f32s; POINTS]; POINTS] =
                    unsafe { slab.load(simd, self.products, row * width + column) };
                let bias = bias_vector(simd, self.bias, channel);
                let values = both_axes(simd, const { &transpose(W::DATA) }, v);
                unrolled!(j < POINTS => {
                    unrolled!(i < POINTS => {
                        if let Some(at) = pixels[j][i] {
                            let at = at + channel;
                            // SAFETY: a task's images, phases or channels are its own.
                            let pixel = unsafe { self.result.part(at..at + S::F32_LANES) };
                            // The tile above or to the left was here before.
                            let seen = (j < overlap && tile.1 > 0) || (i < overlap && tile.2 > 0);
                            let old = if seen {
                                // SAFETY: the slice has as many values as are read.
                                unsafe { load::<S>(pixel.as_ptr()) }
                            } else {
                                bias
                            };
                            // SAFETY: the slice has as many values as are written.
                            unsafe { store(pixel, simd.add_f32s(old, values[j][i])) };
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
                // SAFETY: the loads are checked.
                let u: [[S::f32s; POINTS]; POINTS] =
                    unsafe { slab.load(simd, self.sums, row * slab.columns + column) };
                let values = both_axes(simd, const { &transpose(W::KERNEL) }, u);
                let (large, out) = if g.transposed { (column, row) } else { (row, column) };
                unrolled!(j < TAPS => {
                    unrolled!(i < TAPS => {
                        if let Some(at) = weight_offset(g, large, out, (j, i)) {
                            // SAFETY: every tap and pair of channels has a place of its own.
                            unsafe {
                                store(self.result.part(at..at + S::F32_LANES), values[j][i]);
                            }
                        }
                    });
                });
            }
        }
    }
}

/// The vectors of a tile's pixels from channel `c` on.
///
/// # Safety
///
/// From `c` on each pixel must have a vector's values.
#[inline(always)]
unsafe fn gather<S: Simd, const SIDE: usize>(
    simd: S,
    pixels: [[*const f32; SIDE]; SIDE],
    c: usize,
) -> [[S::f32s; SIDE]; SIDE] {
    let mut values = [[simd.splat_f32s(0.0); SIDE]; SIDE];
    unrolled!(j < SIDE => {
        unrolled!(i < SIDE => {
            // SAFETY: the caller's promise.
            values[j][i] = unsafe { load::<S>(pixels[j][i].wrapping_add(c)) };
        });
    });
    values
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
/// `target` must have a vector's values.
#[inline(always)]
unsafe fn store<V>(target: &mut [f32], value: V) {
    // SAFETY: the caller's promise; vectors need no alignment here.
    unsafe { target.as_mut_ptr().cast::<V>().write_unaligned(value) }
}
