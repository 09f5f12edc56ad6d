//! The exact negative log-likelihood of held-out images.

use std::f64::consts::LN_2;

use burn::tensor::Device;
use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use super::{encoded, mean_and_error};
use crate::abilities::{ImageLikelihood, Likelihood};
use crate::data::{ImageShape, PixelEncoding};
use crate::error::Result;

/// Images in a batch.
const BATCH: usize = 50;

/// −log p(x) of held-out images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageNll {
    /// How many of the split's images were measured, evenly spread over it.
    pub images: usize,
    /// Seed of the binarisation, for models of binary images.
    pub seed: u64,
    /// How pixels are read, which the likelihood depends on.
    #[serde(rename = "scale")]
    pub encoding: PixelEncoding,
    /// Mean of −log p(x), in nats per image.
    pub nats: f64,
    /// Its standard error over images.
    pub nats_error: f64,
    /// `nats` as bits per dimension.
    pub bits_per_dim: f64,
}

/// Measures `images` images of `view`, evenly spread over it; `progress` receives the number done.
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
        let x = encoded(model.encoding(), view, indices, shape, seed, device);
        log_probs.extend(model.log_prob(x, &classes));
        progress(log_probs.len());
    }
    let (mean, nats_error) = mean_and_error(&log_probs);
    let bits_per_dim = -mean / (shape.dims() as f64 * LN_2);
    ImageNll { images, seed, encoding: model.encoding(), nats: -mean, nats_error, bits_per_dim }
}

/// Measures −log p(x) of a model that gives it for images.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let likelihood = subject.trained.abilities().likelihood;
    let Some(model) = likelihood.and_then(Likelihood::images) else { return Ok(None) };
    let (view, shape) = (subject.held_out.images()?, subject.trained.spec.images()?);
    let images = subject.images(view);
    let mut report = Progress::reporter("likelihood", "images", images as u64, progress);
    let device = &subject.trained.device;
    let mut done = |done: usize| report(done as u64);
    let seed = subject.protocol.seed;
    Ok(Some(Measured::timed(|| image_nll(model, view, shape, images, seed, device, &mut done))))
}
