//! Episodes of an agent as a data set, from which other agents learn.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use poiesis_collect::{ActionsCard, Episode, ExperienceWriter, Report, write_experience};
use serde::{Deserialize, Serialize};

use crate::data::{ActionShape, EnvironmentSource};
use crate::error::{Error, Result};
use crate::evaluate::Returns;
use crate::generate::{EpisodesRequest, PlayedEpisode, Player, Playing, episodes};
use crate::trained::Trained;

/// Episodes that wait to be written.
const WAITING: usize = 4;
/// How many episodes are played for each that is asked for, until one says that too few are good enough.
const TRIES: u64 = 20;
/// Episodes that are played at least before that.
const FEWEST_TRIES: u64 = 200;

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordOptions {
    /// Episodes to keep.
    pub episodes: u64,
    /// How actions are chosen.
    pub policy: Playing,
    /// Episodes with a smaller return are not kept; `None` keeps all.
    pub min_return: Option<f64>,
    /// Steps after which an episode is cut off; 0 for the limit of the environment.
    pub max_steps: usize,
    /// The fraction of episodes held out for validation, in [0, 1).
    pub holdout: f64,
    /// Seed of the episodes and of drawn actions.
    pub seed: u64,
}

/// What was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The data set.
    pub report: Report,
    /// The returns of the episodes that were kept.
    pub returns: Returns,
    /// How many were played for them.
    pub played: u64,
}

/// How far a recording has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordProgress {
    /// Episodes that were kept.
    pub kept: u64,
    /// Episodes that were played.
    pub played: u64,
}

/// Plays episodes in `environment` and writes them into the new folder `out`. Which episodes they are depends on the seed alone. A
/// data set appears only when it is whole.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model is no agent; [`Error::InvalidValue`] when too few episodes reach the smallest return;
/// [`Error::Data`] when there is something in `out`, or it cannot be written; and the errors of [`episodes`].
pub fn record(
    trained: &Trained,
    environment: &EnvironmentSource,
    options: &RecordOptions,
    out: &Path,
    progress: &mut dyn FnMut(RecordProgress),
) -> Result<Recorded> {
    let agent = trained.agent()?;
    let task = agent.task();
    let actions = match task.actions {
        ActionShape::Discrete { choices } => ActionsCard::Discrete { choices },
        ActionShape::Continuous { dims } => ActionsCard::Continuous { dims },
    };
    let from = format!(
        "{} after {} steps, {}, {}, seed {}",
        trained.entry.name(),
        trained.step,
        trained.info.id,
        match options.policy {
            Playing::Random => "random actions",
            Playing::Mode => "most probable actions",
            Playing::Sample => "drawn actions",
        },
        options.seed
    );
    let chosen = options.min_return.map(|least| format!("only episodes with a return of at least {least}"));
    let writer = ExperienceWriter {
        environment: Some(environment.name().to_owned()),
        holdout: options.holdout,
        sources: vec![from],
        notes: chosen.into_iter().collect(),
        ..ExperienceWriter::new(task.observation, actions)
    };
    write(Player::new(options.policy, agent), environment, options, &writer, out, progress)
}

/// Plays on one thread and writes on another.
fn write(
    player: Player<'_>,
    environment: &EnvironmentSource,
    options: &RecordOptions,
    writer: &ExperienceWriter,
    out: &Path,
    progress: &mut dyn FnMut(RecordProgress),
) -> Result<Recorded> {
    let (sender, played) = sync_channel(WAITING);
    let mut at = RecordProgress { kept: 0, played: 0 };
    let mut kept = Vec::new();
    let report = thread::scope(|scope| {
        scope.spawn(move || play(player, environment, options, &sender));
        let episodes = played.into_iter().filter_map(|found: Result<Option<PlayedEpisode>>| {
            at.played += 1;
            let episode = match found {
                Ok(episode) => episode.map(|episode| {
                    at.kept += 1;
                    kept.push((episode.episode_return, episode.length, episode.terminated));
                    Ok(stored(&episode))
                }),
                Err(error) => Some(Err(error)),
            };
            progress(at);
            episode
        });
        write_experience(out, writer, episodes)
    })?;
    Ok(Recorded { report, returns: Returns::of(&kept), played: at.played })
}

/// Sends each episode that was played: `None` for one whose return is too small.
fn play(
    player: Player<'_>,
    environment: &EnvironmentSource,
    options: &RecordOptions,
    sender: &SyncSender<Result<Option<PlayedEpisode>>>,
) {
    let tries = match options.min_return {
        Some(_) => options.episodes.saturating_mul(TRIES).max(FEWEST_TRIES),
        None => options.episodes,
    };
    let request = EpisodesRequest {
        seed: options.seed,
        first: 0,
        count: tries,
        max_steps: options.max_steps,
        transitions: true,
        scenes: false,
    };
    let (mut kept, mut played, mut best) = (0, 0, f64::NEG_INFINITY);
    let done = episodes(player, environment, &request, &mut |_, episode| {
        played += 1;
        best = best.max(episode.episode_return);
        let good = options.min_return.is_none_or(|least| episode.episode_return >= least);
        kept += u64::from(good);
        // When the writer has failed, nobody listens any more.
        let heard = sender.send(Ok(good.then_some(episode))).is_ok();
        Ok(if heard && kept < options.episodes { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    let too_few = match options.min_return {
        // Where nobody listened to the end, the writer says why.
        Some(least) if done.is_ok() && played == tries && kept < options.episodes => {
            let reason = format!(
                "{kept} of {tries} episodes reach it, {} were asked for, and the best return is {best:.2}",
                options.episodes
            );
            Some(Error::invalid_value(
                "min_return",
                &least.to_string(),
                &reason,
                "give a smaller return or fewer episodes",
            ))
        }
        _ => None,
    };
    if let Some(error) = done.err().or(too_few) {
        // As above.
        _ = sender.send(Err(error));
    }
}

/// As a data set has it.
fn stored(episode: &PlayedEpisode) -> Episode {
    let single = |numbers: &[f64]| numbers.iter().map(|&number| number as f32).collect();
    Episode {
        observations: single(&episode.observations),
        actions: single(&episode.actions),
        rewards: single(&episode.rewards),
        terminated: episode.terminated,
    }
}

#[cfg(test)]
mod tests {
    use poiesis_collect::{Dataset, Split};

    use super::*;
    use crate::testing::Balancer;

    const OPTIONS: RecordOptions = RecordOptions {
        episodes: 5,
        policy: Playing::Mode,
        min_return: None,
        max_steps: 0,
        holdout: 0.0,
        seed: 1,
    };

    fn recorded(options: &RecordOptions, out: &Path) -> Result<Recorded> {
        let balancer = Balancer::new();
        let source = EnvironmentSource::parse("cartpole").unwrap();
        let writer = ExperienceWriter {
            environment: Some("cartpole".into()),
            ..ExperienceWriter::new(4, ActionsCard::Discrete { choices: 2 })
        };
        write(Player::new(options.policy, &balancer), &source, options, &writer, out, &mut |_| ())
    }

    #[test]
    fn what_was_played_is_in_the_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("demos");
        let found = recorded(&OPTIONS, &out).unwrap();
        assert_eq!(found.played, 5);
        let dataset = Dataset::open(&out).unwrap();
        let episodes = dataset.episodes(Split::Train).unwrap();
        assert_eq!(episodes.len(), 5);
        let card = dataset.card().experience.clone().unwrap();
        assert_eq!(card.environment.as_deref(), Some("cartpole"));
        assert!((card.mean_return.unwrap() - found.returns.mean).abs() < 1e-9);
        for episode in episodes.iter() {
            assert_eq!(episode.observations.len(), 4 * (episode.transitions + 1));
            // The balancer's rule gives the action of each observation but the last.
            for (observation, action) in episode.observations.chunks_exact(4).zip(episode.actions) {
                assert_eq!(observation[2] + 0.5 * observation[3] > 0.0, *action == 1.0);
            }
        }
        assert!(recorded(&OPTIONS, &out).is_err(), "nothing is replaced");
    }

    #[test]
    fn only_good_episodes_are_kept_and_too_few_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let drawn = RecordOptions { policy: Playing::Sample, ..OPTIONS };
        // A coin balances the pole for about 22 steps.
        let some = RecordOptions { min_return: Some(25.0), ..drawn };
        let found = recorded(&some, &folder.path().join("good")).unwrap();
        assert!(found.returns.min >= 25.0 && found.played > 5, "{found:?}");
        let out = folder.path().join("best");
        let error = recorded(&RecordOptions { min_return: Some(1e4), ..drawn }, &out).unwrap_err();
        assert!(error.to_string().contains("0 of 200 episodes reach it"), "{error}");
        assert!(!out.exists());
    }
}
