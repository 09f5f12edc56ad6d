//! What a classifier says of labelled images, and temperature scaling, which makes its probabilities mean what they say (Guo, Pleiss, Sun and
//! Weinberger, "On calibration of modern neural networks", 2017, arXiv:1706.04599).

use burn::tensor::Device;
use poiesis_collect::View;

use crate::abilities::Classifier;
use crate::data::{ImageShape, images};
use crate::rng;

/// A temperature is fitted to no fewer images.
pub const FEWEST: usize = 20;
/// Images in a batch.
const BATCH: usize = 100;
/// Bins of confidence of the calibration error (Guo et al. 2017, §2).
const BINS: usize = 15;
/// The temperatures among which one is sought.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];
/// Where the search for a temperature ends: its logarithm is known to this.
const PRECISION: f64 = 1e-6;
/// A log-probability below this says no more than this.
const LEAST: f64 = -1e4;

/// log p(class|x) of images, with their classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// How many classes there are.
    pub classes: usize,
    /// log p(class|x) in nats, `[images, classes]`, row by row.
    pub log_probs: Vec<f64>,
    /// The class of each image.
    pub labels: Vec<u32>,
}

/// How often an image of a class is taken for each class, and how far the probabilities of the likeliest class can be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// How many were taken for another class.
    pub errors: usize,
    /// Expected calibration error over 15 bins of equal width.
    pub calibration_error: f64,
    /// How often images of a class (row) were taken for each class (column).
    pub confusion: Vec<Vec<u64>>,
}

impl Predictions {
    /// Classifies the images of `view` whose numbers and classes are `chosen`; `progress` receives the number done.
    pub fn of(
        model: &dyn Classifier,
        view: &View,
        shape: ImageShape,
        chosen: &[(usize, u32)],
        device: &Device,
        progress: &mut dyn FnMut(usize),
    ) -> Predictions {
        let mut all = Predictions::default();
        for batch in chosen.chunks(BATCH) {
            let indices: Vec<usize> = batch.iter().map(|(index, _)| *index).collect();
            let log_probs = model.class_log_probs(images(view, &indices, shape, device));
            all.classes = log_probs.dims()[1];
            all.log_probs.extend(log_probs.into_data().iter::<f64>());
            all.labels.extend(batch.iter().map(|(_, label)| label));
            progress(all.labels.len());
        }
        all
    }

    /// The log-probabilities of each image, with its class.
    pub fn rows(&self) -> impl Iterator<Item = (&[f64], usize)> {
        self.log_probs.chunks(self.classes.max(1)).zip(self.labels.iter().map(|&label| label as usize))
    }

    /// Mean of −log p(class|x) at a temperature, in nats.
    pub fn nats(&self, temperature: f64) -> f64 {
        self.mean(|log_probs, label| -scaled(log_probs, temperature)[label])
    }

    /// The temperature T at which the mean of −log softmax(log p / T) is lowest, between 0.05 and 20.
    ///
    /// Few images that are all right would make every probability 1. So, as Platt (1999) does for two classes, a part of 1 / (n + 2) of
    /// each image counts for all classes alike, of n images.
    pub fn temperature(&self) -> f64 {
        let part = 1.0 / (self.labels.len() as f64 + 2.0);
        let loss = |log_temperature: f64| {
            self.mean(|log_probs, label| {
                let scaled = scaled(log_probs, log_temperature.exp());
                let all: f64 = scaled.iter().map(|l| l.max(LEAST)).sum::<f64>() / scaled.len() as f64;
                -(1.0 - part) * scaled[label].max(LEAST) - part * all
            })
        };
        let [low, high] = TEMPERATURES.map(f64::ln);
        golden_section(low, high, loss).exp()
    }

    /// The same at a temperature.
    #[must_use]
    pub fn at(&self, temperature: f64) -> Predictions {
        let log_probs = self.rows().flat_map(|(log_probs, _)| scaled(log_probs, temperature)).collect();
        Predictions { log_probs, ..self.clone() }
    }

    /// Two halves of the images, drawn at random.
    pub fn halves(&self, seed: u64) -> [Predictions; 2] {
        let count = self.labels.len() as u64;
        let mut halves = [(); 2].map(|()| Predictions { classes: self.classes, ..Predictions::default() });
        for (place, (log_probs, label)) in self.rows().enumerate() {
            let half = &mut halves[rng::permute(seed, 0, place as u64, count) as usize % 2];
            half.log_probs.extend_from_slice(log_probs);
            half.labels.push(label as u32);
        }
        halves
    }

    /// Counts errors and their kinds.
    pub fn counted(&self) -> Counted {
        let mut confusion = vec![vec![0; self.classes]; self.classes];
        // For each bin of confidence: the sum of the confidence, and how many are right.
        let mut bins = [(0.0, 0_usize); BINS];
        let mut errors = 0;
        for (log_probs, label) in self.rows() {
            let likeliest = likeliest(log_probs);
            confusion[label][likeliest] += 1;
            errors += usize::from(likeliest != label);
            let confidence = log_probs[likeliest].exp();
            let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
            *bin = (bin.0 + confidence, bin.1 + usize::from(likeliest == label));
        }
        let gap = |&(confidence, right): &(f64, usize)| (confidence - right as f64).abs();
        let calibration_error = bins.iter().map(gap).sum::<f64>() / self.labels.len().max(1) as f64;
        Counted { errors, calibration_error, confusion }
    }

    fn mean(&self, of: impl Fn(&[f64], usize) -> f64) -> f64 {
        self.rows().map(|(log_probs, label)| of(log_probs, label)).sum::<f64>() / self.labels.len() as f64
    }
}

/// log softmax(log p / T) of an image.
pub fn scaled(log_probs: &[f64], temperature: f64) -> Vec<f64> {
    let divided: Vec<f64> = log_probs.iter().map(|log_prob| log_prob / temperature).collect();
    let largest = divided.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = largest + divided.iter().map(|value| (value - largest).exp()).sum::<f64>().ln();
    divided.iter().map(|value| value - sum).collect()
}

/// The first of the likeliest classes.
pub fn likeliest(log_probs: &[f64]) -> usize {
    (0..log_probs.len()).fold(0, |best, class| if log_probs[class] > log_probs[best] { class } else { best })
}

/// The labelled images of a view, with their classes.
pub fn labelled(view: &View) -> Vec<(usize, u32)> {
    (0..view.len()).filter_map(|index| Some((index, view.label(index)?))).collect()
}

/// Where a function with a single valley is lowest (Kiefer 1953).
fn golden_section(mut low: f64, mut high: f64, function: impl Fn(f64) -> f64) -> f64 {
    let part = (5.0_f64.sqrt() - 1.0) / 2.0;
    let inner = |low: f64, high: f64| [high - part * (high - low), low + part * (high - low)];
    let mut places = inner(low, high);
    let mut values = places.map(&function);
    while high - low > PRECISION {
        if values[0] <= values[1] {
            high = places[1];
            places = [inner(low, high)[0], places[0]];
            values = [function(places[0]), values[0]];
        } else {
            low = places[0];
            places = [places[1], inner(low, high)[1]];
            values = [values[1], function(places[1])];
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(images: &[(&[f64], u32)]) -> Predictions {
        Predictions {
            classes: images[0].0.len(),
            log_probs: images.iter().flat_map(|(probs, _)| probs.iter().map(|p| p.ln())).collect(),
            labels: images.iter().map(|(_, label)| *label).collect(),
        }
    }

    #[test]
    fn errors_are_counted_by_class() {
        let found = predictions(&[(&[0.9, 0.1], 0), (&[0.4, 0.6], 0), (&[0.2, 0.8], 1), (&[0.3, 0.7], 1)]);
        let counted = found.counted();
        assert_eq!((counted.errors, counted.confusion), (1, vec![vec![1, 1], vec![0, 2]]));
        let nats = -(0.9f64.ln() + 0.4f64.ln() + 0.8f64.ln() + 0.7f64.ln()) / 4.0;
        assert!((found.nats(1.0) - nats).abs() < 1e-12);
    }

    #[test]
    fn the_calibration_error_is_the_gap_between_confidence_and_accuracy() {
        let error = |images: &[(&[f64], u32)]| predictions(images).counted().calibration_error;
        // In one bin: confidence 0.8 twice, of which one is right.
        let found = error(&[(&[0.8, 0.2], 0), (&[0.8, 0.2], 1)]);
        assert!((found - 0.3).abs() < 1e-12, "{found}");
        // Two bins, each with a gap of 0.4, which must not cancel: right at 0.6 and wrong at 0.4.
        let found = error(&[(&[0.6, 0.2, 0.2], 0), (&[0.3, 0.4, 0.3], 0)]);
        assert!((found - 0.4).abs() < 1e-12, "{found}");
        assert!(error(&[(&[1.0, 0.0], 0)]) < 1e-12);
    }

    #[test]
    fn probabilities_are_scaled_as_logits_are() {
        // Odds of 9 at temperature 2 are odds of 3.
        let probs: Vec<f64> = scaled(&[0.9f64.ln(), 0.1f64.ln()], 2.0).iter().map(|l| l.exp()).collect();
        assert!((probs[0] - 0.75).abs() < 1e-12 && (probs[1] - 0.25).abs() < 1e-12, "{probs:?}");
        let same = predictions(&[(&[0.9, 0.1], 0)]);
        assert!((same.at(1.0).nats(1.0) - same.nats(1.0)).abs() < 1e-12);
        assert!((same.at(2.0).nats(1.0) - same.nats(2.0)).abs() < 1e-12);
        let far = scaled(&[0.0, -1e5], 0.05);
        assert!(far[0] == 0.0 && far[1].is_finite(), "{far:?}");
    }

    /// Images whose true probabilities are those of random logits, which a classifier has multiplied by `factor`.
    fn planted(count: usize, factor: f64) -> Predictions {
        let classes = 3;
        let mut all = Predictions { classes, ..Predictions::default() };
        for image in 0..count {
            let mut generator = rng::generator(4, "test", image as u64);
            let logits: Vec<f64> =
                rng::normal(&mut generator, classes).iter().map(|&l| 2.0 * f64::from(l)).collect();
            let probs: Vec<f64> = scaled(&logits, 1.0).iter().map(|l| l.exp()).collect();
            let mut left = rng::unit_f64(&mut generator);
            let label = probs.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            all.labels.push(label.unwrap_or(classes - 1) as u32);
            all.log_probs.extend(scaled(&logits, 1.0 / factor));
        }
        all
    }

    #[test]
    fn a_planted_temperature_is_found_and_calibrates() {
        for factor in [3.0, 1.0, 0.5] {
            let planted = planted(20_000, factor);
            let found = planted.temperature();
            assert!((found / factor - 1.0).abs() < 0.04, "{found} {factor}");
            let before = planted.counted();
            let after = planted.at(found).counted();
            assert_eq!(before.errors, after.errors, "no image changes its class");
            assert!(after.calibration_error < 0.015, "{}", after.calibration_error);
            if factor > 1.0 {
                assert!(before.calibration_error > 0.1, "{}", before.calibration_error);
            }
        }
    }

    #[test]
    fn few_images_that_are_all_right_do_not_make_it_certain() {
        let right = predictions(&[(&[0.8, 0.2][..], 0); 8]);
        // The lowest loss is where the probability is 1 − 1 / (2 (n + 2)): 0.95.
        let sure = scaled(&[0.8f64.ln(), 0.2f64.ln()], right.temperature())[0].exp();
        assert!((sure - 0.95).abs() < 1e-3, "{sure}");
    }

    #[test]
    fn halves_have_all_images_between_them() {
        let planted = planted(101, 2.0);
        let halves = planted.halves(3);
        let sizes = [0, 1].map(|half: usize| halves[half].labels.len());
        assert_eq!(sizes.iter().sum::<usize>(), 101);
        assert!(sizes[0].abs_diff(sizes[1]) <= 1 && halves[0].log_probs.len() == 3 * sizes[0]);
        assert_ne!(planted.halves(4)[0], halves[0]);
    }
}
