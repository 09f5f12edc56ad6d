//! Winograd's minimal filtering for square kernels of stride 1 and 2 with up to ten taps per axis, among them 3×3, 5×5, 7×7
//! and 4×4 of stride 2 (DCGAN).
//!
//! With stride 2 the pixels of even and odd rows and columns are four *phases*; over each of them the convolution
//! is one of stride 1 with `taps` = 2 to 5 taps per axis. A kernel of more than five taps at stride 1 is cut into four parts,
//! which read phases that begin `taps` pixels after one another. `results` results of `taps` taps take
//! `results + taps − 1 = points` products per axis instead of `results · taps`: `y = Aᵀ ((G g) ⊙ (Bᵀ d))`, and the squares of
//! these for a tile with two axes. Summed over the channels and phases, each of the `points²` products is a matrix product. The
//! gradients are the exact adjoints with the same matrix products.
//!
//! | scheme | multiplications of the direct sum | largest error, relative to the largest result (256 channels, f32) |
//! |---|---|---|
//! | F(2, 2) | 9/16 | 7e-7 |
//! | F(4, 2) | 25/64 | 4e-6 |
//! | F(2, 3) | 16/36 | 7e-7 |
//! | F(4, 3) | 36/144 | 4e-6 |
//! | F(3, 4) | 36/144 | 3e-6 |
//! | F(2, 5) | 36/100 | 3e-6 |
//!
//! The direct sum itself has 1e-6 to 2e-6. The points are 0, ±1, −1/2, ∞ and 0, ±1, 1/2, −2, ∞; the usual
//! ±2 instead would give four times the error.
//!
//! With bf16 ([`crate::set_precision`]), F(2, 2) and F(2, 3) round their transformed factors if the channels of both images
//! are multiples of 32. Their mean error is then twice that of rounded direct sums: 4.5e-3 and 3.9e-3 of the standard deviation
//! of the results instead of 2.1e-3 (256 channels). The transforms write pairs of bf16, so the matrix products have nothing left
//! to round. The other schemes multiply in f32: rounded, they would have eight times the error of direct sums (1.6e-2 to 1.9e-2).
//!
//! Memory: with many tiles, transformed weights (`points²` matrices) and some megabytes per thread; with few
//! tiles, the transformed image and one panel of transformed weights per thread. The gradient of few weights: at most 16 MiB of
//! sums and some megabytes per thread; of many: their sums and at most about 16 MiB of transformed images.
//!
//! Source: Winograd 1980; Lavin & Gray 2016 for convolutions; Barabasz et al. 2020 for the points.

mod grid;
mod images;
mod plan;
mod products;
mod scheme;
mod transform;
mod weights;

pub use plan::{Plan, SchemeName};
pub(super) use plan::{choose, choose_for_weights};

use self::images::{Factors, dgrad_by, fprop_by};
use self::plan::{mirrored, mirrored_taps};
use self::scheme::{F22, F23, F25, F34, F42, F43};
use self::weights::wgrad_by;
use super::Geometry;
use crate::flex::pool::Buffer;

/// Channels come in groups of this many, a multiple of the length of every vector.
const GROUP: usize = 16;

/// Calls a function with the scheme of a name and its numbers of results, taps and points.
macro_rules! with_scheme {
    ($name:expr, $function:ident($($argument:expr),*)) => {
        match $name {
            SchemeName::F22 => $function::<F22, 2, 2, 3>($($argument),*),
            SchemeName::F42 => $function::<F42, 4, 2, 5>($($argument),*),
            SchemeName::F23 => $function::<F23, 2, 3, 4>($($argument),*),
            SchemeName::F43 => $function::<F43, 4, 3, 6>($($argument),*),
            SchemeName::F34 => $function::<F34, 3, 4, 6>($($argument),*),
            SchemeName::F25 => $function::<F25, 2, 5, 6>($($argument),*),
        }
    };
}

/// See [`super::fprop`].
pub fn fprop(plan: Plan, g: &Geometry, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    let factors = Factors { gemm: plan.gemm, g, image: x, weight, bias };
    with_scheme!(plan.scheme, fprop_by(&factors))
}

/// See [`super::dgrad`].
pub fn dgrad(plan: Plan, g: &Geometry, y: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Buffer {
    if let Some(mirrored) = mirrored(g) {
        return fprop(plan, &mirrored, y, &mirrored_taps(g, weight), bias);
    }
    let factors = Factors { gemm: plan.gemm, g, image: y, weight, bias };
    with_scheme!(plan.scheme, dgrad_by(&factors))
}

/// See [`super::wgrad`].
pub fn wgrad(plan: Plan, g: &Geometry, x: &[f32], y: &[f32]) -> Buffer {
    with_scheme!(plan.scheme, wgrad_by(plan.gemm, g, x, y))
}
