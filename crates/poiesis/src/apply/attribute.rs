//! A direction of latents that stands for an attribute of images, such as a smile, with the model that it belongs to.

use std::path::Path;

use poiesis_collect::regular;
use serde::{Deserialize, Serialize};

use crate::atomic;
use crate::error::{Error, Result};
use crate::trained::{Trained, Weights};

/// A direction that tells the two sets apart no more often than this is not saved.
pub const LEAST_ACCURACY: f64 = 0.6;

/// How a direction is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttributeMethod {
    /// The weights of a logistic regression of the latents.
    Logistic,
    /// The difference of the means of both sets.
    Means,
}

/// A direction of latents from the images without an attribute to those with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// The run whose model encoded the images.
    pub run: String,
    /// Its model.
    pub model: String,
    /// Steps it was trained for.
    pub step: u64,
    /// Which of its weights were used.
    pub weights: Weights,
    /// [`Trained::fingerprint`] of the model.
    pub fingerprint: String,
    /// What the images with the attribute are called.
    pub with: String,
    /// What the images without it are called.
    pub without: String,
    /// How many images there were with it and without it.
    pub images: [usize; 2],
    /// The direction of a logistic regression.
    pub logistic: Along,
    /// The difference of means.
    pub means: Along,
    /// What an edit along the direction changes besides; empty where there were no other images.
    #[serde(default)]
    pub leakage: Vec<Leakage>,
}

/// What a direction does to the images of another class or folder: how a probe, a logistic regression that tells them from all other
/// images, answers to an edit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leakage {
    /// What the images are called.
    pub name: String,
    /// How many there were.
    pub images: usize,
    /// The accuracy of the probe on held-out images, as the mean of both sets; a probe near 0.5 tells nothing.
    pub accuracy: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// What the direction of the logistic regression changes.
    pub logistic: Change,
    /// What the difference of means changes.
    pub means: Change,
}

/// What an amount of 1 changes for a probe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The cosine of the direction and that of the probe.
    pub cosine: f64,
    /// The change of the probe's logit: positive where an edit makes an image look more like the images of the probe.
    pub logit: f64,
    /// The same as a part of the way from the mean of the other images to the mean of those of the probe.
    pub share: f64,
}

/// A direction, and where both sets lie along it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Along {
    /// The direction, `[latent_dim]`, of length 1; 0 in categorical parts.
    pub direction: Vec<f32>,
    /// How far in the latents an amount of 1 goes: from the mean of the images without the attribute to the mean of those with it.
    pub unit: f64,
    /// Where the images with the attribute lie along the direction.
    pub with: Spread,
    /// Where those without it lie.
    pub without: Spread,
    /// The fraction of images that were not used for the fit and are on the right side, as the mean of both sets.
    pub accuracy: f64,
    /// Its standard error.
    pub standard_error: f64,
}

/// Mean and standard deviation along a direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

impl Along {
    /// Where latents lie along the direction: 0 for typical images without the attribute, 1 for typical ones with it.
    pub fn place(&self, z: &[f32]) -> f64 {
        (projection(z, &self.direction) - self.without.mean) / self.unit
    }
}

/// The dot product of latents and a direction.
pub(crate) fn projection(z: &[f32], direction: &[f32]) -> f64 {
    z.iter().zip(direction).map(|(&z, &d)| f64::from(z) * f64::from(d)).sum()
}

impl Attribute {
    /// The direction that was found by a method.
    pub fn along(&self, method: AttributeMethod) -> &Along {
        match method {
            AttributeMethod::Logistic => &self.logistic,
            AttributeMethod::Means => &self.means,
        }
    }

    /// Writes the attribute as JSON.
    ///
    /// # Errors
    ///
    /// [`Error::NotComparable`] for one whose accuracy is at most [`LEAST_ACCURACY`]; [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let Along { accuracy, standard_error, .. } = self.logistic;
        if accuracy <= LEAST_ACCURACY {
            return Err(Error::NotComparable {
                reason: format!(
                    "the latents do not tell {} from {}: of held-out images {:.1} ± {:.1} % are on the right side, \
                     and up to {:.0} % a direction means nothing",
                    self.with,
                    self.without,
                    100.0 * accuracy,
                    100.0 * standard_error,
                    100.0 * LEAST_ACCURACY
                ),
                remedy: "give more images, sets that differ more, or a model that was trained longer".into(),
            });
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| not_one(path, error.to_string()))?;
        atomic::write(path, (text + "\n").as_bytes())
    }

    /// Reads an attribute of a model.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Unusable`] when the file holds something else, or the attribute belongs to another model or other weights.
    pub fn load(path: &Path, trained: &Trained) -> Result<Attribute> {
        let text = regular::read_to_string(path).map_err(Error::io("read", path))?;
        let found: Attribute = serde_json::from_str(&text)
            .map_err(|error| not_one(path, format!("it holds no direction: {error}")))?;
        if found.fingerprint != trained.fingerprint() {
            let weights = |weights: Weights| weights.name();
            let reason = format!(
                "it belongs to {} at step {} ({} weights), not to {} at step {} ({} weights) as it is now",
                found.run,
                found.step,
                weights(found.weights),
                trained.info.id,
                trained.step,
                weights(trained.weights())
            );
            let remedy = "find the attribute with this model, or give the run and step that it belongs to";
            return Err(Error::Unusable { path: path.to_owned(), reason, remedy: remedy.into() });
        }
        let dims = trained.latents()?.latent_dim();
        for along in [&found.logistic, &found.means] {
            if along.direction.len() != dims {
                let reason =
                    format!("its direction has {} values, and latents {dims}", along.direction.len());
                return Err(not_one(path, reason));
            }
            let length = along.direction.iter().map(|&d| f64::from(d).powi(2)).sum::<f64>().sqrt();
            if !((length - 1.0).abs() < 1e-3 && along.unit.is_finite() && along.unit > 0.0) {
                let reason = format!("its direction has the length {length} and the unit {}", along.unit);
                return Err(not_one(path, reason));
            }
        }
        Ok(found)
    }
}

fn not_one(path: &Path, reason: String) -> Error {
    let remedy = "give a file that `discover attribute` has written";
    Error::Unusable { path: path.to_owned(), reason, remedy: remedy.into() }
}
