//! How well each score finds known anomalies, beside what must be beaten.

use std::path::{Path, PathBuf};

use poiesis_collect::{Dataset, Kind, Options, Progress as Packing, Split, View, open_or_collect};
use serde::{Deserialize, Serialize};

use super::scores::{COMPONENTS, NEIGHBOURS};
use super::{Combination, Order, Score, Scorer, TRAINING, drawn, scores, split_images};
use crate::apply::classify::preparation;
use crate::data::{DataSpec, ImageShape, Places, classes, open};
use crate::error::{Error, Result};
use crate::evaluate::{Detection, Progress, detection};
use crate::fitting::{Pca, Rows, near};
use crate::run::names;
use crate::trained::{Trained, Weights};

/// Usual images that the combination is fitted to, at most.
const FITTED: usize = 1000;
/// The anomalies that are the images of all other classes than those that a run was trained on.
const OTHERS: &str = "others";

/// How the detection of anomalies is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnomalyProtocol {
    /// The split of the usual images; by default the test split, else the validation split.
    pub split: Option<Split>,
    /// How many usual images, and how many anomalies, are measured, drawn at random; by default all.
    pub images: Option<usize>,
    /// Seed of what is drawn.
    pub seed: u64,
}

/// How well one score finds the anomalies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreDetection {
    /// The name of the score.
    pub score: String,
    /// Whether it is a control: something simpler that a score must beat, or that is known to fail.
    pub control: bool,
    /// How well it does.
    #[serde(flatten)]
    pub detection: Detection,
}

/// How well each score of a model tells anomalies from held-out images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnomalyEvaluation {
    /// The run's name.
    pub run: String,
    /// The model.
    pub model: String,
    /// Steps it was trained for.
    pub step: u64,
    /// Which of its weights were used.
    pub weights: Weights,
    /// The data set of the usual images.
    pub data: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The split of the usual images.
    pub split: Split,
    /// Where the anomalies came from.
    pub anomalies: String,
    /// The number of usual images and of anomalies, which are the positives.
    pub images: [usize; 2],
    /// The split of the images that the combination was fitted to, and how many these were.
    pub fitted: (Split, usize),
    /// Training images that neighbours and components come from.
    pub training_images: usize,
    /// Seed of what was drawn.
    pub seed: u64,
    /// Each score, then each control.
    pub scores: Vec<ScoreDetection>,
}

/// The images that `what` names, as the model of a run reads them, and how they are called: `others` are the images of all classes that
/// `data.classes` leaves out, of the split that is measured; anything else is a folder, an archive or the name of a data set, of which
/// the test split is taken where there is one and everything otherwise. 8-bit, concatenated.
///
/// # Errors
///
/// [`Error::InvalidValue`] when a run was trained on all classes, or a packed data set has images of another shape; the errors of opening
/// data.
pub fn anomalies(
    trained: &Trained,
    what: &str,
    source: Option<&str>,
    places: &Places,
    protocol: &AnomalyProtocol,
    progress: &(dyn Fn(Packing) + Sync),
) -> Result<(String, Vec<u8>)> {
    let shape = trained.spec.images()?;
    let most = protocol.images.unwrap_or(usize::MAX);
    let of_view = |view: &View| drawn(view, protocol.seed, Order::Usual, 0, most);
    if what == OTHERS && !Path::new(what).exists() {
        let config = trained.config.data.clone();
        if config.classes.is_empty() {
            let reason = "the run was trained on all classes of its data";
            let remedy = "give a folder or a data set, or train on some classes with data.classes";
            return Err(Error::invalid_value("anomalies", what, reason, remedy));
        }
        let own = config.classes.clone();
        let source = source.map_or(config.source.clone(), str::to_owned);
        let config = crate::config::DataConfig { classes: String::new(), source, ..config };
        let all = data_set(&open(&config, places, progress)?, shape)?;
        let others = classes::others(&all, &own)?;
        let split = held_out(&others, protocol.split)?;
        let name = format!("all other classes of {}, {split} split", all.card().name);
        return Ok((name, of_view(&others.require(split)?)));
    }
    let (prepared, _) = preparation(trained, source, places)?;
    // How the run's own files are named and divided says nothing about others.
    let Options { size, crop, channels, background, binarize, invert, limits, .. } = prepared;
    let kind = Some(Kind::Images);
    let options = Options {
        size,
        crop,
        channels,
        background,
        binarize,
        invert,
        limits,
        kind,
        holdout: 0.0,
        ..Options::default()
    };
    let place = open::locate(what, &places.data_dir)?;
    let found = data_set(&open_or_collect(&place, &options, &places.cache, progress)?, shape)?;
    let name = found.card().name.clone();
    if let Some(test) = found.split(Split::Test) {
        return Ok((format!("{name}, test split"), of_view(&test)));
    }
    let views = Split::ALL.into_iter().filter_map(|split| found.split(split));
    Ok((name, views.flat_map(|view| of_view(&view)).take(most.saturating_mul(shape.dims())).collect()))
}

/// Returns the data set if its images are of `shape`.
fn data_set(found: &Dataset, shape: ImageShape) -> Result<Dataset> {
    let own = DataSpec::of(found)?.images()?;
    if own == shape {
        return Ok(found.clone());
    }
    let words = |ImageShape { height, width, channels }| format!("{width}×{height} with {channels} channels");
    let reason = format!("its images are {}, and the model's {}", words(own), words(shape));
    Err(Error::invalid_value("anomalies", &found.card().name, &reason, "give the images themselves"))
}

/// The split of the usual images.
fn held_out(dataset: &Dataset, wanted: Option<Split>) -> Result<Split> {
    if let Some(split) = wanted {
        return Ok(dataset.require(split).map(|_| split)?);
    }
    let found = [Split::Test, Split::Validation].into_iter().find(|&split| dataset.split(split).is_some());
    found.ok_or_else(|| Error::NothingHeldOut { data: dataset.card().name.clone() })
}

/// Measures how well each score of a model tells `anomalies` (8-bit, concatenated; called `name`) from held-out images of `dataset`, the data
/// of its run. No anomaly is used to fit anything.
///
/// The combination is fitted to the validation split where another one is measured, else to training images that no neighbour is searched
/// among.
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model without scores; [`Error::NothingHeldOut`]; [`Error::InvalidValue`] when there are no anomalies or
/// too few training images.
pub fn evaluate_anomalies(
    trained: &Trained,
    dataset: &Dataset,
    (name, anomalies): (&str, &[u8]),
    protocol: &AnomalyProtocol,
    progress: &mut dyn FnMut(Progress),
) -> Result<AnomalyEvaluation> {
    let (wanted, shape, seed) = (scores(trained, None)?, trained.spec.images()?, protocol.seed);
    if anomalies.is_empty() {
        let remedy = "give a folder or a data set with images";
        return Err(Error::invalid_value("anomalies", name, "there are no images", remedy));
    }
    let split = held_out(dataset, protocol.split)?;
    let usual = split_images(dataset, split, seed, protocol.images.unwrap_or(usize::MAX))?;
    let train = dataset.require(Split::Train)?;
    let own = Split::Validation;
    let (reference, fitted, fitted_split) = match dataset.split(own).filter(|_| split != own) {
        Some(view) => {
            let reference = drawn(&train, seed, Order::Training, 0, TRAINING);
            (reference, drawn(&view, seed, Order::Usual, 0, FITTED), own)
        }
        None => {
            let count = FITTED.min(train.len() / 5);
            let reference = drawn(&train, seed, Order::Training, 0, TRAINING.min(train.len() - count));
            let first = reference.len() / shape.dims();
            (reference, drawn(&train, seed, Order::Training, first, count), Split::Train)
        }
    };
    if fitted.is_empty() || reference.len() <= shape.dims() {
        let reason = format!("{} training images are too few", train.len());
        return Err(Error::invalid_value("data.source", &dataset.card().name, &reason, "give more images"));
    }
    let scorer =
        Scorer::new(trained.abilities(), shape, &trained.device, &wanted, &reference, seed, progress);
    let combination = Combination::fit(&scorer.measure(&fitted, "fitting", progress), seed);
    let of_usual = scorer.measure(&usual, "usual images", progress);
    let of_odd = scorer.measure(anomalies, "anomalies", progress);
    let compared = |score: String, control, usual: &[f64], odd: &[f64]| ScoreDetection {
        score,
        control,
        detection: detection(usual, odd),
    };
    let pairs = combination.scores(&of_usual).into_iter().zip(combination.scores(&of_odd));
    let mut found: Vec<ScoreDetection> = pairs
        .map(|((score, usual), (_, odd))| compared(score.name().to_owned(), false, &usual, &odd))
        .collect();
    for ((score, usual), (_, odd)) in of_usual.values.iter().zip(&of_odd.values) {
        if *score == Score::Likelihood {
            found.push(compared("−log p alone".to_owned(), true, usual, odd));
        }
    }
    progress(Progress::working("controls"));
    for (name, [usual, odd]) in controls(&reference, [&usual, anomalies], shape) {
        found.push(compared(name, true, &usual, &odd));
    }
    let card = dataset.card();
    Ok(AnomalyEvaluation {
        run: trained.info.id.clone(),
        model: trained.entry.name().to_owned(),
        step: trained.step,
        weights: trained.weights(),
        data: card.name.clone(),
        fingerprint: card.fingerprint.clone(),
        split,
        anomalies: name.to_owned(),
        images: [of_usual.len(), of_odd.len()],
        fitted: (fitted_split, fitted.len() / shape.dims()),
        training_images: reference.len() / shape.dims(),
        seed,
        scores: found,
    })
}

/// Scores that need no model: the distance to the nearest training images in the first principal components of pixels, and Mahalanobis's
/// distance in them.
fn controls(reference: &[u8], sets: [&[u8]; 2], shape: ImageShape) -> [(String, [Vec<f64>; 2]); 2] {
    let rows = |pixels: &[u8]| {
        Rows::new(pixels.iter().map(|&pixel| f32::from(pixel) / 127.5 - 1.0).collect(), shape.dims())
    };
    let reference = rows(reference);
    let pca = Pca::fit(&reference, COMPONENTS);
    let inside = pca.project(&reference);
    let projected = sets.map(|pixels| pca.project(&rows(pixels)));
    let near_of = |rows: &Rows| near(rows, &inside, NEIGHBOURS).iter().map(|near| near.distance).collect();
    // A component along which nothing varies has no scale.
    let least = 1e-6 * pca.variances.first().copied().unwrap_or(0.0).max(1e-12);
    let mahalanobis = |row: &[f32]| -> f64 {
        let along = row.iter().zip(&pca.variances).filter(|(_, variance)| **variance > least);
        along.map(|(&x, variance)| f64::from(x).powi(2) / variance).sum::<f64>().sqrt()
    };
    let components = pca.components.len();
    [
        (
            format!("{NEIGHBOURS} nearest in {components} components of pixels"),
            [near_of(&projected[0]), near_of(&projected[1])],
        ),
        (
            format!("Mahalanobis in {components} components of pixels"),
            [0, 1].map(|set| projected[set].iter().map(mahalanobis).collect()),
        ),
    ]
}

impl AnomalyEvaluation {
    /// The evaluation as JSON, indented, with a line break at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when a number cannot be written, which is a bug.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Malformed { path: self.run.clone().into(), reason: error.to_string() })?;
        Ok(text + "\n")
    }

    /// Keeps it in the run as `anomalies-STEP.json`, or under the first free name after that; returns the path.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and that of [`AnomalyEvaluation::to_json`].
    pub fn keep(&self, run: &Path) -> Result<PathBuf> {
        names::write_free(run, &format!("anomalies-{:09}", self.step), "json", self.to_json()?.as_bytes())
    }
}
