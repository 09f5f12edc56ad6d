//! Transforms of weights to panels, and of the sums of products to the gradient of the weights.

#![expect(unsafe_code, reason = "the transforms use dozens of pointers at once")]

use std::ops::Range;

use pulp::Simd;

use super::super::GROUP;
use super::super::grid::{Pairs, Phases, TransformLayout};
use super::super::scheme::{Scheme, both_axes, transpose, unrolled};
use super::Transform;
use super::vectors::{load, pairs, store};
use crate::flex::convolution::Geometry;
use crate::flex::parallel::Shared;

/// Transforms the weights, `G g Gᵀ`, and packs `(phase, channel) × out` if `forward`, else
/// `out × (phase, channel)`.
pub(in super::super) struct WeightsToPanel<'a> {
    pub(in super::super) g: &'a Geometry,
    pub(in super::super) weight: &'a [f32],
    pub(in super::super) forward: bool,
    pub(in super::super) columns: Range<usize>,
    /// The layout of either all columns or only these.
    pub(in super::super) layout: &'a TransformLayout,
    pub(in super::super) result: &'a Shared<'a>,
}

impl Transform for WeightsToPanel<'_> {
    #[inline(always)]
    fn run<S: Simd, W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(self, simd: S) {
        let first = if self.layout.columns == self.columns.len() { self.columns.start } else { 0 };
        let rounds = W::ROUNDS && self.layout.pairs != Pairs::None;
        let rows_of_entry = if rounds { 2 } else { 1 };
        for row in (0..self.layout.rows).step_by(GROUP) {
            for column in self.columns.clone().step_by(GROUP) {
                let taps: Taps<T> = self.taps(row * rows_of_entry, column);
                let partners =
                    if rounds { Some(self.taps(row * rows_of_entry + GROUP, column)) } else { None };
                for r in 0..GROUP {
                    let at = self.layout.offset(row + r, column - first);
                    for c in (0..GROUP).step_by(S::F32_LANES) {
                        let mut values = of_taps(simd, const { &W::KERNEL }, &taps, r, c);
                        if let Some(partners) = &partners {
                            values = pairs(simd, values, of_taps(simd, const { &W::KERNEL }, partners, r, c));
                        }
                        // SAFETY: every row, column and product has its own entry.
                        unsafe { self.layout.store(simd, self.result, at + c, values) };
                    }
                }
            }
        }
    }
}

/// The taps of a group of channels of one image and one of the other.
type Taps<const T: usize> = [[[[f32; GROUP]; GROUP]; T]; T];

impl WeightsToPanel<'_> {
    /// The taps of the groups of channels from `row` and `column` on.
    #[inline(always)]
    fn taps<const T: usize>(&self, row: usize, column: usize) -> Taps<T> {
        let straight = self.forward != self.g.transposed;
        let (large, out) = if self.forward { (row, column) } else { (column, row) };
        let mut taps = [[[[0.0; GROUP]; GROUP]; T]; T];
        unrolled!(j < T => {
            unrolled!(i < T => {
                weight_block(self.g, self.weight, (large, out), (j, i), straight, &mut taps[j][i]);
            });
        });
        taps
    }
}

/// The vectors of all products from row `r` and column `c` of a group on.
#[inline(always)]
fn of_taps<S: Simd, const T: usize, const P: usize>(
    simd: S,
    kernel: &'static [[f32; T]; P],
    taps: &Taps<T>,
    r: usize,
    c: usize,
) -> [[S::f32s; P]; P] {
    let mut w = [[simd.splat_f32s(0.0); T]; T];
    unrolled!(j < T => {
        unrolled!(i < T => {
            let values = &taps[j][i][r][c..c + S::F32_LANES];
            // SAFETY: the slice has as many values as are read.
            w[j][i] = unsafe { load::<S>(values.as_ptr()) };
        });
    });
    both_axes(simd, kernel, w)
}

/// The offset in the weights of tap `(j, i)` of a phase, a channel of the large and one of the small image;
/// `large` counts phases and channels. `None` beyond the kernel.
#[inline(always)]
fn weight_offset(g: &Geometry, large: usize, out: usize, tap: (usize, usize)) -> Option<usize> {
    let phases = Phases::of(g);
    let (phase, channel) = (large / g.channels, large % g.channels);
    let y = phases.position(phase / phases.count, tap.0);
    let x = phases.position(phase % phases.count, tap.1);
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
/// The inner index runs over the channels that are adjacent in the weights if `straight`, else over the others.
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

/// The gradient of the weights from that of the transformed weights, `Gᵀ u G`.
pub(in super::super) struct SumsToWeights<'a> {
    pub(in super::super) g: &'a Geometry,
    /// Products with rows (phase, channel) and columns out, or the other way round if the weights are transposed.
    pub(in super::super) sums: &'a [f32],
    pub(in super::super) rows: Range<usize>,
    pub(in super::super) result: &'a Shared<'a>,
}

impl Transform for SumsToWeights<'_> {
    #[inline(always)]
    fn run<S: Simd, W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(self, simd: S) {
        let g = self.g;
        let large = Phases::of(g).depth(g.channels);
        let layout = if g.transposed {
            TransformLayout::rows(g.out, large, Pairs::None)
        } else {
            TransformLayout::rows(large, g.out, Pairs::None)
        };
        for row in self.rows {
            for column in (0..layout.columns).step_by(S::F32_LANES) {
                let u: [[S::f32s; P]; P] = layout.load(simd, self.sums, row * layout.columns + column);
                let values = both_axes(simd, const { &transpose(W::KERNEL) }, u);
                let (large, out) = if g.transposed { (column, row) } else { (row, column) };
                unrolled!(j < T => {
                    unrolled!(i < T => {
                        if let Some(at) = weight_offset(g, large, out, (j, i)) {
                            // SAFETY: every tap and pair of channels has its own weight.
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
