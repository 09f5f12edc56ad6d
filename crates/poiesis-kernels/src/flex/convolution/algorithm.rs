//! The choice of the algorithm of each product. The first row of a product whose condition holds decides.
//!
//! | product | condition | algorithm |
//! |---|---|---|
//! | `fprop` | [`winograd::choose`] expects it to be faster | Winograd |
//! | | else | tiles of pixels, [`super::product`] |
//! | `dgrad` | [`winograd::choose`] expects it to be faster | Winograd |
//! | | one small pixel per image that reads all of the large image | [`DirectDgrad::Pixels`] |
//! | | few channels, or many taps outside the small image | [`DirectDgrad::Scatter`] |
//! | | else | [`DirectDgrad::Phases`] |
//! | `wgrad` | [`winograd::choose_for_weights`] expects it to be faster | Winograd |
//! | | one group, few weights, taps in a rectangle | [`DirectWgrad::Lines`] |
//! | | few weights from many pixels | [`DirectWgrad::Parts`] |
//! | | else | [`DirectWgrad::Rows`] |
//!
//! No choice depends on the batch in a way that changes results of `fprop` or `dgrad`.

use super::Geometry;
use super::gather::Gather;
use super::phases::{Phase, phases};
use super::window::Window;
use super::winograd;
use crate::flex::partial_sums::{FEW_WEIGHTS, count_of_parts};

/// How one of the products is computed.
pub(super) enum Algorithm {
    Winograd(winograd::Plan),
    Direct,
}

/// The algorithm of `fprop` and `dgrad`.
pub(super) fn of_images(g: &Geometry) -> Algorithm {
    winograd::choose(g).map_or(Algorithm::Direct, Algorithm::Winograd)
}

/// The algorithm of `wgrad`.
pub(super) fn of_weights(g: &Geometry) -> Algorithm {
    winograd::choose_for_weights(g).map_or(Algorithm::Direct, Algorithm::Winograd)
}

/// How `dgrad` is computed directly.
pub(super) enum DirectDgrad {
    /// The weights of a tap are a matrix that writes one pixel of every large image.
    Pixels,
    /// Products first, which are then added to their pixels.
    Scatter,
    /// One product for the large pixels of each remainder by the stride.
    Phases(Vec<Phase>),
}

impl DirectDgrad {
    pub(super) fn choose(g: &Geometry) -> Self {
        if g.groups == 1 && g.small == [1, 1] && g.sees_all_once() {
            return Self::Pixels;
        }
        let phases = phases(g);
        let gathered: usize = phases.iter().map(Phase::products).sum();
        let scattered = g.small[0] * g.small[1] * g.active_taps;
        // Few columns waste most of a vector, and many taps outside the small image waste products.
        if g.active_taps > 0 && (g.group_channels() < 16 || gathered > scattered + scattered / 4) {
            Self::Scatter
        } else {
            Self::Phases(phases)
        }
    }
}

/// How `wgrad` is computed directly.
pub(super) enum DirectWgrad<'a> {
    /// From padded copies of lines of the large image.
    Lines(Window<'a>),
    /// This many parts of the pixels are summed separately.
    Parts(usize),
    /// Pixels are gathered in chunks, then blocks of weights are multiplied.
    Rows,
}

impl<'a> DirectWgrad<'a> {
    pub(super) fn choose(g: &Geometry, gather: &'a Gather) -> Self {
        let rows = g.active_taps * g.group_channels();
        let weights = rows * g.out;
        if g.groups == 1
            && weights <= 1 << 18
            && gather.in_place(g.channels).is_none()
            && let Some(window) = gather.window()
        {
            return Self::Lines(window);
        }
        // The more sums a part has to write and to add, the more pixels it must have.
        let parts = count_of_parts(g.small_pixels(), (weights / 512).max(384), weights);
        if weights <= FEW_WEIGHTS && (parts > 1 || rows < 48) { Self::Parts(parts) } else { Self::Rows }
    }
}
