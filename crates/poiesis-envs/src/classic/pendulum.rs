//! Pendulum-v1: a pendulum is to be swung up and held by a torque too small to lift it at once.
//!
//! State: angle from upright (rad, counter-clockwise) and angular velocity. Observation: cosine and sine of the angle, and the
//! velocity. Gymnasium's actions are f32, so what is computed from the torque alone is f32 there and here.

use std::f64::consts::PI;

use crate::environment::{Action, Environment, Space, Spec};
use crate::episode::{Dynamics, Episode, clipped};
use crate::random::{Generator, uniform};
use crate::scene::{Scene, Shape, colours};

const GRAVITY: f64 = 10.0;
const LENGTH: f64 = 1.0;
/// Seconds.
const STEP: f64 = 0.05;
/// The largest angular velocity, in rad/s.
const FASTEST: f64 = 8.0;
/// Newton metres.
const STRONGEST: f64 = 2.0;

#[derive(Default)]
struct Pendulum {
    state: [f64; 2],
}

pub(super) fn make() -> Box<dyn Environment> {
    let spec = Spec {
        name: "pendulum".into(),
        observation: Space::symmetric(&[1.0, 1.0, FASTEST]),
        action: Space::symmetric(&[STRONGEST]),
        time_limit: Some(200),
        reward_threshold: None,
        seconds: STEP,
    };
    Box::new(Episode::new(spec, Pendulum::default()))
}

/// The same angle in [-π, π).
fn wrapped(angle: f64) -> f64 {
    (angle + PI).rem_euclid(2.0 * PI) - PI
}

impl Dynamics for Pendulum {
    fn start(&mut self, random: &mut Generator) {
        self.state = [uniform(random, -PI, PI), uniform(random, -1.0, 1.0)];
    }

    fn observe(&self, observation: &mut [f64]) {
        let [angle, speed] = self.state;
        observation.copy_from_slice(&[angle.cos(), angle.sin(), speed]);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let [angle, speed] = self.state;
        let torque = clipped(action, STRONGEST) as f32;
        let effort = f64::from(0.001_f32 * (torque * torque));
        let cost = wrapped(angle).powi(2) + 0.1 * (speed * speed) + effort;
        let turn = 3.0 * GRAVITY / (2.0 * LENGTH) * angle.sin() + f64::from(3.0 * torque);
        let speed = (speed + turn * STEP).clamp(-FASTEST, FASTEST);
        self.state = [angle + speed * STEP, speed];
        (-cost, false)
    }

    fn physics(&self) -> &[f64] {
        &self.state
    }

    fn physics_mut(&mut self) -> &mut [f64] {
        &mut self.state
    }

    fn scene(&self) -> Scene {
        let angle = self.state[0];
        let tip = [-LENGTH * angle.sin(), LENGTH * angle.cos()];
        let rod = Shape::Line { from: [0.0, 0.0], to: tip, width: 0.2, colour: colours::LIMB };
        let axle = Shape::Circle { centre: [0.0, 0.0], radius: 0.05, colour: colours::BODY };
        Scene { low: [-1.3, -1.3], high: [1.3, 1.3], shapes: vec![rod, axle] }
    }
}
