//! Environments in which agents act: classic control, swing-ups with sparse rewards, bodies on MuJoCo,
//! and programs behind a pipe. No tensors.
//!
//! # Use
//!
//! ```
//! use poiesis_envs::{Action, make};
//!
//! let mut cartpole = make("cartpole")?;
//! let mut observation = vec![0.0; cartpole.spec().observation.width()];
//! cartpole.reset(7, &mut observation)?;
//! let transition = cartpole.step(Action::Discrete(1), &mut observation)?;
//! assert_eq!(transition.reward, 1.0);
//! # Ok::<(), poiesis_envs::EnvError>(())
//! ```
//!
//! [`list`] gives the names that [`make`] knows, [`Vectorized`] steps many environments on all cores, and [`Process`] is an
//! environment that runs as a program of its own, such as a script in Python. Those of [`mujoco`] need its library, which is
//! looked for where [`mujoco::look_in`] says when the first of them is made. A type of your own that implements
//! [`Environment`] is used like those of this crate.
//!
//! # Randomness
//!
//! An episode is drawn from its seed alone, with ChaCha8. Nothing after the start of an episode is random in the environments
//! of this crate, so a seed and a list of actions give the same numbers on every run and for any number of threads.
//!
//! # State
//!
//! [`Environment::state`] is everything that later steps depend on, so a restored environment gives the same numbers as one
//! that was never stopped. The state of a [`Process`] cannot be known; its [`restore`](Environment::restore) answers
//! [`EnvError::CannotRestore`].

mod classic;
mod environment;
mod episode;
mod error;
pub mod mujoco;
mod names;
mod process;
mod random;
mod registry;
mod rllab;
mod runge_kutta;
mod scene;
mod vectorized;

pub use environment::{Action, Environment, Space, Spec, Transition};
pub use error::{EnvError, ProcessFault};
pub use names::observation_names;
pub use process::{Process, Timeouts};
pub use random::episode_seed;
pub use registry::{Listed, list, make};
pub use scene::{Colour, Scene, Shape};
pub use vectorized::{Actions, Finished, Outcome, Saved, SavedEnvironment, Vectorized};
