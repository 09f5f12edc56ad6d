//! Normal distributions with independent dimensions.

use std::f64::consts::TAU;

use burn::tensor::Tensor;

/// A normal distribution with independent dimensions.
#[derive(Clone, Debug)]
pub struct DiagonalNormal {
    /// μ, `[batch, dims]`.
    pub mean: Tensor<2>,
    /// log σ², `[batch, dims]`.
    pub log_var: Tensor<2>,
}

impl DiagonalNormal {
    /// The reparameterised sample μ + σ ε (Kingma and Welling 2013, §2.4).
    ///
    /// # Shapes
    ///
    /// `eps` and the result are `[batch, dims]`; ε is to be drawn from N(0, 1).
    pub fn sample(&self, eps: Tensor<2>) -> Tensor<2> {
        self.mean.clone() + (self.log_var.clone() * 0.5).exp() * eps
    }

    /// KL(N(μ, σ²) ‖ N(0, 1)) of each dimension, `[batch, dims]`, in nats (ibid., Appendix B).
    pub fn kl_to_standard(&self) -> Tensor<2> {
        (self.mean.clone().square() + self.log_var.clone().exp() - self.log_var.clone() - 1.0) * 0.5
    }

    /// log density at `z` of each example, summed over dimensions, `[batch]`, in nats.
    pub fn log_prob(&self, z: Tensor<2>) -> Tensor<1> {
        let [batch, dims] = z.dims();
        let squared = (z - self.mean.clone()).square() * self.log_var.clone().neg().exp();
        let sum = (squared + self.log_var.clone()).sum_dim(1).reshape([batch]);
        sum * -0.5 - 0.5 * dims as f64 * TAU.ln()
    }
}

/// log density of N(0, 1) at `z` of each example, summed over dimensions, in nats.
///
/// # Shapes
///
/// `[batch, dims]` to `[batch]`.
pub fn standard_normal_log_prob(z: Tensor<2>) -> Tensor<1> {
    let [batch, dims] = z.dims();
    z.square().sum_dim(1).reshape([batch]) * -0.5 - 0.5 * dims as f64 * TAU.ln()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng;

    fn normal(mean: f32, log_var: f32, batch: usize) -> DiagonalNormal {
        let device = Device::flex();
        DiagonalNormal {
            mean: Tensor::full([batch, 1], mean, &device),
            log_var: Tensor::full([batch, 1], log_var, &device),
        }
    }

    #[test]
    fn kl_is_zero_when_posterior_equals_prior() {
        assert_eq!(normal(0.0, 0.0, 1).kl_to_standard().into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn kl_is_the_mean_difference_of_log_densities() {
        let batch = 200_000;
        let q = normal(0.7, -0.9, batch);
        let eps = rng::normal(&mut rng::generator(1, "test", 0), batch);
        let z = q.sample(Tensor::from_data(TensorData::new(eps, [batch, 1]), &Device::flex()));
        let estimate = (q.log_prob(z.clone()) - standard_normal_log_prob(z)).mean().into_scalar::<f32>();
        let exact = normal(0.7, -0.9, 1).kl_to_standard().into_scalar::<f32>();
        assert!((estimate - exact).abs() < 0.01, "{estimate} {exact}");
    }
}
