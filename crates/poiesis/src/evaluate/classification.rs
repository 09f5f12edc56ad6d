//! How well held-out images are classified, and how far the probabilities can be trusted.

use burn::tensor::Device;
use poiesis_collect::{Split, View};
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use super::predictions::{Counted, FEWEST, Predictions, labelled};
use crate::abilities::Classifier;
use crate::data::ImageShape;
use crate::error::Result;
use crate::picture::Picture;
use crate::rng;

/// What a classifier makes of held-out images with labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// How many of the split's labelled images were classified.
    pub images: usize,
    /// How many were taken for another class.
    pub errors: usize,
    /// `errors` as a fraction of the images.
    pub error: f64,
    /// Standard error of `error` over images; `None` for one image.
    #[serde(default)]
    pub standard_error: Option<f64>,
    /// Mean of −log p(class|x), in nats per image.
    pub nats: f64,
    /// Expected calibration error over 15 bins of equal width: how far the probability of the likeliest class is from the
    /// fraction that is right, on average.
    pub calibration_error: f64,
    /// The same at a temperature fitted to other images; `None` where there are too few, and in earlier files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<Calibrated>,
    /// The names of the classes; empty in earlier files.
    #[serde(default)]
    pub classes: Vec<String>,
    /// The fraction of the images of each class that were taken for another one; `None` for a class without images.
    #[serde(default)]
    pub class_errors: Vec<Option<f64>>,
    /// How often images of a class (row) were taken for each class (column).
    pub confusion: Vec<Vec<u64>>,
}

/// What temperature scaling makes of the probabilities; no image changes its class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// What the temperature was fitted to: `validation`, or `halves`, where each half of the images has that of the other half.
    pub fitted_to: String,
    /// The temperature, or that of each half.
    pub temperatures: Vec<f64>,
    /// Mean of −log p(class|x) at it, in nats per image.
    pub nats: f64,
    /// Expected calibration error at it.
    pub calibration_error: f64,
}

impl Classification {
    /// The most frequent confusions, the largest first: the class of the images, the class they were taken for, how many.
    pub fn most_confused(&self, count: usize) -> Vec<(usize, usize, u64)> {
        let pairs = self.confusion.iter().enumerate().flat_map(|(class, row)| {
            row.iter().enumerate().map(move |(taken, &times)| (class, taken, times))
        });
        let mut pairs: Vec<_> = pairs.filter(|(class, taken, times)| class != taken && *times > 0).collect();
        pairs.sort_by_key(|&(class, taken, times)| (std::cmp::Reverse(times), class, taken));
        pairs.truncate(count);
        pairs
    }

    /// The confusion as a picture: a row of cells for each class, from white for none of its images to dark for all of them, blue where
    /// they are right and red where they are not. Shades go by the square root of the share, so that rare confusions are seen.
    pub fn picture(&self) -> Picture {
        const LINE: usize = 1;
        let classes = self.confusion.len().max(1);
        let cell = (600 / classes).clamp(2, 32);
        let side = classes * (cell + LINE) + LINE;
        let mut picture = Picture::filled(side, side, &[214; 3]);
        for (class, row) in self.confusion.iter().enumerate() {
            let images = row.iter().sum::<u64>().max(1) as f64;
            for (taken, &times) in row.iter().enumerate() {
                let dark: [f64; 3] = if class == taken { [20.0, 62.0, 112.0] } else { [176.0, 24.0, 24.0] };
                let share = (times as f64 / images).sqrt();
                let color = dark.map(|dark| (255.0 + share * (dark - 255.0)).round() as u8);
                let at = |place: usize| LINE + place * (cell + LINE);
                picture.paste(&color.repeat(cell * cell), cell, cell, at(taken), at(class));
            }
        }
        picture
    }

    /// The summary of predictions, without calibration and names.
    fn of(predictions: &Predictions) -> Classification {
        let Counted { errors, calibration_error, confusion } = predictions.counted();
        let images = predictions.labels.len();
        let error = errors as f64 / images as f64;
        let class_error = |(class, row): (usize, &Vec<u64>)| {
            let of_class: u64 = row.iter().sum();
            (of_class > 0).then(|| (of_class - row[class]) as f64 / of_class as f64)
        };
        Classification {
            images,
            errors,
            error,
            standard_error: super::error_of_fraction(error, images),
            nats: predictions.nats(1.0),
            calibration_error,
            calibrated: None,
            classes: Vec::new(),
            class_errors: confusion.iter().enumerate().map(class_error).collect(),
            confusion,
        }
    }
}

/// Classifies up to `count` labelled images of `view`, drawn at random where there are more; `progress` receives the number done.
/// The probabilities are as the classifier gives them.
///
/// # Panics
///
/// When no image has a label, or `count` is 0.
pub fn classification(
    model: &dyn Classifier,
    view: &View,
    shape: ImageShape,
    count: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Classification {
    let chosen = chosen(view, count);
    assert!(!chosen.is_empty(), "a classification needs labelled images");
    Classification::of(&Predictions::of(model, view, shape, &chosen, device, progress))
}

/// Up to `count` labelled images, in their order: spread over the view where all have a label, else drawn at random.
fn chosen(view: &View, count: usize) -> Vec<(usize, u32)> {
    let all = labelled(view);
    if all.len() <= count {
        return all;
    }
    if all.len() == view.len() {
        return view.spread(count).map(|index| all[index]).collect();
    }
    let place = |i: usize| rng::permute(0, 0, i as u64, all.len() as u64) as usize;
    let mut places: Vec<usize> = (0..count).map(place).collect();
    places.sort_unstable();
    places.into_iter().map(|place| all[place]).collect()
}

/// Calibrates predictions by those of other images, or by their own halves; `None` where both are too few.
fn calibrated(predictions: &Predictions, others: Option<&Predictions>, seed: u64) -> Option<Calibrated> {
    let enough = |predictions: &Predictions| predictions.labels.len() >= FEWEST;
    let summary = |fitted_to: &str, temperatures: Vec<f64>, at: &Predictions| Calibrated {
        fitted_to: fitted_to.to_owned(),
        temperatures,
        nats: at.nats(1.0),
        calibration_error: at.counted().calibration_error,
    };
    if let Some(others) = others.filter(|others| enough(others)) {
        let temperature = others.temperature();
        return Some(summary("validation", vec![temperature], &predictions.at(temperature)));
    }
    let halves = predictions.halves(seed);
    if !halves.iter().all(enough) {
        return None;
    }
    let temperatures = [halves[1].temperature(), halves[0].temperature()];
    let mut all = halves[0].at(temperatures[0]);
    let second = halves[1].at(temperatures[1]);
    all.log_probs.extend(second.log_probs);
    all.labels.extend(second.labels);
    Some(summary("halves", temperatures.to_vec(), &all))
}

/// Measures a classifier on data with labels.
pub(super) fn measure(subject: &Subject<'_>, progress: &mut dyn FnMut(Progress)) -> Result<Option<Measured>> {
    let Some(model) = subject.trained.abilities().classifier else { return Ok(None) };
    let (view, shape) = (subject.held_out.images()?, subject.trained.spec.images()?);
    let device = &subject.trained.device;
    let images = chosen(view, subject.images(view));
    if images.is_empty() {
        return Ok(None);
    }
    // A temperature is not fitted to the images that are measured, and not to those of the training.
    let validation = subject
        .dataset
        .and_then(|data| data.split(Split::Validation))
        .filter(|_| subject.split == Some(Split::Test));
    let others = validation.map(|view| (chosen(&view, view.len()), view));
    let total = images.len() + others.as_ref().map_or(0, |(images, _)| images.len());
    let mut report = Progress::reporter("classifying", "images", total as u64, progress);
    Ok(Some(Measured::timed(|| {
        let predictions =
            Predictions::of(model, view, shape, &images, device, &mut |done| report(done as u64));
        let others = others.map(|(chosen, view)| {
            let mut done = |done: usize| report((images.len() + done) as u64);
            Predictions::of(model, &view, shape, &chosen, device, &mut done)
        });
        Classification {
            calibrated: calibrated(&predictions, others.as_ref(), subject.protocol.seed),
            classes: subject.trained.info.data.classes.clone(),
            ..Classification::of(&predictions)
        }
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of two classes with these probabilities of the first, and their classes.
    fn two_classes(images: &[(f64, u32)]) -> Predictions {
        Predictions {
            classes: 2,
            log_probs: images.iter().flat_map(|(p, _)| [p.ln(), (1.0 - p).ln()]).collect(),
            labels: images.iter().map(|(_, label)| *label).collect(),
        }
    }

    #[test]
    fn errors_have_a_standard_error_and_are_told_by_class() {
        let found = Classification::of(&two_classes(&[(0.9, 0), (0.4, 0), (0.2, 1), (0.3, 1)]));
        assert_eq!((found.images, found.errors, found.error), (4, 1, 0.25));
        assert!((found.standard_error.unwrap() - (0.25f64 * 0.75 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(found.confusion, [[1, 1], [0, 2]]);
        assert_eq!(found.class_errors, [Some(0.5), Some(0.0)]);
        assert_eq!(found.most_confused(5), [(0, 1, 1)]);
        let one = Classification::of(&two_classes(&[(0.9, 0)]));
        assert_eq!(one.class_errors, [Some(0.0), None]);
    }

    #[test]
    fn a_result_of_earlier_versions_is_read() {
        let old = r#"{ "images": 4, "errors": 1, "error": 0.25, "nats": 0.5, "calibration_error": 0.1,
            "confusion": [[1, 1], [0, 2]] }"#;
        let found: Classification = serde_json::from_str(old).unwrap();
        assert_eq!((found.errors, found.calibrated, found.class_errors.len()), (1, None, 0));
        let now = Classification::of(&two_classes(&[(0.9, 0)]));
        let measured = Measured::timed(|| &now);
        assert_eq!(measured.read::<Classification>(), Some(now));
    }

    /// Images of which 0.75 are right where 0.9 are promised: odds of 9 at temperature 2 are odds of 3.
    fn too_sure(count: u32) -> Predictions {
        two_classes(&(0..count).map(|i| (0.9, u32::from(i % 4 == 0))).collect::<Vec<_>>())
    }

    #[test]
    fn calibration_is_measured_on_other_images_than_it_is_fitted_to() {
        let found = calibrated(&too_sure(400), Some(&too_sure(2000)), 0).unwrap();
        assert_eq!(found.fitted_to, "validation");
        assert!((found.temperatures[0] - 2.0).abs() < 0.02, "{:?}", found.temperatures);
        assert!(found.calibration_error < 0.01, "{}", found.calibration_error);
        let raw = Classification::of(&too_sure(400));
        assert!((raw.calibration_error - 0.15).abs() < 1e-9 && raw.nats > found.nats);

        let halves = calibrated(&too_sure(400), Some(&too_sure(19)), 0).unwrap();
        assert_eq!((&*halves.fitted_to, halves.temperatures.len()), ("halves", 2));
        assert!(halves.temperatures.iter().all(|t| (1.4..3.0).contains(t)), "{:?}", halves.temperatures);
        assert_eq!(calibrated(&too_sure(39), None, 0), None);
    }

    #[test]
    fn the_picture_has_a_cell_for_each_pair_of_classes() {
        let found = Classification::of(&two_classes(&[(0.9, 0), (0.2, 0), (0.2, 1)]));
        let picture = found.picture();
        assert_eq!((picture.width(), picture.height()), (2 * 33 + 1, 2 * 33 + 1));
        let cell = |row: usize, column: usize| picture.pixel(5 + 33 * column, 5 + 33 * row);
        assert_eq!((cell(1, 1), cell(1, 0)), (&[20, 62, 112][..], &[255; 3][..]), "all and none of class 1");
        assert!(cell(0, 0)[2] > cell(0, 0)[0], "right is blue");
        assert!(cell(0, 1)[0] > cell(0, 1)[2], "wrong is red");
    }
}
