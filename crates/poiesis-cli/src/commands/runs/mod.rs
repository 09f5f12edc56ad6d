//! `poiesis runs`: lists the runs in a folder; one file for each verb on single runs.

mod compare;
mod curves;
mod list;
mod measures;
mod page;
mod remove;
mod show;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use poiesis::run::{Run, State};

/// List runs with their progress and measures, show one, compare some, or remove them
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_long_help = "Examples:
  poiesis runs
  poiesis runs --sort measure --model vae
  poiesis runs /archive/runs --json
  poiesis runs show vae-mnist                      one run: settings, curves, evaluations, files
  poiesis runs compare vae-mnist vae-mnist-wide    settings and measures side by side
  poiesis runs rm vae-mnist.old-1                  after asking

The measure of a run is the likelihood of held-out examples, as it was last evaluated or measured during training: bits/dim of images, \
bits/character of a text, nats of binarised images and of points. Without one it is the main number of the latest evaluation, such as the \
return of an agent, the error of a classifier or a distance of samples from real images, and without an evaluation what training last \
reported, marked as such.")]
pub(crate) struct Runs {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(show::Show),
    Compare(compare::Compare),
    Rm(remove::Remove),
}

impl Runs {
    pub(crate) fn run(self) -> Result<()> {
        match self.verb {
            None => self.list.run(),
            Some(Verb::Show(verb)) => verb.run(),
            Some(Verb::Compare(verb)) => verb.run(),
            Some(Verb::Rm(verb)) => verb.run(),
        }
    }
}

/// The folder of the run that is meant: what is named, or where there is no such thing the run of that name in `runs`.
fn folder_of(named: &Path) -> PathBuf {
    let below = Path::new("runs").join(named);
    // A link that leads nowhere is there too.
    let is_there = named.symlink_metadata().is_ok();
    if !is_there && named.is_relative() && Run::exists(&below) { below } else { named.to_owned() }
}

/// The state of a run; one whose state is running while no process trains it was killed.
fn state_name(state: State, in_use: bool) -> &'static str {
    match state {
        State::Running if in_use => "running",
        State::Running => "killed",
        State::Stopped => "stopped",
        State::Done => "done",
        State::Failed => "failed",
    }
}
