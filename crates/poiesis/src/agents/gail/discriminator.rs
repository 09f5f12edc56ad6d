//! The discriminator's logits, of which a high one means expert, and what it is trained on.

use burn::tensor::Tensor;
use poiesis_kernels::{Activation, activate};

use crate::agents::Network;

/// The logits that the network `discriminator` gives standardised pairs, `[n, observation + inputs]` to `[n]`.
pub fn logits(discriminator: &Network, pairs: Tensor<2>) -> Tensor<1> {
    let n = pairs.dims()[0];
    discriminator.forward(pairs).reshape([n])
}

/// What the discriminator minimises, from its logits of as many pairs of the expert as of the policy: the logistic loss, averaged over
/// all pairs, less `entropy_weight` times the mean entropy of its answers, in nats. With a weight of 0 it is log 2 when nothing can be
/// told apart (Algorithm 1).
pub fn discriminator_loss(expert: Tensor<1>, policy: Tensor<1>, entropy_weight: f64) -> Tensor<1> {
    let logistic = Tensor::cat(vec![softplus(expert.clone().neg()), softplus(policy.clone())], 0).mean();
    if entropy_weight == 0.0 {
        return logistic;
    }
    logistic - entropy(Tensor::cat(vec![expert, policy], 0)).mean() * entropy_weight
}

/// −D log D − (1 − D) log(1 − D) of each logit of D.
fn entropy(logits: Tensor<1>) -> Tensor<1> {
    softplus(logits.clone()) - logits.clone() * prob_expert(logits)
}

/// D, the probability of "expert" that a logit stands for.
pub fn prob_expert(logits: Tensor<1>) -> Tensor<1> {
    activate(logits, Activation::Sigmoid)
}

/// log(1 + exp x), finite for logits of any size.
fn softplus(x: Tensor<1>) -> Tensor<1> {
    activate(x, Activation::Softplus)
}

/// What the discriminator made of the pairs of a step, each `[1]` and without autodiff.
#[derive(Clone, Debug)]
pub struct Discrimination {
    /// Its loss.
    pub loss: Tensor<1>,
    /// The mean probability of "expert" for pairs of the expert.
    pub prob_expert: Tensor<1>,
    /// The same for pairs of the policy.
    pub prob_policy: Tensor<1>,
    /// The fraction of the expert's pairs that it takes for what they are.
    pub accuracy_expert: Tensor<1>,
    /// The same of the policy's pairs.
    pub accuracy_policy: Tensor<1>,
}

impl Discrimination {
    /// Of a loss and the logits that it was computed from.
    pub fn of(loss: &Tensor<1>, expert: &Tensor<1>, policy: &Tensor<1>) -> Discrimination {
        let (expert, policy) = (expert.clone().inner(), policy.clone().inner());
        Discrimination {
            loss: loss.clone().inner(),
            prob_expert: prob_expert(expert.clone()).mean(),
            prob_policy: prob_expert(policy.clone()).mean(),
            accuracy_expert: expert.greater_elem(0.0).float().mean(),
            accuracy_policy: policy.lower_elem(0.0).float().mean(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn answers(values: &[f32]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    #[test]
    fn an_undecided_discriminator_loses_log_two() {
        let undecided = || answers(&[0.0; 5]);
        let loss = |weight| discriminator_loss(undecided(), undecided(), weight).into_scalar::<f64>();
        assert!((loss(0.0) - 2f64.ln()).abs() < 1e-6);
        // The entropy of one half is log 2 too.
        assert!((loss(0.25) - 0.75 * 2f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn the_loss_falls_with_the_logits_of_the_expert_and_rises_with_those_of_the_policy() {
        let loss = |expert: f32, policy: f32| {
            discriminator_loss(answers(&[expert]), answers(&[policy]), 0.0).into_scalar::<f64>()
        };
        assert!(loss(2.0, -2.0) < loss(0.0, 0.0) && loss(0.0, 0.0) < loss(-2.0, 2.0));
        assert!(loss(-90.0, 90.0).is_finite());
    }

    #[test]
    fn entropy_is_that_of_the_probability() {
        let values = [-4.0, -0.3, 0.0, 1.5, 60.0];
        let ours: Vec<f32> = entropy(answers(&values)).into_data().iter::<f32>().collect();
        for (logit, ours) in values.into_iter().zip(ours) {
            let prob = 1.0 / (1.0 + (-f64::from(logit)).exp());
            let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
            let expected = term(prob) + term(1.0 - prob);
            assert!((f64::from(ours) - expected).abs() < 2e-6, "{logit}: {ours} for {expected}");
        }
    }
}
