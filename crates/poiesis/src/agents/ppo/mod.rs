//! Proximal policy optimization.
//!
//! Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization algorithms", 2017, arXiv:1707.06347. Several
//! passes of minibatches over a rollout, on an objective that gains nothing by moving a probability further than a clipped ratio
//! from where it was.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `ratio` | r(θ) | π(a given s) over what it was when the policy acted |
//! | `advantages` | Â | generalized advantage estimates |
//! | `returns` | V^targ | advantages plus values |
//! | `clip_range` | ε | how far a ratio may move |
//! | `value_coefficient`, `entropy_coefficient` | c₁, c₂ | weights of Eq. 9 |
//!
//! Differences from the paper, all of them usual: advantages are normalised in each minibatch, the norm of gradients is clipped
//! (`optimizer.clip`), the policy and the values have networks of their own, observations are normalised by running moments, and
//! rewards too where `normalize_rewards` is set. `clip_value_loss` clips the values as OpenAI's code does; `target_kl` ends the
//! passes of an iteration once the policy has moved that far.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::base::{Minibatch, above_zero, normalized, not_negative};
use super::{AgentConfig, Base, Batch, Learning};
use crate::abilities::{Abilities, Ability};
use crate::config::{Faults, Settings};
use crate::data::{DataSpec, EnvironmentNeeds, Environments, MediaKind};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::Init;
use crate::optim::{Decay, Optimizer, OptimizerConfig};

/// Settings that only PPO has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PpoSettings {
    /// Passes over each rollout.
    pub epochs: usize,
    /// ε of Eq. 7: how far the ratio of probabilities may move from 1.
    pub clip_range: f64,
    /// Whether values are kept within `clip_range` of what they were, in the loss.
    pub clip_value_loss: bool,
    /// c₁ of Eq. 9: weight of the loss of the values, ½ (V − V^targ)².
    pub value_coefficient: f64,
    /// The passes of an iteration end once the KL divergence from the policy that acted is above this, in nats; 0 for never.
    pub target_kl: f64,
}

impl Default for PpoSettings {
    fn default() -> PpoSettings {
        PpoSettings {
            epochs: 10,
            clip_range: 0.2,
            clip_value_loss: false,
            value_coefficient: 0.5,
            target_kl: 0.0,
        }
    }
}

impl PpoSettings {
    /// Adds the faults of these settings, which are part of a model's section.
    pub fn check(&self, faults: &mut Faults) {
        faults.positive(&["epochs"]);
        above_zero(faults, &[("clip_range", self.clip_range)]);
        not_negative(faults, &[("value_coefficient", self.value_coefficient), ("target_kl", self.target_kl)]);
    }
}

/// Settings of [`Ppo`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PpoConfig {
    /// What all agents share.
    #[serde(flatten)]
    pub agent: AgentConfig,
    /// What only PPO has.
    #[serde(flatten)]
    pub ppo: PpoSettings,
}

impl Settings for PpoConfig {
    fn check(&self, faults: &mut Faults) {
        self.agent.check(faults);
        self.ppo.check(faults);
    }
}

/// The terms of Eq. 9, each averaged over a minibatch, `[1]`.
#[derive(Clone, Debug)]
pub(super) struct PpoLoss {
    /// What is minimised.
    pub(super) objective: Tensor<1>,
    /// −L^CLIP.
    pub(super) policy: Tensor<1>,
    /// ½ (V − V^targ)²; 0 where the baseline is no network.
    pub(super) value: Tensor<1>,
    /// Of the policy, in nats.
    pub(super) entropy: Tensor<1>,
    /// KL from the policy that acted, estimated as the mean of r − 1 − log r (Schulman 2020).
    pub(super) kl: Tensor<1>,
    /// The part of the rows whose ratio is outside of the clip range.
    pub(super) clipped: Tensor<1>,
}

impl PpoSettings {
    /// The loss of a minibatch whose advantages are normalised already.
    pub(super) fn loss(&self, base: &Base, batch: Minibatch) -> PpoLoss {
        let Minibatch { inputs, actions, log_probs, advantages, returns, values } = batch;
        let policy = base.policy.distribution_of_inputs(inputs.clone());
        let log_ratio = policy.log_probs(actions) - log_probs;
        let ratio = log_ratio.clone().exp();
        let (low, high) = (1.0 - self.clip_range, 1.0 + self.clip_range);
        let clipped_ratio = ratio.clone().clamp(low, high); // (7)
        let surrogate = (ratio.clone() * advantages.clone()).min_pair(clipped_ratio * advantages);
        let entropy = policy.entropy().mean();
        let policy = surrogate.mean().neg();
        let value = match base.value_errors(inputs, returns.clone()) {
            None => policy.clone().detach() * 0.0,
            Some(errors) => self.value_loss(errors, &returns, values),
        };
        let coefficient = base.agent().entropy_coefficient;
        let fixed = log_ratio.clone().detach();
        PpoLoss {
            objective: policy.clone() + value.clone() * self.value_coefficient
                - entropy.clone() * coefficient, // (9)
            policy,
            value,
            entropy,
            kl: (fixed.clone().exp() - 1.0 - fixed).mean(),
            clipped: (ratio.detach() - 1.0).abs().greater_elem(self.clip_range).float().mean(),
        }
    }

    /// ½ (V − V^targ)², the larger of that and of the same with V kept near `old`.
    fn value_loss(&self, errors: Tensor<1>, returns: &Tensor<1>, old: Tensor<1>) -> Tensor<1> {
        let squares = errors.clone().square();
        if !self.clip_value_loss {
            return squares.mean() * 0.5;
        }
        let moved = (errors + returns.clone() - old.clone()).clamp(-self.clip_range, self.clip_range);
        let clipped = (old + moved - returns.clone()).square();
        squares.max_pair(clipped).mean() * 0.5
    }
}

/// One step on a minibatch.
pub(super) fn minimize(
    base: &mut Base,
    settings: &PpoSettings,
    mut batch: Minibatch,
    step: &mut Step<'_>,
) -> PpoLoss {
    if base.agent().normalize_advantages {
        batch.advantages = normalized(batch.advantages);
    }
    let loss = settings.loss(base, batch);
    step.minimize("policy", base, &loss.objective);
    loss
}

/// Algorithm 1 after acting: the passes over a rollout. The metrics are means over the last pass.
pub(super) fn update(
    base: &mut Base,
    batch: &Batch,
    settings: &PpoSettings,
    step: &mut Step<'_>,
) -> Vec<(&'static str, f64)> {
    let mut sums = [0.0; 5];
    for epoch in 0..settings.epochs {
        sums = [0.0; 5];
        let number = step.number * settings.epochs as u64 + epoch as u64;
        for rows in &batch.minibatches(step.seed, number) {
            let part = batch.minibatch(rows, step.device);
            let PpoLoss { policy, value, entropy, kl, clipped, .. } = minimize(base, settings, part, step);
            let weight = rows.len() as f64 / batch.rows() as f64;
            for (sum, term) in sums.iter_mut().zip([policy, value, entropy, kl, clipped]) {
                *sum += weight * term.into_scalar::<f64>();
            }
        }
        if settings.target_kl > 0.0 && sums[3] > settings.target_kl {
            break;
        }
    }
    let names = ["policy_loss", "value_loss", "entropy", "kl", "clip_fraction"];
    let has_values = base.baseline.network().is_some();
    names.into_iter().zip(sums).filter(|(name, _)| has_values || *name != "value_loss").collect()
}

/// A policy that learns by proximal policy optimization.
#[derive(Module, Debug)]
pub struct Ppo {
    /// The policy and the values.
    pub base: Base,
}

impl Model for Ppo {
    const ABOUT: About = About {
        name: "ppo",
        summary: "proximal policy optimization: an agent that learns by clipped steps on minibatches",
        paper: Paper {
            title: "Proximal policy optimization algorithms",
            authors: "Schulman, Wolski, Dhariwal, Radford, Klimov",
            year: 2017,
            arxiv: "1707.06347",
        },
        media: &[MediaKind::Experience],
        abilities: &[Ability::Act],
        recipes: recipes!("cartpole", "pendulum", "hopper", "acrobot", "mountain-car"),
        train: AgentConfig::train,
        optimizer: || OptimizerConfig {
            learning_rate: 3e-4,
            epsilon: 1e-5,
            clip: 0.5,
            schedule: Decay::Linear,
            ..OptimizerConfig::default()
        },
        ..About::BASE
    };

    type Config = PpoConfig;
    type Data = Environments;

    fn needs(config: &PpoConfig, spec: &DataSpec) -> Result<EnvironmentNeeds> {
        spec.task().map(|_| config.agent.needs())
    }

    fn new(config: &PpoConfig, spec: &DataSpec, init: &mut Init) -> Result<Ppo> {
        Ok(Ppo { base: Base::of(&config.agent, Learning::Ppo(config.ppo.clone()), spec.task()?, init) })
    }

    fn held_values(config: &PpoConfig, spec: &DataSpec) -> Result<f64> {
        Ok(config.agent.held_values(spec.task()?))
    }

    fn optimizers(_config: &PpoConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        Base::optimizers(shared)
    }

    fn train_step(&mut self, data: &mut Environments, step: &mut Step<'_>) -> Metrics {
        let rollout = self.base.collect(data, step);
        self.base.update(&rollout, &rollout.rewards, step)
    }

    fn warnings(_config: &PpoConfig) -> Vec<WarningRule> {
        /// Nats, far more than an iteration with a clipped ratio usually moves a policy.
        const FAR: f64 = 0.5;
        let what = format!(
            "the policy moves by more than {FAR} nats in each iteration, which clipping should prevent"
        );
        let remedy = "lower optimizer.learning_rate or ppo.epochs, or set ppo.target_kl=0.02";
        vec![WarningRule::new("policy-moves-far", what, remedy, |values| {
            values.get("kl").is_some_and(|kl| *kl > FAR)
        })]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { act: Some(&self.base.policy), ..Abilities::default() }
    }
}

#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;
