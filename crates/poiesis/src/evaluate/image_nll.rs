//! The exact negative log-likelihood of held-out images.

use std::f64::consts::LN_2;

use burn::tensor::Device;
use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::image_set::ImageSet;
use super::mean_and_error;
use super::metric::{Measured, Progress, Subject};
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
    /// Its standard error over images; `None` for one image.
    pub nats_error: Option<f64>,
    /// `nats` as bits per dimension.
    pub bits_per_dim: f64,
}

/// Measures `images` images of `view`, evenly spread over it; for a model that is conditioned on classes, those that have one. `progress`
/// receives the number done.
///
/// # Panics
///
/// When there are no such images.
pub fn image_nll(
    model: &dyn ImageLikelihood,
    view: &View,
    shape: ImageShape,
    images: usize,
    seed: u64,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> ImageNll {
    let indices = measured_images(model, view, images);
    let images = indices.len();
    assert!(images > 0, "a likelihood needs images");
    let set = ImageSet::of_split(view, &indices);
    let log_probs = image_log_probs(model, &set, shape, seed, device, progress);
    let (mean, nats_error) = mean_and_error(&log_probs);
    let bits_per_dim = -mean / (shape.dims() as f64 * LN_2);
    ImageNll { images, seed, encoding: model.encoding(), nats: -mean, nats_error, bits_per_dim }
}

/// log p(x) of each image in nats. A model that is conditioned on classes takes `None` as class 0, so it needs images that have one.
/// `progress` receives the number done.
pub(crate) fn image_log_probs(
    model: &dyn ImageLikelihood,
    images: &ImageSet<'_>,
    shape: ImageShape,
    seed: u64,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Vec<f64> {
    let mut log_probs = Vec::with_capacity(images.len());
    for places in images.batches(BATCH) {
        let classes: Vec<u32> =
            images.classes_at(&places).into_iter().map(|class| class.unwrap_or(0)).collect();
        let x = images.read(&places, model.encoding(), shape, seed, device);
        log_probs.extend(model.log_prob(x, &classes));
        progress(log_probs.len().min(images.len()));
    }
    log_probs.truncate(images.len());
    log_probs
}

/// Whether `view` has images that the likelihood of `model` can be measured on.
pub(super) fn has_images(model: &dyn ImageLikelihood, view: &View) -> bool {
    !model.reads_classes() || (0..view.len()).any(|index| view.label(index).is_some())
}

/// The images that are measured. One without a class is not taken for one of any class.
pub(crate) fn measured_images(model: &dyn ImageLikelihood, view: &View, count: usize) -> Vec<usize> {
    let labelled: Vec<usize> = match model.reads_classes() {
        true => (0..view.len()).filter(|&index| view.label(index).is_some()).collect(),
        false => Vec::new(),
    };
    if !model.reads_classes() || labelled.len() == view.len() {
        return view.spread(count.min(view.len())).collect();
    }
    let count = count.min(labelled.len());
    (0..count).map(|i| labelled[i * labelled.len() / count]).collect()
}

/// Measures −log p(x) of a model that gives it for images.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let likelihood = subject.trained.abilities().likelihood;
    let Some(model) = likelihood.and_then(Likelihood::images) else { return Ok(None) };
    let (view, shape) = (subject.held_out.images()?, subject.trained.spec.images()?);
    if !has_images(model, view) {
        return Ok(None);
    }
    let images = subject.images(view);
    let mut report = Progress::reporter("likelihood", "images", images as u64, progress);
    let device = &subject.trained.device;
    let mut done = |done: usize| report(done as u64);
    let seed = subject.protocol.seed;
    Ok(Some(Measured::timed(|| image_nll(model, view, shape, images, seed, device, &mut done))))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;
    use poiesis_collect::Split;

    use super::*;
    use crate::testing::labelled_images;

    /// Says of an image that it has as many nats as its class.
    struct ByClass {
        conditional: bool,
    }

    impl ImageLikelihood for ByClass {
        fn encoding(&self) -> PixelEncoding {
            PixelEncoding::EightBit
        }

        fn reads_classes(&self) -> bool {
            self.conditional
        }

        fn log_prob(&self, _images: Tensor<4>, classes: &[u32]) -> Vec<f64> {
            classes.iter().map(|&class| -f64::from(class)).collect()
        }
    }

    #[test]
    fn images_without_a_class_are_of_no_class() {
        let (_folder, dataset) = labelled_images(6, "0.png,a\n2.png,b\n4.png,c\n5.png,c\n");
        let view = dataset.require(Split::Train).unwrap();
        let shape = ImageShape { height: 8, width: 8, channels: 1 };
        let measure = |conditional, count| {
            let model = ByClass { conditional };
            assert!(has_images(&model, &view));
            image_nll(&model, &view, shape, count, 0, &Device::flex(), &mut |_| ())
        };
        let found = measure(true, 100);
        assert_eq!((found.images, found.nats), (4, (1.0 + 2.0 + 2.0) / 4.0));
        assert_eq!(measure(true, 2).images, 2);
        assert_eq!(measure(false, 100).images, 6);
        let (_folder, dataset) = labelled_images(4, "0.png,a\n");
        let without = dataset.require(Split::Train).unwrap();
        assert!(has_images(&ByClass { conditional: true }, &without));
    }
}
