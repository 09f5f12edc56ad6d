//! Nearest neighbours in pixel space, which show whether the model copies training images.

use std::fmt;
use std::time::Instant;

use poiesis_collect::View;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use super::sets::{Chosen, Sets, bytes};
use crate::error::Result;

/// Largest number of samples, and of held-out images, whose nearest neighbours are searched.
const SEARCHED_FOR: usize = 1000;

/// The nearest image of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// The image's index.
    pub index: usize,
    /// Root mean square difference, in grey levels of 255.
    pub distance: f64,
}

/// Finds the nearest image of `view` for each of `queries`, which holds images of `dims` bytes, concatenated. Ties go to
/// the first.
pub fn nearest(queries: &[u8], view: &View, dims: usize) -> Vec<Nearest> {
    queries.par_chunks_exact(dims).map(|query| nearest_of(query, view, None)).collect()
}

/// Finds the nearest other image of `view` for each of its images at `indices`, as [`nearest`] does.
///
/// # Panics
///
/// When an index is not below the number of images, or there is no other image.
pub fn nearest_others(indices: &[usize], view: &View) -> Vec<Nearest> {
    assert!(view.len() > 1, "there is no other image");
    indices.par_iter().map(|&index| nearest_of(view.image(index), view, Some(index))).collect()
}

/// The nearest image of `view`, without the one at `own`, to `query`.
fn nearest_of(query: &[u8], view: &View, own: Option<usize>) -> Nearest {
    let mut best = (u64::MAX, 0);
    for index in (0..view.len()).filter(|&index| Some(index) != own) {
        let squares = squared_distance(query, view.image(index), best.0);
        if squares < best.0 {
            best = (squares, index);
        }
    }
    Nearest { index: best.1, distance: (best.0 as f64 / query.len() as f64).sqrt() }
}

/// The squared distance, or some number of at least `limit` where it is not below that.
fn squared_distance(a: &[u8], b: &[u8], limit: u64) -> u64 {
    /// Values between two looks at the limit. Sums of so many squares of bytes fit into 32 bits, which the compiler turns into
    /// vector code.
    const PART: usize = 256;
    let part = |(a, b): (&[u8], &[u8])| {
        let squares = a.iter().zip(b).map(|(&a, &b)| {
            let difference = i32::from(a) - i32::from(b);
            (difference * difference) as u32
        });
        u64::from(squares.sum::<u32>())
    };
    let mut sum = 0;
    for parts in a.chunks(PART).zip(b.chunks(PART)) {
        sum += part(parts);
        if sum >= limit {
            break;
        }
    }
    sum
}

/// How close samples are to the training data, compared with held-out data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighbourStatistics {
    /// Samples compared.
    pub samples: usize,
    /// Held-out images compared.
    pub held_out: usize,
    /// How the held-out images were chosen.
    #[serde(default)]
    pub chosen: Chosen,
    /// Training images searched.
    pub searched: usize,
    /// Mean distance from a sample to its nearest training image, in grey levels.
    pub sample_distance: f64,
    /// The same for held-out images, for comparison.
    pub held_out_distance: f64,
    /// Fraction of the samples that are closer to a training image than 99 % of held-out images are. Much more than 0.01
    /// means copies.
    pub copied: f64,
    /// Number of distinct nearest training images, divided by the number of samples. Close to 0 means few modes.
    pub variety: f64,
}

/// Whether samples look like copies of training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As few of them are close to training images as of held-out images.
    NoSign,
    /// Too many of them are close to training images.
    Copies,
    /// So few were compared that it cannot be told.
    TooFew,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::NoSign => "no sign of copying",
            Verdict::Copies => "these look like copies",
            Verdict::TooFew => "too few to tell copies from chance",
        })
    }
}

impl NeighbourStatistics {
    /// How many samples are closer to a training image than 99 % of held-out images are.
    pub fn near(&self) -> usize {
        (self.copied * self.samples as f64).round() as usize
    }

    /// Whether the samples look like copies. Without copying, one in a hundred is expected to be that close, or a few by chance.
    pub fn verdict(&self) -> Verdict {
        let expected = 0.01 * self.samples as f64;
        let limit = expected + 3.0 * expected.sqrt().max(1.0);
        // All of so few could be that close by chance.
        if self.samples as f64 <= limit || self.held_out < 2 {
            Verdict::TooFew
        } else if self.near() as f64 > limit {
            Verdict::Copies
        } else {
            Verdict::NoSign
        }
    }
}

/// Compares samples with the training images; `held_out` has the nearest training image of each held-out image.
///
/// # Panics
///
/// When there are no samples or no held-out images.
pub fn neighbour_statistics(
    samples: &[u8],
    held_out: &[Nearest],
    train: &View,
    dims: usize,
) -> NeighbourStatistics {
    assert!(samples.len() >= dims && !held_out.is_empty(), "nothing to compare");
    statistics(&nearest(samples, train, dims), held_out, train.len())
}

fn statistics(of_samples: &[Nearest], held_out: &[Nearest], searched: usize) -> NeighbourStatistics {
    let mut floor: Vec<f64> = held_out.iter().map(|near| near.distance).collect();
    floor.sort_by(f64::total_cmp);
    let close = floor[floor.len() / 100];
    let mut visited: Vec<usize> = of_samples.iter().map(|nearest| nearest.index).collect();
    visited.sort_unstable();
    visited.dedup();
    let count = of_samples.len() as f64;
    NeighbourStatistics {
        samples: of_samples.len(),
        held_out: floor.len(),
        chosen: Chosen::Random,
        searched,
        sample_distance: of_samples.iter().map(|nearest| nearest.distance).sum::<f64>() / count,
        held_out_distance: floor.iter().sum::<f64>() / floor.len() as f64,
        copied: of_samples.iter().filter(|nearest| nearest.distance < close).count() as f64 / count,
        variety: visited.len() as f64 / count,
    }
}

/// The nearest training images of samples, and of as many held-out images.
pub(super) struct Neighbours {
    /// Of each of the first samples.
    pub(super) of_samples: Vec<Nearest>,
    /// Of each of the held-out images.
    pub(super) of_held_out: Vec<Nearest>,
    /// Which held-out images those are.
    pub(super) held_out: Vec<usize>,
    pub(super) sets: Sets,
    /// Seconds that the search took.
    seconds: f64,
}

impl Neighbours {
    /// Searches for as many held-out images as samples, `None` where there are none.
    pub(super) fn of(
        subject: &Subject<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Neighbours>> {
        let Some(sets) = Sets::of(subject)?.filter(|sets| sets.most() > 0) else { return Ok(None) };
        let dims = subject.trained.spec.images()?.dims();
        let samples = subject.samples(progress)?;
        let count = (samples.len() / dims).min(SEARCHED_FOR).min(sets.held_out.len());
        let held_out = sets.held_out(count);
        progress(Progress::working("nearest neighbours"));
        Ok(Some(Neighbours::new(&samples[..count * dims], held_out, sets, dims)))
    }

    /// Searches for these samples and held-out images.
    pub(super) fn new(samples: &[u8], held_out: Vec<usize>, sets: Sets, dims: usize) -> Neighbours {
        let began = Instant::now();
        // A training image is nearest to itself, so it is compared with all others.
        let of_held_out = if sets.is_train {
            nearest_others(&held_out, &sets.train)
        } else {
            nearest(&bytes(&sets.held_out, &held_out), &sets.train, dims)
        };
        let of_samples = nearest(samples, &sets.train, dims);
        let seconds = began.elapsed().as_secs_f64();
        Neighbours { of_samples, of_held_out, held_out, sets, seconds }
    }
}

/// Measures both distances for a model that samples images, for as many held-out images as samples.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(found) = subject.neighbours(progress)? else { return Ok(None) };
    let mut measured =
        Measured::timed(|| statistics(&found.of_samples, &found.of_held_out, found.sets.train.len()));
    measured.seconds += found.seconds;
    Ok(Some(measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(samples: usize, copied: usize) -> Verdict {
        let copied = copied as f64 / samples as f64;
        NeighbourStatistics {
            samples,
            held_out: 500,
            chosen: Chosen::Random,
            searched: 1000,
            sample_distance: 20.0,
            held_out_distance: 25.0,
            copied,
            variety: 1.0,
        }
        .verdict()
    }

    #[test]
    fn one_chance_neighbour_is_no_copy_and_many_are() {
        assert_eq!((verdict(1, 0), verdict(3, 3)), (Verdict::TooFew, Verdict::TooFew));
        assert_eq!((verdict(4, 3), verdict(4, 4)), (Verdict::NoSign, Verdict::Copies));
        assert_eq!(verdict(32, 1), Verdict::NoSign);
        assert_eq!(verdict(1000, 15), Verdict::NoSign);
        assert_eq!(verdict(32, 8), Verdict::Copies);
        assert_eq!(verdict(1000, 30), Verdict::Copies);
    }
}
