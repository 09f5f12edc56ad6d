//! Acting in an environment.

use poiesis_envs::Actions;

use crate::data::TaskShape;

/// Acts in environments of one kind.
pub trait Act: Sync {
    /// What it sees and does.
    fn task(&self) -> &TaskShape;

    /// Prepares to act. What it needs of the weights is copied, so an actor is made once and used for many steps.
    fn actor(&self) -> Box<dyn Actor + '_>;
}

/// Acts step by step, without tensors. Actions do not depend on the other observations of a call.
pub trait Actor: Send {
    /// An action for each of `observations`, `[n, observation]` as the environments give them, into `actions`, whose content is replaced.
    ///
    /// # Panics
    ///
    /// When `observations` is no multiple of the width, or there is not one index for each.
    fn act(&mut self, observations: &[f64], how: Acting<'_>, actions: &mut Chosen);
}

/// How an action is chosen from the distribution that the policy gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acting<'a> {
    /// The most probable choice, or the mean.
    Mode,
    /// Drawn. The draw of an observation depends on the seed and its index alone.
    Sample {
        /// The seed.
        seed: u64,
        /// An index for each observation, such as the number of the episode in the high and that of the step in the low half.
        indices: &'a [u64],
    },
}

/// Actions for several environments.
#[derive(Clone, Debug, PartialEq)]
pub enum Chosen {
    /// A choice for each.
    Discrete(Vec<usize>),
    /// `[n, dims]`. They may be outside of the environment's limits, which then clips them.
    Continuous(Vec<f64>),
}

impl Chosen {
    /// The actions as environments take them.
    pub fn actions(&self) -> Actions<'_> {
        match self {
            Chosen::Discrete(choices) => Actions::Discrete(choices),
            Chosen::Continuous(numbers) => Actions::Continuous(numbers),
        }
    }

    /// The numbers that hold them, `[n, width]`: a choice is its number.
    pub fn to_numbers(&self) -> Vec<f32> {
        match self {
            Chosen::Discrete(choices) => choices.iter().map(|&choice| choice as f32).collect(),
            Chosen::Continuous(numbers) => numbers.iter().map(|&number| number as f32).collect(),
        }
    }
}

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen::Discrete(Vec::new())
    }
}
