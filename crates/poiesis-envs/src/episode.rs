//! What all environments of this crate share: checks of actions, the time limit, and the state of an episode.

use crate::environment::{Action, Environment, Space, Spec, Transition};
use crate::error::EnvError;
use crate::random::{self, Generator};
use crate::scene::Scene;

/// The physics and the rewards of one environment.
pub(crate) trait Dynamics: Send {
    /// Draws the start of an episode.
    fn start(&mut self, random: &mut Generator);

    /// Writes the observation.
    fn observe(&self, observation: &mut [f64]);

    /// Acts once. Returns the reward, and whether the task ends the episode. The action has been checked.
    fn advance(&mut self, action: Action<'_>) -> (f64, bool);

    /// The numbers that describe it fully.
    fn physics(&self) -> &[f64];

    /// The same, to be overwritten.
    fn physics_mut(&mut self) -> &mut [f64];

    /// Takes over the numbers that were written through [`physics_mut`](Self::physics_mut).
    fn restored(&mut self) {}

    /// A drawing.
    fn scene(&self) -> Scene;
}

/// An environment: dynamics with a time limit.
///
/// Its state is the number of steps of the episode, 1 while the episode runs and 0 otherwise, and the physics.
pub(crate) struct Episode<D> {
    spec: Spec,
    dynamics: D,
    steps: usize,
    running: bool,
}

impl<D: Dynamics> Episode<D> {
    /// An environment that has not been reset.
    pub(crate) fn new(spec: Spec, dynamics: D) -> Self {
        Episode { spec, dynamics, steps: 0, running: false }
    }

    fn wrong_state(&self, reason: String) -> EnvError {
        EnvError::WrongState { environment: self.spec.name.clone(), reason }
    }
}

impl<D: Dynamics> Environment for Episode<D> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn reset(&mut self, seed: u64, observation: &mut [f64]) -> Result<(), EnvError> {
        check_width(&self.spec, observation);
        self.dynamics.start(&mut random::start(seed));
        self.dynamics.observe(observation);
        (self.steps, self.running) = (0, true);
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Transition, EnvError> {
        check_width(&self.spec, observation);
        if !self.running {
            return Err(EnvError::NoEpisode { environment: self.spec.name.clone() });
        }
        check_action(&self.spec, action)?;
        let (reward, terminated) = self.dynamics.advance(action);
        self.dynamics.observe(observation);
        self.steps += 1;
        let truncated = self.spec.time_limit.is_some_and(|limit| self.steps >= limit);
        let transition = Transition { reward, terminated, truncated };
        self.running = !transition.ended();
        check_finite(&self.spec, self.steps, reward, observation)?;
        Ok(transition)
    }

    fn state(&self) -> Vec<f64> {
        let mut state = vec![self.steps as f64, f64::from(u8::from(self.running))];
        state.extend_from_slice(self.dynamics.physics());
        state
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvError> {
        let expected = 2 + self.dynamics.physics().len();
        if state.len() != expected {
            return Err(self.wrong_state(format!("it has {} numbers instead of {expected}", state.len())));
        }
        if let Some(at) = state.iter().position(|x| !x.is_finite()) {
            return Err(self.wrong_state(format!("number {at} is {}", state[at])));
        }
        let (steps, running) = (state[0], state[1]);
        if steps < 0.0 || steps.fract() != 0.0 {
            return Err(self.wrong_state(format!("its number of steps is {steps}")));
        }
        if running != 0.0 && running != 1.0 {
            return Err(self.wrong_state(format!("number 1 is {running}, not 0 or 1")));
        }
        (self.steps, self.running) = (steps as usize, running == 1.0);
        self.dynamics.physics_mut().copy_from_slice(&state[2..]);
        self.dynamics.restored();
        Ok(())
    }

    fn scene(&self) -> Scene {
        self.dynamics.scene()
    }
}

/// Panics when an observation has the wrong size.
pub(crate) fn check_width(spec: &Spec, observation: &[f64]) {
    let (width, given) = (spec.observation.width(), observation.len());
    assert_eq!(given, width, "an observation of {} has {width} numbers, the slice has {given}", spec.name);
}

/// Whether an action is one of the environment's.
pub(crate) fn check_action(spec: &Spec, action: Action<'_>) -> Result<(), EnvError> {
    let reason = match (&spec.action, action) {
        (Space::Discrete(count), Action::Discrete(choice)) if choice < *count => return Ok(()),
        (Space::Discrete(count), Action::Discrete(choice)) => {
            format!("it is choice {choice} of 0 to {}", count - 1)
        }
        (Space::Box { low, .. }, Action::Continuous(numbers)) => {
            if numbers.len() != low.len() {
                format!("it has {} numbers instead of {}", numbers.len(), low.len())
            } else if let Some(at) = numbers.iter().position(|x| !x.is_finite()) {
                format!("number {at} is {}", numbers[at])
            } else {
                return Ok(());
            }
        }
        (Space::Discrete(count), Action::Continuous(_)) => {
            format!("it is continuous, and actions are one of {count} choices")
        }
        (Space::Box { low, .. }, Action::Discrete(_)) => {
            format!("it is a choice, and actions have {} numbers", low.len())
        }
    };
    Err(EnvError::WrongAction { environment: spec.name.clone(), reason })
}

/// Whether what a step brought can be learned from.
pub(crate) fn check_finite(
    spec: &Spec,
    step: usize,
    reward: f64,
    observation: &[f64],
) -> Result<(), EnvError> {
    let bad = observation.iter().position(|x| !x.is_finite());
    let what = match bad {
        None if reward.is_finite() => return Ok(()),
        None => format!("the reward is {reward}"),
        Some(at) => format!("number {at} of the observation is {}", observation[at]),
    };
    Err(EnvError::NotFinite { environment: spec.name.clone(), step, what })
}

/// The single number of a checked action, clipped to `-limit..=limit`.
pub(crate) fn clipped(action: Action<'_>, limit: f64) -> f64 {
    number(action).clamp(-limit, limit)
}

/// The single number of a checked action.
pub(crate) fn number(action: Action<'_>) -> f64 {
    match action {
        Action::Continuous(numbers) => numbers[0],
        Action::Discrete(choice) => unreachable!("choice {choice} where the action is a number"),
    }
}

/// The choice of a checked action.
pub(crate) fn choice(action: Action<'_>) -> usize {
    match action {
        Action::Discrete(choice) => choice,
        Action::Continuous(numbers) => unreachable!("{} numbers where the action is a choice", numbers.len()),
    }
}
