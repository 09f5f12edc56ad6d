//! What all agents that act share: a policy, a baseline, and one of three ways of learning from a rollout.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::policy::PolicyShape;
use super::ppo::{self, PpoSettings};
use super::trpo::{self, TrpoSettings};
use super::{
    Baseline, BaselineKind, Estimator, HiddenActivation, Normalizer, Policy, PolicyActor, Rollout,
    discounted, reinforce,
};
use crate::config::{Faults, TrainConfig};
use crate::data::{EnvironmentNeeds, Environments, TaskShape};
use crate::model::{Metrics, Step};
use crate::nn::Init;
use crate::optim::{Optimizer, OptimizerConfig};
use crate::rng;

/// Scaled rewards are clipped to ± this.
const LARGEST_REWARD: f64 = 10.0;

/// Added to the variance that scales rewards.
const EPSILON: f64 = 1e-8;

/// Settings of every agent that acts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// Steps of each environment between two updates. A step of training takes `data.environments` times as many.
    pub rollout_steps: usize,
    /// γ: the weight of a reward one step later, in [0, 1].
    pub discount: f64,
    /// λ of generalized advantage estimation, in [0, 1]: 0 trusts the baseline after one step, 1 sums all rewards.
    pub gae_lambda: f64,
    /// Units of the hidden layers of the policy, and of the baseline where it is a network.
    pub hidden_dims: Vec<usize>,
    /// What hidden layers apply: `tanh` or `relu`.
    pub activation: HiddenActivation,
    /// The logarithm of the standard deviation of actions that are vectors, at first.
    pub initial_log_std: f64,
    /// What is expected of an observation: `network`, `linear` or `none`.
    pub baseline: BaselineKind,
    /// Weight of the entropy of the policy, in nats, which is maximised beside the returns.
    pub entropy_coefficient: f64,
    /// Whether the policy and the baseline read observations less their running mean, over their running standard deviation.
    pub normalize_observations: bool,
    /// Whether rewards are divided by the running standard deviation of discounted returns.
    pub normalize_rewards: bool,
    /// Whether advantages have mean 0 and standard deviation 1 in each batch.
    pub normalize_advantages: bool,
}

impl Default for AgentConfig {
    fn default() -> AgentConfig {
        AgentConfig {
            rollout_steps: 256,
            discount: 0.99,
            gae_lambda: 0.95,
            hidden_dims: vec![64, 64],
            activation: HiddenActivation::Tanh,
            initial_log_std: 0.0,
            baseline: BaselineKind::Network,
            entropy_coefficient: 0.0,
            normalize_observations: true,
            normalize_rewards: false,
            normalize_advantages: true,
        }
    }
}

impl AgentConfig {
    /// Adds the faults of these settings, which are part of a model's section.
    pub fn check(&self, faults: &mut Faults) {
        faults.positive(&["rollout_steps"]);
        faults.positive_each(&["hidden_dims"]);
        for (key, value) in [("discount", self.discount), ("gae_lambda", self.gae_lambda)] {
            if !(0.0..=1.0).contains(&value) {
                faults.add(key, value, "it is a weight", "give 0 to 1, such as 0.99");
            }
        }
        if !(-20.0..=10.0).contains(&self.initial_log_std) {
            let reason = "it is the logarithm of a standard deviation";
            faults.add(
                "initial_log_std",
                self.initial_log_std,
                reason,
                "give -20 to 10; 0 is a deviation of 1",
            );
        }
        not_negative(faults, &[("entropy_coefficient", self.entropy_coefficient)]);
    }

    /// What it needs of its environments.
    pub fn needs(&self) -> EnvironmentNeeds {
        EnvironmentNeeds { steps: self.rollout_steps }
    }

    /// The values that are held for a row of a batch while gradients are computed.
    pub fn held_values(&self, task: &TaskShape) -> f64 {
        let hidden: f64 = self.hidden_dims.iter().map(|&dims| dims as f64).sum();
        2.0 * hidden + task.observation as f64 + task.actions.inputs() as f64
    }

    /// Defaults of `[train]` for agents: weights are not averaged, and there are no samples to draw.
    pub fn train() -> TrainConfig {
        TrainConfig {
            steps: 500,
            ema_decay: 0.0,
            checkpoint_every: 50,
            log_every: 1,
            sample_frames: 0,
            ..TrainConfig::default()
        }
    }
}

/// Adds a fault for each setting that is negative or not finite.
pub(super) fn not_negative(faults: &mut Faults, settings: &[(&str, f64)]) {
    for (key, value) in settings {
        if !(value.is_finite() && *value >= 0.0) {
            faults.add(key, value, "it must be finite and cannot be negative", "give 0 or a positive number");
        }
    }
}

/// Adds a fault for each setting that is not above zero.
pub(super) fn above_zero(faults: &mut Faults, settings: &[(&str, f64)]) {
    for (key, value) in settings {
        if !(value.is_finite() && *value > 0.0) {
            faults.add(key, value, "it must be finite and above zero", "give a positive number");
        }
    }
}

/// Which learner changes the policy: the key `base` of models that are built on any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearningKind {
    /// Trust region policy optimization.
    Trpo,
    /// Proximal policy optimization.
    Ppo,
    /// The policy gradient.
    Reinforce,
}

/// Settings of a model that is built on any of the learners. They are part of the model's own section: its struct has
/// `#[serde(flatten)]` before a field of this type, and no `deny_unknown_fields`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaseConfig {
    /// The learner: `trpo`, `ppo` or `reinforce`.
    pub base: LearningKind,
    /// What all of them share.
    #[serde(flatten)]
    pub agent: AgentConfig,
    /// Settings of `ppo`, which the others do not read.
    #[serde(flatten)]
    pub ppo: PpoSettings,
    /// Settings of `trpo`; `reinforce` reads `value_epochs` of them.
    #[serde(flatten)]
    pub trpo: TrpoSettings,
}

impl Default for BaseConfig {
    fn default() -> BaseConfig {
        BaseConfig {
            base: LearningKind::Trpo,
            agent: AgentConfig::default(),
            ppo: PpoSettings::default(),
            trpo: TrpoSettings::default(),
        }
    }
}

impl BaseConfig {
    /// Adds the faults of these settings, which are part of a model's section.
    pub fn check(&self, faults: &mut Faults) {
        self.agent.check(faults);
        self.ppo.check(faults);
        self.trpo.check(faults);
    }

    /// The learner with its settings.
    pub fn learning(&self) -> Learning {
        match self.base {
            LearningKind::Trpo => Learning::Trpo(self.trpo.clone()),
            LearningKind::Ppo => Learning::Ppo(self.ppo.clone()),
            LearningKind::Reinforce => Learning::Reinforce { value_epochs: self.trpo.value_epochs },
        }
    }
}

/// A learner with its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Learning {
    /// Trust region policy optimization.
    Trpo(TrpoSettings),
    /// Proximal policy optimization.
    Ppo(PpoSettings),
    /// The policy gradient.
    Reinforce {
        /// How often the baseline sees each rollout.
        value_epochs: usize,
    },
}

/// A policy with all that it needs to learn: the field `base` of a model.
///
/// One iteration is [`collect`](Base::collect), then [`update`](Base::update) with the rewards of the rollout or with others.
/// Both are to be called once in a training step. `train.batch_size` is the number of rows of a batch, of PPO and of the baseline.
#[derive(Module, Debug)]
pub struct Base {
    /// What acts.
    pub policy: Policy,
    /// What returns are expected.
    pub baseline: Baseline,
    /// The spread of discounted returns, where rewards are scaled by it.
    reward_scale: Option<Normalizer>,
    #[module(skip)]
    agent: AgentConfig,
    #[module(skip)]
    learning: Learning,
}

impl Base {
    /// A policy for `task`.
    pub fn new(config: &BaseConfig, task: &TaskShape, init: &mut Init) -> Base {
        Base::of(&config.agent, config.learning(), task, init)
    }

    /// A policy for `task` that learns with `learning`.
    pub fn of(agent: &AgentConfig, learning: Learning, task: &TaskShape, init: &mut Init) -> Base {
        let AgentConfig { hidden_dims, activation, initial_log_std, .. } = agent;
        let shape = PolicyShape {
            hidden_dims,
            activation: *activation,
            initial_log_std: *initial_log_std,
            normalize: agent.normalize_observations,
        };
        Base {
            policy: Policy::of_shape(task, shape, init),
            baseline: Baseline::new(agent.baseline, task.observation, hidden_dims, *activation, init),
            reward_scale: agent.normalize_rewards.then(|| Normalizer::new(1, init)),
            agent: agent.clone(),
            learning,
        }
    }

    /// Its optimizers, for [`Model::optimizers`](crate::model::Model::optimizers). `policy` is also that of a baseline that is learned
    /// together with the policy, by PPO.
    pub fn optimizers(shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        vec![("policy", Optimizer::new(shared)), ("baseline", Optimizer::new(shared))]
    }

    /// Settings that all learners share.
    pub fn agent(&self) -> &AgentConfig {
        &self.agent
    }

    /// Acts in `environments` for the rollout of this step.
    pub fn collect(&self, environments: &mut Environments, step: &Step<'_>) -> Rollout {
        let mut actor = PolicyActor::new(&self.policy);
        Rollout::collect(&mut actor, environments, self.agent.rollout_steps, step.seed, step.number)
    }

    /// Learns from `rollout` with `rewards`, one for each row, instead of its own. Then its observations are added to the running
    /// moments, so that the policy that is changed is the one that has acted.
    ///
    /// # Panics
    ///
    /// When there is not one reward for each row.
    pub fn update(&mut self, rollout: &Rollout, rewards: &[f64], step: &mut Step<'_>) -> Metrics {
        assert_eq!(rewards.len(), rollout.rows(), "a reward for each row");
        let rewards = self.scaled(rollout, rewards);
        let batch = self.batch(rollout, &rewards, step.device);
        let learned = match self.learning.clone() {
            Learning::Ppo(settings) => ppo::update(self, &batch, &settings, step),
            Learning::Trpo(settings) => trpo::update(self, &batch, &settings, step),
            Learning::Reinforce { value_epochs } => reinforce::update(self, &batch, value_epochs, step),
        };
        self.policy.observe(&rollout.observations);
        if self.baseline.network().is_none() {
            // On inputs as the next rollout has them, scaled by the moments that have just changed.
            let inputs = self.policy.inputs(&rollout.observations);
            let returns = discounted(rollout, &rewards, &batch.last_values, self.agent.discount);
            self.baseline.fit(&inputs, &rollout.times, &returns);
        }
        let mut metrics = Metrics::new();
        let finished = [("return", rollout.mean_return()), ("length", rollout.mean_length())];
        for (name, value) in finished {
            metrics = value.into_iter().fold(metrics, |metrics, value| metrics.with_value(name, value));
        }
        let metrics =
            learned.into_iter().fold(metrics, |metrics, (name, value)| metrics.with_value(name, value));
        metrics.with_value("explained_variance", explained_variance(&batch.values, &batch.returns))
    }

    /// The rows of a rollout as they are learned from.
    fn batch(&self, rollout: &Rollout, rewards: &[f64], device: &Device) -> Batch {
        let inputs = self.policy.inputs(&rollout.observations);
        let values = self.baseline.values(&inputs, &rollout.times, device);
        let last_values = self.last_values(rollout, device);
        let estimator = Estimator { discount: self.agent.discount, lambda: self.agent.gae_lambda };
        let estimates = estimator.estimate(rollout, rewards, &values, &last_values);
        Batch {
            inputs,
            actions: rollout.actions.clone(),
            log_probs: rollout.log_probs.clone(),
            advantages: estimates.advantages,
            returns: estimates.returns,
            values,
            last_values,
            size: rollout.batch_size,
        }
    }

    /// See [`Batch::last_values`].
    fn last_values(&self, rollout: &Rollout, device: &Device) -> Vec<f64> {
        let width = rollout.task.observation;
        let cut: Vec<usize> =
            (0..rollout.rows()).filter(|&row| rollout.is_last(row) && !rollout.terminated[row]).collect();
        let next = |row: &usize| &rollout.next_observations[row * width..][..width];
        let observations: Vec<f64> = cut.iter().flat_map(next).copied().collect();
        let times: Vec<usize> = cut.iter().map(|&row| rollout.times[row] + 1).collect();
        let values = self.baseline.values(&self.policy.inputs(&observations), &times, device);
        let mut all = vec![0.0; rollout.rows()];
        cut.into_iter().zip(values).for_each(|(row, value)| all[row] = value);
        all
    }

    /// The rewards over the running standard deviation of their discounted sums, where that is asked for. The sums begin anew with each
    /// rollout and each episode.
    fn scaled(&mut self, rollout: &Rollout, rewards: &[f64]) -> Vec<f64> {
        let Some(scale) = &mut self.reward_scale else { return rewards.to_vec() };
        let mut sum = 0.0;
        let mut sums = Vec::with_capacity(rewards.len());
        for (row, reward) in rewards.iter().enumerate() {
            sum = sum * self.agent.discount + reward;
            sums.push(sum);
            if rollout.is_last(row) {
                sum = 0.0;
            }
        }
        scale.observe(&sums);
        let std = (scale.moments().var[0].max(0.0) + EPSILON).sqrt();
        rewards.iter().map(|reward| (reward / std).clamp(-LARGEST_REWARD, LARGEST_REWARD)).collect()
    }

    /// Moves the baseline, where it is a network, towards the returns of `batch` in `epochs` passes of minibatches; returns the loss of
    /// the last pass, ½ (V − R)², or `None`.
    pub(super) fn fit_values(&mut self, batch: &Batch, epochs: usize, step: &mut Step<'_>) -> Option<f64> {
        self.baseline.network()?;
        let mut loss = 0.0;
        for epoch in 0..epochs {
            let parts = batch.minibatches(step.seed ^ VALUES, step.number * epochs as u64 + epoch as u64);
            loss = 0.0;
            for part in &parts {
                let Minibatch { inputs, returns, .. } = batch.minibatch(part, step.device);
                let squares = self.value_errors(inputs, returns)?.square().mean() * 0.5;
                step.minimize("baseline", self, &squares);
                loss += squares.inner().into_scalar::<f64>() * part.len() as f64 / batch.rows() as f64;
            }
        }
        (epochs > 0).then_some(loss)
    }

    /// V(s) − R of each row, `[n]`; `None` where the baseline is no network.
    pub(super) fn value_errors(&self, inputs: Tensor<2>, returns: Tensor<1>) -> Option<Tensor<1>> {
        let rows = inputs.dims()[0];
        Some(self.baseline.network()?.forward(inputs).reshape([rows]) - returns)
    }
}

/// Keeps the order in which values are fitted from being that in which PPO's minibatches are drawn.
const VALUES: u64 = 0x7661_6c75_6573;

/// How much of the variance of the returns the values explain: 1 for all of it, 0 or less for nothing.
fn explained_variance(values: &[f64], returns: &[f64]) -> f64 {
    let variance = |numbers: &mut dyn Iterator<Item = f64>| {
        let all: Vec<f64> = numbers.collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        all.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / all.len() as f64
    };
    let whole = variance(&mut returns.iter().copied());
    let rest = variance(&mut returns.iter().zip(values).map(|(a, b)| a - b));
    if whole > 0.0 { 1.0 - rest / whole } else { 0.0 }
}

/// The rows of a rollout as they are learned from.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Normalised observations, `[rows, observation]`.
    pub inputs: Vec<f32>,
    /// `[rows, width]`.
    pub actions: Vec<f32>,
    /// log π(a|s) under the policy that acted, `[rows]`.
    pub log_probs: Vec<f32>,
    /// `[rows]`.
    pub advantages: Vec<f64>,
    /// What the values should have been, `[rows]`.
    pub returns: Vec<f64>,
    /// V(s) when the policy acted, `[rows]`.
    pub values: Vec<f64>,
    /// V of what the last row of each part of an episode led to, `[rows]`; 0 for other rows, and for those that terminated.
    pub last_values: Vec<f64>,
    /// Rows of a minibatch.
    pub size: usize,
}

/// Some rows of a [`Batch`] as tensors.
#[derive(Clone, Debug)]
pub(super) struct Minibatch {
    pub(super) inputs: Tensor<2>,
    pub(super) actions: Tensor<2>,
    pub(super) log_probs: Tensor<1>,
    pub(super) advantages: Tensor<1>,
    pub(super) returns: Tensor<1>,
    pub(super) values: Tensor<1>,
}

impl Batch {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.log_probs.len()
    }

    /// All rows in a computed order, in minibatches that are as equal as can be and at most about `size` long.
    pub(super) fn minibatches(&self, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
        let rows = self.rows();
        let order: Vec<usize> =
            (0..rows as u64).map(|row| rng::permute(seed, epoch, row, rows as u64) as usize).collect();
        let count = rows.div_ceil(self.size.max(1));
        (0..count).map(|part| order[part * rows / count..(part + 1) * rows / count].to_vec()).collect()
    }

    /// The rows of these numbers.
    pub(super) fn minibatch(&self, rows: &[usize], device: &Device) -> Minibatch {
        let matrix = |values: &[f32]| {
            let width = values.len() / self.rows();
            let own = rows.iter().flat_map(|row| &values[row * width..][..width]).copied().collect();
            Tensor::from_data(TensorData::new(own, [rows.len(), width]), device)
        };
        let vector = |own: Vec<f32>| Tensor::from_data(TensorData::new(own, [rows.len()]), device);
        let numbers = |values: &[f64]| vector(rows.iter().map(|&row| values[row] as f32).collect());
        Minibatch {
            inputs: matrix(&self.inputs),
            actions: matrix(&self.actions),
            log_probs: vector(rows.iter().map(|&row| self.log_probs[row]).collect()),
            advantages: numbers(&self.advantages),
            returns: numbers(&self.returns),
            values: numbers(&self.values),
        }
    }

    /// All rows.
    pub(super) fn whole(&self, device: &Device) -> Minibatch {
        self.minibatch(&(0..self.rows()).collect::<Vec<_>>(), device)
    }
}

/// Advantages with mean 0 and standard deviation 1, where there are at least two.
pub(super) fn normalized(advantages: Tensor<1>) -> Tensor<1> {
    let rows = advantages.dims()[0];
    if rows < 2 {
        return advantages;
    }
    let centred = advantages.clone() - advantages.mean();
    let var = centred.clone().square().sum() / (rows - 1) as f64;
    centred / (var.sqrt() + 1e-8)
}
