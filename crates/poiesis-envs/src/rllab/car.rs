//! The mountain car of rllab with the sparse reward of VIME. A car too weak for the hill is to leave a valley at the right.
//!
//! State and observation: position along the horizontal (m) and its velocity. Action: the force along the slope in newtons, from
//! -1 to 1, held for 0.05 s. The height of the valley is `1 - cos(π x / 2)`: 0 in the middle, 2 m at x = ±2.
//!
//! An episode starts in the middle with a velocity uniform within 1 m/s. The reward is 1 when the car reaches x = 0.6, which ends
//! the episode, and 0 otherwise. The episode also ends at |x| = 2; in the code of VIME that gives 1 too, but the car gets there
//! on the left only with five times the energy that takes it over the goal.
//!
//! Differences from the original: there the car of 0.4 kg is a box of 0.4 m by 0.2 m that touches the ground with its corners,
//! can jump, and loses energy whenever a corner passes from one piece of the ground to the next. Here it is a point that
//! stays on the curve, with one coefficient of friction for all of these losses: with 0.03, free swings that start at
//! 1 m/s die out as they do in Box2D. Pushing always in the direction of motion reaches the goal in about 50 steps here and
//! about 90 there.

use std::f64::consts::PI;

use super::{GRAVITY, HORIZON};
use crate::environment::{Action, Environment, Space, Spec};
use crate::episode::{Dynamics, Episode, clipped};
use crate::random::{Generator, uniform};
use crate::runge_kutta::runge_kutta;
use crate::scene::{Scene, Shape, colours, curve, rectangle};

const MASS: f64 = 0.4;
/// Newtons.
const FORCE: f64 = 1.0;
/// The coefficient of friction.
const FRICTION: f64 = 0.03;
/// Friction is proportional to the velocity below about this one, in m/s, so that the car can come to rest.
const SLOW: f64 = 0.01;
/// Seconds.
const STEP: f64 = 0.05;
/// Steps of the integration in one step.
const PARTS: usize = 10;
const GOAL: f64 = 0.6;
/// Where the valley ends, in m from its middle.
const EDGE: f64 = 2.0;
/// The wave number of the valley, in 1/m.
const WAVE: f64 = PI / 2.0;

#[derive(Default)]
struct Car {
    state: [f64; 2],
}

pub(super) fn make() -> Box<dyn Environment> {
    let spec = Spec {
        name: "mountain-car-sparse".into(),
        observation: Space::symmetric(&[f64::INFINITY; 2]),
        action: Space::symmetric(&[FORCE]),
        time_limit: Some(HORIZON),
        reward_threshold: None,
        seconds: STEP,
    };
    Box::new(Episode::new(spec, Car::default()))
}

fn height(x: f64) -> f64 {
    1.0 - (WAVE * x).cos()
}

fn slope(x: f64) -> f64 {
    WAVE * (WAVE * x).sin()
}

/// A point on the curve `y = h(x)`. Lagrange's equation is `(1 + h'²) x'' = -h' h'' x'² - g h' + f √(1 + h'²)`, where `f` is the
/// force along the slope for each kilogram: of the motor, and of friction against the pressure on the ground.
fn motion(&[x, speed]: &[f64; 2], force: f64, friction: f64) -> [f64; 2] {
    let slope = slope(x);
    let bend = WAVE * WAVE * (WAVE * x).cos();
    let stretch = (1.0 + slope * slope).sqrt();
    let pressure = ((GRAVITY + bend * speed * speed) / stretch).max(0.0);
    let along = force / MASS - friction * pressure * (speed * stretch / SLOW).tanh();
    let pull = -slope * (bend * speed * speed + GRAVITY);
    [speed, (pull + along * stretch) / (stretch * stretch)]
}

impl Dynamics for Car {
    fn start(&mut self, random: &mut Generator) {
        self.state = [0.0, uniform(random, -1.0, 1.0)];
    }

    fn observe(&self, observation: &mut [f64]) {
        observation.copy_from_slice(&self.state);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let force = clipped(action, FORCE);
        for _ in 0..PARTS {
            self.state =
                runge_kutta(&self.state, STEP / PARTS as f64, |state| motion(state, force, FRICTION));
        }
        let x = self.state[0];
        let reward = if x >= GOAL { 1.0 } else { 0.0 };
        (reward, x >= GOAL || x.abs() >= EDGE)
    }

    fn physics(&self) -> &[f64] {
        &self.state
    }

    fn physics_mut(&mut self) -> &mut [f64] {
        &mut self.state
    }

    fn scene(&self) -> Scene {
        let x = self.state[0];
        let mut shapes = curve(-EDGE, EDGE, 0.03, height);
        let foot = [GOAL, height(GOAL)];
        let top = [GOAL, foot[1] + 0.4];
        shapes.push(Shape::Line { from: foot, to: top, width: 0.02, colour: colours::BODY });
        let corners = vec![top, [GOAL + 0.2, top[1] - 0.08], [GOAL, top[1] - 0.16]];
        shapes.push(Shape::Polygon { corners, colour: colours::GOAL });
        let angle = slope(x).atan();
        let centre = [x - 0.1 * angle.sin(), height(x) + 0.1 * angle.cos()];
        shapes.push(rectangle(centre, [0.2, 0.1], angle, colours::BODY));
        Scene { low: [-2.1, -0.3], high: [2.1, 2.3], shapes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each kilogram.
    fn energy(&[x, speed]: &[f64; 2]) -> f64 {
        0.5 * speed * speed * (1.0 + slope(x) * slope(x)) + GRAVITY * height(x)
    }

    #[test]
    fn energy_is_kept_without_friction() {
        let start = [0.3, 0.9];
        let end =
            (0..5000).fold(start, |state, _| runge_kutta(&state, 0.005, |state| motion(state, 0.0, 0.0)));
        assert!((energy(&end) - energy(&start)).abs() < 1e-6, "{}", energy(&end) - energy(&start));
    }

    #[test]
    fn small_swings_have_the_known_period() {
        let frequency = GRAVITY.sqrt() * WAVE;
        let end = (0..200).fold([1e-4, 0.0], |state, _| runge_kutta(&state, 0.005, |y| motion(y, 0.0, 0.0)));
        assert!((end[0] - 1e-4 * frequency.cos()).abs() < 1e-9, "{}", end[0]);
    }

    #[test]
    fn friction_brings_the_car_to_rest_in_the_middle() {
        let mut car = Car { state: [0.0, 1.0] };
        (0..2000).for_each(|_| _ = car.advance(Action::Continuous(&[0.0])));
        assert!(energy(&car.state) < 1e-4, "{:?}", car.state);
    }

    /// The full force alone does not reach the goal, and pushing in the direction of motion does.
    #[test]
    fn the_car_must_swing() {
        let run = |force: fn(f64) -> f64| {
            let mut car = Car { state: [0.0, 0.1] };
            (0..HORIZON).any(|_| car.advance(Action::Continuous(&[force(car.state[1])])).0 > 0.0)
        };
        assert!(!run(|_| 1.0));
        assert!(run(f64::signum));
    }
}
