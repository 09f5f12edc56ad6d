//! HalfCheetah, with Gymnasium's reward and with VIME's sparse one.

use super::{About, Task, shake, shake_normally, squares, write};
use crate::mujoco::scene::Camera;
use crate::mujoco::view::View;
use crate::random::Generator;

/// Rewarded for running forward.
pub(super) struct HalfCheetah;

/// Rewarded only where the trunk is beyond 5 m: 1 a step, without costs (VIME, Houthooft et al. 2016, with its 500 steps).
pub(super) struct Sparse;

const DENSE: About = About {
    name: "half-cheetah",
    body_name: "half-cheetah",
    body: include_str!("../bodies/half_cheetah.xml"),
    frames: 5,
    observation: 17,
    time_limit: 1000,
    reward_threshold: Some(4800.0),
    external_forces: false,
    camera: Camera::Side { half_width: 1.6, heights: [-0.3, 1.8], ground: true },
};

const SPARSE: About = About { name: "half-cheetah-sparse", time_limit: 500, reward_threshold: None, ..DENSE };

impl Task for HalfCheetah {
    fn about(&self) -> &'static About {
        &DENSE
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        shake(random, 0.1, qpos);
        shake_normally(random, 0.1, qvel);
    }

    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        write(observation, view.qpos[1..].iter().chain(view.qvel).copied());
    }

    fn outcome(&self, _: &View<'_>, action: &[f64], velocity: f64) -> (f64, bool) {
        (velocity - 0.1 * squares(action), false)
    }
}

impl Task for Sparse {
    fn about(&self) -> &'static About {
        &SPARSE
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        HalfCheetah.start(random, qpos, qvel);
    }

    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        HalfCheetah.observe(view, observation);
    }

    fn outcome(&self, view: &View<'_>, _: &[f64], _: f64) -> (f64, bool) {
        (if view.qpos[0] > 5.0 { 1.0 } else { 0.0 }, false)
    }
}
