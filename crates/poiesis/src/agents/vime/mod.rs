//! VIME: an agent that is rewarded for what a transition teaches it about the dynamics of its environment.
//!
//! Houthooft, Chen, Duan, Schulman, De Turck and Abbeel, "VIME: Variational information maximizing exploration", 2016,
//! arXiv:1605.09674. A Bayesian network predicts the next observation. How far the posterior of its weights would move by seeing a
//! transition is the information gain, and the learner below, TRPO, PPO or REINFORCE, is given the reward of the environment and a
//! bonus for that gain.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `bonus_weight` | η | weight of the bonus in the rewards |
//! | `mean`, `rho` | φ = (μ, ρ) | the posterior q(θ; φ) of the weights, σ = log(1 + e^ρ) |
//! | gain | KL(q(θ; φ′) ‖ q(θ; φ)) | what a transition would tell, estimated by one step of Newton's method |
//! | inputs | (s, a) | observation and action, scaled to mean 0 and deviation 1 over the pool; a choice is one-hot |
//! | targets | s′ | the next observation, scaled like the observation |
//!
//! An iteration is a step of training: act, compute the gains, update the policy, add the rollout to the pool, and fit the dynamics to
//! minibatches of the pool. As in the authors' code, gains are clipped to [0, 1000] and divided by the mean of the medians of the last
//! ten iterations, the last step of a path has the gain of the step before, and there is no bonus before the dynamics have been fitted
//! once. So η is about the bonus of a usual step.
//!
//! Differences from the authors' code: each row of a batch has its own noise in local reparameterisation, and a number of the pool that
//! never varied is not scaled. With η = 0 no network of the dynamics is made.

mod dynamics;
mod exploration;

use burn::module::Module;
use burn::tensor::Tensor;
use poiesis_kernels::normal;
use serde::{Deserialize, Serialize};

pub use dynamics::{BayesianLinear, BayesianNetwork, Bound, Noise, Scales};
pub use exploration::{Exploration, ExplorationNeeds, Medians};

use crate::abilities::{Abilities, Ability};
use crate::agents::base::{above_zero, not_negative};
use crate::agents::{AgentConfig, Base, BaseConfig, Rollout};
use crate::config::{Faults, Settings};
use crate::data::{ActionShape, DataSpec, MediaKind, Scaling, TaskShape};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, recipes};
use crate::nn::Init;
use crate::optim::{Optimizer, OptimizerConfig};

/// λ, the length of the step whose divergence is the gain. The normalisation cancels it but for the clipping.
const STEP_SIZE: f64 = 0.01;

/// Larger gains are cut to this.
const MOST_GAIN: f64 = 1000.0;

/// About as many squared gradients are held at once while gains are computed.
const HELD: usize = 1 << 21;

/// Settings of a [`Vime`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VimeConfig {
    /// The learner that is given the bonus, with its settings.
    #[serde(flatten)]
    pub learner: BaseConfig,
    /// η, the weight of the bonus: about the bonus of a usual step. 0 leaves the learner as it is, and no dynamics are learned.
    pub bonus_weight: f64,
    /// Units of the hidden layers of the dynamics.
    pub dynamics_hidden_dims: Vec<usize>,
    /// Learning rate of the dynamics, for Adam.
    pub dynamics_learning_rate: f64,
    /// Minibatches that the dynamics are fitted to in an iteration.
    pub dynamics_updates: usize,
    /// Transitions in each.
    pub dynamics_batch_size: usize,
    /// Samples of the weights over which a likelihood is averaged.
    pub samples: usize,
    /// Standard deviation of the prior of each weight.
    pub prior_sd: f64,
    /// Standard deviation of a scaled observation around its prediction.
    pub likelihood_sd: f64,
    /// Weight of KL(q ‖ prior) beside the likelihood of one minibatch.
    pub kl_weight: f64,
    /// Most observations in the pool; the oldest are dropped.
    pub replay_size: usize,
    /// Observations in the pool from which the dynamics are fitted.
    pub replay_start: usize,
}

impl Default for VimeConfig {
    fn default() -> VimeConfig {
        VimeConfig {
            learner: BaseConfig::default(),
            bonus_weight: 1e-3,
            dynamics_hidden_dims: vec![32],
            dynamics_learning_rate: 1e-3,
            dynamics_updates: 500,
            dynamics_batch_size: 10,
            samples: 10,
            prior_sd: 0.5,
            likelihood_sd: 5.0,
            kl_weight: 0.2,
            replay_size: 100_000,
            replay_start: 500,
        }
    }
}

impl Settings for VimeConfig {
    fn check(&self, faults: &mut Faults) {
        self.learner.check(faults);
        faults.positive_each(&["dynamics_hidden_dims"]);
        faults.positive(&["dynamics_updates", "dynamics_batch_size", "samples", "replay_start"]);
        faults.within(&["replay_size"], 2..=1 << 20);
        if self.replay_start > self.replay_size {
            let remedy = "give at most `replay_size`";
            faults.add("replay_start", self.replay_start, "the pool never holds as many", remedy);
        }
        not_negative(faults, &[("bonus_weight", self.bonus_weight), ("kl_weight", self.kl_weight)]);
        let scales = [
            ("dynamics_learning_rate", self.dynamics_learning_rate),
            ("prior_sd", self.prior_sd),
            ("likelihood_sd", self.likelihood_sd),
        ];
        above_zero(faults, &scales);
    }
}

/// A learner, and the dynamics that it is curious about.
#[derive(Module, Debug)]
pub struct Vime {
    /// What acts and learns.
    pub base: Base,
    /// What it knows of the dynamics; none without a bonus.
    pub dynamics: Option<BayesianNetwork>,
    #[module(skip)]
    config: VimeConfig,
}

/// What the pool is scaled by.
struct Scaled {
    task: TaskShape,
    observations: Scaling,
    actions: Scaling,
}

impl Scaled {
    fn of(data: &Exploration) -> Scaled {
        let [observations, actions] = data.replay.scalings();
        Scaled { task: data.environments.task().clone(), observations, actions }
    }

    /// What the dynamics are told of these observations and actions, `[rows, inputs]`.
    fn inputs(&self, observations: &[f32], actions: &[f32], step: &Step<'_>) -> Tensor<2> {
        let actions = match self.task.actions {
            ActionShape::Discrete { .. } => self.task.actions.to_inputs(actions),
            ActionShape::Continuous { .. } => self.actions.apply(actions),
        };
        let rows = observations.len() / self.task.observation;
        let actions = step.tensor(actions, [rows, self.task.actions.inputs()]);
        Tensor::cat(vec![self.targets(observations, step), actions], 1)
    }

    /// Observations as the dynamics predict them, `[rows, observation]`.
    fn targets(&self, observations: &[f32], step: &Step<'_>) -> Tensor<2> {
        let width = self.task.observation;
        step.tensor(self.observations.apply(observations), [observations.len() / width, width])
    }
}

/// How well the dynamics fit the pool, each `[1]`.
struct Fitted {
    /// −log p(s′ given s, a) of a transition, averaged over the minibatches, in nats.
    nll: Tensor<1>,
    /// KL(q ‖ prior) of all weights, in nats.
    kl: Tensor<1>,
}

impl Vime {
    /// The gain of each row of a rollout, clipped; see [`BayesianNetwork::information_gains`].
    fn gains(network: &BayesianNetwork, rollout: &Rollout, scaled: &Scaled, step: &Step<'_>) -> Vec<f64> {
        let frozen = network.clone().no_grad();
        let (dims, width) = (rollout.task.observation, rollout.task.actions.width());
        let numbers = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let mut draw = step.draws("gain", normal);
        let mut gains = Vec::with_capacity(rollout.rows());
        // Of a size that does not depend on the machine, as each chunk has its own noise.
        let chunk = (HELD / network.widest()).clamp(1, 1000);
        for first in (0..rollout.rows()).step_by(chunk) {
            let end = (first + chunk).min(rollout.rows());
            let observations = numbers(&rollout.observations[first * dims..end * dims]);
            let inputs = scaled.inputs(&observations, &rollout.actions[first * width..end * width], step);
            let targets =
                scaled.targets(&numbers(&rollout.next_observations[first * dims..end * dims]), step);
            let noise = frozen.draw_noise(end - first, &mut draw);
            let of_chunk = frozen.information_gains(inputs, targets, &noise, STEP_SIZE).into_data();
            gains.extend(of_chunk.iter::<f32>().map(|gain| f64::from(gain).clamp(0.0, MOST_GAIN)));
        }
        copy_to_last(&mut gains, rollout);
        gains
    }

    /// Fits the dynamics to minibatches of the pool.
    fn fit(
        network: &mut BayesianNetwork,
        config: &VimeConfig,
        data: &Exploration,
        step: &mut Step<'_>,
    ) -> Fitted {
        let (scaled, rows) = (Scaled::of(data), config.dynamics_batch_size);
        let (mut order, mut draw) = (step.generator("replay"), step.draws("dynamics", normal));
        let mut log_likelihood = Tensor::<1>::zeros([1], &step.device.clone().inner());
        let mut kl = log_likelihood.clone();
        for _ in 0..config.dynamics_updates {
            let drawn = data.replay.sample(&mut order, rows);
            let inputs = scaled.inputs(&drawn.observations, &drawn.actions, step);
            let targets = scaled.targets(&drawn.next_observations, step);
            let noise = network.draw_noise(rows, &mut draw);
            let bound = network.bound(inputs, targets, &noise);
            step.minimize("dynamics", network, &bound.loss(config.kl_weight));
            log_likelihood = log_likelihood + bound.log_likelihood.inner();
            kl = bound.kl.inner();
        }
        let transitions = (config.dynamics_updates * rows) as f64;
        Fitted { nll: log_likelihood / -transitions, kl }
    }
}

/// Gives the last row of each path the gain of the row before it, if there is one.
fn copy_to_last(gains: &mut [f64], rollout: &Rollout) {
    for path in rollout.episodes().into_iter().filter(|path| path.len() > 1) {
        gains[path.end - 1] = gains[path.end - 2];
    }
}

impl Model for Vime {
    const ABOUT: About = About {
        name: "vime",
        summary: "a curious agent: rewarded for what it learns about the dynamics of its environment",
        paper: Paper {
            title: "VIME: Variational information maximizing exploration",
            authors: "Houthooft, Chen, Duan, Schulman, De Turck, Abbeel",
            year: 2016,
            arxiv: "1605.09674",
        },
        media: &[MediaKind::Experience],
        abilities: &[Ability::Act],
        recipes: recipes!(
            "mountain-car-sparse",
            "cartpole-swingup-sparse",
            "double-pendulum-sparse",
            "half-cheetah-sparse"
        ),
        train: AgentConfig::train,
        ..About::BASE
    };

    type Config = VimeConfig;
    type Data = Exploration;

    fn needs(config: &VimeConfig, spec: &DataSpec) -> Result<ExplorationNeeds> {
        let environments = spec.task().map(|_| config.learner.agent.needs())?;
        Ok(ExplorationNeeds { environments, replay_size: config.replay_size })
    }

    fn new(config: &VimeConfig, spec: &DataSpec, init: &mut Init) -> Result<Vime> {
        let task = spec.task()?;
        let base = Base::new(&config.learner, task, init);
        let VimeConfig { dynamics_hidden_dims: hidden, prior_sd, likelihood_sd, samples, .. } = config;
        let scales = Scales { prior_sd: *prior_sd, likelihood_sd: *likelihood_sd, samples: *samples };
        let (observation, inputs) = (task.observation, task.observation + task.actions.inputs());
        let dynamics = (config.bonus_weight > 0.0)
            .then(|| BayesianNetwork::new(inputs, hidden, observation, scales, init));
        Ok(Vime { base, dynamics, config: config.clone() })
    }

    fn held_values(config: &VimeConfig, spec: &DataSpec) -> Result<f64> {
        Ok(config.learner.agent.held_values(spec.task()?))
    }

    fn optimizers(config: &VimeConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        let mut all = Base::optimizers(shared);
        if config.bonus_weight > 0.0 {
            let learning_rate = config.dynamics_learning_rate;
            let of_dynamics = OptimizerConfig { learning_rate, ..OptimizerConfig::default() };
            all.push(("dynamics", Optimizer::new(&of_dynamics)));
        }
        all
    }

    fn train_step(&mut self, data: &mut Exploration, step: &mut Step<'_>) -> Metrics {
        let rollout = self.base.collect(&mut data.environments, step);
        let Some(network) = &mut self.dynamics else {
            return self.base.update(&rollout, &rollout.rewards, step);
        };
        let (config, mut rewards) = (&self.config, rollout.rewards.clone());
        let starts = |data: &Exploration| data.replay.len() >= config.replay_start;
        // If the pool is large enough now, the dynamics have been fitted to it at the end of the last iteration.
        let median = starts(data).then(|| {
            let gains = Vime::gains(network, &rollout, &Scaled::of(data), step);
            let median = data.medians.add(&gains);
            let bonuses = data.medians.normalize(&gains);
            rewards
                .iter_mut()
                .zip(bonuses)
                .for_each(|(reward, bonus)| *reward += config.bonus_weight * bonus);
            median
        });
        let mut metrics = self.base.update(&rollout, &rewards, step);
        if let Some(median) = median {
            let bonus =
                rewards.iter().zip(&rollout.rewards).map(|(with, without)| with - without).sum::<f64>();
            let bonus = bonus / rollout.rows() as f64;
            metrics = metrics.with_value("information_gain", median).with_value("bonus", bonus);
        }
        data.remember(&rollout);
        if starts(data) {
            let Fitted { nll, kl } = Vime::fit(network, config, data, step);
            metrics = metrics.with("dynamics_nll", nll).with("dynamics_kl", kl);
        }
        metrics
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { act: Some(&self.base.policy), ..Abilities::default() }
    }
}

#[cfg(test)]
mod tests;
