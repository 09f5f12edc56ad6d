//! MountainCar-v0: a car too weak for the hill is to leave the valley at the right, and each step costs 1 (Moore 1990).
//!
//! State and observation: position and velocity.

use super::valley::{self, FASTEST, GRAVITY, LEFT, RIGHT};
use crate::environment::{Action, Environment, Space, Spec};
use crate::episode::{Dynamics, Episode, choice};
use crate::random::{Generator, uniform};
use crate::scene::Scene;

/// The acceleration by the motor, in positions a step².
const FORCE: f64 = 0.001;
const GOAL: f64 = 0.5;

#[derive(Default)]
struct MountainCar {
    state: [f64; 2],
}

pub(super) fn make() -> Box<dyn Environment> {
    let spec = Spec {
        name: "mountain-car".into(),
        observation: Space::Box { low: vec![LEFT, -FASTEST], high: vec![RIGHT, FASTEST] },
        action: Space::Discrete(3),
        time_limit: Some(200),
        reward_threshold: Some(-110.0),
        seconds: 1.0 / 30.0,
    };
    Box::new(Episode::new(spec, MountainCar::default()))
}

impl Dynamics for MountainCar {
    fn start(&mut self, random: &mut Generator) {
        self.state = [uniform(random, -0.6, -0.4), 0.0];
    }

    fn observe(&self, observation: &mut [f64]) {
        observation.copy_from_slice(&self.state);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let [x, speed] = self.state;
        let motor = (choice(action) as f64 - 1.0) * FORCE;
        let mut speed = (speed + (motor - (3.0 * x).cos() * GRAVITY)).clamp(-FASTEST, FASTEST);
        let x = (x + speed).clamp(LEFT, RIGHT);
        if x == LEFT && speed < 0.0 {
            speed = 0.0;
        }
        self.state = [x, speed];
        (-1.0, x >= GOAL && speed >= 0.0)
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
