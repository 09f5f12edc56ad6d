//! The kernel distance of samples from held-out images in the features of a network: with Inception, the KID (Bińkowski et al. 2018,
//! arXiv:1801.01401). It is unbiased, so it suits few images, and it may be below zero where two sets hardly differ.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use super::sets::Chosen;
use super::similarity::dot_products;
use crate::error::Result;
use crate::features::{Features, title};
use crate::rng;

/// Largest number of images in a subset, and the number of subsets.
const SUBSET: usize = 1000;
const SUBSETS: usize = 100;

/// A kernel distance with its floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelDistance {
    /// What the number is called: `KID` with the published weights of Inception only.
    pub name: String,
    /// The name of the feature network.
    pub features: String,
    /// Images on each side.
    pub images: usize,
    /// How the images of the data were chosen.
    pub chosen: Chosen,
    /// Seed of samples, sets and subsets.
    pub seed: u64,
    /// Images in a subset; where it has all of them there is one subset.
    pub subset: usize,
    /// Number of subsets.
    pub subsets: usize,
    /// Squared distance of samples from held-out images, averaged over subsets. Papers often give 1,000 times this.
    pub distance: f64,
    /// Its standard deviation over subsets, as papers give it; `None` for one subset.
    pub deviation: Option<f64>,
    /// The same of as many training images: the score of a perfect model, 0 but for chance.
    pub floor: f64,
    /// Its standard deviation over subsets.
    pub floor_deviation: Option<f64>,
}

/// The squared maximum mean discrepancy of two sets with the kernel (x · y / d + 1)³, unbiased (ibid., Eq. 4).
///
/// # Panics
///
/// When the sets have less than two vectors, or those of another length.
pub fn squared_mmd(a: &[f32], b: &[f32], dims: usize) -> f64 {
    let (n, m) = (a.len() / dims, b.len() / dims);
    assert!(n > 1 && m > 1, "a discrepancy of single vectors");
    let kernel = |product: f32| (f64::from(product) / dims as f64 + 1.0).powi(3);
    // Rows are summed by themselves and then in their order, whatever the number of threads.
    let sum = |products: &[f32], columns: usize, with_self: bool| -> f64 {
        let row = |(i, row): (usize, &[f32])| -> f64 {
            let own = if with_self { 0.0 } else { kernel(row[i]) };
            row.iter().map(|&product| kernel(product)).sum::<f64>() - own
        };
        products.par_chunks_exact(columns).enumerate().map(row).collect::<Vec<f64>>().into_iter().sum()
    };
    let within =
        |x: &[f32], count: usize| sum(&dot_products(x, x, dims), count, false) / (count * (count - 1)) as f64;
    let between = sum(&dot_products(a, b, dims), m, true) / (n * m) as f64;
    within(a, n) + within(b, m) - 2.0 * between
}

/// The mean discrepancy of random subsets and its standard deviation.
fn over_subsets(a: &Features, b: &Features, subset: usize, subsets: usize, seed: u64) -> (f64, Option<f64>) {
    let drawn = |set: &Features, number: u64| -> Vec<f32> {
        let len = set.len() as u64;
        let place = |place| rng::permute(seed, number, place, len) as usize * set.dims;
        (0..subset as u64).map(place).flat_map(|at| &set.values[at..at + set.dims]).copied().collect()
    };
    let value = |number: u64| squared_mmd(&drawn(a, 2 * number), &drawn(b, 2 * number + 1), a.dims);
    let values: Vec<f64> = (0..subsets as u64).map(value).collect();
    let mean = values.iter().sum::<f64>() / subsets as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / subsets as f64;
    (mean, (subsets > 1).then(|| variance.sqrt()))
}

/// Measures the distance for a model that samples images, where there is a feature network.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(sets) = subject.feature_sets(progress)? else { return Ok(None) };
    progress(Progress::working("kernel distance"));
    let (images, seed) = (sets.images(), subject.protocol.seed);
    let subset = images.min(SUBSET);
    let subsets = if subset == images { 1 } else { SUBSETS };
    Ok(Some(Measured::timed(|| {
        let against = |set: &Features| over_subsets(set, &sets.held_out, subset, subsets, seed);
        let ((distance, deviation), (floor, floor_deviation)) =
            (against(&sets.samples), against(&sets.train));
        KernelDistance {
            name: title("KID", "KD", &sets.network),
            features: sets.network.clone(),
            images,
            chosen: Chosen::Random,
            seed,
            subset,
            subsets,
            distance,
            deviation,
            floor,
            floor_deviation,
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(count: usize, dims: usize, seed: u64, shift: f32) -> Vec<f32> {
        let draws = rng::normal(&mut rng::generator(seed, "test", 0), count * dims);
        draws.into_iter().map(|x| x + shift).collect()
    }

    #[test]
    fn the_discrepancy_is_that_of_plain_loops() {
        let (n, m, dims) = (17, 23, 5);
        let (a, b) = (random(n, dims, 1, 0.0), random(m, dims, 2, 0.5));
        let kernel = |x: &[f32], y: &[f32]| {
            let dot: f64 = x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            (dot / dims as f64 + 1.0).powi(3)
        };
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        for (i, x) in a.chunks(dims).enumerate() {
            aa += a.chunks(dims).enumerate().filter(|(j, _)| *j != i).map(|(_, y)| kernel(x, y)).sum::<f64>();
            ab += b.chunks(dims).map(|y| kernel(x, y)).sum::<f64>();
        }
        for (i, x) in b.chunks(dims).enumerate() {
            bb += b.chunks(dims).enumerate().filter(|(j, _)| *j != i).map(|(_, y)| kernel(x, y)).sum::<f64>();
        }
        let plain = aa / (n * (n - 1)) as f64 + bb / (m * (m - 1)) as f64 - 2.0 * ab / (n * m) as f64;
        assert!((squared_mmd(&a, &b, dims) - plain).abs() < 1e-5 * plain.abs().max(1.0), "{plain}");
    }

    #[test]
    fn sets_of_one_distribution_are_at_zero_give_or_take() {
        let set =
            |seed, shift| Features { dims: 8, values: random(400, 8, seed, shift), ..Features::default() };
        let (mean, deviation) = over_subsets(&set(1, 0.0), &set(2, 0.0), 100, 30, 0);
        assert!(mean.abs() < 0.05 && deviation.unwrap() > 0.0, "{mean} {deviation:?}");
        let values = |subsets| over_subsets(&set(1, 0.0), &set(2, 1.0), 400, subsets, 0).0;
        assert!(values(1) > 1.0);
        // All images in one subset are the whole set.
        assert!((values(1) - squared_mmd(&set(1, 0.0).values, &set(2, 1.0).values, 8)).abs() < 1e-5);
    }
}
