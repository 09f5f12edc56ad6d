//! A model in training, seen from the loop.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::Finding;
use crate::error::Result;
use crate::nn::Weights;

/// A model in training: it owns its networks, its optimizers and its source of data.
pub trait Session: Send {
    /// Takes step `step`, counted from 0, with `schedule` times the learning rates. All it draws depends on the
    /// run's seed and `step` alone.
    fn step(&mut self, step: u64, schedule: f64) -> Terms;

    /// The weights of all networks.
    fn weights(&self) -> Weights;

    /// What the optimizers remember.
    fn optimizer_state(&self) -> Weights;

    /// Takes back weights and what the optimizers remembered.
    ///
    /// # Errors
    ///
    /// A sentence naming the array that does not fit.
    fn restore(&mut self, weights: &Weights, optimizer_state: &Weights) -> Result<(), String>;

    /// What looks wrong in the values of the most recent reports, oldest first.
    fn findings(&self, recent: &[Values]) -> Vec<Finding> {
        let _ = recent;
        Vec::new()
    }
}

/// The named terms of one step, each a tensor of one number that stays on its device until it is read.
#[derive(Debug, Default)]
pub struct Terms(Vec<(&'static str, Tensor<1>)>);

/// The terms of one step, read.
pub type Values = BTreeMap<&'static str, f64>;

impl Terms {
    /// No terms yet.
    pub fn new() -> Terms {
        Terms::default()
    }

    /// Adds a term, without autodiff, of shape `[1]`.
    pub fn with(mut self, name: &'static str, value: Tensor<1>) -> Terms {
        self.0.push((name, value));
        self
    }

    /// Reads the terms, in the order they were added.
    pub fn read(self) -> Vec<(&'static str, f64)> {
        self.0.into_iter().map(|(name, value)| (name, f64::from(value.into_scalar::<f32>()))).collect()
    }
}
