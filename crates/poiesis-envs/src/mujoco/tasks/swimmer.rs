//! Swimmer: three links in a viscous fluid that swim forward.

use super::{About, Task, shake, squares, write};
use crate::mujoco::scene::Camera;
use crate::mujoco::view::View;
use crate::random::Generator;

pub(super) struct Swimmer;

const ABOUT: About = About {
    name: "swimmer",
    body_name: "swimmer",
    body: include_str!("../bodies/swimmer.xml"),
    frames: 4,
    observation: 8,
    time_limit: 1000,
    reward_threshold: Some(360.0),
    external_forces: false,
    camera: Camera::Above { half: 2.5 },
};

impl Task for Swimmer {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        shake(random, 0.1, qpos);
        shake(random, 0.1, qvel);
    }

    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        write(observation, view.qpos[2..].iter().chain(view.qvel).copied());
    }

    fn outcome(&self, _: &View<'_>, action: &[f64], velocity: f64) -> (f64, bool) {
        (velocity - 1e-4 * squares(action), false)
    }
}
