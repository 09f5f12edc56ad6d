//! PPO against PyTorch: the loss, its gradients, and ten steps.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::agents::testing::task;
use crate::nn::StateDict;
use crate::testing::{Fixture, change_of, expect_all_close, expect_close, gradients_of};

/// Terms of the loss relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients, twice as many roundings.
const GRADIENT: f64 = 1e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 1e-3;

fn settings(fixture: &Fixture, case: &str) -> (AgentConfig, PpoSettings) {
    let config = &fixture.case(case)["config"];
    let agent = AgentConfig {
        hidden_dims: vec![5, 4],
        entropy_coefficient: config["entropy_coefficient"].as_f64().unwrap(),
        normalize_observations: false,
        ..AgentConfig::default()
    };
    let clip_value_loss = config["clip_value_loss"].as_bool().unwrap();
    (agent, PpoSettings { clip_value_loss, ..PpoSettings::default() })
}

fn base(fixture: &Fixture, case: &str, device: &Device) -> (Base, PpoSettings) {
    let (agent, ppo) = settings(fixture, case);
    let base =
        Base::of(&agent, Learning::Ppo(ppo.clone()), &task(fixture.case(case)), &mut Init::new(0, device));
    (fixture.weights(&format!("{case}.initial"), device).load_into(base).unwrap(), ppo)
}

fn batch(fixture: &Fixture, case: &str, step: usize, device: &Device) -> Minibatch {
    let matrix = |name: &str| fixture.step::<2>(&format!("{case}.{name}"), step, |x| x, device);
    let vector = |name: &str| fixture.step::<1>(&format!("{case}.{name}"), step, |x| x, device);
    Minibatch {
        inputs: matrix("inputs"),
        actions: matrix("actions"),
        log_probs: vector("log_probs"),
        advantages: vector("advantages"),
        returns: vector("returns"),
        values: vector("values"),
    }
}

#[test]
fn the_loss_and_its_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("ppo"), Device::flex().autodiff());
    for case in ["choices", "vectors"] {
        let (base, ppo) = base(&fixture, case, &device);
        let mut batch = batch(&fixture, case, 0, &device);
        batch.advantages = normalized(batch.advantages);
        let loss = ppo.loss(&base, batch);
        let gradients = gradients_of("", &base, &loss.objective.backward());
        let terms = [loss.objective, loss.policy, loss.value, loss.entropy, loss.kl, loss.clipped];
        let terms = terms.map(|term| term.into_scalar::<f32>()).to_vec();
        let terms = Tensor::<1>::from_data(TensorData::new(terms, [6]), &device);
        expect_close("the terms", terms, fixture.array(&format!("{case}.first.terms")), FORWARD);
        let gradients: BTreeMap<_, _> = gradients
            .into_iter()
            .map(|(name, array)| (name.trim_start_matches('.').to_owned(), array))
            .collect();
        expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("ppo"), Device::flex().autodiff());
    for case in ["choices", "vectors"] {
        let (mut base, ppo) = base(&fixture, case, &device);
        let config =
            OptimizerConfig { learning_rate: 3e-3, epsilon: 1e-5, clip: 0.5, ..OptimizerConfig::default() };
        let mut optimizers = BTreeMap::from_iter(Base::optimizers(&config));
        let mut objectives = Vec::new();
        for step in 0..10 {
            let batch = batch(&fixture, case, step, &device);
            let mut step = Step::for_test(step as u64, 0, &device, &mut optimizers);
            let loss = minimize(&mut base, &ppo, batch, &mut step);
            objectives.push(loss.objective.into_scalar::<f32>());
        }
        let objectives = Tensor::<1>::from_data(TensorData::new(objectives, [10]), &device);
        expect_close("objectives", objectives, fixture.array(&format!("{case}.objectives")), CHANGE);
        let initial = fixture.arrays(&format!("{case}.initial"));
        let ours = change_of(&initial, &StateDict::of(&base).to_arrays());
        let theirs = change_of(&initial, &fixture.arrays(&format!("{case}.final")));
        expect_all_close(&ours, &theirs, CHANGE);
    }
}
