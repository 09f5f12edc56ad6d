//! Conformal p-values: how usual a score is among those of examples that are known to be usual.
//!
//! Vovk, Gammerman and Shafer 2005; for anomalies, Bates et al. 2023 (arXiv:2104.08279). The only assumption is that the usual examples and
//! a new usual one are exchangeable. Then a p-value is at most α with probability at most α, whatever the score is.

/// Scores of usual examples, which new ones are compared with. High is odd.
#[derive(Clone, Debug, PartialEq)]
pub struct Conformal {
    /// In ascending order.
    scores: Vec<f64>,
}

impl Conformal {
    /// Compares with these scores, in any order. A score that is not a number counts as the oddest.
    pub fn new(mut scores: Vec<f64>) -> Conformal {
        scores.sort_by(f64::total_cmp);
        Conformal { scores }
    }

    /// The number of scores.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// The p-value of a score: (1 + the number of scores above it + a part of the equal ones) / (n + 1). `uniform` in [0, 1) says where
    /// the example stands among `e` equal scores, at any of the `e` + 1 places with the same probability. So the p-value of an
    /// exchangeable example is uniform on 1/(n + 1), …, 1 with ties and without.
    ///
    /// # Panics
    ///
    /// When `uniform` is not in [0, 1).
    pub fn p_value(&self, score: f64, uniform: f64) -> f64 {
        assert!((0.0..1.0).contains(&uniform), "{uniform} is not in [0, 1)");
        let below = self.scores.partition_point(|other| other.total_cmp(&score).is_lt());
        let up_to = self.scores.partition_point(|other| other.total_cmp(&score).is_le());
        let (above, equal) = (self.scores.len() - up_to, up_to - below);
        let before = ((uniform * (equal + 1) as f64) as usize).min(equal);
        (1 + above + before) as f64 / (self.scores.len() + 1) as f64
    }

    /// The score above which the p-value is at most `alpha`: the ⌈(n + 1)(1 − α)⌉-th smallest; infinite where there are too few.
    pub fn threshold(&self, alpha: f64) -> f64 {
        let n = self.scores.len();
        // Rounding must not move a whole number up.
        let place = ((n + 1) as f64 * (1.0 - alpha) - 1e-9).ceil().max(1.0) as usize;
        self.scores.get(place - 1).copied().unwrap_or(f64::INFINITY)
    }
}

/// How many scores are needed for a p-value of `alpha`: ⌈1/α − 1⌉.
///
/// # Panics
///
/// When `alpha` is not between 0 and 1.
pub fn needed(alpha: f64) -> usize {
    assert!(alpha > 0.0 && alpha < 1.0, "α of {alpha}");
    (1.0 / alpha - 1.0 - 1e-9).ceil() as usize
}

/// The standard deviation of the false alarm rate over sets of `n` usual examples at `alpha`: the rate given the set is distributed as
/// Beta(l, n + 1 − l) with l = ⌊(n + 1)α⌋ (Vovk 2012). 0 where there are too few examples for an alarm.
pub fn false_alarm_deviation(n: usize, alpha: f64) -> f64 {
    let all = (n + 1) as f64;
    let l = (all * alpha + 1e-9).floor();
    (l * (all - l) / (all * all * (all + 1.0))).sqrt()
}

/// Fisher's combination of p-values: −2 Σ ln p. It is high where p-values are low. Its distribution is known for independent p-values
/// only, so it is compared with that of usual examples.
pub fn fisher(p_values: &[f64]) -> f64 {
    -2.0 * p_values.iter().map(|p| p.ln()).sum::<f64>()
}

/// Which of many hypotheses are rejected so that the expected share of false ones among them is at most `q` (Benjamini and Hochberg 1995):
/// those whose p-value is at most the largest p₍ᵢ₎ ≤ i q / m.
pub fn benjamini_hochberg(p_values: &[f64], q: f64) -> Vec<bool> {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let m = sorted.len() as f64;
    let passes = |(i, p): (usize, &f64)| *p <= (i + 1) as f64 * q / m * (1.0 + 1e-12);
    let limit = sorted.iter().enumerate().filter(|&at| passes(at)).map(|(_, &p)| p).next_back();
    p_values.iter().map(|&p| limit.is_some_and(|limit| p <= limit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    /// The largest distance of the distribution of `p_values` from the uniform one on 1/(n + 1), …, 1, and the same upwards only.
    fn distance_from_uniform(p_values: &[f64], n: usize) -> (f64, f64) {
        let share = |limit: f64| p_values.iter().filter(|&&p| p <= limit + 1e-12).count() as f64;
        let gap = |i: usize| {
            let limit = i as f64 / (n + 1) as f64;
            share(limit) / p_values.len() as f64 - limit
        };
        let gaps: Vec<f64> = (1..=n + 1).map(gap).collect();
        (
            gaps.iter().fold(0.0, |most: f64, gap| most.max(gap.abs())),
            gaps.iter().copied().fold(0.0, f64::max),
        )
    }

    /// p-values of exchangeable examples, each with calibration scores of its own: `score` makes one of a normal number.
    fn exchangeable(n: usize, uniform: impl Fn(u64) -> f64, score: impl Fn(f32) -> f64) -> Vec<f64> {
        let one = |seed: u64| {
            let drawn = rng::normal(&mut rng::generator(seed, "conformal test", 0), n + 1);
            let scores: Vec<f64> = drawn.iter().map(|&x| score(x)).collect();
            Conformal::new(scores[1..].to_vec()).p_value(scores[0], uniform(seed))
        };
        (0..TRIALS).map(one).collect()
    }

    const TRIALS: u64 = 4000;
    /// Kolmogorov's distance is larger in one of 10,000 tests of this many p-values (√(ln(2 / 0.0001) / 2 / 4000)).
    const CHANCE: f64 = 0.0352;

    fn draw(seed: u64) -> f64 {
        rng::unit_f64(&mut rng::generator(seed, "conformal ties test", 1))
    }

    #[test]
    fn p_values_of_exchangeable_examples_are_uniform_with_ties_and_without() {
        let n = 49;
        let without = exchangeable(n, draw, f64::from);
        assert!(distance_from_uniform(&without, n).0 < CHANCE, "{:?}", distance_from_uniform(&without, n));
        // Scores of four values only.
        let coarse = |x: f32| f64::from(x.round().clamp(-1.0, 2.0));
        let with = exchangeable(n, draw, coarse);
        assert!(distance_from_uniform(&with, n).0 < CHANCE, "{:?}", distance_from_uniform(&with, n));
        // Where ties are not drawn but all count, p-values are too large and never too small.
        let last = exchangeable(n, |_| 1.0 - 1e-9, coarse);
        let (distance, upwards) = distance_from_uniform(&last, n);
        assert!(upwards < CHANCE && distance > 3.0 * CHANCE, "{distance} {upwards}");
        // The test sees p-values that are too small.
        let first = exchangeable(n, |_| 0.0, coarse);
        assert!(distance_from_uniform(&first, n).1 > 3.0 * CHANCE);
    }

    #[test]
    fn p_values_and_thresholds_are_those_of_the_definition() {
        let usual = Conformal::new(vec![3.0, 1.0, 2.0, 2.0]);
        assert_eq!([0.5, 1.0, 2.5, 9.0].map(|score| usual.p_value(score, 0.0)), [1.0, 0.8, 0.4, 0.2]);
        assert_eq!([0.0, 0.4, 0.99].map(|u| usual.p_value(2.0, u)), [0.4, 0.6, 0.8]);
        assert_eq!(usual.p_value(f64::NAN, 0.0), 0.2);
        for (n, alpha, place) in [(100, 0.05, 96), (500, 0.05, 476), (1000, 0.01, 991), (19, 0.05, 19)] {
            let usual = Conformal::new((1..=n).map(f64::from).collect());
            assert_eq!(usual.threshold(alpha), f64::from(place));
            assert!(usual.p_value(f64::from(place) + 0.5, 0.0) <= alpha);
            assert!(usual.p_value(f64::from(place) - 0.5, 0.0) > alpha);
        }
        assert_eq!(Conformal::new(vec![1.0; 18]).threshold(0.05), f64::INFINITY);
        assert_eq!([0.05, 0.01, 0.1, 0.3].map(needed), [19, 99, 9, 3]);
    }

    #[test]
    fn the_false_alarm_rate_spreads_as_the_beta_distribution_says() {
        let found = [100, 500, 1000].map(|n| false_alarm_deviation(n, 0.05));
        for (found, expected) in found.into_iter().zip([0.0214, 0.0097, 0.0069]) {
            assert!((found - expected).abs() < 1e-4, "{found}");
        }
        // Uniform scores: the rate above the threshold is 1 − threshold.
        let rates: Vec<f64> = (0..2000)
            .map(|seed| {
                let drawn = rng::uniform(&mut rng::generator(seed, "beta test", 0), 100);
                1.0 - Conformal::new(drawn.into_iter().map(f64::from).collect()).threshold(0.05)
            })
            .collect();
        let mean = rates.iter().sum::<f64>() / 2000.0;
        let deviation = (rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
        assert!(mean <= 0.05 + 0.002 && (deviation / 0.0214 - 1.0).abs() < 0.1, "{mean} {deviation}");
    }

    #[test]
    fn many_tests_are_corrected_as_benjamini_and_hochberg_do() {
        // Their example: 15 p-values, of which four are rejected at q = 0.05.
        let p_values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0,
        ];
        let rejected = benjamini_hochberg(&p_values, 0.05);
        assert_eq!(rejected.iter().filter(|&&rejected| rejected).count(), 4);
        assert!(rejected[..4].iter().all(|&rejected| rejected));
        assert_eq!(benjamini_hochberg(&[0.2, 0.04, 0.03], 0.05), [false, false, false]);
        assert_eq!(benjamini_hochberg(&[0.05, 0.04, 0.03], 0.05), [true; 3]);
        assert!(benjamini_hochberg(&[], 0.05).is_empty());
    }

    #[test]
    fn fisher_adds_logarithms() {
        assert!((fisher(&[0.5, 0.1]) + 2.0 * 0.05_f64.ln()).abs() < 1e-12);
        assert_eq!(fisher(&[1.0]), 0.0);
    }
}
