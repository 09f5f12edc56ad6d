//! Batch normalisation (Ioffe and Szegedy 2015).

use burn::module::{Module, Param, RunningState};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, batch_norm, batch_norm_eval};

use super::Init;

/// The weight of a batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Training or inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Normalise with the statistics of the batch, and update the running ones.
    Train,
    /// Normalise with the running statistics, so that examples do not depend on each other.
    Eval,
}

/// Normalises each channel over all axes but the last, then scales and shifts it.
#[derive(Module, Debug)]
pub struct BatchNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    running_mean: RunningState<Tensor<1>>,
    running_var: RunningState<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
    #[module(skip)]
    fixed_gain: bool,
}

impl BatchNorm {
    /// Makes a layer for `channels` channels with γ drawn from N(1, `gamma_std`²) and β = 0.
    pub fn new(channels: usize, gamma_std: f64, epsilon: f64, init: &mut Init) -> BatchNorm {
        BatchNorm {
            gamma: init.normal([channels], 1.0, gamma_std),
            beta: init.constant([channels], 0.0),
            running_mean: RunningState::new(Tensor::zeros([channels], &init.device().clone().inner())),
            running_var: RunningState::new(Tensor::ones([channels], &init.device().clone().inner())),
            epsilon,
            fixed_gain: false,
        }
    }

    /// The same with γ as it is, which training does not change.
    pub fn with_fixed_gain(self) -> BatchNorm {
        BatchNorm { fixed_gain: true, ..self }
    }

    /// What inference multiplies each channel by: γ over the root of the running variance, `[channels]`.
    pub fn scale(&self) -> Tensor<1> {
        self.gamma.val() / (self.running_var.value() + self.epsilon).sqrt()
    }

    /// Normalises `x`, then applies `activation`. In training the running mean and the running unbiased
    /// variance move a tenth of the way to the batch's.
    ///
    /// # Shapes
    ///
    /// `[.., channels]` to the same.
    ///
    /// # Panics
    ///
    /// When the last axis of `x` is not `channels` long.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, activation: Activation, mode: Mode) -> Tensor<D> {
        let gamma = if self.fixed_gain { self.gamma.val().detach() } else { self.gamma.val() };
        let beta = self.beta.val();
        if mode == Mode::Eval {
            let (mean, var) = (self.running_mean.value(), self.running_var.value());
            return batch_norm_eval(x, gamma, beta, mean, var, self.epsilon, activation);
        }
        let batch = batch_norm(x, gamma, beta, self.epsilon, activation);
        let unbias = batch.count as f64 / (batch.count as f64 - 1.0).max(1.0);
        follow(&self.running_mean, batch.mean.inner());
        follow(&self.running_var, batch.var.inner() * unbias);
        batch.y
    }
}

fn follow(running: &RunningState<Tensor<1>>, batch: Tensor<1>) {
    running.update(running.value() * (1.0 - MOMENTUM) + batch * MOMENTUM);
    // The running state returns an update only after it was read once, so read it here.
    running.value_sync();
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::nn::{Initializer, Linear};

    fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn the_scale_is_the_slope_of_inference_and_rows_follow_their_channels() {
        let mut init = Init::new(1, &Device::flex());
        let norm = BatchNorm::new(2, 0.5, 1e-5, &mut init);
        let x = tensor(&[1.0, -30.0, 4.0, 20.0, -2.0, 50.0], [3, 2]);
        (0..20).for_each(|_| drop(norm.forward(x.clone(), Activation::Identity, Mode::Train)));
        let at = |x: [f32; 2]| norm.forward(tensor(&x, [1, 2]), Activation::Identity, Mode::Eval);
        let slope = floats(at([1.0, 1.0]) - at([0.0, 0.0]));
        let scale = floats(norm.scale());
        assert!(slope.iter().zip(&scale).all(|(a, b)| (a - b).abs() < 1e-5), "{slope:?} {scale:?}");

        let layer = Linear::new(3, 4, Initializer::Normal(1.0), &mut init);
        let (weight, rows) = (floats(layer.weight()), floats(layer.scaled_rows(norm.scale())));
        for (output, row) in rows.chunks(3).enumerate() {
            for (input, value) in row.iter().enumerate() {
                assert!((value - weight[input * 4 + output] * scale[output % 2]).abs() < 1e-6);
            }
        }
    }
}
