//! `poiesis runs show`: everything about one run.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use poiesis::catalogue::{self, Setting};
use poiesis::data::MediaKind;
use poiesis::evaluate::{Evaluation, MainMeasure, better_of, parameters};
use poiesis::run::contents::Contents;
use poiesis::run::history::{Curve, curves};
use poiesis::run::{Run, State, checkpoint, metrics, samples};
use serde_json::{Value, json};

use super::super::ending::{NextSteps, held_out};
use super::{folder_of, page, state_name};
use crate::args::DataDir;
use crate::data::is_agent;
use crate::render::{error, in_json, json, note, quoted, result};

/// Show a run: its data, state, settings, measures over time, evaluations, checkpoints and files
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis runs show runs/vae-mnist
  poiesis runs show vae-mnist --all        the run of that name in runs, with every setting and metric
  poiesis runs show vae-mnist --json

Settings that have their defaults are counted, and listed with --all. A curve shows a metric over the steps of the run, from its \
lowest to its highest values; a few that tower above or below the others are cut off.")]
pub(super) struct Show {
    /// Folder of the run, or its name in `runs`.
    run: PathBuf,
    /// Show every setting and every metric.
    #[arg(long)]
    all: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// What is shown of a run.
pub(super) struct Page {
    pub(super) run: Run,
    pub(super) in_use: bool,
    /// The last step and the seconds up to it, also of a run that is being trained.
    pub(super) step: u64,
    pub(super) elapsed: f64,
    /// What the model is; `None` where this version does not know it.
    pub(super) summary: Option<&'static str>,
    /// The sizes of its parts.
    pub(super) parameters: Vec<(String, usize)>,
    pub(super) settings: Vec<Setting>,
    pub(super) measure: Option<MainMeasure>,
    pub(super) curves: Vec<Curve>,
    /// The evaluations with the names of their files, the earliest first.
    pub(super) evaluations: Vec<(String, Evaluation)>,
    pub(super) checkpoints: Vec<Saved>,
    /// What was not finished or set aside among the checkpoints.
    pub(super) findings: Vec<String>,
    pub(super) contents: Contents,
    /// The name of the newest samples.
    pub(super) newest_samples: Option<String>,
    /// Commands to try, without the name of the program.
    pub(super) next: Vec<String>,
}

/// A checkpoint.
pub(super) struct Saved {
    pub(super) step: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) newest: bool,
    /// Whether it is the best by the held-out metric.
    pub(super) best: bool,
}

impl Show {
    pub(crate) fn run(self) -> Result<()> {
        let page = Page::of(Run::open(&folder_of(&self.run))?)?;
        if self.json { json(&page.to_json()) } else { result(&page::text(&page, self.all)) }
    }
}

impl Page {
    fn of(run: Run) -> Result<Page> {
        let info = run.info();
        let text = run.config()?;
        let settings = catalogue::settings(&text)
            .with_context(|| format!("cannot read {}", run.config_path().display()))?;
        let entry = catalogue::find(&info.model).ok();
        let rows = metrics::read(&run.metrics_path())?;
        // Of a run that is being trained, `run.json` lags behind.
        let (step, elapsed) = match rows.last().filter(|row| row.step > info.last_step) {
            Some(row) => (row.step, row.elapsed),
            None => (info.last_step, info.elapsed),
        };
        if let Some(fault) = metrics::not_rows(&run.metrics_path())? {
            note(&format!("note: {fault}"));
        }
        let evaluations = evaluations(&run)?;
        // An evaluation that cannot be read has been named.
        let measure = MainMeasure::of(&run).unwrap_or_default();
        let contents = Contents::of(run.path())?;
        let survey = checkpoint::survey(&run.checkpoints_path())?;
        let best = run.best_step().ok();
        let newest = survey.complete.last().map(|(step, _)| *step);
        let saved = |(step, path): (u64, PathBuf)| {
            let below = PathBuf::from("checkpoints").join(checkpoint::folder_name(step));
            let bytes = contents.below(&below);
            Saved { step, path, bytes, newest: newest == Some(step), best: best == Some(step) }
        };
        let file_name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Page {
            in_use: info.state == State::Running && run.in_use(),
            step,
            elapsed,
            summary: entry.map(|entry| entry.about().summary),
            parameters: parameters(&run).unwrap_or_default(),
            settings,
            measure,
            curves: curves(&rows).into_iter().filter(|curve| !curve.points.is_empty()).collect(),
            evaluations,
            checkpoints: survey.complete.iter().cloned().map(saved).collect(),
            findings: survey.findings.iter().map(ToString::to_string).collect(),
            newest_samples: samples::newest(&run.samples_path())?.and_then(file_name),
            next: next(&run, newest.is_some()),
            contents,
            run,
        })
    }

    fn to_json(&self) -> Value {
        let point =
            |found: Option<(u64, f64)>| found.map(|(step, value)| json!({ "step": step, "value": value }));
        let metrics = self.curves.iter().map(|curve| {
            json!({
                "name": curve.name, "held_out": curve.is_held_out(), "points": curve.points.len(),
                "last": point(curve.last()), "best": point(best(curve)),
            })
        });
        let evaluations = self.evaluations.iter().map(|(file, evaluation)| {
            json!({
                "file": file, "step": evaluation.step, "weights": evaluation.weights, "data": evaluation.data,
                "split": evaluation.split, "seed": evaluation.seed, "values": evaluation.values(),
            })
        });
        let checkpoints = self.checkpoints.iter().map(|saved| {
            json!({
                "step": saved.step, "path": in_json(&saved.path), "bytes": saved.bytes,
                "newest": saved.newest, "best": saved.best,
            })
        });
        let parts = page::PARTS.iter().map(|(name, part)| {
            let (files, bytes) = self.contents.of_part(*part);
            ((*name).to_owned(), json!({ "files": files, "bytes": bytes }))
        });
        let parameters: Value =
            self.parameters.iter().map(|(name, size)| (name.clone(), Value::from(*size))).collect();
        json!({
            "path": in_json(self.run.path()), "state": state_name(self.run.info().state, self.in_use),
            "step": self.step, "elapsed": self.elapsed, "info": self.run.info(), "parameters": parameters,
            "settings": self.settings, "measure": self.measure, "metrics": metrics.collect::<Vec<_>>(),
            "evaluations": evaluations.collect::<Vec<_>>(), "checkpoints": checkpoints.collect::<Vec<_>>(),
            "files": parts.collect::<serde_json::Map<_, _>>(),
            "others": self.contents.others().iter().map(|path| in_json(path)).collect::<Vec<_>>(),
            "next": self.next,
        })
    }
}

/// The step and the value at which a metric was best, where it is known which values are better.
pub(super) fn best(curve: &Curve) -> Option<(u64, f64)> {
    let order = better_of(&curve.name)?;
    curve.points.iter().copied().min_by(|(_, a), (_, b)| order.order(*a, *b))
}

/// The evaluations in the run; one that cannot be read is named.
fn evaluations(run: &Run) -> Result<Vec<(String, Evaluation)>> {
    let mut found = Vec::new();
    for path in Evaluation::paths(run.path())? {
        match Evaluation::open(&path) {
            Ok(evaluation) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.push((name, evaluation));
            }
            Err(unreadable) => error(&unreadable.into()),
        }
    }
    Ok(found)
}

/// What can be done with the run next.
fn next(run: &Run, has_checkpoint: bool) -> Vec<String> {
    let info = run.info();
    let name = quoted(&run.path().display().to_string());
    let Ok(entry) = catalogue::find(&info.model) else { return Vec::new() };
    let source = run.config().and_then(|text| catalogue::read_config(&text)).map(|config| config.data);
    let source = source.map(|data| if is_agent(entry) { data.demonstrations } else { data.source });
    let flags = source.map(|source| data_flags(&info.command, &source)).unwrap_or_default();
    let mut commands = Vec::new();
    if info.state != State::Done {
        commands.push(format!("resume {name}{flags}"));
    }
    if has_checkpoint {
        let steps = NextSteps {
            entry,
            of_images: info.data.spec().is_ok_and(|spec| spec.media() == MediaKind::Images),
            held_out: held_out(|split| info.data.counts.iter().any(|(name, _)| name == split.as_str())),
            drawn: poiesis_envs::list().iter().any(|listed| listed.name == info.data.name),
            flags,
        };
        commands.extend(steps.commands(&name));
    }
    commands
}

/// The flag with which the command that made the run found its data.
fn data_flags(command: &[String], source: &str) -> String {
    let after = command.iter().position(|word| word == "--data-dir").and_then(|at| command.get(at + 1));
    let folder = after
        .map(String::as_str)
        .or_else(|| command.iter().find_map(|word| word.strip_prefix("--data-dir=")));
    folder.map(|folder| DataDir { data_dir: folder.into() }.flags(source)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_are_found_as_they_were() {
        let flags = |command: &[&str]| {
            data_flags(&command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), "mnist")
        };
        assert_eq!(flags(&["poiesis", "train", "vae", "--data-dir", "my sets"]), " --data-dir 'my sets'");
        assert_eq!(flags(&["poiesis", "train", "vae", "--data-dir=sets"]), " --data-dir sets");
        assert_eq!(flags(&["poiesis", "train", "vae"]), "");
        assert_eq!(flags(&["poiesis", "train", "vae", "--data-dir"]), "");
    }

    #[test]
    fn the_best_value_goes_by_the_metric() {
        let curve = |name: &str| Curve { name: name.into(), points: vec![(1, 2.0), (2, 1.0), (3, 3.0)] };
        assert_eq!(best(&curve("validation_nll")), Some((2, 1.0)));
        assert_eq!(best(&curve("return")), Some((3, 3.0)));
        assert_eq!(best(&curve("d_loss")), None);
    }
}
