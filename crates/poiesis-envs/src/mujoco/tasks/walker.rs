//! Hopper and Walker2d: bodies in the plane that walk forward and must not fall.

use super::{About, Task, shake, squares, write};
use crate::mujoco::scene::Camera;
use crate::mujoco::view::View;
use crate::random::Generator;

const CAMERA: Camera = Camera::Side { half_width: 1.6, heights: [-0.2, 1.9], ground: true };

/// One of the two, with the range in which it counts as upright.
pub(super) struct Walker {
    about: &'static About,
    /// Heights of the trunk, in metres; the ends do not count.
    heights: [f64; 2],
    /// Largest angle of the trunk, in radians.
    largest_angle: f64,
    /// Largest magnitude of every position but the first two, and of every velocity.
    largest_state: f64,
}

pub(super) const HOPPER: Walker = Walker {
    about: &About {
        name: "hopper",
        body_name: "hopper",
        body: include_str!("../bodies/hopper.xml"),
        frames: 4,
        observation: 11,
        time_limit: 1000,
        reward_threshold: Some(3800.0),
        external_forces: false,
        camera: CAMERA,
    },
    heights: [0.7, f64::INFINITY],
    largest_angle: 0.2,
    largest_state: 100.0,
};

pub(super) const WALKER2D: Walker = Walker {
    about: &About {
        name: "walker2d",
        body_name: "walker2d",
        body: include_str!("../bodies/walker2d.xml"),
        frames: 4,
        observation: 17,
        time_limit: 1000,
        reward_threshold: None,
        external_forces: false,
        camera: CAMERA,
    },
    heights: [0.8, 2.0],
    largest_angle: 1.0,
    largest_state: f64::INFINITY,
};

impl Walker {
    fn upright(&self, view: &View<'_>) -> bool {
        let (height, angle) = (view.qpos[1], view.qpos[2]);
        let [lowest, highest] = self.heights;
        let mut state = view.qpos[2..].iter().chain(view.qvel);
        lowest < height
            && height < highest
            && angle.abs() < self.largest_angle
            && state.all(|value| value.abs() < self.largest_state)
    }
}

impl Task for Walker {
    fn about(&self) -> &'static About {
        self.about
    }

    fn start(&self, random: &mut Generator, qpos: &mut [f64], qvel: &mut [f64]) {
        shake(random, 0.005, qpos);
        shake(random, 0.005, qvel);
    }

    fn observe(&self, view: &View<'_>, observation: &mut [f64]) {
        let velocities = view.qvel.iter().map(|velocity| velocity.clamp(-10.0, 10.0));
        write(observation, view.qpos[1..].iter().copied().chain(velocities));
    }

    fn outcome(&self, view: &View<'_>, action: &[f64], velocity: f64) -> (f64, bool) {
        let upright = self.upright(view);
        let bonus = if upright { 1.0 } else { 0.0 };
        (velocity + bonus - 0.001 * squares(action), !upright)
    }
}
