//! Explicitness (Ridgeway and Mozer 2018, arXiv:1802.05312): whether a logistic regression on all codes ranks each value of a factor above
//! the others.

use super::Sample;
use crate::fitting::{Logistic, Standardizer};

/// Almost no penalty: it only keeps weights finite where values are separate.
const PENALTY: f64 = 1e-6;

/// The mean area under the curve of one value against the others on `test`, over values and factors: ½ for codes that say nothing.
pub(super) fn explicitness(fit: &Sample, test: &Sample) -> f64 {
    let standardizer = Standardizer::of(&fit.codes);
    let [fitted, tested] = [fit, test].map(|sample| standardizer.apply(&sample.codes));
    let of_factor = |(labels, expected): (&Vec<usize>, &Vec<usize>)| {
        let classes = labels.iter().chain(expected).max().map_or(0, |largest| largest + 1);
        let labels: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
        let model = Logistic::zero(fitted.dims(), classes).fitted(&fitted, &labels, PENALTY);
        let log_probs = model.log_probs(&tested);
        let areas: Vec<f64> = (0..classes)
            .filter_map(|class| {
                let scores = log_probs.iter().skip(class).step_by(classes).copied();
                area_under_curve(scores.zip(expected.iter().map(|&label| label == class)).collect())
            })
            .collect();
        areas.iter().sum::<f64>() / areas.len().max(1) as f64
    };
    fit.factors.iter().zip(&test.factors).map(of_factor).sum::<f64>() / fit.factors.len() as f64
}

/// The probability that a score inside is higher than one outside, ties counted half; `None` when all are on one side.
fn area_under_curve(mut scores: Vec<(f64, bool)>) -> Option<f64> {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut outside, mut wins) = (0.0, 0.0);
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        let inside_now = tied.iter().filter(|(_, inside)| *inside).count() as f64;
        let outside_now = tied.len() as f64 - inside_now;
        wins += inside_now * (outside + 0.5 * outside_now);
        outside += outside_now;
    }
    let inside = scores.len() as f64 - outside;
    (inside > 0.0 && outside > 0.0).then(|| wins / (inside * outside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_share_of_pairs_in_the_right_order() {
        let of = |scores: &[(f64, bool)]| area_under_curve(scores.to_vec());
        assert_eq!(of(&[(0.1, false), (0.4, true), (0.35, false), (0.8, true)]), Some(1.0));
        // Of four pairs, one is in the right order, one is a tie.
        assert_eq!(of(&[(2.0, false), (2.0, true), (1.0, true), (0.5, false)]), Some(0.625));
        assert_eq!(of(&[(1.0, true)]), None);
    }
}
