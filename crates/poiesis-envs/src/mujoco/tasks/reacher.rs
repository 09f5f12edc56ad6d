//! Reacher: an arm whose tip is to reach a point.

use super::{About, Task, shake, squares, write};
use crate::mujoco::scene::Camera;
use crate::mujoco::view::View;
use crate::random::{Generator, uniform};

pub(super) struct Reacher;

const ABOUT: About = About {
    name: "reacher",
    body_name: "reacher",
    body: include_str!("../bodies/reacher.xml"),
    frames: 2,
    observation: 10,
    time_limit: 50,
    reward_threshold: Some(-3.75),
    external_forces: false,
    camera: Camera::AboveGoal { half: 0.3 },
};

/// Largest distance of the goal from the shoulder, in metres.
const REACH: f64 = 0.2;
/// The bodies, by their order in the model.
const FINGERTIP: usize = 3;
const TARGET: usize = 4;

/// From the target to the tip.
fn offset(view: &View<'_>) -> [f64; 3] {
    [0, 1, 2].map(|axis| view.xpos[3 * FINGERTIP + axis] - view.xpos[3 * TARGET + axis])
}

impl Task for Reacher {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        shake(random, 0.1, qpos);
        shake(random, 0.005, &mut qvel[..2]);
        let goal = loop {
            let goal = [uniform(random, -REACH, REACH), uniform(random, -REACH, REACH)];
            if goal[0].hypot(goal[1]) < REACH {
                break goal;
            }
        };
        qpos[2..].copy_from_slice(&goal);
    }

    /// Cosines and sines of the two angles, the target, the two angular velocities, and where the tip is seen from the
    /// target.
    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        let angles = &view.qpos[..2];
        let turned = angles.iter().map(|angle| angle.cos()).chain(angles.iter().map(|angle| angle.sin()));
        let state = view.qpos[2..].iter().chain(&view.qvel[..2]).copied();
        write(observation, turned.chain(state).chain(offset(view).into_iter().take(2)));
    }

    fn outcome(&self, view: &View<'_>, action: &[f64], _: f64) -> (f64, bool) {
        (-squares(&offset(view)).sqrt() - squares(action), false)
    }
}
