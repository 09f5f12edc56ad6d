//! The returns of an agent: episodes with fixed seeds, beside those of chance and of an expert.

use std::ops::ControlFlow;

use poiesis_collect::Episodes;
use serde::{Deserialize, Serialize};

use super::metric::{Measured, Progress, Subject};
use crate::data::{EnvironmentSource, Examples};
use crate::error::Result;
use crate::generate::{EpisodesRequest, Player, Playing, episodes};

/// The returns of a player.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returns {
    /// The mean return.
    pub mean: f64,
    /// The standard deviation of returns over episodes, with n − 1.
    pub deviation: f64,
    /// The standard error of the mean; `None` for one episode.
    pub standard_error: Option<f64>,
    /// The median; between the two in the middle where their number is even.
    pub median: f64,
    /// The smallest return.
    pub min: f64,
    /// The largest return.
    pub max: f64,
    /// The mean number of steps.
    pub length: f64,
    /// The fraction of episodes that ended by a rule of the task, not by a limit of steps.
    pub terminated: f64,
}

impl Returns {
    /// Those of episodes given as their return, their length and whether they were terminated.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn of(played: &[(f64, usize, bool)]) -> Returns {
        assert!(!played.is_empty(), "returns of no episodes");
        let count = played.len() as f64;
        let mut returns: Vec<f64> = played.iter().map(|&(episode_return, ..)| episode_return).collect();
        let mean = returns.iter().sum::<f64>() / count;
        let squares: f64 = returns.iter().map(|found| (found - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        returns.sort_by(f64::total_cmp);
        let middle = |place: usize| returns[place.min(returns.len() - 1)];
        Returns {
            mean,
            deviation,
            standard_error: (played.len() > 1).then(|| deviation / count.sqrt()),
            median: f64::midpoint(middle((returns.len() - 1) / 2), middle(returns.len() / 2)),
            min: returns[0],
            max: middle(returns.len()),
            length: played.iter().map(|&(_, length, _)| length as f64).sum::<f64>() / count,
            terminated: played.iter().filter(|(.., terminated)| *terminated).count() as f64 / count,
        }
    }
}

/// The returns of an agent, and what they are measured against. In JSON those of the agent are at the top level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentReturns {
    /// The environment.
    pub environment: String,
    /// How actions are chosen: the most probable one, or drawn.
    pub policy: Playing,
    /// How many episodes were played. Their starts depend on the seed alone, so all agents meet the same ones.
    pub episodes: u64,
    /// Steps after which an episode is cut off; 0 for the environment's own limit.
    pub max_steps: usize,
    /// Seed of the episodes and of drawn actions.
    pub seed: u64,
    /// The returns.
    #[serde(flatten)]
    pub returns: Returns,
    /// The mean return of as many episodes with random actions.
    pub random: f64,
    /// The mean return of the demonstrations; `None` where there are none, or their rewards are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert: Option<f64>,
    /// (mean − random) / (expert − random): 0 for chance and 1 for the expert; `None` without an expert that is better than chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalised: Option<f64>,
    /// The mean return from which the environment counts as solved, where there is such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// Plays episodes and measures their returns; also returns the mean return from which the environment counts as solved.
///
/// # Errors
///
/// Those of [`episodes`].
///
/// # Panics
///
/// When no episode is asked for.
pub fn returns(
    player: Player<'_>,
    environment: &EnvironmentSource,
    request: &EpisodesRequest,
    progress: &mut dyn FnMut(u64),
) -> Result<(Returns, Option<f64>)> {
    let mut played = Vec::new();
    let spec = episodes(player, environment, request, &mut |_, episode| {
        played.push((episode.episode_return, episode.length, episode.terminated));
        progress(played.len() as u64);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((Returns::of(&played), spec.reward_threshold))
}

/// The mean return of demonstrations; `None` where no rewards are known.
pub fn expert_return(demonstrations: &Episodes) -> Option<f64> {
    let known: Vec<f64> = demonstrations.iter().filter_map(|episode| episode.total_reward()).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

/// Where a return lies between chance, 0, and an expert, 1; `None` for an expert no better than chance.
pub fn normalised(mean: f64, random: f64, expert: f64) -> Option<f64> {
    (expert > random).then(|| (mean - random) / (expert - random))
}

/// Measures an agent that takes its most probable action.
pub(super) fn measure_mode(
    subject: &Subject<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Measured>> {
    measure(subject, Playing::Mode, "playing, most probable actions", progress)
}

/// Measures an agent that draws its actions.
pub(super) fn measure_sample(
    subject: &Subject<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Measured>> {
    measure(subject, Playing::Sample, "playing, drawn actions", progress)
}

fn measure(
    subject: &Subject<'_>,
    playing: Playing,
    what: &'static str,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Measured>> {
    let (Some(agent), Examples::Experience(experience)) =
        (subject.trained.abilities().act, &subject.held_out)
    else {
        return Ok(None);
    };
    let protocol = subject.protocol;
    let request = EpisodesRequest {
        seed: protocol.seed,
        first: 0,
        count: protocol.episodes,
        max_steps: protocol.max_steps,
        transitions: false,
        scenes: false,
    };
    let mut play = |player, what| {
        let mut report = Progress::reporter(what, "episodes", request.count, progress);
        returns(player, &experience.environment, &request, &mut report)
    };
    let random = match subject.random_return.get() {
        Some(&random) => random,
        None => {
            let (random, _) = play(Player::Random, "playing, random actions")?;
            *subject.random_return.get_or_init(|| random.mean)
        }
    };
    let measured = Measured::try_timed(|| {
        let (returns, threshold) = play(Player::new(playing, agent), what)?;
        let expert = experience.demonstrations.as_ref().and_then(expert_return);
        Ok(AgentReturns {
            environment: experience.environment.name().to_owned(),
            policy: playing,
            episodes: request.count,
            max_steps: request.max_steps,
            seed: request.seed,
            random,
            expert,
            normalised: expert.and_then(|expert| normalised(returns.mean, random, expert)),
            threshold,
            returns,
        })
    });
    measured.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Balancer;

    #[test]
    fn returns_are_summed_up_as_defined() {
        let found = Returns::of(&[(1.0, 10, true), (4.0, 20, false), (2.0, 30, true), (5.0, 40, true)]);
        let expected = Returns {
            mean: 3.0,
            // Squares of -2, 1, -1 and 2 over three.
            deviation: (10.0_f64 / 3.0).sqrt(),
            standard_error: Some((10.0_f64 / 3.0).sqrt() / 2.0),
            median: 3.0,
            min: 1.0,
            max: 5.0,
            length: 25.0,
            terminated: 0.75,
        };
        assert_eq!(found, expected);
        let one = Returns::of(&[(7.0, 3, false)]);
        assert_eq!((one.mean, one.median, one.deviation, one.max), (7.0, 7.0, 0.0, 7.0));
        assert_eq!(one.standard_error, None, "one episode says nothing of others");
        let odd = Returns::of(&[(9.0, 1, true), (1.0, 1, true), (2.0, 1, true)]);
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 9.0));
    }

    #[test]
    fn a_return_is_0_for_chance_and_1_for_the_expert() {
        assert_eq!(normalised(20.0, 20.0, 200.0), Some(0.0));
        assert_eq!(normalised(200.0, 20.0, 200.0), Some(1.0));
        assert_eq!(normalised(-150.0, -200.0, -100.0), Some(0.5));
        assert_eq!(normalised(3.0, 5.0, 5.0), None, "nothing to divide by");
        assert_eq!(normalised(3.0, 5.0, 4.0), None, "an expert worse than chance");
    }

    #[test]
    fn the_same_seed_gives_the_same_returns_and_skill_shows() {
        let balancer = Balancer::new();
        let source = EnvironmentSource::parse("cartpole").unwrap();
        let request = |seed| EpisodesRequest {
            seed,
            first: 0,
            count: 20,
            max_steps: 0,
            transitions: false,
            scenes: false,
        };
        let mut done = Vec::new();
        let mut play =
            |player, seed| returns(player, &source, &request(seed), &mut |count| done.push(count)).unwrap();
        let (mode, threshold) = play(Player::Mode(&balancer), 0);
        assert_eq!(play(Player::Mode(&balancer), 0).0, mode);
        let (random, _) = play(Player::Random, 0);
        assert_ne!(play(Player::Random, 1).0, random);
        assert!(mode.mean > 100.0 && random.mean < 40.0, "{mode:?} {random:?}");
        // Each step of this environment gives 1.
        assert_eq!((random.length, random.terminated, threshold), (random.mean, 1.0, Some(475.0)));
        assert_eq!(done[..20], (1..=20).collect::<Vec<u64>>());
    }

    #[test]
    fn results_are_flat_and_are_read_back() {
        let result = AgentReturns {
            environment: "cartpole".into(),
            policy: Playing::Sample,
            episodes: 50,
            max_steps: 0,
            seed: 0,
            returns: Returns::of(&[(1.0, 2, true)]),
            random: 0.5,
            expert: None,
            normalised: None,
            threshold: Some(475.0),
        };
        let measured = Measured::timed(|| &result);
        assert_eq!(measured.values["mean"], 1.0);
        assert_eq!(measured.values["policy"], "sample");
        assert!(!measured.values.contains_key("expert"));
        assert_eq!(measured.read::<AgentReturns>().unwrap(), result);
    }
}
