//! A policy without tensors, for rollouts and for trained agents.

use std::f64::consts::PI;

use poiesis_kernels::Mlp;
use rand_distr::{Distribution as _, StandardNormal};

use super::Policy;
use super::policy::Scale;
use crate::abilities::{Acting, Actor, Chosen};
use crate::data::{ActionShape, TaskShape};
use crate::rng::{self, Generator};

/// A copy of a policy that acts observation by observation.
#[derive(Clone, Debug)]
pub struct PolicyActor {
    mlp: Mlp,
    scale: Option<Scale>,
    task: TaskShape,
    /// The logarithm of the standard deviation; empty for choices.
    log_std: Vec<f64>,
    /// One observation as the network reads it.
    input: Vec<f32>,
    /// Logits or means of one observation.
    output: Vec<f32>,
    /// Probabilities of the choices of one observation.
    probs: Vec<f64>,
}

impl PolicyActor {
    /// Copies the weights and moments of a policy.
    pub fn new(policy: &Policy) -> PolicyActor {
        let task = policy.task().clone();
        let log_std =
            policy.log_std().map(|log_std| log_std.into_data().iter::<f32>().map(f64::from).collect());
        PolicyActor {
            mlp: policy.network().mlp(),
            scale: policy.scale(),
            log_std: log_std.unwrap_or_default(),
            input: vec![0.0; task.observation],
            output: vec![0.0; task.actions.inputs()],
            probs: vec![0.0; task.actions.inputs()],
            task,
        }
    }

    /// Actions for `count` observations, to be overwritten.
    pub fn blank(&self, count: usize) -> Chosen {
        match self.task.actions {
            ActionShape::Discrete { .. } => Chosen::Discrete(vec![0; count]),
            ActionShape::Continuous { dims } => Chosen::Continuous(vec![0.0; count * dims]),
        }
    }

    /// Draws an action for one observation, into place `index` of `chosen`; returns log π(a|s).
    pub fn sample(
        &mut self,
        observation: &[f64],
        noise: &mut Generator,
        index: usize,
        chosen: &mut Chosen,
    ) -> f32 {
        self.evaluate(observation);
        match chosen {
            Chosen::Discrete(choices) => {
                let choice = self.draw(rng::unit_f64(noise));
                choices[index] = choice;
                self.probs[choice].max(f64::MIN_POSITIVE).ln() as f32
            }
            Chosen::Continuous(numbers) => {
                let dims = self.output.len();
                let mut log_prob = 0.0;
                let own = numbers[index * dims..][..dims].iter_mut();
                for ((number, &mean), &log_std) in own.zip(&self.output).zip(&self.log_std) {
                    let (mean, std) = (f64::from(mean), log_std.exp());
                    let normal: f64 = StandardNormal.sample(noise);
                    // As it is recorded and learned from.
                    *number = f64::from((mean + std * normal) as f32);
                    let z = (*number - mean) / std;
                    log_prob += -0.5 * z * z - log_std - 0.5 * (2.0 * PI).ln();
                }
                log_prob as f32
            }
        }
    }

    /// The most probable action for one observation, into place `index` of `chosen`.
    pub fn mode(&mut self, observation: &[f64], index: usize, chosen: &mut Chosen) {
        self.evaluate(observation);
        match chosen {
            Chosen::Discrete(choices) => {
                let best =
                    |best: usize, at: usize| if self.output[at] > self.output[best] { at } else { best };
                choices[index] = (0..self.output.len()).fold(0, best);
            }
            Chosen::Continuous(numbers) => {
                let dims = self.output.len();
                let own = numbers[index * dims..][..dims].iter_mut();
                own.zip(&self.output).for_each(|(number, &mean)| *number = f64::from(mean));
            }
        }
    }

    /// Logits or means for one observation, into `output`.
    fn evaluate(&mut self, observation: &[f64]) {
        match &self.scale {
            Some(scale) => scale.apply(observation, &mut self.input),
            None => {
                self.input.iter_mut().zip(observation).for_each(|(input, &number)| *input = number as f32);
            }
        }
        self.mlp.forward(&self.input, &mut self.output);
    }

    /// The choice at `u` of the cumulative probabilities.
    fn draw(&mut self, u: f64) -> usize {
        let largest = self.output.iter().fold(f32::NEG_INFINITY, |most, &logit| most.max(logit));
        for (prob, &logit) in self.probs.iter_mut().zip(&self.output) {
            *prob = f64::from(logit - largest).exp();
        }
        let sum: f64 = self.probs.iter().sum();
        self.probs.iter_mut().for_each(|prob| *prob /= sum);
        let mut below = 0.0;
        let last = self.probs.len() - 1;
        self.probs[..last]
            .iter()
            .position(|prob| {
                below += prob;
                u < below
            })
            .unwrap_or(last)
    }
}

impl Actor for PolicyActor {
    fn act(&mut self, observations: &[f64], how: Acting<'_>, actions: &mut Chosen) {
        let width = self.task.observation;
        assert!(observations.len().is_multiple_of(width), "{} numbers of {width}", observations.len());
        let count = observations.len() / width;
        *actions = self.blank(count);
        if let Acting::Sample { indices, .. } = how {
            assert_eq!(indices.len(), count, "an index for each of {count} observations");
        }
        for (index, observation) in observations.chunks_exact(width).enumerate() {
            match how {
                Acting::Mode => self.mode(observation, index, actions),
                Acting::Sample { seed, indices } => {
                    let mut noise = rng::generator(seed, "act", indices[index]);
                    self.sample(observation, &mut noise, index, actions);
                }
            }
        }
    }
}
