//! The logistic distribution discretised into the 256 bins of an 8-bit pixel (Salimans et al. 2017, §2.1).

use burn::tensor::{Tensor, activation::softplus};

/// Half the width of a bin when 256 values are spread over [-1, 1].
const HALF_BIN: f64 = 1.0 / 255.0;

/// Independent logistic variables, each discretised to the 8-bit value of its bin. The first and the last bin extend to
/// infinity.
#[derive(Clone, Debug)]
pub struct DiscretizedLogistic {
    /// Location, `[batch, dims]`, in the units of images: [-1, 1].
    pub mean: Tensor<2>,
    /// log of the scale, `[batch, dims]`.
    pub log_scale: Tensor<2>,
}

impl DiscretizedLogistic {
    /// log p(x) of each example, summed over its dimensions, in nats.
    ///
    /// With a and b the standardised upper and lower edge of a bin, its mass is
    /// σ(a) − σ(b) = σ(a) σ(−b) (1 − e^(b−a)), whose logarithm has no cancellation.
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, dims]` with values 2 k / 255 − 1 for k in 0..=255; the result is `[batch]`.
    pub fn log_prob(&self, x: Tensor<2>) -> Tensor<1> {
        let batch = x.dims()[0];
        let inverse_scale = self.log_scale.clone().neg().exp();
        let centred = x.clone() - self.mean.clone();
        let upper = (centred.clone() + HALF_BIN) * inverse_scale.clone();
        let lower = (centred - HALF_BIN) * inverse_scale.clone();
        let below_upper = softplus(upper.neg(), 1.0).neg(); // log σ(a)
        let above_lower = softplus(lower, 1.0).neg(); // log σ(−b)
        // With t = tanh((a − b) / 2), 1 − e^(b−a) = 2t / (1 + t), exact for narrow bins too.
        let t = (inverse_scale * HALF_BIN).tanh();
        let between = t.clone().log() - (t + 1.0).log() + 2f64.ln();
        let middle = below_upper.clone() + above_lower.clone() + between;
        let log_prob = middle
            .mask_where(x.clone().lower_elem(-1.0 + HALF_BIN), below_upper)
            .mask_where(x.greater_elem(1.0 - HALF_BIN), above_lower);
        log_prob.sum_dim(1).reshape([batch])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn probabilities_of_the_256_values_sum_to_one() {
        let device = Device::flex();
        for (mean, log_scale) in [(0.0, -3.0), (0.98, -5.0), (-1.4, -1.0), (0.3, 2.0), (0.1, -7.0)] {
            let x: Vec<f32> = (0..256).map(|k| k as f32 * 2.0 / 255.0 - 1.0).collect();
            let p = DiscretizedLogistic {
                mean: Tensor::full([256, 1], mean, &device),
                log_scale: Tensor::full([256, 1], log_scale, &device),
            };
            let log_prob = p.log_prob(Tensor::from_data(TensorData::new(x, [256, 1]), &device));
            let total: f64 = log_prob.to_data().iter::<f32>().map(|l| f64::from(l).exp()).sum();
            assert!((total - 1.0).abs() < 1e-5, "mean {mean}, log scale {log_scale}: {total}");
        }
    }

    #[test]
    fn far_values_have_finite_log_probabilities() {
        let device = Device::flex();
        let p = DiscretizedLogistic {
            mean: Tensor::from_data([[-0.9]], &device),
            log_scale: Tensor::from_data([[-7.0]], &device),
        };
        let log_prob = p.log_prob(Tensor::from_data([[0.5]], &device)).into_scalar::<f32>();
        assert!(log_prob < -1000.0 && log_prob.is_finite(), "{log_prob}");
    }
}
