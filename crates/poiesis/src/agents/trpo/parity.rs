//! An update of TRPO against PyTorch: the gradient, a product with the Fisher matrix by double backward, the direction and the step.

use burn::tensor::{Device, Tensor};

use super::*;
use crate::agents::HiddenActivation;
use crate::agents::policy::PolicyShape;
use crate::agents::testing::task;
use crate::nn::StateDict;
use crate::testing::{Fixture, change_of, distance, expect_all_close};

const CASES: [&str; 3] = ["choices", "vectors", "relu"];
/// The gradient and products, f32 here against f64 there.
const PRODUCT: f64 = 1e-5;
/// The direction after five products.
const DIRECTION: f64 = 1e-3;
/// What the update changed, relative to the largest change of an array.
const CHANGE: f64 = 2e-3;

fn policy(fixture: &Fixture, case: &str, device: &Device) -> Policy {
    let described = fixture.case(case);
    let relu = described["activation"] == "relu";
    let shape = PolicyShape {
        hidden_dims: &[6, 5],
        activation: if relu { HiddenActivation::Relu } else { HiddenActivation::Tanh },
        initial_log_std: 0.0,
        normalize: false,
    };
    let policy = Policy::of_shape(&task(described), shape, &mut Init::new(0, device));
    fixture.weights(&format!("{case}.initial"), device).load_into(policy).unwrap()
}

fn batch(fixture: &Fixture, case: &str, device: &Device) -> Minibatch {
    // The arrays as they are, without a first axis of steps.
    let array = |name: &str| fixture.array(&format!("{case}.{name}"));
    let matrix = |name: &str| {
        let array = array(name);
        let data = burn::tensor::TensorData::new(array.data.clone(), array.shape.clone());
        Tensor::<2>::from_data(data, device)
    };
    let vector = |name: &str| Tensor::<1>::from_floats(array(name).data.as_slice(), device);
    let unused = vector("advantages");
    Minibatch {
        inputs: matrix("inputs"),
        actions: matrix("actions"),
        log_probs: vector("log_probs"),
        advantages: vector("advantages"),
        returns: unused.clone(),
        values: unused,
    }
}

fn numbers(fixture: &Fixture, name: &str) -> Vec<f64> {
    fixture.array(name).data.iter().map(|&x| f64::from(x)).collect()
}

fn expect_near(name: &str, ours: &[f64], theirs: &[f64], tolerance: f64) {
    let [ours, theirs] = [ours, theirs].map(|all| all.iter().map(|&x| x as f32).collect::<Vec<f32>>());
    let away = distance(&ours, &theirs);
    assert!(away <= tolerance, "{name} is {away:e} away, {tolerance:e} is allowed");
}

#[test]
fn gradients_and_products_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("trpo"), Device::flex().autodiff());
    for case in CASES {
        let (policy, batch) = (policy(&fixture, case, &device), batch(&fixture, case, &device));
        let theirs = |name: &str| numbers(&fixture, &format!("{case}.{name}"));
        let gradient = flat_gradient(&policy, &surrogate(&policy, &batch, 0.0).backward());
        expect_near(&format!("{case}: the gradient"), &gradient, &theirs("gradient"), PRODUCT);
        let fisher = Fisher::new(&policy, batch.inputs.clone());
        let product = fisher.product(&theirs("vector"));
        expect_near(&format!("{case}: the product"), &product, &theirs("product"), PRODUCT);
    }
}

#[test]
fn an_update_is_that_of_pytorch() {
    let (fixture, device) = (Fixture::read("trpo"), Device::flex().autodiff());
    for case in CASES {
        let (policy, batch) = (policy(&fixture, case, &device), batch(&fixture, case, &device));
        let theirs = |name: &str| numbers(&fixture, &format!("{case}.{name}"));
        let settings = TrpoSettings { cg_iterations: 5, ..TrpoSettings::default() };
        let gradient = flat_gradient(&policy, &surrogate(&policy, &batch, 0.0).backward());
        let toward = settings.propose(&gradient, &Fisher::new(&policy, batch.inputs.clone())).unwrap();
        expect_near(&format!("{case}: the step"), &toward.step, &theirs("step"), DIRECTION);
        let comparison = Comparison::new(&policy, &batch, 0.0);
        let before = comparison.measure(&policy);
        assert_eq!(before.kl, 0.0, "the policy is where it was");
        let search = settings.search(&policy, &toward, before.surrogate, |policy| comparison.measure(policy));
        let (moved, measured) = search.unwrap();
        expect_near(case, &[measured.surrogate, measured.kl], &theirs("measured"), DIRECTION);
        let initial = fixture.arrays(&format!("{case}.initial"));
        let ours = change_of(&initial, &StateDict::of(&moved).to_arrays());
        expect_all_close(&ours, &change_of(&initial, &fixture.arrays(&format!("{case}.final"))), CHANGE);
    }
}
