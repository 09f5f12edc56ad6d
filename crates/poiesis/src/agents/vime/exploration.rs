//! The environments of a curious agent, with what it remembers between iterations.

use std::collections::VecDeque;

use crate::agents::Rollout;
use crate::config::DataConfig;
use crate::data::{Amount, DataSpec, EnvironmentNeeds, Environments, Replay, Source, SourceOptions};
use crate::error::{Error, Result};
use crate::nn::{StateDict, StateTensor};

/// The name under which the medians are saved.
const MEDIANS: &str = "medians";

/// Iterations whose medians normalise the gains.
const REMEMBERED: usize = 10;

/// Environments, the pool of transitions that the dynamics are fitted to, and the scale of the gains.
pub struct Exploration {
    /// Where the agent acts.
    pub environments: Environments,
    /// The transitions that the dynamics are fitted to.
    pub replay: Replay,
    /// The scale of the gains.
    pub medians: Medians,
}

/// What a curious agent needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplorationNeeds {
    /// What it needs of its environments.
    pub environments: EnvironmentNeeds,
    /// The most rows of the pool.
    pub replay_size: usize,
}

impl Exploration {
    /// Adds a rollout to the pool, path by path.
    pub fn remember(&mut self, rollout: &Rollout) {
        let (dims, width) = (rollout.task.observation, rollout.task.actions.width());
        let numbers = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        for path in rollout.episodes() {
            let observations = numbers(&rollout.observations[path.start * dims..path.end * dims]);
            let last = numbers(&rollout.next_observations[(path.end - 1) * dims..path.end * dims]);
            let actions = &rollout.actions[path.start * width..path.end * width];
            self.replay.add_path(&observations, actions, &last);
        }
    }
}

impl Source for Exploration {
    type Needs = ExplorationNeeds;

    fn held_values(needs: &ExplorationNeeds, spec: &DataSpec, config: &DataConfig) -> f64 {
        let row = spec.task().map_or(0, |task| task.observation + task.actions.width() + 1);
        // The pool, and its copy from before each step, in case the step fails.
        let pool = 2.0 * row as f64 * needs.replay_size as f64;
        Environments::held_values(&needs.environments, spec, config) + pool
    }

    fn open(needs: &ExplorationNeeds, options: &SourceOptions<'_>) -> Result<Exploration> {
        let environments = Environments::open(&needs.environments, options)?;
        let task = environments.task();
        let replay = Replay::new(needs.replay_size, task.observation, task.actions.width());
        Ok(Exploration { environments, replay, medians: Medians::default() })
    }

    fn amount(&self) -> Amount {
        self.environments.amount()
    }

    fn can_fail(&self) -> bool {
        true
    }

    fn failure(&mut self) -> Option<Error> {
        self.environments.failure()
    }

    fn state(&self) -> StateDict {
        let mut state = self.environments.state().with(self.replay.state(self.environments.device()));
        let words: Vec<u64> = self.medians.0.iter().map(|median| median.to_bits()).collect();
        if !words.is_empty() {
            state.insert(MEDIANS.into(), StateTensor::of_words(&words, self.environments.device()));
        }
        state
    }

    fn restore(&mut self, saved: &StateDict) -> Result<(), String> {
        self.environments.restore(saved)?;
        self.replay.restore(saved)?;
        let words = saved.get(MEDIANS).map(StateTensor::to_words).unwrap_or_default();
        if words.len() > REMEMBERED {
            return Err(format!("`{MEDIANS}` has {} numbers, and {REMEMBERED} are used", words.len()));
        }
        self.medians = Medians(words.into_iter().map(f64::from_bits).collect());
        Ok(())
    }
}

/// The medians of the gains of the last ten iterations, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Medians(VecDeque<f64>);

impl Medians {
    /// Adds the median of `gains`, of which there is at least one, and returns it.
    pub fn add(&mut self, gains: &[f64]) -> f64 {
        let median = median(gains);
        self.0.push_back(median);
        if self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
        median
    }

    /// Gains as multiples of the mean median; zeros while that is zero.
    pub fn normalize(&self, gains: &[f64]) -> Vec<f64> {
        let scale = self.0.iter().sum::<f64>() / self.0.len().max(1) as f64;
        gains.iter().map(|gain| if scale > 0.0 { gain / scale } else { 0.0 }).collect()
    }
}

/// The middle of the sorted values, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    (sorted[low] + sorted[high]) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_divided_by_the_mean_of_the_last_ten_medians() {
        let mut medians = Medians::default();
        assert_eq!(medians.add(&[5.0, 1.0, 3.0]), 3.0);
        assert_eq!(medians.normalize(&[3.0, 6.0]), [1.0, 2.0]);
        assert_eq!(medians.add(&[2.0, 4.0, 100.0, 0.0]), 3.0, "the mean of the two in the middle");
        (0..10).for_each(|_| _ = medians.add(&[8.0]));
        assert_eq!(medians.normalize(&[4.0]), [0.5], "the medians of earlier iterations are forgotten");
    }

    #[test]
    fn gains_of_zero_give_no_bonus() {
        let mut medians = Medians::default();
        medians.add(&[0.0, 0.0, 0.1]);
        assert_eq!(medians.normalize(&[0.0, 0.1]), [0.0, 0.0]);
    }
}
