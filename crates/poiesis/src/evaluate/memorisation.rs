//! Whether a model repeats training images: distance ratios, AuthPct (Alaa et al. 2022, arXiv:2102.08921) and the copying score C_T
//! (Meehan et al. 2020, arXiv:2004.05675), each beside that of held-out images, which no model has copied.

use std::collections::BTreeMap;

use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use super::nearest::{Nearest, Neighbours, nearest, nearest_others};
use super::sets::{Chosen, bytes};
use super::similarity::Cloud;
use crate::error::Result;
use crate::fitting::clusters::two_nearest;
use crate::fitting::{Pca, Rows, k_means};

/// Pairs of samples and training images that are kept, to be looked at.
const SHOWN: usize = 24;
/// Added to distances before they are divided, so that two of zero make one.
const TINY: f64 = 1e-9;
/// Dimensions in which C_T is measured, and its cells.
const COMPONENTS: usize = 64;
const CELLS: usize = 3;
/// How often cells are tried to be made.
const TRIES: u64 = 10;
/// Samples that a cell must have to count.
const FEWEST: usize = 20;
/// Values of the images from which components are found, which bounds the memory.
const VALUES: usize = 1 << 24;
/// Images that are projected at once.
const BLOCK: usize = 1024;

/// Signs of copying.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memorisation {
    /// Samples looked at.
    pub samples: usize,
    /// Held-out images looked at.
    pub held_out: usize,
    /// How the held-out images were chosen.
    pub chosen: Chosen,
    /// Training images searched.
    pub searched: usize,
    /// Seed of samples and sets.
    pub seed: u64,
    /// Median over samples of the distance to the nearest training image, divided by that to the nearest held-out image. Far below that
    /// of held-out images means copies.
    pub distance_ratio: f64,
    /// The same of held-out images and the other held-out ones: what a model without copies has.
    pub distance_ratio_of_data: f64,
    /// Fraction of the samples that are authentic: not closer to their nearest training image than that is to its own nearest one.
    pub authentic: f64,
    /// The same of held-out images: what a model without copies has.
    pub authentic_of_data: f64,
    /// C_T: far below zero means that samples are closer to training images than held-out images are, far above zero that they are
    /// further away. `None` where there are too few of them.
    pub copying: Option<f64>,
    /// Cells of the training data that had samples enough for it.
    pub copying_cells: usize,
    /// Samples that are closest to training images by their distance ratio, the closest first.
    pub closest: Vec<Pair>,
}

/// A sample and its nearest training image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The number of the sample.
    pub sample: usize,
    /// The index of the training image.
    pub training: usize,
    /// Root mean square difference, in grey levels of 255.
    pub distance: f64,
    /// The distance divided by that to the nearest held-out image.
    pub ratio: f64,
}

/// Looks for copies among samples, which are images of `dims` bytes, concatenated.
fn memorisation(found: &Neighbours, samples: &[u8], dims: usize, seed: u64) -> Memorisation {
    let Neighbours { of_samples, of_held_out, held_out, sets, .. } = found;
    let samples = &samples[..of_samples.len() * dims];
    let to_held_out = nearest(samples, &sets.held_out, dims);
    let among_held_out = nearest_others(held_out, &sets.held_out);
    let [ratios, ratios_of_data] = [(of_samples, &to_held_out), (of_held_out, &among_held_out)].map(ratios);
    let own = nearest_of_nearest(&[&of_samples[..], of_held_out].concat(), &sets.train);
    let mut pairs: Vec<Pair> = of_samples
        .iter()
        .zip(&ratios)
        .enumerate()
        .map(|(sample, (near, &ratio))| Pair { sample, training: near.index, distance: near.distance, ratio })
        .collect();
    pairs.sort_by(|a, b| a.ratio.total_cmp(&b.ratio).then(a.sample.cmp(&b.sample)));
    pairs.truncate(SHOWN);
    let copying = copying(&sets.train, samples, &bytes(&sets.held_out, held_out), dims, seed);
    Memorisation {
        samples: of_samples.len(),
        held_out: of_held_out.len(),
        chosen: Chosen::Random,
        searched: sets.train.len(),
        seed,
        distance_ratio: median(ratios),
        distance_ratio_of_data: median(ratios_of_data),
        authentic: authentic(of_samples, &own),
        authentic_of_data: authentic(of_held_out, &own),
        copying: copying.map(|(z, _)| z),
        copying_cells: copying.map_or(0, |(_, cells)| cells),
        closest: pairs,
    }
}

fn ratios((to_train, to_held_out): (&Vec<Nearest>, &Vec<Nearest>)) -> Vec<f64> {
    let ratio = |(near, other): (&Nearest, &Nearest)| (near.distance + TINY) / (other.distance + TINY);
    to_train.iter().zip(to_held_out).map(ratio).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

/// For each training image that is the nearest of something, the distance to its own nearest one.
fn nearest_of_nearest(nearest: &[Nearest], train: &View) -> BTreeMap<usize, f64> {
    let mut indices: Vec<usize> = nearest.iter().map(|near| near.index).collect();
    indices.sort_unstable();
    indices.dedup();
    let own = nearest_others(&indices, train);
    indices.into_iter().zip(own.into_iter().map(|near| near.distance)).collect()
}

fn authentic(nearest: &[Nearest], own: &BTreeMap<usize, f64>) -> f64 {
    let count = nearest.iter().filter(|near| near.distance >= own[&near.index]).count();
    count as f64 / nearest.len() as f64
}

/// C_T of samples and the number of cells that it is of: in the space of the training data's principal components, whether samples
/// are nearer to training images than held-out ones are, cell by cell.
fn copying(train: &View, samples: &[u8], held_out: &[u8], dims: usize, seed: u64) -> Option<(f64, usize)> {
    let some: Vec<usize> = train.spread((VALUES / dims).clamp(2 * COMPONENTS, 5000)).collect();
    let some = pixels(&bytes(train, &some), dims);
    let pca = (dims > COMPONENTS).then(|| Pca::fit(&some, COMPONENTS));
    let project = |images: Rows| pca.as_ref().map_or_else(|| images.clone(), |pca| pca.project(&images));
    let some = project(some);
    let width = some.dims();
    let cells = k_means(&some, CELLS.min(some.len()), TRIES, seed);
    let by_cell = |images: &[u8], into: &mut Vec<Vec<f32>>| {
        let points = project(pixels(images, dims));
        points.iter().for_each(|point| into[two_nearest(point, &cells.centres)[0].0].extend(point));
    };
    let mut of_train = vec![Vec::new(); CELLS];
    let all: Vec<usize> = (0..train.len()).collect();
    all.chunks(BLOCK).for_each(|block| by_cell(&bytes(train, block), &mut of_train));
    let [mut of_samples, mut of_held_out] = [(); 2].map(|()| vec![Vec::new(); CELLS]);
    samples.chunks(BLOCK * dims).for_each(|block| by_cell(block, &mut of_samples));
    held_out.chunks(BLOCK * dims).for_each(|block| by_cell(block, &mut of_held_out));
    let (mut sum, mut weights, mut counted) = (0.0, 0.0, 0);
    for ((train, samples), held_out) in of_train.iter().zip(&of_samples).zip(&of_held_out) {
        let (drawn, real) = (samples.len() / width, held_out.len() / width);
        if train.is_empty() || drawn < FEWEST || real == 0 {
            continue;
        }
        let [train, samples, held_out] = Cloud::around_first([train, samples, held_out], width);
        sum += real as f64 * mann_whitney(&samples.nearest(&train), &held_out.nearest(&train));
        weights += real as f64;
        counted += 1;
    }
    (counted > 0).then(|| (sum / weights, counted))
}

/// Images as rows of pixels.
fn pixels(images: &[u8], dims: usize) -> Rows {
    Rows::new(images.iter().map(|&pixel| f32::from(pixel)).collect(), dims)
}

/// The standardised number of pairs in which the first is larger (Mann and Whitney 1947): normal with variance 1 where both have one
/// distribution.
fn mann_whitney(first: &[f64], second: &[f64]) -> f64 {
    let mut sorted = second.to_vec();
    sorted.sort_by(f64::total_cmp);
    let larger = |x: &f64| {
        let below = sorted.partition_point(|y| y < x);
        let equal = sorted[below..].partition_point(|y| y <= x);
        below as f64 + equal as f64 / 2.0
    };
    let pairs: f64 = first.iter().map(larger).sum();
    let (n, m) = (first.len() as f64, second.len() as f64);
    (pairs - n * m / 2.0 - 0.5) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}

/// Looks for copies where a model samples images and others are held out.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(found) = subject.neighbours(progress)? else { return Ok(None) };
    // Where nothing is held out there is nothing that cannot have been copied.
    if found.sets.is_train || found.sets.held_out.len() < 2 || found.sets.train.len() < 2 {
        return Ok(None);
    }
    let dims = subject.trained.spec.images()?.dims();
    let samples = subject.samples(progress)?;
    progress(Progress::working("looking for copies"));
    let mut closest = Vec::new();
    let measured = Measured::timed(|| {
        let found_copies = memorisation(found, samples, dims, subject.protocol.seed);
        for pair in &found_copies.closest {
            closest.extend_from_slice(&samples[pair.sample * dims..(pair.sample + 1) * dims]);
            closest.extend_from_slice(found.sets.train.image(pair.training));
        }
        found_copies
    });
    subject.closest.get_or_init(|| closest);
    Ok(Some(measured))
}

#[cfg(test)]
mod tests {
    use poiesis_collect::Split;

    use super::super::sets::Sets;
    use super::*;
    use crate::config::DataConfig;
    use crate::data::{Places, open};
    use crate::rng;

    /// Side of the images.
    const SIDE: usize = 10;
    const DIMS: usize = SIDE * SIDE;

    /// Images that vary along a few directions, as those of a data set do.
    fn images(first: usize, count: usize) -> Vec<u8> {
        let image = |i: usize| {
            let draws = rng::normal(&mut rng::generator(7, "test", i as u64), 6);
            (0..DIMS).map(move |p| {
                let wave =
                    |k: usize| draws[k] * ((k + 1) as f32 * p as f32 / DIMS as f32 * 3.0 + k as f32).sin();
                (128.0 + 18.0 * (0..6).map(wave).sum::<f32>()).clamp(0.0, 255.0) as u8
            })
        };
        (first..first + count).flat_map(image).collect()
    }

    fn found(samples: &[u8]) -> Memorisation {
        let root = tempfile::tempdir().unwrap();
        let mut idx = vec![0, 0, 8, 3];
        [1200_u32, SIDE as u32, SIDE as u32].iter().for_each(|length| idx.extend(length.to_be_bytes()));
        let source = root.path().join("images-idx3-ubyte");
        std::fs::write(&source, [idx, images(0, 1200)].concat()).unwrap();
        let config =
            DataConfig { source: source.to_string_lossy().into(), holdout: 0.25, ..DataConfig::default() };
        let places = Places { data_dir: root.path().into(), cache: root.path().join("cache") };
        let dataset = open(&config, &places, &|_| ()).unwrap();
        let view = |split| dataset.require(split).unwrap();
        let (train, held_out) = (view(Split::Train), view(Split::Validation));
        let copies = samples.is_empty().then(|| {
            // Every other sample is a training image with one changed pixel.
            let mut copies = images(5000, 200);
            for (i, copy) in copies.chunks_exact_mut(DIMS).enumerate().filter(|(i, _)| i % 2 == 0) {
                copy.copy_from_slice(train.image(3 * i));
                copy[7] = copy[7].wrapping_add(9);
            }
            copies
        });
        let samples = copies.as_deref().unwrap_or(samples);
        let sets = Sets::of_views(held_out, train, 0);
        let indices = sets.held_out(200);
        let found = Neighbours::new(samples, indices, sets, DIMS);
        memorisation(&found, samples, DIMS, 0)
    }

    #[test]
    fn fresh_images_look_like_held_out_ones() {
        let fresh = found(&images(5000, 200));
        assert!((fresh.authentic - fresh.authentic_of_data).abs() < 0.12, "{fresh:?}");
        assert!((fresh.distance_ratio / fresh.distance_ratio_of_data - 1.0).abs() < 0.2, "{fresh:?}");
        assert!(fresh.copying.unwrap().abs() < 3.0, "{fresh:?}");
        assert!(fresh.samples == 200 && fresh.held_out == 200 && fresh.searched > 800, "{fresh:?}");
    }

    #[test]
    fn planted_copies_are_found() {
        let [fresh, half] = [images(5000, 200), Vec::new()].map(|samples| found(&samples));
        // Half of the samples are copies, none of which is authentic.
        assert!(half.authentic <= 0.5 && (half.authentic - fresh.authentic / 2.0).abs() < 0.08, "{half:?}");
        assert_eq!(half.authentic_of_data, fresh.authentic_of_data);
        assert!(half.copying.unwrap() < -3.5, "{half:?}");
        assert!(half.distance_ratio < 0.9 * fresh.distance_ratio, "{half:?}");
        assert!(half.closest.len() == SHOWN && half.closest.iter().all(|pair| pair.sample % 2 == 0));
        assert!(half.closest.iter().all(|pair| pair.training == 3 * pair.sample && pair.distance < 1.0));
    }

    #[test]
    fn the_rank_statistic_has_the_values_of_small_cases() {
        // Of 3 · 2 pairs the first is larger in 5; (5 − 3 − ½) / √(3 · 2 · 6 / 12).
        assert!((mann_whitney(&[3.0, 4.0, 1.5], &[1.0, 2.0]) - 1.5 / 3f64.sqrt()).abs() < 1e-12);
        // One pair and a tie: (½ − 1 − ½) / √(1 · 2 · 4 / 12).
        assert!((mann_whitney(&[1.0], &[1.0, 2.0]) + (1.5f64).sqrt()).abs() < 1e-12);
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0])), (2.0, 2.5));
    }
}
