//! What a card says about experience: sizes, kind of actions, returns and lengths.

use serde::{Deserialize, Serialize};

use super::EpisodeView;
use crate::points::short;

/// What only experience has. Returns are undiscounted sums of rewards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExperienceCard {
    /// The environment that the episodes come from, as the user or the recorder named it, such as `Hopper-v4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Numbers of an observation.
    pub observation: usize,
    /// What an action is.
    pub actions: ActionsCard,
    /// Episodes, over all splits, whose rewards are not known.
    #[serde(default)]
    pub without_rewards: u64,
    /// Episodes, over all splits, that ended in a terminal state. The others were cut off, for example by a time limit.
    pub terminated: u64,
    /// Mean return over all splits, of the episodes whose rewards are known; `None` where there are none. So are the next three.
    pub mean_return: Option<f64>,
    /// Standard deviation of the returns, with n − 1; 0 for one episode.
    pub std_return: Option<f64>,
    /// Smallest return.
    pub min_return: Option<f64>,
    /// Largest return.
    pub max_return: Option<f64>,
    /// Mean number of transitions of an episode, over all splits.
    pub mean_length: f64,
    /// Transitions of the shortest episode.
    pub min_length: u64,
    /// Transitions of the longest episode.
    pub max_length: u64,
}

/// What an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionsCard {
    /// One of several choices, numbered from 0; up to 65,536.
    Discrete {
        /// How many choices there are. For data from files, one more than the largest that occurs: the environment may
        /// have more.
        choices: usize,
    },
    /// A vector of numbers.
    Continuous {
        /// How many numbers.
        dims: usize,
    },
}

impl ActionsCard {
    /// Numbers that hold one action: 1 for a choice, else the length of the vector.
    pub fn width(self) -> usize {
        match self {
            ActionsCard::Discrete { .. } => 1,
            ActionsCard::Continuous { dims } => dims,
        }
    }

    /// What the fingerprint covers. The number of choices is left out: it is not known in all formats, and nothing is learned
    /// from it.
    pub(crate) fn meaning(self) -> String {
        match self {
            ActionsCard::Discrete { .. } => "discrete actions".to_owned(),
            ActionsCard::Continuous { dims } => format!("actions of {dims} numbers"),
        }
    }
}

/// Running statistics of episodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Statistics {
    episodes: u64,
    terminated: u64,
    without_rewards: u64,
    lengths: Running,
    returns: Running,
}

impl Statistics {
    pub(super) fn add(&mut self, episode: EpisodeView<'_>) {
        self.episodes += 1;
        self.terminated += u64::from(episode.terminated);
        self.lengths.add(episode.transitions as f64);
        match episode.total_reward() {
            Some(total) => self.returns.add(total),
            None => self.without_rewards += 1,
        }
    }

    /// The card of all that was added, at least one episode.
    pub(super) fn card(
        &self,
        environment: Option<String>,
        observation: usize,
        actions: ActionsCard,
    ) -> ExperienceCard {
        let known = |value: f64| (self.returns.count > 0).then(|| short(value));
        ExperienceCard {
            environment,
            observation,
            actions,
            without_rewards: self.without_rewards,
            terminated: self.terminated,
            mean_return: known(self.returns.mean),
            std_return: known(self.returns.deviation()),
            min_return: known(self.returns.low),
            max_return: known(self.returns.high),
            mean_length: short(self.lengths.mean),
            min_length: self.lengths.low as u64,
            max_length: self.lengths.high as u64,
        }
    }
}

/// Count, mean, spread and range of numbers, by Welford 1962.
#[derive(Clone, Debug, Default)]
struct Running {
    count: u64,
    mean: f64,
    squares: f64,
    low: f64,
    high: f64,
}

impl Running {
    fn add(&mut self, value: f64) {
        if self.count == 0 {
            (self.low, self.high) = (value, value);
        }
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
        (self.low, self.high) = (self.low.min(value), self.high.max(value));
    }

    fn deviation(&self) -> f64 {
        (self.squares / self.count.saturating_sub(1).max(1) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(rewards: &[f32], terminated: bool) -> EpisodeView<'_> {
        EpisodeView { transitions: 2, observations: &[0.0; 3], actions: &[0.0; 2], rewards, terminated }
    }

    #[test]
    fn episodes_without_rewards_have_no_return() {
        let mut statistics = Statistics::default();
        statistics.add(episode(&[], false));
        let actions = ActionsCard::Continuous { dims: 1 };
        let card = statistics.card(None, 1, actions);
        assert_eq!((card.mean_return, card.max_return, card.without_rewards), (None, None, 1));
        assert_eq!((card.mean_length, card.min_length, card.max_length), (2.0, 2, 2));
        statistics.add(episode(&[1.0, 2.0], true));
        statistics.add(episode(&[5.0, 2.0], false));
        let card = statistics.card(None, 1, actions);
        assert_eq!((card.mean_return, card.std_return), (Some(5.0), Some(short(8.0_f64.sqrt()))));
        assert_eq!((card.min_return, card.max_return, card.terminated), (Some(3.0), Some(7.0), 1));
    }
}
