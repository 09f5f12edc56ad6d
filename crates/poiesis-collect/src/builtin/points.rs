//! `rings` and `grid`: mixtures of Gaussians in the plane with known modes, on which a generator that forgets
//! modes is easily caught. The ring is that of Metz et al. 2017 (arXiv:1611.02163), the grid that of Srivastava et
//! al. 2017 (arXiv:1705.07761).

use std::f32::consts::TAU;

use rand_distr::{Distribution, StandardNormal};

use super::{Made, below, random};

/// Standard deviation around each mode of the ring.
pub(crate) const RING_DEVIATION: f32 = 0.02;

/// Standard deviation around each mode of the grid.
pub(crate) const GRID_DEVIATION: f32 = 0.05;

/// Eight modes on a circle of radius 2, anticlockwise from the right.
pub(crate) fn ring() -> Vec<[f32; 2]> {
    let angle = |i: u8| TAU * f32::from(i) / 8.0;
    (0..8).map(|i| [2.0 * angle(i).cos(), 2.0 * angle(i).sin()]).collect()
}

/// Twenty-five modes at the even coordinates from -4 to 4, row by row from below.
pub(crate) fn grid() -> Vec<[f32; 2]> {
    let at = |i: u8| 2.0 * f32::from(i) - 4.0;
    (0..25).map(|i| [at(i % 5), at(i / 5)]).collect()
}

/// Makes one point: a mode at random, then a normal deviate in each coordinate.
pub(crate) fn make(purpose: &str, index: u64, seed: u64, modes: &[[f32; 2]], deviation: f32) -> Made {
    let mut rng = random(seed, purpose, index);
    let mode = below(&mut rng, modes.len());
    let point = modes[mode].map(|centre| {
        let noise: f32 = StandardNormal.sample(&mut rng);
        centre + deviation * noise
    });
    let example = point.iter().flat_map(|v| v.to_le_bytes()).collect();
    Made { example, label: mode as u32, factors: Vec::new(), boxes: Vec::new() }
}
