//! `poiesis runs` without a verb: the runs in a folder, their progress and their measures.

use std::cmp::{Ordering, Reverse};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use poiesis::catalogue;
use poiesis::error::nearest;
use poiesis::evaluate::MainMeasure;
use poiesis::run::{self, Run, RunSummary, utc};
use serde_json::{Value, json};

use super::measures::cell;
use super::state_name;
use crate::render::{count, error, failure, in_json, json, note, program, quoted, result, table};

/// Where runs are unless another folder is given. It need not be there.
const RUNS: &str = "runs";

/// What `poiesis runs` lists.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Folder with the runs.
    #[arg(default_value = RUNS)]
    root: PathBuf,
    /// Order of the runs: the last changed first, by name, or by measure, the best of each kind of measure first.
    #[arg(long, value_name = "BY", default_value = "changed")]
    sort: Sort,
    /// Only runs of this model.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// What runs are sorted by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    Changed,
    Name,
    Measure,
}

/// A run with its measure.
struct Listed {
    run: RunSummary,
    measure: Option<MainMeasure>,
}

impl List {
    pub(super) fn run(self) -> Result<()> {
        if !self.root.exists() && self.root != Path::new(RUNS) {
            let verb = self.root.to_str().and_then(|name| nearest(name, &["show", "compare", "rm"]));
            let hint = match verb {
                Some(verb) => format!("did you mean `{} runs {verb}`?", program()),
                None => "give the folder that holds runs".to_owned(),
            };
            return Err(failure(format!("there is no folder {}", self.root.display()), hint));
        }
        let listing = run::list(&self.root)?;
        for unreadable in listing.unreadable {
            error(&unreadable.into());
        }
        for left in &listing.left_over {
            let (program, left) = (program(), left.display().to_string());
            note(&format!(
                "note: {left} is left of a run whose removal was interrupted; remove it with {program} runs rm {}",
                quoted(&left)
            ));
        }
        let any = !listing.runs.is_empty();
        let is_wanted = |run: &RunSummary| self.model.as_ref().is_none_or(|model| *model == run.info.model);
        let mut runs: Vec<Listed> = listing.runs.into_iter().filter(is_wanted).map(measured).collect();
        if let (true, Some(model)) = (runs.is_empty(), &self.model) {
            // A wrong name is an error; a model without runs is not.
            catalogue::find(model)?;
        }
        sort(&mut runs, self.sort);
        if self.json {
            return json(&runs.iter().map(to_json).collect());
        }
        if runs.is_empty() {
            self.say_why_none(any);
            return Ok(());
        }
        let rows: Vec<Vec<String>> = runs.iter().map(to_row).collect();
        let header = ["RUN", "MODEL", "DATA", "STATE", ">STEP", ">OF", ">CHECKPOINT", "MEASURE", "CHANGED"];
        result(&table(&header, &rows))
    }

    fn say_why_none(&self, any: bool) {
        let (root, program) = (self.root.display(), program());
        note(&match &self.model {
            _ if Run::exists(&self.root) => {
                let run = quoted(&root.to_string());
                format!("{root} is a run itself; {program} runs show {run} shows it")
            }
            Some(model) if any => format!("no run in {root} is of {model}"),
            _ => format!("there are no runs in {root}; make one with {program} train dcgan"),
        });
    }
}

/// A run with its measure; what keeps it from being read is shown.
fn measured(run: RunSummary) -> Listed {
    let measure = Run::open(&run.path).and_then(|opened| MainMeasure::of(&opened));
    let measure = measure.unwrap_or_else(|unreadable| {
        error(&unreadable.into());
        None
    });
    Listed { run, measure }
}

fn sort(runs: &mut [Listed], by: Sort) {
    match by {
        Sort::Changed => runs.sort_by_key(|listed| Reverse(listed.run.info.updated)),
        Sort::Name => runs.sort_by(|a, b| a.run.path.cmp(&b.run.path)),
        Sort::Measure => runs.sort_by(|a, b| match (&a.measure, &b.measure) {
            (Some(a), Some(b)) => by_measure(a, b),
            // Those without one last.
            (a, b) => b.is_some().cmp(&a.is_some()),
        }),
    }
}

/// Measures of one kind stand together, the best of them first.
fn by_measure(a: &MainMeasure, b: &MainMeasure) -> Ordering {
    let kind = |measure: &MainMeasure| (measure.by as u8, measure.name.clone());
    let order = || match a.better {
        Some(better) => better.order(a.value, b.value),
        None => Ordering::Equal,
    };
    kind(a).cmp(&kind(b)).then_with(order)
}

fn to_row(Listed { run, measure }: &Listed) -> Vec<String> {
    let info = &run.info;
    vec![
        run.path.display().to_string(),
        info.model.clone(),
        info.data.name.clone(),
        state_name(info.state, run.in_use).to_owned(),
        count(info.last_step),
        count(info.steps),
        run.newest_checkpoint.map_or_else(|| "none".to_owned(), count),
        measure.as_ref().map_or_else(|| "-".to_owned(), cell),
        utc(info.updated),
    ]
}

fn to_json(Listed { run, measure }: &Listed) -> Value {
    json!({
        "path": in_json(&run.path), "state": state_name(run.info.state, run.in_use),
        "newest_checkpoint": run.newest_checkpoint, "measure": measure, "info": run.info,
    })
}

#[cfg(test)]
mod tests {
    use poiesis::evaluate::{Better, MeasuredBy};
    use poiesis::run::RunInfo;

    use super::*;

    fn listed(name: &str, updated: u64, measure: Option<(&str, f64, Better)>) -> Listed {
        let measure = measure.map(|(name, value, better)| MainMeasure {
            name: name.into(),
            value,
            error: None,
            unit: "",
            better: Some(better),
            by: MeasuredBy::Evaluation,
            split: None,
            step: 1,
        });
        let info = RunInfo { updated, ..RunInfo::default() };
        let run = RunSummary { path: name.into(), info, in_use: false, newest_checkpoint: None };
        Listed { run, measure }
    }

    #[test]
    fn runs_are_sorted_by_time_name_or_measure() {
        let mut runs = vec![
            listed("c", 3, Some(("return", 100.0, Better::Higher))),
            listed("b", 9, None),
            listed("a", 5, Some(("bits/dim", 3.5, Better::Lower))),
            listed("e", 7, Some(("return", 500.0, Better::Higher))),
            listed("d", 1, Some(("bits/dim", 3.0, Better::Lower))),
        ];
        let mut sorted = |by: Sort| {
            sort(&mut runs, by);
            runs.iter().map(|listed| listed.run.path.display().to_string()).collect::<String>()
        };
        assert_eq!(sorted(Sort::Changed), "beacd");
        assert_eq!(sorted(Sort::Name), "abcde");
        assert_eq!(sorted(Sort::Measure), "daecb");
    }
}
