//! The transforms of tiles and weights, a vector of channels at a time.

#![expect(unsafe_code, reason = "the transforms run through dozens of pointers at once")]
#![expect(clippy::needless_range_loop, reason = "indices over registers, the same for several arrays")]

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::convolution::Geometry;
use super::super::parallel::Shared;
use super::GROUP;
use super::grid::{Grid, Phases, Slab};
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
        let channels = self.grid.channels;
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            for phase in 0..self.grid.phases() {
                let mut pixels = [[self.grid.zeros.as_ptr(); POINTS]; POINTS];
                unrolled!(j < POINTS => {
                    unrolled!(i < POINTS => {
                        if let Some(at) = self.grid.large_pixel(tile, phase, (j, i)) {
                            pixels[j][i] = self.image[at..at + channels].as_ptr();
                        }
                    });
                });
                for group in (0..channels).step_by(GROUP) {
                    let at = self.slab.offset(self.at + row, phase * channels + group);
                    for c in (group..group + GROUP).step_by(S::F32_LANES) {
                        // SAFETY: a pixel has `channels` values, a multiple of `GROUP` and hence of the lanes; `zeros` are as many.
                        let d = unsafe { gather(simd, pixels, c) };
                        let values = both_axes(simd, const { &W::DATA }, d);
                        // SAFETY: every row, product and column has a place of its own.
                        unsafe { self.slab.store(simd, self.result, at + c - group, values) };
                    }
                }
            }
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
        let out = self.grid.out;
        for (row, index) in self.tiles.clone().enumerate() {
            let tile = self.grid.tile(index);
            let mut pixels = [[self.grid.zeros.as_ptr(); RESULTS]; RESULTS];
            unrolled!(j < RESULTS => {
                unrolled!(i < RESULTS => {
                    if let Some(at) = self.grid.small_pixel(tile, (j, i)) {
                        pixels[j][i] = self.image[at..at + out].as_ptr();
                    }
                });
            });
            for group in (0..out).step_by(GROUP) {
                let at = self.slab.offset(self.at + row, group);
                for c in (group..group + GROUP).step_by(S::F32_LANES) {
                    // SAFETY: a pixel has `out` values, a multiple of `GROUP`; `zeros` are as many.
                    let y = unsafe { gather(simd, pixels, c) };
                    let values = both_axes(simd, const { &transpose(W::RESULT) }, y);
                    // SAFETY: every row, product and column has a place of its own.
                    unsafe { self.slab.store(simd, self.result, at + c - group, values) };
                }
            }
        }
    }
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
        let slab = Slab::rows(self.tiles.len(), width);
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
        let slab = Slab::rows(self.tiles.len(), width);
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
        let straight = self.forward != self.g.transposed;
        let first = if self.slab.columns == self.columns.len() { self.columns.start } else { 0 };
        for row in (0..self.slab.rows).step_by(GROUP) {
            for column in self.columns.clone().step_by(GROUP) {
                let (large, out) = if self.forward { (row, column) } else { (column, row) };
                let mut taps = [[[[0.0; GROUP]; GROUP]; TAPS]; TAPS];
                unrolled!(j < TAPS => {
                    unrolled!(i < TAPS => {
                        weight_block(self.g, self.weight, (large, out), (j, i), straight, &mut taps[j][i]);
                    });
                });
                for r in 0..GROUP {
                    let at = self.slab.offset(row + r, column - first);
                    for c in (0..GROUP).step_by(S::F32_LANES) {
                        let mut w = [[simd.splat_f32s(0.0); TAPS]; TAPS];
                        unrolled!(j < TAPS => {
                            unrolled!(i < TAPS => {
                                let values = &taps[j][i][r][c..c + S::F32_LANES];
                                // SAFETY: the slice has as many values as are read.
                                w[j][i] = unsafe { load::<S>(values.as_ptr()) };
                            });
                        });
                        let values = both_axes(simd, const { &W::KERNEL }, w);
                        // SAFETY: every row, column and product has a place of its own.
                        unsafe { self.slab.store(simd, self.result, at + c, values) };
                    }
                }
            }
        }
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
        let slab = if g.transposed { Slab::rows(g.out, large) } else { Slab::rows(large, g.out) };
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
