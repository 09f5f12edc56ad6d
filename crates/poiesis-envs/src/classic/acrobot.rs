//! Acrobot-v1: two links hang from a fixed point, and a torque between them is to lift the tip above a line one link above that
//! point (Sutton and Barto, "Reinforcement Learning", §11.3 of the first edition).
//!
//! State: angle of the first link from hanging (rad, counter-clockwise), angle of the second from the first, their angular
//! velocities. Observation: cosine and sine of the first angle, of the second, and the velocities. One step is one step of the
//! Runge–Kutta method. The moments of inertia are 1 for both links, as in Gymnasium and the book.

use std::f64::consts::PI;

use crate::environment::{Action, Environment, Space, Spec};
use crate::episode::{Dynamics, Episode, choice};
use crate::random::{Generator, uniform};
use crate::runge_kutta::runge_kutta;
use crate::scene::{Scene, Shape, colours};

const GRAVITY: f64 = 9.8;
const MASS: f64 = 1.0;
const LENGTH: f64 = 1.0;
/// From the joint of a link to its centre of mass, in m.
const CENTRE: f64 = 0.5;
const INERTIA: f64 = 1.0;
/// Seconds.
const STEP: f64 = 0.2;
/// The largest angular velocities, in rad/s.
const FASTEST: [f64; 2] = [4.0 * PI, 9.0 * PI];

#[derive(Default)]
struct Acrobot {
    state: [f64; 4],
}

pub(super) fn make() -> Box<dyn Environment> {
    let spec = Spec {
        name: "acrobot".into(),
        observation: Space::symmetric(&[1.0, 1.0, 1.0, 1.0, FASTEST[0], FASTEST[1]]),
        action: Space::Discrete(3),
        time_limit: Some(500),
        reward_threshold: Some(-100.0),
        seconds: STEP,
    };
    Box::new(Episode::new(spec, Acrobot::default()))
}

/// Velocities and accelerations at `[first, second, their velocities]` under a torque between the links.
fn motion(&[first, second, first_speed, second_speed]: &[f64; 4], torque: f64) -> [f64; 4] {
    let (sin, cos) = (second.sin(), second.cos());
    let inertia = MASS * CENTRE * CENTRE
        + MASS * (LENGTH * LENGTH + CENTRE * CENTRE + 2.0 * LENGTH * CENTRE * cos)
        + INERTIA
        + INERTIA;
    let coupling = MASS * (CENTRE * CENTRE + LENGTH * CENTRE * cos) + INERTIA;
    let lower = MASS * CENTRE * GRAVITY * (first + second - PI / 2.0).cos();
    let upper = -MASS * LENGTH * CENTRE * (second_speed * second_speed) * sin
        - 2.0 * MASS * LENGTH * CENTRE * second_speed * first_speed * sin
        + (MASS * CENTRE + MASS * LENGTH) * GRAVITY * (first - PI / 2.0).cos()
        + lower;
    let second_turn = (torque + coupling / inertia * upper
        - MASS * LENGTH * CENTRE * (first_speed * first_speed) * sin
        - lower)
        / (MASS * CENTRE * CENTRE + INERTIA - coupling * coupling / inertia);
    let first_turn = -(coupling * second_turn + upper) / inertia;
    [first_speed, second_speed, first_turn, second_turn]
}

/// The same angle in [-π, π].
fn wrapped(mut angle: f64) -> f64 {
    while angle > PI {
        angle -= 2.0 * PI;
    }
    while angle < -PI {
        angle += 2.0 * PI;
    }
    angle
}

impl Dynamics for Acrobot {
    /// Gymnasium rounds the start to f32, and so does this.
    fn start(&mut self, random: &mut Generator) {
        self.state = std::array::from_fn(|_| f64::from(uniform(random, -0.1, 0.1) as f32));
    }

    fn observe(&self, observation: &mut [f64]) {
        let [first, second, first_speed, second_speed] = self.state;
        let numbers = [first.cos(), first.sin(), second.cos(), second.sin(), first_speed, second_speed];
        observation.copy_from_slice(&numbers);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let torque = choice(action) as f64 - 1.0;
        let [first, second, first_speed, second_speed] =
            runge_kutta(&self.state, STEP, |state| motion(state, torque));
        self.state = [
            wrapped(first),
            wrapped(second),
            first_speed.clamp(-FASTEST[0], FASTEST[0]),
            second_speed.clamp(-FASTEST[1], FASTEST[1]),
        ];
        let [first, second, ..] = self.state;
        let reached = -first.cos() - (second + first).cos() > 1.0;
        (if reached { 0.0 } else { -1.0 }, reached)
    }

    fn physics(&self) -> &[f64] {
        &self.state
    }

    fn physics_mut(&mut self) -> &mut [f64] {
        &mut self.state
    }

    fn scene(&self) -> Scene {
        let [first, second, ..] = self.state;
        let link =
            |from: [f64; 2], angle: f64| [from[0] + LENGTH * angle.sin(), from[1] - LENGTH * angle.cos()];
        let elbow = link([0.0, 0.0], first);
        let tip = link(elbow, first + second);
        let line = |from, to, width, colour| Shape::Line { from, to, width, colour };
        let joint = |centre| Shape::Circle { centre, radius: 0.08, colour: colours::JOINT };
        let goal = line([-2.2, LENGTH], [2.2, LENGTH], 0.02, colours::GOAL);
        let upper = line([0.0, 0.0], elbow, 0.15, colours::LIMB);
        let lower = line(elbow, tip, 0.15, colours::BODY);
        let shapes = vec![goal, upper, lower, joint([0.0, 0.0]), joint(elbow)];
        Scene { low: [-2.2, -2.2], high: [2.2, 2.2], shapes }
    }
}
