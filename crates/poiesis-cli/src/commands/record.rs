//! `poiesis record`: episodes of a trained agent as a data set.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::apply::record::{RecordOptions, RecordProgress, Recorded, record};
use serde_json::json;

use super::agents::{self, Policy, environment_of, in_words, limit};
use super::pictures::positive;
use crate::args::OfRun;
use crate::render::{Meter, count, counted, in_json, json, note, program, quoted, result};

/// Record episodes of a trained agent as a data set, from which others learn
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis record runs/trpo-hopper --episodes 25 --out data/hopper-expert
  poiesis record runs/ppo-cartpole --episodes 10 --min-return 475 --out data/cartpole-expert
  poiesis train gail --env hopper --demos data/hopper-expert
  poiesis inspect data/hopper-expert

The data set has observations, actions and rewards, and its card says which environment, run and policy they are from. \
Nothing is written over: --out is a new folder. With --min-return other episodes are played until enough are good, at \
most twenty for each that is asked for.")]
pub(crate) struct Record {
    #[command(flatten)]
    of: OfRun,
    /// Number of episodes.
    #[arg(long, value_name = "N", value_parser = agents::episodes)]
    episodes: u64,
    /// Folder to write; it must not exist.
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
    /// How actions are chosen.
    #[arg(long, value_name = "POLICY", value_enum, default_value = "sample")]
    policy: Policy,
    /// Keep only episodes with at least this return.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    min_return: Option<f64>,
    /// Environment to play in [default: that of the run].
    #[arg(long, value_name = "ENV")]
    env: Option<String>,
    /// Steps after which an episode is cut off [default: the limit of the environment, or 10,000].
    #[arg(long, value_name = "N", value_parser = positive)]
    max_steps: Option<usize>,
    /// Part of the episodes to hold out for validation.
    #[arg(long, value_name = "PART", default_value = "0")]
    holdout: f64,
    /// Seed of the episodes and of drawn actions.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Print what was recorded as JSON.
    #[arg(long)]
    json: bool,
}

impl Record {
    pub(crate) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let environment = environment_of(&trained, self.env.as_deref())?;
        let options = RecordOptions {
            episodes: self.episodes,
            policy: self.policy.into(),
            min_return: self.min_return,
            max_steps: limit(self.max_steps),
            holdout: self.holdout,
            seed: self.seed,
        };
        let meter = Meter::new("recording", "episodes", Some(self.episodes), self.json);
        let done =
            record(&trained, &environment, &options, &self.out, &mut |RecordProgress { kept, .. }| {
                meter.at(kept, Some(self.episodes));
            });
        meter.end();
        let Recorded { returns, played, .. } = done?;
        if self.json {
            return json(&json!({
                "run": trained.info.id, "environment": environment.name(), "options": options,
                "played": played, "returns": returns, "out": in_json(&self.out),
            }));
        }
        let chosen = match played > self.episodes {
            true => format!(" of {} that were played", count(played)),
            false => String::new(),
        };
        result(&format!(
            "{}: {}{chosen} in {}\nreturn: {}\n",
            self.out.display(),
            counted(self.episodes, "episode"),
            environment.name(),
            in_words(&returns)
        ))?;
        let (program, out) = (program(), quoted(&self.out.display().to_string()));
        note(&format!("learn from them: {program} train gail --demos {out}, or bc, which is faster"));
        Ok(())
    }
}
