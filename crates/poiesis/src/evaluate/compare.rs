//! The evaluations of several runs side by side, where they were measured alike.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{Evaluation, Measured};
use crate::error::{Error, Result};
use crate::run::{Run, names};

/// Which values are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Smaller ones.
    Lower,
    /// Larger ones.
    Higher,
}

impl Better {
    /// The direction in a word.
    pub fn name(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
        }
    }
}

/// A value that is compared.
struct Known {
    metric: &'static str,
    key: &'static str,
    /// The key of its standard error or deviation.
    error: Option<&'static str>,
    title: &'static str,
    unit: &'static str,
    better: Better,
}

const fn known(
    metric: &'static str,
    key: &'static str,
    error: Option<&'static str>,
    title: &'static str,
    unit: &'static str,
    better: Better,
) -> Known {
    Known { metric, key, error, title, unit, better }
}

/// What is compared, in the order in which it is shown. A title that is empty is the name that the result has.
static KNOWN: &[Known] = &[
    known("bound", "nats", Some("nats_error"), "negative log-likelihood, bound", "nats", Better::Lower),
    known("bound", "weighted_nats", None, "negative log-likelihood, weighted", "nats", Better::Lower),
    known("image_nll", "nats", Some("nats_error"), "negative log-likelihood", "nats", Better::Lower),
    known("point_nll", "nats", Some("nats_error"), "negative log-likelihood", "nats", Better::Lower),
    known(
        "token_nll",
        "nats",
        Some("nats_error"),
        "negative log-likelihood",
        "nats per token",
        Better::Lower,
    ),
    known("mode_coverage", "found", None, "modes found", "modes", Better::Higher),
    known("mode_coverage", "near", None, "samples near a mode", "fraction", Better::Higher),
    known("classification", "error", None, "classification error", "fraction", Better::Lower),
    known("classification", "calibration_error", None, "calibration error", "probability", Better::Lower),
    known(
        "objects",
        "count_accuracy",
        Some("standard_error"),
        "images counted right",
        "fraction",
        Better::Higher,
    ),
    known("objects", "iou", None, "intersection over union of boxes", "fraction", Better::Higher),
    known("return", "mean", Some("standard_error"), "return, most probable actions", "", Better::Higher),
    known(
        "return",
        "normalised",
        None,
        "of the way to the expert, most probable actions",
        "",
        Better::Higher,
    ),
    known("sampled_return", "mean", Some("standard_error"), "return, drawn actions", "", Better::Higher),
    known(
        "sampled_return",
        "normalised",
        None,
        "of the way to the expert, drawn actions",
        "",
        Better::Higher,
    ),
    known(
        "sliced_wasserstein",
        "distance",
        None,
        "sliced Wasserstein distance",
        "grey levels",
        Better::Lower,
    ),
    known("frechet_distance", "distance", None, "", "", Better::Lower),
    known("kernel_distance", "distance", Some("deviation"), "", "", Better::Lower),
    known("inception_score", "score", Some("deviation"), "", "classes", Better::Higher),
    known("class_coverage", "found", None, "classes found", "classes", Better::Higher),
    known("class_coverage", "kl", None, "divergence of classes", "nats", Better::Lower),
    known("precision_recall", "precision", None, "precision", "fraction", Better::Higher),
    known("precision_recall", "recall", None, "recall", "fraction", Better::Higher),
    known("density_coverage", "density", None, "density", "", Better::Higher),
    known("density_coverage", "coverage", None, "coverage", "fraction", Better::Higher),
    known("neighbours", "copied", None, "samples too close to training images", "fraction", Better::Lower),
    known("memorisation", "authentic", None, "authentic samples", "fraction", Better::Higher),
];

/// Values of results that say how they were measured. Results are comparable where they are equal.
const PROTOCOL: [&str; 23] = [
    "protocol",
    "environment",
    "policy",
    "episodes",
    "max_steps",
    "encoding",
    "scale",
    "images",
    "points",
    "tokens",
    "window",
    "stride",
    "samples",
    "directions",
    "modes",
    "chosen",
    "features",
    "dims",
    "subset",
    "subsets",
    "splits",
    "neighbours",
    "searched",
];

/// An interval reaches this many errors to either side of a value: 95 % of a normal distribution.
const REACH: f64 = 1.96;

/// A run with the evaluation that is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The run.
    pub run: String,
    /// Its model.
    pub model: String,
    /// Steps it was trained for.
    pub step: u64,
    /// The weights that were used, in a word.
    pub weights: &'static str,
}

/// A value of one run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ComparedValue {
    /// The value.
    pub value: f64,
    /// Its standard error, or its deviation over subsets, where that is known.
    pub error: Option<f64>,
}

impl ComparedValue {
    fn interval(self) -> (f64, f64) {
        let reach = REACH * self.error.unwrap_or(0.0);
        (self.value - reach, self.value + reach)
    }

    /// Whether errors are known and the intervals of both overlap.
    fn may_equal(self, other: ComparedValue) -> bool {
        let ((low, high), (other_low, other_high)) = (self.interval(), other.interval());
        self.error.is_some() && other.error.is_some() && low <= other_high && other_low <= high
    }
}

/// One value of all runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The metric.
    pub metric: &'static str,
    /// What it is called.
    pub name: String,
    /// Its unit; empty where it has none.
    pub unit: &'static str,
    /// Which values are better.
    pub better: Better,
    /// The value of each run, in their order; `None` where it was not measured.
    pub values: Vec<Option<ComparedValue>>,
    /// Which runs have the best value.
    pub best: Vec<usize>,
    /// Which other runs do not differ from the best by more than their errors.
    pub no_difference: Vec<usize>,
}

/// Runs side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The name of the data that all were measured on.
    pub data: String,
    /// Their fingerprint.
    pub fingerprint: String,
    /// The split that all were measured on; `None` for agents.
    pub split: Option<String>,
    /// The seed of all.
    pub seed: u64,
    /// The runs.
    pub runs: Vec<Compared>,
    /// What was measured of at least one of them.
    pub rows: Vec<Row>,
}

impl Evaluation {
    /// The latest evaluation that was kept in a run: that of most steps, and of those the last one. `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::NotARun`]; [`Error::Io`]; [`Error::Malformed`] when it holds something else.
    pub fn latest(run: &Path) -> Result<Option<(PathBuf, Evaluation)>> {
        Run::open(run)?;
        let numbered = |path: PathBuf| Some((order(&path)?, path));
        let latest = names::in_folder(run)?.into_iter().filter_map(numbered).max();
        latest.map(|(_, path)| Ok((path.clone(), Evaluation::open(&path)?))).transpose()
    }
}

/// The step and the number of `evaluation-STEP.json` or `evaluation-STEP-NUMBER.json`.
fn order(path: &Path) -> Option<(u64, u64)> {
    let name = path.file_name()?.to_str()?.strip_prefix("evaluation-")?.strip_suffix(".json")?;
    let (step, number) = name.split_once('-').unwrap_or((name, "1"));
    Some((step.parse().ok()?, number.parse().ok()?))
}

impl Comparison {
    /// Puts evaluations of runs, called by their names, side by side.
    ///
    /// # Errors
    ///
    /// [`Error::NotComparable`] when there are fewer than two, or when they were not measured alike.
    pub fn of(evaluations: &[(String, Evaluation)]) -> Result<Comparison> {
        let [(_, first), _, ..] = evaluations else {
            return Err(Error::NotComparable {
                reason: "one run cannot be compared".into(),
                remedy: "give two or more".into(),
            });
        };
        expect_alike(evaluations)?;
        let compared = |(run, evaluation): &(String, Evaluation)| Compared {
            run: run.clone(),
            model: evaluation.model.clone(),
            step: evaluation.step,
            weights: evaluation.weights.name(),
        };
        Ok(Comparison {
            data: first.data.clone(),
            fingerprint: first.fingerprint.clone(),
            split: first.split.map(|split| split.to_string()),
            seed: first.seed,
            runs: evaluations.iter().map(compared).collect(),
            rows: KNOWN.iter().filter_map(|known| row(known, evaluations)).collect(),
        })
    }
}

fn row(known: &Known, evaluations: &[(String, Evaluation)]) -> Option<Row> {
    let measured = |(_, evaluation): &(String, Evaluation)| -> Option<ComparedValue> {
        let values = &evaluation.results.get(known.metric)?.values;
        let number = |key: &str| values.get(key).and_then(Value::as_f64);
        Some(ComparedValue { value: number(known.key)?, error: known.error.and_then(number) })
    };
    let values: Vec<Option<ComparedValue>> = evaluations.iter().map(measured).collect();
    let sign = if known.better == Better::Lower { 1.0 } else { -1.0 };
    let found = || values.iter().enumerate().filter_map(|(run, value)| Some((run, (*value)?)));
    let (_, winner) = found().min_by(|(_, a), (_, b)| (sign * a.value).total_cmp(&(sign * b.value)))?;
    let best: Vec<usize> =
        found().filter(|(_, value)| value.value == winner.value).map(|(run, _)| run).collect();
    let near = found().filter(|(run, value)| !best.contains(run) && value.may_equal(winner));
    let no_difference = near.map(|(run, _)| run).collect();
    let named = |evaluation: &Evaluation| {
        evaluation.results.get(known.metric)?.values.get("name")?.as_str().map(str::to_owned)
    };
    let own = evaluations.iter().find_map(|(_, evaluation)| named(evaluation));
    let name = if known.title.is_empty() { own.unwrap_or_default() } else { known.title.to_owned() };
    Some(Row {
        metric: known.metric,
        name,
        unit: known.unit,
        better: known.better,
        values,
        best,
        no_difference,
    })
}

/// Returns an error that names everything in which the evaluations were not measured alike.
fn expect_alike(evaluations: &[(String, Evaluation)]) -> Result<()> {
    let (first_run, first) = &evaluations[0];
    let mut differences = Vec::new();
    for (run, other) in &evaluations[1..] {
        let mut differ = |what: &str, a: &str, b: &str| {
            if a != b {
                differences.push(format!("{what} is {a} for {first_run} and {b} for {run}"));
            }
        };
        let short = |evaluation: &Evaluation| {
            let fingerprint = &evaluation.fingerprint;
            format!("{} ({}…)", evaluation.data, fingerprint.get(..12).unwrap_or(fingerprint))
        };
        // Data are what they contain, whatever they are called.
        if first.fingerprint != other.fingerprint {
            differ("the data", &short(first), &short(other));
        }
        let split = |evaluation: &Evaluation| {
            evaluation.split.map_or_else(|| "none".to_owned(), |split| split.to_string())
        };
        differ("the split", &split(first), &split(other));
        differ("the seed", &first.seed.to_string(), &other.seed.to_string());
        for (metric, measured) in &first.results {
            let Some(theirs) = other.results.get(metric) else { continue };
            for key in PROTOCOL {
                let shown = |measured: &Measured| measured.values.get(key).map(plain);
                if let (Some(a), Some(b)) = (shown(measured), shown(theirs)) {
                    differ(&format!("{metric}.{key}"), &a, &b);
                }
            }
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::NotComparable {
        reason: format!("these runs were not measured alike: {}", differences.join("; ")),
        remedy: "evaluate them on the same data or in the same environment, with the same split, seed, numbers and feature network"
            .into(),
    })
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(change: &dyn Fn(&mut Value)) -> Evaluation {
        let mut value = serde_json::json!({
            "run": "a", "model": "vae", "step": 60, "weights": "averaged", "data": "mnist",
            "fingerprint": "0123456789abcdef", "split": "test", "seed": 3, "version": "0.1.0",
            "machine": { "system": "linux", "cpu": "some", "threads": 2, "memory": 1000 },
            "bound": { "protocol": { "images": 10, "samples": 4, "seed": 3 }, "nats": 98.5, "nats_error": 0.25,
                       "weighted_nats": 97.0, "seconds": 1.5 },
            "frechet_distance": { "name": "FD[x-01234567]", "features": "x-01234567", "dims": 64, "images": 500,
                                  "chosen": "random", "distance": 12.5, "floor": 1.0, "seconds": 0.5 },
            "precision_recall": { "images": 500, "neighbours": 3, "precision": 0.5, "recall": 0.25, "seconds": 0.5 },
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    fn compare(changes: &[&dyn Fn(&mut Value)]) -> Result<Comparison> {
        let named = |(i, change): (usize, &&dyn Fn(&mut Value))| (format!("runs/{i}"), evaluation(*change));
        Comparison::of(&changes.iter().enumerate().map(named).collect::<Vec<_>>())
    }

    #[test]
    fn the_best_of_each_row_is_marked_in_its_direction() {
        let found = compare(&[&|_| (), &|other| {
            other["bound"]["nats"] = 99.0.into();
            other["frechet_distance"]["distance"] = 12.0.into();
            other["precision_recall"]["recall"] = 0.75.into();
        }])
        .unwrap();
        let row = |name: &str| found.rows.iter().find(|row| row.name == name).unwrap();
        // 98.5 ± 0.49 and 99 ± 0.49 overlap.
        let bound = row("negative log-likelihood, bound");
        assert_eq!(
            (&bound.best[..], &bound.no_difference[..], bound.better),
            (&[0][..], &[1][..], Better::Lower)
        );
        let distance = row("FD[x-01234567]");
        assert_eq!(
            (&distance.best[..], &distance.no_difference[..]),
            (&[1][..], &[][..]),
            "no errors are known"
        );
        assert_eq!((&row("recall").best[..], row("recall").better), (&[1][..], Better::Higher));
        assert_eq!(row("precision").best, [0, 1], "a draw");
        assert!(found.rows.iter().all(|row| row.metric != "kernel_distance"));
    }

    #[test]
    fn errors_that_are_small_tell_runs_apart_and_missing_values_are_no_winners() {
        let found = compare(&[
            &|one| one["bound"] = serde_json::json!({ "seconds": 0.0 }),
            &|two| two["bound"]["nats"] = 97.0.into(),
            &|_| (),
        ]);
        let bound = &found.unwrap().rows[0];
        assert_eq!((&bound.best[..], &bound.no_difference[..]), (&[1][..], &[][..]));
        assert_eq!(bound.values[0], None);
    }

    #[test]
    fn unlike_protocols_are_refused_by_name() {
        let refused = |change: &dyn Fn(&mut Value)| compare(&[&|_| (), change]).unwrap_err().to_string();
        let message = refused(&|other| {
            other["fingerprint"] = "fedcba9876543210".into();
            other["split"] = "validation".into();
            other["seed"] = 4.into();
        });
        for part in [
            "the data is mnist (0123456789ab…) for runs/0 and mnist (fedcba987654…) for runs/1",
            "the split is test for runs/0 and validation for runs/1",
            "the seed is 3 for runs/0 and 4 for runs/1",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let message = refused(&|other| other["frechet_distance"]["features"] = "y-01234567".into());
        assert!(
            message.contains("frechet_distance.features is x-01234567 for runs/0 and y-01234567"),
            "{message}"
        );
        let message = refused(&|other| other["bound"]["protocol"]["samples"] = 16.into());
        assert!(message.contains("bound.protocol is {\"images\":10,\"samples\":4"), "{message}");
        assert!(
            refused(&|other| other["precision_recall"]["images"] = 9.into())
                .contains("precision_recall.images")
        );
        assert!(compare(&[&|_| ()]).unwrap_err().to_string().contains("one run"));
        // The name of the data, the model and the weights may differ.
        assert!(compare(&[&|_| (), &|other| other["data"] = "digits".into()]).is_ok());
    }

    #[test]
    fn agents_are_compared_in_one_environment_by_their_returns() {
        let agent = |mean: f64, environment: &str| {
            let mut found = evaluation(&|_| ());
            (found.split, found.fingerprint, found.data) = (None, String::new(), environment.into());
            let values = serde_json::json!({
                "environment": environment, "policy": "mode", "episodes": 50, "max_steps": 0, "seed": 3, "mean": mean,
                "standard_error": 2.0, "seconds": 0.5,
            });
            found.results = [("return".to_owned(), serde_json::from_value(values).unwrap())].into();
            (environment.to_owned(), found)
        };
        let found = Comparison::of(&[agent(100.0, "hopper"), agent(120.0, "hopper")]).unwrap();
        assert_eq!((found.split, found.rows.len(), &found.rows[0].best[..]), (None, 1, &[1][..]));
        let error = Comparison::of(&[agent(100.0, "hopper"), agent(90.0, "walker2d")]).unwrap_err();
        assert!(
            error.to_string().contains("return.environment is hopper for hopper and walker2d"),
            "{error}"
        );
        // Nor is an agent compared with a model of images.
        let image = ("image".to_owned(), evaluation(&|_| ()));
        let error = Comparison::of(&[agent(100.0, "hopper"), image]).unwrap_err().to_string();
        assert!(error.contains("the split is none for hopper and test for image"), "{error}");
    }

    #[test]
    fn the_latest_evaluation_has_most_steps_and_then_the_highest_number() {
        let order = |name: &str| order(Path::new(name));
        assert_eq!(order("run/evaluation-000000060.json"), Some((60, 1)));
        assert_eq!(order("evaluation-000000060-12.json"), Some((60, 12)));
        for other in ["evaluation-000000060.png", "evaluation-x.json", "evaluation.json", "run.json"] {
            assert_eq!(order(other), None, "{other}");
        }
    }
}
