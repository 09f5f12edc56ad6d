//! The policy gradient with a baseline.
//!
//! Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992. One step of the
//! policy for each rollout along the gradient of log π(a|s) times how much better than expected the rewards after it were.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `advantages` | R − b | returns less the baseline; with `gae_lambda` below 1, generalized advantage estimates |
//!
//! Differences from the paper: the baseline depends on the observation and is learned, rewards are discounted, advantages are
//! normalised over the rollout, and the step is one of Adam unless `optimizer.kind` says otherwise. A rollout that ends within an
//! episode ends its sum with what the baseline expects; the paper sums to the end of each.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::base::{Minibatch, normalized};
use super::{AgentConfig, Base, Batch, Learning, Policy};
use crate::abilities::{Abilities, Ability};
use crate::config::{Faults, Settings};
use crate::data::{DataSpec, EnvironmentNeeds, Environments, MediaKind};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, recipes};
use crate::nn::Init;
use crate::optim::{Optimizer, OptimizerConfig};

/// Settings of [`Reinforce`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReinforceConfig {
    /// What all agents share.
    #[serde(flatten)]
    pub agent: AgentConfig,
    /// Passes of the baseline over each rollout, where it is a network.
    pub value_epochs: usize,
}

impl Default for ReinforceConfig {
    fn default() -> ReinforceConfig {
        let agent = AgentConfig { gae_lambda: 1.0, ..AgentConfig::default() };
        ReinforceConfig { agent, value_epochs: 10 }
    }
}

impl Settings for ReinforceConfig {
    fn check(&self, faults: &mut Faults) {
        self.agent.check(faults);
        faults.optional_depths(&["value_epochs"]);
    }
}

/// What is minimised: minus the mean of log π(a|s) times its advantage, less the weighted entropy, `[1]`; and the entropy, `[1]`.
pub(super) fn loss(policy: &Policy, batch: &Minibatch, entropy_coefficient: f64) -> (Tensor<1>, Tensor<1>) {
    let distribution = policy.distribution_of_inputs(batch.inputs.clone());
    let gained = (distribution.log_probs(batch.actions.clone()) * batch.advantages.clone()).mean();
    let entropy = distribution.entropy().mean();
    (gained.neg() - entropy.clone() * entropy_coefficient, entropy)
}

/// One step on a batch; returns the loss and the entropy before it.
pub(super) fn minimize(base: &mut Base, mut batch: Minibatch, step: &mut Step<'_>) -> (f64, f64) {
    if base.agent().normalize_advantages {
        batch.advantages = normalized(batch.advantages);
    }
    let (loss, entropy) = loss(&base.policy, &batch, base.agent().entropy_coefficient);
    step.minimize("policy", base, &loss);
    (loss.into_scalar::<f64>(), entropy.into_scalar::<f64>())
}

/// The update after acting.
pub(super) fn update(
    base: &mut Base,
    batch: &Batch,
    value_epochs: usize,
    step: &mut Step<'_>,
) -> Vec<(&'static str, f64)> {
    let whole = batch.whole(step.device);
    let inputs = whole.inputs.clone();
    let old = base.policy.fixed_distribution(inputs.clone());
    let (policy_loss, entropy) = minimize(base, whole, step);
    let kl = base.policy.fixed_distribution(inputs).kl(&old).mean().into_scalar::<f64>();
    let mut metrics = vec![("policy_loss", policy_loss), ("entropy", entropy), ("kl", kl)];
    let value_loss = base.fit_values(batch, value_epochs, step);
    metrics.extend(value_loss.map(|loss| ("value_loss", loss)));
    metrics
}

/// A policy that learns by its gradient.
#[derive(Module, Debug)]
pub struct Reinforce {
    /// The policy and the values.
    pub base: Base,
}

impl Model for Reinforce {
    const ABOUT: About = About {
        name: "reinforce",
        summary: "the policy gradient with a baseline: the plainest agent that learns by acting",
        paper: Paper {
            title: "Simple statistical gradient-following algorithms for connectionist reinforcement learning",
            authors: "Williams",
            year: 1992,
            arxiv: "",
        },
        media: &[MediaKind::Experience],
        abilities: &[Ability::Act],
        recipes: recipes!("cartpole"),
        train: AgentConfig::train,
        optimizer: || OptimizerConfig { learning_rate: 3e-3, ..OptimizerConfig::default() },
        ..About::BASE
    };

    type Config = ReinforceConfig;
    type Data = Environments;

    fn needs(config: &ReinforceConfig, spec: &DataSpec) -> Result<EnvironmentNeeds> {
        spec.task().map(|_| config.agent.needs())
    }

    fn new(config: &ReinforceConfig, spec: &DataSpec, init: &mut Init) -> Result<Reinforce> {
        let learning = Learning::Reinforce { value_epochs: config.value_epochs };
        Ok(Reinforce { base: Base::of(&config.agent, learning, spec.task()?, init) })
    }

    fn held_values(config: &ReinforceConfig, spec: &DataSpec) -> Result<f64> {
        Ok(config.agent.held_values(spec.task()?))
    }

    fn optimizers(_config: &ReinforceConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        Base::optimizers(shared)
    }

    fn train_step(&mut self, data: &mut Environments, step: &mut Step<'_>) -> Metrics {
        let rollout = self.base.collect(data, step);
        self.base.update(&rollout, &rollout.rewards, step)
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { act: Some(&self.base.policy), ..Abilities::default() }
    }
}

#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;
