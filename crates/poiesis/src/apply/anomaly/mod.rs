//! Finds images that are unlike those a model was trained on, with p-values that hold whatever the model is worth.
//!
//! Each ability of a model gives a [`Score`]. A score alone can be fooled. That holds for the likelihood above all: a model of clothes finds
//! digits *likelier* than clothes, because they are simpler (Nalisnick et al. 2019, arXiv:1810.09136), so no verdict rests on it alone.
//! By default the scores are combined by Fisher's method. What a score means is found from *usual* images that the model was not trained
//! on: the first half of them fixes the combination, and the second half gives conformal p-values of every score, the combined one
//! included. So the share of false alarms among usual images is at most α, whatever the model learned; how many anomalies are found is
//! not promised.

mod evaluation;
mod pictures;
mod scores;

pub use evaluation::{AnomalyEvaluation, AnomalyProtocol, ScoreDetection, anomalies, evaluate_anomalies};
pub use pictures::{Anomalous, Shown, draw};
pub use scores::{Measures, Score, Scorer};
pub(crate) use scores::{autoencoder, flat, number_of};

use poiesis_collect::{Dataset, Split, View};
use serde::Serialize;

use crate::abilities::Ability;
use crate::error::{Error, Result};
use crate::fitting::Conformal;
use crate::fitting::conformal::{fisher, needed};
use crate::rng;
use crate::trained::Trained;

/// Training images that neighbours are searched among, at most.
const TRAINING: usize = 5000;

/// The scores that `trained` gives, all of them or the one that is asked for. For [`Score::Combined`] those that are combined.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model does not give it, or none; [`Error::InvalidValue`] for a model of other data than images.
pub fn scores(trained: &Trained, wanted: Option<Score>) -> Result<Vec<Score>> {
    let given = Score::of(&trained.abilities(), trained.spec.images()?);
    match wanted {
        None | Some(Score::Combined) if given.is_empty() => Err(trained.cannot(Ability::Likelihood)),
        None | Some(Score::Combined) => Ok(given),
        Some(score) if given.contains(&score) => Ok(vec![score]),
        Some(score) => Err(trained.cannot(score.needs())),
    }
}

/// Training images of a data set, at most 5,000 of them, drawn by `seed`: 8-bit, concatenated.
///
/// # Errors
///
/// [`Error::Data`] when there is no train split.
pub fn training_images(dataset: &Dataset, seed: u64) -> Result<Vec<u8>> {
    Ok(drawn(&dataset.require(Split::Train)?, seed, Order::Training, 0, TRAINING))
}

/// The images of a split, at most `most` of them, drawn by `seed`: 8-bit, concatenated.
///
/// # Errors
///
/// [`Error::Data`] when there is no such split.
pub fn split_images(dataset: &Dataset, split: Split, seed: u64, most: usize) -> Result<Vec<u8>> {
    Ok(drawn(&dataset.require(split)?, seed, Order::Usual, 0, most))
}

/// At most `most` of images of `dims` values, drawn by `seed`; both 8-bit, concatenated.
pub fn some_images(pixels: &[u8], dims: usize, seed: u64, most: usize) -> Vec<u8> {
    let count = pixels.len() / dims;
    let place = |i: usize| rng::permute(seed, Order::Usual as u64, i as u64, count as u64) as usize;
    let image = |i: usize| &pixels[place(i) * dims..(place(i) + 1) * dims];
    (0..count.min(most)).flat_map(image).copied().collect()
}

/// Images of a view from place `first` on, in the order `which` that `seed` draws.
fn drawn(view: &View, seed: u64, which: Order, first: usize, most: usize) -> Vec<u8> {
    let place = |i: usize| rng::permute(seed, which as u64, i as u64, view.len() as u64) as usize;
    (first..view.len().min(first.saturating_add(most))).flat_map(|i| view.image(place(i))).copied().collect()
}

/// Orders of images, each a permutation of its own.
#[derive(Clone, Copy)]
enum Order {
    Halves = 1,
    Training = 2,
    Usual = 3,
}

/// Scores that are high for odd images, made from what is measured of them, and their combination.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    parts: Vec<Part>,
    seed: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Part {
    score: Score,
    /// The mean of usual images.
    mean: f64,
    usual: Conformal,
}

impl Part {
    /// The score, high where odd.
    fn odd(&self, value: f64) -> f64 {
        if self.score == Score::Likelihood { (value - self.mean).abs() } else { value }
    }
}

impl Combination {
    /// Fits it to usual images.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn fit(usual: &Measures, seed: u64) -> Combination {
        assert!(!usual.is_empty(), "a combination of the scores of no images");
        let part = |(score, values): &(Score, Vec<f64>)| {
            let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            let mean = finite.iter().sum::<f64>() / finite.len().max(1) as f64;
            let mut part = Part { score: *score, mean, usual: Conformal::new(Vec::new()) };
            part.usual = Conformal::new(values.iter().map(|&value| part.odd(value)).collect());
            part
        };
        Combination { parts: usual.values.iter().map(part).collect(), seed }
    }

    /// Each score of images, high where they are odd; the combined one first where there are several.
    ///
    /// # Panics
    ///
    /// When other scores were measured than those it was fitted to.
    pub fn scores(&self, measures: &Measures) -> Vec<(Score, Vec<f64>)> {
        let mut all = Vec::new();
        for (part, (score, values)) in self.parts.iter().zip(&measures.values) {
            assert_eq!(part.score, *score, "scores in another order");
            all.push((*score, values.iter().map(|&value| part.odd(value)).collect::<Vec<f64>>()));
        }
        if self.parts.len() > 1 {
            let combined = |(row, &number): (usize, &u64)| {
                let mut draws = rng::generator(self.seed, "combination ties", number);
                let p = |(part, (_, scores)): (&Part, &(Score, Vec<f64>))| {
                    part.usual.p_value(scores[row], rng::unit_f64(&mut draws))
                };
                fisher(&self.parts.iter().zip(&all).map(p).collect::<Vec<f64>>())
            };
            let combined = measures.numbers.iter().enumerate().map(combined).collect();
            all.insert(0, (Score::Combined, combined));
        }
        all
    }
}

/// Gives images p-values, calibrated on usual ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Detector {
    combination: Combination,
    calibrated: Vec<(Score, Conformal)>,
    seed: u64,
}

/// One score of an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Found {
    /// Which score.
    pub score: Score,
    /// What was measured; for the combination, −2 Σ ln p.
    pub value: f64,
    /// The p-value: the share of usual images that are at least as odd.
    pub p: f64,
}

impl Detector {
    /// How many usual images are needed for p-values of `alpha`: twice ⌈1/α − 1⌉, as one half fixes the combination.
    ///
    /// # Panics
    ///
    /// When `alpha` is not between 0 and 1.
    pub fn needed(alpha: f64) -> usize {
        2 * needed(alpha)
    }

    /// Calibrates on usual images that the model was not trained on. `seed` decides which half of them is for what.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when there are fewer than [`Detector::needed`] for `alpha`.
    ///
    /// # Panics
    ///
    /// When `alpha` is not between 0 and 1.
    pub fn calibrate(usual: &Measures, alpha: f64, seed: u64) -> Result<Detector> {
        let (count, least) = (usual.len(), Detector::needed(alpha));
        if count < least {
            let reason = format!(
                "there are {count} usual images to calibrate on, and half of them must be at least 1/α − 1: {least} are needed"
            );
            let remedy = "give more usual images, or a larger α";
            return Err(Error::invalid_value("alpha", &alpha.to_string(), &reason, remedy));
        }
        let place = |i: usize| rng::permute(seed, Order::Halves as u64, i as u64, count as u64) as usize;
        let order: Vec<usize> = (0..count).map(place).collect();
        let (first, second) = order.split_at(count / 2);
        let combination = Combination::fit(&usual.select(first), seed);
        let calibrated = combination.scores(&usual.select(second));
        let calibrated =
            calibrated.into_iter().map(|(score, values)| (score, Conformal::new(values))).collect();
        Ok(Detector { combination, calibrated, seed })
    }

    /// How many usual images the p-values come from.
    pub fn calibration_size(&self) -> usize {
        self.calibrated.first().map_or(0, |(_, usual)| usual.len())
    }

    /// The scores of images with their p-values, a row for each image; the combined score first where there are several.
    ///
    /// # Panics
    ///
    /// When other scores were measured than those it was calibrated on.
    pub fn examine(&self, measures: &Measures) -> Vec<Vec<Found>> {
        let odd = self.combination.scores(measures);
        let value = |score: Score, row: usize, odd: f64| {
            let measured = measures.values.iter().find(|(other, _)| *other == score);
            measured.map_or(odd, |(_, values)| values[row])
        };
        let row = |(row, &number): (usize, &u64)| {
            let mut draws = rng::generator(self.seed, "conformal ties", number);
            let found = |((score, usual), (_, odd)): (&(Score, Conformal), &(Score, Vec<f64>))| Found {
                score: *score,
                value: value(*score, row, odd[row]),
                p: usual.p_value(odd[row], rng::unit_f64(&mut draws)),
            };
            self.calibrated.iter().zip(&odd).map(found).collect()
        };
        measures.numbers.iter().enumerate().map(row).collect()
    }
}

#[cfg(test)]
mod tests;
