//! Ant: a body on four legs that runs forward.

use super::{About, Task, shake, shake_normally, squares, write};
use crate::mujoco::scene::Camera;
use crate::mujoco::view::View;
use crate::random::Generator;

pub(super) struct Ant;

const ABOUT: About = About {
    name: "ant",
    body_name: "ant",
    body: include_str!("../bodies/ant.xml"),
    frames: 5,
    observation: 105,
    time_limit: 1000,
    reward_threshold: Some(6000.0),
    external_forces: true,
    camera: Camera::Above { half: 2.0 },
};

/// Heights of the trunk at which the episode goes on, in metres.
const HEIGHTS: std::ops::RangeInclusive<f64> = 0.2..=1.0;

/// The external forces on bodies, each clipped to a magnitude of 1.
fn forces<'a>(view: &View<'a>) -> impl Iterator<Item = f64> + use<'a> {
    view.cfrc_ext.iter().map(|force| force.clamp(-1.0, 1.0))
}

impl Task for Ant {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        shake(random, 0.1, qpos);
        shake_normally(random, 0.1, qvel);
    }

    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        let state = view.qpos[2..].iter().chain(view.qvel).copied();
        // The forces on the world, the first six, are left out.
        write(observation, state.chain(forces(view).skip(6)));
    }

    /// Where the trunk was at the last evaluation of the forces, which is within the last step.
    fn place(&self, view: &View<'_>) -> f64 {
        view.xpos[3]
    }

    fn outcome(&self, view: &View<'_>, action: &[f64], velocity: f64) -> (f64, bool) {
        let finite = view.qpos.iter().chain(view.qvel).all(|value| value.is_finite());
        let healthy = finite && HEIGHTS.contains(&view.qpos[2]);
        let bonus = if healthy { 1.0 } else { 0.0 };
        let contact: f64 = forces(view).map(|force| force * force).sum();
        (velocity + bonus - (0.5 * squares(action) + 5e-4 * contact), !healthy)
    }
}
