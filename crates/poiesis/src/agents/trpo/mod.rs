//! Trust region policy optimization.
//!
//! Schulman, Levine, Moritz, Jordan and Abbeel, "Trust region policy optimization", 2015, arXiv:1502.05477. Each update is the
//! step that gains most by the linearised surrogate, as far as the quadratic approximation of the KL divergence allows, then
//! shortened until the surrogate itself is better and the divergence itself is small enough.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `gradient` | g | of the surrogate at the policy that has acted |
//! | `Fisher::product` | A v | the second derivative of the mean KL divergence, times a vector |
//! | `direction` | s ≈ A⁻¹ g | by conjugate gradients |
//! | `kl_limit` | δ | the trust region, in nats |
//!
//! Differences from the paper: advantages are generalized advantage estimates (arXiv:1506.02438), normalised over the rollout; A is
//! damped; the divergence may be `kl_wall` times the limit, as a step whose quadratic estimate is the limit has often a little more
//! (code of Ho and Ermon 2016); the baseline is a network fitted by passes of minibatches, by its own optimizer.

mod conjugate_gradient;
mod fisher;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use conjugate_gradient::conjugate_gradient;
pub use fisher::Fisher;

use super::base::{Minibatch, above_zero, normalized, not_negative};
use super::{
    AgentConfig, Base, Batch, Learning, Policy, flat_gradient, flat_parameters, with_flat_parameters,
};
use crate::abilities::{Abilities, Ability};
use crate::config::{Faults, Settings};
use crate::data::{DataSpec, EnvironmentNeeds, Environments, MediaKind};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::Init;
use crate::optim::{Optimizer, OptimizerConfig};
use crate::rng;

/// Settings that only TRPO has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrpoSettings {
    /// δ: how far an update may move the policy, as the mean KL divergence in nats.
    pub kl_limit: f64,
    /// A shortened step is taken when its divergence is at most this many times `kl_limit`.
    pub kl_wall: f64,
    /// Iterations of conjugate gradients.
    pub cg_iterations: usize,
    /// What is added to the diagonal of the Fisher matrix.
    pub cg_damping: f64,
    /// The part of the rows that the Fisher matrix is averaged over, above 0 and at most 1.
    pub fisher_fraction: f64,
    /// How often a step is halved before it is given up.
    pub backtracks: usize,
    /// A step is taken when it gains at least this part of what the linearised surrogate promises.
    pub accept_ratio: f64,
    /// Passes of the baseline over each rollout, where it is a network.
    pub value_epochs: usize,
}

impl Default for TrpoSettings {
    fn default() -> TrpoSettings {
        TrpoSettings {
            kl_limit: 0.01,
            kl_wall: 2.0,
            cg_iterations: 10,
            cg_damping: 0.1,
            fisher_fraction: 1.0,
            backtracks: 10,
            accept_ratio: 0.1,
            value_epochs: 10,
        }
    }
}

impl TrpoSettings {
    /// Adds the faults of these settings, which are part of a model's section.
    pub fn check(&self, faults: &mut Faults) {
        faults.positive(&["cg_iterations", "backtracks"]);
        faults.optional_depths(&["value_epochs"]);
        above_zero(faults, &[("kl_limit", self.kl_limit), ("kl_wall", self.kl_wall)]);
        not_negative(faults, &[("cg_damping", self.cg_damping), ("accept_ratio", self.accept_ratio)]);
        if !(self.fisher_fraction > 0.0 && self.fisher_fraction <= 1.0) {
            let reason = "it is a part of the rows";
            faults.add("fisher_fraction", self.fisher_fraction, reason, "give 1, or less, such as 0.1");
        }
    }
}

/// Settings of [`Trpo`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrpoConfig {
    /// What all agents share.
    #[serde(flatten)]
    pub agent: AgentConfig,
    /// What only TRPO has.
    #[serde(flatten)]
    pub trpo: TrpoSettings,
}

impl Default for TrpoConfig {
    fn default() -> TrpoConfig {
        let agent = AgentConfig { rollout_steps: 640, gae_lambda: 0.97, ..AgentConfig::default() };
        TrpoConfig { agent, trpo: TrpoSettings::default() }
    }
}

impl Settings for TrpoConfig {
    fn check(&self, faults: &mut Faults) {
        self.agent.check(faults);
        self.trpo.check(faults);
    }
}

/// What a policy gains on a batch, and how far it is from the policy that acted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// The mean of r(θ) Â, plus the weighted entropy (Eq. 14).
    pub(super) surrogate: f64,
    /// The mean KL(π_old ‖ π), in nats.
    pub(super) kl: f64,
}

/// A direction in which the policy moves, and how far.
#[derive(Clone, Debug)]
pub(super) struct Move {
    /// The change of all parameters when the step is not shortened.
    pub(super) step: Vec<f64>,
    /// What the linearised surrogate gains by it.
    pub(super) promised: f64,
}

impl TrpoSettings {
    /// β s of Appendix C, from the gradient and products with the Fisher matrix; `None` where there is nothing to gain.
    pub(super) fn propose(&self, gradient: &[f64], fisher: &Fisher) -> Option<Move> {
        let product = |v: &[f64]| {
            let damped =
                fisher.product(v).into_iter().zip(v).map(|(product, v)| product + self.cg_damping * v);
            damped.collect::<Vec<f64>>()
        };
        let direction = conjugate_gradient(product, gradient, self.cg_iterations);
        let curvature = dot(&direction, &product(&direction));
        let scale = (2.0 * self.kl_limit / curvature).sqrt();
        let step: Vec<f64> = direction.iter().map(|s| scale * s).collect();
        let promised = dot(gradient, &step);
        (scale.is_finite() && promised > 0.0).then_some(Move { step, promised })
    }

    /// The line search: the policy after the longest step that is good enough and short enough, with what was measured of it; `None`
    /// where no step is.
    pub(super) fn search(
        &self,
        policy: &Policy,
        toward: &Move,
        before: f64,
        mut measure: impl FnMut(&Policy) -> Measured,
    ) -> Option<(Policy, Measured)> {
        let parameters = flat_parameters(policy);
        (0..=self.backtracks).find_map(|halvings| {
            let part = 0.5_f64.powi(halvings as i32);
            let moved: Vec<f64> = parameters.iter().zip(&toward.step).map(|(p, s)| p + part * s).collect();
            let moved = with_flat_parameters(policy.clone(), &moved);
            let measured = measure(&moved);
            let gain = measured.surrogate - before;
            let good = gain > 0.0 && gain >= self.accept_ratio * part * toward.promised;
            (good && measured.kl <= self.kl_wall * self.kl_limit).then_some((moved, measured))
        })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The surrogate of Eq. 14 with the entropy, `[1]`, with autodiff.
pub(super) fn surrogate(policy: &Policy, batch: &Minibatch, entropy_coefficient: f64) -> Tensor<1> {
    let distribution = policy.distribution_of_inputs(batch.inputs.clone());
    let ratio = (distribution.log_probs(batch.actions.clone()) - batch.log_probs.clone()).exp();
    (ratio * batch.advantages.clone()).mean() + distribution.entropy().mean() * entropy_coefficient
}

/// The mean over rows in f64, whose differences a line search looks at.
fn mean(values: Tensor<1>) -> f64 {
    let values: Vec<f32> = values.into_data().iter::<f32>().collect();
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
}

/// Compares policies with the one that acted, without autodiff.
pub(super) struct Comparison<'a> {
    old: super::ActionDistribution,
    batch: &'a Minibatch,
    entropy_coefficient: f64,
}

impl<'a> Comparison<'a> {
    /// With `policy`, which has acted. The log-probabilities are computed anew, so that at first all ratios are exactly 1.
    pub(super) fn new(policy: &Policy, batch: &'a Minibatch, entropy_coefficient: f64) -> Comparison<'a> {
        Comparison { old: policy.fixed_distribution(batch.inputs.clone()), batch, entropy_coefficient }
    }

    /// What `policy` gains, and how far it is.
    pub(super) fn measure(&self, policy: &Policy) -> Measured {
        let new = policy.fixed_distribution(self.batch.inputs.clone());
        let actions = self.batch.actions.clone().inner();
        let ratio = (new.log_probs(actions.clone()) - self.old.log_probs(actions)).exp();
        let gained = mean(ratio * self.batch.advantages.clone().inner());
        let entropy = if self.entropy_coefficient > 0.0 { mean(new.entropy()) } else { 0.0 };
        Measured { surrogate: gained + self.entropy_coefficient * entropy, kl: mean(new.kl(&self.old)) }
    }
}

/// One update after acting (Appendix C).
pub(super) fn update(
    base: &mut Base,
    batch: &Batch,
    settings: &TrpoSettings,
    step: &mut Step<'_>,
) -> Vec<(&'static str, f64)> {
    let coefficient = base.agent().entropy_coefficient;
    let mut whole = batch.whole(step.device);
    if base.agent().normalize_advantages {
        whole.advantages = normalized(whole.advantages);
    }
    let policy = base.policy.clone();
    let gradient = flat_gradient(&policy, &surrogate(&policy, &whole, coefficient).backward());
    let fisher = Fisher::new(&policy, fisher_inputs(batch, settings, step));
    let comparison = Comparison::new(&policy, &whole, coefficient);
    let before = comparison.measure(&policy);
    let found = settings.propose(&gradient, &fisher).and_then(|toward| {
        settings.search(&policy, &toward, before.surrogate, |policy| comparison.measure(policy))
    });
    let moved = found.is_some();
    let (policy, after) = found.unwrap_or((policy, before));
    let entropy = mean(policy.fixed_distribution(whole.inputs.clone()).entropy());
    base.policy = policy;
    let mut metrics = vec![
        ("surrogate_gain", after.surrogate - before.surrogate),
        ("kl", after.kl),
        ("entropy", entropy),
        ("moved", f64::from(u8::from(moved))),
    ];
    let value_loss = base.fit_values(batch, settings.value_epochs, step);
    metrics.extend(value_loss.map(|loss| ("value_loss", loss)));
    metrics
}

/// The rows that the Fisher matrix is averaged over: some in a computed order.
fn fisher_inputs(batch: &Batch, settings: &TrpoSettings, step: &Step<'_>) -> Tensor<2> {
    let rows = batch.rows();
    let count = ((rows as f64 * settings.fisher_fraction).ceil() as usize).clamp(1, rows);
    let row = |at: u64| rng::permute(step.seed ^ FISHER, step.number, at, rows as u64) as usize;
    let chosen: Vec<usize> =
        if count == rows { (0..rows).collect() } else { (0..count as u64).map(row).collect() };
    batch.minibatch(&chosen, step.device).inputs.inner()
}

/// Keeps the rows of the Fisher matrix from being the first of another order.
const FISHER: u64 = 0x6669_7368_6572;

/// A policy that learns by trust region policy optimization.
#[derive(Module, Debug)]
pub struct Trpo {
    /// The policy and the values.
    pub base: Base,
}

impl Model for Trpo {
    const ABOUT: About = About {
        name: "trpo",
        summary: "trust region policy optimization: an agent that moves as far as a divergence allows",
        paper: Paper {
            title: "Trust region policy optimization",
            authors: "Schulman, Levine, Moritz, Jordan, Abbeel",
            year: 2015,
            arxiv: "1502.05477",
        },
        media: &[MediaKind::Experience],
        abilities: &[Ability::Act],
        recipes: recipes!("cartpole", "hopper"),
        train: AgentConfig::train,
        ..About::BASE
    };

    type Config = TrpoConfig;
    type Data = Environments;

    fn needs(config: &TrpoConfig, spec: &DataSpec) -> Result<EnvironmentNeeds> {
        spec.task().map(|_| config.agent.needs())
    }

    fn new(config: &TrpoConfig, spec: &DataSpec, init: &mut Init) -> Result<Trpo> {
        Ok(Trpo { base: Base::of(&config.agent, Learning::Trpo(config.trpo.clone()), spec.task()?, init) })
    }

    fn held_values(config: &TrpoConfig, spec: &DataSpec) -> Result<f64> {
        Ok(config.agent.held_values(spec.task()?))
    }

    fn optimizers(_config: &TrpoConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        Base::optimizers(shared)
    }

    fn train_step(&mut self, data: &mut Environments, step: &mut Step<'_>) -> Metrics {
        let rollout = self.base.collect(data, step);
        self.base.update(&rollout, &rollout.rewards, step)
    }

    fn warnings(_config: &TrpoConfig) -> Vec<WarningRule> {
        let what = "no step improves the policy within the trust region";
        let remedy = "give more data.environments or trpo.rollout_steps, or raise trpo.cg_damping";
        vec![WarningRule::new("policy-stands-still", what, remedy, |values| {
            values.get("moved").is_some_and(|moved| *moved == 0.0)
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
