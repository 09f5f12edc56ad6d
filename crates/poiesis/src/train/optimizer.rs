//! The optimizer of a network: one of several rules, with what it remembers kept by parameter name so that it can be
//! saved and restored.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
pub use poiesis_kernels::Rule;
use poiesis_kernels::{UpdateStep, squared_norm, update};

use super::{Muon, MuonConfig};
use crate::nn::{Weight, Weights};

/// Settings of an [`Optimizer`].
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// How a gradient moves a parameter.
    pub rule: Rule,
    /// Step size before the schedule.
    pub learning_rate: f64,
    /// L2 penalty, as its gradient: this much of a parameter is added to its gradient.
    pub weight_decay: f64,
    /// Decoupled weight decay (Loshchilov and Hutter 2019) of parameters with two axes or more; biases and gains are
    /// left alone.
    pub decoupled_weight_decay: f64,
    /// Gradients whose norm over all parameters exceeds this are scaled down to it; 0 leaves them alone.
    pub clip_norm: f64,
    /// Each number of a gradient is clipped to ± this; 0 leaves them alone.
    pub clip_value: f64,
}

impl OptimizerConfig {
    /// A rule and its step size, with nothing else.
    pub fn new(rule: Rule, learning_rate: f64) -> OptimizerConfig {
        OptimizerConfig {
            rule,
            learning_rate,
            weight_decay: 0.0,
            decoupled_weight_decay: 0.0,
            clip_norm: 0.0,
            clip_value: 0.0,
        }
    }

    /// Adam (Kingma and Ba 2015) with the paper's ε of 1e-8.
    pub fn adam(learning_rate: f64, beta1: f64, beta2: f64) -> OptimizerConfig {
        OptimizerConfig::new(Rule::Adam { beta1, beta2, epsilon: 1e-8 }, learning_rate)
    }
}

/// What the states of a rule are called where they are saved, in the rule's order.
fn state_names(rule: &Rule) -> &'static [&'static str] {
    match rule {
        Rule::Sgd { momentum, .. } if *momentum == 0.0 => &[],
        Rule::Sgd { .. } => &["sum"],
        Rule::RmsProp { momentum, .. } if *momentum == 0.0 => &["second"],
        Rule::RmsProp { .. } => &["second", "sum"],
        Rule::Adam { .. } => &["first", "second"],
        Rule::AdaMax { .. } => &["first", "largest"],
    }
}

/// The optimizer of one network: a rule for all its parameters, or [`Muon`] for some and the rule for the others.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    steps: u64,
    states: BTreeMap<String, Vec<Tensor<1>>>,
    muon: Option<Muon>,
}

impl Optimizer {
    /// Starts with states of zero.
    pub fn new(config: OptimizerConfig) -> Optimizer {
        Optimizer { config, steps: 0, states: BTreeMap::new(), muon: None }
    }

    /// Leaves the parameters that `muon` is for to it. Neither their gradients nor they are clipped or decayed by this rule.
    pub fn with_muon(self, muon: MuonConfig) -> Optimizer {
        Optimizer { muon: Some(Muon::new(muon)), ..self }
    }

    /// Moves every parameter of `network` that has a gradient, with `schedule` times the learning rate.
    pub fn step<M: Module>(&mut self, mut network: M, gradients: &mut Gradients, schedule: f64) -> M {
        if let Some(muon) = &mut self.muon {
            network = muon.step(network, gradients, schedule);
        }
        self.steps += 1;
        let config = &self.config;
        let step = UpdateStep {
            rule: config.rule,
            learning_rate: config.learning_rate * schedule,
            weight_decay: config.weight_decay,
            decoupled_weight_decay: config.decoupled_weight_decay,
            step: self.steps,
            gradient_scale: self.gradient_scale(&network, gradients),
        };
        let clip_value = config.clip_value;
        network.map(&mut Move { path: Vec::new(), gradients, states: &mut self.states, clip_value, step })
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

    /// The states and the number of steps, to be saved; each name is prefixed with `name` and a dot.
    pub fn state(&self, name: &str) -> Weights {
        let mut state = Weights::default();
        // Two numbers that f32 holds exactly.
        let steps = [(self.steps >> 20) as f32, (self.steps & 0xf_ffff) as f32];
        if let Some(device) = self.states.values().flatten().next().map(Tensor::device) {
            let values = Tensor::from_data(TensorData::new(steps.to_vec(), [2]), &device);
            state.insert(format!("{name}.steps"), Weight { shape: vec![2], values });
        }
        for (parameter, states) in &self.states {
            for (kind, values) in state_names(&self.config.rule).iter().zip(states) {
                let weight = Weight { shape: vec![values.dims()[0]], values: values.clone() };
                state.insert(format!("{name}.{parameter}.{kind}"), weight);
            }
        }
        match &self.muon {
            Some(muon) => state.with(muon.state(&format!("{name}.muon"))),
            None => state,
        }
    }

    /// Takes back what [`state`](Optimizer::state) gave.
    pub fn restore(&mut self, name: &str, state: &Weights) {
        let steps = state.get(&format!("{name}.steps")).map(|weight| weight.values.to_data());
        let steps = steps.map_or(vec![0.0, 0.0], |data| data.iter::<f32>().collect());
        self.steps = ((steps[0] as u64) << 20) + steps[1] as u64;
        self.states.clear();
        if let Some(muon) = &mut self.muon {
            muon.restore(&format!("{name}.muon"), state);
        }
        let prefix = format!("{name}.");
        for kind in state_names(&self.config.rule) {
            for (key, weight) in state.iter() {
                let Some(rest) = key.strip_prefix(&prefix).and_then(|key| key.strip_suffix(kind)) else {
                    continue;
                };
                if let Some(parameter) = rest.strip_suffix('.') {
                    self.states.entry(parameter.to_owned()).or_default().push(weight.values.clone());
                }
            }
        }
    }
}

struct Move<'a> {
    path: Vec<String>,
    gradients: &'a mut Gradients,
    states: &'a mut BTreeMap<String, Vec<Tensor<1>>>,
    clip_value: f64,
    step: UpdateStep,
}

impl ModuleMapper for Move<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(mut gradient) = param.val().grad_remove(self.gradients) else { return param };
        if self.clip_value > 0.0 {
            gradient = gradient.clamp(-self.clip_value, self.clip_value);
        }
        let name = self.path.join(".");
        let mut step = self.step.clone();
        if D < 2 {
            step.decoupled_weight_decay = 0.0;
        }
        param.map(|value| {
            let value = value.inner();
            let zeros = || Tensor::zeros([value.dims().iter().product::<usize>()], &value.device());
            let fresh = || (0..step.rule.states()).map(|_| zeros()).collect();
            let states = self.states.remove(&name).unwrap_or_else(fresh);
            let updated = update(value, gradient, states, None, &step);
            self.states.insert(name, updated.states);
            updated.parameter.autodiff().require_grad()
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
