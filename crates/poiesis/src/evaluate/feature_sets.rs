//! The features of samples, held-out images and training images, in equal numbers: what several metrics compare.

use poiesis_collect::Dataset;

use super::Protocol;
use super::metric::{Progress, Subject};
use super::sets::{Sets, bytes};
use crate::error::Result;
use crate::features::{FeatureNetwork, Features, Inception, OwnNetwork};
use crate::generate::can_generate;
use crate::trained::Trained;

/// Fewest images on each side: a covariance needs two.
const FEWEST: usize = 2;

/// The features of equally many samples, held-out images and other real images.
pub(super) struct FeatureSets {
    /// The name of the network.
    pub(super) network: String,
    pub(super) samples: Features,
    pub(super) held_out: Features,
    /// Training images that are not among the held-out ones, for the floor.
    pub(super) train: Features,
}

impl FeatureSets {
    /// Images on each side.
    pub(super) fn images(&self) -> usize {
        self.samples.len()
    }

    /// Computes the features; `None` where there is no network, or nothing to compare.
    pub(super) fn of(
        subject: &Subject<'_>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<FeatureSets>> {
        let Some(sets) = Sets::of(subject)? else { return Ok(None) };
        let shape = subject.trained.spec.images()?;
        let count = subject.protocol.samples.min(sets.most());
        let Some(network) = subject.network.as_deref().filter(|_| count >= FEWEST) else { return Ok(None) };
        let samples = &subject.samples(progress)?[..count * shape.dims()];
        let held_out = bytes(&sets.held_out, &sets.held_out(count));
        let train = bytes(&sets.train, &sets.train(count));
        let mut report = Progress::reporter("computing features", "images", 3 * count as u64, progress);
        let mut before = 0;
        let [samples, held_out, train] = [samples, &held_out, &train].map(|images| {
            let features = Features::of(network, images, shape, &mut |done| report((before + done) as u64));
            before += count;
            features
        });
        Ok(Some(FeatureSets { network: network.name().to_owned(), samples, held_out, train }))
    }
}

/// The network in whose features images are compared, for a model that samples images: Inception where the protocol gives its weights,
/// else that of the data, if there is one.
pub(super) fn network(
    trained: &Trained,
    dataset: &Dataset,
    protocol: &Protocol,
) -> Result<Option<Box<dyn FeatureNetwork>>> {
    if trained.spec.images().is_err() || !can_generate(&trained.abilities()) {
        return Ok(None);
    }
    if let Some(path) = &protocol.inception_weights {
        return Ok(Some(Box::new(Inception::open(path, &trained.device)?)));
    }
    let own = OwnNetwork::open(dataset, &trained.device)?;
    Ok(own.map(|network| Box::new(network) as Box<dyn FeatureNetwork>))
}
