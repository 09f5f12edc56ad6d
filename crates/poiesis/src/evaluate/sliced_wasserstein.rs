//! The sliced Wasserstein distance between sets of images (Rabin et al. 2011), which needs no network and works for any size.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use super::sets::{Chosen, Sets, bytes};
use crate::error::Result;
use crate::rng;

/// A distance with reference distances for scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlicedWasserstein {
    /// Images on each side.
    pub images: usize,
    /// How the images of the data were chosen; distances are comparable only where it is the same.
    #[serde(default)]
    pub chosen: Chosen,
    /// Random directions.
    pub directions: usize,
    /// Seed of the directions.
    pub seed: u64,
    /// Distance of samples from held-out data, in grey levels of 255 per pixel.
    pub distance: f64,
    /// Distance of as many training images from the same held-out ones: the score of a perfect model.
    pub floor: f64,
    /// Distance of the held-out data with shuffled pixels: the score of a model that knows colours but no structure.
    pub ceiling: f64,
}

/// Measures how far `samples` are from `held_out`, with `train` and shuffled pixels for scale.
///
/// Each has images of `dims` bytes, concatenated, in an order that chance decided: the first ones are compared, as many of each as
/// the smallest set has.
///
/// # Panics
///
/// When a set is empty.
pub fn sliced_wasserstein(
    samples: &[u8],
    held_out: &[u8],
    train: &[u8],
    dims: usize,
    directions: usize,
    seed: u64,
) -> SlicedWasserstein {
    let images = samples.len().min(held_out.len()).min(train.len()) / dims;
    assert!(images > 0, "the sliced Wasserstein distance needs images on every side");
    let cut = |set: &[u8]| set[..images * dims].to_vec();
    let (samples, held_out, train) = (cut(samples), cut(held_out), cut(train));
    let shuffled: Vec<u8> = held_out
        .chunks_exact(dims)
        .enumerate()
        .flat_map(|(i, image)| {
            let place = move |p| rng::permute(seed, i as u64, p as u64, dims as u64) as usize;
            (0..dims).map(move |p| image[place(p)])
        })
        .collect();
    let slices: Vec<[f64; 3]> = (0..directions as u64)
        .into_par_iter()
        .map(|index| {
            let direction = unit(rng::normal(&mut rng::generator(seed, "direction", index), dims));
            let real = project(&held_out, &direction);
            [&samples, &train, &shuffled].map(|set| between(&project(set, &direction), &real))
        })
        .collect();
    // Along a random direction a shift of all pixels by c moves an image by c on average (root mean square).
    let mean = |k: usize| (slices.iter().map(|slice| slice[k]).sum::<f64>() / directions as f64).sqrt();
    SlicedWasserstein {
        images,
        chosen: Chosen::Random,
        directions,
        seed,
        distance: mean(0),
        floor: mean(1),
        ceiling: mean(2),
    }
}

/// Measures the distance for a model that samples images.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(sets) = Sets::of(subject)? else { return Ok(None) };
    let count = subject.protocol.samples.min(sets.most());
    if count == 0 {
        return Ok(None);
    }
    let dims = subject.trained.spec.images()?.dims();
    let samples = subject.samples(progress)?;
    let (held_out, train) =
        (bytes(&sets.held_out, &sets.held_out(count)), bytes(&sets.train, &sets.train(count)));
    let (directions, seed) = (subject.protocol.directions, subject.protocol.seed);
    progress(Progress::working("sliced Wasserstein distance"));
    let measure = || sliced_wasserstein(samples, &held_out, &train, dims, directions, seed);
    Ok(Some(Measured::timed(measure)))
}

fn unit(mut direction: Vec<f32>) -> Vec<f32> {
    let norm = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
    direction.iter_mut().for_each(|x| *x /= norm);
    direction
}

/// The projections of the images onto `direction`, sorted.
fn project(images: &[u8], direction: &[f32]) -> Vec<f32> {
    let place = |image: &[u8]| image.iter().zip(direction).map(|(&x, d)| f32::from(x) * d).sum::<f32>();
    let mut places: Vec<f32> = images.chunks_exact(direction.len()).map(place).collect();
    places.sort_by(f32::total_cmp);
    places
}

/// The squared 2-Wasserstein distance of two sorted sets of equal size.
fn between(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, shift: u8) -> Vec<u8> {
        let draws = rng::uniform(&mut rng::generator(seed, "test", 0), 500 * 12);
        draws.iter().map(|u| (u * 100.0) as u8 + shift).collect()
    }

    #[test]
    fn a_common_shift_is_measured_in_grey_levels_and_equal_distributions_score_the_floor() {
        let result = sliced_wasserstein(&noise(1, 50), &noise(2, 0), &noise(3, 0), 12, 400, 7);
        assert!((result.distance - 50.0).abs() < 5.0, "{result:?}");
        let result = sliced_wasserstein(&noise(1, 0), &noise(2, 0), &noise(3, 0), 12, 400, 7);
        assert!(result.distance < 1.5 * result.floor && result.floor < 4.0, "{result:?}");
    }
}
