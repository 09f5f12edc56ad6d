//! `poiesis discover states`.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::discover::{States, StatesOptions, states};
use poiesis::generate::{Player, Playing};
use serde_json::json;

use crate::args::{OfRun, Out};
use crate::commands::agents::{Policy, environment_of, limit};
use crate::commands::pictures::{self, positive};
use crate::render::{Meter, count, expect_none, failure, json, number, result, table};

/// The word for no agent.
const RANDOM: &str = "random";

/// Show which states an agent visits, with and without curiosity
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover states runs/vime-mountain-car-sparse
  poiesis discover states runs/vime-mountain-car-sparse --against runs/trpo-mountain-car-sparse
  poiesis discover states runs/ppo-cartpole --dims angle,angular-velocity --against random
  poiesis discover states runs/vime-half-cheetah-sparse --dims 0,8 --steps 50000

The agent plays, drawing its actions as in training, and the map shows how often each cell of two numbers of the \
observation was visited, on a logarithmic scale of colours. The axes are the limits of the environment, or where there \
are none they reach as far as was visited. With --against both maps have the same axes and colours. COVERAGE is the part \
of the cells that were visited. `poiesis envs ENV` lists the names of the numbers. Earlier checkpoints, such as --step \
1000, show how the map grows.")]
pub(super) struct StatesVerb {
    #[command(flatten)]
    of: OfRun,
    /// The two numbers of an observation that are the axes, by name or from 0.
    #[arg(long, value_name = "A,B", default_value = "0,1")]
    dims: String,
    /// Steps to play.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = positive)]
    steps: usize,
    /// Another run in the same environment to show beside it, or `random` for random actions.
    #[arg(long, value_name = "RUN|random")]
    against: Option<String>,
    /// How actions are chosen.
    #[arg(long, value_name = "POLICY", value_enum, default_value = "sample")]
    policy: Policy,
    /// Cells along each axis.
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u16).range(2..=256))]
    bins: u16,
    /// Environment to play in [default: that of the run].
    #[arg(long, value_name = "ENV")]
    env: Option<String>,
    /// Steps after which an episode is cut off [default: the limit of the environment, or 10,000].
    #[arg(long, value_name = "N", value_parser = positive)]
    max_steps: Option<usize>,
    /// Seed of the episodes and of drawn actions.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    out: Out,
    /// Print the results, with the visits of each cell, as JSON.
    #[arg(long)]
    json: bool,
}

impl StatesVerb {
    pub(super) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let environment = environment_of(&trained, self.env.as_deref())?;
        let out = self.out.resolve(&trained, "states", "png")?;
        expect_none(
            "a map of states, whose cells have their own size",
            &[("--scale", self.out.scale.is_some())],
        )?;
        let other = match self.against.as_deref() {
            None | Some(RANDOM) => None,
            Some(run) => Some(self.of.which().open(Path::new(run))?),
        };
        if let Some(other) = &other {
            let (own, theirs) = (trained.spec.task()?, other.spec.task()?);
            if own.describe() != theirs.describe() {
                let what = format!(
                    "{} acts in {}, and {} in {}",
                    other.info.id, theirs.environment, trained.info.id, own.environment
                );
                return Err(failure(what, "give a run in the same environment (--against RUN)"));
            }
        }
        let playing = Playing::from(self.policy);
        let mut players = vec![player(&trained, playing)?];
        if let Some(other) = &other {
            players.push(player(other, playing)?);
        } else if self.against.is_some() {
            players.push(("random actions".to_owned(), Player::Random));
        }
        let options = StatesOptions {
            dims: self.dims.clone(),
            steps: self.steps as u64,
            bins: usize::from(self.bins),
            max_steps: limit(self.max_steps),
            seed: self.seed,
        };
        let total = Some(options.steps * players.len() as u64);
        let meter = Meter::new("playing", "steps", total, self.json);
        let found = states(&players, &environment, &options, &mut |done| meter.at(done, total));
        meter.end();
        let found = found?;
        match self.json {
            true => json(&json!({ "run": trained.info.id, "options": options, "found": found }))?,
            false => result(&render(&found))?,
        }
        let made = json!({
            "verb": "discover states", "options": options, "policy": playing, "against": self.against,
            "environment": environment.name(),
        });
        found.picture().write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        if self.json { Ok(()) } else { result(&format!("{}\n", out.display())) }
    }
}

/// The agent of a run, under its name.
fn player(trained: &Trained, playing: Playing) -> Result<(String, Player<'_>)> {
    Ok((trained.info.id.clone(), Player::new(playing, trained.agent()?)))
}

fn render(found: &States) -> String {
    let [first, second] = &found.axes;
    let mut text = format!("states of {}", found.environment);
    for axis in [first, second] {
        text.push_str(&format!(", {} from {} to {}", axis.name, number(axis.low), number(axis.high)));
    }
    text.push_str(&format!(", {0}×{0} cells\n", found.bins));
    let rows: Vec<Vec<String>> = found
        .players
        .iter()
        .map(|player| {
            vec![
                player.name.clone(),
                count(player.steps),
                count(player.episodes),
                format!("{:.1} %", 100.0 * player.coverage),
            ]
        })
        .collect();
    text + &table(&["PLAYER", ">STEPS", ">EPISODES", ">COVERAGE"], &rows)
}
