//! What an expert did, as tensors.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::{ActionsCard, Episodes};

use super::{ActionShape, TaskShape};
use crate::error::{Error, Result};
use crate::rng;

/// Pairs of an observation and an action of an expert, in the order of the episodes.
#[derive(Clone)]
pub struct Demonstrations {
    task: TaskShape,
    /// `[len, observation]`.
    observations: Arc<Vec<f32>>,
    /// `[len, width]`; a choice is its number.
    actions: Arc<Vec<f32>>,
    episodes: usize,
}

/// Which steps of demonstrations are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsample {
    /// How many episodes, the first ones; 0 for all.
    pub episodes: usize,
    /// Every n-th step of an episode is used, from an offset drawn for each; 1 for all steps.
    pub every: usize,
}

impl Demonstrations {
    /// All pairs of `episodes`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for demonstrations of another task than `task`, and where there are none.
    pub fn of(episodes: &Episodes, task: &TaskShape) -> Result<Demonstrations> {
        Demonstrations::subsampled(episodes, task, Subsample { episodes: 0, every: 1 }, 0)
    }

    /// Some pairs of `episodes`; the offset of an episode depends on `seed` and its number.
    ///
    /// # Errors
    ///
    /// Those of [`of`](Demonstrations::of), and [`Error::InvalidValue`] when there are fewer episodes than asked for.
    pub fn subsampled(
        episodes: &Episodes,
        task: &TaskShape,
        subsample: Subsample,
        seed: u64,
    ) -> Result<Demonstrations> {
        let (there, every) = (episodes.len(), subsample.every.max(1));
        let wanted = if subsample.episodes == 0 { there } else { subsample.episodes };
        if wanted > there {
            return Err(invalid(
                &format!("it has {there} episodes, and {wanted} are to be used"),
                "use fewer, or give more",
            ));
        }
        let (width, dims) = (task.actions.width(), task.observation);
        if episodes.observation() != dims || !is_of(episodes.actions(), task.actions) {
            let reason = format!(
                "they are of another environment: they have observations of {} numbers and {}, and `{}` has {}",
                episodes.observation(),
                described(episodes.actions()),
                task.environment,
                task.describe()
            );
            return Err(invalid(&reason, OF_ANOTHER));
        }
        let (mut observations, mut actions) = (Vec::new(), Vec::new());
        for index in 0..wanted {
            let episode = episodes.episode(index);
            let steps = episode.transitions;
            let offset = rng::below(&mut rng::generator(seed, "demonstrations", index as u64), every as u64);
            for step in (offset as usize..steps).step_by(every) {
                observations.extend_from_slice(&episode.observations[step * dims..][..dims]);
                actions.extend_from_slice(&episode.actions[step * width..][..width]);
            }
        }
        if let ActionShape::Discrete { choices } = task.actions
            && let Some(other) = actions
                .iter()
                .find(|&&choice| choice < 0.0 || choice.fract() != 0.0 || choice >= choices as f32)
        {
            let reason = format!(
                "they are of another environment: an action is {other}, and `{}` has {choices} choices",
                task.environment
            );
            return Err(invalid(&reason, OF_ANOTHER));
        }
        if actions.is_empty() {
            return Err(invalid("they have no steps", "give episodes, or use more of their steps"));
        }
        let (observations, actions) = (Arc::new(observations), Arc::new(actions));
        Ok(Demonstrations { task: task.clone(), observations, actions, episodes: wanted })
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.actions.len() / self.task.actions.width()
    }

    /// Whether there are none, which does not happen.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// From how many episodes they are.
    pub fn episodes(&self) -> usize {
        self.episodes
    }

    /// All observations, `[len, observation]`, row by row.
    pub fn observations(&self) -> &[f32] {
        &self.observations
    }

    /// All actions, `[len, width]`, row by row; a choice is its number.
    pub fn actions(&self) -> &[f32] {
        &self.actions
    }

    /// The pairs of these numbers: observations `[n, observation]` and actions `[n, width]`.
    ///
    /// # Panics
    ///
    /// When there is no pair of such a number.
    pub fn batch(&self, indices: &[usize], device: &Device) -> (Tensor<2>, Tensor<2>) {
        let tensor = |values: &[f32], width: usize| {
            let rows: Vec<f32> =
                indices.iter().flat_map(|index| &values[index * width..][..width]).copied().collect();
            Tensor::from_data(TensorData::new(rows, [indices.len(), width]), device)
        };
        let width = self.task.actions.width();
        (tensor(&self.observations, self.task.observation), tensor(&self.actions, width))
    }
}

/// What to do about demonstrations of another environment.
const OF_ANOTHER: &str = "give demonstrations of this environment, or name the other one";

/// Whether actions are of this kind. Of choices the largest that occurs is looked at later: a file may not tell how many there are.
fn is_of(actions: ActionsCard, shape: ActionShape) -> bool {
    match (actions, shape) {
        (ActionsCard::Discrete { .. }, ActionShape::Discrete { .. }) => true,
        (ActionsCard::Continuous { dims }, ActionShape::Continuous { dims: wanted }) => dims == wanted,
        _ => false,
    }
}

fn described(actions: ActionsCard) -> String {
    match actions {
        ActionsCard::Discrete { choices } => ActionShape::Discrete { choices }.describe(),
        ActionsCard::Continuous { dims } => ActionShape::Continuous { dims }.describe(),
    }
}

fn invalid(reason: &str, remedy: &str) -> Error {
    Error::invalid_value("data.demonstrations", "these episodes", reason, remedy)
}

#[cfg(test)]
mod tests {
    use poiesis_collect::{Dataset, Episode, ExperienceWriter, Split, write_experience};

    use super::*;

    /// Episodes of 10 steps, whose observations are 100 · episode + step and whose actions are `action`.
    fn episodes(count: usize, actions: ActionsCard, action: f32) -> (tempfile::TempDir, Episodes) {
        let folder = tempfile::tempdir().unwrap();
        let episode = |index: usize| Episode {
            observations: (0..11).map(|step| (100 * index + step) as f32).collect(),
            actions: vec![action; 10 * actions.width()],
            rewards: vec![1.0; 10],
            terminated: true,
        };
        let out = folder.path().join("packed");
        let all = (0..count).map(|index| Ok::<_, poiesis_collect::Error>(episode(index)));
        write_experience(&out, &ExperienceWriter::new(1, actions), all).unwrap();
        let found = Dataset::open(&out).unwrap().episodes(Split::Train).unwrap();
        (folder, found)
    }

    fn task(observation: usize, actions: ActionShape) -> TaskShape {
        TaskShape { environment: "cartpole".into(), observation, actions }
    }

    const TWO: ActionShape = ActionShape::Discrete { choices: 2 };

    #[test]
    fn some_steps_of_some_episodes_are_used() {
        let (_folder, episodes) = episodes(3, ActionsCard::Discrete { choices: 2 }, 1.0);
        let all = Demonstrations::of(&episodes, &task(1, TWO)).unwrap();
        assert_eq!((all.len(), all.episodes()), (30, 3));
        let some = |seed| {
            let subsample = Subsample { episodes: 2, every: 4 };
            Demonstrations::subsampled(&episodes, &task(1, TWO), subsample, seed).unwrap()
        };
        let drawn = some(0);
        assert!((4..=6).contains(&drawn.len()), "{} of 20 steps", drawn.len());
        for pair in drawn.observations().windows(2) {
            assert!(pair[1] - pair[0] == 4.0 || pair[1] - pair[0] > 50.0, "{pair:?}");
        }
        assert_eq!(drawn.observations(), some(0).observations());
        assert!((1..20).any(|seed| some(seed).observations() != drawn.observations()), "the offset is drawn");
    }

    #[test]
    fn a_batch_has_the_pairs_of_the_numbers() {
        let (_folder, episodes) = episodes(2, ActionsCard::Discrete { choices: 2 }, 0.0);
        let all = Demonstrations::of(&episodes, &task(1, TWO)).unwrap();
        let (observations, actions) = all.batch(&[3, 0], &Device::flex());
        assert_eq!((observations.dims(), actions.dims()), ([2, 1], [2, 1]));
        let rows: Vec<f32> = observations.into_data().iter::<f32>().collect();
        assert_eq!(rows, [all.observations()[3], all.observations()[0]]);
    }

    #[test]
    fn demonstrations_of_another_environment_are_refused() {
        let (_folder, choices) = episodes(2, ActionsCard::Discrete { choices: 4 }, 3.0);
        let (_other, vectors) = episodes(2, ActionsCard::Continuous { dims: 2 }, 3.0);
        let refused = |episodes: &Episodes, task: &TaskShape| {
            let error = Demonstrations::of(episodes, task).err().unwrap();
            let text = error.to_string();
            assert!(text.contains("data.demonstrations") && text.contains("cartpole"), "{text}");
            assert!(text.contains("another environment"), "{text}");
            assert!(error.hint().unwrap().contains("of this environment"));
        };
        refused(&choices, &task(4, TWO));
        refused(&choices, &task(1, TWO));
        refused(&choices, &task(1, ActionShape::Continuous { dims: 1 }));
        refused(&vectors, &task(1, ActionShape::Continuous { dims: 3 }));
        assert!(Demonstrations::of(&vectors, &task(1, ActionShape::Continuous { dims: 2 })).is_ok());
        let more = Subsample { episodes: 5, every: 1 };
        let error =
            Demonstrations::subsampled(&vectors, &task(1, ActionShape::Continuous { dims: 2 }), more, 0);
        assert!(error.err().unwrap().to_string().contains("2 episodes, and 5"));
    }
}
