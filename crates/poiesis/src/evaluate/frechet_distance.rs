//! The Fréchet distance of samples from held-out images in the features of a network: with Inception, the FID (Heusel et al. 2017,
//! arXiv:1706.08500).

use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use super::sets::Chosen;
use crate::error::Result;
use crate::features::{Moments, frechet_distance, title};

/// A Fréchet distance with its floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrechetDistance {
    /// What the number is called: `FID` with the published weights of Inception only.
    pub name: String,
    /// The name of the feature network.
    pub features: String,
    /// Features of an image.
    pub dims: usize,
    /// Images on each side. The distance of few images is too large: of less than ten for each feature, noticeably.
    pub images: usize,
    /// How the images of the data were chosen.
    pub chosen: Chosen,
    /// Seed of samples and sets.
    pub seed: u64,
    /// Distance of samples from held-out images.
    pub distance: f64,
    /// Distance of as many training images from the same held-out ones: the score of a perfect model.
    pub floor: f64,
}

/// Measures the distance for a model that samples images, where there is a feature network.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(sets) = subject.feature_sets(progress)? else { return Ok(None) };
    progress(Progress::working("Fréchet distance"));
    let dims = sets.samples.dims;
    Ok(Some(Measured::timed(|| {
        let [samples, held_out, train] =
            [&sets.samples, &sets.held_out, &sets.train].map(|set| Moments::of(&set.values, dims));
        FrechetDistance {
            name: title("FID", "FD", &sets.network),
            features: sets.network.clone(),
            dims,
            images: sets.images(),
            chosen: Chosen::Random,
            seed: subject.protocol.seed,
            distance: frechet_distance(&held_out, &samples),
            floor: frechet_distance(&held_out, &train),
        }
    })))
}
