//! The agent's reward, by its sign.
//!
//! A reward that is never negative pays for every step, so an agent does well by making episodes long; one that is never positive
//! charges for every step, so an agent does well by ending them. Either biases what is learned where episodes differ in length, and
//! which bias helps depends on how an episode ends.

use serde::{Deserialize, Serialize};

/// How a logit of "expert", log D − log(1 − D), becomes a reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RewardForm {
    /// −log(1 − D), at least 0: for tasks in which an early end is a failure, such as walking.
    Bonus,
    /// log D, at most 0: for tasks in which an end is success, such as reaching a goal.
    Penalty,
    /// log D − log(1 − D), of either sign: the reward of AIRL (Fu, Luo and Levine 2017, arXiv:1710.11248, §6).
    Logit,
}

impl RewardForm {
    /// The reward for a logit, in nats. It rises with the logit.
    pub fn of_logit(self, logit: f64) -> f64 {
        match self {
            RewardForm::Bonus => softplus(logit),
            RewardForm::Penalty => -softplus(-logit),
            RewardForm::Logit => logit,
        }
    }

    /// Shifts the rewards of a batch, which are known up to a constant, to the sign of this form: the smallest, or the largest, becomes 0.
    pub fn shift(self, rewards: &mut [f64]) {
        let zero = match self {
            RewardForm::Bonus => rewards.iter().copied().fold(f64::INFINITY, f64::min),
            RewardForm::Penalty => rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            RewardForm::Logit => return,
        };
        rewards.iter_mut().for_each(|reward| *reward -= zero);
    }
}

/// log(1 + exp x), without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f64; 7] = [-800.0, -3.0, -0.5, 0.0, 0.5, 3.0, 800.0];

    #[test]
    fn every_form_rises_where_the_discriminator_says_expert() {
        for form in [RewardForm::Bonus, RewardForm::Penalty, RewardForm::Logit] {
            let rewards = LOGITS.map(|logit| form.of_logit(logit));
            assert!(rewards.iter().all(|reward| reward.is_finite()), "{form:?}: {rewards:?}");
            // The bonus of −800 and the penalty of 800 are 0 in f64, which the neighbours are not.
            assert!(rewards.is_sorted_by(|a, b| a < b), "{form:?}: {rewards:?}");
        }
    }

    #[test]
    fn a_bonus_is_never_negative_and_a_penalty_never_positive() {
        assert!(LOGITS.iter().all(|&logit| RewardForm::Bonus.of_logit(logit) >= 0.0));
        assert!(LOGITS.iter().all(|&logit| RewardForm::Penalty.of_logit(logit) <= 0.0));
        assert!(RewardForm::Logit.of_logit(-1.0) < 0.0 && RewardForm::Logit.of_logit(1.0) > 0.0);
    }

    #[test]
    fn the_forms_are_those_of_the_probability() {
        for logit in [-3.0, -0.5, 0.0, 2.0] {
            let prob = 1.0 / (1.0 + f64::exp(-logit));
            let expected = [-(1.0 - prob).ln(), prob.ln(), prob.ln() - (1.0 - prob).ln()];
            let forms = [RewardForm::Bonus, RewardForm::Penalty, RewardForm::Logit];
            for (form, expected) in forms.iter().zip(expected) {
                assert!((form.of_logit(logit) - expected).abs() < 1e-12, "{form:?} of {logit}");
            }
        }
    }

    #[test]
    fn rewards_that_are_known_up_to_a_constant_get_the_sign_of_the_form() {
        let shifted = |form: RewardForm| {
            let mut rewards = [-1.0, 0.5, 2.0];
            form.shift(&mut rewards);
            rewards
        };
        assert_eq!(shifted(RewardForm::Bonus), [0.0, 1.5, 3.0]);
        assert_eq!(shifted(RewardForm::Penalty), [-3.0, -1.5, 0.0]);
        assert_eq!(shifted(RewardForm::Logit), [-1.0, 0.5, 2.0]);
    }
}
