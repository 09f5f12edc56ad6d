//! The exact negative log-likelihood of held-out data.

use std::f64::consts::LN_2;

use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_collect::View;
use serde::Serialize;

use super::{mean_and_error, on_scale};
use crate::capability::{ImageLikelihood, Scale, TokenLikelihood};
use crate::data::{ImageShape, Tokens};

/// Images weighed at a time.
const BATCH: usize = 50;
/// Tokens weighed at a time, about.
const TOKENS: usize = 8192;

/// −log p(x) of held-out images.
#[derive(Clone, Debug, Serialize)]
pub struct ImageNll {
    /// How many of the split's images were weighed, evenly spread over it.
    pub images: usize,
    /// Seed of the binarisation, for models of black and white.
    pub seed: u64,
    /// The values that it is a distribution over.
    pub scale: Scale,
    /// Mean of −log p(x), in nats for each image.
    pub nats: f64,
    /// Its standard error over images.
    pub nats_error: f64,
    /// `nats` in bits for each of the image's numbers.
    pub bits_per_dim: f64,
}

/// Weighs `images` images of `view`, evenly spread over it, telling `progress` how many are done.
///
/// # Panics
///
/// When there are no images.
pub fn image_nll(
    model: &dyn ImageLikelihood,
    view: &View,
    shape: ImageShape,
    images: usize,
    seed: u64,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> ImageNll {
    let images = images.min(view.len());
    assert!(images > 0, "a likelihood needs images");
    let mut log_probs = Vec::with_capacity(images);
    let indices: Vec<usize> = view.spread(images).collect();
    for indices in indices.chunks(BATCH) {
        let classes: Vec<u32> = indices.iter().map(|&index| view.label(index).unwrap_or(0)).collect();
        let x = on_scale(model.scale(), view, indices, shape, seed, device);
        log_probs.extend(model.log_prob(x, &classes));
        progress(log_probs.len());
    }
    let (mean, nats_error) = mean_and_error(&log_probs);
    let bits_per_dim = -mean / (shape.dims() as f64 * LN_2);
    ImageNll { images, seed, scale: model.scale(), nats: -mean, nats_error, bits_per_dim }
}

/// −log p of held-out tokens, each given those before it.
#[derive(Clone, Debug, Serialize)]
pub struct TokenNll {
    /// Tokens that were predicted.
    pub tokens: u64,
    /// Tokens in a window: those a prediction can see, and the one that is predicted.
    pub window: usize,
    /// Windows begin a multiple of this many tokens after one another; the predictions that a window `stride` before makes are
    /// not counted again. So all but the first window's have at least `window - stride` tokens to see.
    pub stride: usize,
    /// Mean of −log p, in nats for each token, beginnings of documents included.
    pub nats: f64,
    /// Its standard error, with windows taken as independent.
    pub nats_error: f64,
}

/// Weighs about `limit` tokens, in windows that overlap by half, or, where there are more tokens, in every so many of these,
/// from the beginning to the end; `progress` is told how many are done.
///
/// Where each document fills a window of its own, windows are documents.
///
/// # Panics
///
/// When there are fewer than two tokens.
pub fn token_nll(
    model: &dyn TokenLikelihood,
    tokens: &Tokens,
    limit: u64,
    device: &Device,
    progress: &mut dyn FnMut(u64),
) -> TokenNll {
    assert!(tokens.len() >= 2, "a likelihood needs two tokens");
    let window = (model.window() as u64).clamp(2, tokens.len());
    let whole = tokens.shape().beginnings > 0 && tokens.shape().length == Some(window as usize - 1);
    let stride = if whole { window } else { (window / 2).max(1) };
    let windows = 1 + (tokens.len() - window) / stride;
    let skip = (windows * stride).div_ceil(limit.max(1));
    let starts: Vec<u64> = (0..windows).step_by(skip as usize).map(|index| index * stride).collect();
    let (mut sums, mut counted) = (Vec::new(), 0);
    for starts in starts.chunks((TOKENS / window as usize).max(1)) {
        let values = starts.iter().flat_map(|&start| tokens.read(start..start + window));
        let values: Vec<i32> = values.map(|token| token as i32).collect();
        let data = TensorData::new(values, [starts.len(), window as usize]);
        let log_prob = model.log_prob(Tensor::<2, Int>::from_data(data, device));
        let log_prob: Vec<f32> = log_prob.into_data().iter::<f32>().collect();
        for (row, &start) in log_prob.chunks_exact(window as usize - 1).zip(starts) {
            // Predictions of the overlap belong to the window before.
            let seen = if start == 0 || whole { 0 } else { (window - stride - 1) as usize };
            sums.push((row[seen..].iter().map(|&x| f64::from(x)).sum::<f64>(), row.len() - seen));
            counted += (row.len() - seen) as u64;
        }
        progress(counted);
    }
    let total: f64 = sums.iter().map(|(sum, _)| sum).sum();
    let means: Vec<f64> = sums.iter().map(|(sum, count)| sum / *count as f64).collect();
    let (_, nats_error) = mean_and_error(&means);
    let (window, stride) = (window as usize, stride as usize);
    TokenNll { tokens: counted, window, stride, nats: -total / counted as f64, nats_error }
}
