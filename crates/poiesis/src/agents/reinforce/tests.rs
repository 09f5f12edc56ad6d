//! The policy gradient: that it points the right way, and what it learns.

use burn::tensor::{Device, Tensor};

use super::*;
use crate::agents::testing::{is_the_same_for_any_threads, one_row, reports_failures, solves_what_is_known};
use crate::optim::OptimizerKind;
use crate::testing::expect_conforms;

const SMALL: &str = "hidden_dims=[16] rollout_steps=32 train.batch_size=32 learning_rate=3e-2 value_epochs=2";

#[test]
fn it_solves_what_is_known() {
    solves_what_is_known::<Reinforce>(SMALL, 250);
}

#[test]
fn it_is_the_same_for_any_number_of_threads() {
    is_the_same_for_any_threads::<Reinforce>(SMALL);
}

#[test]
fn failures_of_environments_are_errors() {
    reports_failures::<Reinforce>(SMALL);
}

#[test]
fn an_action_becomes_more_probable_by_its_advantage() {
    let device = Device::flex().autodiff();
    let config =
        OptimizerConfig { kind: OptimizerKind::Sgd, learning_rate: 0.1, ..OptimizerConfig::default() };
    for (advantage, rises) in [(1.0, true), (-1.0, false)] {
        let agent =
            AgentConfig { hidden_dims: vec![4], normalize_observations: false, ..AgentConfig::default() };
        let (mut base, mut batch) = one_row(&agent, Learning::Reinforce { value_epochs: 0 }, &device);
        batch.advantages = Tensor::from_floats([advantage], &device);
        let log_prob = |base: &Base| {
            let policy = base.policy.fixed_distribution(batch.inputs.clone());
            policy.log_probs(batch.actions.clone().inner()).into_scalar::<f64>()
        };
        let before = log_prob(&base);
        let mut optimizers = Base::optimizers(&config).into_iter().collect();
        minimize(&mut base, batch.clone(), &mut Step::for_test(0, 0, &device, &mut optimizers));
        assert_eq!(log_prob(&base) > before, rises, "an advantage of {advantage}");
    }
}

#[test]
fn it_conforms() {
    expect_conforms::<Reinforce>(
        "hidden_dims=[8] rollout_steps=12 value_epochs=2",
        &["rollout_steps=0", "discount=-0.1", "entropy_coefficient=-1", "value_epochs=1001"],
    );
    expect_conforms::<Reinforce>("hidden_dims=[8] rollout_steps=12 baseline=none", &[]);
}
