//! The `[optimizer]` section: one set of keys for all models.

use poiesis_kernels::OptimizerKind as UpdateKind;
use serde::{Deserialize, Serialize};

use crate::error::Fault;

/// How weights are updated. All optimizers of a run use these settings; a model may change them for one of its networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The algorithm: `adam`, `adamw`, `rmsprop`, `sgd`, `adamax` or `muon`.
    pub kind: OptimizerKind,
    /// Learning rate before the schedule.
    pub learning_rate: f64,
    /// `adam`, `adamw`, `adamax`, `muon`: decay rates of the first and second moment, each in [0, 1).
    pub betas: [f64; 2],
    /// `rmsprop`: decay rate of the squared gradient, in [0, 1).
    pub alpha: f64,
    /// `sgd`, `rmsprop`: momentum, in [0, 1).
    pub momentum: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay: an L2 penalty with `adam`, `sgd` and `adamax`; decoupled (Loshchilov and Hutter 2019), and for parameters with
    /// two axes or more only, with `adamw`, `rmsprop` and `muon`.
    pub weight_decay: f64,
    /// Gradients whose norm over all parameters exceeds this are scaled down to it; 0 turns clipping off.
    pub clip: f64,
    /// Each value of a gradient is clipped to ± this; 0 turns clipping off.
    pub clip_value: f64,
    /// `muon`: learning rate of the matrices that it updates; all other parameters use AdamW with the settings above.
    pub muon_learning_rate: f64,
    /// `muon`: momentum of these matrices, in [0, 1).
    pub muon_momentum: f64,
    /// `muon`: decoupled weight decay of these matrices.
    pub muon_weight_decay: f64,
    /// How the learning rate changes over the run: `constant`, `linear`, `cosine` or `trapezoid`.
    pub schedule: Decay,
    /// Warm-up: steps at the start in which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// Fraction of the learning rate that is left at the end of a decaying schedule, in [0, 1].
    pub final_factor: f64,
    /// `trapezoid`: fraction of the run, at its end, in which the learning rate decays, in [0, 1].
    pub cooldown: f64,
    /// Factor by which the learning rate is multiplied at every step, in (0, 1]; 1 for none.
    pub decay: f64,
}

/// An optimization algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam (Kingma and Ba 2015).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW,
    /// RMSProp (Tieleman and Hinton 2012).
    RmsProp,
    /// Stochastic gradient descent, with `momentum` if it is not 0.
    Sgd,
    /// AdaMax (Kingma and Ba 2015, §7.1).
    AdaMax,
    /// Muon for the matrices inside a network, AdamW for all other parameters (see [`Muon`](super::Muon)).
    Muon,
}

/// How the learning rate changes over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Constant.
    Constant,
    /// Linear decay over the run.
    Linear,
    /// Cosine decay over the run (Loshchilov and Hutter 2017).
    Cosine,
    /// Constant, then linear decay (Hägele et al. 2024).
    Trapezoid,
}

impl Default for OptimizerConfig {
    /// Adam with the settings of its paper.
    fn default() -> OptimizerConfig {
        OptimizerConfig {
            kind: OptimizerKind::Adam,
            learning_rate: 1e-3,
            betas: [0.9, 0.999],
            alpha: 0.95,
            momentum: 0.0,
            epsilon: 1e-8,
            weight_decay: 0.0,
            clip: 0.0,
            clip_value: 0.0,
            muon_learning_rate: 0.02,
            muon_momentum: 0.95,
            // Without it the kernels of recurrent layers grow until training diverges.
            muon_weight_decay: 0.1,
            schedule: Decay::Constant,
            warmup_steps: 0,
            final_factor: 0.0,
            cooldown: 0.2,
            decay: 1.0,
        }
    }
}

impl OptimizerConfig {
    /// The update rule of all parameters that Muon does not update.
    pub(super) fn update_kind(&self) -> UpdateKind {
        let ([beta1, beta2], epsilon) = (self.betas, self.epsilon);
        match self.kind {
            OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::Muon => {
                UpdateKind::Adam { beta1, beta2, epsilon }
            }
            OptimizerKind::RmsProp => {
                UpdateKind::RmsProp { alpha: self.alpha, epsilon, momentum: self.momentum }
            }
            OptimizerKind::Sgd => UpdateKind::Sgd { momentum: self.momentum, nesterov: false },
            OptimizerKind::AdaMax => UpdateKind::AdaMax { beta1, beta2, epsilon },
        }
    }

    /// Whether weight decay is decoupled from the gradient.
    pub(super) fn decoupled(&self) -> bool {
        matches!(self.kind, OptimizerKind::AdamW | OptimizerKind::RmsProp | OptimizerKind::Muon)
    }

    /// The invalid settings, each with its key and its range.
    pub fn faults(&self) -> Vec<Fault> {
        let decay_rates = [
            ("betas", self.betas[0]),
            ("betas", self.betas[1]),
            ("alpha", self.alpha),
            ("momentum", self.momentum),
            ("muon_momentum", self.muon_momentum),
        ];
        let fractions = [("final_factor", self.final_factor), ("cooldown", self.cooldown)];
        let sizes = [
            ("learning_rate", self.learning_rate),
            ("epsilon", self.epsilon),
            ("weight_decay", self.weight_decay),
            ("clip", self.clip),
            ("clip_value", self.clip_value),
            ("muon_learning_rate", self.muon_learning_rate),
            ("muon_weight_decay", self.muon_weight_decay),
        ];
        let rate = Range {
            holds: |rate| (0.0..1.0).contains(&rate),
            reason: "it is a decay rate",
            remedy: "give 0 to below 1",
        };
        let fraction = Range {
            holds: |part| (0.0..=1.0).contains(&part),
            reason: "it is a fraction",
            remedy: "give 0 to 1",
        };
        let size = Range {
            holds: |size| size.is_finite() && size >= 0.0,
            reason: "it must be finite and cannot be negative",
            remedy: "give 0 or a positive number",
        };
        let factor = Range {
            holds: |factor| factor > 0.0 && factor <= 1.0,
            reason: "it multiplies the learning rate at every step",
            remedy: "give 1, or slightly less",
        };
        let outside = [
            rate.violated(&decay_rates),
            fraction.violated(&fractions),
            size.violated(&sizes),
            factor.violated(&[("decay", self.decay)]),
        ];
        outside.concat()
    }
}

/// Values that a setting can have.
struct Range {
    holds: fn(f64) -> bool,
    reason: &'static str,
    remedy: &'static str,
}

impl Range {
    /// A fault for each setting that is outside.
    fn violated(&self, settings: &[(&str, f64)]) -> Vec<Fault> {
        let fault = |(key, value): &(&str, f64)| Fault {
            key: format!("optimizer.{key}"),
            value: value.to_string(),
            reason: self.reason.into(),
            remedy: self.remedy.into(),
        };
        settings.iter().filter(|(_, value)| !(self.holds)(*value)).map(fault).collect()
    }
}
