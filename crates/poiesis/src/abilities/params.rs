//! How examples are sampled.

use serde::{Deserialize, Serialize};

use super::Accepts;
use crate::config::Faults;

/// Sampling parameters. The model has a default for each that is not given; one that it does not accept is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingParams {
    /// Temperature: log-probabilities are divided by it, latents with a normal prior multiplied. Below 1 favours likely values, 0 takes
    /// the likeliest; 1 if not given.
    pub temperature: Option<f64>,
    /// Top-k: samples among this many of the likeliest values (Fan et al. 2018); all if not given.
    pub top_k: Option<usize>,
    /// Top-p: samples among the fewest likeliest values that together have this probability (Holtzman et al. 2019), in (0, 1];
    /// all if not given.
    pub top_p: Option<f64>,
    /// Steps of an iterative sampler.
    pub steps: Option<usize>,
    /// Strength of class guidance.
    pub guidance: Option<f64>,
}

impl SamplingParams {
    /// The names of the parameters that are given but not accepted.
    pub(crate) fn refused(&self, accepts: &Accepts) -> impl Iterator<Item = &'static str> {
        let given = [
            ("temperature", self.temperature.is_some(), accepts.temperature),
            ("top_k", self.top_k.is_some(), accepts.top),
            ("top_p", self.top_p.is_some(), accepts.top),
            ("steps", self.steps.is_some(), accepts.steps),
            ("guidance", self.guidance.is_some(), accepts.guidance),
        ];
        given.into_iter().filter(|(_, given, accepted)| *given && !accepted).map(|(name, ..)| name)
    }

    /// Adds the invalid values to `faults`.
    pub(crate) fn check(&self, faults: &mut Faults) {
        if let Some(temperature) = self.temperature.filter(|t| !(t.is_finite() && *t >= 0.0)) {
            faults.add("temperature", temperature, "it is a factor", "give 0 or more");
        }
        if let Some(top_p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            faults.add("top_p", top_p, "it is a probability", "give more than 0, at most 1");
        }
        if self.steps == Some(0) {
            faults.add("steps", 0, "a sampler takes at least one", "give 1 or more");
        }
        if let Some(guidance) = self.guidance.filter(|guidance| !guidance.is_finite()) {
            faults.add("guidance", guidance, "it is a factor", "give a number such as 2");
        }
    }

    /// Samples a value from log-probabilities, which need not be normalised, with `u` uniform on [0, 1).
    ///
    /// # Panics
    ///
    /// When there are no log-probabilities.
    pub fn sample(&self, log_probs: &[f32], u: f64) -> u32 {
        let best = log_probs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let likeliest = || log_probs.iter().position(|&l| l == best).unwrap_or(0) as u32;
        let temperature = self.temperature.unwrap_or(1.0);
        if temperature == 0.0 {
            return likeliest();
        }
        let weight = |&l: &f32| (f64::from(l - best) / temperature).exp();
        let mut weights: Vec<f64> = log_probs.iter().map(weight).collect();
        let (top_k, top_p) = (self.top_k.unwrap_or(0), self.top_p.unwrap_or(1.0));
        if top_k > 0 || top_p < 1.0 {
            cut(&mut weights, top_k, top_p);
        }
        let mut left = u * weights.iter().sum::<f64>();
        for (value, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return value as u32;
            }
        }
        // What rounding leaves over goes to the last possible value.
        weights.iter().rposition(|&weight| weight > 0.0).map_or_else(likeliest, |value| value as u32)
    }
}

/// Sets the probability of all but the likeliest values to zero; of equally likely values the first are kept.
fn cut(weights: &mut [f64], top_k: usize, top_p: f64) {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let total: f64 = weights.iter().sum();
    let mut before = 0.0;
    for (rank, &value) in order.iter().enumerate() {
        let out_of_k = top_k > 0 && rank >= top_k;
        let out_of_p = rank > 0 && before >= top_p * total;
        before += weights[value];
        if out_of_k || out_of_p {
            weights[value] = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each value is chosen over evenly spread draws.
    fn frequencies(params: SamplingParams, log_probs: &[f32]) -> Vec<f64> {
        let mut counts = vec![0.0; log_probs.len()];
        for i in 0..10_000 {
            counts[params.sample(log_probs, (f64::from(i) + 0.5) / 1e4) as usize] += 1e-4;
        }
        counts
    }

    #[test]
    fn values_come_as_often_as_their_distribution_says() {
        let log_probs = [0.5f32.ln(), 0.125f32.ln(), 0.25f32.ln(), 0.125f32.ln()];
        let near = |params, expected: [f64; 4]| {
            let found = frequencies(params, &log_probs);
            let distance = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(distance < 2e-4, "{params:?}: {found:?}");
        };
        let all = SamplingParams::default();
        near(all, [0.5, 0.125, 0.25, 0.125]);
        near(SamplingParams { temperature: Some(0.0), ..all }, [1.0, 0.0, 0.0, 0.0]);
        let (a, b, c) = (0.25, 1.0 / 64.0, 1.0 / 16.0);
        let sum = a + 2.0 * b + c;
        near(SamplingParams { temperature: Some(0.5), ..all }, [a / sum, b / sum, c / sum, b / sum]);
        near(SamplingParams { top_k: Some(2), ..all }, [2.0 / 3.0, 0.0, 1.0 / 3.0, 0.0]);
        near(SamplingParams { top_p: Some(0.6), ..all }, [2.0 / 3.0, 0.0, 1.0 / 3.0, 0.0]);
        near(SamplingParams { top_p: Some(0.5), ..all }, [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn impossible_values_are_never_chosen() {
        let log_probs = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY];
        assert_eq!(
            frequencies(SamplingParams::default(), &log_probs),
            [0.0, frequencies(SamplingParams::default(), &[0.0])[0], 0.0]
        );
    }
}
