//! PPO: what its loss does, and what it learns.

use burn::tensor::{Device, Tensor};

use super::*;
use crate::agents::testing::{is_the_same_for_any_threads, one_row, reports_failures, solves_what_is_known};
use crate::testing::expect_conforms;

const SMALL: &str = "hidden_dims=[16] rollout_steps=32 train.batch_size=32 learning_rate=4e-3 epochs=6";

#[test]
fn it_solves_what_is_known() {
    solves_what_is_known::<Ppo>(SMALL, 60);
}

#[test]
fn it_is_the_same_for_any_number_of_threads() {
    is_the_same_for_any_threads::<Ppo>(&format!("{SMALL} normalize_rewards=true"));
}

#[test]
fn failures_of_environments_are_errors() {
    reports_failures::<Ppo>(SMALL);
}

/// The gradient of the objective by the log-probability of one action, for a ratio and an advantage.
fn pull(log_ratio: f32, advantage: f32) -> f64 {
    let device = Device::flex().autodiff();
    let agent = AgentConfig { hidden_dims: vec![4], normalize_observations: false, ..AgentConfig::default() };
    let settings = PpoSettings { value_coefficient: 0.0, ..PpoSettings::default() };
    let (base, mut batch) = one_row(&agent, Learning::Ppo(settings.clone()), &device);
    let now = base.policy.distribution_of_inputs(batch.inputs.clone()).log_probs(batch.actions.clone());
    batch.log_probs = now.detach() - log_ratio;
    batch.advantages = Tensor::from_floats([advantage], &device);
    let loss = settings.loss(&base, batch);
    let gradients = loss.objective.backward();
    crate::agents::flat_gradient(&base.policy, &gradients).iter().map(|g| g * g).sum::<f64>().sqrt()
}

#[test]
fn nothing_is_gained_outside_of_the_clip_range() {
    assert!(pull(0.0, 1.0) > 1e-3 && pull(0.0, -1.0) > 1e-3, "inside");
    assert_eq!(pull(0.5, 1.0), 0.0, "a better action that is more probable already");
    assert_eq!(pull(-0.5, -1.0), 0.0, "a worse action that is less probable already");
    assert!(pull(-0.5, 1.0) > 1e-3 && pull(0.5, -1.0) > 1e-3, "what went the wrong way is pulled back");
}

#[test]
fn it_conforms() {
    expect_conforms::<Ppo>(
        "hidden_dims=[8] rollout_steps=12 epochs=2 normalize_rewards=true",
        &[
            "rollout_steps=0",
            "epochs=0",
            "discount=1.5",
            "gae_lambda=-1",
            "clip_range=0",
            "hidden_dims=[8,0]",
        ],
    );
    expect_conforms::<Ppo>(
        "hidden_dims=[8] rollout_steps=12 epochs=2 baseline=linear normalize_observations=false",
        &[],
    );
}
