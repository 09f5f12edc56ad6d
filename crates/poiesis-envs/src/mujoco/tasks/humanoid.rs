//! Humanoid: a person who walks forward and must not fall.

use super::{About, Task, shake, squares, write};
use crate::mujoco::scene::Camera;
use crate::mujoco::view::View;
use crate::random::Generator;

pub(super) struct Humanoid;

const ABOUT: About = About {
    name: "humanoid",
    body_name: "humanoid",
    body: include_str!("../bodies/humanoid.xml"),
    frames: 5,
    observation: 348,
    time_limit: 1000,
    reward_threshold: None,
    external_forces: true,
    camera: Camera::Side { half_width: 1.6, heights: [-0.2, 2.0], ground: true },
};

impl Task for Humanoid {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        shake(random, 0.01, qpos);
        shake(random, 0.01, qvel);
    }

    /// Positions but the place on the ground, velocities, inertias and velocities of bodies, forces of actuators on joints
    /// (not on the free one), and external forces on bodies. The world is left out everywhere.
    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        let parts = [
            &view.qpos[2..],
            view.qvel,
            &view.cinert[10..],
            &view.cvel[6..],
            &view.qfrc_actuator[6..],
            &view.cfrc_ext[6..],
        ];
        write(observation, parts.into_iter().flatten().copied());
    }

    /// The centre of mass of all bodies.
    fn place(&self, view: &View<'_>) -> f64 {
        let masses = view.body_mass;
        let moments = masses.iter().zip(view.xipos.chunks_exact(3)).map(|(mass, centre)| mass * centre[0]);
        moments.sum::<f64>() / masses.iter().sum::<f64>()
    }

    fn outcome(&self, view: &View<'_>, action: &[f64], velocity: f64) -> (f64, bool) {
        let height = view.qpos[2];
        let healthy = 1.0 < height && height < 2.0;
        let bonus = if healthy { 5.0 } else { 0.0 };
        let contact = (5e-7 * squares(view.cfrc_ext)).min(10.0);
        (1.25 * velocity + bonus - (0.1 * squares(action) + contact), !healthy)
    }
}
