//! Which scheme computes a convolution, by an estimate of its time.

#![expect(unsafe_code, reason = "tasks write to parts of one buffer")]

use super::GROUP;
use super::grid::{Pairs, Phases};
use super::scheme::{F22, F23, Scheme};
use crate::flex::convolution::Geometry;
use crate::flex::gemm::Gemm;
use crate::flex::parallel::{self, Shared};
use crate::flex::partial_sums::FEW_WEIGHTS;
use crate::flex::pool::Buffer;
use crate::flex::simd;

/// The scheme of a convolution and the precision of its products.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The scheme.
    pub scheme: SchemeName,
    /// Its products.
    pub gemm: Gemm,
}

/// A scheme, by its numbers of results and taps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemeName {
    /// F(2, 2)
    F22,
    /// F(4, 2)
    F42,
    /// F(2, 3)
    F23,
    /// F(4, 3)
    F43,
    /// F(3, 4)
    F34,
    /// F(2, 5)
    F25,
}

impl SchemeName {
    /// The schemes for this many taps per axis, with their results and points.
    fn candidates(taps: usize) -> &'static [(Self, usize, usize)] {
        match taps {
            2 => &[(Self::F22, 2, 3), (Self::F42, 4, 5)],
            3 => &[(Self::F23, 2, 4), (Self::F43, 4, 6)],
            4 => &[(Self::F34, 3, 6)],
            5 => &[(Self::F25, 2, 6)],
            _ => &[],
        }
    }

    /// The precision that the scheme multiplies in: rounded where that is allowed and where channels form pairs.
    fn gemm(self, g: &Geometry) -> Gemm {
        let rounds = match self {
            Self::F22 => F22::ROUNDS,
            Self::F23 => F23::ROUNDS,
            Self::F42 | Self::F43 | Self::F34 | Self::F25 => false,
        };
        let pairs = g.channels.is_multiple_of(2 * GROUP) && g.out.is_multiple_of(2 * GROUP);
        if rounds && pairs { Gemm::current() } else { Gemm::F32 }
    }
}

/// How the factors of `fprop` and `dgrad` share entries.
pub(super) fn pairs_of_channels(gemm: Gemm) -> Pairs {
    if gemm.rounds() { Pairs::Channels } else { Pairs::None }
}

/// How the factors of `wgrad` share entries.
pub(super) fn pairs_of_tiles(gemm: Gemm) -> Pairs {
    if gemm.rounds() { Pairs::Tiles } else { Pairs::None }
}

/// The scheme that is expected to be fastest for this convolution; `None` where direct sums are.
///
/// The choice does not depend on the batch, so that results do not either.
pub(crate) fn choose(g: &Geometry) -> Option<Plan> {
    fastest(g, |_| 14.0)
}

/// [`choose`] for the gradient of the weights, whose transformed images do not stay in the cache where there are many weights.
pub(crate) fn choose_for_weights(g: &Geometry) -> Option<Plan> {
    let for_many = if simd::multiplies_fast() { 50.0 } else { 20.0 };
    fastest(g, |weights| if weights <= FEW_WEIGHTS { 17.0 } else { for_many })
}

/// Whether the schemes can compute a convolution at all.
fn is_possible(g: &Geometry) -> bool {
    let stride = g.stride[0];
    let fits = simd::has_vectors()
        && g.kernel[0] == g.kernel[1]
        && g.stride == [stride; 2]
        && (stride == 1 || stride == 2)
        && g.dilation == [1, 1]
        && g.groups == 1
        && g.active_taps == g.taps()
        && g.channels.is_multiple_of(GROUP)
        && g.out.is_multiple_of(GROUP);
    if !fits {
        return false;
    }
    let phases = Phases::of(g);
    let taps = g.kernel[0].div_ceil(phases.count);
    // Every pixel of the large image must be in a tile, and in that of one phase alone.
    let covered = |axis: usize| {
        let reach = stride * (g.small[axis] - 1 + taps);
        g.large[axis] + g.padding[axis] <= reach && phases.step == phases.count
    };
    mirrored(g).is_some() || (covered(0) && covered(1))
}

/// The fastest scheme where transforming a value takes as long as `moving` multiplications, which depends on the number of
/// transformed weights; measured on Zen 5, the 20 for many weights also on Zen 4.
fn fastest(g: &Geometry, moving: impl Fn(usize) -> f64) -> Option<Plan> {
    if !is_possible(g) {
        return None;
    }
    let kernel = g.kernel[0];
    let phases = Phases::of(g);
    let pairs = (g.channels * g.out) as f64;
    let depth = phases.depth(g.channels);
    // Times in multiplications, for a batch of 64; rounded ones as measured on Zen 4.
    let of_pair = if Gemm::current().rounds() { 0.8 } else { 1.0 };
    let direct = (64 * g.small[0] * g.small[1] * kernel * kernel) as f64 * pairs * of_pair;
    SchemeName::candidates(kernel.div_ceil(phases.count))
        .iter()
        .map(|&(scheme, results, points)| {
            let gemm = scheme.gemm(g);
            let tiles = 64 * g.small[0].div_ceil(results) * g.small[1].div_ceil(results);
            let products = points * points;
            let moving = moving(products * depth * g.out);
            let (tiles, products, depth) = (tiles as f64, products as f64, depth as f64);
            let of_pair = if gemm.rounds() { 0.55 } else { 1.0 };
            let multiplying = tiles * depth * g.out as f64 * of_pair;
            let moving = moving * tiles * (depth + g.out as f64);
            let weights = 60.0 * depth * g.out as f64;
            (Plan { scheme, gemm }, products * (multiplying + moving + weights))
        })
        .filter(|&(_, time)| time < direct)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(plan, _)| plan)
}

/// The convolution with the mirrored kernel that computes the same as `dgrad` if the stride is 1: its tiles do not
/// overlap, so nothing has to be added up in memory.
pub(super) fn mirrored(g: &Geometry) -> Option<Geometry> {
    let reach = g.kernel[0] - 1;
    // Every pixel of its large image, our small one, must be in a tile.
    let covered = |axis: usize| g.padding[axis] <= reach && g.small[axis] <= g.large[axis] + g.padding[axis];
    (g.stride == [1, 1] && covered(0) && covered(1)).then(|| Geometry {
        large: g.small,
        channels: g.out,
        small: g.large,
        out: g.channels,
        padding: g.padding.map(|padding| reach - padding),
        transposed: !g.transposed,
        ..g.clone()
    })
}

/// The weights with the taps in the opposite order.
pub(super) fn mirrored_taps(g: &Geometry, weight: &[f32]) -> Buffer {
    let mut mirrored = Buffer::take(weight.len());
    let (taps, len) = (g.taps(), weight.len() / g.taps());
    let shared = Shared::new(&mut mirrored);
    parallel::tasks(taps, |tap| {
        // SAFETY: every task writes its own tap.
        let to = unsafe { shared.part(tap * len..(tap + 1) * len) };
        to.copy_from_slice(&weight[(taps - 1 - tap) * len..][..len]);
    });
    mirrored
}
