//! Adam (Kingma and Ba 2015), with its moments kept by parameter name so that they can be saved and restored.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use poiesis_kernels::{AdamStep, adam, squared_norm};
use serde::{Deserialize, Serialize};

use crate::nn::{Weight, Weights};

/// Settings of [`Adam`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Step size α before the schedule.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// L2 penalty, as its gradient: this much of a parameter is added to its gradient.
    pub weight_decay: f64,
    /// Gradients whose norm over all parameters exceeds this are scaled down to it; 0 leaves them alone.
    pub clip_norm: f64,
}

impl Default for AdamConfig {
    fn default() -> AdamConfig {
        AdamConfig {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            clip_norm: 0.0,
        }
    }
}

/// The optimizer of one network.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    steps: u64,
    moments: BTreeMap<String, Moments>,
}

#[derive(Clone, Debug)]
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

impl Adam {
    /// Starts with moments of zero.
    pub fn new(config: AdamConfig) -> Adam {
        Adam { config, steps: 0, moments: BTreeMap::new() }
    }

    /// Moves every parameter of `network` that has a gradient, with `schedule` times the learning rate.
    pub fn step<M: Module>(&mut self, network: M, gradients: &mut Gradients, schedule: f64) -> M {
        self.steps += 1;
        let step = AdamStep {
            learning_rate: self.config.learning_rate * schedule,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            epsilon: self.config.epsilon,
            weight_decay: self.config.weight_decay,
            decoupled_weight_decay: 0.0,
            step: self.steps,
            gradient_scale: self.gradient_scale(&network, gradients),
        };
        network.map(&mut Update { path: Vec::new(), gradients, moments: &mut self.moments, step })
    }

    /// The factor that brings the norm of all gradients down to the configured bound.
    fn gradient_scale<M: Module>(&self, network: &M, gradients: &Gradients) -> f64 {
        if self.config.clip_norm == 0.0 {
            return 1.0;
        }
        let mut norm = SquaredNorm { gradients, sum: 0.0 };
        network.visit(&mut norm);
        (self.config.clip_norm / norm.sum.sqrt().max(f64::MIN_POSITIVE)).min(1.0)
    }

    /// The moments and the number of steps, to be saved; each name is prefixed with `name` and a dot.
    pub fn state(&self, name: &str) -> Weights {
        let mut state = Weights::default();
        // Two numbers that f32 holds exactly.
        let steps = [(self.steps >> 20) as f32, (self.steps & 0xf_ffff) as f32];
        if let Some(device) = self.moments.values().next().map(|m| m.first.device()) {
            let values = Tensor::from_data(TensorData::new(steps.to_vec(), [2]), &device);
            state.insert(format!("{name}.steps"), Weight { shape: vec![2], values });
        }
        for (parameter, Moments { first, second }) in &self.moments {
            for (moment, values) in [("first", first), ("second", second)] {
                let weight = Weight { shape: vec![values.dims()[0]], values: values.clone() };
                state.insert(format!("{name}.{parameter}.{moment}"), weight);
            }
        }
        state
    }

    /// Takes back what [`state`](Adam::state) gave.
    pub fn restore(&mut self, name: &str, state: &Weights) {
        let steps = state.get(&format!("{name}.steps")).map(|weight| weight.values.to_data());
        let steps = steps.map_or(vec![0.0, 0.0], |data| data.iter::<f32>().collect());
        self.steps = ((steps[0] as u64) << 20) + steps[1] as u64;
        self.moments.clear();
        let prefix = format!("{name}.");
        for (key, weight) in state.iter() {
            let Some(parameter) = key.strip_prefix(&prefix).and_then(|key| key.strip_suffix(".first")) else {
                continue;
            };
            if let Some(second) = state.get(&format!("{prefix}{parameter}.second")) {
                let moments = Moments { first: weight.values.clone(), second: second.values.clone() };
                self.moments.insert(parameter.to_owned(), moments);
            }
        }
    }
}

struct Update<'a> {
    path: Vec<String>,
    gradients: &'a mut Gradients,
    moments: &'a mut BTreeMap<String, Moments>,
    step: AdamStep,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = param.val().grad_remove(self.gradients) else { return param };
        let name = self.path.join(".");
        param.map(|value| {
            let value = value.inner();
            let zeros = || Tensor::zeros([value.dims().iter().product::<usize>()], &value.device());
            let Moments { first, second } =
                self.moments.remove(&name).unwrap_or_else(|| Moments { first: zeros(), second: zeros() });
            let (value, first, second) = adam(value, gradient, first, second, &self.step);
            self.moments.insert(name, Moments { first, second });
            value.autodiff().require_grad()
        })
    }
}

struct SquaredNorm<'a> {
    gradients: &'a Gradients,
    sum: f64,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            self.sum += squared_norm(&gradient);
        }
    }
}
