//! The policy gradient against PyTorch: its gradients, and ten steps.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::agents::BaselineKind;
use crate::agents::testing::task;
use crate::nn::StateDict;
use crate::testing::{Fixture, change_of, expect_all_close, expect_close, gradients_of};

/// Gradients, f32 here against f64 there.
const GRADIENT: f64 = 1e-5;
/// Losses and what ten steps changed, relative to the largest.
const CHANGE: f64 = 1e-3;

fn base(fixture: &Fixture, case: &str, device: &Device) -> Base {
    let agent = AgentConfig {
        hidden_dims: vec![5],
        entropy_coefficient: fixture.case(case)["config"]["entropy_coefficient"].as_f64().unwrap(),
        normalize_observations: false,
        baseline: BaselineKind::None,
        ..AgentConfig::default()
    };
    let learning = Learning::Reinforce { value_epochs: 0 };
    let base = Base::of(&agent, learning, &task(fixture.case(case)), &mut Init::new(0, device));
    fixture.weights(&format!("{case}.initial"), device).load_into(base).unwrap()
}

fn batch(fixture: &Fixture, case: &str, step: usize, device: &Device) -> Minibatch {
    let advantages: Tensor<1> = fixture.step(&format!("{case}.advantages"), step, |x| x, device);
    let unused = advantages.clone();
    Minibatch {
        inputs: fixture.step(&format!("{case}.inputs"), step, |x| x, device),
        actions: fixture.step(&format!("{case}.actions"), step, |x| x, device),
        log_probs: unused.clone(),
        returns: unused.clone(),
        values: unused,
        advantages,
    }
}

#[test]
fn the_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("reinforce"), Device::flex().autodiff());
    for case in ["choices", "vectors"] {
        let base = base(&fixture, case, &device);
        let mut batch = batch(&fixture, case, 0, &device);
        batch.advantages = normalized(batch.advantages);
        let (loss, _) = loss(&base.policy, &batch, base.agent().entropy_coefficient);
        let gradients = gradients_of("", &base, &loss.backward());
        let gradients: BTreeMap<_, _> = gradients
            .into_iter()
            .map(|(name, array)| (name.trim_start_matches('.').to_owned(), array))
            .collect();
        expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("reinforce"), Device::flex().autodiff());
    for case in ["choices", "vectors"] {
        let mut base = base(&fixture, case, &device);
        let config = OptimizerConfig { learning_rate: 3e-3, ..OptimizerConfig::default() };
        let mut optimizers = BTreeMap::from_iter(Base::optimizers(&config));
        let mut losses = Vec::new();
        for step in 0..10 {
            let batch = batch(&fixture, case, step, &device);
            let mut step = Step::for_test(step as u64, 0, &device, &mut optimizers);
            losses.push(minimize(&mut base, batch, &mut step).0 as f32);
        }
        let losses = Tensor::<1>::from_data(TensorData::new(losses, [10]), &device);
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), CHANGE);
        let initial = fixture.arrays(&format!("{case}.initial"));
        let ours = change_of(&initial, &StateDict::of(&base).to_arrays());
        let theirs = change_of(&initial, &fixture.arrays(&format!("{case}.final")));
        expect_all_close(&ours, &theirs, CHANGE);
    }
}
