//! Each sample beside its nearest training images: is the model copying?

use poiesis_collect::View;

use crate::apply::sample;
use crate::capability::Sample;
use crate::evaluate::{Nearest, nearest};

/// Samples with what lies nearest to them.
#[derive(Clone, Debug)]
pub struct Neighbors {
    /// For each sample, its nearest training image.
    pub nearest: Vec<Nearest>,
    /// Pairs, 8-bit: a sample, then its nearest training image.
    pub images: Vec<u8>,
}

/// Draws `count` samples of the sequence that `seed` starts and finds the nearest image of `train` to each.
pub fn neighbors(sampler: &dyn Sample, train: &View, seed: u64, count: usize) -> Neighbors {
    let samples = sample::images(sampler, seed, 0, count);
    let dims = samples.len() / count.max(1);
    let nearest = nearest(&samples, train, dims);
    let pair = |(sample, near): (&[u8], &Nearest)| [sample, train.image(near.index)].concat();
    Neighbors { images: samples.chunks_exact(dims).zip(&nearest).flat_map(pair).collect(), nearest }
}
