//! Nearest neighbours in pixel space: does the model copy what it was trained on?

use poiesis_collect::View;
use rayon::prelude::*;
use serde::Serialize;

/// The nearest image of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Nearest {
    /// Which image it is.
    pub index: usize,
    /// Root mean square difference, in grey levels of 255.
    pub distance: f64,
}

/// Finds the nearest image of `view` for each of `queries`, which holds images of `dims` bytes one after another;
/// of equally near ones the first.
pub fn nearest(queries: &[u8], view: &View, dims: usize) -> Vec<Nearest> {
    queries.par_chunks_exact(dims).map(|query| nearest_of(query, view)).collect()
}

fn nearest_of(query: &[u8], view: &View) -> Nearest {
    let mut best = (u64::MAX, 0);
    for index in 0..view.len() {
        let squares = squared_distance(query, view.image(index));
        if squares < best.0 {
            best = (squares, index);
        }
    }
    Nearest { index: best.1, distance: (best.0 as f64 / query.len() as f64).sqrt() }
}

fn squared_distance(a: &[u8], b: &[u8]) -> u64 {
    // Sums of 4096 squares of bytes fit into 32 bits, which the compiler turns into vector code.
    let part = |(a, b): (&[u8], &[u8])| {
        let squares = a.iter().zip(b).map(|(&a, &b)| {
            let difference = i32::from(a) - i32::from(b);
            (difference * difference) as u32
        });
        u64::from(squares.sum::<u32>())
    };
    a.chunks(4096).zip(b.chunks(4096)).map(part).sum()
}

/// How near samples lie to the training data, with how near held-out data lie beside it.
#[derive(Clone, Debug, Serialize)]
pub struct NeighbourStatistics {
    /// Samples compared.
    pub samples: usize,
    /// Held-out images compared.
    pub held_out: usize,
    /// Training images searched.
    pub searched: usize,
    /// Mean distance from a sample to its nearest training image, in grey levels.
    pub sample_distance: f64,
    /// The same for held-out images: what new images of this kind are like.
    pub held_out_distance: f64,
    /// Part of the samples that lie nearer to a training image than all but one in a hundred held-out images do:
    /// much more than 0.01 means copies.
    pub copied: f64,
    /// How many different training images are somebody's nearest, for each sample: near 0 means few modes.
    pub variety: f64,
}

/// Compares samples and held-out images with the training images.
///
/// # Panics
///
/// When there are no samples or no held-out images.
pub fn neighbour_statistics(
    samples: &[u8],
    held_out: &[u8],
    train: &View,
    dims: usize,
) -> NeighbourStatistics {
    assert!(samples.len() >= dims && held_out.len() >= dims, "nothing to compare");
    let of_samples = nearest(samples, train, dims);
    let mut floor: Vec<f64> = nearest(held_out, train, dims).iter().map(|n| n.distance).collect();
    floor.sort_by(f64::total_cmp);
    let close = floor[floor.len() / 100];
    let mut visited: Vec<usize> = of_samples.iter().map(|nearest| nearest.index).collect();
    visited.sort_unstable();
    visited.dedup();
    let count = of_samples.len() as f64;
    NeighbourStatistics {
        samples: of_samples.len(),
        held_out: floor.len(),
        searched: train.len(),
        sample_distance: of_samples.iter().map(|nearest| nearest.distance).sum::<f64>() / count,
        held_out_distance: floor.iter().sum::<f64>() / floor.len() as f64,
        copied: of_samples.iter().filter(|nearest| nearest.distance < close).count() as f64 / count,
        variety: visited.len() as f64 / count,
    }
}
