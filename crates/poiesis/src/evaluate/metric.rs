//! Metrics: each has a name, a way to measure it, and a result with its protocol. Also what they are measured on.

use std::cell::OnceCell;
use std::time::Instant;

use poiesis_collect::{Dataset, Split, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Protocol;
use super::feature_sets::{self, FeatureSets};
use super::nearest::Neighbours;
use crate::data::{DataSpec, Examples, Experience};
use crate::error::{Error, Result};
use crate::features::FeatureNetwork;
use crate::trained::Trained;

/// Samples in a batch.
const PIECE: usize = 64;

/// Something that can be measured of a trained model on held-out data.
pub struct Metric {
    /// The name of its result in an [`Evaluation`](super::Evaluation).
    pub name: &'static str,
    /// Measures it; see [`Measure`].
    pub measure: Measure,
}

/// Measures a model and reports the progress; `None` where the metric cannot be measured for this model on these data. Its errors are
/// those of sampling and of reading the data.
pub type Measure = fn(&Subject<'_>, &mut dyn FnMut(Progress)) -> Result<Option<Measured>>;

/// The progress of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is being done, such as `sampling`.
    pub what: &'static str,
    /// What is counted, such as `images`.
    pub unit: &'static str,
    /// How many are done.
    pub done: u64,
    /// How many there are; `None` for work without a known total.
    pub total: Option<u64>,
}

impl Progress {
    /// Work without a known total.
    pub fn working(what: &'static str) -> Progress {
        Progress { what, unit: "", done: 0, total: None }
    }

    /// Returns a function that reports the number done to `progress`; it starts with a report of none.
    pub(super) fn reporter(
        what: &'static str,
        unit: &'static str,
        total: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> impl FnMut(u64) {
        let mut report = move |done| progress(Progress { what, unit, done, total: Some(total) });
        report(0);
        report
    }
}

/// The result of a metric: a table of its values and its protocol, and how long it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The values by name; null for a number that is not finite.
    #[serde(flatten)]
    pub values: Map<String, Value>,
    /// Seconds it took, without sampling.
    pub seconds: f64,
}

impl Measured {
    /// Runs `work` and times it.
    ///
    /// # Panics
    ///
    /// When `T` is not a struct with named fields.
    pub fn timed<T: Serialize>(work: impl FnOnce() -> T) -> Measured {
        let began = Instant::now();
        let found = work();
        Measured::of(&found, began)
    }

    /// Runs `work` and times it, where it can fail.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    ///
    /// # Panics
    ///
    /// As [`Measured::timed`].
    pub fn try_timed<T: Serialize>(work: impl FnOnce() -> Result<T>) -> Result<Measured> {
        let began = Instant::now();
        let found = work()?;
        Ok(Measured::of(&found, began))
    }

    fn of<T: Serialize>(found: &T, began: Instant) -> Measured {
        let seconds = began.elapsed().as_secs_f64();
        match serde_json::to_value(found) {
            Ok(Value::Object(values)) => Measured { values, seconds },
            other => panic!("a metric finds a table of values, not {other:?}"),
        }
    }

    /// The result as the type of its metric, such as [`Bound`](super::Bound); `None` when it is of another metric, or a number
    /// is not finite.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(Value::Object(self.values.clone())).ok()
    }
}

/// What is measured: a model, and the data it is measured on.
pub struct Subject<'a> {
    /// The model.
    pub trained: &'a Trained,
    /// The data set; `None` for an agent, which is measured in its environment.
    pub dataset: Option<&'a Dataset>,
    /// The held-out split; `None` for an agent.
    pub split: Option<Split>,
    /// The examples of that split, or the environment.
    pub held_out: Examples,
    /// How it is measured.
    pub protocol: &'a Protocol,
    /// The network in whose features images are compared.
    pub(super) network: Option<Box<dyn FeatureNetwork>>,
    samples: OnceCell<Vec<u8>>,
    feature_sets: OnceCell<Option<FeatureSets>>,
    neighbours: OnceCell<Option<Neighbours>>,
    /// Pairs of images to look at, of the metric that finds copies.
    pub(super) closest: OnceCell<Vec<u8>>,
    /// The mean return of random actions, which is measured once.
    pub(super) random_return: OnceCell<f64>,
}

impl<'a> Subject<'a> {
    /// Finds the split that `protocol` names: by default the test split, else the validation split.
    ///
    /// # Errors
    ///
    /// [`Error::NothingHeldOut`] when there is none, [`Error::Data`] when the named one is not there;
    /// [`Error::InvalidValue`] when the data are not of the kind the model was made for; [`Error::Weights`] when those of a feature
    /// network cannot be used.
    pub fn new(trained: &'a Trained, dataset: &'a Dataset, protocol: &'a Protocol) -> Result<Subject<'a>> {
        expect_same_kind(&trained.spec, dataset)?;
        let (split, held_out) = held_out(dataset, protocol.split)?;
        let network = feature_sets::network(trained, dataset, protocol)?;
        Ok(Subject {
            dataset: Some(dataset),
            split: Some(split),
            network,
            ..Subject::on(trained, held_out, protocol)
        })
    }

    /// An agent, which is measured in the environment of `experience`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] when the model is no agent.
    pub fn of_agent(
        trained: &'a Trained,
        experience: Experience,
        protocol: &'a Protocol,
    ) -> Result<Subject<'a>> {
        trained.agent()?;
        Ok(Subject::on(trained, Examples::Experience(experience), protocol))
    }

    fn on(trained: &'a Trained, held_out: Examples, protocol: &'a Protocol) -> Subject<'a> {
        Subject {
            trained,
            dataset: None,
            split: None,
            held_out,
            protocol,
            network: None,
            samples: OnceCell::new(),
            feature_sets: OnceCell::new(),
            neighbours: OnceCell::new(),
            closest: OnceCell::new(),
            random_return: OnceCell::new(),
        }
    }

    /// How many images of `view` are measured.
    pub(super) fn images(&self, view: &View) -> usize {
        self.protocol.images.unwrap_or(view.len()).min(view.len())
    }

    /// The samples of a model of images that the protocol asks for, 8-bit, concatenated. They are drawn once.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] when the model cannot sample.
    pub fn samples(&self, progress: &mut dyn FnMut(Progress)) -> Result<&[u8]> {
        if let Some(samples) = self.samples.get() {
            return Ok(samples);
        }
        let count = self.protocol.samples;
        let mut report = Progress::reporter("sampling", "images", count as u64, progress);
        let mut images = Vec::new();
        for done in (0..count).step_by(PIECE) {
            let number = PIECE.min(count - done);
            images.extend(self.trained.images(self.protocol.seed, done as u64..(done + number) as u64)?);
            report((done + number) as u64);
        }
        Ok(self.samples.get_or_init(|| images))
    }

    /// The features of samples and of real images, computed once; `None` where there is no feature network or nothing to compare.
    pub(super) fn feature_sets(&self, progress: &mut dyn FnMut(Progress)) -> Result<Option<&FeatureSets>> {
        if self.feature_sets.get().is_none() {
            let found = FeatureSets::of(self, progress)?;
            return Ok(self.feature_sets.get_or_init(|| found).as_ref());
        }
        Ok(self.feature_sets.get().and_then(Option::as_ref))
    }

    /// The nearest training images of samples and of held-out images, searched once; `None` where there is nothing to compare.
    pub(super) fn neighbours(&self, progress: &mut dyn FnMut(Progress)) -> Result<Option<&Neighbours>> {
        if self.neighbours.get().is_none() {
            let found = Neighbours::of(self, progress)?;
            return Ok(self.neighbours.get_or_init(|| found).as_ref());
        }
        Ok(self.neighbours.get().and_then(Option::as_ref))
    }
}

/// The examples of the requested split, or of the held-out one.
fn held_out(dataset: &Dataset, wanted: Option<Split>) -> Result<(Split, Examples)> {
    let splits = wanted.map_or(vec![Split::Test, Split::Validation], |split| vec![split]);
    for split in splits {
        if let Some(examples) = Examples::of(dataset, split).filter(|examples| !examples.is_empty()) {
            return Ok((split, examples));
        }
    }
    let name = dataset.card().name.clone();
    Err(match wanted {
        Some(split) => poiesis_collect::Error::NoSplit { name, split }.into(),
        None => Error::NothingHeldOut { data: name },
    })
}

/// Returns an error for data that a model of `spec` cannot read.
fn expect_same_kind(spec: &DataSpec, dataset: &Dataset) -> Result<()> {
    let found = DataSpec::of(dataset)?;
    if found.content == spec.content && found.classes <= spec.classes {
        return Ok(());
    }
    Err(Error::InvalidValue {
        key: "data.source".into(),
        value: dataset.card().name.clone(),
        reason: "its examples are not of the shape, vocabulary or classes that the model was made for".into(),
        remedy: "give data prepared like those it was trained on".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_as_what_they_were() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Found {
            images: usize,
            nats: f64,
        }
        let found = Found { images: 3, nats: 0.1 + 0.2 };
        let measured = Measured::timed(|| &found);
        let text = serde_json::to_string(&measured).unwrap();
        assert!(text.starts_with(r#"{"images":3,"nats":0.30000000000000004,"seconds":"#), "{text}");
        let measured: Measured = serde_json::from_str(&text).unwrap();
        assert_eq!(measured.read(), Some(found));
        assert!(Measured::timed(|| Found { images: 1, nats: f64::NAN }).read::<Found>().is_none());
    }

    #[test]
    fn progress_begins_with_nothing_done() {
        let mut seen = Vec::new();
        let mut progress = |at: Progress| seen.push((at.done, at.total));
        Progress::reporter("sampling", "images", 9, &mut progress)(4);
        assert_eq!(seen, [(0, Some(9)), (4, Some(9))]);
    }
}
