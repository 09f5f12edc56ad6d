//! The double pendulum. Two links hang from a fixed point, and a torque between them is to lift the tip to the top.
//!
//! State: angles of both links from hanging (rad, counter-clockwise, not wrapped) and their angular velocities. Observation:
//! sine, cosine and velocity of the first link, then of the second. Action: the torque between the links in newton metres, from
//! -50 to 50, held for 0.02 s; it turns the second link counter-clockwise and the first the other way.
//!
//! An episode starts near hanging: both angles are normal with deviation 0.1, both velocities with 0.01. It ends at its time limit
//! only. The dense reward is the distance between the tip and the point two links above the fixed one, negative; the sparse reward
//! is 1 while that distance is below 1 m, and 0 otherwise.
//!
//! Each link is a bar of 1 m and 0.5 kg. Differences from the original: it reads the position of the tip mirrored (its sine has
//! the wrong sign), which changes the distance when both links lean; here it is the true position. Box2D turns a body by at
//! most a quarter turn in one of its steps of 0.01 s, so velocities are limited to that here.

use std::f64::consts::PI;

use super::{GRAVITY, HORIZON, Rewards};
use crate::environment::{Action, Environment, Space, Spec};
use crate::episode::{Dynamics, Episode, clipped};
use crate::random::{Generator, normal};
use crate::runge_kutta::runge_kutta;
use crate::scene::{Scene, Shape, colours};

const MASS: f64 = 0.5;
const LENGTH: f64 = 1.0;
const WIDTH: f64 = 0.1;
/// From the joint of a link to its centre of mass, in m.
const CENTRE: f64 = LENGTH / 2.0;
/// Of a link around its joint, in kg m².
const INERTIA: f64 = MASS * ((LENGTH * LENGTH + WIDTH * WIDTH) / 12.0 + CENTRE * CENTRE);
/// Newton metres.
const TORQUE: f64 = 50.0;
/// Seconds.
const STEP: f64 = 0.02;
/// Steps of the integration in one step.
const PARTS: usize = 10;
/// The largest angular velocity, in rad/s.
const FASTEST: f64 = PI / 2.0 / 0.01;
/// The distance from the top below which the tip counts as lifted, in m.
const NEAR: f64 = 1.0;

struct DoublePendulum {
    rewards: Rewards,
    state: [f64; 4],
}

pub(super) fn make(rewards: Rewards) -> Box<dyn Environment> {
    let name = match rewards {
        Rewards::Dense => "double-pendulum",
        Rewards::Sparse => "double-pendulum-sparse",
    };
    let spec = Spec {
        name: name.into(),
        observation: Space::symmetric(&[1.0, 1.0, FASTEST, 1.0, 1.0, FASTEST]),
        action: Space::symmetric(&[TORQUE]),
        time_limit: Some(HORIZON),
        reward_threshold: None,
        seconds: STEP,
    };
    Box::new(Episode::new(spec, DoublePendulum { rewards, state: [0.0; 4] }))
}

/// Lagrange's equations for `[a, b, a', b']`, solved for the accelerations. With `d = a - b`:
///
/// `(J + m l²) a'' + m l c cos(d) b'' = -T - m l c sin(d) b'² - g m (c + l) sin(a)` and
/// `J b'' + m l c cos(d) a'' = T + m l c sin(d) a'² - g m c sin(b)`.
fn motion(&[first, second, first_speed, second_speed]: &[f64; 4], torque: f64) -> [f64; 4] {
    let (sin, cos) = (first - second).sin_cos();
    let moment = MASS * LENGTH * CENTRE;
    let whole = INERTIA + MASS * LENGTH * LENGTH;
    let coupling = moment * cos;
    let upper = -torque
        - moment * sin * second_speed * second_speed
        - GRAVITY * MASS * (CENTRE + LENGTH) * first.sin();
    let lower = torque + moment * sin * first_speed * first_speed - GRAVITY * MASS * CENTRE * second.sin();
    let determinant = whole * INERTIA - coupling * coupling;
    let first_turn = (INERTIA * upper - coupling * lower) / determinant;
    let second_turn = (whole * lower - coupling * upper) / determinant;
    [first_speed, second_speed, first_turn, second_turn]
}

/// The end of a link that begins at `from`.
fn end(from: [f64; 2], angle: f64) -> [f64; 2] {
    [from[0] + LENGTH * angle.sin(), from[1] - LENGTH * angle.cos()]
}

impl Dynamics for DoublePendulum {
    fn start(&mut self, random: &mut Generator) {
        self.state = [0.1, 0.1, 0.01, 0.01].map(|deviation| normal(random, deviation));
    }

    fn observe(&self, observation: &mut [f64]) {
        let [first, second, first_speed, second_speed] = self.state;
        let numbers = [first.sin(), first.cos(), first_speed, second.sin(), second.cos(), second_speed];
        observation.copy_from_slice(&numbers);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let torque = clipped(action, TORQUE);
        for _ in 0..PARTS {
            self.state = runge_kutta(&self.state, STEP / PARTS as f64, |state| motion(state, torque));
            let limited = |speed: f64| speed.clamp(-FASTEST, FASTEST);
            self.state = [self.state[0], self.state[1], limited(self.state[2]), limited(self.state[3])];
        }
        let [first, second, ..] = self.state;
        let [x, y] = end(end([0.0, 0.0], first), second);
        let distance = x.hypot(y - 2.0 * LENGTH);
        let reward = match self.rewards {
            Rewards::Dense => -distance,
            Rewards::Sparse if distance < NEAR => 1.0,
            Rewards::Sparse => 0.0,
        };
        (reward, false)
    }

    fn physics(&self) -> &[f64] {
        &self.state
    }

    fn physics_mut(&mut self) -> &mut [f64] {
        &mut self.state
    }

    fn scene(&self) -> Scene {
        let [first, second, ..] = self.state;
        let elbow = end([0.0, 0.0], first);
        let line = |from, to, colour| Shape::Line { from, to, width: WIDTH, colour };
        let joint = |centre| Shape::Circle { centre, radius: 0.08, colour: colours::JOINT };
        let goal = Shape::Circle { centre: [0.0, 2.0 * LENGTH], radius: 0.06, colour: colours::GOAL };
        let upper = line([0.0, 0.0], elbow, colours::LIMB);
        let lower = line(elbow, end(elbow, second), colours::BODY);
        let shapes = vec![goal, upper, lower, joint([0.0, 0.0]), joint(elbow)];
        Scene { low: [-2.2, -2.2], high: [2.2, 2.2], shapes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(&[first, second, first_speed, second_speed]: &[f64; 4]) -> f64 {
        let moment = MASS * LENGTH * CENTRE;
        0.5 * (INERTIA + MASS * LENGTH * LENGTH) * first_speed * first_speed
            + 0.5 * INERTIA * second_speed * second_speed
            + moment * first_speed * second_speed * (first - second).cos()
            - GRAVITY * MASS * ((CENTRE + LENGTH) * first.cos() + CENTRE * second.cos())
    }

    fn after(start: [f64; 4], steps: usize, torque: f64) -> [f64; 4] {
        let mut pendulum = DoublePendulum { rewards: Rewards::Dense, state: start };
        (0..steps).for_each(|_| _ = pendulum.advance(Action::Continuous(&[torque])));
        pendulum.state
    }

    #[test]
    fn energy_is_kept_without_a_torque() {
        let start = [2.5, -1.0, 3.0, -4.0];
        let lost = energy(&after(start, 250, 0.0)) - energy(&start);
        // Of about 10 J; the integration loses about 1e-6 of it.
        assert!(lost.abs() < 1e-5, "{lost}");
    }

    /// A torque between the links does the work torque times the change of the angle between them.
    #[test]
    fn a_torque_does_its_work() {
        let start = [0.4, -0.2, 0.0, 0.0];
        let end = after(start, 10, 1.5);
        let work = 1.5 * ((end[1] - end[0]) - (start[1] - start[0]));
        let gained = energy(&end) - energy(&start);
        assert!((gained - work).abs() < 1e-8, "{gained} {work}");
    }

    /// The two modes of small swings of two equal bars, from the roots of the characteristic equation.
    #[test]
    fn small_swings_have_the_known_modes() {
        let moment = MASS * LENGTH * CENTRE;
        let whole = INERTIA + MASS * LENGTH * LENGTH;
        let (k, l) = (GRAVITY * MASS * (CENTRE + LENGTH), GRAVITY * MASS * CENTRE);
        // det(K - w² M) = 0 as a quadratic in w².
        let (a, b, c) = (whole * INERTIA - moment * moment, k * INERTIA + l * whole, k * l);
        for sign in [-1.0, 1.0] {
            let square = (b + sign * (b * b - 4.0 * a * c).sqrt()) / (2.0 * a);
            let ratio = (k - square * whole) / (square * moment);
            let lean = 1e-5;
            let end = after([lean, lean * ratio, 0.0, 0.0], 50, 0.0);
            let expected = lean * (square.sqrt() * 50.0 * STEP).cos();
            assert!((end[0] - expected).abs() < 1e-9, "{} {expected}", end[0]);
            assert!((end[1] - expected * ratio).abs() < 1e-9);
        }
    }

    /// 0.4 s of the same bodies in Box2D 2.3 with steps of 0.5 ms, whose error is about 8e-3.
    #[test]
    fn a_rigid_body_engine_agrees() {
        let end = after([0.4, -0.2, 0.5, -0.3], 20, 1.5);
        for (ours, theirs) in end.iter().zip([-0.2912, 1.3823, -1.3778, 3.4658]) {
            assert!((ours - theirs).abs() < 1e-2, "{end:?}");
        }
    }
}
