//! The exponential moving average of weights.

use crate::nn::{StateDict, is_fixed};

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
    /// that the initial weights are soon forgotten. Arrays that training does not change are kept as they are.
    ///
    /// # Panics
    ///
    /// When `weights` are not those of the same networks.
    pub fn update(&mut self, weights: &StateDict, steps: u64) {
        let decay = self.decay.min((1 + steps) as f64 / (10 + steps) as f64);
        for (name, average) in self.weights.iter_mut().filter(|(name, _)| !is_fixed(name)) {
            let Some(weight) = weights.get(name) else { panic!("`{name}` has no weights to average") };
            average.values.inplace(|values| poiesis_kernels::ema(values, weight.values.clone(), decay));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::{Array, Arrays};

    #[test]
    fn statistics_of_the_data_do_not_drift() {
        let weights = |value: f32| {
            let array = || Array::new(vec![1], vec![value]);
            let arrays: Arrays =
                ["map.column_mean", "map.weight"].map(|name| (name.to_owned(), array())).into();
            StateDict::from_arrays(arrays, &Device::flex())
        };
        let mut ema = Ema::new(0.999, weights(1.7e9));
        (0..5000).for_each(|step| ema.update(&weights(1.7e9), step));
        let averages = ema.weights().to_arrays();
        assert_eq!(averages["map.column_mean"].data, [1.7e9]);
        assert_ne!(averages["map.weight"].data, [1.7e9], "an average is rounded");
    }
}
