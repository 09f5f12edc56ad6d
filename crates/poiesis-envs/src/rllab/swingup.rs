//! The cart-pole swing-up. A pole hangs from a cart on a track and is to be swung up and kept there by pushing the cart.
//!
//! State and observation: position of the cart (m) and its velocity, angle of the pole from upright (rad, counter-clockwise, not
//! wrapped) and its angular velocity. Action: the force on the cart in newtons, from -10 to 10, held for 0.05 s.
//!
//! An episode starts uniformly within 1 m, 2 m/s, 1 rad from hanging and 3 rad/s. It ends when the cart is more than 3 m from the
//! middle. The dense reward is the cosine of the angle, and -100 in the step that leaves the track; the sparse reward is 1 while
//! that cosine is above 0.8, and 0 otherwise.
//!
//! The pole is a thin bar of 1 m and 0.1 kg on a cart of 1 kg. Box2D's steps of 0.05 s take energy from a pole that turns fast,
//! half of it within 0.25 s at 12 rad/s. Here a drag on the pole that grows with the cube of its velocity takes about as much;
//! without it, chance would swing the pole up more often than in the original. The friction of cart and track (coefficient
//! 3e-5) is left out, and so is the cart's drop at the start of each episode, which comes from how its joint is fixed.

use std::f64::consts::PI;

use super::{GRAVITY, HORIZON, Rewards};
use crate::environment::{Action, Environment, Space, Spec};
use crate::episode::{Dynamics, Episode, clipped};
use crate::random::{Generator, uniform};
use crate::runge_kutta::runge_kutta;
use crate::scene::{Scene, Shape, colours, rectangle};

const CART_MASS: f64 = 1.0;
const POLE_MASS: f64 = 0.1;
const LENGTH: f64 = 1.0;
const WIDTH: f64 = 0.1;
/// From the axle to the centre of mass of the pole, in m.
const CENTRE: f64 = LENGTH / 2.0;
/// Of the pole around its axle, in kg m².
const INERTIA: f64 = POLE_MASS * ((LENGTH * LENGTH + WIDTH * WIDTH) / 12.0 + CENTRE * CENTRE);
/// The torque of the drag at 1 rad/s, in N m.
const DRAG: f64 = 5e-4;
/// Newtons.
const FORCE: f64 = 10.0;
/// Seconds.
const STEP: f64 = 0.05;
/// Steps of the integration in one step.
const PARTS: usize = 5;
/// Where the track ends, in m from its middle.
const TRACK: f64 = 3.0;
/// The cosine above which the pole counts as upright.
const UPRIGHT: f64 = 0.8;

struct Swingup {
    rewards: Rewards,
    state: [f64; 4],
}

pub(super) fn make(rewards: Rewards) -> Box<dyn Environment> {
    let name = match rewards {
        Rewards::Dense => "cartpole-swingup",
        Rewards::Sparse => "cartpole-swingup-sparse",
    };
    let spec = Spec {
        name: name.into(),
        observation: Space::symmetric(&[f64::INFINITY; 4]),
        action: Space::symmetric(&[FORCE]),
        time_limit: Some(HORIZON),
        reward_threshold: None,
        seconds: STEP,
    };
    Box::new(Episode::new(spec, Swingup { rewards, state: [0.0; 4] }))
}

/// Lagrange's equations for `[x, speed, angle, turning]`, solved for the accelerations:
///
/// `(M + m) x'' - m c cos(a) a'' = F - m c sin(a) a'²` and `J a'' - m c cos(a) x'' = m g c sin(a) - d a'³`.
fn motion(&[_, speed, angle, turning]: &[f64; 4], force: f64, drag: f64) -> [f64; 4] {
    let (sin, cos) = angle.sin_cos();
    let (mass, moment) = (CART_MASS + POLE_MASS, POLE_MASS * CENTRE);
    let coupling = moment * cos;
    let push = force - moment * sin * turning * turning;
    let pull = moment * GRAVITY * sin - drag * turning.powi(3);
    let determinant = mass * INERTIA - coupling * coupling;
    let thrust = (INERTIA * push + coupling * pull) / determinant;
    let turn = (mass * pull + coupling * push) / determinant;
    [speed, thrust, turning, turn]
}

/// The state one step later.
fn moved(state: [f64; 4], force: f64, drag: f64) -> [f64; 4] {
    let part = |state, _| runge_kutta(&state, STEP / PARTS as f64, |state| motion(state, force, drag));
    (0..PARTS).fold(state, part)
}

impl Dynamics for Swingup {
    fn start(&mut self, random: &mut Generator) {
        self.state = [
            uniform(random, -1.0, 1.0),
            uniform(random, -2.0, 2.0),
            uniform(random, PI - 1.0, PI + 1.0),
            uniform(random, -3.0, 3.0),
        ];
    }

    fn observe(&self, observation: &mut [f64]) {
        observation.copy_from_slice(&self.state);
    }

    fn advance(&mut self, action: Action<'_>) -> (f64, bool) {
        let force = clipped(action, FORCE);
        self.state = moved(self.state, force, DRAG);
        let [x, _, angle, _] = self.state;
        let left = x.abs() > TRACK;
        let reward = match self.rewards {
            Rewards::Dense if left => -100.0,
            Rewards::Dense => angle.cos(),
            Rewards::Sparse if !left && angle.cos() > UPRIGHT => 1.0,
            Rewards::Sparse => 0.0,
        };
        (reward, left)
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
        let tip = [x - LENGTH * angle.sin(), LENGTH * angle.cos()];
        let pole = Shape::Line { from: [x, 0.0], to: tip, width: WIDTH, colour: colours::LIMB };
        let cart = rectangle([x, 0.0], [0.3, 0.15], 0.0, colours::BODY);
        let axle = Shape::Circle { centre: [x, 0.0], radius: 0.06, colour: colours::JOINT };
        Scene { low: [-3.2, -1.3], high: [3.2, 1.3], shapes: vec![track, cart, pole, axle] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(&[_, speed, angle, turning]: &[f64; 4]) -> f64 {
        let moment = POLE_MASS * CENTRE;
        0.5 * (CART_MASS + POLE_MASS) * speed * speed - moment * speed * turning * angle.cos()
            + 0.5 * INERTIA * turning * turning
            + moment * GRAVITY * angle.cos()
    }

    /// Without drag.
    fn after(start: [f64; 4], steps: usize, force: f64) -> [f64; 4] {
        (0..steps).fold(start, |state, _| moved(state, force, 0.0))
    }

    #[test]
    fn energy_and_momentum_are_kept_without_a_force() {
        let start = [0.0, 0.3, 2.0, -1.5];
        let end = after(start, 100, 0.0);
        // Of the motion between hanging and upright, 1 J; the integration loses about 1e-7 of it.
        assert!((energy(&end) - energy(&start)).abs() < 1e-6, "{}", energy(&end) - energy(&start));
        let momentum = |[_, speed, angle, turning]: [f64; 4]| {
            (CART_MASS + POLE_MASS) * speed - POLE_MASS * CENTRE * turning * angle.cos()
        };
        assert!((momentum(end) - momentum(start)).abs() < 1e-6, "{}", momentum(end) - momentum(start));
    }

    /// The momentum of cart and pole along the track grows by force times time.
    #[test]
    fn a_force_adds_its_momentum() {
        let [_, speed, angle, turning] = after([0.0, 0.0, PI, 0.0], 20, 2.5);
        let momentum = (CART_MASS + POLE_MASS) * speed - POLE_MASS * CENTRE * turning * angle.cos();
        assert!((momentum - 2.5).abs() < 1e-6, "{momentum}");
    }

    /// Near hanging, the pole and its free cart swing as a harmonic oscillator.
    #[test]
    fn small_swings_have_the_known_period() {
        let (mass, moment) = (CART_MASS + POLE_MASS, POLE_MASS * CENTRE);
        let frequency = (moment * GRAVITY / (INERTIA - moment * moment / mass)).sqrt();
        let lean = 1e-4;
        let [.., angle, _] = after([0.0, 0.0, PI + lean, 0.0], 40, 0.0);
        let expected = lean * (frequency * 40.0 * STEP).cos();
        assert!((angle - PI - expected).abs() < 1e-8, "{} {expected}", angle - PI);
    }

    /// Half a second of the same bodies in Box2D 2.3 with steps of 0.5 ms, whose error is about that much.
    #[test]
    fn a_rigid_body_engine_agrees() {
        let end = after([0.2, 0.1, 2.5, 1.0], 10, 3.0);
        for (ours, theirs) in end.iter().zip([0.5767, 1.4578, 3.2631, 0.9360]) {
            assert!((ours - theirs).abs() < 2e-3, "{end:?}");
        }
    }

    /// A pole that turns at 12 rad/s, and one at 5 rad/s, have the energy in J that they have in Box2D with its steps of 0.05 s.
    #[test]
    fn the_drag_takes_what_box2d_takes() {
        for (turning, steps, expected) in
            [(12.0, 5, 0.991), (12.0, 20, 0.644), (12.0, 60, 0.042), (5.0, 40, -0.226)]
        {
            let end = (0..steps).fold([0.0, 0.0, PI, turning], |state, _| moved(state, 0.0, DRAG));
            assert!((energy(&end) - expected).abs() < 0.2, "{turning} {steps}: {}", energy(&end));
        }
    }
}
