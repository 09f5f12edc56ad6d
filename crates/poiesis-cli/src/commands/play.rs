//! `poiesis play`: plays episodes, by an agent or at random, and draws them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::apply::play::{AnimationFormat, Recording};
use poiesis::data::EnvironmentSource;
use poiesis::evaluate::Returns;
use poiesis::generate::{EpisodesRequest, Player, Playing, episodes};
use poiesis::run::Run;
use poiesis::{Trained, atomic};
use serde_json::json;

use super::agents::{self, Policy, environment_of, in_words, limit};
use super::pictures::positive;
use crate::args::WhichWeights;
use crate::render::{Meter, count, exists, expect_none, failure, in_json, json, note, number, result, table};

/// Play episodes with a trained agent or at random, and draw them
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis play cartpole                                           random actions
  poiesis play runs/ppo-cartpole --record cartpole.gif
  poiesis play runs/trpo-hopper --episodes 20 --policy sample     actions drawn as in training
  poiesis play runs/ppo-cartpole --policy random                  to compare with
  poiesis play 'python my_env.py' --max-steps 500                 an environment of your own

An episode depends on the seed and its number alone, so episode 3 of a seed is the same however many are played. The \
animation has the true speed of the environment, with the step and the return so far above it. It is a GIF, or an APNG \
with .png, which is lossless. Programs of your own draw nothing.")]
pub(crate) struct Play {
    /// Folder of the run of an agent, or an environment: a name that `poiesis envs` lists, or a command.
    #[arg(value_name = "RUN|ENV")]
    what: String,
    #[command(flatten)]
    which: WhichWeights,
    /// Environment to play in [default: that of the run].
    #[arg(long, value_name = "ENV")]
    env: Option<String>,
    /// How actions are chosen [default: mode for a run, random for an environment].
    #[arg(long, value_name = "POLICY", value_enum)]
    policy: Option<Policy>,
    /// Number of episodes.
    #[arg(long, value_name = "N", default_value = "3", value_parser = agents::episodes)]
    episodes: u64,
    /// Steps after which an episode is cut off [default: the limit of the environment, or 10,000].
    #[arg(long, value_name = "N", value_parser = positive)]
    max_steps: Option<usize>,
    /// Seed of the episodes and of drawn actions.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Draw the episodes into this file: .gif, or .png for an APNG.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "record")]
    force: bool,
    /// Print the returns as JSON.
    #[arg(long)]
    json: bool,
}

/// An episode as it is shown: its return, its steps, and whether it was terminated.
type Line = (f64, usize, bool);

impl Play {
    pub(crate) fn run(self) -> Result<()> {
        self.expect_record()?;
        let trained = self.agent()?;
        let environment = match &trained {
            Some(trained) => environment_of(trained, self.env.as_deref())?,
            None => EnvironmentSource::parse(&self.what)?,
        };
        let usual = if trained.is_some() { Playing::Mode } else { Playing::Random };
        let playing = self.policy.map_or(usual, Playing::from);
        let player = match &trained {
            Some(trained) => Player::new(playing, trained.agent()?),
            None => Player::Random,
        };
        let request = EpisodesRequest {
            seed: self.seed,
            first: 0,
            count: self.episodes,
            max_steps: limit(self.max_steps),
            transitions: false,
            scenes: self.record.is_some(),
        };
        let (mut played, mut recording) = (Vec::new(), Recording::default());
        let meter = Meter::new("playing", "episodes", Some(self.episodes), self.json);
        let spec = episodes(player, &environment, &request, &mut |spec, episode| {
            if self.record.is_some() {
                recording.add(spec, &episode, self.episodes > 1)?;
            }
            played.push((episode.episode_return, episode.length, episode.terminated));
            meter.at(played.len() as u64, Some(self.episodes));
            Ok(ControlFlow::Continue(()))
        });
        meter.end();
        let (spec, returns) = (spec?, Returns::of(&played));
        // Shown first: what was played is not lost when it cannot be drawn.
        if self.json {
            self.print_json(&environment, playing, &played, &returns)?;
        } else {
            let solved = spec.reward_threshold.map(|mean| format!("; solved from {}", number(mean)));
            result(&format!(
                "{}, {}\n{}{}{}\n",
                environment.name(),
                described(playing, trained.as_ref()),
                lines(&played),
                in_words(&returns),
                solved.unwrap_or_default()
            ))?;
        }
        let Some(file) = &self.record else { return Ok(()) };
        let meter = Meter::working("drawing", self.json);
        let written = recording.write(file);
        meter.end();
        written?;
        if !self.json {
            note(&format!("{} ({} frames)", file.display(), count(recording.len() as u64)));
        }
        Ok(())
    }

    /// Refuses a file that cannot be written before anything is played.
    fn expect_record(&self) -> Result<()> {
        let Some(file) = &self.record else { return Ok(()) };
        AnimationFormat::of(file)?;
        if file.exists() && !self.force {
            return Err(exists(file, "--record"));
        }
        Ok(atomic::expect_writable(file)?)
    }

    /// The agent, where a run is played.
    fn agent(&self) -> Result<Option<Trained>> {
        let path = Path::new(&self.what);
        if Run::exists(path) || path.is_dir() {
            return Ok(Some(self.which.open(path)?));
        }
        let below = Path::new("runs").join(path);
        if Run::exists(&below) && EnvironmentSource::parse(&self.what).is_err() {
            let what = format!("`{}` is neither a run nor an environment", self.what);
            return Err(failure(what, format!("did you mean `{}`?", below.display())));
        }
        let own = self.policy.is_some_and(|policy| policy != Policy::Random);
        let [step, best, raw] = self.which.given();
        expect_none(
            &format!("{}, an environment without an agent", self.what),
            &[("--policy", own), ("--env", self.env.is_some()), step, best, raw],
        )?;
        Ok(None)
    }

    fn print_json(
        &self,
        environment: &EnvironmentSource,
        playing: Playing,
        played: &[Line],
        returns: &Returns,
    ) -> Result<()> {
        let each = played.iter().enumerate().map(|(number, (episode_return, length, terminated))| {
            json!({ "episode": number, "return": episode_return, "length": length, "terminated": terminated })
        });
        json(&json!({
            "environment": environment.name(), "policy": playing, "seed": self.seed,
            "episodes": each.collect::<Vec<_>>(), "returns": returns,
            "recording": self.record.as_deref().map(in_json),
        }))
    }
}

/// Who plays, in words.
fn described(playing: Playing, trained: Option<&Trained>) -> String {
    let agent = trained.map_or_else(String::new, |trained| {
        format!("{} after {} steps, ", trained.info.id, count(trained.step))
    });
    match playing {
        Playing::Random => "random actions".to_owned(),
        Playing::Mode => format!("{agent}most probable actions"),
        Playing::Sample => format!("{agent}drawn actions"),
    }
}

/// A line for each of the first episodes.
fn lines(played: &[Line]) -> String {
    /// More lines say no more.
    const LISTED: usize = 20;
    let row = |(number, (episode_return, length, terminated)): (usize, &Line)| {
        let end = if *terminated { "by the task" } else { "by the limit of steps" };
        vec![
            (number + 1).to_string(),
            crate::render::number(*episode_return),
            length.to_string(),
            end.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = played.iter().enumerate().take(LISTED).map(row).collect();
    let mut text = table(&[">EPISODE", ">RETURN", ">STEPS", "ENDED"], &rows);
    if played.len() > LISTED {
        text.push_str(&format!(
            "and {} more; --json lists them all\n",
            count((played.len() - LISTED) as u64)
        ));
    }
    text
}
