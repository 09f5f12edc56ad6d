//! One episode, owned or seen in place.

/// An episode: what was observed, done and rewarded from its first state to its last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Episode {
    /// The observations, one more than there are transitions: `[T + 1, O]`, row by row. Action `t` was chosen at observation `t` and
    /// led to observation `t + 1`.
    pub observations: Vec<f32>,
    /// The actions, `[T, A]`. A discrete action is one number: the index of the choice.
    pub actions: Vec<f32>,
    /// The rewards, `[T]`; empty where they are not known.
    pub rewards: Vec<f32>,
    /// Whether the last observation is of a terminal state. Otherwise the episode was cut off, for example by a time limit.
    pub terminated: bool,
}

impl Episode {
    /// The same, seen in place, where an action has `width` numbers.
    pub(super) fn view(&self, width: usize) -> EpisodeView<'_> {
        EpisodeView {
            transitions: self.actions.len() / width,
            observations: &self.observations,
            actions: &self.actions,
            rewards: &self.rewards,
            terminated: self.terminated,
        }
    }

    /// Why it cannot be stored, where a number in it is not finite.
    pub(super) fn fault(&self) -> Option<String> {
        let parts =
            [("observation", &self.observations), ("action", &self.actions), ("reward", &self.rewards)];
        parts.into_iter().find_map(|(what, numbers)| {
            let bad = numbers.iter().find(|number| !number.is_finite())?;
            let bad = if bad.is_nan() { "NaN" } else { "infinite, or too large for an f32" };
            Some(format!("a number of its {what}s is {bad}"))
        })
    }
}

/// An episode seen in place; see [`Episode`]. It has one transition or more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpisodeView<'a> {
    /// Number of transitions, `T`.
    pub transitions: usize,
    /// The observations, `[T + 1, O]`.
    pub observations: &'a [f32],
    /// The actions, `[T, A]`; a choice is one number.
    pub actions: &'a [f32],
    /// The rewards, `[T]`; empty where they are not known.
    pub rewards: &'a [f32],
    /// Whether the last observation is of a terminal state.
    pub terminated: bool,
}

impl EpisodeView<'_> {
    /// Its return: the undiscounted sum of its rewards; `None` where they are not known.
    pub fn total_reward(&self) -> Option<f64> {
        (!self.rewards.is_empty()).then(|| self.rewards.iter().map(|&reward| f64::from(reward)).sum())
    }

    /// The hash of its content, which also decides its split and finds duplicates.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.transitions as u64).to_le_bytes());
        hasher.update(&[u8::from(self.terminated), u8::from(!self.rewards.is_empty())]);
        for numbers in [self.observations, self.actions, self.rewards] {
            hasher.update(bytemuck::cast_slice(numbers));
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_episode_counts_for_its_hash() {
        let whole = Episode {
            observations: vec![0.0, 1.0, 2.0],
            actions: vec![1.0, 0.0],
            rewards: vec![0.0, 0.0],
            terminated: false,
        };
        let hash = |change: &dyn Fn(&mut Episode)| {
            let mut other = whole.clone();
            change(&mut other);
            other.view(1).hash()
        };
        let same = hash(&|_| ());
        assert_ne!(same, hash(&|other| other.observations[2] = 3.0));
        assert_ne!(same, hash(&|other| other.actions.swap(0, 1)));
        assert_ne!(same, hash(&|other| other.rewards.clear()), "no reward is not a reward of 0");
        assert_ne!(same, hash(&|other| other.terminated = true));
        assert_eq!(same, whole.view(1).hash());
    }

    #[test]
    fn numbers_that_are_not_finite_are_a_fault() {
        let mut episode = Episode { observations: vec![0.0; 2], actions: vec![0.0], ..Episode::default() };
        assert_eq!(episode.fault(), None);
        episode.actions[0] = f32::NAN;
        assert_eq!(episode.fault().unwrap(), "a number of its actions is NaN");
        episode.observations[1] = f32::INFINITY;
        assert!(episode.fault().unwrap().starts_with("a number of its observations is infinite"));
    }
}
