//! The evidence lower bound of held-out data, and the tighter importance-weighted bound.

use burn::tensor::Device;
use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::image_set::ImageSet;
use super::mean_and_error;
use super::metric::{Measured, Progress, Subject};
use crate::abilities::{self, Likelihood};
use crate::data::{ImageShape, PixelEncoding};
use crate::error::Result;

/// Images in a batch.
const BATCH: usize = 100;

/// How a bound is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundProtocol {
    /// How many of the split's images are measured, evenly spread over it.
    pub images: usize,
    /// Draws for each image of the importance-weighted bound; 1 measures only the evidence lower bound.
    pub samples: u64,
    /// Seed of binarisation and noise.
    pub seed: u64,
}

/// A bound on log p(x) of held-out images, averaged over them; on log p(x|class) for a model conditioned on classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// How it was measured.
    pub protocol: BoundProtocol,
    /// How pixels are read, which the likelihood depends on.
    #[serde(rename = "scale")]
    pub encoding: PixelEncoding,
    /// −E log w, the negative evidence lower bound, averaged over all draws, in nats per image.
    pub nats: f64,
    /// Standard error of `nats` over images; `None` for one image.
    pub nats_error: Option<f64>,
    /// −log p(x|z) of the first draw, in nats.
    pub reconstruction: f64,
    /// KL(q(z|x) ‖ p(z)), in nats.
    pub kl: f64,
    /// −E log mean w, the importance-weighted bound (Burda et al. 2016, Eq. 8), in nats.
    pub weighted_nats: f64,
    /// `nats` as bits per dimension.
    pub bits_per_dim: f64,
    /// `weighted_nats` as bits per dimension.
    pub weighted_bits_per_dim: f64,
}

/// Measures the bound on the images of `view`; `progress` receives the number done.
///
/// # Panics
///
/// When the view is empty, or the protocol has no images or no samples.
pub fn bound(
    model: &dyn abilities::Bound,
    view: &View,
    shape: ImageShape,
    protocol: BoundProtocol,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Bound {
    let count = protocol.images.min(view.len());
    assert!(count > 0, "a bound needs images");
    let indices: Vec<usize> = view.spread(count).collect();
    let images = ImageSet::of_split(view, &indices);
    let BoundProtocol { samples, seed, .. } = protocol;
    let each = bounds(model, &images, shape, samples, seed, device, progress);
    let values = |value: fn(&ImageBound) -> f64| each.iter().map(value).collect::<Vec<f64>>();
    let (nats, nats_error) = mean_and_error(&values(|bound| bound.nats));
    let (weighted_nats, _) = mean_and_error(&values(|bound| bound.weighted_nats));
    // Batch by batch, so that the last bits are those of earlier versions.
    let sum = |values: &[f64]| values.chunks(BATCH).map(|batch| batch.iter().sum::<f64>()).sum::<f64>();
    let (reconstruction, kl) = (sum(&values(|bound| bound.reconstruction)), sum(&values(|bound| bound.kl)));
    let bits = |nats: f64| nats / (shape.dims() as f64 * std::f64::consts::LN_2);
    Bound {
        encoding: model.encoding(),
        protocol: BoundProtocol { images: count, ..protocol },
        nats,
        nats_error,
        reconstruction: reconstruction / count as f64,
        kl: kl / count as f64,
        weighted_nats,
        bits_per_dim: bits(nats),
        weighted_bits_per_dim: bits(weighted_nats),
    }
}

/// The bound on log p(x) of one image, or on log p(x|class): its terms in nats, negated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ImageBound {
    /// −log w, averaged over the draws: the negative evidence lower bound.
    pub(crate) nats: f64,
    /// −log of the mean of w.
    pub(crate) weighted_nats: f64,
    /// −log p(x|z) of the first draw.
    reconstruction: f64,
    /// KL(q(z|x) ‖ p(z)).
    kl: f64,
}

/// The bound of each image from `samples` draws; `progress` receives the number done.
///
/// # Panics
///
/// When there are no samples.
pub(crate) fn bounds(
    model: &dyn abilities::Bound,
    images: &ImageSet<'_>,
    shape: ImageShape,
    samples: u64,
    seed: u64,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Vec<ImageBound> {
    assert!(samples > 0, "a bound needs samples");
    let mut found = Vec::with_capacity(images.len());
    for places in images.batches(BATCH) {
        let x = images.read(&places, model.encoding(), shape, seed, device);
        let (classes, numbers) = (images.classes_at(&places), images.numbers_at(&places));
        let weights = model.log_weights(x, &classes, seed, &numbers, 0..samples);
        let terms = weights.log_w.iter().zip(&weights.reconstruction).zip(&weights.kl);
        found.extend(terms.map(|((log_w, reconstruction), &kl)| ImageBound {
            nats: -log_w.iter().sum::<f64>() / log_w.len() as f64,
            weighted_nats: -log_mean_exp(log_w),
            reconstruction: -reconstruction,
            kl,
        }));
        progress(found.len().min(images.len()));
    }
    found.truncate(images.len());
    found
}

/// log of the mean of exp, without overflow.
fn log_mean_exp(values: &[f64]) -> f64 {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + (values.iter().map(|value| (value - max).exp()).sum::<f64>() / values.len() as f64).ln()
}

/// Measures the bound of a model that gives one.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let likelihood = subject.trained.abilities().likelihood;
    let Some(model) = likelihood.and_then(Likelihood::bound) else { return Ok(None) };
    let (view, shape) = (subject.held_out.images()?, subject.trained.spec.images()?);
    let images = subject.images(view);
    let samples = subject.protocol.importance_samples;
    let protocol = BoundProtocol { images, samples, seed: subject.protocol.seed };
    let mut report = Progress::reporter("bound", "images", images as u64, progress);
    let device = &subject.trained.device;
    let mut done = |done: usize| report(done as u64);
    Ok(Some(Measured::timed(|| bound(model, view, shape, protocol, device, &mut done))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_mean_exp_of_equal_values_is_that_value() {
        assert!((log_mean_exp(&[-1000.0; 7]) + 1000.0).abs() < 1e-12);
        assert!((log_mean_exp(&[0.0, 3f64.ln()]) - 2f64.ln()).abs() < 1e-12);
    }
}
