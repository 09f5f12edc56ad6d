//! RND against PyTorch, its scaling, and a chain that only the curious walk to its end.

use std::collections::BTreeMap;

use burn::tensor::{Device, TensorData};

use super::*;
use crate::agents::testing::{is_the_same_for_any_threads, reports_failures};
use crate::nn::{Array, Arrays, StateDict};
use crate::testing::chain::{self, END};
use crate::testing::{Fixture, distance, expect_all_close, expect_close, expect_conforms, gradients_of};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["small", "deep"];
/// Errors relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients, twice as many roundings.
const GRADIENT: f64 = 1e-5;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 1e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 1e-3;

/// Both networks of a case with their first weights.
fn of_case(fixture: &Fixture, name: &str, device: &Device) -> Novelty {
    let case = fixture.case(name);
    let size = |key: &str| case[key].as_u64().unwrap() as usize;
    let sizes = |key: &str| {
        case[key].as_array().unwrap().iter().map(|dims| dims.as_u64().unwrap() as usize).collect::<Vec<_>>()
    };
    let config = RndConfig {
        feature_dim: size("feature_dim"),
        target_hidden_dims: sizes("target_hidden_dims"),
        predictor_hidden_dims: sizes("predictor_hidden_dims"),
        ..RndConfig::default()
    };
    let made = Novelty::new(&config, size("observation"), &mut Init::new(1, device));
    fixture.weights(&format!("{name}.initial"), device).load_into(made).unwrap()
}

#[test]
fn errors_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("rnd"), Device::flex().autodiff());
    for case in CASES {
        let novelty = of_case(&fixture, case, &device);
        let observations = fixture.step(&format!("{case}.observations"), 0, |x| x, &device);
        let errors = novelty.errors(observations);
        expect_close("errors", errors.clone(), fixture.array(&format!("{case}.first.errors")), FORWARD);
        // That the target has no gradients is part of it: theirs are of the predictor alone.
        let gradients = gradients_of("both", &novelty, &errors.mean().backward());
        let theirs = fixture.arrays(&format!("{case}.gradient"));
        let theirs = theirs.into_iter().map(|(name, array)| (format!("both.{name}"), array)).collect();
        expect_all_close(&gradients, &theirs, GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("rnd"), Device::flex().autodiff());
    for case in CASES {
        let mut novelty = of_case(&fixture, case, &device);
        let settings = OptimizerConfig { learning_rate: 1e-3, ..OptimizerConfig::default() };
        let mut optimizers = BTreeMap::from([("novelty", Optimizer::new(&settings))]);
        let mut losses = Vec::new();
        for number in 0..10 {
            let observations = fixture.step(&format!("{case}.observations"), number, |x| x, &device);
            let mut step = Step::for_test(number as u64, 1, &device, &mut optimizers);
            let loss = novelty.errors(observations).mean();
            step.minimize("novelty", &mut novelty, &loss);
            losses.push(loss.into_scalar::<f32>());
        }
        let away = distance(&losses, &fixture.array(&format!("{case}.losses")).data);
        assert!(away <= LOSSES, "losses of {case} are {away:e} away");
        let initial = fixture.arrays(&format!("{case}.initial"));
        let change = |to: &Arrays| -> Arrays {
            let minus = |(name, to): (&String, &Array)| {
                let data = to.data.iter().zip(&initial[name].data).map(|(to, from)| to - from).collect();
                (name.clone(), Array::new(to.shape.clone(), data))
            };
            to.iter().filter(|(name, _)| name.starts_with("predictor")).map(minus).collect()
        };
        let ours = StateDict::of(&novelty).to_arrays();
        expect_all_close(&change(&ours), &change(&fixture.arrays(&format!("{case}.final"))), CHANGE);
        assert!(initial.iter().all(|(name, array)| !name.starts_with("target") || ours[name] == *array));
    }
}

#[test]
fn the_error_falls_where_the_predictor_is_trained_and_stays_elsewhere() {
    let device = Device::flex().autodiff();
    let mut novelty = Novelty::new(&RndConfig::default(), 4, &mut Init::new(3, &device));
    let settings = OptimizerConfig::default();
    let mut optimizers = BTreeMap::from([("novelty", Optimizer::new(&settings))]);
    let one_hot = |states: [usize; 2]| {
        let values =
            states.iter().flat_map(|&state| (0..4).map(move |place| f32::from(u8::from(place == state))));
        Tensor::<2>::from_data(TensorData::new(values.collect::<Vec<f32>>(), [2, 4]), &device)
    };
    let error = |novelty: &Novelty, states| novelty.errors(one_hot(states)).mean().into_scalar::<f64>();
    let (seen_at_first, unseen_at_first) = (error(&novelty, [0, 1]), error(&novelty, [2, 3]));
    for number in 0..300 {
        let mut step = Step::for_test(number, 1, &device, &mut optimizers);
        let loss = novelty.errors(one_hot([0, 1])).mean();
        step.minimize("novelty", &mut novelty, &loss);
    }
    let (seen, unseen) = (error(&novelty, [0, 1]), error(&novelty, [2, 3]));
    assert!(seen < 0.01 * seen_at_first, "{seen_at_first} {seen}");
    assert!(unseen > 0.2 * unseen_at_first && unseen > 20.0 * seen, "{unseen_at_first} {unseen} {seen}");
}

#[test]
fn errors_are_divided_by_the_deviation_of_their_discounted_sums() {
    let errors = [1.0, 0.0, 2.0, 4.0, 1.0, 0.0];
    let mut returns = ErrorReturns::new(2);
    // Environment 0 has the sums 1, 0.5, 2.25, and environment 1 has 4, 3, 1.5.
    let sd = |sums: &[f64]| {
        let mean = sums.iter().sum::<f64>() / sums.len() as f64;
        (sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / sums.len() as f64).sqrt()
    };
    let scaled = returns.normalize(&errors, 0.5);
    let first = sd(&[1.0, 0.5, 2.25, 4.0, 3.0, 1.5]);
    assert!(scaled.iter().zip(&errors).all(|(scaled, error)| (scaled - error / first).abs() < 1e-12));
    // The sums continue: 1.125 + 1 and 0.75.
    let scaled = returns.normalize(&[1.0, 0.0], 0.5);
    let second = sd(&[1.0, 0.5, 2.25, 4.0, 3.0, 1.5, 2.125, 0.75]);
    assert!((scaled[0] - 1.0 / second).abs() < 1e-12 && scaled[1] == 0.0, "{scaled:?}");
    assert_eq!(ErrorReturns::new(1).normalize(&[0.0, 0.0], 0.5), [0.0, 0.0], "errors of zero give no bonus");
}

/// Settings with which the chain is walked in a few seconds.
const ON_THE_CHAIN: &str =
    "bonus_weight=0.1 feature_dim=16 target_hidden_dims=[32] predictor_hidden_dims=[32,32]";

#[test]
fn the_end_of_a_chain_is_reached_with_the_bonus_and_not_without() {
    let curious = chain::best_return::<Rnd>(ON_THE_CHAIN, 30);
    assert!(curious > 0.5, "with the bonus, the best mean return is {curious}");
    let plain = chain::best_return::<Rnd>("bonus_weight=0", 30);
    assert_eq!(plain, 0.0, "without the bonus, the {END} steps to the end are not made by chance");
}

/// A small agent in four environments.
const SMALL: &str = "rollout_steps=16 hidden_dims=[8] feature_dim=8";

#[test]
fn numbers_do_not_depend_on_the_number_of_threads() {
    for base in ["trpo", "ppo", "reinforce"] {
        is_the_same_for_any_threads::<Rnd>(&format!("{SMALL} base={base}"));
    }
}

#[test]
fn what_goes_wrong_in_an_environment_is_an_error() {
    reports_failures::<Rnd>(SMALL);
}

#[test]
fn it_conforms() {
    expect_conforms::<Rnd>(
        "hidden_dims=[8] rollout_steps=12 feature_dim=4 target_hidden_dims=[4] predictor_hidden_dims=[4] predictor_epochs=2",
        &[
            "feature_dim=0",
            "target_hidden_dims=[0]",
            "predictor_epochs=0",
            "error_discount=1.0",
            "bonus_weight=-1.0",
            "predictor_learning_rate=0.0",
        ],
    );
}
