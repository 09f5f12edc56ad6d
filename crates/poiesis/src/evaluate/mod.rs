//! One evaluation for all families, a metric a file. Every number carries the protocol it was measured with.

mod bound;
mod nearest;
mod negative_log_likelihood;
mod sliced_wasserstein;

use burn::tensor::{Device, Tensor};
use poiesis_collect::View;

pub use bound::{Bound, BoundProtocol, bound};
pub use nearest::{Nearest, NeighbourStatistics, nearest, neighbour_statistics};
pub use negative_log_likelihood::{ImageNll, TokenNll, image_nll, token_nll};
pub use sliced_wasserstein::{SlicedWasserstein, sliced_wasserstein};

use crate::capability::{Likelihood, Scale};
use crate::data::{DataSpec, Examples, ImageShape, binarized, images};
use crate::error::Result;
use crate::rng;

/// Images, and tokens, that the check during training looks at.
const VALIDATION_IMAGES: usize = 1000;
const VALIDATION_TOKENS: u64 = 1 << 16;

/// A measurement on held-out data that is cheap enough to follow in training: its name and its value in nats, for each
/// image or for each token.
///
/// # Errors
///
/// [`crate::Error::InvalidValue`] when the examples are not of the kind the likelihood is of.
pub fn validation(
    likelihood: Likelihood,
    examples: &Examples,
    spec: &DataSpec,
    device: &Device,
) -> Result<(&'static str, f64)> {
    let mut silent = |_| ();
    Ok(match likelihood {
        Likelihood::Bound(model) => {
            let protocol = BoundProtocol { images: VALIDATION_IMAGES, samples: 1, seed: 0 };
            let measured = bound(model, examples.images()?, spec.images()?, protocol, device, &mut silent);
            ("validation_bound", measured.nats)
        }
        Likelihood::Images(model) => {
            let (view, shape) = (examples.images()?, spec.images()?);
            let measured = image_nll(model, view, shape, VALIDATION_IMAGES, 0, device, &mut silent);
            ("validation_nll", measured.nats)
        }
        Likelihood::Tokens(model) => {
            let tokens = examples.tokens(spec, model.levels());
            let measured = token_nll(model, &tokens, VALIDATION_TOKENS, device, &mut |_| ());
            ("validation_nll", measured.nats)
        }
    })
}

/// Images on the scale of a likelihood. Image *i* is binarised with thresholds that depend on `(seed, i)` alone.
fn on_scale(
    scale: Scale,
    view: &View,
    indices: &[usize],
    shape: ImageShape,
    seed: u64,
    device: &Device,
) -> Tensor<4> {
    match scale {
        Scale::EightBit => images(view, indices, shape, device),
        Scale::Binary => {
            let thresholds = |&index: &usize| {
                rng::uniform(&mut rng::generator(seed, "evaluate binarize", index as u64), shape.dims())
            };
            let thresholds: Vec<f32> = indices.iter().flat_map(thresholds).collect();
            binarized(view, indices, shape, &thresholds, device)
        }
    }
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let var = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (var / n).sqrt())
}
