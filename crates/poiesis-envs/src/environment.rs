//! What an environment is: a trait, and its spaces as data.

use crate::error::EnvError;
use crate::scene::Scene;

/// What an agent sees or does: a box of numbers, or one of several choices.
#[derive(Clone, Debug, PartialEq)]
pub enum Space {
    /// One of `0..n`. As an observation it is written as one number.
    Discrete(usize),
    /// As many numbers as there are limits.
    Box {
        /// The smallest value of each number; negative infinity where there is none.
        low: Vec<f64>,
        /// The largest value of each number; infinity where there is none.
        high: Vec<f64>,
    },
}

impl Space {
    /// A box that reaches equally far on both sides of zero.
    pub fn symmetric(high: &[f64]) -> Self {
        Space::Box { low: high.iter().map(|limit| -limit).collect(), high: high.to_vec() }
    }

    /// How many numbers describe one element: 1 for a choice.
    pub fn width(&self) -> usize {
        match self {
            Space::Discrete(_) => 1,
            Space::Box { low, .. } => low.len(),
        }
    }
}

/// What is known of an environment before it is used.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its name, in kebab-case for those of this crate.
    pub name: String,
    /// What an observation is.
    pub observation: Space,
    /// What an action is.
    pub action: Space,
    /// The number of steps after which an episode is truncated.
    pub time_limit: Option<usize>,
    /// The mean return of an episode from which the environment counts as solved.
    pub reward_threshold: Option<f64>,
    /// Simulated seconds in one step, which is the true speed of a recording; 0 when unknown.
    pub seconds: f64,
}

/// What an agent does in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action<'a> {
    /// One of the choices of a [`Space::Discrete`].
    Discrete(usize),
    /// The numbers of a [`Space::Box`]. Those outside its limits are clipped.
    Continuous(&'a [f64]),
}

/// What a step brought.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transition {
    /// The reward of this step.
    pub reward: f64,
    /// Whether the episode ended by a rule of the task, so that nothing more can be earned.
    pub terminated: bool,
    /// Whether the episode reached its time limit. More could have been earned, so a learner estimates it from the last
    /// observation. In the last step of an episode both can be true; then the episode counts as terminated.
    pub truncated: bool,
}

impl Transition {
    /// Whether the episode is over.
    pub fn ended(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// A task in which an agent acts step by step.
///
/// Observations are written into slices of [`Spec::observation`]'s [`width`](Space::width).
///
/// # Panics
///
/// [`reset`](Self::reset) and [`step`](Self::step) panic when the slice has another length.
pub trait Environment: Send {
    /// What is known of it.
    fn spec(&self) -> &Spec;

    /// Starts an episode, drawn from `seed` alone, and writes its first observation.
    ///
    /// # Errors
    ///
    /// What went wrong in a process. The environments of this crate always start.
    fn reset(&mut self, seed: u64, observation: &mut [f64]) -> Result<(), EnvError>;

    /// Acts once and writes the observation that follows.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongAction`], [`EnvError::NoEpisode`] when the episode is over or none was started,
    /// [`EnvError::NotFinite`], and what went wrong in a process.
    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Transition, EnvError>;

    /// Everything that the next steps depend on, as numbers: the physics, and how many steps the episode has had.
    fn state(&self) -> Vec<f64>;

    /// Continues from a state that [`state`](Self::state) returned. The last observation is not part of it.
    ///
    /// # Errors
    ///
    /// [`EnvError::WrongState`] when the numbers are no state of this environment, and [`EnvError::CannotRestore`] when it
    /// cannot be restored at all. The environment is unchanged then.
    fn restore(&mut self, state: &[f64]) -> Result<(), EnvError>;

    /// A drawing of the present state. It has no shapes when there is nothing to draw.
    fn scene(&self) -> Scene;
}
