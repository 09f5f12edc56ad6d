//! The evaluations of several runs side by side, where they were measured alike.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::known::{KNOWN, Known};
use super::{Better, ComparedValue, Evaluation, Measured};
use crate::error::{Error, Result};
use crate::run::{Run, names};

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

/// One value of all runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The metric.
    pub metric: String,
    /// What it is called.
    pub name: String,
    /// Its unit; empty where it has none.
    pub unit: &'static str,
    /// Which values are better; `None` where that is not known, and then none is the best.
    pub better: Option<Better>,
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
    /// The files of the evaluations that were kept in a run: those of few steps first, and of the same step in the order in which they
    /// were made.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn paths(run: &Path) -> Result<Vec<PathBuf>> {
        let numbered = |path: PathBuf| Some((order(&path)?, path));
        let mut found: Vec<_> = names::in_folder(run)?.into_iter().filter_map(numbered).collect();
        found.sort();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// The latest evaluation that was kept in a run: that of most steps, and of those the last one. `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::NotARun`]; [`Error::Io`]; [`Error::Malformed`] when it holds something else.
    pub fn latest(run: &Path) -> Result<Option<(PathBuf, Evaluation)>> {
        Run::open(run)?;
        let latest = Evaluation::paths(run)?.pop();
        latest.map(|path| Ok((path.clone(), Evaluation::open(&path)?))).transpose()
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
            rows: rows(&evaluations.iter().map(|(_, evaluation)| Some(evaluation)).collect::<Vec<_>>()),
        })
    }
}

/// The rows of what at least one of these runs has; `None` for a run without an evaluation.
pub(super) fn rows(evaluations: &[Option<&Evaluation>]) -> Vec<Row> {
    KNOWN.iter().filter_map(|known| row(known, evaluations)).collect()
}

fn row(known: &Known, evaluations: &[Option<&Evaluation>]) -> Option<Row> {
    let values: Vec<Option<ComparedValue>> =
        evaluations.iter().map(|evaluation| known.value((*evaluation)?)).collect();
    let name = known.name(evaluations.iter().copied().flatten());
    let mut row = Row::of(known.metric, name, known.unit, Some(known.better), values)?;
    // One example says nothing of which is better on others.
    if evaluations.iter().copied().flatten().any(|evaluation| known.is_of_one(evaluation)) {
        (row.best, row.no_difference) = (Vec::new(), Vec::new());
    }
    Some(row)
}

impl Row {
    /// A row of these values, the best of them marked where it is known which are better; `None` where no run has one.
    pub(super) fn of(
        metric: &str,
        name: String,
        unit: &'static str,
        better: Option<Better>,
        values: Vec<Option<ComparedValue>>,
    ) -> Option<Row> {
        let found = || values.iter().enumerate().filter_map(|(run, value)| Some((run, (*value)?)));
        found().next()?;
        let (mut best, mut no_difference) = (Vec::new(), Vec::new());
        let ordered =
            better.and_then(|better| found().min_by(|(_, a), (_, b)| better.order(a.value, b.value)));
        if let Some((_, winner)) = ordered {
            let equal = found().filter(|(_, value)| value.value == winner.value);
            best.extend(equal.map(|(run, _)| run));
            let near = found().filter(|(run, value)| !best.contains(run) && value.may_equal(winner));
            no_difference.extend(near.map(|(run, _)| run));
        }
        Some(Row { metric: metric.to_owned(), name, unit, better, values, best, no_difference })
    }
}

/// Returns an error that names everything in which the evaluations were not measured alike.
pub(super) fn expect_alike(evaluations: &[(String, Evaluation)]) -> Result<()> {
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
            (&[0][..], &[1][..], Some(Better::Lower))
        );
        let distance = row("FD[x-01234567]");
        assert_eq!(
            (&distance.best[..], &distance.no_difference[..]),
            (&[1][..], &[][..]),
            "no errors are known"
        );
        assert_eq!((&row("recall").best[..], row("recall").better), (&[1][..], Some(Better::Higher)));
        assert_eq!(row("precision").best, [0, 1], "a draw");
        assert!(found.rows.iter().all(|row| row.metric != "kernel_distance"));
    }

    /// The row of this metric and name, of two runs that differ in this value alone.
    fn row_of(
        metric: &str,
        rest: &Value,
        (key, values): (&str, [f64; 2]),
        name: &str,
    ) -> (Vec<usize>, Vec<usize>, Option<f64>) {
        let named = values.map(|value| {
            let mut found = evaluation(&|_| ());
            let mut measured = rest.clone();
            measured["seconds"] = 0.5.into();
            measured[key] = value.into();
            found.results = [(metric.to_owned(), serde_json::from_value(measured).unwrap())].into();
            (format!("runs/{value}"), found)
        });
        let rows = Comparison::of(&named).unwrap().rows;
        let row = rows.into_iter().find(|row| row.name == name).unwrap();
        (row.best, row.no_difference, row.values[0].unwrap().error)
    }

    #[test]
    fn nothing_is_the_best_of_one_example() {
        let nothing = (Vec::new(), Vec::new(), None);
        let images = |images: u64| serde_json::json!({ "images": images });
        let error =
            |count| row_of("classification", &images(count), ("error", [1.0, 0.0]), "classification error");
        assert_eq!((error(1), error(2).0), (nothing.clone(), vec![1]));
        let boxes = row_of("objects", &images(1), ("iou", [0.5, 0.75]), "intersection over union of boxes");
        assert_eq!(boxes, nothing);
        // Earlier versions saved an error of 0.
        for error in [Value::Null, 0.0.into()] {
            let bound = |images: u64| {
                let protocol = serde_json::json!({ "images": images, "samples": 4, "seed": 3 });
                serde_json::json!({ "protocol": protocol, "nats_error": error, "weighted_nats": 97.0 })
            };
            let title = "negative log-likelihood, bound";
            assert_eq!(row_of("bound", &bound(1), ("nats", [99.0, 98.0]), title), nothing);
            assert_eq!(row_of("bound", &bound(9), ("nats", [99.0, 98.0]), title).0, [1]);
            let weighted = "negative log-likelihood, weighted";
            assert_eq!(row_of("bound", &bound(1), ("weighted_nats", [99.0, 98.0]), weighted), nothing);
            let window = serde_json::json!({ "tokens": 31, "window": 32, "stride": 16, "nats_error": error });
            assert_eq!(
                row_of("token_nll", &window, ("nats", [1.0, 2.0]), "negative log-likelihood"),
                nothing
            );
            let episode = serde_json::json!({ "episodes": 1, "standard_error": error, "normalised": 0.5 });
            let title = "return, most probable actions";
            assert_eq!(row_of("return", &episode, ("mean", [1.0, 2.0]), title), nothing);
        }
    }

    #[test]
    fn a_distance_of_one_subset_has_a_best_though_no_deviation() {
        let distance = |images: u64| {
            let rest = serde_json::json!({
                "name": "KD[x-01234567]", "images": images, "subset": images, "subsets": 1, "deviation": null,
            });
            row_of("kernel_distance", &rest, ("distance", [0.25, 0.5]), "KD[x-01234567]")
        };
        assert_eq!(distance(500), (vec![0], Vec::new(), None));
        assert_eq!(distance(1), (Vec::new(), Vec::new(), None));
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
