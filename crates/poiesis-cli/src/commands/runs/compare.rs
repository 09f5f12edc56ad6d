//! `poiesis runs compare`: settings and measures of several runs side by side, and their curves.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::Error;
use poiesis::evaluate::{Row, RunComparison};
use poiesis::picture::{Line, Picture, line_chart};
use poiesis::run::Run;
use poiesis::run::history::Curve;
use serde_json::json;

use super::super::compare::{has_star, remark, values};
use super::{curves, folder_of, state_name};
use crate::render::{count, duration, exists, failure, json, note, number, result, table};

/// Compare runs side by side: the settings that differ, and what was measured
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis runs compare runs/vae-mnist runs/vae-mnist-wide
  poiesis runs compare vae-a vae-b vae-c --out curves.png      runs in the folder runs; their curves as a picture
  poiesis runs compare ppo-a ppo-b --metric return --out returns.png
  poiesis runs compare vae-a dcgan-a --json

Settings that all runs have alike are counted. Of what was measured during training the last and the best value on held-out examples \
are shown, and the means of training metrics over the last tenth of the steps; then the latest evaluations. The best value of a row has \
a star where the runs can be compared: they learned from the same data, or were evaluated alike. Losses of training have none, because \
they depend on the settings.

For evaluations alone, also as CSV, use poiesis compare: it refuses runs that were not evaluated alike.")]
pub(super) struct Compare {
    /// Folders of runs, or their names in `runs`.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Write a picture of a metric over the steps, with a line for each run.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The metric whose curves are shown, by its name in metrics.jsonl [default: that of held-out examples, else the main one of training].
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// Replace the picture if it exists.
    #[arg(long, requires = "out")]
    force: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(out) = self.out.as_ref().filter(|out| out.exists() && !self.force) {
            return Err(exists(out, "--out"));
        }
        let mut runs = Vec::new();
        for named in &self.runs {
            let folder = folder_of(named);
            runs.push((folder.display().to_string(), Run::open(&folder)?));
        }
        let comparison = RunComparison::of(&runs)?;
        let metric = chosen(&comparison.curves, self.metric.as_deref())?;
        if self.out.is_some() && metric.is_none() {
            return Err(failure("these runs have logged no metric yet", "leave out --out"));
        }
        if self.json {
            json(&serde_json::to_value(&comparison)?)?;
        } else {
            result(&to_text(&comparison))?;
            if let Some(metric) = &metric {
                result(&format!("\n{}", drawn(&comparison, metric)))?;
            }
            comparison.notes.iter().for_each(|line| note(&format!("note: {line}")));
            if comparison.logged.iter().chain(&comparison.evaluated).any(has_star) {
                note("* is the best of a row");
            }
        }
        if let (Some(out), Some(metric)) = (&self.out, &metric) {
            let names: Vec<&str> = comparison.runs.iter().map(|run| run.run.as_str()).collect();
            let parameters = json!({
                "poiesis": env!("CARGO_PKG_VERSION"), "verb": "runs compare", "metric": metric, "runs": names,
            });
            chart(&comparison, metric).write_png(out, Some(&parameters))?;
            note(&format!("curves of {metric}: {}", out.display()));
        }
        Ok(())
    }
}

/// The metric whose curves are shown: the one that was asked for, else the one that most runs have, of several that of held-out
/// examples, else the one that says most of training. `None` where nothing was logged.
fn chosen(histories: &[Vec<Curve>], wanted: Option<&str>) -> Result<Option<String>> {
    const OF_TRAINING: [&str; 4] = ["return", "bits_per_dim", "bound", "nll"];
    let mut known: Vec<&Curve> = Vec::new();
    for curve in histories.iter().flatten().filter(|curve| !curve.points.is_empty()) {
        if !known.iter().any(|other| other.name == curve.name) {
            known.push(curve);
        }
    }
    if let Some(wanted) = wanted {
        return match known.iter().any(|curve| curve.name == wanted) {
            true => Ok(Some(wanted.to_owned())),
            false => {
                Err(Error::unknown("metric", wanted, known.iter().map(|curve| curve.name.as_str())).into())
            }
        };
    }
    let runs_with = |name: &str| histories.iter().filter(|curves| find(curves, name).is_some()).count();
    let rank = |name: &str| OF_TRAINING.iter().rev().position(|main| *main == name);
    let telling = |curve: &&&Curve| (runs_with(&curve.name), curve.is_held_out(), rank(&curve.name));
    // The first of several that say as much.
    Ok(known.iter().rev().max_by_key(telling).map(|curve| curve.name.clone()))
}

fn find<'a>(curves: &'a [Curve], name: &str) -> Option<&'a Curve> {
    curves.iter().find(|curve| curve.name == name && !curve.points.is_empty())
}

fn to_text(comparison: &RunComparison) -> String {
    let RunComparison { runs, settings, equal, logged, evaluated, .. } = comparison;
    let titles: Vec<String> = runs.iter().map(|run| format!(">{}", run.run)).collect();
    let mut header = vec![""];
    header.extend(titles.iter().map(String::as_str));
    header.push("");
    // As wide as a star after each value.
    let plain = |name: &str, cells: Vec<String>| {
        let cells = cells.into_iter().map(|cell| cell + "  ");
        [name.to_owned()].into_iter().chain(cells).chain([String::new()]).collect::<Vec<String>>()
    };
    let title = |name: String| {
        let empty = vec![String::new(); runs.len() + 2];
        let mut line = empty.clone();
        line[0] = name;
        [empty, line]
    };
    let mut lines = vec![
        plain("model", runs.iter().map(|run| run.model.clone()).collect()),
        plain("data", runs.iter().map(|run| run.data.clone()).collect()),
        plain("state", runs.iter().map(|run| state_name(run.state, run.in_use).to_owned()).collect()),
        plain("step", runs.iter().map(|run| count(run.step)).collect()),
        plain("of", runs.iter().map(|run| count(run.steps)).collect()),
        plain("time", runs.iter().map(|run| duration(run.elapsed)).collect()),
        plain(
            "parameters",
            runs.iter().map(|run| run.parameters.map_or_else(|| "-".to_owned(), count)).collect(),
        ),
    ];
    let alike = count(*equal as u64);
    lines.extend(title(match settings.is_empty() {
        true => format!("SETTINGS: all {alike} are equal"),
        false => format!("SETTINGS that differ ({alike} are equal)"),
    }));
    for setting in settings {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        lines.push(plain(&setting.key, setting.values.iter().map(value).collect()));
    }
    for (name, rows) in [("DURING TRAINING", logged), ("LATEST EVALUATION", evaluated)] {
        if !rows.is_empty() {
            lines.extend(title(name.to_owned()));
            lines.extend(rows.iter().map(|row| measured(row, comparison)));
        }
    }
    table(&header, &lines)
}

fn measured(row: &Row, comparison: &RunComparison) -> Vec<String> {
    let names: Vec<&str> = comparison.runs.iter().map(|run| run.run.as_str()).collect();
    let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
    let name = [format!("{}{unit}", row.name)].into_iter();
    name.chain(values(row)).chain([remark(row, &names)]).collect()
}

/// The curves of a metric, one below the other, over the same steps and on one scale.
fn drawn(comparison: &RunComparison, metric: &str) -> String {
    let found: Vec<Option<&Curve>> = comparison.curves.iter().map(|curves| find(curves, metric)).collect();
    let names = comparison.runs.iter().map(|run| run.run.as_str());
    let widest = names.clone().map(|name| name.chars().count()).max().unwrap_or(0).max(3);
    let drawn = curves::lines(&found, curves::width(widest + 16));
    let last = |curve: &Option<&Curve>| {
        curve.and_then(Curve::last).map_or_else(|| "-".to_owned(), |(_, value)| number(value))
    };
    let rows: Vec<Vec<String>> = names
        .zip(drawn)
        .zip(&found)
        .map(|((name, drawn), curve)| vec![name.to_owned(), drawn, last(curve)])
        .collect();
    table(&["RUN", &format!("{metric} over the steps, on one scale"), ">LAST"], &rows)
}

fn chart(comparison: &RunComparison, metric: &str) -> Picture {
    let found = comparison.runs.iter().zip(&comparison.curves);
    let lines: Vec<Line<'_>> = found
        .filter_map(|(run, curves)| Some(Line { name: &run.run, points: &find(curves, metric)?.points }))
        .collect();
    line_chart(metric, &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(name: &str) -> Curve {
        Curve { name: name.into(), points: vec![(1, 2.0), (2, 1.0)] }
    }

    #[test]
    fn the_metric_that_most_runs_have_and_that_says_most_is_shown() {
        let pick = |histories: &[Vec<Curve>]| chosen(histories, None).unwrap();
        let with_held_out = vec![curve("validation_nll"), curve("nll"), curve("kl")];
        let one = [with_held_out.clone(), with_held_out.clone()];
        assert_eq!(pick(&one).as_deref(), Some("validation_nll"));
        let other = [with_held_out, vec![curve("kl"), curve("nll")]];
        assert_eq!(pick(&other).as_deref(), Some("nll"));
        let losses = [vec![curve("d_loss"), curve("g_loss")], vec![curve("d_loss"), curve("g_loss")]];
        assert_eq!(pick(&losses).as_deref(), Some("d_loss"));
        let agents = [vec![curve("nll"), curve("return")], vec![curve("length"), curve("return")]];
        assert_eq!(pick(&agents).as_deref(), Some("return"));
        let nothing = [vec![Curve { name: "nll".into(), points: Vec::new() }], Vec::new()];
        assert_eq!(pick(&nothing), None);
        assert_eq!(chosen(&losses, Some("g_loss")).unwrap().as_deref(), Some("g_loss"));
        let unknown = chosen(&losses, Some("g_los")).unwrap_err().to_string();
        assert!(unknown.contains("`g_los`"), "{unknown}");
    }
}
