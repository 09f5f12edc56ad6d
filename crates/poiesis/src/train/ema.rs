//! The exponential moving average of weights.

use crate::nn::StateDict;

/// Averaged weights, which give better samples.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    weights: StateDict,
}

impl Ema {
    /// Starts from `weights`.
    pub fn new(decay: f64, weights: StateDict) -> Ema {
        Ema { decay, weights }
    }

    /// The averages.
    pub fn weights(&self) -> &StateDict {
        &self.weights
    }

    /// Updates the averages with `weights` after `steps` steps. The first steps have a larger weight, 9 / (10 + steps), so
    /// that the initial weights are soon forgotten.
    ///
    /// # Panics
    ///
    /// When `weights` are not those of the same networks.
    pub fn update(&mut self, weights: &StateDict, steps: u64) {
        let decay = self.decay.min((1 + steps) as f64 / (10 + steps) as f64);
        for (name, average) in self.weights.iter_mut() {
            let Some(weight) = weights.get(name) else { panic!("`{name}` has no weights to average") };
            average.values.inplace(|values| poiesis_kernels::ema(values, weight.values.clone(), decay));
        }
    }
}
