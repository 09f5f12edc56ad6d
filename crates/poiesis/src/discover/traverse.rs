//! Latent traversal: changes one latent dimension at a time, which shows what it means.

use burn::tensor::Device;

use super::{decode_rows, latent};
use crate::abilities::{Latents, Prior};

/// Images that change along latent dimensions.
#[derive(Clone, Debug)]
pub struct Traversal {
    /// The dimension of each row.
    pub dims: Vec<usize>,
    /// The value of each column, for the prior of the first row.
    pub values: Vec<f32>,
    /// How much each row's dimension changes the image: root mean square difference of its ends, in grey levels.
    pub effects: Vec<f64>,
    /// 8-bit images, row by row.
    pub images: Vec<u8>,
}

/// Changes latent dimensions of sample `index` of `seed` over `steps` values.
///
/// The dimensions are `dims`, or, where that is empty, the `rows` that change the image most. Values range over ±2 for a
/// normal prior and over ±1 for a uniform one.
///
/// # Panics
///
/// When `steps` is below 2 or a dimension is not below the latent's.
pub fn traverse(
    latents: &dyn Latents,
    seed: u64,
    index: u64,
    dims: &[usize],
    rows: usize,
    steps: usize,
    device: &Device,
) -> Traversal {
    assert!(steps >= 2, "a traversal has two ends, not {steps}");
    let priors = latents.priors();
    let end = |dim: usize| match priors[dim] {
        Prior::Normal => 2.0,
        Prior::Uniform | Prior::Categorical => 1.0,
    };
    let values = |dim| (0..steps).map(move |s| end(dim) * (2.0 * s as f32 / (steps - 1) as f32 - 1.0));
    let base = latent(latents, seed, index, device);
    let moved = |dim: usize, value: f32| {
        let mut latent = base.clone();
        latent[dim] = value;
        latent
    };
    let candidates: Vec<usize> = if dims.is_empty() { (0..base.len()).collect() } else { dims.to_vec() };
    let ends: Vec<Vec<f32>> =
        candidates.iter().flat_map(|&dim| [moved(dim, -end(dim)), moved(dim, end(dim))]).collect();
    let ends = decode_rows(latents, &ends, device);
    let size = ends.len() / (2 * candidates.len());
    let effect = |pair: &[u8]| {
        let (low, high) = pair.split_at(size);
        let squares = low.iter().zip(high).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        (squares.sum::<f64>() / size as f64).sqrt()
    };
    let mut ranked: Vec<(usize, f64)> =
        candidates.into_iter().zip(ends.chunks_exact(2 * size).map(effect)).collect();
    if dims.is_empty() {
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked.truncate(rows);
    }
    let (dims, effects): (Vec<usize>, Vec<f64>) = ranked.into_iter().unzip();
    let rows: Vec<Vec<f32>> = dims
        .iter()
        .flat_map(|&dim| values(dim).map(move |value| (dim, value)))
        .map(|(d, v)| moved(d, v))
        .collect();
    let images = decode_rows(latents, &rows, device);
    let values = dims.first().map_or_else(Vec::new, |&dim| values(dim).collect());
    Traversal { images, dims, values, effects }
}
