//! Precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991), density and coverage (Naeem et al. 2020, arXiv:2002.09797): how
//! many samples lie where real images are, and how many real images lie where samples are. Around each image is a ball that reaches to
//! its k-th nearest other one.

use serde::{Deserialize, Serialize};

use super::feature_sets::FeatureSets;
use super::metric::{Measured, Progress, Subject};
use super::sets::Chosen;
use super::similarity::Cloud;
use crate::error::Result;
use crate::features::title;

/// Neighbours that the papers use.
const PRECISION_NEIGHBOURS: usize = 3;
const DENSITY_NEIGHBOURS: usize = 5;

/// Precision and recall with those of real images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecall {
    /// What the pair is called.
    pub name: String,
    /// The name of the feature network.
    pub features: String,
    /// Images on each side.
    pub images: usize,
    /// How the images of the data were chosen.
    pub chosen: Chosen,
    /// Seed of samples and sets.
    pub seed: u64,
    /// Neighbours that a ball reaches to.
    pub neighbours: usize,
    /// Fraction of the samples inside a ball of a held-out image.
    pub precision: f64,
    /// Fraction of the held-out images inside a ball of a sample.
    pub recall: f64,
    /// The precision of training images: that of a perfect model.
    pub precision_of_data: f64,
    /// The recall of training images.
    pub recall_of_data: f64,
}

/// Density and coverage with those of real images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DensityCoverage {
    /// What the pair is called.
    pub name: String,
    /// The name of the feature network.
    pub features: String,
    /// Images on each side.
    pub images: usize,
    /// How the images of the data were chosen.
    pub chosen: Chosen,
    /// Seed of samples and sets.
    pub seed: u64,
    /// Neighbours that a ball reaches to.
    pub neighbours: usize,
    /// Number of balls of held-out images that a sample is in, divided by the neighbours; more than 1 where samples are denser.
    pub density: f64,
    /// Fraction of the held-out images whose ball holds a sample.
    pub coverage: f64,
    /// The density of training images: that of a perfect model.
    pub density_of_data: f64,
    /// The coverage of training images.
    pub coverage_of_data: f64,
    /// The coverage of samples that have exactly the distribution of the data, as expected.
    pub expected_coverage: f64,
}

/// How two sets of vectors lie within each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Manifold {
    /// Fraction of the samples inside a ball of a real vector, its surface included.
    pub precision: f64,
    /// Fraction of the real vectors inside a ball of a sample, its surface included.
    pub recall: f64,
    /// Mean number of balls of real vectors that a sample is inside of, divided by k.
    pub density: f64,
    /// Fraction of the real vectors whose ball has a sample inside.
    pub coverage: f64,
}

/// Measures how `samples` lie within `real`, both of vectors of `dims` values, concatenated, with balls that reach to the `k`-th
/// neighbour.
///
/// # Panics
///
/// When a set is empty or `k` is 0.
pub fn manifold(real: &[f32], samples: &[f32], dims: usize, k: usize) -> Manifold {
    let [real, samples] = Cloud::around_first([real, samples], dims);
    assert!(real.len() > 0 && samples.len() > 0 && k > 0, "a manifold of no vectors");
    let (real_radii, sample_radii) = (real.radii(k), samples.radii(k));
    let (mut inside_one, mut balls) = (0, 0);
    let mut recalled = vec![false; real.len()];
    let mut covered = vec![false; real.len()];
    samples.each_distances(&real, |sample, distances| {
        let mut is_inside = false;
        for (i, &distance) in distances.iter().enumerate() {
            is_inside |= distance <= real_radii[i];
            recalled[i] |= distance <= sample_radii[sample];
            let is_within = distance < real_radii[i];
            balls += usize::from(is_within);
            covered[i] |= is_within;
        }
        inside_one += usize::from(is_inside);
    });
    let fraction = |of: &[bool]| of.iter().filter(|yes| **yes).count() as f64 / of.len() as f64;
    Manifold {
        precision: inside_one as f64 / samples.len() as f64,
        recall: fraction(&recalled),
        density: balls as f64 / (k * samples.len()) as f64,
        coverage: fraction(&covered),
    }
}

/// The coverage that is expected of `samples` vectors with exactly the distribution of `real` others: 1 − ∏ (N − i) / (N + M − i) for i
/// from 1 to k (Naeem et al. 2020, Lemma 2).
pub fn expected_coverage(real: usize, samples: usize, k: usize) -> f64 {
    let (n, m) = (real as f64, samples as f64);
    1.0 - (1..=k).map(|i| (n - i as f64).max(0.0) / (n + m - i as f64)).product::<f64>()
}

/// Samples, and then training images, within the held-out ones.
fn measured(sets: &FeatureSets, k: usize) -> [Manifold; 2] {
    let dims = sets.samples.dims;
    [&sets.samples, &sets.train].map(|set| manifold(&sets.held_out.values, &set.values, dims, k))
}

/// Measures precision and recall of a model that samples images, where there is a feature network.
pub(super) fn measure_precision(
    subject: &Subject<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Measured>> {
    let Some(sets) = subject.feature_sets(progress)? else { return Ok(None) };
    progress(Progress::working("precision and recall"));
    Ok(Some(Measured::timed(|| {
        let [samples, data] = measured(sets, PRECISION_NEIGHBOURS);
        PrecisionRecall {
            name: title("P/R[inception]", "P/R", &sets.network),
            features: sets.network.clone(),
            images: sets.images(),
            chosen: Chosen::Random,
            seed: subject.protocol.seed,
            neighbours: PRECISION_NEIGHBOURS,
            precision: samples.precision,
            recall: samples.recall,
            precision_of_data: data.precision,
            recall_of_data: data.recall,
        }
    })))
}

/// Measures density and coverage of a model that samples images, where there is a feature network.
pub(super) fn measure_density(
    subject: &Subject<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Measured>> {
    let Some(sets) = subject.feature_sets(progress)? else { return Ok(None) };
    progress(Progress::working("density and coverage"));
    Ok(Some(Measured::timed(|| {
        let [samples, data] = measured(sets, DENSITY_NEIGHBOURS);
        DensityCoverage {
            name: title("D/C[inception]", "D/C", &sets.network),
            features: sets.network.clone(),
            images: sets.images(),
            chosen: Chosen::Random,
            seed: subject.protocol.seed,
            neighbours: DENSITY_NEIGHBOURS,
            density: samples.density,
            coverage: samples.coverage,
            density_of_data: data.density,
            coverage_of_data: data.coverage,
            expected_coverage: expected_coverage(sets.images(), sets.images(), DENSITY_NEIGHBOURS),
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn cases_by_hand() {
        // Balls of real points reach to their nearest other one: 0 ± 1, 1 ± 1, 5 ± 4. Those of samples: 0.5 ± 0.2, 0.7 ± 0.2, 20 ± 19.3.
        let found = manifold(&[0.0, 1.0, 5.0], &[0.5, 0.7, 20.0], 1, 1);
        assert!((found.precision - 2.0 / 3.0).abs() < 1e-12, "20 is far from all: {found:?}");
        // Only 1 and 5 are in the ball of 20 from 0.7 to 39.3; 0 is 0.5 from 0.5.
        assert!((found.recall - 2.0 / 3.0).abs() < 1e-12, "{found:?}");
        // 0.5 and 0.7 are in the balls of 0 and 1 each: four in all; that of 5 begins at 1.
        assert!((found.density - 4.0 / 3.0).abs() < 1e-12, "{found:?}");
        assert!((found.coverage - 2.0 / 3.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn a_narrow_set_within_a_wide_one_has_high_precision_and_low_recall() {
        let draws = rng::normal(&mut rng::generator(1, "test", 0), 2 * 400 * 4);
        let (wide, narrow) = draws.split_at(400 * 4);
        let narrow: Vec<f32> = narrow.iter().map(|x| 0.1 * x).collect();
        let found = manifold(wide, &narrow, 4, 3);
        assert!(found.precision > 0.9 && found.recall < 0.05 && found.coverage < 0.2, "{found:?}");
        let turned = manifold(&narrow, wide, 4, 3);
        assert!(turned.precision < 0.05 && turned.recall > 0.9, "{turned:?}");
    }

    #[test]
    fn the_coverage_of_equal_distributions_is_the_expected_one() {
        assert!((expected_coverage(10_000, 10_000, 5) - 0.96877).abs() < 1e-5);
        assert!((expected_coverage(1, 1, 1) - 1.0).abs() < 1e-12);
        let draws = rng::normal(&mut rng::generator(2, "test", 0), 2 * 1000 * 3);
        let (real, samples) = draws.split_at(1000 * 3);
        let found = manifold(real, samples, 3, 5);
        // The deviation over 1,000 balls is below 0.01.
        assert!((found.coverage - expected_coverage(1000, 1000, 5)).abs() < 0.03, "{found:?}");
        assert!((found.density - 1.0).abs() < 0.1, "{found:?}");
    }
}
