//! The distribution of each value of an image given its latents, in whole numbers.

use super::stack::Interval;
use crate::dist::Pixels;

/// Precision of the distributions in bits.
const PRECISION: u32 = 24;

/// The parameters of each value's distribution.
pub(super) enum Levels {
    /// 0 or 1, with these logits of 1.
    Binary(Vec<f32>),
    /// 256 levels, with these means and logarithms of scales.
    Logistic(Vec<f32>, Vec<f32>),
}

impl Levels {
    /// The parameters for a batch of one; `None` when one is not a number.
    pub(super) fn of(pixels: Pixels) -> Option<Levels> {
        let numbers = |tensor: burn::tensor::Tensor<2>| -> Vec<f32> { tensor.into_data().iter().collect() };
        let finite = |numbers: &[f32]| numbers.iter().all(|number| number.is_finite());
        match pixels {
            Pixels::Bernoulli(p) => Some(numbers(p.logits)).filter(|l| finite(l)).map(Levels::Binary),
            Pixels::DiscretizedLogistic(p) => {
                let (mean, log_scale) = (numbers(p.mean), numbers(p.log_scale));
                (finite(&mean) && finite(&log_scale)).then_some(Levels::Logistic(mean, log_scale))
            }
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Levels::Binary(logits) => logits.len(),
            Levels::Logistic(mean, _) => mean.len(),
        }
    }

    /// The distribution of value `at`, as the first place of each level and the number of places: each level has one at least.
    fn starts(&self, at: usize) -> Vec<u32> {
        match self {
            Levels::Binary(logits) => starts(2, |_| sigmoid(-f64::from(logits[at]))),
            Levels::Logistic(mean, log_scale) => {
                let (mean, inverse_scale) = (f64::from(mean[at]), libm::exp(-f64::from(log_scale[at])));
                // The lower edge of a level is half a bin below its value in [-1, 1].
                starts(256, |level| sigmoid((f64::from(2 * level - 1) / 255.0 - 1.0 - mean) * inverse_scale))
            }
        }
    }

    /// The interval of `level` of value `at`.
    ///
    /// # Panics
    ///
    /// When there is no such level.
    pub(super) fn interval(&self, at: usize, level: u32) -> Interval {
        interval(&self.starts(at), level as usize)
    }

    /// The level of value `at` in whose interval is the place that `place` gives for a precision, and that interval.
    pub(super) fn find(&self, at: usize, place: impl Fn(u32) -> u32) -> (u32, Interval) {
        let (starts, place) = (self.starts(at), place(PRECISION));
        let level = starts.partition_point(|&start| start <= place) - 1;
        (level as u32, interval(&starts, level))
    }
}

fn interval(starts: &[u32], level: usize) -> Interval {
    assert!(level + 1 < starts.len(), "level {level} of {}", starts.len() - 1);
    Interval { start: starts[level], width: starts[level + 1] - starts[level], precision: PRECISION }
}

/// The places of `levels` levels, given the probability of those below each. They cannot overlap, even where that is rounded.
fn starts(levels: u32, below: impl Fn(u32) -> f64) -> Vec<u32> {
    let shared = f64::from((1 << PRECISION) - levels);
    let mut most = 0;
    let mut start = |level: u32| {
        most = most.max((below(level) * shared) as u32);
        most + level
    };
    let inner = (1..levels).map(&mut start);
    std::iter::once(0).chain(inner).chain([1 << PRECISION]).collect()
}

fn sigmoid(x: f64) -> f64 {
    // Where it is 0 or 1 to the precision of a place.
    match x {
        x if x < -40.0 => 0.0,
        x if x > 40.0 => 1.0,
        x => 1.0 / (1.0 + libm::exp(-x)),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::dist::{Bernoulli, DiscretizedLogistic};

    fn probability(levels: &Levels, level: u32) -> f64 {
        f64::from(levels.interval(0, level).width) / f64::from(1 << PRECISION)
    }

    #[test]
    fn widths_are_the_probabilities_of_the_distribution() {
        let device = Device::flex();
        for (mean, log_scale) in
            [(0.0, -3.0), (0.98, -5.0), (-1.4, -1.0), (0.3, 2.0), (0.1, -7.0), (50.0, -7.0)]
        {
            let of = |batch| DiscretizedLogistic {
                mean: Tensor::full([batch, 1], mean, &device),
                log_scale: Tensor::full([batch, 1], log_scale, &device),
            };
            let x = (0..256).map(|level| level as f32 / 127.5 - 1.0).collect();
            let expected = of(256).log_prob(Tensor::from_data(TensorData::new(x, [256, 1]), &device));
            let levels = Levels::of(Pixels::DiscretizedLogistic(of(1))).unwrap();
            let mut sum = 0.0;
            for (level, log_prob) in expected.into_data().iter::<f32>().enumerate() {
                let (found, expected) = (probability(&levels, level as u32), f64::from(log_prob).exp());
                // 256 places are given away; the distribution is computed in f32, whose rounding a narrow scale magnifies.
                assert!((found - expected).abs() < 2e-4 * expected + 1.3e-7, "{level}: {found} {expected}");
                sum += found;
            }
            assert_eq!(sum, 1.0);
        }
        for logit in [0.0_f64, 3.0, -9.0, 200.0, -200.0] {
            let logits = Tensor::<2>::full([1, 1], logit, &device);
            let levels = Levels::of(Pixels::Bernoulli(Bernoulli { logits })).unwrap();
            let (zero, one) = (probability(&levels, 0), probability(&levels, 1));
            let expected = 1.0 / (1.0 + f64::exp(-logit));
            assert!((one - expected).abs() < 1.3e-7 && zero + one == 1.0, "{logit}: {one} {expected}");
            assert!(zero > 0.0 && one > 0.0);
        }
    }

    #[test]
    fn every_place_is_in_the_interval_of_its_level() {
        let levels = Levels::Logistic(vec![0.3], vec![-4.0]);
        for place in (0..1 << PRECISION).step_by(9973).chain([(1 << PRECISION) - 1]) {
            let (level, Interval { start, width, .. }) = levels.find(0, |_| place);
            assert!(start <= place && place - start < width, "{place}");
            assert_eq!(levels.interval(0, level).start, start);
        }
    }

    #[test]
    fn what_is_no_distribution_is_none() {
        let logits = Tensor::<2>::from_data([[0.0, f32::NAN]], &Device::flex());
        assert!(Levels::of(Pixels::Bernoulli(Bernoulli { logits })).is_none());
    }
}
