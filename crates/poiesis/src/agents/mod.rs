//! Agents: policies that act in environments, and how they learn, a folder for each paper.
//!
//! A policy is trained by one of three learners, which differ in how they change it: [`ppo`], [`trpo`] and [`reinforce`]. What they
//! share is in [`Base`]: rollouts, advantages, baselines and normalisation. An agent that earns other rewards than those of its
//! environment, such as an imitator or a curious one, has a `Base` and changes the rewards between its rollout and its update.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `observations` | s | what the environments show, as they show it |
//! | `actions` | a | numbers, or a choice as its number |
//! | `rewards` | r | one for each step |
//! | `returns` | R | discounted sums of rewards to come |
//! | `values` | V(s) | what the baseline expects of the returns |
//! | `advantages` | A | how much better an action was than expected |
//!
//! Rows of a rollout are environment-major: row = environment · steps + step. A step that ends an episode by a rule of the task is
//! `terminated`, and nothing is earned after it; one that ends it by its time limit is `truncated`, and what would still have been
//! earned is estimated by the baseline.

mod actor;
mod base;
mod baseline;
pub mod bc;
mod distribution;
pub mod gail;
mod network;
mod parameters;
mod policy;
pub mod ppo;
pub mod reinforce;
mod returns;
pub mod rnd;
mod rollout;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod trpo;
pub mod vime;

pub use actor::PolicyActor;
pub use base::{AgentConfig, Base, BaseConfig, Batch, Learning, LearningKind};
pub use baseline::{Baseline, BaselineKind};
pub use distribution::ActionDistribution;
pub use network::{HiddenActivation, Network};
pub use parameters::{flat_gradient, flat_parameters, with_flat_parameters};
pub use policy::{Normalizer, Policy};
pub use returns::{Estimates, Estimator, discounted};
pub use rollout::Rollout;
