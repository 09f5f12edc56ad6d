//! Distributions over actions, in nats. Noise is an argument.

use std::f64::consts::{E, PI};

use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use poiesis_kernels::categorical_log_prob;

/// The distribution over the action of each row.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "made once for a batch and passed by reference")]
pub enum ActionDistribution {
    /// Over choices.
    Categorical {
        /// Unnormalised log-probabilities, `[n, choices]`.
        logits: Tensor<2>,
    },
    /// Over vectors, with independent numbers and a spread that does not depend on the observation.
    Gaussian {
        /// `[n, dims]`.
        mean: Tensor<2>,
        /// The logarithm of the standard deviation, `[dims]`.
        log_std: Tensor<1>,
    },
}

impl ActionDistribution {
    /// log π(a|s) of each row, `[n]`. `actions` is `[n, width]`, a choice as its number.
    ///
    /// # Panics
    ///
    /// When `actions` has another shape, or a choice is outside of its range.
    pub fn log_probs(&self, actions: Tensor<2>) -> Tensor<1> {
        match self {
            ActionDistribution::Categorical { logits } => {
                let rows = logits.dims()[0];
                assert_eq!(actions.dims(), [rows, 1], "choices for logits {:?}", logits.dims());
                categorical_log_prob(logits.clone(), actions.reshape([rows]).int())
            }
            ActionDistribution::Gaussian { mean, log_std } => {
                let [rows, dims] = mean.dims();
                assert_eq!(actions.dims(), [rows, dims], "actions for means {:?}", mean.dims());
                let log_std = log_std.clone().reshape([1, dims]);
                let z = (actions - mean.clone()) * log_std.clone().neg().exp();
                let each = z.square() * -0.5 - log_std - 0.5 * (2.0 * PI).ln();
                each.sum_dim(1).reshape([rows])
            }
        }
    }

    /// The entropy of each row, `[n]`; of vectors it is a differential entropy and may be negative.
    pub fn entropy(&self) -> Tensor<1> {
        match self {
            ActionDistribution::Categorical { logits } => {
                let log_probs = log_softmax(logits.clone(), 1);
                let rows = logits.dims()[0];
                (log_probs.clone().exp() * log_probs).sum_dim(1).neg().reshape([rows])
            }
            ActionDistribution::Gaussian { mean, log_std } => {
                let [rows, dims] = mean.dims();
                let of_one = log_std.clone().sum() + 0.5 * dims as f64 * (2.0 * PI * E).ln();
                of_one.expand([rows])
            }
        }
    }

    /// KL(old ‖ self) of each row, `[n]`, at least zero but for rounding.
    ///
    /// # Panics
    ///
    /// When `old` is of another kind.
    pub fn kl(&self, old: &ActionDistribution) -> Tensor<1> {
        match (old, self) {
            (
                ActionDistribution::Categorical { logits: old },
                ActionDistribution::Categorical { logits: new },
            ) => {
                let (old, new) = (log_softmax(old.clone(), 1), log_softmax(new.clone(), 1));
                let rows = old.dims()[0];
                (old.clone().exp() * (old - new)).sum_dim(1).reshape([rows])
            }
            (
                ActionDistribution::Gaussian { mean: old_mean, log_std: old_log_std },
                ActionDistribution::Gaussian { mean, log_std },
            ) => {
                let [rows, dims] = mean.dims();
                let old_log_std = old_log_std.clone().reshape([1, dims]);
                let log_std = log_std.clone().reshape([1, dims]);
                let shift = (old_mean.clone() - mean.clone()).square();
                // The ratio of the variances at once, so that it is exactly 1 where they are the same.
                let moved = log_std.clone() - old_log_std;
                let spread = (moved.clone() * -2.0).exp() + shift * (log_std * -2.0).exp();
                let each = moved + spread * 0.5 - 0.5;
                each.sum_dim(1).reshape([rows])
            }
            _ => panic!("the divergence of two kinds of distributions"),
        }
    }

    /// Actions drawn with `noise`, `[n, width]`: for choices uniform on [0, 1), `[n, choices]`, of which the largest of
    /// logit − log(−log u) is chosen; for vectors N(0, 1), `[n, dims]`.
    ///
    /// # Panics
    ///
    /// When `noise` has another shape.
    pub fn sample(&self, noise: Tensor<2>) -> Tensor<2> {
        match self {
            ActionDistribution::Categorical { logits } => {
                assert_eq!(noise.dims(), logits.dims(), "noise for logits");
                let gumbel = noise.clamp(1e-9, 1.0 - 1e-7).log().neg().log().neg();
                (logits.clone() + gumbel).argmax(1).float()
            }
            ActionDistribution::Gaussian { mean, log_std } => {
                assert_eq!(noise.dims(), mean.dims(), "noise for means");
                let dims = mean.dims()[1];
                mean.clone() + noise * log_std.clone().exp().reshape([1, dims])
            }
        }
    }

    /// The most probable choice as its number, or the mean, `[n, width]`.
    pub fn mode(&self) -> Tensor<2> {
        match self {
            ActionDistribution::Categorical { logits } => logits.clone().argmax(1).float(),
            ActionDistribution::Gaussian { mean, .. } => mean.clone(),
        }
    }
}
