//! The transforms of tiles and weights, a vector of channels at a time.

mod inputs;
mod results;
mod vectors;
mod weights;

pub(super) use inputs::{ImageTiles, LargeToTiles, SmallToTiles};
pub(super) use results::{TileProducts, TilesToLarge, TilesToSmall};
pub(super) use weights::{SumsToWeights, WeightsToPanel};

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::scheme::Scheme;
use crate::flex::simd;

/// A transform, for any scheme.
pub(super) trait Transform {
    /// Runs it with the matrices of `W`. Must be `#[inline(always)]`, so that it is compiled for the vectors of `S`.
    fn run<S: Simd, W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(self, simd: S);
}

/// Runs a transform with the matrices of the scheme `W`, of `R` results, `T` taps and `P` points.
#[inline(always)]
pub(super) fn transform<W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize>(
    transform: impl Transform,
) {
    simd::dispatch_vectors(By::<_, W, R, T, P>(transform, PhantomData));
}

/// A transform and its scheme.
struct By<F, W, const R: usize, const T: usize, const P: usize>(F, PhantomData<W>);

impl<F: Transform, W: Scheme<R, T, P>, const R: usize, const T: usize, const P: usize> WithSimd
    for By<F, W, R, T, P>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run::<S, W, R, T, P>(simd);
    }
}
