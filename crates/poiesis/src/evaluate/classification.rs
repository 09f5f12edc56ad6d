//! How well held-out images are classified, and how far the probabilities can be trusted.

use burn::tensor::Device;
use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::images;
use super::metric::{Measured, Progress, Subject};
use crate::abilities::Classifier;
use crate::data::ImageShape;
use crate::error::Result;

/// Images in a batch.
const BATCH: usize = 100;
/// Bins of confidence of the calibration error (Guo et al. 2017, arXiv:1706.04599, §2).
const BINS: usize = 15;

/// What a classifier makes of held-out images with labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// How many of the split's labelled images were classified, evenly spread over it.
    pub images: usize,
    /// How many were taken for another class.
    pub errors: usize,
    /// `errors` as a fraction of the images.
    pub error: f64,
    /// Mean of −log p(class|x), in nats per image.
    pub nats: f64,
    /// Expected calibration error over 15 bins of equal width: how far the probability of the likeliest class is from the
    /// fraction that is right, on average.
    pub calibration_error: f64,
    /// How often images of a class (row) were taken for each class (column).
    pub confusion: Vec<Vec<u64>>,
}

/// Classifies up to `count` labelled images of `view`, evenly spread over it; `progress` receives the number done.
///
/// # Panics
///
/// When no image has a label.
pub fn classification(
    model: &dyn Classifier,
    view: &View,
    shape: ImageShape,
    count: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Classification {
    let labelled: Vec<(usize, u32)> =
        view.spread(count).filter_map(|index| Some((index, view.label(index)?))).collect();
    assert!(!labelled.is_empty(), "a classification needs labelled images");
    let mut tally = Tally::default();
    for batch in labelled.chunks(BATCH) {
        let indices: Vec<usize> = batch.iter().map(|(index, _)| *index).collect();
        let log_probs = model.class_log_probs(images(view, &indices, shape, device));
        let classes = log_probs.dims()[1];
        let log_probs: Vec<f64> = log_probs.into_data().iter::<f64>().collect();
        for (log_probs, (_, label)) in log_probs.chunks(classes).zip(batch) {
            tally.add(log_probs, *label as usize);
        }
        progress(tally.images);
    }
    tally.result()
}

/// What has been counted so far.
#[derive(Default)]
struct Tally {
    images: usize,
    right: usize,
    nats: f64,
    confusion: Vec<Vec<u64>>,
    /// For each bin of confidence: its images, their confidence, and how many are right.
    bins: [(usize, f64, usize); BINS],
}

impl Tally {
    fn add(&mut self, log_probs: &[f64], label: usize) {
        let classes = log_probs.len();
        let likeliest =
            (0..classes).fold(0, |best, class| if log_probs[class] > log_probs[best] { class } else { best });
        let is_right = likeliest == label;
        self.images += 1;
        self.right += usize::from(is_right);
        self.nats -= log_probs[label];
        self.confusion.resize(classes, Vec::new());
        self.confusion.iter_mut().for_each(|row| row.resize(classes, 0));
        self.confusion[label][likeliest] += 1;
        let confidence = log_probs[likeliest].exp();
        let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + 1, bin.1 + confidence, bin.2 + usize::from(is_right));
    }

    fn result(self) -> Classification {
        let images = self.images as f64;
        let gap = |&(_, confidence, right): &(usize, f64, usize)| (confidence - right as f64).abs();
        let errors = self.images - self.right;
        Classification {
            images: self.images,
            errors,
            error: errors as f64 / images,
            nats: self.nats / images,
            calibration_error: self.bins.iter().map(gap).sum::<f64>() / images,
            confusion: self.confusion,
        }
    }
}

/// Measures a classifier on data with labels.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(model) = subject.trained.abilities().classifier else { return Ok(None) };
    let (view, shape) = (subject.held_out.images()?, subject.trained.spec.images()?);
    if (0..view.len()).all(|index| view.label(index).is_none()) {
        return Ok(None);
    }
    let count = subject.images(view);
    let mut report = Progress::reporter("classifying", "images", count as u64, progress);
    let device = &subject.trained.device;
    let mut done = |done: usize| report(done as u64);
    Ok(Some(Measured::timed(|| classification(model, view, shape, count, device, &mut done))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(images: &[(&[f64], usize)]) -> Classification {
        let mut tally = Tally::default();
        for (probs, label) in images {
            tally.add(&probs.iter().map(|p| p.ln()).collect::<Vec<_>>(), *label);
        }
        tally.result()
    }

    #[test]
    fn errors_are_counted_by_class() {
        let found = tally(&[(&[0.9, 0.1], 0), (&[0.4, 0.6], 0), (&[0.2, 0.8], 1), (&[0.3, 0.7], 1)]);
        assert_eq!((found.images, found.errors, found.error), (4, 1, 0.25));
        assert_eq!(found.confusion, [[1, 1], [0, 2]]);
        let nats = -(0.9f64.ln() + 0.4f64.ln() + 0.8f64.ln() + 0.7f64.ln()) / 4.0;
        assert!((found.nats - nats).abs() < 1e-12);
    }

    #[test]
    fn the_calibration_error_is_the_gap_between_confidence_and_accuracy() {
        // In one bin: confidence 0.8 twice, of which one is right.
        let found = tally(&[(&[0.8, 0.2], 0), (&[0.8, 0.2], 1)]);
        assert!((found.calibration_error - 0.3).abs() < 1e-12, "{}", found.calibration_error);
        // Two bins, each with a gap of 0.4, which must not cancel: right at 0.6 and wrong at 0.4.
        let found = tally(&[(&[0.6, 0.2, 0.2], 0), (&[0.3, 0.4, 0.3], 0)]);
        assert!((found.calibration_error - 0.4).abs() < 1e-12, "{}", found.calibration_error);
        assert!(tally(&[(&[1.0, 0.0], 0)]).calibration_error < 1e-12);
    }
}
