//! The mass of a bin under a logistic distribution, and its derivatives.

use crate::flex::function::{exp, exp_minus_one, log, sigmoid, softplus};
use crate::types::Grid;

/// Bins of one or several neighbouring levels each.
#[derive(Clone, Copy)]
pub(super) struct Bins {
    half: f32,
    /// The logarithm of a bin's width.
    log_width: f32,
    /// Values above this, or below its negative, are in the last or first bin, which is open on one side.
    edge: f32,
    pub(super) min_log_scale: f32,
}

/// The bin of one value under one logistic distribution.
pub(super) struct Bin {
    /// The edges, standardised.
    upper: f32,
    lower: f32,
    inverse_scale: f32,
    /// Width of the bin over the scale.
    width: f32,
    /// `1 − exp(−width)`, and its logarithm.
    inside: f32,
    log_inside: f32,
    first: bool,
    last: bool,
}

/// Below this width the series of `1 − exp(−width)` is more exact.
const NARROW: f32 = 1e-3;

impl Bins {
    pub(super) fn new(grid: Grid, levels: usize) -> Self {
        let half = grid.half_bin() * levels as f64;
        Self {
            half: half as f32,
            log_width: (2.0 * half).ln() as f32,
            edge: (1.0 - half) as f32,
            min_log_scale: grid.min_log_scale() as f32,
        }
    }

    #[inline(always)]
    pub(super) fn bin(&self, x: f32, mean: f32, log_scale: f32) -> Bin {
        let log_scale = if log_scale < self.min_log_scale { self.min_log_scale } else { log_scale };
        let inverse_scale = exp(-log_scale);
        let width = 2.0 * self.half * inverse_scale;
        let inside = -exp_minus_one(-width);
        let narrow = self.log_width - log_scale - 0.5 * width;
        Bin {
            upper: (x - mean + self.half) * inverse_scale,
            lower: (x - mean - self.half) * inverse_scale,
            inverse_scale,
            width,
            inside,
            log_inside: if width < NARROW { narrow } else { log(inside) },
            first: x < -self.edge,
            last: x > self.edge,
        }
    }
}

impl Bin {
    /// `log σ(upper) + log σ(−lower) + log(1 − exp(−width))`, which is `log(σ(upper) − σ(lower))` without its
    /// cancellation; one of the first two alone for the bins that are open on one side.
    #[inline(always)]
    pub(super) fn log_mass(&self) -> f32 {
        let below_upper = -softplus(-self.upper);
        let above_lower = -softplus(self.lower);
        let middle = below_upper + above_lower + self.log_inside;
        let value = if self.first { below_upper } else { middle };
        if self.last { above_lower } else { value }
    }

    /// The derivatives of [`Self::log_mass`] with respect to mean and log-scale.
    #[inline(always)]
    pub(super) fn derivatives(&self) -> [f32; 2] {
        let upper = if self.last { 0.0 } else { sigmoid(-self.upper) };
        let lower = if self.first { 0.0 } else { sigmoid(self.lower) };
        let wide = self.width * (1.0 - self.inside) / self.inside;
        let between = if self.width < NARROW { 1.0 - 0.5 * self.width } else { wide };
        let between = if self.first | self.last { 0.0 } else { between };
        let by_mean = self.inverse_scale * (lower - upper);
        [by_mean, self.lower * lower - self.upper * upper - between]
    }
}
