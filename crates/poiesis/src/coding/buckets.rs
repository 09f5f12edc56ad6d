//! Latents as whole numbers: buckets that N(0, 1) gives equal mass, and normal distributions over them.
//!
//! Nothing here depends on the mathematical library of the system, so the intervals are the same everywhere.

use std::f64::consts::{SQRT_2, TAU};
use std::sync::LazyLock;

use super::stack::Interval;

/// Logarithm of the number of buckets. The outermost latents are ±4.6, and near 3 a bucket is a thousandth wide.
const BITS: u32 = 18;
/// How many buckets there are.
const COUNT: u32 = 1 << BITS;
/// Precision of a normal distribution over them: a bucket has 1,024 places under the prior.
pub(super) const PRECISION: u32 = 28;

/// The buckets, which are the same for all latents.
pub(super) static BUCKETS: LazyLock<Buckets> = LazyLock::new(Buckets::new);

/// Buckets of equal mass under N(0, 1).
#[derive(Debug)]
pub(super) struct Buckets {
    /// Φ⁻¹(k / 2N) for k = 0 to N, where N is how many there are: every second is the edge of a bucket, the others are their middles.
    quantiles: Vec<f64>,
}

/// A normal distribution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normal {
    mean: f64,
    deviation: f64,
}

impl Normal {
    /// `None` when one of the two is not a number. Deviations beyond e^±30 count as that.
    pub(super) fn new(mean: f32, log_var: f32) -> Option<Normal> {
        let deviation = libm::exp(0.5 * f64::from(log_var).clamp(-60.0, 60.0));
        (mean.is_finite() && !log_var.is_nan()).then_some(Normal { mean: mean.into(), deviation })
    }

    /// log of the ratio of its density to that of N(0, 1) at `z`.
    pub(super) fn log_ratio(&self, z: f64) -> f64 {
        0.5 * (z * z - ((z - self.mean) / self.deviation).powi(2)) - libm::log(self.deviation)
    }
}

/// Φ.
fn below(z: f64) -> f64 {
    0.5 * libm::erfc(-z / SQRT_2)
}

impl Buckets {
    fn new() -> Buckets {
        let mut quantiles = vec![f64::NEG_INFINITY; COUNT as usize + 1];
        // Outwards from the middle. Φ is convex there, so Newton's method approaches each root from the one before it.
        let mut z = 0.0;
        quantiles[COUNT as usize] = z;
        for k in (1..COUNT as usize).rev() {
            let mass = k as f64 / f64::from(2 * COUNT);
            for _ in 0..20 {
                let step = (below(z) - mass) * TAU.sqrt() * libm::exp(0.5 * z * z);
                z -= step;
                if step.abs() < 1e-13 {
                    break;
                }
            }
            quantiles[k] = z;
        }
        Buckets { quantiles }
    }

    /// Φ⁻¹(k / 2N).
    fn quantile(&self, k: usize) -> f64 {
        let middle = COUNT as usize;
        if k <= middle { self.quantiles[k] } else { -self.quantiles[2 * middle - k] }
    }

    /// The latent that a bucket stands for: its median.
    pub(super) fn value(&self, bucket: u32) -> f32 {
        self.quantile(2 * bucket as usize + 1) as f32
    }

    /// A bucket under the prior.
    pub(super) fn prior(bucket: u32) -> Interval {
        Interval { start: bucket, width: 1, precision: BITS }
    }

    /// The precision of the prior: a place is a bucket.
    pub(super) const PRIOR: u32 = BITS;

    /// The place below which are the buckets below `bucket`.
    fn start(&self, normal: Normal, bucket: u32) -> u32 {
        match bucket {
            0 => 0,
            COUNT => 1 << PRECISION,
            _ => {
                let edge = (self.quantile(2 * bucket as usize) - normal.mean) / normal.deviation;
                (below(edge) * f64::from(1 << PRECISION) + 0.5) as u32
            }
        }
    }

    /// A bucket under `normal`; it is empty where the mass is below half a place.
    pub(super) fn interval(&self, normal: Normal, bucket: u32) -> Interval {
        let (start, end) = (self.start(normal, bucket), self.start(normal, bucket + 1));
        Interval { start, width: end.saturating_sub(start), precision: PRECISION }
    }

    /// The bucket in whose interval `place` is.
    pub(super) fn at(&self, normal: Normal, place: u32) -> u32 {
        let (mut first, mut behind) = (0, COUNT);
        while behind - first > 1 {
            let middle = first.midpoint(behind);
            if self.start(normal, middle) <= place { first = middle } else { behind = middle }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Quantiles of N(0, 1) from tables.
    const QUANTILES: [(f64, f64); 4] = [
        (0.5, 0.0),
        (0.75, 0.674_489_750_196_081_7),
        (0.9375, 1.534_120_544_352_545_5),
        (1.0 / 1024.0, -3.097_269_078_198_785),
    ];

    #[test]
    fn edges_are_quantiles_of_the_prior() {
        for (mass, z) in QUANTILES {
            let bucket = (mass * f64::from(COUNT)) as usize;
            assert!((BUCKETS.quantile(2 * bucket) - z).abs() < 1e-9, "{mass}");
        }
        for bucket in [0, 1, 77, COUNT / 2 - 1] {
            let [z, other] = [bucket, COUNT - 1 - bucket].map(|bucket| BUCKETS.value(bucket));
            assert!(z.is_finite() && z == -other, "{bucket}: {z} {other}");
        }
    }

    #[test]
    fn under_the_prior_all_buckets_are_equal() {
        let prior = Normal::new(0.0, 0.0).unwrap();
        for bucket in (0..COUNT).step_by(511) {
            let Interval { start, width, precision } = BUCKETS.interval(prior, bucket);
            assert_eq!(
                (start, width, precision),
                (bucket << (PRECISION - BITS), 1 << (PRECISION - BITS), PRECISION)
            );
        }
    }

    /// The mass of a normal distribution below `z`, by Simpson's rule over its density.
    fn integrated(normal: Normal, z: f64) -> f64 {
        let (from, steps) = (normal.mean - 12.0 * normal.deviation, 4000);
        let width = (z.min(normal.mean + 12.0 * normal.deviation) - from) / f64::from(steps);
        if width <= 0.0 {
            return 0.0;
        }
        let density = |i: i32| {
            let t = (from + width * f64::from(i) - normal.mean) / normal.deviation;
            (-0.5 * t * t).exp() / (TAU.sqrt() * normal.deviation)
        };
        let inner: f64 = (1..steps).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(i)).sum();
        ((density(0) + inner + density(steps)) * width / 3.0).min(1.0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn intervals_fill_all_places_and_match_the_distribution(mean in -6.0..6.0_f32, log_var in -14.0..4.0_f32) {
            let normal = Normal::new(mean, log_var).unwrap();
            let mut end = 0;
            let mut sum = 0_u64;
            for bucket in 0..COUNT {
                let interval = BUCKETS.interval(normal, bucket);
                prop_assert_eq!(interval.start, end);
                end += interval.width;
                sum += u64::from(interval.width);
            }
            prop_assert_eq!(sum, 1 << PRECISION);
            for k in 1..32 {
                let bucket = COUNT / 32 * k;
                let expected = integrated(normal, BUCKETS.quantile(2 * bucket as usize));
                // 4,000 steps are exact to about 1e-11, and a place is 4e-9.
                let found = f64::from(BUCKETS.interval(normal, bucket).start) / f64::from(1 << PRECISION);
                prop_assert!((found - expected).abs() < 3e-9, "{} {}", found, expected);
            }
        }

        #[test]
        fn a_place_is_in_the_interval_of_its_bucket(
            mean in -1e3..1e3_f32, log_var in -200.0..200.0_f32, place in 0..1_u32 << PRECISION,
        ) {
            let normal = Normal::new(mean, log_var).unwrap();
            let Interval { start, width, .. } = BUCKETS.interval(normal, BUCKETS.at(normal, place));
            prop_assert!(start <= place && place - start < width);
        }
    }

    #[test]
    fn what_is_no_distribution_is_none() {
        for (mean, log_var) in [(f32::NAN, 0.0), (0.0, f32::NAN), (f32::INFINITY, 0.0)] {
            assert!(Normal::new(mean, log_var).is_none());
        }
        assert!(Normal::new(0.0, f32::NEG_INFINITY).is_some());
    }
}
