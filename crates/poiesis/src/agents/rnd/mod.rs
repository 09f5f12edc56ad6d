//! RND: an agent that is rewarded for observations whose random features it cannot predict yet.
//!
//! Burda, Edwards, Storkey and Klimov, "Exploration by random network distillation", 2018, arXiv:1810.12894. A network with fixed random
//! weights, the target, maps observations to features, and another, the predictor, learns to give the same. It errs where it has not
//! been trained, so its error is a bonus for what is new.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `target` | f | the fixed network |
//! | `predictor` | f̂ | the network that learns |
//! | error | i | mean of (f̂(x) − f(x))² over the features, where x is the next observation, scaled and cut to ±5 |
//! | `bonus_weight` | | weight of the error, in standard deviations of its discounted sum, in the rewards |
//!
//! An iteration is a step of training: act, compute the errors, update the policy, and train the predictor on the rollout.
//!
//! Differences from the paper: it learns observations of a few numbers with fully connected networks; the two kinds of reward are
//! added and share one value function and one discount, so the returns of the bonus end with the episode; the moments of the
//! observations begin with the first rollout instead of steps of a random agent; the predictor is trained by itself, not together
//! with the policy. With a `bonus_weight` of 0 neither network is made.

mod exploration;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use exploration::{ErrorReturns, Exploration};

use crate::abilities::{Abilities, Ability};
use crate::agents::base::{above_zero, not_negative};
use crate::agents::{AgentConfig, Base, BaseConfig, HiddenActivation, Network, Rollout};
use crate::config::{Faults, Settings};
use crate::data::{DataSpec, EnvironmentNeeds, MediaKind, Moments};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, recipes};
use crate::nn::Init;
use crate::optim::{Optimizer, OptimizerConfig};
use crate::rng;

/// Scaled observations are cut to ± this (§2.4).
const LIMIT: f64 = 5.0;

/// A standard deviation up to this is of a number that never varied but for rounding; such a number is not scaled.
const NEVER_VARIED: f64 = 1e-8;

/// Settings of a [`Rnd`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RndConfig {
    /// The learner that is given the bonus, with its settings.
    #[serde(flatten)]
    pub learner: BaseConfig,
    /// Weight of the bonus; 0 leaves the learner as it is, and nothing is predicted.
    pub bonus_weight: f64,
    /// Discount of the sum of errors by whose standard deviation errors are divided, in [0, 1).
    pub error_discount: f64,
    /// Features that are predicted.
    pub feature_dim: usize,
    /// Units of the hidden layers of the target.
    pub target_hidden_dims: Vec<usize>,
    /// Units of the hidden layers of the predictor.
    pub predictor_hidden_dims: Vec<usize>,
    /// Learning rate of the predictor, for Adam.
    pub predictor_learning_rate: f64,
    /// How often the predictor is trained on each observation of a rollout.
    pub predictor_epochs: usize,
    /// Observations in each of its minibatches.
    pub predictor_batch_size: usize,
}

impl Default for RndConfig {
    fn default() -> RndConfig {
        RndConfig {
            learner: BaseConfig::default(),
            bonus_weight: 1e-2,
            error_discount: 0.99,
            feature_dim: 64,
            target_hidden_dims: vec![64, 64],
            predictor_hidden_dims: vec![64, 64, 64],
            predictor_learning_rate: 1e-4,
            predictor_epochs: 4,
            predictor_batch_size: 64,
        }
    }
}

impl Settings for RndConfig {
    fn check(&self, faults: &mut Faults) {
        self.learner.check(faults);
        faults.positive(&["feature_dim", "predictor_epochs", "predictor_batch_size"]);
        faults.positive_each(&["target_hidden_dims", "predictor_hidden_dims"]);
        not_negative(faults, &[("bonus_weight", self.bonus_weight)]);
        above_zero(faults, &[("predictor_learning_rate", self.predictor_learning_rate)]);
        if !(0.0..1.0).contains(&self.error_discount) {
            let reason = "the sum that it discounts has no end";
            faults.add("error_discount", self.error_discount, reason, "give 0 to below 1");
        }
    }
}

/// A learner, and what tells it how new an observation is.
#[derive(Module, Debug)]
pub struct Rnd {
    /// What acts and learns.
    pub base: Base,
    /// What measures how new an observation is; none without a bonus.
    pub novelty: Option<Novelty>,
    #[module(skip)]
    config: RndConfig,
}

/// The fixed network, and the one that learns to predict it.
#[derive(Module, Debug)]
pub struct Novelty {
    target: Network,
    predictor: Network,
}

impl Novelty {
    fn new(config: &RndConfig, observation: usize, init: &mut Init) -> Novelty {
        let mut network = |hidden_dims: &[usize]| {
            Network::new(observation, hidden_dims, config.feature_dim, HiddenActivation::Relu, 1.0, init)
        };
        Novelty {
            target: network(&config.target_hidden_dims),
            predictor: network(&config.predictor_hidden_dims),
        }
    }

    /// The error of each scaled observation, `[rows, observation]` to `[rows]`. The target has no gradients.
    pub fn errors(&self, observations: Tensor<2>) -> Tensor<1> {
        let rows = observations.dims()[0];
        let observations = observations.clamp(-LIMIT, LIMIT);
        let wanted = self.target.clone().no_grad().forward(observations.clone());
        (self.predictor.forward(observations) - wanted).square().mean_dim(1).reshape([rows])
    }

    /// Trains the predictor on rows of `width` scaled numbers, a minibatch at a time, and returns the mean error that it had, `[1]`.
    fn fit(&mut self, rows: &[f32], width: usize, config: &RndConfig, step: &mut Step<'_>) -> Tensor<1> {
        let RndConfig { predictor_epochs: epochs, predictor_batch_size: size, .. } = *config;
        let count = rows.len() / width;
        let mut sum = Tensor::<1>::zeros([1], &step.device.clone().inner());
        for epoch in 0..epochs as u64 {
            let order: Vec<usize> = (0..count as u64)
                .map(|place| {
                    rng::permute(step.seed, step.number * epochs as u64 + epoch, place, count as u64)
                })
                .map(|row| row as usize)
                .collect();
            for batch in order.chunks(size) {
                let taken: Vec<f32> =
                    batch.iter().flat_map(|&row| &rows[row * width..][..width]).copied().collect();
                let loss = self.errors(step.tensor(taken, [batch.len(), width])).mean();
                sum = sum + loss.clone().inner() * batch.len() as f64;
                step.minimize("novelty", self, &loss);
            }
        }
        sum / (epochs * count) as f64
    }
}

impl Model for Rnd {
    const ABOUT: About = About {
        name: "rnd",
        summary: "a curious agent: rewarded for observations whose random features it cannot predict",
        paper: Paper {
            title: "Exploration by random network distillation",
            authors: "Burda, Edwards, Storkey, Klimov",
            year: 2018,
            arxiv: "1810.12894",
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

    type Config = RndConfig;
    type Data = Exploration;

    fn needs(config: &RndConfig, spec: &DataSpec) -> Result<EnvironmentNeeds> {
        spec.task().map(|_| config.learner.agent.needs())
    }

    fn new(config: &RndConfig, spec: &DataSpec, init: &mut Init) -> Result<Rnd> {
        let task = spec.task()?;
        let base = Base::new(&config.learner, task, init);
        let novelty = (config.bonus_weight > 0.0).then(|| Novelty::new(config, task.observation, init));
        Ok(Rnd { base, novelty, config: config.clone() })
    }

    fn held_values(config: &RndConfig, spec: &DataSpec) -> Result<f64> {
        Ok(config.learner.agent.held_values(spec.task()?))
    }

    fn optimizers(config: &RndConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        let mut all = Base::optimizers(shared);
        if config.bonus_weight > 0.0 {
            let learning_rate = config.predictor_learning_rate;
            let of_predictor = OptimizerConfig { learning_rate, ..OptimizerConfig::default() };
            all.push(("novelty", Optimizer::new(&of_predictor)));
        }
        all
    }

    fn train_step(&mut self, data: &mut Exploration, step: &mut Step<'_>) -> Metrics {
        let rollout = self.base.collect(&mut data.environments, step);
        let Some(novelty) = &mut self.novelty else {
            return self.base.update(&rollout, &rollout.rewards, step);
        };
        data.observations.update(&rollout.next_observations);
        let scaled = scaled(&data.observations, &rollout);
        let shape = [rollout.rows(), rollout.task.observation];
        let errors = novelty.clone().no_grad().errors(step.tensor(scaled.clone(), shape)).into_data();
        let errors: Vec<f64> = errors.iter::<f32>().map(f64::from).collect();
        let bonuses = data.returns.normalize(&errors, self.config.error_discount);
        let weight = self.config.bonus_weight;
        let rewards: Vec<f64> =
            rollout.rewards.iter().zip(&bonuses).map(|(reward, bonus)| reward + weight * bonus).collect();
        let metrics = self.base.update(&rollout, &rewards, step);
        let mean = weight * bonuses.iter().sum::<f64>() / bonuses.len() as f64;
        let error = novelty.fit(&scaled, shape[1], &self.config, step);
        metrics.with_value("bonus", mean).with("predictor_error", error)
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { act: Some(&self.base.policy), ..Abilities::default() }
    }
}

/// The next observations of a rollout with mean 0 and deviation 1 over all so far, `[rows, observation]`.
fn scaled(moments: &Moments, rollout: &Rollout) -> Vec<f32> {
    let width = moments.mean.len();
    let scaled = |(place, &number): (usize, &f64)| {
        let sd = moments.var[place % width].sqrt();
        ((number - moments.mean[place % width]) / if sd > NEVER_VARIED { sd } else { 1.0 }) as f32
    };
    rollout.next_observations.iter().enumerate().map(scaled).collect()
}

#[cfg(test)]
mod tests;
