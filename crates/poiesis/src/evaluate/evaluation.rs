//! The protocol of an evaluation and its results.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use poiesis_collect::Split;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Measured;
use crate::error::{Error, Result};
use crate::run::{Machine, names};
use crate::trained::Weights;

/// The largest number of anything that is measured or drawn.
const MOST: u64 = 10_000_000;

/// How a model is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// The split to measure on; `None` takes the test split if there is one, else the validation split.
    pub split: Option<Split>,
    /// Images or points whose likelihood is measured, evenly spread over the split; `None` takes all.
    pub images: Option<usize>,
    /// Draws for each image in the importance-weighted estimate; 1 leaves it out.
    pub importance_samples: u64,
    /// Samples drawn from a model of images.
    pub samples: usize,
    /// Random directions of the sliced Wasserstein distance.
    pub directions: usize,
    /// The weights of Inception, as pytorch-fid publishes them or as safetensors; without them images are compared in the features of
    /// the data set's own network, where it has one.
    pub inception_weights: Option<PathBuf>,
    /// Episodes that an agent plays.
    pub episodes: u64,
    /// Steps after which an episode is cut off; 0 for the limit of the environment.
    pub max_steps: usize,
    /// Seed of samples, noise, directions and episodes.
    pub seed: u64,
}

impl Default for Protocol {
    fn default() -> Protocol {
        Protocol {
            split: None,
            images: None,
            importance_samples: 16,
            samples: 2000,
            directions: 512,
            inception_weights: None,
            episodes: 50,
            max_steps: 0,
            seed: 0,
        }
    }
}

impl Protocol {
    /// Returns an error for a zero where at least one is needed, and for more than fit into memory.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`].
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("images", self.images.unwrap_or(1) as u64),
            ("importance_samples", self.importance_samples),
            ("samples", self.samples as u64),
            ("directions", self.directions as u64),
            ("episodes", self.episodes),
        ];
        let Some((key, count)) = counts.into_iter().find(|(_, count)| !(1..=MOST).contains(count)) else {
            return Ok(());
        };
        let (reason, remedy) = match count {
            0 => ("nothing would be measured", "give at least 1".to_owned()),
            _ => ("it is more than any machine can hold", format!("give at most {MOST}")),
        };
        Err(Error::invalid_value(key, &count.to_string(), reason, &remedy))
    }
}

/// Everything measured of a model, and on what. In JSON the results are at the top level, under their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The run.
    pub run: String,
    /// Its model.
    pub model: String,
    /// Steps it was trained for.
    pub step: u64,
    /// Which of its weights were used.
    pub weights: Weights,
    /// The name of the data set, or of an agent's environment.
    pub data: String,
    /// The fingerprint of the data set; empty for an agent.
    pub fingerprint: String,
    /// The split that was held out; `None` for an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
    /// Seed of samples, noise, directions and episodes.
    pub seed: u64,
    /// The version of Poiesis.
    pub version: String,
    /// The machine it was measured on.
    pub machine: Machine,
    /// The result of each metric, by its name.
    #[serde(flatten)]
    pub results: BTreeMap<String, Measured>,
    /// The pairs of `memorisation.closest` as 8-bit images, a sample and then its nearest training image; not part of the JSON.
    #[serde(skip)]
    pub closest: Vec<u8>,
}

impl Evaluation {
    /// The result of a metric, as its own type; `None` when it was not measured.
    ///
    /// ```no_run
    /// # let evaluation: poiesis::evaluate::Evaluation = unimplemented!();
    /// let bound: Option<poiesis::evaluate::Bound> = evaluation.read("bound");
    /// ```
    pub fn read<T: DeserializeOwned>(&self, metric: &str) -> Option<T> {
        self.results.get(metric)?.read()
    }

    /// The evaluation as indented JSON that ends in a newline.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when it cannot be written as JSON, which is a bug.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        let malformed = |error: serde_json::Error| Error::Malformed {
            path: "the evaluation".into(),
            reason: error.to_string(),
        };
        Ok(text.map_err(malformed)? + "\n")
    }

    /// Writes the evaluation to `evaluation-STEP.json` in `run`, or to the first free one of `evaluation-STEP-2.json`, …, and
    /// returns the path. Where one of these has the same results already, nothing is written, and its path is returned.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn keep(&self, run: &Path) -> Result<PathBuf> {
        let name = format!("evaluation-{:09}", self.step);
        let is_of_step = |path: &Path| {
            path.file_name().and_then(|found| found.to_str()).is_some_and(|found| found.starts_with(&name))
        };
        let earlier = names::in_folder(run)?.into_iter().filter(|path| is_of_step(path));
        let text = self.to_json()?;
        // Reading does not give every number back exactly, so both are read.
        let own =
            serde_json::from_str(&text).map_or_else(|_| self.findings(), |own: Evaluation| own.findings());
        for path in earlier {
            // Whatever else has such a name is of no concern.
            if Evaluation::open(&path).is_ok_and(|found| found.findings() == own) {
                return Ok(path);
            }
        }
        names::write_free(run, &name, "json", text.as_bytes())
    }

    /// What was found, without when, where and how long it took.
    fn findings(&self) -> serde_json::Value {
        let plain = Evaluation { version: String::new(), machine: Machine::default(), ..self.clone() };
        let mut results = plain.results.clone();
        results.values_mut().for_each(|measured| measured.seconds = 0.0);
        serde_json::json!(Evaluation { results, ..plain })
    }

    /// Reads what [`Evaluation::keep`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Malformed`] when the file holds something else.
    pub fn open(path: &Path) -> Result<Evaluation> {
        let text = poiesis_collect::regular::read_to_string(path).map_err(Error::io("read", path))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Malformed { path: path.to_owned(), reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bound, NeighbourStatistics, SlicedWasserstein};
    use super::*;

    /// As version 0.1.0 wrote it.
    const OLD: &str = r#"{
        "run": "vae-mnist", "model": "vae", "step": 60, "weights": "averaged", "data": "mnist",
        "fingerprint": "0123456789abcdef", "split": "test", "seed": 3, "version": "0.1.0",
        "machine": { "system": "linux x86_64", "cpu": "some", "threads": 2, "memory": 1000 },
        "bound": {
            "protocol": { "images": 10, "samples": 4, "seed": 3 }, "scale": "binary", "nats": 98.5,
            "nats_error": 0.25, "reconstruction": 70.5, "kl": 28.0, "weighted_nats": 95.125,
            "bits_per_dim": 0.18, "weighted_bits_per_dim": 0.175, "seconds": 1.5
        },
        "sliced_wasserstein": {
            "images": 10, "directions": 32, "seed": 3, "distance": 2.5, "floor": 1.0, "ceiling": 30.0,
            "seconds": 0.5
        },
        "neighbours": {
            "samples": 10, "held_out": 10, "searched": 100, "sample_distance": 20.0,
            "held_out_distance": 22.0, "copied": 0.0, "variety": 0.9, "seconds": 0.25
        }
    }"#;

    #[test]
    fn earlier_files_are_read_and_kept_without_replacing_any() {
        let evaluation: Evaluation = serde_json::from_str(OLD).unwrap();
        assert_eq!((evaluation.weights, evaluation.split), (Weights::Ema, Some(Split::Test)));
        let bound: Bound = evaluation.read("bound").unwrap();
        assert_eq!((bound.nats, bound.protocol.samples), (98.5, 4));
        assert_eq!(evaluation.read::<SlicedWasserstein>("sliced_wasserstein").unwrap().ceiling, 30.0);
        assert_eq!(evaluation.read::<NeighbourStatistics>("neighbours").unwrap().searched, 100);
        assert!(evaluation.read::<Bound>("image_nll").is_none());

        let folder = tempfile::tempdir().unwrap();
        let other = Evaluation { seed: 4, ..evaluation.clone() };
        let kept = [&evaluation, &other].map(|evaluation| evaluation.keep(folder.path()).unwrap());
        let names = ["evaluation-000000060.json", "evaluation-000000060-2.json"];
        assert_eq!(kept, names.map(|name| folder.path().join(name)));
        assert_eq!(Evaluation::open(&kept[1]).unwrap(), other);
        // Once more, on another machine that took longer: the same results need no third file.
        let mut again = Evaluation { version: "0.2.0".into(), ..other };
        again.results.values_mut().for_each(|measured| measured.seconds += 1.0);
        assert_eq!(again.keep(folder.path()).unwrap(), kept[1]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        for path in &kept[..1] {
            assert_eq!(Evaluation::open(path).unwrap(), evaluation);
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&std::fs::read_to_string(path).unwrap()), value(OLD));
        }
    }

    #[test]
    fn a_protocol_has_defaults_and_measures_something() {
        let protocol: Protocol = serde_json::from_str(r#"{ "samples": 50, "split": "validation" }"#).unwrap();
        assert_eq!((protocol.samples, protocol.directions), (50, 512));
        assert!(protocol.check().is_ok());
        for text in [r#"{ "samples": 0 }"#, r#"{ "images": 0 }"#, r#"{ "importance_samples": 0 }"#] {
            let protocol: Protocol = serde_json::from_str(text).unwrap();
            assert!(protocol.check().unwrap_err().to_string().contains("cannot be 0"), "{text}");
        }
        let protocol = Protocol { directions: usize::MAX, ..Protocol::default() };
        assert!(protocol.check().unwrap_err().to_string().contains("`directions`"));
        assert!(serde_json::from_str::<Protocol>(r#"{ "sample": 1 }"#).is_err());
    }
}
