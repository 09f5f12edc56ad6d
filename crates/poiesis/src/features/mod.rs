//! Networks that turn images into features, in which sets of images are compared: [`Inception`] with weights that the user has, and
//! [`OwnNetwork`], which is trained on a data set itself and kept beside it. Also what is computed of features: their [`Moments`] and
//! the Fréchet distance of two sets.

mod frechet;
mod inception;
mod own;
mod sensitivity;
mod training;
mod weights;

pub use frechet::{Moments, frechet_distance};
pub use inception::Inception;
pub use own::{NetworkInfo, OwnNetwork, Task};
pub use sensitivity::Sensitivity;
pub use training::{ENOUGH_IMAGES, train_network};

use crate::data::ImageShape;

/// A network that turns images into features.
pub trait FeatureNetwork {
    /// What numbers measured with it are named after: `inception` for the published weights only, otherwise a name that ends in the
    /// first eight digits of a hash of the weights.
    fn name(&self) -> &str;

    /// Features of an image.
    fn dims(&self) -> usize;

    /// Classes that it gives logits of; 0 where it gives none.
    fn classes(&self) -> usize;

    /// Images that are computed at once.
    fn batch_size(&self) -> usize;

    /// The features of 8-bit images, concatenated. An image's features do not depend on the others.
    ///
    /// # Panics
    ///
    /// When the images are not of `shape`, or the network is for images of another shape.
    fn compute(&self, images: &[u8], shape: ImageShape) -> Features;
}

/// The features of several images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// Features of an image.
    pub dims: usize,
    /// The features, image by image.
    pub values: Vec<f32>,
    /// Classes of the logits; 0 where there are none.
    pub classes: usize,
    /// The logits, image by image.
    pub logits: Vec<f32>,
}

impl Features {
    /// The features of 8-bit images of `shape`, concatenated; `progress` receives the number done.
    pub fn of(
        network: &dyn FeatureNetwork,
        images: &[u8],
        shape: ImageShape,
        progress: &mut dyn FnMut(usize),
    ) -> Features {
        let (dims, classes) = (network.dims(), network.classes());
        let mut all = Features { dims, classes, ..Features::default() };
        for batch in images.chunks(network.batch_size() * shape.dims()) {
            let found = network.compute(batch, shape);
            all.values.extend(found.values);
            all.logits.extend(found.logits);
            progress(all.len());
        }
        all
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.values.len() / self.dims.max(1)
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The name of a number that papers call `published` when it is measured with Inception, and that is otherwise called after the
/// network: `FID`, or `FD[features-of-cifar10-1a2b3c4d]`.
pub fn title(published: &str, general: &str, network: &str) -> String {
    match network {
        inception::PUBLISHED => published.to_owned(),
        other => format!("{general}[{other}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_the_published_network_have_the_published_names() {
        assert_eq!(title("FID", "FD", "inception"), "FID");
        assert_eq!(title("FID", "FD", "mine-01234567"), "FD[mine-01234567]");
    }
}
