//! The tasks with continuous actions on which curiosity was first compared: the cart-pole swing-up, the double pendulum and the
//! mountain car of Duan et al. 2016 ("Benchmarking Deep Reinforcement Learning for Continuous Control", arXiv:1604.06778), and
//! their variants with sparse rewards of Houthooft et al. 2016 ("VIME", arXiv:1605.09674). All have 500 steps.
//!
//! Those works simulate rigid bodies with Box2D. Here the equations of motion are integrated with the Runge–Kutta method from the
//! same masses, lengths, forces, gravity (10 m/s²) and time steps, so single numbers differ and the tasks are the same. What
//! else differs is said in each file. Actions outside their limits are clipped, as there.

mod car;
mod double_pendulum;
mod swingup;

use crate::registry::Listed;

/// m/s².
const GRAVITY: f64 = 10.0;
/// Steps of an episode.
const HORIZON: usize = 500;

/// Whether a task rewards each step by how good it is, or only success.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rewards {
    Dense,
    Sparse,
}

/// The environments of this family.
pub(crate) const ENVIRONMENTS: [Listed; 5] = [
    Listed {
        name: "cartpole-swingup",
        about: "swing a pole up by pushing its cart and keep it there; the reward is the cosine of its angle",
        make: || Ok(swingup::make(Rewards::Dense)),
    },
    Listed {
        name: "double-pendulum",
        about: "lift two links by a torque between them; the reward is the distance of the tip, negative",
        make: || Ok(double_pendulum::make(Rewards::Dense)),
    },
    Listed {
        name: "mountain-car-sparse",
        about: "a car in a deep valley that is rewarded only when it leaves it (VIME)",
        make: || Ok(car::make()),
    },
    Listed {
        name: "cartpole-swingup-sparse",
        about: "the cart-pole swing-up, rewarded only while the pole is nearly upright (VIME)",
        make: || Ok(swingup::make(Rewards::Sparse)),
    },
    Listed {
        name: "double-pendulum-sparse",
        about: "the double pendulum, rewarded only while its tip is near the top (VIME)",
        make: || Ok(double_pendulum::make(Rewards::Sparse)),
    },
];
