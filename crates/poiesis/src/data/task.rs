//! What an agent must know of its task: what it sees, and what it can do.

use poiesis_envs::{Space, Spec};
use serde::{Deserialize, Serialize};

/// What an agent must know of its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskShape {
    /// The environment as [`EnvironmentSource::parse`](super::EnvironmentSource::parse) reads it: a listed name or a command.
    pub environment: String,
    /// Numbers in an observation.
    pub observation: usize,
    /// What an action is.
    pub actions: ActionShape,
}

/// What an action is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionShape {
    /// One of several choices.
    Discrete {
        /// How many there are.
        choices: usize,
    },
    /// A vector.
    Continuous {
        /// Its numbers.
        dims: usize,
    },
}

impl ActionShape {
    /// The numbers that hold one action: 1 for a choice, which is written as its number.
    pub fn width(self) -> usize {
        match self {
            ActionShape::Discrete { .. } => 1,
            ActionShape::Continuous { dims } => dims,
        }
    }

    /// The numbers of an action as it goes into a network: one for each choice (one-hot), or the vector.
    pub fn inputs(self) -> usize {
        match self {
            ActionShape::Discrete { choices } => choices,
            ActionShape::Continuous { dims } => dims,
        }
    }

    /// Actions as they go into a network, `[n, width]` to `[n, inputs]`: choices one-hot, vectors as they are.
    ///
    /// # Panics
    ///
    /// When `actions` is no multiple of the width, or a number is no choice.
    pub fn to_inputs(self, actions: &[f32]) -> Vec<f32> {
        assert!(actions.len().is_multiple_of(self.width().max(1)), "{} numbers for {self:?}", actions.len());
        let ActionShape::Discrete { choices } = self else { return actions.to_vec() };
        let mut inputs = vec![0.0; actions.len() * choices];
        for (row, &choice) in inputs.chunks_exact_mut(choices).zip(actions) {
            assert!(choice >= 0.0 && (choice as usize) < choices, "choice {choice} of {choices}");
            row[choice as usize] = 1.0;
        }
        inputs
    }

    /// In words, such as `4 choices` or `actions of 3 numbers`.
    pub fn describe(self) -> String {
        match self {
            ActionShape::Discrete { choices } => format!("{choices} choices"),
            ActionShape::Continuous { dims: 1 } => "actions of 1 number".into(),
            ActionShape::Continuous { dims } => format!("actions of {dims} numbers"),
        }
    }
}

impl TaskShape {
    /// The task of the environment that is read from `environment` and describes itself as `spec`.
    pub fn of(environment: &str, spec: &Spec) -> TaskShape {
        let actions = match &spec.action {
            Space::Discrete(choices) => ActionShape::Discrete { choices: *choices },
            Space::Box { low, .. } => ActionShape::Continuous { dims: low.len() },
        };
        TaskShape { environment: environment.to_owned(), observation: spec.observation.width(), actions }
    }

    /// In words, such as `observations of 4 numbers and 2 choices`.
    pub fn describe(&self) -> String {
        let numbers = if self.observation == 1 { "number" } else { "numbers" };
        format!("observations of {} {numbers} and {}", self.observation, self.actions.describe())
    }
}
