//! A linear probe: multinomial logistic regression on standardised features, with a penalty chosen on a part of the training data.

use std::collections::HashMap;
use std::path::Path;

use poiesis_collect::regular;
use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};

use super::logistic::Logistic;
use super::rows::{Rows, Standardizer, to_f32};
use crate::atomic;
use crate::error::{Error, Result};
use crate::rng;

/// The penalties to choose from: powers of ten, the largest first.
const PENALTIES: [f64; 9] = [1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6];
/// The penalty where there are too few labels to choose one.
const FIXED_PENALTY: f64 = 1e-2;
/// The choice ends after this many penalties in a row that are no better.
const PATIENCE: usize = 2;
/// One in so many rows is set aside to choose the penalty.
const SET_ASIDE: usize = 10;

/// Names of the arrays in a file.
const ARRAYS: [&str; 4] = ["biases", "means", "scales", "weights"];

/// A linear classifier of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    standardizer: Standardizer,
    scores: Logistic,
    penalty: f64,
}

impl Probe {
    /// Fits a probe to the features and labels of examples. The penalty is the power of ten from 1e-6 to 100 that gives a tenth of the
    /// examples, set aside for that, the lowest mean of −log p; then it is fitted to all. With fewer than ten examples of a class there
    /// is nothing to set aside, and the penalty is 0.01. `seed` decides which are set aside.
    ///
    /// # Panics
    ///
    /// When there are no examples, not one label for each, or a label is not below `classes`.
    pub fn fit(features: &Rows, labels: &[u32], classes: usize, seed: u64) -> Probe {
        assert!(!features.is_empty() && features.len() == labels.len(), "one label for each of the features");
        let penalty = choose(features, labels, classes, seed).unwrap_or(FIXED_PENALTY);
        Probe::with_penalty(features, labels, classes, penalty)
    }

    /// Fits a probe with a given penalty: λ in the mean of −log p plus λ / 2 · Σ weights².
    ///
    /// # Panics
    ///
    /// As [`Probe::fit`].
    pub fn with_penalty(features: &Rows, labels: &[u32], classes: usize, penalty: f64) -> Probe {
        let standardizer = Standardizer::of(features);
        let rows = standardizer.apply(features);
        let mut scores = Logistic::zero(features.dims(), classes).fitted(&rows, labels, penalty);
        // As they are saved, so that a probe read from a file gives the same probabilities.
        scores.weights.iter_mut().chain(&mut scores.biases).for_each(|value| *value = to_f32(*value));
        Probe { standardizer, scores, penalty }
    }

    /// Values of the features that it reads.
    pub fn dims(&self) -> usize {
        self.standardizer.means.len()
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.scores.biases.len()
    }

    /// The penalty that it was fitted with.
    pub fn penalty(&self) -> f64 {
        self.penalty
    }

    /// log p(class|features) of each row in nats, `[rows, classes]`, row by row.
    ///
    /// # Panics
    ///
    /// When the features do not have [`Probe::dims`] values.
    pub fn log_probs(&self, features: &Rows) -> Vec<f64> {
        self.scores.log_probs(&self.standardizer.apply(features))
    }

    /// The fraction of the rows whose likeliest class is their label.
    ///
    /// # Panics
    ///
    /// As [`Probe::log_probs`], and when there are no rows or not one label for each.
    pub fn accuracy(&self, features: &Rows, labels: &[u32]) -> f64 {
        assert!(!labels.is_empty() && labels.len() == features.len(), "one label for each row");
        let log_probs = self.log_probs(features);
        let right = |(log_probs, label): &(&[f64], &u32)| likeliest(log_probs) == **label as usize;
        log_probs.chunks(self.classes()).zip(labels).filter(right).count() as f64 / labels.len() as f64
    }

    /// Writes the probe to a file of safetensors atomically.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let (dims, classes) = (self.dims(), self.classes());
        let arrays = [
            (&self.scores.biases, vec![classes]),
            (&self.standardizer.means, vec![dims]),
            (&self.standardizer.scales, vec![dims]),
            (&self.scores.weights, vec![dims, classes]),
        ];
        let bytes = arrays.map(|(values, shape)| {
            let bytes: Vec<u8> = values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
            (bytes, shape)
        });
        let views = bytes.iter().map(|(bytes, shape)| TensorView::new(Dtype::F32, shape.clone(), bytes));
        let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| malformed(path, &error))?;
        let about = HashMap::from([("poiesis".to_owned(), format!("probe {}", self.penalty))]);
        let file = serialize(ARRAYS.into_iter().zip(views), Some(about));
        atomic::write(path, &file.map_err(|error| malformed(path, &error))?)
    }

    /// Reads a probe that was saved.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Malformed`] when the file holds something else.
    pub fn load(path: &Path) -> Result<Probe> {
        let bytes = regular::read(path).map_err(Error::io("read", path))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| malformed(path, &error))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| malformed(path, &error))?;
        let about = metadata.metadata().as_ref().and_then(|about| about.get("poiesis"));
        let penalty = about.and_then(|about| about.strip_prefix("probe ")?.parse().ok());
        let penalty = penalty.ok_or_else(|| malformed(path, &"it is not a probe"))?;
        let array = |name: &str| -> Result<(Vec<f64>, Vec<usize>)> {
            let view = file.tensor(name).map_err(|error| malformed(path, &error))?;
            if view.dtype() != Dtype::F32 {
                return Err(malformed(path, &format!("`{name}` is not of 32-bit floats")));
            }
            let (values, _) = view.data().as_chunks::<4>();
            let values: Vec<f64> = values.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect();
            if values.iter().any(|value| !value.is_finite()) {
                return Err(malformed(path, &format!("`{name}` has a value that is not a finite number")));
            }
            Ok((values, view.shape().to_vec()))
        };
        let [(biases, b), (means, m), (scales, s), (weights, w)] =
            [array(ARRAYS[0])?, array(ARRAYS[1])?, array(ARRAYS[2])?, array(ARRAYS[3])?];
        let fits = b.len() == 1 && m.len() == 1 && s == m && w == [m[0], b[0]] && m[0] > 0 && b[0] > 0;
        if !fits {
            return Err(malformed(
                path,
                &format!("its arrays of shapes {b:?}, {m:?}, {s:?}, {w:?} do not fit"),
            ));
        }
        let standardizer = Standardizer { means, scales };
        Ok(Probe { standardizer, scores: Logistic { weights, biases }, penalty })
    }
}

fn malformed(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Malformed { path: path.to_owned(), reason: reason.to_string() }
}

/// The place of the largest value; the first of several.
pub fn likeliest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

/// The penalty that a tenth of the examples prefers; `None` when a class has too few of them.
fn choose(features: &Rows, labels: &[u32], classes: usize, seed: u64) -> Option<f64> {
    let mut of_class = vec![0; classes];
    labels.iter().for_each(|&label| of_class[label as usize] += 1);
    if of_class.iter().any(|&count| count < SET_ASIDE) {
        return None;
    }
    let (count, len) = (labels.len(), labels.len() as u64);
    let order: Vec<usize> = (0..len).map(|place| rng::permute(seed, 0, place, len) as usize).collect();
    let (aside, kept) = order.split_at(count / SET_ASIDE);
    let of = |chosen: &[usize]| chosen.iter().map(|&at| labels[at]).collect::<Vec<u32>>();
    let (kept_labels, aside_labels) = (of(kept), of(aside));
    let standardizer = Standardizer::of(&features.select(kept));
    let rows = [kept, aside].map(|chosen| standardizer.apply(&features.select(chosen)));
    let mut scores = Logistic::zero(features.dims(), classes);
    let (mut best, mut worse) = ((f64::INFINITY, PENALTIES[0]), 0);
    for penalty in PENALTIES {
        // From the last one on, which is near.
        scores = scores.fitted(&rows[0], &kept_labels, penalty);
        let log_probs = scores.log_probs(&rows[1]);
        let of_label = log_probs.chunks(classes).zip(&aside_labels);
        let nats = -of_label.map(|(log_probs, &label)| log_probs[label as usize]).sum::<f64>();
        if nats < best.0 {
            (best, worse) = ((nats, penalty), 0);
        } else {
            worse += 1;
        }
        if worse == PATIENCE {
            break;
        }
    }
    Some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around three corners, far apart compared with their spread, with a value that says nothing.
    fn corners(count: usize) -> (Rows, Vec<u32>) {
        let noise = rng::normal(&mut rng::generator(2, "test", 0), 3 * count);
        let labels: Vec<u32> = (0..count as u32).map(|i| i % 3).collect();
        let value = |i: usize| {
            let corner = [[100.0, 0.0], [0.0, 100.0], [-100.0, -100.0]][labels[i] as usize];
            [corner[0] + 5.0 * noise[3 * i], corner[1] + 5.0 * noise[3 * i + 1], noise[3 * i + 2], 4.0]
        };
        (Rows::new((0..count).flat_map(value).collect(), 4), labels)
    }

    #[test]
    fn separate_classes_are_told_apart_from_few_and_from_many_labels() {
        let (rows, labels) = corners(300);
        for count in [3, 30, 300] {
            let chosen: Vec<usize> = (0..count).collect();
            let probe = Probe::fit(&rows.select(&chosen), &labels[..count], 3, 0);
            assert_eq!(probe.accuracy(&rows, &labels), 1.0, "{count} labels");
            let sum: f64 = probe.log_probs(&rows)[..3].iter().map(|log_prob| log_prob.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-9);
        }
        assert_eq!(Probe::fit(&rows.select(&[0, 1, 2]), &labels[..3], 3, 0).penalty(), FIXED_PENALTY);
    }

    #[test]
    fn features_that_say_nothing_get_a_large_penalty() {
        let rows = Rows::new(rng::normal(&mut rng::generator(3, "test", 0), 40 * 200), 40);
        let labels: Vec<u32> = (0..200).map(|i| i % 2).collect();
        assert!(Probe::fit(&rows, &labels, 2, 0).penalty() >= 1.0);
        let (rows, labels) = corners(300);
        assert!(Probe::fit(&rows, &labels, 3, 0).penalty() < 1e-2);
    }

    #[test]
    fn a_saved_probe_gives_the_same_probabilities_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probe.safetensors");
        let (rows, labels) = corners(60);
        let probe = Probe::fit(&rows, &labels, 3, 0);
        probe.save(&path).unwrap();
        let read = Probe::load(&path).unwrap();
        assert_eq!(read, probe);
        assert_eq!(read.log_probs(&rows), probe.log_probs(&rows));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        assert!(matches!(Probe::load(&path), Err(Error::Malformed { .. })));
        assert!(matches!(Probe::load(&folder.path().join("none")), Err(Error::Io { .. })));
    }
}
