//! TRPO: products with the Fisher matrix, the trust region, and what it learns.

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::agents::testing::{is_the_same_for_any_threads, reports_failures, solves_what_is_known, task_of};
use crate::data::{ActionShape, TaskShape};
use crate::rng;
use crate::testing::expect_conforms;

const SMALL: &str =
    "hidden_dims=[16] rollout_steps=32 train.batch_size=32 kl_limit=0.05 learning_rate=1e-2 value_epochs=3";

#[test]
fn it_solves_what_is_known() {
    solves_what_is_known::<Trpo>(SMALL, 80);
}

#[test]
fn it_is_the_same_for_any_number_of_threads() {
    is_the_same_for_any_threads::<Trpo>(&format!("{SMALL} fisher_fraction=0.5"));
}

#[test]
fn failures_of_environments_are_errors() {
    reports_failures::<Trpo>(SMALL);
}

/// A policy with weights far from where it begins, and observations.
fn policy(task: &TaskShape, device: &Device) -> (Policy, Tensor<2>) {
    let policy = Policy::new(task, &[7, 6], &mut Init::new(3, device));
    let count = flat_parameters(&policy).len();
    let values = rng::normal(&mut rng::generator(3, "test", 0), count + 30 * task.observation);
    let parameters: Vec<f64> = values[..count].iter().map(|&x| 0.5 * f64::from(x)).collect();
    let shape = [30, task.observation];
    let inputs = Tensor::from_data(TensorData::new(values[count..].to_vec(), shape), device);
    (with_flat_parameters(policy, &parameters), inputs)
}

#[test]
fn products_are_the_differences_of_the_divergences_gradients() {
    let device = Device::flex().autodiff();
    for actions in [ActionShape::Discrete { choices: 4 }, ActionShape::Continuous { dims: 3 }] {
        let (policy, inputs) = policy(&task_of(actions, 5), &device);
        let parameters = flat_parameters(&policy);
        let old = match policy.fixed_distribution(inputs.clone()) {
            crate::agents::ActionDistribution::Categorical { logits } => {
                let logits = Tensor::from_data(logits.into_data(), &device);
                crate::agents::ActionDistribution::Categorical { logits }
            }
            crate::agents::ActionDistribution::Gaussian { mean, log_std } => {
                let mean = Tensor::from_data(mean.into_data(), &device);
                let log_std = Tensor::from_data(log_std.into_data(), &device);
                crate::agents::ActionDistribution::Gaussian { mean, log_std }
            }
        };
        let v: Vec<f64> = rng::normal(&mut rng::generator(4, "test", 0), parameters.len())
            .into_iter()
            .map(f64::from)
            .collect();
        // The gradient at a small distance along v; at the policy itself it is zero.
        let gradient = |distance: f64| {
            let moved: Vec<f64> = parameters.iter().zip(&v).map(|(p, v)| p + distance * v).collect();
            let moved = with_flat_parameters(policy.clone(), &moved);
            let kl = moved.distribution_of_inputs(inputs.clone()).kl(&old).mean();
            flat_gradient(&moved, &kl.backward())
        };
        const DISTANCE: f64 = 2e-3;
        let (ahead, behind) = (gradient(DISTANCE), gradient(-DISTANCE));
        let differences: Vec<f64> =
            ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * DISTANCE)).collect();
        let products = Fisher::new(&policy, inputs).product(&v);
        let length = differences.iter().map(|d| d * d).sum::<f64>().sqrt();
        let away = products.iter().zip(&differences).map(|(p, d)| (p - d).powi(2)).sum::<f64>().sqrt();
        assert!(away < 1e-2 * length, "{actions:?}: {away} of {length}");
    }
}

#[test]
fn the_fisher_matrix_is_symmetric_and_positive() {
    let device = Device::flex().autodiff();
    let (policy, inputs) = policy(&task_of(ActionShape::Continuous { dims: 2 }, 4), &device);
    let fisher = Fisher::new(&policy, inputs);
    let draw = |index| {
        let values = rng::normal(&mut rng::generator(5, "test", index), flat_parameters(&policy).len());
        values.into_iter().map(f64::from).collect::<Vec<f64>>()
    };
    let (u, v) = (draw(0), draw(1));
    let (one, other) = (dot(&u, &fisher.product(&v)), dot(&v, &fisher.product(&u)));
    assert!((one - other).abs() < 1e-4 * dot(&u, &fisher.product(&u)), "{one} {other}");
    assert!(dot(&v, &fisher.product(&v)) > 0.0);
}

#[test]
fn a_step_that_gains_nothing_is_not_taken() {
    let device = Device::flex().autodiff();
    let (policy, _) = policy(&task_of(ActionShape::Discrete { choices: 2 }, 3), &device);
    let settings = TrpoSettings::default();
    let toward = Move { step: vec![0.01; flat_parameters(&policy).len()], promised: 1.0 };
    let search = |surrogate: f64, kl: f64| {
        settings.search(&policy, &toward, 0.0, |_| Measured { surrogate, kl }).is_some()
    };
    assert!(search(0.5, 0.01), "enough gained, and near enough");
    assert!(!search(-0.5, 0.0), "worse");
    assert!(!search(0.5, 0.021), "too far");
    assert!(search(1e-3, 0.0), "once it is short, little is promised");
    let fisher = Fisher::new(&policy, Tensor::ones([2, 3], &device));
    assert!(settings.propose(&vec![0.0; toward.step.len()], &fisher).is_none(), "no gradient");
}

#[test]
fn it_conforms() {
    expect_conforms::<Trpo>(
        "hidden_dims=[8] rollout_steps=12 value_epochs=2 fisher_fraction=0.5",
        &["rollout_steps=0", "kl_limit=0", "cg_iterations=0", "fisher_fraction=0", "cg_damping=-1"],
    );
    expect_conforms::<Trpo>("hidden_dims=[8] rollout_steps=12 baseline=linear", &[]);
}
