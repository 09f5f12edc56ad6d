//! Behavioural cloning: a policy that learns by maximum likelihood what an expert does in each observation.
//!
//! Pomerleau, "ALVINN: an autonomous land vehicle in a neural network", 1989. The settings are those of the baseline in Ho and Ermon,
//! "Generative adversarial imitation learning", 2016, arXiv:1606.03476: tanh layers, Adam, batches of 128 pairs, 30 % of the
//! demonstrations held out. No environment is stepped.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `observations` | s | of the expert, as the environment gives them |
//! | `actions` | a | what the expert did |
//! | `nll` | −log π(a given s) | nats, averaged over the pairs of a batch |
//!
//! Observations are normalised by the moments of those that are learned from. An L2 penalty is `optimizer.weight_decay`.
//!
//! Differences from that baseline: whole episodes are held out where there are ten or more, and batches are permutations instead of
//! draws with replacement; the entropy of the policy can be rewarded, and the squared error minimised.

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::base::not_negative;
use super::{ActionDistribution, Policy};
use crate::abilities::{Abilities, Ability};
use crate::config::{Faults, Settings, TrainConfig};
use crate::data::{ActionShape, CloningNeeds, DataSpec, DemonstrationBatches, MediaKind, Subsample};
use crate::error::{Error, Result};
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::Init;
use crate::optim::OptimizerConfig;

/// By so many nats held-out actions are less likely than training actions when a policy has learned the demonstrations by heart.
const MEMORISED: f64 = 1.0;

/// Settings of a [`Bc`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BcConfig {
    /// Units of the policy's hidden layers.
    pub hidden_dims: Vec<usize>,
    /// What is minimised: `likelihood`, or `squared-error` of the mean action where actions are vectors.
    pub loss: CloningLoss,
    /// Weight of the policy's entropy, which is subtracted from −log π(a given s); 0 for none, as it must be with `squared-error`.
    pub entropy_weight: f64,
    /// Fraction of the demonstrations that is held out, in [0, 1): the last episodes where there are ten or more, otherwise pairs.
    pub held_out: f64,
    /// How many episodes are used, the first ones; 0 for all.
    pub demonstration_count: usize,
    /// Every n-th step of an episode is used, from a random start; 1 for all.
    pub demonstration_stride: usize,
}

/// What a [`Bc`] minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloningLoss {
    /// −log π(a given s), less the weighted entropy.
    Likelihood,
    /// The squared difference of the policy's mean from the expert's action, summed over its numbers. The policy's standard deviation
    /// stays as it is.
    SquaredError,
}

impl Default for BcConfig {
    fn default() -> BcConfig {
        BcConfig {
            hidden_dims: vec![100, 100],
            loss: CloningLoss::Likelihood,
            entropy_weight: 0.0,
            held_out: 0.3,
            demonstration_count: 0,
            demonstration_stride: 1,
        }
    }
}

impl Settings for BcConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["demonstration_stride"]);
        faults.positive_each(&["hidden_dims"]);
        not_negative(faults, &[("entropy_weight", self.entropy_weight)]);
        if !(0.0..1.0).contains(&self.held_out) {
            let reason = "it is a fraction of the demonstrations, and some must be left";
            faults.add("held_out", self.held_out, reason, "give 0 to 0.5");
        }
        if self.loss == CloningLoss::SquaredError && self.entropy_weight > 0.0 {
            let reason = "the squared error leaves the standard deviation as it is, and with it the entropy";
            faults.add("entropy_weight", self.entropy_weight, reason, "give 0, or loss = \"likelihood\"");
        }
    }
}

/// A policy that imitates.
#[derive(Module, Debug)]
pub struct Bc {
    /// What acts.
    pub policy: Policy,
    #[module(skip)]
    config: BcConfig,
}

/// How well a policy does what an expert did, each `[1]`.
#[derive(Clone, Debug)]
pub struct Cloning {
    /// What is minimised.
    pub loss: Tensor<1>,
    /// −log π(a given s) in nats, averaged.
    pub nll: Tensor<1>,
    /// The policy's entropy in nats, averaged.
    pub entropy: Tensor<1>,
}

impl Bc {
    /// Compares the policy with the expert's actions, `[n, width]`, in `observations`, `[n, observation]`.
    ///
    /// # Panics
    ///
    /// When the shapes are not those of the task.
    pub fn compare(&self, observations: Tensor<2>, actions: Tensor<2>) -> Cloning {
        let distribution = self.policy.distribution(observations);
        let nll = distribution.log_probs(actions.clone()).mean().neg();
        let entropy = distribution.entropy().mean();
        let loss = match (self.config.loss, distribution) {
            (CloningLoss::SquaredError, ActionDistribution::Gaussian { mean, .. }) => {
                (mean - actions).square().sum_dim(1).mean()
            }
            _ if self.config.entropy_weight == 0.0 => nll.clone(),
            _ => nll.clone() - entropy.clone() * self.config.entropy_weight,
        };
        Cloning { loss, nll, entropy }
    }

    /// A step on these pairs.
    fn update(&mut self, observations: Tensor<2>, actions: Tensor<2>, step: &mut Step<'_>) -> Metrics {
        let Cloning { loss, nll, entropy } = self.compare(observations, actions);
        step.minimize("optimizer", &mut self.policy, &loss);
        let metrics = Metrics::new().with("nll", nll).with("entropy", entropy);
        match self.config.loss {
            CloningLoss::Likelihood => metrics,
            CloningLoss::SquaredError => metrics.with("squared_error", loss),
        }
    }
}

impl Model for Bc {
    const ABOUT: About = About {
        name: "bc",
        summary: "behavioural cloning: a policy that learns from demonstrations alone",
        paper: Paper {
            title: "ALVINN: an autonomous land vehicle in a neural network",
            authors: "Pomerleau",
            year: 1989,
            arxiv: "",
        },
        media: &[MediaKind::Experience],
        abilities: &[Ability::Act],
        recipes: recipes!("cartpole", "hopper", "half-cheetah", "walker2d"),
        train: || TrainConfig { steps: 20_000, batch_size: 128, ema_decay: 0.0, ..TrainConfig::default() },
        optimizer: || OptimizerConfig { learning_rate: 1e-3, ..OptimizerConfig::default() },
        ..About::BASE
    };

    type Config = BcConfig;
    type Data = DemonstrationBatches;

    fn needs(config: &BcConfig, _spec: &DataSpec) -> Result<CloningNeeds> {
        let subsample =
            Subsample { episodes: config.demonstration_count, every: config.demonstration_stride };
        Ok(CloningNeeds { subsample, held_out: config.held_out })
    }

    fn new(config: &BcConfig, spec: &DataSpec, init: &mut Init) -> Result<Bc> {
        let task = spec.task()?;
        if let (CloningLoss::SquaredError, ActionShape::Discrete { .. }) = (config.loss, task.actions) {
            let reason = format!("an action in `{}` is one of {}", task.environment, task.actions.describe());
            let remedy = "give likelihood";
            return Err(Error::invalid_value("bc.loss", "squared-error", &reason, remedy));
        }
        Ok(Bc { policy: Policy::new(task, &config.hidden_dims, init), config: config.clone() })
    }

    fn initialize(&mut self, data: &mut DemonstrationBatches) {
        self.policy.observe(&data.train_observations());
    }

    fn train_step(&mut self, data: &mut DemonstrationBatches, step: &mut Step<'_>) -> Metrics {
        let (observations, actions) = data.train(step.number);
        let metrics = self.update(observations, actions, step);
        let Some((observations, actions)) = data.held_out(step.number) else { return metrics };
        metrics.with("held_out_nll", self.clone().no_grad().compare(observations, actions).nll)
    }

    fn warnings(_config: &BcConfig) -> Vec<WarningRule> {
        vec![memorised()]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { act: Some(&self.policy), ..Abilities::default() }
    }
}

/// Warns of a policy that has learned the demonstrations by heart.
fn memorised() -> WarningRule {
    let what = "held-out actions of the expert have been less likely than those learned from by more than 1 nat for 20 reports: the \
                policy has learned the demonstrations by heart";
    let remedy = "give more demonstrations or fewer steps, or raise optimizer.weight_decay; with few demonstrations and an \
                  environment, train gail";
    WarningRule::new("demonstrations-memorised", what, remedy, |values| {
        let (nll, held_out) = (values.get("nll"), values.get("held_out_nll"));
        nll.zip(held_out).is_some_and(|(nll, held_out)| held_out - nll > MEMORISED)
    })
}

#[cfg(test)]
mod tests;
