//! `poiesis runs rm`: removes runs, after asking.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::Error;
use poiesis::error::in_bytes;
use poiesis::run::Removal;
use serde_json::{Value, json};

use super::folder_of;
use super::page::{number_of, paths};
use crate::render::{count, error, failure, in_json, json, note, program, quoted, result};

/// Remove runs with all their files, after asking
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis runs rm runs/vae-mnist.old-1
  poiesis runs rm vae-mnist gan-mnist --yes        two runs in the folder runs, without asking

What goes is listed first: steps, files and size. A run that is being trained is refused, and so is a folder that is no run. A run \
with files that Poiesis did not write is refused too, and the files are named: move them away, or give --everything. Links in the \
folder are removed and never followed. Where one of several runs is refused, none is removed. There is no way back; to keep a run and \
start over under its name, use train --new.")]
pub(super) struct Remove {
    /// Folders of runs, or their names in `runs`.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Remove without asking.
    #[arg(long, short)]
    yes: bool,
    /// Also remove files in their folders that no run has.
    #[arg(long)]
    everything: bool,
    /// Print what was removed as JSON.
    #[arg(long)]
    json: bool,
}

impl Remove {
    pub(crate) fn run(self) -> Result<()> {
        let removals = self.look()?;
        if !self.yes && !self.ask(&removals)? {
            note("nothing was removed");
            return if self.json { json(&json!([])) } else { Ok(()) };
        }
        // All that is refused is refused before any is removed.
        removals.iter().try_for_each(Removal::expect_removable).map_err(refusal)?;
        let mut removed = Vec::new();
        let outcome = self.remove(&removals, &mut removed);
        // Where a later one fails, those before it are gone.
        if self.json && (outcome.is_ok() || !removed.is_empty()) {
            json(&json!(removed))?;
        }
        outcome
    }

    /// Removes these runs one after another, and adds what was removed to `removed`.
    fn remove(&self, removals: &[Removal], removed: &mut Vec<Value>) -> Result<()> {
        for removal in removals {
            let others = removal.remove(self.everything).map_err(refusal)?;
            if !others.is_empty() {
                return Err(self.has_others(removal, &others));
            }
            let (files, bytes) = removal.contents.total();
            if !self.json {
                let (run, files) = (removal.path.display(), number_of(files, "file"));
                result(&format!("removed {run}: {files}, {}\n", in_bytes(bytes)))?;
            }
            removed.push(json!({ "path": in_json(&removal.path), "files": files, "bytes": bytes }));
        }
        Ok(())
    }

    /// What is to be removed, each run once; all that is refused is said before any is touched.
    fn look(&self) -> Result<Vec<Removal>> {
        let (mut removals, mut refused) = (Vec::<Removal>::new(), Vec::new());
        for named in &self.runs {
            match Removal::of(&folder_of(named)) {
                Err(error) => refused.push(refusal(error)),
                Ok(removal) => {
                    let others = removal.contents.others();
                    if !others.is_empty() && !self.everything {
                        refused.push(self.has_others(&removal, &others));
                    } else if !removals.iter().any(|other| other.is_same(&removal)) {
                        removals.push(removal);
                    }
                }
            }
        }
        let last = refused.pop();
        refused.iter().for_each(error);
        last.map_or(Ok(removals), Err)
    }

    /// Asks whether these runs are to be removed.
    fn ask(&self, removals: &[Removal]) -> Result<bool> {
        if !io::stdin().is_terminal() {
            let what =
                if removals.len() == 1 { "a run".to_owned() } else { number_of(removals.len(), "run") };
            return Err(failure(
                format!("this is not a terminal, so {what} cannot be removed without --yes"),
                format!("{} --yes", self.again()),
            ));
        }
        removals.iter().for_each(|removal| note(&described(removal)));
        let what = if removals.len() == 1 { "this run" } else { "these runs" };
        note(&format!("remove {what}? There is no way back. [y/N]"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// The error for a run with files of others.
    fn has_others(&self, removal: &Removal, others: &[PathBuf]) -> anyhow::Error {
        let what = format!("{} has what no run has: {}", removal.path.display(), paths(others));
        let hint = format!("move it away, or remove it too with {} --everything", self.again());
        failure(what, hint)
    }

    /// The command that was given.
    fn again(&self) -> String {
        let mut words = vec![program(), "runs rm".to_owned()];
        words.extend(self.runs.iter().map(|run| quoted(&run.display().to_string())));
        let flags = [("--yes", self.yes), ("--everything", self.everything), ("--json", self.json)];
        words.extend(flags.iter().filter(|(_, given)| *given).map(|(flag, _)| (*flag).to_owned()));
        words.join(" ")
    }
}

/// The error of the library with what can be done about it here.
fn refusal(error: Error) -> anyhow::Error {
    match error {
        Error::NotSetAside { path, reason } => failure(
            format!("{} is left as it is: {reason}", path.display()),
            "give the folder that it leads to",
        ),
        Error::RunInUse { .. } => failure(error.to_string(), "wait for it, or stop it"),
        Error::Malformed { .. } => {
            failure(error.to_string(), "if nothing in its folder is needed, remove the folder itself")
        }
        other => other.into(),
    }
}

/// What goes with a run: `runs/a: vae on mnist, 60 of 100 steps; 23 files, 4.5 MB`.
fn described(removal: &Removal) -> String {
    let (files, bytes) = removal.contents.total();
    let size = format!("{}, {}", number_of(files, "file"), in_bytes(bytes));
    let path = removal.path.display();
    let mut text = match &removal.info {
        Some(info) => format!(
            "{path}: {} on {}, {} of {} steps; {size}",
            info.model,
            info.data.name,
            count(info.last_step),
            count(info.steps)
        ),
        None => format!("{path}: what is left of a removal that was interrupted; {size}"),
    };
    let others = removal.contents.others();
    if !others.is_empty() {
        text.push_str(&format!("\n  also what no run has: {}", paths(&others)));
    }
    text
}
