//! A model in training.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::{MetricValues, Metrics, Model, Step, Warning, WarningRule};
use crate::data::{Amount, DataSpec, Source};
use crate::error::Result;
use crate::nn::{Init, StateDict};
use crate::optim::{Optimizer, OptimizerConfig};

/// A model in training, behind a trait object.
pub trait Session: Send {
    /// Takes step `step`, counted from 0, with `schedule` times the learning rates.
    ///
    /// # Errors
    ///
    /// What went wrong in the source of the data, such as an environment. No more steps can be taken after that; weights and training
    /// state are those before this step.
    fn step(&mut self, step: u64, schedule: f64) -> Result<Metrics>;

    /// How much a step reads.
    fn amount(&self) -> Amount;

    /// The weights of all networks.
    fn state_dict(&self) -> StateDict;

    /// The training state: that of the optimizers and of the data source.
    fn training_state(&self) -> StateDict;

    /// Replaces the weights before the first step; the training state stays that of a new run.
    ///
    /// # Errors
    ///
    /// A sentence naming the array that does not fit.
    fn start_from(&mut self, weights: &StateDict) -> Result<(), String>;

    /// Restores weights and training state.
    ///
    /// # Errors
    ///
    /// A sentence naming the array that does not fit.
    fn restore(&mut self, weights: &StateDict, training_state: &StateDict) -> Result<(), String>;

    /// Warnings about the metrics of recent reports, which are given oldest first.
    fn warnings(&self, recent: &[MetricValues]) -> Vec<Warning>;
}

/// A model with its data and its optimizers: the [`Session`] of every model.
pub struct Learner<M: Model> {
    /// The model.
    pub model: M,
    data: M::Data,
    optimizers: BTreeMap<&'static str, Optimizer>,
    warnings: Vec<WarningRule>,
    seed: u64,
    device: Device,
    /// Weights and training state before the step that failed.
    before: Option<(StateDict, StateDict)>,
}

impl<M: Model> Learner<M> {
    /// Makes a model with first weights drawn from `seed`, on `device`, to be trained on `data`.
    ///
    /// # Errors
    ///
    /// Those of [`Model::new`].
    pub fn new(
        config: &M::Config,
        shared: &OptimizerConfig,
        spec: &DataSpec,
        mut data: M::Data,
        seed: u64,
        device: &Device,
    ) -> Result<Learner<M>> {
        let mut model = M::new(config, spec, &mut Init::new(seed, device))?;
        model.initialize(&mut data);
        Ok(Learner::of(model, config, shared, data, seed, device))
    }

    /// Trains a model that has been made already.
    pub fn of(
        model: M,
        config: &M::Config,
        shared: &OptimizerConfig,
        data: M::Data,
        seed: u64,
        device: &Device,
    ) -> Learner<M> {
        Learner {
            model,
            data,
            optimizers: M::optimizers(config, shared).into_iter().collect(),
            warnings: M::warnings(config),
            seed,
            device: device.clone(),
            before: None,
        }
    }

    /// Calls `take` with the model, its data and step `number`; `schedule` multiplies the step's learning rates.
    pub fn with_step<R>(
        &mut self,
        number: u64,
        schedule: f64,
        take: impl FnOnce(&mut M, &mut M::Data, &mut Step<'_>) -> R,
    ) -> R {
        let Learner { model, data, optimizers, seed, device, .. } = self;
        let mut step = Step { number, seed: *seed, device, schedule, optimizers };
        take(model, data, &mut step)
    }
}

impl<M: Model> Session for Learner<M> {
    fn step(&mut self, number: u64, schedule: f64) -> Result<Metrics> {
        let before = self.data.can_fail().then(|| (self.state_dict(), self.training_state()));
        let metrics = self.with_step(number, schedule, M::train_step);
        match self.data.failure() {
            None => Ok(metrics),
            Some(error) => {
                self.before = before;
                Err(error)
            }
        }
    }

    fn amount(&self) -> Amount {
        self.data.amount()
    }

    fn state_dict(&self) -> StateDict {
        self.before.as_ref().map_or_else(|| StateDict::of(&self.model), |(weights, _)| weights.clone())
    }

    fn training_state(&self) -> StateDict {
        if let Some((_, state)) = &self.before {
            return state.clone();
        }
        let states = self.optimizers.iter().map(|(name, optimizer)| optimizer.state(name));
        states.fold(self.data.state(), StateDict::with)
    }

    fn start_from(&mut self, weights: &StateDict) -> Result<(), String> {
        self.model = weights.load_into(self.model.clone())?;
        self.model.expect_data(&self.data)
    }

    fn restore(&mut self, weights: &StateDict, training_state: &StateDict) -> Result<(), String> {
        self.before = None;
        self.model = weights.load_into(self.model.clone())?;
        let own = StateDict::of(&self.model);
        for (name, optimizer) in &mut self.optimizers {
            optimizer.restore(name, training_state, &own)?;
        }
        self.data.restore(training_state)?;
        self.model.expect_data(&self.data)
    }

    fn warnings(&self, recent: &[MetricValues]) -> Vec<Warning> {
        self.warnings.iter().filter_map(|rule| rule.apply(recent)).collect()
    }
}
