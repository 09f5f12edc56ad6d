//! Kinds of optimizers, the settings of an update, and its result.

use burn::tensor::Tensor;

/// How a gradient `g` updates a parameter `θ` with the learning rate `lr`. An optimizer keeps values between steps in
/// its states, flat tensors `[number of elements of the parameter]` that are zero before the first step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimizerKind {
    /// Stochastic gradient descent: `θ ← θ − lr g`. With momentum `b ← momentum · b + g` replaces `g`
    /// (state `b`), with Nesterov momentum `g + momentum · b`.
    ///
    /// Source: Sutskever et al. 2013, §2, with the learning rate applied outside of `b`.
    Sgd {
        /// Decay of the sum of gradients; 0 for none.
        momentum: f64,
        /// Whether to use Nesterov momentum.
        nesterov: bool,
    },
    /// `v ← α v + (1 − α) g²`, `θ ← θ − lr g / (√v + ε)` (state `v`). With momentum
    /// `b ← momentum · b + g / (√v + ε)` replaces the quotient (states `v`, `b`).
    ///
    /// Source: Tieleman & Hinton 2012, lecture 6.5.
    RmsProp {
        /// Decay of the second moment, in `[0, 1)`.
        alpha: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// Decay of the sum of scaled gradients; 0 for none.
        momentum: f64,
    },
    /// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
    /// `θ ← θ − lr (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)` (states `m`, `v`). With
    /// [`UpdateStep::decoupled_weight_decay`] it is AdamW.
    ///
    /// Source: Kingma & Ba 2015, algorithm 1; Loshchilov & Hutter 2019, algorithm 2.
    Adam {
        /// Decay of the first moment, in `[0, 1)`.
        beta1: f64,
        /// Decay of the second moment, in `[0, 1)`.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
    },
    /// `m ← β₁ m + (1 − β₁) g`, `u ← max(β₂ u, |g| + ε)`, `θ ← θ − lr (m / (1 − β₁ᵗ)) / u` (states `m`, `u`).
    ///
    /// Source: Kingma & Ba 2015, algorithm 2, with PyTorch's ε.
    AdaMax {
        /// Decay of the first moment, in `[0, 1)`.
        beta1: f64,
        /// Decay of the infinity norm, in `[0, 1)`.
        beta2: f64,
        /// Added to the size of the gradient.
        epsilon: f64,
    },
}

impl OptimizerKind {
    /// The number of states.
    pub fn states(&self) -> usize {
        match *self {
            OptimizerKind::Sgd { momentum, .. } => usize::from(momentum != 0.0),
            OptimizerKind::RmsProp { momentum, .. } => 1 + usize::from(momentum != 0.0),
            OptimizerKind::Adam { .. } | OptimizerKind::AdaMax { .. } => 2,
        }
    }
}

/// The settings of one [`update`](crate::update).
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateStep {
    /// How the gradient updates the parameter.
    pub kind: OptimizerKind,
    /// Learning rate.
    pub learning_rate: f64,
    /// L2 penalty, added to the gradient as `weight_decay · parameter`.
    pub weight_decay: f64,
    /// Decoupled weight decay: the parameter is multiplied by
    /// `1 − learning_rate · decoupled_weight_decay` before the update.
    pub decoupled_weight_decay: f64,
    /// Number of this update, counted from 1, for the bias correction of the moments.
    pub step: u64,
    /// Factor on the gradient, for example to clip by the global norm (see [`squared_norm`](crate::squared_norm)); 1 for
    /// no change.
    pub gradient_scale: f64,
}

/// The result of [`update`](crate::update).
#[derive(Clone, Debug)]
pub struct Updated<const D: usize> {
    /// The updated parameter.
    pub parameter: Tensor<D>,
    /// The new states of the optimizer.
    pub states: Vec<Tensor<1>>,
    /// The new average, if there was one.
    pub average: Option<Tensor<1>>,
}
