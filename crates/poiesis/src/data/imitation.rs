//! Demonstrations as training data: with environments in which an agent practises, and alone.

use burn::tensor::{Device, Tensor};
use poiesis_collect::Episodes;

use super::{
    Amount, DataSpec, Demonstrations, EnvironmentNeeds, Environments, Source, SourceOptions, Subsample,
};
use crate::config::DataConfig;
use crate::error::{Error, Result};
use crate::nn::StateDict;
use crate::rng;

/// From how many episodes on whole episodes are held out; of fewer, single pairs.
const EPISODES_TO_SPLIT: usize = 10;

/// What an agent needs to imitate an expert while it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImitationNeeds {
    /// What it needs of its environments.
    pub environments: EnvironmentNeeds,
    /// Which steps of the demonstrations are used.
    pub subsample: Subsample,
}

/// Environments, and an expert's pairs of observation and action to compare an agent's with.
pub struct Imitation {
    /// Where the agent acts.
    pub environments: Environments,
    /// What the expert did.
    pub demonstrations: Demonstrations,
    expert_length: f64,
    seed: u64,
    device: Device,
}

impl Imitation {
    /// The expert's mean number of steps in an episode, all of them counted.
    pub fn expert_length(&self) -> f64 {
        self.expert_length
    }

    /// `count` pairs of the expert for step `step`, drawn with replacement: observations `[count, observation]` and actions
    /// `[count, width]`.
    pub fn expert_pairs(&self, count: usize, step: u64) -> (Tensor<2>, Tensor<2>) {
        let mut generator = rng::generator(self.seed, "expert pairs", step);
        let len = self.demonstrations.len() as u64;
        let indices: Vec<usize> = (0..count).map(|_| rng::below(&mut generator, len) as usize).collect();
        self.demonstrations.batch(&indices, &self.device)
    }
}

impl Source for Imitation {
    type Needs = ImitationNeeds;

    fn held_values(needs: &ImitationNeeds, spec: &DataSpec, config: &DataConfig) -> f64 {
        Environments::held_values(&needs.environments, spec, config)
    }

    /// # Errors
    ///
    /// Those of [`Environments`], and [`Error::InvalidValue`] for demonstrations that are missing, too few or of another environment.
    fn open(needs: &ImitationNeeds, options: &SourceOptions<'_>) -> Result<Imitation> {
        let experience = options.examples.experience()?;
        let episodes = experience.expect_demonstrations()?;
        let SourceOptions { seed, device, .. } = *options;
        let demonstrations = Demonstrations::subsampled(episodes, &experience.task, needs.subsample, seed)?;
        Ok(Imitation {
            environments: Environments::open(&needs.environments, options)?,
            expert_length: mean_length(episodes, demonstrations.episodes()),
            demonstrations,
            seed,
            device: device.clone(),
        })
    }

    fn amount(&self) -> Amount {
        self.environments.amount()
    }

    fn state(&self) -> StateDict {
        self.environments.state()
    }

    fn restore(&mut self, saved: &StateDict) -> Result<(), String> {
        self.environments.restore(saved)
    }

    fn can_fail(&self) -> bool {
        true
    }

    fn failure(&mut self) -> Option<Error> {
        self.environments.failure()
    }
}

/// The mean number of steps in the first `count` episodes.
fn mean_length(episodes: &Episodes, count: usize) -> f64 {
    let steps: usize = (0..count).map(|index| episodes.episode(index).transitions).sum();
    steps as f64 / count.max(1) as f64
}

/// What is needed of demonstrations that are learned from without an environment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CloningNeeds {
    /// Which steps of the demonstrations are used.
    pub subsample: Subsample,
    /// The fraction of them that is held out, in [0, 1).
    pub held_out: f64,
}

/// Pairs of observation and action of an expert in batches, some of them held out. No environment is made.
///
/// Of ten episodes or more the last ones are held out as a whole, since pairs of one episode are much alike; of fewer, pairs that are
/// drawn from all of them. At least one pair is left to learn from.
pub struct DemonstrationBatches {
    demonstrations: Demonstrations,
    train: Vec<usize>,
    held_out: Vec<usize>,
    batch_size: usize,
    seed: u64,
    device: Device,
}

impl DemonstrationBatches {
    /// The pairs of step `step`, in the order of keyed permutations: observations `[batch, observation]` and actions `[batch, width]`.
    pub fn train(&self, step: u64) -> (Tensor<2>, Tensor<2>) {
        self.batch(&self.train, self.seed, step)
    }

    /// As many held-out pairs, likewise; `None` where none are held out.
    pub fn held_out(&self, step: u64) -> Option<(Tensor<2>, Tensor<2>)> {
        // Another seed, so that the two orders have nothing to do with each other.
        (!self.held_out.is_empty()).then(|| self.batch(&self.held_out, !self.seed, step))
    }

    /// All observations that are learned from, row by row, `[pairs, observation]`.
    pub fn train_observations(&self) -> Vec<f64> {
        let all = self.demonstrations.observations();
        let width = all.len() / self.demonstrations.len();
        let rows = self.train.iter().flat_map(|index| &all[index * width..][..width]);
        rows.map(|&value| f64::from(value)).collect()
    }

    fn batch(&self, of: &[usize], seed: u64, step: u64) -> (Tensor<2>, Tensor<2>) {
        let (len, first) = (of.len() as u64, step * self.batch_size as u64);
        let index = |at: u64| of[rng::permute(seed, at / len, at % len, len) as usize];
        let indices: Vec<usize> = (first..first + self.batch_size as u64).map(index).collect();
        self.demonstrations.batch(&indices, &self.device)
    }
}

impl Source for DemonstrationBatches {
    type Needs = CloningNeeds;

    /// # Errors
    ///
    /// [`Error::InvalidValue`] for demonstrations that are missing, too few or of another environment.
    fn open(needs: &CloningNeeds, options: &SourceOptions<'_>) -> Result<DemonstrationBatches> {
        let experience = options.examples.experience()?;
        let episodes = experience.expect_demonstrations()?;
        let SourceOptions { batch_size, seed, device, .. } = *options;
        let of = |subsample| Demonstrations::subsampled(episodes, &experience.task, subsample, seed);
        let demonstrations = of(needs.subsample)?;
        let (count, pairs) = (demonstrations.episodes(), demonstrations.len());
        let left = |all: usize| all - ((needs.held_out * all as f64).round() as usize).min(all - 1);
        let (train, held_out) = if count >= EPISODES_TO_SPLIT {
            // The first episodes have the same pairs, whether or not others follow.
            let kept = of(Subsample { episodes: left(count), ..needs.subsample })?.len();
            split(0..pairs, kept)
        } else {
            let order = |index| rng::permute(seed, u64::MAX, index as u64, pairs as u64) as usize;
            split((0..pairs).map(order), left(pairs))
        };
        Ok(DemonstrationBatches { demonstrations, train, held_out, batch_size, seed, device: device.clone() })
    }

    fn amount(&self) -> Amount {
        Amount { count: self.batch_size as u64, unit: "pairs" }
    }
}

/// The first `kept` of `all`, and the others.
fn split(all: impl Iterator<Item = usize>, kept: usize) -> (Vec<usize>, Vec<usize>) {
    let mut train: Vec<usize> = all.collect();
    let held_out = train.split_off(kept);
    (train, held_out)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::data::{ActionShape, EnvironmentSource, Experience};
    use crate::testing::{LINE_STEPS, Line};

    const ALL: Subsample = Subsample { episodes: 0, every: 1 };

    /// The first of 5, −5, 4, −4, …, 1, −1 and the same again, so that no two episodes in a row are alike.
    fn starts(count: usize) -> Vec<i32> {
        let all = (1..=5).rev().flat_map(|place| [place, -place]).cycle();
        all.take(count).collect()
    }

    fn batches(count: usize, subsample: Subsample, held_out: f64) -> DemonstrationBatches {
        let (_folder, experience) = Line::experience(&starts(count), 1);
        Line::open(&CloningNeeds { subsample, held_out }, &experience, 7, &Device::flex()).unwrap()
    }

    fn all_of(train: &[usize], held_out: &[usize]) -> BTreeSet<usize> {
        train.iter().chain(held_out).copied().collect()
    }

    #[test]
    fn of_many_episodes_the_last_are_held_out_as_a_whole() {
        let DemonstrationBatches { train, held_out, .. } = batches(10, ALL, 0.3);
        assert_eq!(train, (0..7 * LINE_STEPS).collect::<Vec<_>>());
        assert_eq!(held_out, (7 * LINE_STEPS..10 * LINE_STEPS).collect::<Vec<_>>());
        // So are those of which not every step is used.
        let DemonstrationBatches { train, held_out, demonstrations, .. } =
            batches(12, Subsample { episodes: 10, every: LINE_STEPS }, 0.3);
        assert_eq!((train, held_out), ((0..7).collect::<Vec<_>>(), (7..10).collect::<Vec<_>>()));
        assert_eq!((demonstrations.len(), demonstrations.episodes()), (10, 10));
    }

    #[test]
    fn of_few_episodes_pairs_are_held_out() {
        let DemonstrationBatches { train, held_out, .. } = batches(2, ALL, 0.3);
        assert_eq!((train.len(), held_out.len()), (28, 12));
        assert_eq!(all_of(&train, &held_out).len(), 40, "no pair is in both");
        assert!(
            held_out.iter().any(|&pair| pair < LINE_STEPS),
            "they are drawn from all episodes: {held_out:?}"
        );
        assert!(
            held_out.iter().any(|&pair| pair >= LINE_STEPS),
            "they are drawn from all episodes: {held_out:?}"
        );
    }

    #[test]
    fn something_is_always_left_to_learn_from() {
        let one = Subsample { episodes: 1, every: LINE_STEPS };
        let batches = batches(1, one, 0.99);
        assert_eq!((batches.train.len(), batches.held_out.len()), (1, 0));
        assert!(batches.held_out(0).is_none());
        let (observations, actions) = batches.train(0);
        assert_eq!((observations.dims(), actions.dims()), ([7, 1], [7, 1]));
        assert_eq!(batches.train_observations().len(), 1);
    }

    #[test]
    fn an_epoch_has_every_pair_once() {
        let batches = batches(2, ALL, 0.3);
        // 28 pairs in four batches of 7.
        let epoch = |first: u64| {
            let rows = (first..first + 4)
                .flat_map(|step| batches.train(step).0.into_data().iter::<f32>().collect::<Vec<_>>());
            rows.collect::<Vec<f32>>()
        };
        let sorted = |mut values: Vec<f32>| {
            values.sort_by(f32::total_cmp);
            values
        };
        assert_ne!(epoch(0), epoch(4), "another order");
        assert_eq!(sorted(epoch(0)), sorted(epoch(4)));
    }

    fn imitation(experience: &Experience, subsample: Subsample) -> Result<Imitation> {
        let needs = ImitationNeeds { environments: EnvironmentNeeds { steps: 5 }, subsample };
        Line::open(&needs, experience, 4, &Device::flex())
    }

    #[test]
    fn the_expert_s_pairs_depend_on_the_step_alone() {
        let (_folder, experience) = Line::experience(&starts(3), 2);
        let (one, other) = (imitation(&experience, ALL).unwrap(), imitation(&experience, ALL).unwrap());
        let pairs = |of: &Imitation, step| {
            let (observations, actions) = of.expert_pairs(50, step);
            let values = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
            (values(observations), values(actions))
        };
        assert_eq!(pairs(&one, 4), pairs(&other, 4));
        assert_ne!(pairs(&one, 4), pairs(&one, 5));
        let (observations, actions) = pairs(&one, 4);
        for (&x, &choice) in observations.iter().zip(&actions) {
            let expected = if x > 0.1 {
                0.0
            } else if x > -0.1 {
                1.0
            } else {
                2.0
            };
            assert_eq!(choice, expected, "in {x}");
        }
        assert_eq!((one.expert_length(), one.amount().count), (LINE_STEPS as f64, 10));
    }

    #[test]
    fn demonstrations_must_be_there_and_of_this_environment() {
        let message = |error: Error| format!("{error}; {}", error.hint().unwrap_or_default());
        let without = Experience::of(Line::source(), 1).unwrap();
        let refused = message(imitation(&without, ALL).err().unwrap());
        assert!(refused.contains("data.demonstrations") && refused.contains("record"), "{refused}");

        let (_folder, experience) = Line::experience(&starts(2), 1);
        let refused = message(imitation(&experience, Subsample { episodes: 3, every: 1 }).err().unwrap());
        assert!(refused.contains("2 episodes") && refused.contains('3'), "{refused}");

        let cartpole = Experience::of(EnvironmentSource::parse("cartpole").unwrap(), 1).unwrap();
        assert_eq!(cartpole.task.actions, ActionShape::Discrete { choices: 2 });
        let (_other, episodes) = Line::demonstrations(&starts(1));
        let refused = message(cartpole.with_demonstrations(episodes, "line").err().unwrap());
        assert!(refused.contains("another environment") && refused.contains("cartpole"), "{refused}");
    }
}
