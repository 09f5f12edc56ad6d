//! The Inception score (Salimans et al. 2016, arXiv:1606.03498, §4): how sure a classifier is of each sample, and how different the
//! samples are.

use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use crate::error::Result;
use crate::features::title;

/// Parts of the samples whose scores are averaged.
const SPLITS: usize = 10;

/// A score with that of real images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InceptionScore {
    /// What the number is called: `IS` with the published weights of Inception only.
    pub name: String,
    /// The name of the network.
    pub features: String,
    /// Samples, and held-out images.
    pub images: usize,
    /// Parts whose scores are averaged.
    pub splits: usize,
    /// Seed of the samples.
    pub seed: u64,
    /// Classes of the network, which the score cannot exceed.
    pub classes: usize,
    /// Score of the samples, averaged over the parts: higher is better.
    pub score: f64,
    /// Its standard deviation over the parts, as papers give it.
    pub deviation: f64,
    /// Score of as many held-out images.
    pub score_of_data: f64,
}

/// exp(E KL(p(y|x) ‖ p(y))) of the images whose logits these are, averaged over `splits` parts of equal size, and the standard deviation
/// over the parts. Images beyond the last part are left out.
///
/// # Panics
///
/// When there are fewer images than parts.
pub fn inception_score(logits: &[f32], classes: usize, splits: usize) -> (f64, f64) {
    let part = logits.len() / classes / splits * classes;
    assert!(part > 0 && splits > 0, "a score of no images");
    let scores: Vec<f64> = logits.chunks_exact(part).take(splits).map(|part| score(part, classes)).collect();
    let mean = scores.iter().sum::<f64>() / splits as f64;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / splits as f64;
    (mean, variance.sqrt())
}

fn score(logits: &[f32], classes: usize) -> f64 {
    let count = (logits.len() / classes) as f64;
    let log_probs: Vec<Vec<f64>> = logits.chunks_exact(classes).map(log_softmax).collect();
    let mut marginal = vec![0.0; classes];
    for log_probs in &log_probs {
        marginal.iter_mut().zip(log_probs).for_each(|(sum, log_prob)| *sum += log_prob.exp() / count);
    }
    let kl = |log_probs: &Vec<f64>| -> f64 {
        let terms = log_probs.iter().zip(&marginal).filter(|(log_prob, _)| log_prob.exp() > 0.0);
        terms.map(|(log_prob, marginal)| log_prob.exp() * (log_prob - marginal.ln())).sum()
    };
    (log_probs.iter().map(kl).sum::<f64>() / count).exp()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) - f64::from(largest)).collect();
    let total = shifted.iter().map(|logit| logit.exp()).sum::<f64>().ln();
    shifted.into_iter().map(|logit| logit - total).collect()
}

/// Measures the score of a model that samples images, where there is a feature network with classes.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(sets) = subject.feature_sets(progress)? else { return Ok(None) };
    let (classes, images) = (sets.samples.classes, sets.images());
    if classes == 0 {
        return Ok(None);
    }
    let splits = SPLITS.min(images);
    Ok(Some(Measured::timed(|| {
        let (score, deviation) = inception_score(&sets.samples.logits, classes, splits);
        InceptionScore {
            name: title("IS", "IS", &sets.network),
            features: sets.network.clone(),
            images,
            splits,
            seed: subject.protocol.seed,
            classes,
            score,
            deviation,
            score_of_data: inception_score(&sets.held_out.logits, classes, splits).0,
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits that are certain of one class.
    fn certain(classes: usize, class: usize) -> Vec<f32> {
        (0..classes).map(|c| if c == class { 1000.0 } else { 0.0 }).collect()
    }

    #[test]
    fn certain_images_of_all_classes_score_the_number_of_classes() {
        let all: Vec<f32> = (0..70).flat_map(|i| certain(7, i % 7)).collect();
        let (score, deviation) = inception_score(&all, 7, 10);
        assert!((score - 7.0).abs() < 1e-9 && deviation < 1e-9);
        let one: Vec<f32> = (0..70).flat_map(|_| certain(7, 3)).collect();
        assert!((inception_score(&one, 7, 10).0 - 1.0).abs() < 1e-12);
        assert!((inception_score(&[0.5; 70], 7, 5).0 - 1.0).abs() < 1e-12, "sure of nothing");
    }

    #[test]
    fn the_deviation_is_over_parts_and_a_rest_is_left_out() {
        // Two parts of two images: two classes, then one.
        let images = [certain(3, 0), certain(3, 1), certain(3, 2), certain(3, 2), certain(3, 0)].concat();
        let (score, deviation) = inception_score(&images, 3, 2);
        assert!((score - 1.5).abs() < 1e-9 && (deviation - 0.5).abs() < 1e-9, "{score} {deviation}");
        // Two images that are sure to 0.9: ln 2 minus the entropy of (0.9, 0.1).
        let [likely, unlikely] = [0.9f64, 0.1].map(f64::ln);
        let pair = [likely as f32, unlikely as f32, unlikely as f32, likely as f32];
        let expected = 2.0 * (0.9 * likely + 0.1 * unlikely).exp();
        assert!((inception_score(&pair, 2, 1).0 - expected).abs() < 1e-6);
    }
}
