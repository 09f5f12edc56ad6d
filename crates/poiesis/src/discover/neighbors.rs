//! Each sample next to its nearest training image, which shows whether the model copies.

use poiesis_collect::View;

use crate::error::Result;
use crate::evaluate::{Nearest, nearest};
use crate::trained::Trained;

/// Samples with their nearest training images.
#[derive(Clone, Debug)]
pub struct Neighbors {
    /// For each sample, its nearest training image.
    pub nearest: Vec<Nearest>,
    /// Pairs of 8-bit images: a sample, then its nearest training image.
    pub images: Vec<u8>,
}

/// Draws `count` samples of `seed` and finds the nearest image of `train` to each.
///
/// # Errors
///
/// [`crate::Error::MissingCapability`] when the model cannot sample.
pub fn neighbors(trained: &Trained, train: &View, seed: u64, count: usize) -> Result<Neighbors> {
    let samples = trained.images(seed, 0..count as u64)?;
    let dims = samples.len() / count.max(1);
    let nearest = nearest(&samples, train, dims);
    let pair = |(sample, near): (&[u8], &Nearest)| [sample, train.image(near.index)].concat();
    Ok(Neighbors { images: samples.chunks_exact(dims).zip(&nearest).flat_map(pair).collect(), nearest })
}
