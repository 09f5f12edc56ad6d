//! What happens while a policy acts in several environments for a number of steps.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_envs::Finished;

use super::PolicyActor;
use crate::data::{Environments, TaskShape};
use crate::rng;

/// The experience of one iteration. Rows are environment-major: row = environment · steps + step.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// What the agent saw and did.
    pub task: TaskShape,
    /// How many environments there are.
    pub environments: usize,
    /// Steps of each environment.
    pub steps: usize,
    /// Steps in a batch of learning, `train.batch_size`.
    pub batch_size: usize,
    /// What was acted on, as the environments gave it: `[rows, observation]`.
    pub observations: Vec<f64>,
    /// What each step led to, before an episode that ended was replaced: `[rows, observation]`.
    pub next_observations: Vec<f64>,
    /// `[rows, width]`; a choice is its number.
    pub actions: Vec<f32>,
    /// The rewards of the environments, `[rows]`.
    pub rewards: Vec<f64>,
    /// log π(a|s) of each action under the policy that chose it, in nats, `[rows]`.
    pub log_probs: Vec<f32>,
    /// Whether an episode ended by a rule of the task with this step, `[rows]`.
    pub terminated: Vec<bool>,
    /// Whether an episode ended by its time limit alone with this step, `[rows]`.
    pub truncated: Vec<bool>,
    /// How many steps the episode had had before this one, `[rows]`.
    pub times: Vec<usize>,
    /// The episodes that ended, in the order in which they did.
    pub finished: Vec<Finished>,
}

impl Rollout {
    /// Lets `actor` act for `steps` steps in each of `environments`. Its draws depend on `seed`, `iteration` and the number of the
    /// environment alone.
    pub fn collect(
        actor: &mut PolicyActor,
        environments: &mut Environments,
        steps: usize,
        seed: u64,
        iteration: u64,
    ) -> Rollout {
        let task = environments.task().clone();
        let (count, dims, width) = (environments.len(), task.observation, task.actions.width());
        let rows = count * steps;
        let mut rollout = Rollout {
            environments: count,
            steps,
            batch_size: environments.batch_size(),
            observations: vec![0.0; rows * dims],
            next_observations: vec![0.0; rows * dims],
            actions: vec![0.0; rows * width],
            rewards: vec![0.0; rows],
            log_probs: vec![0.0; rows],
            terminated: vec![false; rows],
            truncated: vec![false; rows],
            times: vec![0; rows],
            finished: Vec::new(),
            task,
        };
        let stream = |environment: usize| iteration * count as u64 + environment as u64;
        let mut noise: Vec<rng::Generator> =
            (0..count).map(|one| rng::generator(seed, "rollout", stream(one))).collect();
        let mut chosen = actor.blank(count);
        let mut log_probs = vec![0.0; count];
        for step in 0..steps {
            let shown = environments.observations();
            for (one, (observation, noise)) in shown.chunks_exact(dims).zip(&mut noise).enumerate() {
                let row = one * steps + step;
                rollout.observations[row * dims..][..dims].copy_from_slice(observation);
                log_probs[one] = actor.sample(observation, noise, one, &mut chosen);
            }
            let numbers = chosen.to_numbers();
            for (one, &time) in environments.lengths().iter().enumerate() {
                let row = one * steps + step;
                rollout.times[row] = time;
                rollout.log_probs[row] = log_probs[one];
                rollout.actions[row * width..][..width].copy_from_slice(&numbers[one * width..][..width]);
            }
            let outcome = environments.step(chosen.actions());
            let each = outcome.transitions.iter().zip(outcome.observations.chunks_exact(dims));
            for (one, (transition, next)) in each.enumerate() {
                let row = one * steps + step;
                rollout.rewards[row] = transition.reward;
                rollout.terminated[row] = transition.terminated;
                rollout.truncated[row] = transition.truncated && !transition.terminated;
                rollout.next_observations[row * dims..][..dims].copy_from_slice(next);
            }
            rollout.finished.extend_from_slice(&outcome.finished);
        }
        rollout
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rewards.len()
    }

    /// Whether an episode ended with this row, by a rule of the task or its time limit.
    pub fn ended(&self, row: usize) -> bool {
        self.terminated[row] || self.truncated[row]
    }

    /// Whether nothing follows this row in the rollout: an episode ended, or the rollout did.
    pub fn is_last(&self, row: usize) -> bool {
        self.ended(row) || (row + 1).is_multiple_of(self.steps)
    }

    /// The rows of each episode, or of the part of it that is in this rollout, in the order of the rows.
    pub fn episodes(&self) -> Vec<Range<usize>> {
        let mut first = 0;
        let last = (0..self.rows()).filter(|&row| self.is_last(row));
        last.map(|row| std::mem::replace(&mut first, row + 1)..row + 1).collect()
    }

    /// The mean return of the episodes that ended, as the environments count it; `None` where none did.
    pub fn mean_return(&self) -> Option<f64> {
        mean(self.finished.iter().map(|episode| episode.episode_return))
    }

    /// The mean length of the episodes that ended, in steps; `None` where none did.
    pub fn mean_length(&self) -> Option<f64> {
        mean(self.finished.iter().map(|episode| episode.length as f64))
    }

    /// What was acted on, `[rows, observation]`.
    pub fn observation_tensor(&self, device: &Device) -> Tensor<2> {
        let numbers: Vec<f32> = self.observations.iter().map(|&number| number as f32).collect();
        Tensor::from_data(TensorData::new(numbers, [self.rows(), self.task.observation]), device)
    }

    /// The actions as they were recorded, `[rows, width]`.
    pub fn action_tensor(&self, device: &Device) -> Tensor<2> {
        let shape = [self.rows(), self.task.actions.width()];
        Tensor::from_data(TensorData::new(self.actions.clone(), shape), device)
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}
