//! Activation normalisation (Kingma and Dhariwal 2018, arXiv:1807.03039, §3.1).

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{Mapped, set_values};
use crate::nn::Init;

/// Added to deviations, so that a channel of one value has a finite scale.
const EPSILON: f64 = 1e-6;

/// y = s ⊙ x + b with a scale and a bias for each channel, which start so that the channels of the first batch have mean 0 and
/// deviation 1.
#[derive(Module, Debug)]
pub(super) struct ActNorm {
    /// log s, `[channels]`.
    log_scale: Param<Tensor<1>>,
    /// b, `[channels]`.
    bias: Param<Tensor<1>>,
}

impl ActNorm {
    /// The identity.
    pub(super) fn new(channels: usize, init: &mut Init) -> ActNorm {
        ActNorm { log_scale: init.constant([channels], 0.0), bias: init.constant([channels], 0.0) }
    }

    /// y and h · w · Σ log s (Table 1).
    pub(super) fn forward(&self, x: Tensor<4>) -> Mapped {
        let [_, height, width, _] = x.dims();
        let log_det = self.log_scale.val().sum() * (height * width) as f64;
        (x * over_channels(self.log_scale.val().exp()) + over_channels(self.bias.val()), log_det)
    }

    /// x of y.
    pub(super) fn inverse(&self, y: Tensor<4>) -> Tensor<4> {
        (y - over_channels(self.bias.val())) * over_channels(self.log_scale.val().neg().exp())
    }

    /// Gives scale and bias their first values, from the batch `x`.
    pub(super) fn set_first_values(&mut self, x: Tensor<4>) {
        let (log_scale, bias) = first_values(x);
        set_values(&mut self.log_scale, log_scale);
        set_values(&mut self.bias, bias);
    }
}

/// log s and b, `[channels]` each, with which the channels of `x` have mean 0 and deviation 1.
pub(super) fn first_values(x: Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    let [batch, height, width, channels] = x.dims();
    let rows = x.detach().reshape([batch * height * width, channels]);
    let mean = rows.clone().mean_dim(0);
    let std = (rows - mean.clone()).square().mean_dim(0).sqrt() + EPSILON;
    let bias = (mean / std.clone()).neg();
    (std.log().neg().reshape([channels]), bias.reshape([channels]))
}

/// `[channels]` to `[1, 1, 1, channels]`.
fn over_channels(values: Tensor<1>) -> Tensor<4> {
    let channels = values.dims()[0];
    values.reshape([1, 1, 1, channels])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::testing::{expect_inverse, expect_log_det, noise, shaken};
    use super::*;

    #[test]
    fn it_is_inverted_and_its_log_determinant_is_that_of_its_jacobian() {
        let device = Device::flex();
        let norm = shaken(&ActNorm::new(3, &mut Init::new(1, &device)), 0.5, 2);
        expect_inverse(noise([2, 2, 3, 3], 3, &device), |x| norm.forward(x).0, |y| norm.inverse(y));
        expect_log_det(noise([1, 2, 3, 3], 4, &device), |x| norm.forward(x));
    }

    #[test]
    fn the_first_batch_has_mean_0_and_deviation_1_and_a_constant_channel_stays_finite() {
        let device = Device::flex();
        let mut norm = ActNorm::new(2, &mut Init::new(1, &device));
        let far = noise([8, 4, 4, 1], 5, &device) * 1e-3 + 7.0;
        let x = Tensor::cat(vec![far, Tensor::full([8, 4, 4, 1], 3.0, &device)], 3);
        norm.set_first_values(x.clone());
        let (y, log_det) = norm.forward(x);
        let channel = y.clone().narrow(3, 0, 1);
        let mean = channel.clone().mean().into_scalar::<f64>();
        let var = channel.square().mean().into_scalar::<f64>();
        assert!(mean.abs() < 1e-2 && (var - 1.0).abs() < 2e-2, "{mean} {var}");
        let constant = y.narrow(3, 1, 1).abs().max().into_scalar::<f64>();
        assert!(constant < 1.0 && log_det.into_scalar::<f64>().is_finite(), "{constant}");
    }
}
