//! MountainCarContinuous-v0: the mountain car with a force from -1 to 1. Reaching the goal gives 100, and each step costs a tenth
//! of the square of the action.
//!
//! State and observation: position and velocity. Gymnasium keeps both in f32, and with NumPy 2 the arithmetic is f32 too, as
//! here; but a force that was clipped is added in f64. The cost is that of the action before it is clipped.

use super::valley::{self, FASTEST, GRAVITY, LEFT, RIGHT};
use crate::environment::{Action, Environment, Space, Spec};
use crate::episode::{Dynamics, Episode, number};
use crate::random::{Generator, uniform};
use crate::scene::Scene;

/// The acceleration by the whole force, in positions a step².
const POWER: f64 = 0.0015;
const GOAL: f64 = 0.45;

#[derive(Default)]
struct ContinuousCar {
    state: [f64; 2],
}

pub(super) fn make() -> Box<dyn Environment> {
    let spec = Spec {
        name: "mountain-car-continuous".into(),
        observation: Space::Box { low: vec![LEFT, -FASTEST], high: vec![RIGHT, FASTEST] },
        action: Space::symmetric(&[1.0]),
        time_limit: Some(999),
        reward_threshold: Some(90.0),
        seconds: 1.0 / 30.0,
    };
    Box::new(Episode::new(spec, ContinuousCar::default()))
}

/// What the motor and gravity add to the velocity.
fn acceleration(force: f32, x: f32) -> f32 {
    let gravity = GRAVITY * f64::from(3.0 * x).cos();
    if force.abs() > 1.0 {
        (f64::from(force.signum()) * POWER - gravity) as f32
    } else {
        force * POWER as f32 - gravity as f32
    }
}

impl Dynamics for ContinuousCar {
    fn start(&mut self, random: &mut Generator) {
        self.state = [f64::from(uniform(random, -0.6, -0.4) as f32), 0.0];
    }

    fn observe(&self, observation: &mut [f64]) {
        observation.copy_from_slice(&self.state);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let [x, speed] = self.state.map(|number| number as f32);
        let force = number(action) as f32;
        let mut speed = (speed + acceleration(force, x)).clamp(-FASTEST as f32, FASTEST as f32);
        let x = (x + speed).clamp(LEFT as f32, RIGHT as f32);
        if x == LEFT as f32 && speed < 0.0 {
            speed = 0.0;
        }
        self.state = [f64::from(x), f64::from(speed)];
        let reached = x >= GOAL as f32 && speed >= 0.0;
        let won = if reached { 100.0 } else { 0.0 };
        (won - f64::from(force).powi(2) * 0.1, reached)
    }

    fn physics(&self) -> &[f64] {
        &self.state
    }

    fn physics_mut(&mut self) -> &mut [f64] {
        &mut self.state
    }

    fn scene(&self) -> Scene {
        valley::scene(self.state[0], GOAL)
    }
}
