//! CartPole-v1: a pole on a cart is to be kept upright (Barto, Sutton and Anderson 1983).
//!
//! State and observation: position of the cart (m), its velocity, angle of the pole from upright (rad, clockwise is positive),
//! its angular velocity. The equations of motion are those without friction of Florian 2007, "Correct equations for the
//! dynamics of the cart-pole system", integrated by Euler's method with the old velocities.

use crate::environment::{Action, Environment, Space, Spec};
use crate::episode::{Dynamics, Episode, choice};
use crate::random::{Generator, uniform};
use crate::scene::{Scene, Shape, colours, rectangle};

const GRAVITY: f64 = 9.8;
const CART_MASS: f64 = 1.0;
const POLE_MASS: f64 = 0.1;
const MASS: f64 = POLE_MASS + CART_MASS;
/// Half the length of the pole, in m.
const HALF: f64 = 0.5;
/// Newtons.
const FORCE: f64 = 10.0;
/// Seconds.
const STEP: f64 = 0.02;
/// Where the track ends, in m from its middle.
const TRACK: f64 = 2.4;
/// Twelve degrees.
const LEAN: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;

#[derive(Default)]
struct CartPole {
    state: [f64; 4],
}

pub(super) fn make() -> Box<dyn Environment> {
    let spec = Spec {
        name: "cartpole".into(),
        observation: Space::symmetric(&[2.0 * TRACK, f64::INFINITY, 2.0 * LEAN, f64::INFINITY]),
        action: Space::Discrete(2),
        time_limit: Some(500),
        reward_threshold: Some(475.0),
        seconds: STEP,
    };
    Box::new(Episode::new(spec, CartPole::default()))
}

impl Dynamics for CartPole {
    fn start(&mut self, random: &mut Generator) {
        self.state = std::array::from_fn(|_| uniform(random, -0.05, 0.05));
    }

    fn observe(&self, observation: &mut [f64]) {
        observation.copy_from_slice(&self.state);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let [x, speed, angle, turning] = self.state;
        let force = if choice(action) == 1 { FORCE } else { -FORCE };
        let (sin, cos) = (angle.sin(), angle.cos());
        let moment = POLE_MASS * HALF;
        let push = (force + moment * (turning * turning) * sin) / MASS;
        let turn = (GRAVITY * sin - cos * push) / (HALF * (4.0 / 3.0 - POLE_MASS * (cos * cos) / MASS));
        let thrust = push - moment * turn * cos / MASS;
        self.state = [x + STEP * speed, speed + STEP * thrust, angle + STEP * turning, turning + STEP * turn];
        let [x, _, angle, _] = self.state;
        (1.0, x.abs() > TRACK || angle.abs() > LEAN)
    }

    fn physics(&self) -> &[f64] {
        &self.state
    }

    fn physics_mut(&mut self) -> &mut [f64] {
        &mut self.state
    }

    fn scene(&self) -> Scene {
        let [x, _, angle, _] = self.state;
        let track =
            Shape::Line { from: [-TRACK, 0.0], to: [TRACK, 0.0], width: 0.02, colour: colours::GROUND };
        let tip = [x + 2.0 * HALF * angle.sin(), 2.0 * HALF * angle.cos()];
        let pole = Shape::Line { from: [x, 0.0], to: tip, width: 0.1, colour: colours::LIMB };
        let cart = rectangle([x, 0.0], [0.25, 0.15], 0.0, colours::BODY);
        let axle = Shape::Circle { centre: [x, 0.0], radius: 0.05, colour: colours::JOINT };
        Scene { low: [-2.5, -1.0], high: [2.5, 1.5], shapes: vec![track, cart, pole, axle] }
    }
}
