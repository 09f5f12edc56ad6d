//! `poiesis runs`: lists runs and their progress.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::run::{self, RunSummary, State, utc};
use serde_json::{Value, json};

use crate::render::{count, error, in_json, json, note, program, result, table};

/// List runs and their progress
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis runs
  poiesis runs /archive/runs --json")]
pub(crate) struct Runs {
    /// Folder with the runs.
    #[arg(default_value = "runs")]
    root: PathBuf,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

impl Runs {
    pub(crate) fn run(self) -> Result<()> {
        let listing = run::list(&self.root)?;
        for unreadable in listing.unreadable {
            error(&unreadable.into());
        }
        if self.json {
            return json(&listing.runs.iter().map(to_json).collect());
        }
        if listing.runs.is_empty() {
            note(&format!(
                "there are no runs in {}; make one with {} train dcgan",
                self.root.display(),
                program()
            ));
            return Ok(());
        }
        let rows: Vec<Vec<String>> = listing.runs.iter().map(to_row).collect();
        let header = ["RUN", "MODEL", "DATA", "STATE", ">STEP", ">OF", ">CHECKPOINT", "CHANGED"];
        result(&table(&header, &rows))
    }
}

fn to_row(run: &RunSummary) -> Vec<String> {
    let info = &run.info;
    vec![
        run.path.display().to_string(),
        info.model.clone(),
        info.data.name.clone(),
        state(run).to_owned(),
        count(info.last_step),
        count(info.steps),
        run.newest_checkpoint.map_or_else(|| "none".to_owned(), count),
        utc(info.updated),
    ]
}

fn to_json(run: &RunSummary) -> Value {
    json!({
        "path": in_json(&run.path), "state": state(run), "newest_checkpoint": run.newest_checkpoint, "info": run.info,
    })
}

/// The state of a run; one whose state is running while no process trains it was killed.
fn state(run: &RunSummary) -> &'static str {
    match run.info.state {
        State::Running if run.in_use => "running",
        State::Running => "killed",
        State::Stopped => "stopped",
        State::Done => "done",
        State::Failed => "failed",
    }
}
