//! How many classes of the data a model's samples are of, by the feature network's classifier, and how evenly (Che et al. 2017,
//! arXiv:1612.02136; Metz et al. 2017, arXiv:1611.02163, §3.3): the modes found.

use poiesis_collect::{Split, View};
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use super::predictions::likeliest;
use crate::error::Result;

/// The classes of samples and of held-out images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassCoverage {
    /// The name of the network that classifies.
    pub features: String,
    /// Samples, and held-out images.
    pub images: usize,
    /// Seed of the samples.
    pub seed: u64,
    /// Classes of the training images.
    pub classes: usize,
    /// Classes of which there is at least one sample.
    pub found: usize,
    /// Classes of which there is at least one held-out image.
    pub found_in_data: usize,
    /// KL divergence of the classes of the training images from those of the samples, in nats: 0 where they are as frequent.
    pub kl: f64,
    /// The same of held-out images.
    pub kl_of_data: f64,
}

/// How often each class occurs among images with these logits, `[images, classes]`.
fn occurrences(logits: &[f32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for logits in logits.chunks_exact(classes) {
        let logits: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        counts[likeliest(&logits)] += 1;
    }
    counts
}

/// How often each class occurs among labelled images.
fn labels(view: &View, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    (0..view.len()).filter_map(|i| view.label(i)).for_each(|label| counts[label as usize] += 1);
    counts
}

/// KL(counts ‖ expected) of relative frequencies, in nats, and how many of the expected classes occur. Images of classes that are not
/// expected are left out: the divergence would be infinite.
fn divergence(counts: &[usize], expected: &[usize]) -> (f64, usize) {
    let pairs: Vec<(usize, usize)> =
        counts.iter().copied().zip(expected.iter().copied()).filter(|&(_, expected)| expected > 0).collect();
    let total: usize = pairs.iter().map(|(count, _)| count).sum();
    let expected: usize = pairs.iter().map(|(_, expected)| expected).sum();
    let found = pairs.iter().filter(|&&(count, _)| count > 0);
    let terms = found.clone().map(|&(count, of)| {
        let part = count as f64 / total as f64;
        part * (part / (of as f64 / expected as f64)).ln()
    });
    (terms.sum(), found.count())
}

/// Measures a model that samples images, where the feature network of the data tells their classes.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let classes = subject.trained.spec.classes;
    let train = subject.dataset.and_then(|data| data.split(Split::Train)).filter(|_| classes > 1);
    let (Some(train), None) = (train, &subject.protocol.inception_weights) else { return Ok(None) };
    let Some(sets) = subject.feature_sets(progress)? else { return Ok(None) };
    if sets.samples.classes != classes {
        return Ok(None);
    }
    Ok(Some(Measured::timed(|| {
        let expected = labels(&train, classes);
        let of = |logits: &[f32]| divergence(&occurrences(logits, classes), &expected);
        let (kl, found) = of(&sets.samples.logits);
        let (kl_of_data, found_in_data) = of(&sets.held_out.logits);
        ClassCoverage {
            features: sets.network.clone(),
            images: sets.images(),
            seed: subject.protocol.seed,
            classes: expected.iter().filter(|&&count| count > 0).count(),
            found,
            found_in_data,
            kl,
            kl_of_data,
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_is_zero_for_equal_shares_and_counts_what_is_missing() {
        let (kl, found) = divergence(&[20, 40, 0], &[1, 2, 0]);
        assert!(kl.abs() < 1e-12 && found == 2);
        // All samples are of one of four classes that are as frequent: ln 4.
        let (kl, found) = divergence(&[0, 7, 0, 0], &[5, 5, 5, 5]);
        assert!((kl - 4_f64.ln()).abs() < 1e-12 && found == 1);
        // ½ ln(½ / ¼) + ½ ln(½ / ¾); a class without training images is left out.
        let (kl, found) = divergence(&[3, 3, 9], &[1, 3, 0]);
        assert!((kl - 0.5 * (2_f64.ln() + (2.0 / 3.0_f64).ln())).abs() < 1e-12 && found == 2);
    }

    #[test]
    fn images_are_of_their_likeliest_class() {
        assert_eq!(occurrences(&[0.1, 0.9, 2.0, -1.0, 0.0, 0.5], 2), [1, 2]);
    }
}
