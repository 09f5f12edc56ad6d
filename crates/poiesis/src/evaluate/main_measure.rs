//! The most telling measure of a run, chosen by a rule from what was measured of it.
//!
//! In this order: the likelihood of held-out examples, as it was last evaluated or measured during training; the first of [`MAIN`] in the
//! latest evaluation; what training itself reports, which is then said.

use std::path::Path;

use poiesis_collect::Split;
use serde::Serialize;
use serde_json::Value;

use super::known::is_of_one;
use super::likelihood_unit::{LikelihoodOf, LikelihoodUnit};
use super::{Better, Evaluation, Measured};
use crate::data::{DataSpec, PixelEncoding};
use crate::error::Result;
use crate::run::Run;
use crate::run::history::{self, Latest};
use crate::run::metrics::HELD_OUT;

/// Where a measure is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MeasuredBy {
    /// The run's latest evaluation.
    Evaluation,
    /// The last measurement on held-out examples during training.
    Validation,
    /// The last report of training, on the examples it learned from.
    Training,
}

/// The most telling measure of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MainMeasure {
    /// What it is called, in a word: `bits/dim`, `return`, `FD`. Of what training reports, its own name.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its standard error, where that is known.
    pub error: Option<f64>,
    /// Its unit; empty where it has none, or the name says it.
    pub unit: &'static str,
    /// Which values are better, where that is known.
    pub better: Option<Better>,
    /// Where it is from.
    pub by: MeasuredBy,
    /// The split it was measured on; `None` where it is none of a data set, as for agents.
    pub split: Option<Split>,
    /// Steps the model was trained for.
    pub step: u64,
}

/// The main value of a metric.
struct Main {
    metric: &'static str,
    key: &'static str,
    /// The key of its standard error.
    error: &'static str,
    /// What it is called; empty for the name that the result has.
    name: &'static str,
    unit: &'static str,
    better: Better,
    /// By what it is multiplied.
    times: f64,
}

/// The main values of an evaluation without a likelihood, the most telling first.
static MAIN: [Main; 7] = [
    Main { metric: "return", key: "mean", name: "return", better: Better::Higher, ..PLAIN },
    Main { metric: "sampled_return", key: "mean", name: "return", better: Better::Higher, ..PLAIN },
    Main { metric: "classification", key: "error", name: "error", unit: "%", times: 100.0, ..PLAIN },
    Main {
        metric: "objects",
        key: "count_accuracy",
        name: "counted right",
        unit: "%",
        better: Better::Higher,
        times: 100.0,
        ..PLAIN
    },
    Main { metric: "mode_coverage", key: "found", name: "modes", better: Better::Higher, ..PLAIN },
    Main { metric: "frechet_distance", ..PLAIN },
    Main { metric: "sliced_wasserstein", name: "SWD", unit: "grey levels", ..PLAIN },
];

const PLAIN: Main = Main {
    metric: "",
    key: "distance",
    error: "standard_error",
    name: "",
    unit: "",
    better: Better::Lower,
    times: 1.0,
};

/// The metrics of training that say most, the first of which a run has is shown; without any it is the first that is reported.
const OF_TRAINING: [&str; 5] = ["held_out_nll", "return", "bits_per_dim", "bound", "nll"];

/// Which values of a metric in `metrics.jsonl` are better; `None` for one that says nothing by itself, such as the loss of a
/// discriminator.
pub fn better_of(metric: &str) -> Option<Better> {
    match metric {
        "return" => Some(Better::Higher),
        "held_out_nll" | "bits_per_dim" | "bound" | "nll" => Some(Better::Lower),
        name if name.starts_with(HELD_OUT) => Some(Better::Lower),
        _ => None,
    }
}

impl MainMeasure {
    /// The most telling measure of a run; `None` where nothing was measured yet.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`]; [`crate::Error::Malformed`] when an evaluation cannot be read.
    pub fn of(run: &Run) -> Result<Option<MainMeasure>> {
        let latest = history::latest(&run.metrics_path())?;
        let evaluation = evaluation_of(run.path())?;
        let spec = run.info().data.spec().ok();
        let evaluated = evaluation.as_ref().and_then(|found| likelihood_of(found, spec.as_ref()?));
        let measured_later = |step: u64| evaluated.as_ref().is_none_or(|found| step > found.step);
        let validated = match &latest.held_out {
            Some((step, name, nats)) if measured_later(*step) => Some(validated(run, *step, name, *nats)),
            _ => None,
        };
        Ok(validated
            .or(evaluated)
            .or_else(|| evaluation.as_ref().and_then(main_value))
            .or_else(|| of_training(&latest)))
    }
}

/// The latest evaluation in the folder of a run.
fn evaluation_of(run: &Path) -> Result<Option<Evaluation>> {
    Evaluation::paths(run)?.pop().map(|path| Evaluation::open(&path)).transpose()
}

/// What a likelihood is of, by how pixels were encoded.
type MeasuredOf = fn(PixelEncoding) -> LikelihoodOf;

/// The likelihood that was evaluated.
fn likelihood_of(evaluation: &Evaluation, spec: &DataSpec) -> Option<MainMeasure> {
    let encoding = |measured: &Measured| -> Option<PixelEncoding> {
        serde_json::from_value(measured.values.get("scale")?.clone()).ok()
    };
    let kinds: [(&str, MeasuredOf); 4] = [
        ("bound", LikelihoodOf::BoundedImage),
        ("image_nll", LikelihoodOf::Image),
        ("point_nll", |_| LikelihoodOf::Point),
        ("token_nll", |_| LikelihoodOf::Token),
    ];
    let (measured, of) =
        kinds.into_iter().find_map(|(name, of)| Some((evaluation.results.get(name)?, of)))?;
    let unit = of(encoding(measured).unwrap_or(PixelEncoding::Binary)).unit(spec);
    let number = |key: &str| measured.values.get(key).and_then(Value::as_f64);
    // For one example earlier versions saved 0.
    let error = number("nats_error").filter(|_| !is_of_one(&measured.values));
    Some(MainMeasure {
        error: error.map(|error| error * unit.per_nat),
        split: evaluation.split,
        ..in_unit(unit, number("nats")?, evaluation.step, MeasuredBy::Evaluation)
    })
}

/// What was last measured on held-out examples during training. Where the run's configuration cannot be read, which says its unit, it keeps
/// its name and is in nats.
fn validated(run: &Run, step: u64, name: &str, nats: f64) -> MainMeasure {
    let plain = LikelihoodUnit { name: "", unit: "nats", per_nat: 1.0 };
    let unit = held_out_unit(run).unwrap_or(plain);
    let found = in_unit(unit, nats, step, MeasuredBy::Validation);
    MainMeasure {
        name: if unit.name.is_empty() { name.to_owned() } else { found.name },
        split: Some(held_out_split(run)),
        ..found
    }
}

/// The split that training measures on: the validation split, or the test split where there is no other.
fn held_out_split(run: &Run) -> Split {
    let counts = &run.info().data.counts;
    let has_validation = counts.iter().any(|(split, _)| *split == Split::Validation.to_string());
    if has_validation || counts.is_empty() { Split::Validation } else { Split::Test }
}

/// The unit of what training measures on held-out examples; `None` where the configuration does not say it.
pub(super) fn held_out_unit(run: &Run) -> Option<LikelihoodUnit> {
    let spec = run.info().data.spec().ok()?;
    let of = LikelihoodOf::of_run(run, &spec).ok().flatten()?;
    Some(of.unit(&spec))
}

fn in_unit(unit: LikelihoodUnit, nats: f64, step: u64, by: MeasuredBy) -> MainMeasure {
    MainMeasure {
        name: unit.name.to_owned(),
        value: nats * unit.per_nat,
        error: None,
        unit: unit.unit,
        better: Some(Better::Lower),
        by,
        split: None,
        step,
    }
}

/// The first of [`MAIN`] that was evaluated.
fn main_value(evaluation: &Evaluation) -> Option<MainMeasure> {
    MAIN.iter().find_map(|main| {
        let values = &evaluation.results.get(main.metric)?.values;
        let number = |key: &str| Some(values.get(key)?.as_f64()? * main.times);
        // The features are part of a name such as `FD[features-of-mnist]`.
        let own = || values.get("name").and_then(Value::as_str).and_then(|own| own.split('[').next());
        let name = if main.name.is_empty() { own().unwrap_or(main.metric) } else { main.name };
        Some(MainMeasure {
            name: name.to_owned(),
            value: number(main.key)?,
            error: number(main.error).filter(|_| !is_of_one(values)),
            unit: main.unit,
            better: Some(main.better),
            by: MeasuredBy::Evaluation,
            split: evaluation.split,
            step: evaluation.step,
        })
    })
}

fn of_training(latest: &Latest) -> Option<MainMeasure> {
    let named = |name: &&str| latest.training.iter().find(|(known, _)| known == name);
    let (name, value) = OF_TRAINING.iter().find_map(named).or(latest.training.first())?;
    let held_out = name.starts_with("held_out_");
    Some(MainMeasure {
        name: name.clone(),
        value: *value,
        error: None,
        unit: "",
        better: better_of(name),
        by: if held_out { MeasuredBy::Validation } else { MeasuredBy::Training },
        split: None,
        step: latest.step,
    })
}

#[cfg(test)]
mod tests;
