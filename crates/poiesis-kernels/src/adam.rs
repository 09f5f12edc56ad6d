//! The Adam and AdamW update of one parameter tensor.

use burn::tensor::Tensor;

use crate::optimizer::update;
use crate::types::{OptimizerKind, UpdateStep, Updated};

/// The settings of one update.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the second moment, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// L2 penalty, added to the gradient as `weight_decay · parameter`.
    pub weight_decay: f64,
    /// Decoupled weight decay (AdamW): the parameter is multiplied by `1 − learning_rate · decoupled_weight_decay`.
    pub decoupled_weight_decay: f64,
    /// Number of this update, counted from 1, for the bias correction of the moments.
    pub step: u64,
    /// Factor on the gradient, for example to clip by the global norm; 1 for no change.
    pub gradient_scale: f64,
}

/// [`update`] with [`OptimizerKind::Adam`]; returns the new parameter and the new moments.
///
/// `first` and `second` are the moments, flat, `[number of elements of the parameter]`, zero before the
/// first step. All tensors are without autodiff. Buffers that are not shared are updated in place.
///
/// With `g = gradient_scale · gradient + weight_decay · parameter`:
/// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
/// `θ ← (1 − lr · decoupled) θ − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)`.
///
/// Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
///
/// # Panics
///
/// When the shapes do not fit each other, or `step.step` is 0.
pub fn adam<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    first: Tensor<1>,
    second: Tensor<1>,
    step: &AdamStep,
) -> (Tensor<D>, Tensor<1>, Tensor<1>) {
    let step = UpdateStep {
        kind: OptimizerKind::Adam { beta1: step.beta1, beta2: step.beta2, epsilon: step.epsilon },
        learning_rate: step.learning_rate,
        weight_decay: step.weight_decay,
        decoupled_weight_decay: step.decoupled_weight_decay,
        step: step.step,
        gradient_scale: step.gradient_scale,
    };
    let Updated { parameter, states, .. } = update(parameter, gradient, vec![first, second], None, &step);
    match <[Tensor<1>; 2]>::try_from(states) {
        Ok([first, second]) => (parameter, first, second),
        Err(states) => unreachable!("Adam keeps two states, not {}", states.len()),
    }
}
