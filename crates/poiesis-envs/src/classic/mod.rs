//! Classic control with the dynamics of Gymnasium 1.4: the same constants, limits, rewards and endings. The start of an episode
//! is drawn from the same ranges by our own generator.
//!
//! Observations are f64. Gymnasium rounds them to f32 when it returns them. Its state is f64, but for the continuous mountain
//! car, whose state and arithmetic are f32 there and here, and for the torque of the pendulum, which is f32.

mod acrobot;
mod cartpole;
mod continuous_car;
mod mountain_car;
mod pendulum;
mod valley;

use crate::registry::Listed;

/// The environments of this family.
pub(crate) const ENVIRONMENTS: [Listed; 5] = [
    Listed {
        name: "cartpole",
        about: "balance a pole on a cart by pushing it left or right (CartPole-v1)",
        make: || Ok(cartpole::make()),
    },
    Listed {
        name: "acrobot",
        about: "swing the tip of two links above a line by a torque between them (Acrobot-v1)",
        make: || Ok(acrobot::make()),
    },
    Listed {
        name: "mountain-car",
        about: "drive a weak car out of a valley by gathering speed, three choices (MountainCar-v0)",
        make: || Ok(mountain_car::make()),
    },
    Listed {
        name: "mountain-car-continuous",
        about: "the same with a force from -1 to 1, and effort costs (MountainCarContinuous-v0)",
        make: || Ok(continuous_car::make()),
    },
    Listed {
        name: "pendulum",
        about: "swing a pendulum up and hold it with a small torque (Pendulum-v1)",
        make: || Ok(pendulum::make()),
    },
];
