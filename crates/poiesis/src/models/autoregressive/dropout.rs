//! Dropout (Srivastava et al. 2014) with noise that depends on seed, step and place alone.

use burn::tensor::Tensor;
use poiesis_kernels::uniform;

use crate::model::Step;
use crate::nn::dropout;
use crate::rng;

/// Sets a fraction of the values to zero and scales the others up, with a stream of the generator for each place in a network.
pub(super) struct Dropout {
    part: f64,
    key: [u8; 32],
    stream: u64,
}

impl Dropout {
    /// For evaluation: none.
    pub(super) fn none() -> Dropout {
        Dropout { part: 0.0, key: [0; 32], stream: 0 }
    }

    /// For a training step of a network that drops values at `places`.
    pub(super) fn of_step(part: f64, step: &Step<'_>, places: usize) -> Dropout {
        Dropout { part, key: rng::key(step.seed, "dropout"), stream: step.number * places as u64 }
    }

    /// The next place: each value of `x` becomes zero with that probability.
    pub(super) fn apply<const D: usize>(&mut self, x: Tensor<D>) -> Tensor<D> {
        if self.part == 0.0 {
            return x;
        }
        let draws = uniform(x.dims(), &self.key, self.stream, &x.device().inner());
        self.stream += 1;
        let draws = if x.is_autodiff() { draws.autodiff() } else { draws };
        dropout(x, draws, self.part)
    }
}
