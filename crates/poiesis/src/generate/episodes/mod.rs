//! Episodes of an environment, played by an agent or at random: the one way to play them for every verb.
//!
//! Episode *i* of a seed depends on `(seed, i)` and the player alone, not on how many are played or how many at the same time.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use poiesis_envs::{Action, EnvError, Environment, Scene, Space, Spec};
use rand::Rng as _;
use rand_distr::{Distribution as _, Exp1, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::abilities::{Act, Acting, Chosen};
use crate::data::{EnvironmentSource, TaskShape};
use crate::error::{Error, Result};
use crate::rng;

/// Episodes that are played at the same time, at most.
const TOGETHER: usize = 16;

/// Steps after which an episode without a time limit of its own is cut off.
pub const LONGEST: usize = 10_000;

/// How actions are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Playing {
    /// At random, uniform within the limits of the action space.
    Random,
    /// The agent's most probable action.
    Mode,
    /// Drawn from the agent's policy, as in training.
    Sample,
}

impl Playing {
    /// Its name in one word.
    pub fn name(self) -> &'static str {
        match self {
            Playing::Random => "random",
            Playing::Mode => "mode",
            Playing::Sample => "sample",
        }
    }
}

/// Who plays.
#[derive(Clone, Copy)]
pub enum Player<'a> {
    /// Nobody: actions are drawn uniformly from the action space.
    Random,
    /// An agent that takes its most probable action.
    Mode(&'a dyn Act),
    /// An agent whose actions are drawn from its policy.
    Sample(&'a dyn Act),
}

impl<'a> Player<'a> {
    /// The player that chooses actions as `playing` says; the agent is not asked where they are random.
    pub fn new(playing: Playing, agent: &'a dyn Act) -> Player<'a> {
        match playing {
            Playing::Random => Player::Random,
            Playing::Mode => Player::Mode(agent),
            Playing::Sample => Player::Sample(agent),
        }
    }

    /// How it chooses actions.
    pub fn playing(&self) -> Playing {
        match self {
            Player::Random => Playing::Random,
            Player::Mode(_) => Playing::Mode,
            Player::Sample(_) => Playing::Sample,
        }
    }

    fn agent(&self) -> Option<&'a dyn Act> {
        match *self {
            Player::Random => None,
            Player::Mode(agent) | Player::Sample(agent) => Some(agent),
        }
    }
}

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodesRequest {
    /// Seed of starts and actions.
    pub seed: u64,
    /// The number of the first episode.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Steps after which an episode is cut off; 0 for the time limit of the environment, or [`LONGEST`] where it has none.
    pub max_steps: usize,
    /// Whether observations, actions and rewards are kept.
    pub transitions: bool,
    /// Whether a drawing of each state is kept.
    pub scenes: bool,
}

/// An episode that was played.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlayedEpisode {
    /// Its number.
    pub number: u64,
    /// The sum of its rewards.
    pub episode_return: f64,
    /// Its steps.
    pub length: usize,
    /// Whether it ended by a rule of the task; else it reached a limit of steps.
    pub terminated: bool,
    /// `[length + 1, observation]`, the first before any action; empty unless transitions are kept.
    pub observations: Vec<f64>,
    /// `[length, width]`, a choice as its number; empty unless transitions are kept.
    pub actions: Vec<f64>,
    /// `[length]`; always kept.
    pub rewards: Vec<f64>,
    /// `[length + 1]`; empty unless scenes are kept.
    pub scenes: Vec<Scene>,
}

/// Receives the episodes in the order of their numbers, with what the environment is, and can end the playing.
pub type EpisodeSink<'s> = dyn FnMut(&Spec, PlayedEpisode) -> Result<ControlFlow<()>> + 's;

/// Plays the episodes that `request` asks for, passes them to `sink`, and returns what the environment is.
///
/// # Errors
///
/// [`Error::InvalidValue`] when the agent was made for other observations or actions; [`Error::Environment`] when the environment
/// cannot be made or fails, with the episode and the step; and those of `sink`.
pub fn episodes(
    player: Player<'_>,
    source: &EnvironmentSource,
    request: &EpisodesRequest,
    sink: &mut EpisodeSink<'_>,
) -> Result<Spec> {
    // Programs take long to start, and more of them than threads are not faster.
    let listed = poiesis_envs::list().iter().any(|listed| listed.name == source.name());
    let most = if listed { TOGETHER } else { rayon::current_num_threads().min(TOGETHER) };
    let together = usize::try_from(request.count).unwrap_or(most).clamp(1, most);
    let environments = source.make_all(together)?;
    let spec = environments[0].spec().clone();
    if let Some(agent) = player.agent() {
        expect_task(agent.task(), &TaskShape::of(source.name(), &spec))?;
    }
    let limit = match (request.max_steps, spec.time_limit) {
        (0, limit) => limit.unwrap_or(LONGEST),
        (most, limit) => limit.map_or(most, |limit| most.min(limit)),
    };
    let table = Table { request, limit, spec: &spec };
    table.play(player, environments, sink)?;
    Ok(spec)
}

/// Returns an error when an agent made for one task cannot act in another.
fn expect_task(agent: &TaskShape, found: &TaskShape) -> Result<()> {
    if (agent.observation, agent.actions) == (found.observation, found.actions) {
        return Ok(());
    }
    let reason = format!(
        "it has {}, and the agent was trained in {} with {}",
        found.describe(),
        agent.environment,
        agent.describe()
    );
    let remedy =
        "give an environment with the same observations and actions, or leave it out for the agent's own";
    Err(Error::invalid_value("env", &found.environment, &reason, remedy))
}

/// What all episodes have in common.
struct Table<'a> {
    request: &'a EpisodesRequest,
    limit: usize,
    spec: &'a Spec,
}

/// An environment with its running episode.
struct Lane {
    environment: Box<dyn Environment>,
    observation: Vec<f64>,
    episode: PlayedEpisode,
    ended: bool,
    failed: Option<EnvError>,
}

impl Table<'_> {
    fn play(
        &self,
        player: Player<'_>,
        environments: Vec<Box<dyn Environment>>,
        sink: &mut EpisodeSink<'_>,
    ) -> Result<()> {
        let EpisodesRequest { seed, first, count, .. } = *self.request;
        let mut waiting = first..first + count;
        let mut next = first;
        let mut done = BTreeMap::new();
        let mut lanes: Vec<Lane> =
            environments.into_iter().map(|environment| Lane::new(environment, self.spec)).collect();
        let mut running = 0;
        let mut actor = player.agent().map(Act::actor);
        let (mut observations, mut indices, mut chosen) = (Vec::new(), Vec::new(), Chosen::default());
        while next < first + count {
            // Those that have ended begin the next episode; the last ones are left out, so the lanes that run stand first.
            while running < lanes.len()
                && let Some(number) = waiting.next()
            {
                lanes[running].begin(number, self)?;
                running += 1;
            }
            let active = &mut lanes[..running];
            observations.clear();
            indices.clear();
            for lane in active.iter() {
                observations.extend_from_slice(&lane.observation);
                indices.push(lane.episode.number << 32 | lane.episode.length as u64);
            }
            match (&mut actor, player.playing()) {
                (Some(actor), Playing::Mode) => actor.act(&observations, Acting::Mode, &mut chosen),
                (Some(actor), _) => {
                    actor.act(&observations, Acting::Sample { seed, indices: &indices }, &mut chosen);
                }
                (None, _) => random_actions(&self.spec.action, seed, &indices, &mut chosen),
            }
            let act = |(at, lane): (usize, &mut Lane)| lane.step(action(&chosen, at, self.spec), self);
            active.par_iter_mut().enumerate().for_each(act);
            let mut at = 0;
            while at < running {
                if let Some(failed) = lanes[at].failed.take() {
                    return Err(failed.into());
                }
                if lanes[at].ended {
                    let episode = std::mem::take(&mut lanes[at].episode);
                    done.insert(episode.number, episode);
                    running -= 1;
                    lanes.swap(at, running);
                } else {
                    at += 1;
                }
            }
            while let Some(episode) = done.remove(&next) {
                next += 1;
                if sink(self.spec, episode)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Lane {
    fn new(environment: Box<dyn Environment>, spec: &Spec) -> Lane {
        let observation = vec![0.0; spec.observation.width()];
        Lane { environment, observation, episode: PlayedEpisode::default(), ended: false, failed: None }
    }

    fn begin(&mut self, number: u64, table: &Table<'_>) -> Result<()> {
        self.episode = PlayedEpisode { number, ..PlayedEpisode::default() };
        self.ended = false;
        // Not the starts of training, whose purpose is "episode".
        let start = rng::generator(table.request.seed, "played episode", number).next_u64();
        self.environment
            .reset(start, &mut self.observation)
            .and_then(|()| expect_finite(table.spec, 0, 0.0, &self.observation))
            .map_err(|reason| self.error(0, reason))?;
        self.keep(table);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, table: &Table<'_>) {
        let step = self.episode.length + 1;
        let stepped = self.environment.step(action, &mut self.observation).and_then(|brought| {
            expect_finite(table.spec, step, brought.reward, &self.observation).map(|()| brought)
        });
        let brought = match stepped {
            Ok(brought) => brought,
            Err(reason) => {
                self.failed = Some(self.error(step, reason));
                return;
            }
        };
        if table.request.transitions {
            match action {
                Action::Discrete(choice) => self.episode.actions.push(choice as f64),
                Action::Continuous(numbers) => self.episode.actions.extend_from_slice(numbers),
            }
        }
        self.episode.length = step;
        self.episode.rewards.push(brought.reward);
        self.episode.episode_return += brought.reward;
        self.episode.terminated = brought.terminated;
        self.ended = brought.ended() || step >= table.limit;
        self.keep(table);
    }

    /// Keeps what is asked for of the present state.
    fn keep(&mut self, table: &Table<'_>) {
        if table.request.transitions {
            self.episode.observations.extend_from_slice(&self.observation);
        }
        if table.request.scenes {
            self.episode.scenes.push(self.environment.scene());
        }
    }

    fn error(&self, step: usize, reason: EnvError) -> EnvError {
        let episode = self.episode.number;
        EnvError::InEnvironment { index: 0, episode, step, reason: Box::new(reason) }
    }
}

/// Returns an error for a number that is infinite or not a number.
fn expect_finite(spec: &Spec, step: usize, reward: f64, observation: &[f64]) -> Result<(), EnvError> {
    let what = match observation.iter().position(|number| !number.is_finite()) {
        Some(at) => format!("number {at} of the observation is {}", observation[at]),
        None if !reward.is_finite() => format!("the reward is {reward}"),
        None => return Ok(()),
    };
    Err(EnvError::NotFinite { environment: spec.name.clone(), step, what })
}

fn action<'a>(chosen: &'a Chosen, at: usize, spec: &Spec) -> Action<'a> {
    match chosen {
        Chosen::Discrete(choices) => Action::Discrete(choices[at]),
        Chosen::Continuous(numbers) => {
            let width = spec.action.width();
            Action::Continuous(&numbers[at * width..][..width])
        }
    }
}

/// An action for each index, which depends on the seed and the index alone: a choice or a number between limits uniformly, a number
/// with one limit at an exponential distance from it, and one without limits normally.
fn random_actions(space: &Space, seed: u64, indices: &[u64], chosen: &mut Chosen) {
    let generators = indices.iter().map(|&index| rng::generator(seed, "random action", index));
    *chosen = match space {
        Space::Discrete(choices) => Chosen::Discrete(
            generators.map(|mut generator| rng::below(&mut generator, *choices as u64) as usize).collect(),
        ),
        Space::Box { low, high } => {
            let number = |generator: &mut rng::Generator, (&low, &high): (&f64, &f64)| {
                let exponential = |generator: &mut rng::Generator| -> f64 { Exp1.sample(generator) };
                match (low.is_finite(), high.is_finite()) {
                    (true, true) => low + (high - low) * rng::unit_f64(generator),
                    (true, false) => low + exponential(generator),
                    (false, true) => high - exponential(generator),
                    (false, false) => StandardNormal.sample(generator),
                }
            };
            let numbers = |mut generator: rng::Generator| -> Vec<f64> {
                low.iter().zip(high).map(|limits| number(&mut generator, limits)).collect()
            };
            Chosen::Continuous(generators.flat_map(numbers).collect())
        }
    };
}

#[cfg(test)]
mod tests;
