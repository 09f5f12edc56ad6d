//! Classifies images, with probabilities that mean what they say.
//!
//! A model with a classifier of its own classifies by that; any model with features by a linear probe, which is fitted to the labels of its
//! training data once and kept in the run. The probabilities are calibrated by temperature scaling on held-out labelled images of the run's
//! data set; the temperature too is fitted once and kept in the run.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::{Dataset, Options, Split, View};
use serde::{Deserialize, Serialize};

use crate::abilities::{Ability, Classifier, Features};
use crate::data::{ImageShape, Places, images, open};
use crate::error::{Error, Result};
use crate::evaluate::{FEWEST, Predictions, Progress, labelled, scaled};
use crate::fitting::{Probe, Rows};
use crate::rng;
use crate::run::names;
use crate::trained::{Trained, Weights};

/// Images in a batch.
const BATCH: usize = 100;
/// Labelled images that a probe or a temperature is fitted to, at most.
const MOST: usize = 10_000;

/// What classifies the images of a trained model.
pub enum OfModel<'a> {
    /// Its own classifier.
    Own(&'a dyn Classifier),
    /// A linear probe on its features.
    Probe(ProbeClassifier<'a>),
}

impl OfModel<'_> {
    /// What it is called in reports: `classifier` or `probe`.
    pub fn name(&self) -> &'static str {
        match self {
            OfModel::Own(_) => "classifier",
            OfModel::Probe(_) => "probe",
        }
    }
}

impl Classifier for OfModel<'_> {
    fn class_log_probs(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            OfModel::Own(model) => model.class_log_probs(images),
            OfModel::Probe(probe) => probe.class_log_probs(images),
        }
    }
}

/// A linear probe with the features that it reads.
pub struct ProbeClassifier<'a> {
    features: &'a dyn Features,
    probe: Probe,
}

impl Classifier for ProbeClassifier<'_> {
    fn class_log_probs(&self, images: Tensor<4>) -> Tensor<2> {
        let device = images.device();
        let features = Rows::of_tensor(self.features.features(images));
        let log_probs: Vec<f32> = self.probe.log_probs(&features).iter().map(|&l| l as f32).collect();
        Tensor::from_data(TensorData::new(log_probs, [features.len(), self.probe.classes()]), &device)
    }
}

/// The classifier of a model: its own, or a probe that is kept in the run. `None` where a probe must be fitted first; see [`fit_probe`].
///
/// # Errors
///
/// [`Error::MissingCapability`] with the models that can; [`Error::Io`] and [`Error::Malformed`] for a probe that cannot be read.
pub fn classifier(trained: &Trained) -> Result<Option<OfModel<'_>>> {
    let abilities = trained.abilities();
    if let Some(own) = abilities.classifier {
        return Ok(Some(OfModel::Own(own)));
    }
    let Some(features) = abilities.features else {
        return Err(trained.cannot_without(Ability::Classify, &[Ability::Classify, Ability::Features]));
    };
    let path = probe_path(trained);
    if !path.is_file() {
        return Ok(None);
    }
    let probe = Probe::load(&path)?;
    if probe.classes() != trained.spec.classes {
        let reason =
            format!("it tells {} classes apart, and the data have {}", probe.classes(), trained.spec.classes);
        return Err(Error::Malformed { path, reason });
    }
    Ok(Some(OfModel::Probe(ProbeClassifier { features, probe })))
}

/// Fits a linear probe to the labelled training images of the run's data set, at most 10,000 of them, and keeps it in the run; `progress`
/// receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model without features; [`Error::InvalidValue`] when no image has a label; [`Error::Io`] when the
/// probe cannot be kept.
pub fn fit_probe<'a>(
    trained: &'a Trained,
    dataset: &Dataset,
    progress: &mut dyn FnMut(Progress),
) -> Result<OfModel<'a>> {
    let (features, shape) = (trained.features()?, trained.spec.images()?);
    let view = dataset.require(Split::Train)?;
    let chosen = some_labelled(&view);
    if chosen.is_empty() {
        let remedy = "give the run of a model of data with classes";
        let name = &dataset.card().name;
        return Err(Error::invalid_value("data.source", name, "none of its images has a label", remedy));
    }
    let rows = features_of(features, &view, shape, &chosen, &trained.device, progress);
    progress(Progress::working("fitting a probe"));
    let labels: Vec<u32> = chosen.iter().map(|(_, label)| *label).collect();
    let probe = Probe::fit(&rows, &labels, trained.spec.classes, 0);
    probe.save(&probe_path(trained))?;
    Ok(OfModel::Probe(ProbeClassifier { features, probe }))
}

/// Where the probe of these weights is kept.
fn probe_path(trained: &Trained) -> PathBuf {
    trained.path().join(format!("probe-{:09}-{}.safetensors", trained.step, trained.weights().name()))
}

/// Labelled images, drawn at random where there are many.
fn some_labelled(view: &View) -> Vec<(usize, u32)> {
    let all = labelled(view);
    if all.len() <= MOST {
        return all;
    }
    let place = |i: usize| rng::permute(0, 0, i as u64, all.len() as u64) as usize;
    (0..MOST).map(|i| all[place(i)]).collect()
}

fn features_of(
    features: &dyn Features,
    view: &View,
    shape: ImageShape,
    chosen: &[(usize, u32)],
    device: &Device,
    progress: &mut dyn FnMut(Progress),
) -> Rows {
    let total = Some(chosen.len() as u64);
    let (mut values, mut dims, mut done) = (Vec::new(), 1, 0);
    for batch in chosen.chunks(BATCH) {
        let indices: Vec<usize> = batch.iter().map(|(index, _)| *index).collect();
        let found = features.features(images(view, &indices, shape, device));
        dims = found.dims()[1];
        values.extend(found.into_data().iter::<f32>());
        done += batch.len() as u64;
        progress(Progress { what: "features", unit: "images", done, total });
    }
    Rows::new(values, dims)
}

/// The temperature that calibrates a classifier, and what it was fitted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Steps the model was trained for.
    pub step: u64,
    /// Which of its weights were used.
    pub weights: Weights,
    /// What classifies: `classifier` or `probe`.
    pub classifier: String,
    /// The split whose labelled images it was fitted to.
    pub split: Split,
    /// How many these are.
    pub images: usize,
    /// The temperature.
    pub temperature: f64,
    /// Mean of −log p(class|x) of these images before and after, in nats per image.
    pub nats: [f64; 2],
    /// Expected calibration error of these images before and after.
    pub calibration_error: [f64; 2],
}

impl Calibration {
    /// The calibration that is kept in the run, of these weights and this classifier.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the run's folder cannot be read.
    pub fn kept(trained: &Trained, classifier: &OfModel<'_>) -> Result<Option<Calibration>> {
        let is_one = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("calibration-") && name.ends_with(".json"))
        };
        let found = names::in_folder(trained.path())?.into_iter().filter(is_one);
        let read = |path: PathBuf| {
            let text = poiesis_collect::regular::read_to_string(&path).ok()?;
            serde_json::from_str::<Calibration>(&text).ok()
        };
        let of_these = |found: &Calibration| {
            (found.step, found.weights, found.classifier.as_str())
                == (trained.step, trained.weights(), classifier.name())
                && found.temperature.is_finite()
                && found.temperature > 0.0
        };
        // Whatever else has such a name is of no concern.
        Ok(found.filter_map(read).find(of_these))
    }

    /// Fits a temperature to the labelled images of the validation split, or of the test split where that has too few; `None` where both
    /// have. `progress` receives the progress.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a model of other data than images.
    pub fn fit(
        trained: &Trained,
        classifier: &OfModel<'_>,
        dataset: &Dataset,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<Calibration>> {
        let shape = trained.spec.images()?;
        for split in [Split::Validation, Split::Test] {
            let Some(view) = dataset.split(split) else { continue };
            let chosen = some_labelled(&view);
            if chosen.len() < FEWEST {
                continue;
            }
            let total = Some(chosen.len() as u64);
            let mut report = |done: usize| {
                progress(Progress { what: "calibrating", unit: "images", done: done as u64, total });
            };
            let found = Predictions::of(classifier, &view, shape, &chosen, &trained.device, &mut report);
            let temperature = found.temperature();
            let after = found.at(temperature);
            return Ok(Some(Calibration {
                step: trained.step,
                weights: trained.weights(),
                classifier: classifier.name().to_owned(),
                split,
                images: chosen.len(),
                temperature,
                nats: [found.nats(1.0), after.nats(1.0)],
                calibration_error: [&found, &after].map(|of| of.counted().calibration_error),
            }));
        }
        Ok(None)
    }

    /// Keeps it in the run as `calibration-STEP.json`, or under the first free name after that; returns the path.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn keep(&self, run: &Path) -> Result<PathBuf> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Malformed { path: run.to_owned(), reason: error.to_string() })?;
        names::write_free(run, &format!("calibration-{:09}", self.step), "json", (text + "\n").as_bytes())
    }
}

/// log p(class|x) of images given as pixels: u8, concatenated, each `[height, width, channels]`, at a temperature. A row for each image.
///
/// # Panics
///
/// When the pixels do not make whole images.
pub fn classify(
    model: &dyn Classifier,
    pixels: &[u8],
    shape: ImageShape,
    temperature: f64,
    device: &Device,
) -> Vec<Vec<f64>> {
    let ImageShape { height, width, channels } = shape;
    assert!(pixels.len().is_multiple_of(shape.dims()), "{} bytes for images of {shape:?}", pixels.len());
    let batch = |pixels: &[u8]| {
        let count = pixels.len() / shape.dims();
        let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 127.5 - 1.0).collect();
        let data = TensorData::new(values, [count, height, width, channels]);
        let log_probs = model.class_log_probs(Tensor::from_data(data, device));
        let classes = log_probs.dims()[1];
        let log_probs: Vec<f64> = log_probs.into_data().iter::<f64>().collect();
        log_probs.chunks(classes).map(|row| scaled(row, temperature)).collect::<Vec<_>>()
    };
    pixels.chunks(BATCH * shape.dims()).flat_map(batch).collect()
}

/// How images are cropped, resized and changed to be like those that the model was trained on. They are found out from the data set where it is
/// packed and there (at `source` if it has moved), else from the configuration; `false` with the options when a packed one could not be read.
///
/// # Errors
///
/// [`Error::InvalidValue`] for a model of other data than images, or a configuration that cannot be read.
pub fn preparation(trained: &Trained, source: Option<&str>, places: &Places) -> Result<(Options, bool)> {
    let shape = trained.spec.images()?;
    let config = &trained.config.data;
    let source = source.unwrap_or(&config.source);
    let located = open::locate(source, &places.data_dir).ok();
    let packed = located.as_deref().and_then(|place| Dataset::open(Path::new(place)).ok());
    let known = packed.is_some() || located.is_some();
    let options = match packed {
        Some(dataset) => dataset.card().options.clone(),
        None => open::options(config)?,
    };
    let options = Options {
        size: Some((shape.height as u32, shape.width as u32)),
        channels: Some(shape.channels as u8),
        ..options
    };
    Ok((options, known))
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::log_softmax;

    use super::*;

    /// Two classes: bright and dark, with the mean and minus the mean as logits.
    struct ByBrightness;

    impl Classifier for ByBrightness {
        fn class_log_probs(&self, images: Tensor<4>) -> Tensor<2> {
            let batch = images.dims()[0];
            let mean = images.reshape([batch as i64, -1]).mean_dim(1);
            log_softmax(Tensor::cat(vec![mean.clone(), mean.neg()], 1), 1)
        }
    }

    #[test]
    fn pixels_become_probabilities_at_a_temperature() {
        let shape = ImageShape { height: 1, width: 2, channels: 1 };
        // More than a batch; white images but for a black one.
        let mut pixels = vec![255; 2 * 130];
        pixels[2 * 120..2 * 121].fill(0);
        let at = |temperature| classify(&ByBrightness, &pixels, shape, temperature, &Device::flex());
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let (one, two) = (at(1.0), at(2.0));
        assert_eq!(one.len(), 130);
        assert!((one[0][0].exp() - sigmoid(2.0)).abs() < 1e-6);
        assert!((two[0][0].exp() - sigmoid(1.0)).abs() < 1e-6);
        assert!((two[120][1].exp() - sigmoid(1.0)).abs() < 1e-6);
    }

    #[test]
    fn images_are_chosen_among_the_labelled_ones() {
        let (_folder, dataset) = crate::testing::labelled_images(4, "1.png,a\n3.png,b\n");
        let view = dataset.require(Split::Train).unwrap();
        assert_eq!(some_labelled(&view), [(1, 0), (3, 1)]);
    }
}
