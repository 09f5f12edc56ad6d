//! The rule that a convolutional or recurrent network learns by.

use serde::{Deserialize, Serialize};

use crate::train::{MuonConfig, Optimizer, OptimizerConfig};

/// Rule of the optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Adam (Kingma and Ba 2015).
    Adam,
    /// RMSProp, as in the papers.
    RmsProp,
    /// Muon with decoupled weight decay of 0.1 for all kernels but the last, Adam for the rest (see
    /// [`Muon`](crate::train::Muon)).
    Muon,
}

impl Rule {
    /// The optimizer with this rule and step sizes, which scales the gradients that Muon leaves it down to `clip_norm`; 0 leaves
    /// them alone.
    pub(super) fn optimizer(self, learning_rate: f64, muon_learning_rate: f64, clip_norm: f64) -> Optimizer {
        let config = match self {
            Rule::Adam | Rule::Muon => OptimizerConfig::adam(learning_rate, 0.9, 0.999),
            Rule::RmsProp => {
                let rule = poiesis_kernels::Rule::RmsProp { alpha: 0.95, epsilon: 1e-8, momentum: 0.0 };
                OptimizerConfig::new(rule, learning_rate)
            }
        };
        let optimizer = Optimizer::new(OptimizerConfig { clip_norm, ..config });
        match self {
            Rule::Adam | Rule::RmsProp => optimizer,
            Rule::Muon => optimizer.with_muon(MuonConfig {
                learning_rate: muon_learning_rate,
                momentum: 0.95,
                rounds: 5,
                // Without it the kernels of recurrences grow until training breaks down.
                weight_decay: 0.1,
                moves,
            }),
        }
    }
}

/// Whether a parameter is a kernel and not the last one: tables of classes and tokens, biases and gains are none.
fn moves(name: &str) -> bool {
    let kernel = [".weight", ".state", ".dilated"].iter().any(|kind| name.ends_with(kind));
    kernel && !name.starts_with("output.")
}
