//! Whole runs side by side: the settings that differ, what was measured during training, and the latest evaluations.

use serde::Serialize;

use super::compare::{expect_alike, rows};
use super::main_measure::{better_of, held_out_unit};
use super::{Better, ComparedValue, Evaluation, Row};
use crate::catalogue::{self, Setting};
use crate::data::Content;
use crate::error::{Error, Result};
use crate::run::history::{Curve, curves};
use crate::run::{DataInfo, Run, State, metrics};

/// A run that is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRun {
    /// The run.
    pub run: String,
    /// Its model.
    pub model: String,
    /// The name of its data.
    pub data: String,
    /// Their fingerprint.
    pub fingerprint: String,
    /// Its state.
    pub state: State,
    /// Whether a process is training in it now; one whose state is running and that is not in use was killed.
    pub in_use: bool,
    /// Steps done.
    pub step: u64,
    /// Steps to train.
    pub steps: u64,
    /// Seconds of training.
    pub elapsed: f64,
    /// Numbers that are trained; `None` where this version does not know the model.
    pub parameters: Option<u64>,
}

/// A setting that is not the same in all runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComparedSetting {
    /// The dotted key.
    pub key: String,
    /// The value of each run as TOML, in their order; `None` where its model has no such setting.
    pub values: Vec<Option<String>>,
}

/// Runs side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunComparison {
    /// The runs.
    pub runs: Vec<ComparedRun>,
    /// The settings that differ. One that not every model has is left out where it has its default.
    pub settings: Vec<ComparedSetting>,
    /// How many settings all have alike.
    pub equal: usize,
    /// What was measured during training: on held-out examples the last and the best value, of training the mean over the last tenth of
    /// the steps.
    pub logged: Vec<Row>,
    /// The latest evaluation of each run.
    pub evaluated: Vec<Row>,
    /// Why the best values are not marked everywhere.
    pub notes: Vec<String>,
    /// The metrics of each run over its steps; not part of the JSON.
    #[serde(skip)]
    pub curves: Vec<Vec<Curve>>,
}

impl RunComparison {
    /// Puts runs, called by their names, side by side.
    ///
    /// # Errors
    ///
    /// [`Error::NotComparable`] when there are fewer than two; [`Error::Config`], [`Error::Malformed`] and [`Error::Io`] when their files
    /// cannot be read.
    pub fn of(runs: &[(String, Run)]) -> Result<RunComparison> {
        if runs.len() < 2 {
            return Err(Error::NotComparable {
                reason: "one run cannot be compared".into(),
                remedy: "give two or more".into(),
            });
        }
        let mut notes = Vec::new();
        let (settings, equal) = settings(runs)?;
        let same_data = runs.iter().all(|(_, run)| is_same_data(&runs[0].1.info().data, &run.info().data));
        if !same_data {
            notes.push("they learned from different data, so no measure of training is marked".to_owned());
        }
        let read = |(_, run): &(String, Run)| Ok(curves(&metrics::read(&run.metrics_path())?));
        let histories = runs.iter().map(read).collect::<Result<Vec<Vec<Curve>>>>()?;
        let mut logged = held_out_rows(runs, &histories);
        logged.extend(training_rows(&histories));
        if !same_data {
            logged.iter_mut().for_each(unmark);
        }
        let evaluated = evaluated_rows(runs, &mut notes)?;
        let compared = runs.iter().zip(&histories).map(|((name, run), curves)| facts(name, run, curves));
        let compared = compared.collect();
        Ok(RunComparison { runs: compared, settings, equal, logged, evaluated, notes, curves: histories })
    }
}

fn facts(name: &str, run: &Run, curves: &[Curve]) -> ComparedRun {
    let info = run.info();
    let logged = curves.iter().filter_map(Curve::last).map(|(step, _)| step).max();
    ComparedRun {
        run: name.to_owned(),
        model: info.model.clone(),
        data: info.data.name.clone(),
        fingerprint: info.data.fingerprint.clone(),
        state: info.state,
        in_use: info.state == State::Running && run.in_use(),
        // `run.json` of a run that is being trained lags behind.
        step: info.last_step.max(logged.unwrap_or(0)),
        steps: info.steps,
        elapsed: info.elapsed,
        parameters: parameters(run).ok().map(|parts| parts.iter().map(|(_, count)| *count as u64).sum()),
    }
}

/// The number of parameters of each part of a run's model, by its configuration: no weights are read.
///
/// # Errors
///
/// Those of reading the configuration, and [`Error::UnknownName`] for a model that this version does not know.
pub fn parameters(run: &Run) -> Result<Vec<(String, usize)>> {
    let config = catalogue::read_config(&run.config()?)?;
    catalogue::find(&config.model)?.parameters(&config, &run.info().data.spec()?)
}

/// Whether two runs learned from the same data. Those of agents are the same environment, whatever demonstrations they had.
fn is_same_data(a: &DataInfo, b: &DataInfo) -> bool {
    let environment = |data: &DataInfo| match &data.spec.as_ref()?.content {
        Content::Experience(task) => Some(task.environment.clone()),
        _ => None,
    };
    match (environment(a), environment(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a.fingerprint == b.fingerprint,
        _ => false,
    }
}

/// The settings that differ, and how many do not.
fn settings(runs: &[(String, Run)]) -> Result<(Vec<ComparedSetting>, usize)> {
    let mut all: Vec<Vec<Setting>> = Vec::new();
    for (_, run) in runs {
        let found = catalogue::settings(&run.config()?).map_err(|error| error.in_file(&run.config_path()))?;
        all.push(found);
    }
    let mut keys: Vec<&str> = Vec::new();
    for setting in all.iter().flatten().filter(|setting| setting.key != "model") {
        if !keys.contains(&setting.key.as_str()) {
            keys.push(&setting.key);
        }
    }
    let (mut differing, mut equal) = (Vec::new(), 0);
    for key in keys {
        let found: Vec<Option<&Setting>> =
            all.iter().map(|settings| settings.iter().find(|setting| setting.key == key)).collect();
        let first = found[0].map(|setting| &setting.value);
        if found.iter().all(|setting| setting.is_some_and(|setting| Some(&setting.value) == first)) {
            equal += 1;
        } else if found.iter().all(Option::is_some) || found.iter().flatten().any(|found| !found.is_default())
        {
            let values = found.iter().map(|found| found.map(|found| found.value.clone())).collect();
            differing.push(ComparedSetting { key: key.to_owned(), values });
        }
    }
    Ok((differing, equal))
}

/// What was measured of a run on held-out examples, and its unit.
struct HeldOut<'a> {
    name: String,
    unit: &'static str,
    per_nat: f64,
    curve: &'a Curve,
}

impl HeldOut<'_> {
    fn of<'a>(run: &Run, curves: &'a [Curve]) -> Option<HeldOut<'a>> {
        let curve = curves.iter().find(|curve| curve.is_held_out() && !curve.points.is_empty())?;
        Some(match held_out_unit(run) {
            Some(unit) => {
                let name = format!("held-out {}", unit.name);
                HeldOut { name, unit: unit.unit, per_nat: unit.per_nat, curve }
            }
            None => HeldOut { name: curve.name.clone(), unit: "nats", per_nat: 1.0, curve },
        })
    }
}

/// The last and the best value on held-out examples, with two rows for each unit.
fn held_out_rows(runs: &[(String, Run)], histories: &[Vec<Curve>]) -> Vec<Row> {
    let all: Vec<Option<HeldOut<'_>>> =
        runs.iter().zip(histories).map(|((_, run), curves)| HeldOut::of(run, curves)).collect();
    let mut rows = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for HeldOut { name, unit, .. } in all.iter().flatten() {
        if done.contains(&name.as_str()) {
            continue;
        }
        done.push(name);
        let row = |which: &str, value: fn(&Curve) -> Option<(u64, f64)>| {
            let values = all.iter().map(|run| {
                let run = run.as_ref().filter(|run| run.name == *name)?;
                let (_, nats) = value(run.curve)?;
                Some(ComparedValue { value: nats * run.per_nat, error: None })
            });
            Row::of(name, format!("{name}, {which}"), unit, Some(Better::Lower), values.collect())
        };
        rows.extend(row("last", Curve::last));
        rows.extend(row("best", Curve::lowest));
    }
    rows.iter_mut().for_each(unmark_alone);
    rows
}

/// What training reported at its end. Only returns are marked: losses depend on the settings.
fn training_rows(histories: &[Vec<Curve>]) -> Vec<Row> {
    let mut names: Vec<&str> = Vec::new();
    for curve in histories.iter().flatten().filter(|curve| !curve.is_held_out()) {
        if !names.contains(&curve.name.as_str()) {
            names.push(&curve.name);
        }
    }
    let row = |name: &str| {
        let values = histories.iter().map(|curves| {
            let value = curves.iter().find(|curve| curve.name == name)?.mean_at_end()?;
            Some(ComparedValue { value, error: None })
        });
        let better = better_of(name).filter(|better| *better == Better::Higher);
        Row::of(name, name.to_owned(), "", better, values.collect())
    };
    let mut rows: Vec<Row> = names.into_iter().filter_map(row).collect();
    rows.iter_mut().for_each(unmark_alone);
    rows
}

/// The latest evaluations. Where they were not measured alike, a note says in what, and none is marked.
fn evaluated_rows(runs: &[(String, Run)], notes: &mut Vec<String>) -> Result<Vec<Row>> {
    let mut found = Vec::new();
    for (_, run) in runs {
        let path = Evaluation::paths(run.path())?.pop();
        found.push(path.map(|path| Evaluation::open(&path)).transpose()?);
    }
    let mut rows = rows(&found.iter().map(Option::as_ref).collect::<Vec<_>>());
    let named = runs.iter().zip(&found).filter_map(|((name, _), found)| Some((name.clone(), found.clone()?)));
    let named: Vec<(String, Evaluation)> = named.collect();
    rows.iter_mut().for_each(unmark_alone);
    if named.len() >= 2
        && let Err(error) = expect_alike(&named)
    {
        notes.push(format!("{error}, so no value of an evaluation is marked"));
        rows.iter_mut().for_each(unmark);
    }
    Ok(rows)
}

/// One value is the best of nothing.
fn unmark_alone(row: &mut Row) {
    if row.values.iter().flatten().count() < 2 {
        unmark(row);
    }
}

fn unmark(row: &mut Row) {
    row.best.clear();
    row.no_difference.clear();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::{Layer, resolve};
    use crate::data::{DataSpec, ImageShape};
    use crate::run::RunInfo;

    fn run(root: &Path, model: &str, set: &[&str], fingerprint: &str, metrics: &str) -> (String, Run) {
        let content = Content::Images(ImageShape { height: 16, width: 16, channels: 3 });
        let data = DataInfo {
            name: "shapes".into(),
            fingerprint: fingerprint.into(),
            spec: Some(DataSpec { content, classes: 0, unlabelled: false }),
            ..DataInfo::default()
        };
        let layers: Vec<Layer> = set.iter().map(|set| Layer::assignment("--set", set).unwrap()).collect();
        let defaults = catalogue::find(model).unwrap().defaults().unwrap();
        let config = resolve(&defaults, &layers).unwrap().config.to_toml();
        let name = format!("{model}-{}", fs::read_dir(root).unwrap().count());
        let info = RunInfo { model: model.into(), data, ..RunInfo::default() };
        let run = Run::create(&root.join(&name), &config, info).unwrap();
        fs::write(run.metrics_path(), metrics).unwrap();
        (name, run)
    }

    fn row<'a>(rows: &'a [Row], name: &str) -> &'a Row {
        rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}: {rows:?}"))
    }

    const ONE: &str = "{\"step\":10,\"bound\":900}\n{\"step\":10,\"validation_bound\":800}\n\
                       {\"step\":20,\"bound\":700}\n{\"step\":20,\"validation_bound\":850}\n";
    const OTHER: &str = "{\"step\":10,\"bound\":910}\n{\"step\":10,\"validation_bound\":820}\n";

    #[test]
    fn settings_that_differ_are_listed_and_the_others_counted() {
        let root = tempfile::tempdir().unwrap();
        let one = run(root.path(), "vae", &["vae.latent_dim=7"], "a", ONE);
        let other = run(root.path(), "vae", &["seed=3"], "a", OTHER);
        let found = RunComparison::of(&[one, other]).unwrap();
        let keys: Vec<&str> = found.settings.iter().map(|setting| setting.key.as_str()).collect();
        assert_eq!(keys, ["seed", "vae.latent_dim"]);
        assert_eq!(found.settings[0].values, [Some("0".to_owned()), Some("3".to_owned())]);
        assert_eq!(found.settings[1].values[0], Some("7".to_owned()));
        assert!(found.equal > 40, "{}", found.equal);
        assert!(found.runs.iter().all(|run| run.parameters.is_some_and(|count| count > 1000)));
    }

    #[test]
    fn a_setting_that_only_one_model_has_is_listed_where_it_is_no_default() {
        let root = tempfile::tempdir().unwrap();
        let one = run(root.path(), "vae", &["vae.latent_dim=7"], "a", ONE);
        let other = run(root.path(), "dcgan", &[], "a", "");
        let found = RunComparison::of(&[one, other]).unwrap();
        let own: Vec<_> = found.settings.iter().filter(|setting| setting.key.starts_with("vae.")).collect();
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(own[0].values, [Some("7".to_owned()), None]);
        assert!(!found.settings.iter().any(|setting| setting.key.starts_with("dcgan.")));
    }

    #[test]
    fn held_out_measures_are_marked_and_losses_of_training_are_not() {
        let root = tempfile::tempdir().unwrap();
        let one = run(root.path(), "vae", &[], "a", ONE);
        let other = run(root.path(), "vae", &["seed=1"], "a", OTHER);
        let found = RunComparison::of(&[one, other]).unwrap();
        let last = row(&found.logged, "held-out bits/dim, last");
        assert_eq!((&last.best[..], last.unit), (&[1][..], ""));
        let best = row(&found.logged, "held-out bits/dim, best");
        assert_eq!(best.best, [0]);
        let per_dim = 768.0 * std::f64::consts::LN_2;
        assert!((best.values[0].unwrap().value - 800.0 / per_dim).abs() < 1e-12);
        let training = row(&found.logged, "bound");
        assert!(training.best.is_empty() && training.better.is_none());
        assert_eq!(found.notes, [""; 0]);
        assert!(found.evaluated.is_empty());
        assert_eq!(found.runs[0].step, 20);
    }

    #[test]
    fn nothing_is_marked_that_cannot_be_compared() {
        let root = tempfile::tempdir().unwrap();
        let one = run(root.path(), "vae", &[], "a", ONE);
        let other = run(root.path(), "vae", &[], "b", OTHER);
        for (at, (_, run)) in [&one, &other].into_iter().enumerate() {
            let text = serde_json::json!({
                "run": "a", "model": "vae", "step": 20, "weights": "averaged", "data": "shapes", "fingerprint": "0123",
                "split": "test", "seed": at, "version": "0.1.0",
                "machine": { "system": "linux", "cpu": "some", "threads": 2, "memory": 1000 },
                "bound": { "scale": "eightbit", "nats": 800 + at, "nats_error": 0.1, "seconds": 1.0 },
            });
            fs::write(run.path().join("evaluation-000000020.json"), text.to_string()).unwrap();
        }
        let found = RunComparison::of(&[one.clone(), other]).unwrap();
        assert!(found.logged.iter().chain(&found.evaluated).all(|row| row.best.is_empty()));
        assert!(found.notes[0].contains("different data"), "{:?}", found.notes);
        assert!(found.notes[1].contains("the seed is 0 for vae-0 and 1 for vae-1"), "{:?}", found.notes);
        // What only one was measured by is no best either.
        let without = run(root.path(), "vae", &[], "a", "");
        let found = RunComparison::of(&[one.clone(), without]).unwrap();
        assert!(!found.evaluated.is_empty() && found.evaluated.iter().all(|row| row.best.is_empty()));
        assert_eq!(found.notes, [""; 0]);
        assert!(RunComparison::of(&[one]).unwrap_err().to_string().contains("one run"));
    }
}
