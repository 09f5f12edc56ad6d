//! Independent Bernoulli variables, one for each pixel of a binary image.

use burn::tensor::{Tensor, activation::sigmoid};
use poiesis_kernels::bernoulli_log_prob;

/// Independent Bernoulli variables given by their logits.
#[derive(Clone, Debug)]
pub struct Bernoulli {
    /// log(p / (1 - p)), `[batch, dims]`.
    pub logits: Tensor<2>,
}

impl Bernoulli {
    /// log p(x) of each example, summed over its dimensions, in nats.
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, dims]` with values in {0, 1}; the result is `[batch]`.
    pub fn log_prob(&self, x: Tensor<2>) -> Tensor<1> {
        bernoulli_log_prob(self.logits.clone(), x)
    }

    /// The probability of a one in each dimension, `[batch, dims]`.
    pub fn mean(&self) -> Tensor<2> {
        sigmoid(self.logits.clone())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn log_probs_of_all_outcomes_sum_to_one() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[0.3, -2.0, 7.0]], &device);
        let total: f64 = (0..8)
            .map(|bits: i32| {
                let x = [0, 1, 2].map(|i| f32::from(bits >> i & 1 == 1));
                let p = Bernoulli { logits: logits.clone() };
                f64::from(p.log_prob(Tensor::from_data([x], &device)).into_scalar::<f32>()).exp()
            })
            .sum();
        assert!((total - 1.0).abs() < 1e-6, "{total}");
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let device = Device::flex();
        let p = Bernoulli { logits: Tensor::from_data([[200.0, -200.0]], &device) };
        let likely = p.log_prob(Tensor::from_data([[1.0, 0.0]], &device)).into_scalar::<f32>();
        let unlikely = p.log_prob(Tensor::from_data([[0.0, 1.0]], &device)).into_scalar::<f32>();
        assert_eq!((likely, unlikely), (0.0, -400.0));
    }
}
