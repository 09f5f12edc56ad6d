//! The tasks: pure functions of what a simulation shows.

mod ant;
mod half_cheetah;
mod humanoid;
mod pendulum;
mod reacher;
mod swimmer;
mod walker;

use super::scene::Camera;
use super::view::View;
use crate::random::{Generator, normal, uniform};
use crate::registry::Listed;

/// What does not change about a task.
#[derive(Debug)]
pub(super) struct About {
    /// Its name.
    pub(super) name: &'static str,
    /// The name of its body. Tasks with the same body share the compiled model.
    pub(super) body_name: &'static str,
    /// Its body, in MJCF.
    pub(super) body: &'static str,
    /// Steps of the physics in one step of the task.
    pub(super) frames: u32,
    /// Numbers of an observation.
    pub(super) observation: usize,
    /// Steps of an episode.
    pub(super) time_limit: usize,
    /// The return from which it counts as solved.
    pub(super) reward_threshold: Option<f64>,
    /// Whether it reads external forces on bodies.
    pub(super) external_forces: bool,
    /// From where it is drawn.
    pub(super) camera: Camera,
}

/// What is asked of a body.
pub(super) trait Task: Sync {
    /// What does not change.
    fn about(&self) -> &'static About;

    /// Draws the start of an episode into the initial positions and into velocities of 0.
    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]);

    /// Writes the observation.
    fn observe(&self, view: &View<'_>, observation: &mut [f64]);

    /// How far the body has come on the way whose velocity [`outcome`](Self::outcome) is given, in metres.
    fn place(&self, view: &View<'_>) -> f64 {
        view.qpos[0]
    }

    /// Returns the reward of a step, and whether the task ends the episode. `velocity` is the mean one of the step.
    fn outcome(&self, view: &View<'_>, action: &[f64], velocity: f64) -> (f64, bool);
}

const TASKS: [&dyn Task; 10] = [
    &walker::HOPPER,
    &walker::WALKER2D,
    &half_cheetah::HalfCheetah,
    &half_cheetah::Sparse,
    &ant::Ant,
    &humanoid::Humanoid,
    &reacher::Reacher,
    &swimmer::Swimmer,
    &pendulum::Inverted,
    &pendulum::InvertedDouble,
];

/// The environments of this family.
pub(crate) const ENVIRONMENTS: [Listed; 10] = [
    Listed {
        name: "hopper",
        about: "hop forward on one leg without falling (Hopper-v5, MuJoCo)",
        make: || super::make("hopper"),
    },
    Listed {
        name: "walker2d",
        about: "walk forward on two legs without falling (Walker2d-v5, MuJoCo)",
        make: || super::make("walker2d"),
    },
    Listed {
        name: "half-cheetah",
        about: "run forward on two legs of a body that cannot fall (HalfCheetah-v5, MuJoCo)",
        make: || super::make("half-cheetah"),
    },
    Listed {
        name: "half-cheetah-sparse",
        about: "the same, with a reward only beyond 5 metres (VIME, MuJoCo)",
        make: || super::make("half-cheetah-sparse"),
    },
    Listed { name: "ant", about: "run forward on four legs (Ant-v5, MuJoCo)", make: || super::make("ant") },
    Listed {
        name: "humanoid",
        about: "walk forward as a person without falling (Humanoid-v5, MuJoCo)",
        make: || super::make("humanoid"),
    },
    Listed {
        name: "reacher",
        about: "touch a point with an arm of two links (Reacher-v5, MuJoCo)",
        make: || super::make("reacher"),
    },
    Listed {
        name: "swimmer",
        about: "swim forward with a body of three links (Swimmer-v5, MuJoCo)",
        make: || super::make("swimmer"),
    },
    Listed {
        name: "inverted-pendulum",
        about: "balance a pole on a cart by a force (InvertedPendulum-v5, MuJoCo)",
        make: || super::make("inverted-pendulum"),
    },
    Listed {
        name: "inverted-double-pendulum",
        about: "balance two poles, one on the other, on a cart (InvertedDoublePendulum-v5, MuJoCo)",
        make: || super::make("inverted-double-pendulum"),
    },
];

/// The names of the environments that need MuJoCo.
pub fn names() -> [&'static str; 10] {
    TASKS.map(|task| task.about().name)
}

/// What is known of a task without the library.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outline {
    /// Numbers of an observation.
    pub observation: usize,
    /// Numbers of an action.
    pub action: usize,
    /// Steps of an episode.
    pub time_limit: usize,
    /// The mean return from which it counts as solved.
    pub reward_threshold: Option<f64>,
}

/// What is known of an environment that needs MuJoCo, whether or not the library is there; `None` for any other name.
pub fn outline(name: &str) -> Option<Outline> {
    let about = find(name)?.about();
    Some(Outline {
        observation: about.observation,
        // A body has one motor for each number.
        action: about.body.matches("<motor joint").count(),
        time_limit: about.time_limit,
        reward_threshold: about.reward_threshold,
    })
}

/// The task of this name.
pub(super) fn find(name: &str) -> Option<&'static dyn Task> {
    TASKS.into_iter().find(|task| task.about().name == name)
}

/// Writes an observation.
///
/// # Panics
///
/// When there are more or fewer values than it has room for.
fn write(observation: &mut [f64], values: impl IntoIterator<Item = f64>) {
    let (room, mut count) = (observation.len(), 0);
    for value in values {
        assert!(count < room, "an observation of {room} numbers was given more");
        observation[count] = value;
        count += 1;
    }
    assert!(count == room, "an observation of {room} numbers was given {count}");
}

/// Adds numbers uniform in `[-scale, scale)`.
fn shake(random: &mut Generator, scale: f64, values: &mut [f64]) {
    for value in values {
        *value += uniform(random, -scale, scale);
    }
}

/// Adds normal numbers of this deviation.
fn shake_normally(random: &mut Generator, deviation: f64, values: &mut [f64]) {
    for value in values {
        *value += normal(random, deviation);
    }
}

/// The sum of squares.
fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}
