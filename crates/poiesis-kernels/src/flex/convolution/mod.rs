//! Convolutions for any kernel, stride, padding, dilation and number of groups.
//!
//! A convolution takes a *large* image `[batch, height, width, channels]` to a *small* one `[batch,
//! out_height, out_width, out]`; a transposed convolution goes the other way. Both consist of the same three products, so
//! there is one implementation of each:
//!
//! - [`fprop`], large → small: the convolution, and the input gradient of a transposed convolution;
//! - [`dgrad`], small → large: the transposed convolution, and the input gradient of a convolution;
//! - [`wgrad`], both images → weights: the weight gradient of either.
//!
//! Each product is computed by Winograd's algorithm ([`winograd`]) or directly, as matrix products over tiles of pixels.
//! [`algorithm`] chooses.
//!
//! Memory of the direct products: tiles of at most some hundred kilobytes per thread for `fprop` and `dgrad`; at most about
//! 16 MiB of gathered pixels or of partial sums for `wgrad`.

mod algorithm;
pub(crate) mod dgrad;
pub(crate) mod fprop;
mod gather;
mod geometry;
mod operation;
mod phases;
mod product;
pub(crate) mod wgrad;
mod window;
pub(crate) mod winograd;

pub use geometry::Geometry;
pub(crate) use operation::convolve;

use self::algorithm::Algorithm;
use super::pool::Buffer;

/// The small image of the large image `x`, plus `bias [out]`.
pub(crate) fn fprop(g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    match algorithm::of_images(g) {
        Algorithm::Winograd(plan) => winograd::fprop(plan, g, x, weight, bias),
        Algorithm::Direct => fprop::direct(g, x, weight, bias),
    }
}

/// The large image of the small image `y`, the adjoint of [`fprop`], plus `bias [channels]`.
pub(crate) fn dgrad(g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    match algorithm::of_images(g) {
        Algorithm::Winograd(plan) => winograd::dgrad(plan, g, y, weight, bias),
        Algorithm::Direct => dgrad::direct(g, y, weight, bias),
    }
}

/// The gradient of the weights, in their own layout, from the large image (or its gradient) and the
/// gradient of the small image (or the small image).
pub(crate) fn wgrad(g: &Geometry, x: &[f32], y: &[f32]) -> Buffer {
    match algorithm::of_weights(g) {
        Algorithm::Winograd(plan) => winograd::wgrad(plan, g, x, y),
        Algorithm::Direct => wgrad::direct(g, x, y),
    }
}
