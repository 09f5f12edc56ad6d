//! The optimizer of a network, with its state kept by parameter name so that it can be saved and restored.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use poiesis_kernels::{OptimizerKind as UpdateKind, UpdateStep, squared_norm, update};

use super::{HistoricalAveraging, Muon, MuonConfig, OptimizerConfig, OptimizerKind};
use crate::nn::{NamedMapper, StateDict, StateTensor, map_named};

/// The names under which the state of an algorithm is saved, in its order.
fn state_names(update: &UpdateKind) -> &'static [&'static str] {
    match update {
        UpdateKind::Sgd { momentum, .. } if *momentum == 0.0 => &[],
        UpdateKind::Sgd { .. } => &["sum"],
        UpdateKind::RmsProp { momentum, .. } if *momentum == 0.0 => &["second"],
        UpdateKind::RmsProp { .. } => &["second", "sum"],
        UpdateKind::Adam { .. } => &["first", "second"],
        UpdateKind::AdaMax { .. } => &["first", "largest"],
    }
}

/// The optimizer of one network: one algorithm for all its parameters, or [`Muon`] for some and the algorithm for the rest.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    update: UpdateKind,
    steps: u64,
    states: BTreeMap<String, Vec<Tensor<1>>>,
    muon: Option<Muon>,
    history: Option<HistoricalAveraging>,
}

impl Optimizer {
    /// Starts with a state of zero. Muon, if chosen, updates the kernels of all layers but those called `output` and `head`.
    pub fn new(config: &OptimizerConfig) -> Optimizer {
        Optimizer::with_muon_for(config, is_inner_kernel)
    }

    /// The same, but Muon, if chosen, updates the parameters for whose names `takes` returns true.
    pub fn with_muon_for(config: &OptimizerConfig, takes: fn(&str) -> bool) -> Optimizer {
        let muon = (config.kind == OptimizerKind::Muon).then(|| {
            Muon::new(MuonConfig {
                learning_rate: config.muon_learning_rate,
                momentum: config.muon_momentum,
                rounds: 5,
                weight_decay: config.muon_weight_decay,
                takes,
            })
        });
        Optimizer {
            update: config.update_kind(),
            config: config.clone(),
            steps: 0,
            states: BTreeMap::new(),
            muon,
            history: None,
        }
    }

    /// Adds `strength · ‖θ − θ̄‖²` to the loss, where θ̄ is the mean of the parameters over all steps (see [`HistoricalAveraging`]);
    /// 0 adds nothing.
    #[must_use]
    pub fn with_historical_averaging(self, strength: f64) -> Optimizer {
        Optimizer { history: (strength > 0.0).then(|| HistoricalAveraging::new(strength)), ..self }
    }

    /// Updates every parameter of `network` that has a gradient, with `schedule` times the learning rate.
    pub fn step<M: Module>(&mut self, mut network: M, gradients: &mut Gradients, schedule: f64) -> M {
        if let Some(muon) = &mut self.muon {
            network = muon.step(network, gradients, schedule);
        }
        self.steps += 1;
        let config = &self.config;
        let (coupled, decoupled) =
            if config.decoupled() { (0.0, config.weight_decay) } else { (config.weight_decay, 0.0) };
        let step = UpdateStep {
            kind: self.update,
            learning_rate: config.learning_rate * schedule,
            weight_decay: coupled,
            decoupled_weight_decay: decoupled,
            step: self.steps,
            gradient_scale: self.gradient_scale(&network, gradients),
        };
        let clip_value = config.clip_value;
        let history = self.history.as_mut();
        map_named(network, &mut Move { gradients, states: &mut self.states, history, clip_value, step })
    }

    /// The factor that clips the norm of all gradients to the configured maximum.
    fn gradient_scale<M: Module>(&self, network: &M, gradients: &Gradients) -> f64 {
        if self.config.clip == 0.0 {
            return 1.0;
        }
        let mut norm = SquaredNorm { gradients, sum: 0.0 };
        network.visit(&mut norm);
        (self.config.clip / norm.sum.sqrt().max(f64::MIN_POSITIVE)).min(1.0)
    }

    /// The state and the number of steps, for saving; each name is prefixed with `name` and a dot.
    pub fn state(&self, name: &str) -> StateDict {
        let mut state = StateDict::default();
        // Two numbers that f32 represents exactly.
        let steps = [(self.steps >> 20) as f32, (self.steps & 0xf_ffff) as f32];
        if let Some(device) = self.states.values().flatten().next().map(Tensor::device) {
            let values = Tensor::from_data(TensorData::new(steps.to_vec(), [2]), &device);
            state.insert(format!("{name}.steps"), StateTensor { shape: vec![2], values });
        }
        for (parameter, states) in &self.states {
            for (name_of_state, values) in state_names(&self.update).iter().zip(states) {
                let weight = StateTensor { shape: vec![values.dims()[0]], values: values.clone() };
                state.insert(format!("{name}.{parameter}.{name_of_state}"), weight);
            }
        }
        if let Some(history) = &self.history {
            state = state.with(history.state(&format!("{name}.history")));
        }
        match &self.muon {
            Some(muon) => state.with(muon.state(&format!("{name}.muon"))),
            None => state,
        }
    }

    /// Restores what [`state`](Optimizer::state) returned, for the parameters in `weights`, whose names may begin with that of a network.
    ///
    /// # Errors
    ///
    /// A sentence naming the array that is missing or does not fit its parameter.
    pub fn restore(&mut self, name: &str, state: &StateDict, weights: &StateDict) -> Result<(), String> {
        self.steps = steps_of(state.get(&format!("{name}.steps")))
            .ok_or_else(|| format!("`{name}.steps` is not a number of steps"))?;
        self.states.clear();
        if let Some(muon) = &mut self.muon {
            muon.restore(&format!("{name}.muon"), state, weights)?;
        }
        if let Some(history) = &mut self.history {
            history.restore(&format!("{name}.history"), state);
        }
        let prefix = format!("{name}.");
        let names = state_names(&self.update);
        for name_of_state in names {
            for (key, array) in state.iter() {
                let Some(rest) = key.strip_prefix(&prefix).and_then(|key| key.strip_suffix(name_of_state))
                else {
                    continue;
                };
                if let Some(parameter) = rest.strip_suffix('.') {
                    expect_of_parameter(key, array, name, parameter, weights)?;
                    self.states.entry(parameter.to_owned()).or_default().push(array.values.clone());
                }
            }
        }
        match self.states.iter().find(|(_, states)| states.len() != names.len()) {
            Some((parameter, _)) => Err(format!("`{prefix}{parameter}` lacks one of {}", names.join(", "))),
            None => Ok(()),
        }
    }
}

/// The number of steps in its two parts, which are whole; 0 where none is saved.
fn steps_of(saved: Option<&StateTensor>) -> Option<u64> {
    let Some(saved) = saved else { return Some(0) };
    let parts: Vec<f32> = saved.values.to_data().iter::<f32>().collect();
    let [high, low] = parts[..] else { return None };
    let is_part = |part: f32| (0.0..=16_777_216.0).contains(&part) && part.fract() == 0.0;
    (is_part(high) && is_part(low)).then_some(((high as u64) << 20) + low as u64)
}

/// Checks that the array `key` has as many values as the parameter that the optimizer `name` knows as `parameter`.
pub(super) fn expect_of_parameter(
    key: &str,
    array: &StateTensor,
    name: &str,
    parameter: &str,
    weights: &StateDict,
) -> Result<(), String> {
    // An optimizer of one network of several has its name; the only network of a model has any.
    let inside = |known: &str| known.split_once('.').is_some_and(|(_, rest)| rest == parameter);
    let found = weights
        .get(&format!("{name}.{parameter}"))
        .or_else(|| weights.get(parameter))
        .or_else(|| weights.iter().find(|(known, _)| inside(known)).map(|(_, weight)| weight));
    let Some(weight) = found else { return Err(format!("`{key}` is of no parameter of the model")) };
    let (held, wanted) = (array.shape.iter().product::<usize>(), weight.shape.iter().product::<usize>());
    if held == wanted {
        return Ok(());
    }
    Err(format!("`{key}` has {held} values, its parameter {wanted}"))
}

/// Whether a parameter is a kernel of a layer that is not the last one; embeddings, biases and gains are not.
fn is_inner_kernel(name: &str) -> bool {
    let kernel = [".weight", ".state", ".dilated"].iter().any(|kind| name.ends_with(kind));
    kernel && !name.split('.').any(|part| part == "output" || part == "head")
}

struct Move<'a> {
    gradients: &'a mut Gradients,
    states: &'a mut BTreeMap<String, Vec<Tensor<1>>>,
    history: Option<&'a mut HistoricalAveraging>,
    clip_value: f64,
    step: UpdateStep,
}

impl NamedMapper for Move<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(mut gradient) = param.val().grad_remove(self.gradients) else { return param };
        if self.clip_value > 0.0 {
            gradient = gradient.clamp(-self.clip_value, self.clip_value);
        }
        let mut step = self.step.clone();
        if let Some(history) = &mut self.history {
            gradient = history.add_gradient(name, param.val().inner(), gradient, step.step);
        }
        if D < 2 {
            step.decoupled_weight_decay = 0.0;
        }
        param.map(|value| {
            let value = value.inner();
            let zeros = || Tensor::zeros([value.dims().iter().product::<usize>()], &value.device());
            let fresh = || (0..step.kind.states()).map(|_| zeros()).collect();
            let states = self.states.remove(name).unwrap_or_else(fresh);
            let updated = update(value, gradient, states, None, &step);
            self.states.insert(name.to_owned(), updated.states);
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
