//! InvertedPendulum and InvertedDoublePendulum: poles on a cart that must not fall.

use super::{About, Task, shake, shake_normally, write};
use crate::mujoco::scene::Camera;
use crate::mujoco::view::View;
use crate::random::Generator;

pub(super) struct Inverted;
pub(super) struct InvertedDouble;

const INVERTED: About = About {
    name: "inverted-pendulum",
    body_name: "inverted-pendulum",
    body: include_str!("../bodies/inverted_pendulum.xml"),
    frames: 2,
    observation: 4,
    time_limit: 1000,
    reward_threshold: Some(950.0),
    external_forces: false,
    camera: Camera::Side { half_width: 1.2, heights: [-0.8, 0.8], ground: false },
};

const INVERTED_DOUBLE: About = About {
    name: "inverted-double-pendulum",
    body_name: "inverted-double-pendulum",
    body: include_str!("../bodies/inverted_double_pendulum.xml"),
    frames: 5,
    observation: 9,
    time_limit: 1000,
    reward_threshold: Some(9100.0),
    external_forces: false,
    camera: Camera::Side { half_width: 1.8, heights: [-1.4, 1.4], ground: false },
};

impl Task for Inverted {
    fn about(&self) -> &'static About {
        &INVERTED
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        shake(random, 0.01, qpos);
        shake(random, 0.01, qvel);
    }

    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        write(observation, view.qpos.iter().chain(view.qvel).copied());
    }

    fn outcome(&self, view: &View<'_>, _: &[f64], _: f64) -> (f64, bool) {
        let finite = view.qpos.iter().chain(view.qvel).all(|value| value.is_finite());
        let fallen = !finite || view.qpos[1].abs() > 0.2;
        (if fallen { 0.0 } else { 1.0 }, fallen)
    }
}

impl Task for InvertedDouble {
    fn about(&self) -> &'static About {
        &INVERTED_DOUBLE
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        shake(random, 0.1, qpos);
        shake_normally(random, 0.1, qvel);
    }

    /// Place of the cart, sines and cosines of the two angles, velocities, and the force of the rail's ends on the cart.
    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        let angles = &view.qpos[1..];
        let turned = angles.iter().map(|angle| angle.sin()).chain(angles.iter().map(|angle| angle.cos()));
        let clipped =
            view.qvel.iter().chain(&view.qfrc_constraint[..1]).map(|value| value.clamp(-10.0, 10.0));
        write(observation, view.qpos[..1].iter().copied().chain(turned).chain(clipped));
    }

    fn outcome(&self, view: &View<'_>, _: &[f64], _: f64) -> (f64, bool) {
        let (x, height) = (view.site_xpos[0], view.site_xpos[2]);
        let fallen = height <= 1.0;
        let bonus = if fallen { 0.0 } else { 10.0 };
        let distance = 0.01 * x * x + (height - 2.0) * (height - 2.0);
        let speed = 1e-3 * view.qvel[1] * view.qvel[1] + 5e-3 * view.qvel[2] * view.qvel[2];
        (bonus - distance - speed, fallen)
    }
}
