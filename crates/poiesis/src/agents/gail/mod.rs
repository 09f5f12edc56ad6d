//! GAIL: an agent that is rewarded for what a discriminator takes for the behaviour of an expert.
//!
//! Ho and Ermon, "Generative adversarial imitation learning", 2016, arXiv:1606.03476. The discriminator learns to tell pairs of an
//! observation and an action of the expert from those of the agent; the agent learns by TRPO, or another learner, from rewards that rise
//! with the discriminator's logit. The rewards of the environment are reported and not used.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | pair | (s, a) | an observation and an action, a choice one-hot: `[observation + inputs]` |
//! | logit | log D − log(1 − D) | the discriminator's output: high means expert. In the paper D is the probability of the other |
//! | `reward` | −c(s, a) | see [`RewardForm`] |
//!
//! An iteration is a step of training (Algorithm 1): act, train the discriminator on the pairs and as many of the expert's, compute the
//! rewards, update the policy. Pairs are standardised by the running moments of those of both.
//!
//! With another `objective` than `gail` there is no discriminator, and rewards are linear in features: the baselines of the paper's §6.
//!
//! Differences from the paper: policy and value function are trained as those of [`trpo`](super::trpo) and [`ppo`](super::ppo); its
//! code trains the discriminator after the policy, and gives it a choice of the agent by selecting one of several outputs.

mod apprenticeship;
mod discriminator;
mod reward;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use apprenticeship::Features;
pub use discriminator::{Discrimination, discriminator_loss, logits, prob_expert};
pub use reward::RewardForm;

use super::base::{above_zero, not_negative};
use super::trpo::TrpoSettings;
use super::{AgentConfig, Base, BaseConfig, HiddenActivation, LearningKind, Network, Normalizer, Rollout};
use crate::abilities::{Abilities, Ability};
use crate::config::{Faults, Settings, TrainConfig};
use crate::data::{DataSpec, Imitation, ImitationNeeds, MediaKind, Subsample};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::Init;
use crate::optim::{Optimizer, OptimizerConfig};

/// Episodes that are longer than the expert's by this factor, or shorter by its inverse, are a sign of a reward of the wrong sign.
const LENGTHS_APART: f64 = 2.0;

/// Settings of a [`Gail`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GailConfig {
    /// The learner that improves the policy, with its settings.
    #[serde(flatten)]
    pub learner: BaseConfig,
    /// What tells the agent from the expert: `gail` a discriminator, `feature-matching` or `game-theoretic` the best linear cost.
    pub objective: Objective,
    /// The sign of the reward: `bonus` where an early end is a failure, `penalty` where an end is success, `logit` where episodes always
    /// reach the time limit.
    pub reward: RewardForm,
    /// Whether ends of episodes are ignored when advantages are estimated, as if the time limit had been reached: then neither a bonus
    /// nor a penalty pays for living or dying.
    pub mask_termination: bool,
    /// Units of the discriminator's hidden layers, with tanh.
    pub discriminator_hidden_dims: Vec<usize>,
    /// Learning rate of the discriminator, for Adam.
    pub discriminator_learning_rate: f64,
    /// Steps of the discriminator in each iteration, each on all pairs.
    pub discriminator_steps: usize,
    /// Weight of the entropy of the discriminator's answers, which is subtracted from its loss.
    pub discriminator_entropy_weight: f64,
    /// How many episodes of the expert are used, the first ones; 0 for all.
    pub demonstration_count: usize,
    /// Every n-th step of an episode is used, from a random start; 1 for all.
    pub demonstration_stride: usize,
}

/// What tells the agent from the expert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// A discriminator.
    Gail,
    /// The cost of the L2 ball that is best against the policy: feature expectation matching (Abbeel and Ng 2004).
    FeatureMatching,
    /// The best convex combination of features and their negatives: game-theoretic apprenticeship learning (Syed et al. 2008).
    GameTheoretic,
}

impl Default for GailConfig {
    fn default() -> GailConfig {
        let agent = AgentConfig {
            rollout_steps: 625,
            discount: 0.995,
            gae_lambda: 0.97,
            hidden_dims: vec![100, 100],
            ..AgentConfig::default()
        };
        let trpo = TrpoSettings { fisher_fraction: 0.1, ..TrpoSettings::default() };
        GailConfig {
            learner: BaseConfig { base: LearningKind::Trpo, agent, trpo, ..BaseConfig::default() },
            objective: Objective::Gail,
            reward: RewardForm::Bonus,
            mask_termination: false,
            discriminator_hidden_dims: vec![100, 100],
            discriminator_learning_rate: 0.01,
            discriminator_steps: 1,
            discriminator_entropy_weight: 0.001,
            demonstration_count: 0,
            demonstration_stride: 1,
        }
    }
}

impl Settings for GailConfig {
    fn check(&self, faults: &mut Faults) {
        self.learner.check(faults);
        faults.positive(&["discriminator_steps", "demonstration_stride"]);
        faults.positive_each(&["discriminator_hidden_dims"]);
        above_zero(faults, &[("discriminator_learning_rate", self.discriminator_learning_rate)]);
        not_negative(faults, &[("discriminator_entropy_weight", self.discriminator_entropy_weight)]);
    }
}

/// An agent, and what tells it from the expert.
#[derive(Module, Debug)]
pub struct Gail {
    /// What acts and learns.
    pub base: Base,
    /// Standardised pairs to logits, `[n, 1]`; none where rewards are linear in features.
    pub discriminator: Option<Network>,
    /// The moments of pairs, of the agent and of the expert.
    normalizer: Normalizer,
    #[module(skip)]
    config: GailConfig,
}

/// What the agent earns in an iteration, one reward for each of its pairs, and what is reported of it.
struct Earned {
    rewards: Vec<f64>,
    told_apart: ToldApart,
}

/// How well the agent is told from the expert.
#[expect(clippy::large_enum_variant, reason = "there is one in a step")]
enum ToldApart {
    ByDiscriminator(Discrimination),
    /// How far the mean features are apart, as far as a cost can tell.
    ByFeatures(f64),
}

impl ToldApart {
    fn report(self, metrics: Metrics) -> Metrics {
        match self {
            ToldApart::ByFeatures(gap) => metrics.with_value("feature_gap", gap),
            ToldApart::ByDiscriminator(found) => metrics
                .with("d_loss", found.loss)
                .with("d_expert", found.prob_expert)
                .with("d_policy", found.prob_policy)
                .with("accuracy_expert", found.accuracy_expert)
                .with("accuracy_policy", found.accuracy_policy),
        }
    }
}

impl Gail {
    /// Pairs of `observations`, `[n, observation]`, and `actions`, `[n, width]`, as one row each, `[n, observation + inputs]`.
    ///
    /// # Panics
    ///
    /// When the shapes are not those of the task, or an action is no choice.
    pub fn pairs(&self, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        let (shape, device, rows) = (self.base.policy.task().actions, actions.device(), actions.dims()[0]);
        let numbers: Vec<f32> = actions.into_data().iter::<f32>().collect();
        let inputs = TensorData::new(shape.to_inputs(&numbers), [rows, shape.inputs()]);
        Tensor::cat(vec![observations, Tensor::from_data(inputs, &device)], 1)
    }

    /// Adds pairs of the expert and of the policy to the running moments, and standardises them.
    fn standardize(&mut self, pairs: [Tensor<2>; 2]) -> [Tensor<2>; 2] {
        for pairs in &pairs {
            let numbers: Vec<f64> = pairs.to_data().iter::<f64>().collect();
            self.normalizer.observe(&numbers);
        }
        pairs.map(|pairs| self.normalizer.normalize(pairs))
    }

    /// Compares standardised pairs of the expert and of the policy, in this order, and rewards the policy's. A discriminator is trained
    /// first.
    fn compare(&mut self, pairs: &[Tensor<2>; 2], step: &mut Step<'_>) -> Earned {
        let form = self.config.reward;
        let Some(discriminator) = &mut self.discriminator else {
            let [expert, policy] =
                pairs.each_ref().map(|pairs| pairs.to_data().iter::<f32>().collect::<Vec<_>>());
            let width = pairs[0].dims()[1];
            let gap = Features::mean(&expert, width).minus(&Features::mean(&policy, width));
            let (weights, distance) = match self.config.objective {
                Objective::GameTheoretic => (gap.vertex(), gap.largest()),
                Objective::Gail | Objective::FeatureMatching => (gap.direction(), gap.norm()),
            };
            let mut rewards = weights.rewards(&policy);
            form.shift(&mut rewards);
            return Earned { rewards, told_apart: ToldApart::ByFeatures(distance) };
        };
        let found = discriminate(discriminator, pairs, &self.config, step);
        let logits = logits(&discriminator.clone().no_grad(), pairs[1].clone()).into_data();
        let rewards = logits.iter::<f64>().map(|logit| form.of_logit(logit)).collect();
        Earned { rewards, told_apart: ToldApart::ByDiscriminator(found) }
    }
}

/// Trains the discriminator on standardised pairs of the expert and of the policy. Returns what it made of them before its last step.
fn discriminate(
    discriminator: &mut Network,
    [expert, policy]: &[Tensor<2>; 2],
    config: &GailConfig,
    step: &mut Step<'_>,
) -> Discrimination {
    let mut update = || {
        let (expert, policy) = (logits(discriminator, expert.clone()), logits(discriminator, policy.clone()));
        let loss = discriminator_loss(expert.clone(), policy.clone(), config.discriminator_entropy_weight);
        step.minimize("discriminator", discriminator, &loss);
        Discrimination::of(&loss, &expert, &policy)
    };
    (1..config.discriminator_steps).for_each(|_| drop(update()));
    update()
}

/// A rollout whose episodes end by their time limit alone, so that what would still have been earned is always estimated.
fn without_terminations(mut rollout: Rollout) -> Rollout {
    for (truncated, terminated) in rollout.truncated.iter_mut().zip(&mut rollout.terminated) {
        *truncated |= std::mem::take(terminated);
    }
    rollout
}

impl Model for Gail {
    const ABOUT: About = About {
        name: "gail",
        summary: "an agent that imitates: rewarded for what a discriminator takes for an expert",
        paper: Paper {
            title: "Generative adversarial imitation learning",
            authors: "Ho, Ermon",
            year: 2016,
            arxiv: "1606.03476",
        },
        media: &[MediaKind::Experience],
        abilities: &[Ability::Act],
        recipes: recipes!("cartpole", "acrobot", "mountain-car", "hopper", "half-cheetah", "walker2d"),
        train: || TrainConfig { steps: 300, ..AgentConfig::train() },
        ..About::BASE
    };

    type Config = GailConfig;
    type Data = Imitation;

    fn needs(config: &GailConfig, _spec: &DataSpec) -> Result<ImitationNeeds> {
        let subsample =
            Subsample { episodes: config.demonstration_count, every: config.demonstration_stride };
        Ok(ImitationNeeds { environments: config.learner.agent.needs(), subsample })
    }

    fn new(config: &GailConfig, spec: &DataSpec, init: &mut Init) -> Result<Gail> {
        let task = spec.task()?;
        let base = Base::new(&config.learner, task, init);
        let width = task.observation + task.actions.inputs();
        // Its output starts at zero: undecided, it rewards nothing more than anything else.
        let discriminator = (config.objective == Objective::Gail).then(|| {
            let hidden_dims = &config.discriminator_hidden_dims;
            Network::new(width, hidden_dims, 1, HiddenActivation::Tanh, 0.0, init)
        });
        Ok(Gail { base, discriminator, normalizer: Normalizer::new(width, init), config: config.clone() })
    }

    fn held_values(config: &GailConfig, spec: &DataSpec) -> Result<f64> {
        Ok(config.learner.agent.held_values(spec.task()?))
    }

    fn optimizers(config: &GailConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        let mut all = Base::optimizers(shared);
        if config.objective == Objective::Gail {
            let learning_rate = config.discriminator_learning_rate;
            let own = OptimizerConfig { learning_rate, ..OptimizerConfig::default() };
            all.push(("discriminator", Optimizer::new(&own)));
        }
        all
    }

    fn train_step(&mut self, data: &mut Imitation, step: &mut Step<'_>) -> Metrics {
        let rollout = self.base.collect(&mut data.environments, step);
        let (observations, actions) = data.expert_pairs(rollout.rows(), step.number);
        let expert = self.pairs(observations, actions);
        let policy = self.pairs(rollout.observation_tensor(step.device), rollout.action_tensor(step.device));
        let pairs = self.standardize([expert, policy]);
        let Earned { rewards, told_apart } = self.compare(&pairs, step);
        let length_ratio = rollout.mean_length().map(|length| length / data.expert_length());
        let rollout = if self.config.mask_termination { without_terminations(rollout) } else { rollout };
        let metrics = told_apart.report(self.base.update(&rollout, &rewards, step));
        let mean = rewards.iter().sum::<f64>() / rewards.len() as f64;
        let metrics = metrics.with_value("imitation_reward", mean);
        length_ratio.into_iter().fold(metrics, |metrics, ratio| metrics.with_value("length_ratio", ratio))
    }

    fn warnings(config: &GailConfig) -> Vec<WarningRule> {
        let mut all = vec![discriminator_saturated()];
        if !config.mask_termination {
            all.extend(survival_bias(config.reward));
        }
        all
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { act: Some(&self.base.policy), ..Abilities::default() }
    }
}

/// Warns of a discriminator that is certain of the expert's pairs and of the agent's.
fn discriminator_saturated() -> WarningRule {
    let what = "the discriminator has told the agent from the expert with certainty for 20 reports: the agent learns little from it";
    let remedy = "lower gail.discriminator_learning_rate, raise gail.discriminator_entropy_weight, or give more demonstrations";
    WarningRule::new("discriminator-saturated", what, remedy, |values| {
        let at = |name| values.get(name).copied().unwrap_or(0.5);
        at("d_expert") > 0.995 && at("d_policy") < 0.005
    })
}

/// Warns of an agent that lives on for a bonus where the expert has long finished, or ends its episodes to escape a penalty.
fn survival_bias(form: RewardForm) -> Option<WarningRule> {
    let warning = |what, remedy, when: fn(f64) -> bool| {
        WarningRule::new("survival-bias", what, remedy, move |values| {
            let told_apart = values.get("accuracy_policy").is_none_or(|&accuracy| accuracy > 0.5);
            told_apart && values.get("length_ratio").is_some_and(|&ratio| when(ratio))
        })
    };
    match form {
        RewardForm::Bonus => Some(warning(
            "for 20 reports the agent's episodes have been more than twice as long as the expert's, and each step pays a bonus",
            "an end seems to be success in this task: give gail.reward = \"penalty\", or gail.mask_termination = true",
            |ratio| ratio > LENGTHS_APART,
        )),
        RewardForm::Penalty => Some(warning(
            "for 20 reports the agent's episodes have been less than half as long as the expert's, and each step costs a penalty",
            "an early end seems to be a failure in this task: give gail.reward = \"bonus\", or gail.mask_termination = true",
            |ratio| ratio < 1.0 / LENGTHS_APART,
        )),
        RewardForm::Logit => None,
    }
}

#[cfg(test)]
mod tests;
