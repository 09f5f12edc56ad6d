//! The Bayesian network of VIME against PyTorch and closed forms, and a chain that only the curious walk to its end.

use std::collections::BTreeMap;

use burn::tensor::{Device, TensorData};

use super::*;
use crate::agents::testing::{is_the_same_for_any_threads, reports_failures, rollout};
use crate::agents::trpo::Trpo;
use crate::model::{Learner, Session as _};
use crate::nn::{Array, Arrays, StateDict};
use crate::rng;
use crate::testing::chain::{self, END};
use crate::testing::{Fixture, distance, expect_all_close, expect_close, expect_conforms, gradients_of};

/// The cases of `parity.py`.
const CASES: [&str; 3] = ["linear", "one-layer", "two-layers"];
/// λ and the weight of the KL in `parity.py`.
const SCRIPT: (f64, f64) = (0.01, 0.2);
/// Predictions and bounds relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients, twice as many roundings.
const GRADIENT: f64 = 1e-5;
/// Gains, squares of gradients.
const GAIN: f64 = 2e-5;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 1e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 1e-3;

fn number(case: &serde_json::Value, key: &str) -> f64 {
    case[key].as_f64().unwrap()
}

fn size(case: &serde_json::Value, key: &str) -> usize {
    case[key].as_u64().unwrap() as usize
}

/// A network of these sizes with these weights.
fn network(
    inputs: usize,
    hidden_dims: &[usize],
    outputs: usize,
    scales: Scales,
    weights: &StateDict,
    device: &Device,
) -> BayesianNetwork {
    let made = BayesianNetwork::new(inputs, hidden_dims, outputs, scales, &mut Init::new(1, device));
    weights.load_into(made).unwrap()
}

/// The network of a case with its first weights.
fn of_case(fixture: &Fixture, name: &str, device: &Device) -> BayesianNetwork {
    let case = fixture.case(name);
    let hidden: Vec<usize> =
        case["hidden_dims"].as_array().unwrap().iter().map(|dims| dims.as_u64().unwrap() as usize).collect();
    let scales = Scales {
        prior_sd: number(case, "prior_sd"),
        likelihood_sd: number(case, "likelihood_sd"),
        samples: size(case, "samples"),
    };
    let weights = fixture.weights(&format!("{name}.initial"), device);
    network(size(case, "inputs"), &hidden, size(case, "outputs"), scales, &weights, device)
}

/// Inputs, targets and noise of a step.
fn of_step(
    fixture: &Fixture,
    name: &str,
    step: usize,
    device: &Device,
) -> (Tensor<2>, Tensor<2>, Vec<Tensor<2>>) {
    let read = |what: &str| fixture.step(&format!("{name}.{what}"), step, |x| x, device);
    let layers = fixture.case(name)["hidden_dims"].as_array().unwrap().len();
    let names = (0..layers).map(|layer| format!("noise.hidden.{layer}")).chain(["noise.output".into()]);
    (read("inputs"), read("targets"), names.map(|name| read(&name)).collect())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// ρ where σ is `sd`.
fn rho(sd: f64) -> f32 {
    sd.exp_m1().ln() as f32
}

#[test]
fn predictions_bounds_gradients_and_gains_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vime"), Device::flex().autodiff());
    for case in CASES {
        let network = of_case(&fixture, case, &device);
        let (inputs, targets, noise) = of_step(&fixture, case, 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
        let predicted = network.predictions(inputs.clone(), &noise);
        expect_close("predictions", predicted, theirs("predicted"), FORWARD);
        let bound = network.bound(inputs.clone(), targets.clone(), &noise);
        let terms = Tensor::cat(vec![bound.log_likelihood.clone(), bound.kl.clone()], 0);
        expect_close("bound", terms, theirs("bound"), FORWARD);
        let gradients = gradients_of("net", &network, &bound.loss(SCRIPT.1).backward());
        let theirs_by_name = fixture.arrays(&format!("{case}.gradient"));
        let theirs_by_name = theirs_by_name.into_iter().map(|(name, array)| (format!("net.{name}"), array));
        expect_all_close(&gradients, &theirs_by_name.collect(), GRADIENT);
        let gains = network.clone().no_grad().information_gains(inputs, targets, &noise, SCRIPT.0);
        expect_close("gains", gains, theirs("gains"), GAIN);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vime"), Device::flex().autodiff());
    for case in CASES {
        let mut network = of_case(&fixture, case, &device);
        let settings = OptimizerConfig { learning_rate: 1e-2, ..OptimizerConfig::default() };
        let mut optimizers = BTreeMap::from([("dynamics", Optimizer::new(&settings))]);
        let mut losses = Vec::new();
        for number in 0..10 {
            let (inputs, targets, noise) = of_step(&fixture, case, number, &device);
            let mut step = Step::for_test(number as u64, 1, &device, &mut optimizers);
            let loss = network.bound(inputs, targets, &noise).loss(SCRIPT.1);
            step.minimize("dynamics", &mut network, &loss);
            losses.push(loss.into_scalar::<f32>());
        }
        let theirs = fixture.array(&format!("{case}.losses"));
        let away = distance(&losses, &theirs.data);
        assert!(away <= LOSSES, "losses of {case} are {away:e} away");
        let change = |to: &Arrays| -> Arrays {
            let from = fixture.arrays(&format!("{case}.initial"));
            let minus = |(name, to): (&String, &Array)| {
                let data = to.data.iter().zip(&from[name].data).map(|(to, from)| to - from).collect();
                (name.clone(), Array::new(to.shape.clone(), data))
            };
            to.iter().map(minus).collect()
        };
        let ours = StateDict::of(&network).to_arrays();
        expect_all_close(&change(&ours), &change(&fixture.arrays(&format!("{case}.final"))), CHANGE);
    }
}

/// Without hidden layers the model is linear and normal. The noise ±1 has the mean and the variance of N(0, 1), which is all that the
/// gradients depend on, so they are exact.
#[test]
fn the_gain_of_a_linear_model_is_the_divergence_of_the_exact_posterior() {
    let device = Device::flex();
    let (means, sds, likelihood_sd) = ([0.4, -0.7, 0.2], [0.5, 0.3, 0.6], 20.0);
    let (x, y) = ([1.5, -0.5, 1.0], 9.0);
    let scales = Scales { prior_sd: 0.5, likelihood_sd, samples: 2 };
    let array = |shape: &[usize], numbers: &[f64]| {
        Array::new(shape.to_vec(), numbers.iter().map(|&number| number as f32).collect())
    };
    let rhos = sds.map(|sd| f64::from(rho(sd)));
    let weights = Arrays::from([
        ("output.mean".into(), array(&[2, 1], &means[..2])),
        ("output.rho".into(), array(&[2, 1], &rhos[..2])),
        ("output.bias_mean".into(), array(&[1], &means[2..])),
        ("output.bias_rho".into(), array(&[1], &rhos[2..])),
    ]);
    let network = network(2, &[], 1, scales, &StateDict::from_arrays(weights, &device), &device);
    let noise = [tensor(vec![1.0, -1.0], [2, 1], &device)];
    let inputs = tensor(vec![x[0] as f32, x[1] as f32], [1, 2], &device);
    let gain = network.information_gains(inputs, tensor(vec![y as f32], [1, 1], &device), &noise, 1.0);
    let gain = gain.into_scalar::<f64>();

    let noise_var: f64 = likelihood_sd * likelihood_sd;
    let error: f64 = y - means.iter().zip(&x).map(|(mean, x)| mean * x).sum::<f64>();
    // λ² Σ (σ² g_μ² + ½ σ² g_σ²) with g_μ = −e x / s² and g_σ = σ x² / s².
    let stated: f64 = sds
        .iter()
        .zip(&x)
        .map(|(sd, x)| (sd * error * x / noise_var).powi(2) + 0.5 * (sd * x / noise_var.sqrt()).powi(4))
        .sum();
    assert!((gain / stated - 1.0).abs() < 1e-5, "{gain:e} {stated:e}");

    // The best factored normal after seeing y: its means are those of the exact posterior, and its precisions the diagonal of the exact
    // one. For a small step the gain, halved, is the divergence to it.
    let predicted_var = noise_var + sds.iter().zip(&x).map(|(sd, x)| (sd * x).powi(2)).sum::<f64>();
    let divergence: f64 = sds
        .iter()
        .zip(&x)
        .map(|(sd, x)| {
            let moved = sd * sd * x * error / predicted_var;
            let var = 1.0 / (1.0 / (sd * sd) + x * x / noise_var);
            0.5 * ((var + moved * moved) / (sd * sd) - 1.0 - (var / (sd * sd)).ln())
        })
        .sum();
    assert!((0.5 * gain / divergence - 1.0).abs() < 0.02, "{:e} {divergence:e}", 0.5 * gain);
}

#[test]
fn gains_are_those_of_automatic_differentiation_row_by_row() {
    let device = Device::flex().autodiff();
    let scales = Scales { prior_sd: 0.7, likelihood_sd: 2.0, samples: 3 };
    let network = BayesianNetwork::new(3, &[6, 5], 2, scales, &mut Init::new(4, &device));
    let draw = |index, shape: [usize; 2]| {
        let noise = rng::normal(&mut rng::generator(5, "test", index), shape.iter().product());
        tensor::<2>(noise, shape, &device)
    };
    let (inputs, targets) = (draw(0, [4, 3]), draw(1, [4, 2]));
    let mut index = 1;
    let noise = network.draw_noise(4, &mut |shape| {
        index += 1;
        draw(index, shape)
    });
    let ours = network.clone().no_grad().information_gains(inputs.clone(), targets.clone(), &noise, 0.01);
    let ours = numbers(ours);
    let arrays = StateDict::of(&network).to_arrays();
    for (row, &ours) in ours.iter().enumerate() {
        let of_row = |x: &Tensor<2>, rows: usize| x.clone().narrow(0, row * rows, rows);
        let noise: Vec<Tensor<2>> = noise.iter().map(|noise| of_row(noise, scales.samples)).collect();
        let loss = network.bound(of_row(&inputs, 1), of_row(&targets, 1), &noise).log_likelihood.neg();
        let gradients = gradients_of("net", &network, &loss.backward());
        assert_eq!(gradients.len(), arrays.len());
        let mut expected = 0.0;
        for (name, gradient) in &gradients {
            let name = name.trim_start_matches("net.");
            let rhos =
                &arrays[&if name.ends_with("rho") { name.into() } else { name.replace("mean", "rho") }];
            for (gradient, rho) in gradient.data.iter().zip(&rhos.data) {
                let (gradient, exp) = (f64::from(*gradient), f64::from(*rho).exp());
                let var = exp.ln_1p().powi(2);
                let hessian = if name.ends_with("rho") { 2.0 * exp * exp / (1.0 + exp).powi(2) } else { 1.0 };
                expected += 1e-4 * gradient * gradient * var / hessian;
            }
        }
        assert!((f64::from(ours) / expected - 1.0).abs() < GAIN, "row {row}: {ours:e} {expected:e}");
    }
}

#[test]
fn the_kl_is_that_of_factored_normals_and_so_are_its_gradients() {
    let device = Device::flex().autodiff();
    let prior_sd: f64 = 0.5;
    let kl = |mean: f64, rho: f64| {
        let sd = rho.exp().ln_1p();
        (prior_sd / sd).ln() + (sd * sd + mean * mean) / (2.0 * prior_sd * prior_sd) - 0.5
    };
    let layer = BayesianLinear::new(3, 2, prior_sd, &mut Init::new(2, &device));
    let arrays = StateDict::of(&layer).to_arrays();
    let mut shifted = arrays.clone();
    for name in ["rho", "bias_rho"] {
        let rhos = shifted.get_mut(name).unwrap().data.iter_mut();
        rhos.enumerate().for_each(|(place, rho)| *rho += 0.2 * place as f32);
    }
    let layer = StateDict::from_arrays(shifted.clone(), &device).load_into(layer).unwrap();
    let pairs = |mean: &str, rho: &str| -> Vec<(f64, f64)> {
        let all = shifted[mean].data.iter().zip(&shifted[rho].data);
        all.map(|(&mean, &rho)| (f64::from(mean), f64::from(rho))).collect()
    };
    let (of_weights, of_biases) = (pairs("mean", "rho"), pairs("bias_mean", "bias_rho"));
    let expected: f64 = of_weights.iter().chain(&of_biases).map(|&(mean, rho)| kl(mean, rho)).sum();
    let ours = layer.kl(prior_sd);
    assert!((ours.clone().into_scalar::<f64>() / expected - 1.0).abs() < 1e-5);

    let gradients = gradients_of("layer", &layer, &ours.backward());
    let step = 1e-5;
    for (name, of) in [("", &of_weights), ("bias_", &of_biases)] {
        for (place, &(mean, rho)) in of.iter().enumerate() {
            let by_mean = (kl(mean + step, rho) - kl(mean - step, rho)) / (2.0 * step);
            let by_rho = (kl(mean, rho + step) - kl(mean, rho - step)) / (2.0 * step);
            for (kind, finite) in [("mean", by_mean), ("rho", by_rho)] {
                let ours = f64::from(gradients[&format!("layer.{name}{kind}")].data[place]);
                assert!(
                    (ours - finite).abs() < 1e-4 * finite.abs().max(1.0),
                    "{name}{kind}: {ours} {finite}"
                );
            }
        }
    }
}

#[test]
fn the_posterior_begins_with_the_deviation_of_the_prior() {
    let device = Device::flex();
    let layer = BayesianLinear::new(2, 2, 0.5, &mut Init::new(2, &device));
    let mut arrays = StateDict::of(&layer).to_arrays();
    assert!(["rho", "bias_rho"].iter().all(|name| arrays[*name].data.iter().all(|&found| found == rho(0.5))));
    // With the means of the prior too it is the prior.
    arrays.iter_mut().filter(|(name, _)| name.ends_with("mean")).for_each(|(_, array)| array.data.fill(0.0));
    let prior = StateDict::from_arrays(arrays, &device).load_into(layer).unwrap();
    assert!(prior.kl(0.5).into_scalar::<f64>().abs() < 1e-5);
}

/// Outputs drawn from their own moments are distributed like outputs of drawn weights.
#[test]
fn local_reparameterisation_has_the_mean_and_the_deviation_of_drawn_weights() {
    const DRAWS: usize = 40_000;
    let device = Device::flex();
    let layer = BayesianLinear::new(3, 2, 0.5, &mut Init::new(7, &device));
    let arrays = StateDict::of(&layer).to_arrays();
    let x = [0.8_f32, -1.7, 0.3];
    let (mean, deviation) = layer.moments(tensor(x.to_vec(), [1, 3], &device));
    let (mean, deviation) = (numbers(mean), numbers(deviation));
    let mut generator = rng::generator(8, "test", 0);
    for output in 0..2 {
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let noise = rng::normal(&mut generator, 4);
            let mut drawn = arrays["bias_mean"].data[output] + 0.5 * noise[3];
            for input in 0..3 {
                drawn += x[input] * (arrays["mean"].data[input * 2 + output] + 0.5 * noise[input]);
            }
            sum += f64::from(drawn);
            squares += f64::from(drawn).powi(2);
        }
        let of_draws = sum / DRAWS as f64;
        let sd_of_draws = (squares / DRAWS as f64 - of_draws * of_draws).sqrt();
        // Four standard errors.
        let allowed = 4.0 * sd_of_draws / (DRAWS as f64).sqrt();
        assert!((of_draws - f64::from(mean[output])).abs() < allowed, "{of_draws} {}", mean[output]);
        assert!((sd_of_draws - f64::from(deviation[output])).abs() < allowed, "{sd_of_draws}");
    }
}

#[test]
fn samples_of_predictions_have_the_moments_of_the_layer() {
    const SAMPLES: usize = 20_000;
    let device = Device::flex();
    let scales = Scales { prior_sd: 0.5, likelihood_sd: 5.0, samples: SAMPLES };
    let network = BayesianNetwork::new(2, &[], 1, scales, &mut Init::new(3, &device));
    let inputs = tensor(vec![1.0, -2.0, 0.5, 0.0], [2, 2], &device);
    let noise = network.draw_noise(2, &mut |shape| {
        tensor(rng::normal(&mut rng::generator(1, "test", 0), shape.iter().product()), shape, &device)
    });
    let drawn = numbers(network.predictions(inputs, &noise));
    let arrays = StateDict::of(&network).to_arrays();
    let (weights, bias) = (&arrays["output.mean"].data, arrays["output.bias_mean"].data[0]);
    for (row, x) in [[1.0_f32, -2.0], [0.5, 0.0]].iter().enumerate() {
        let of_row = &drawn[row * SAMPLES..(row + 1) * SAMPLES];
        let mean = of_row.iter().map(|&y| f64::from(y)).sum::<f64>() / SAMPLES as f64;
        let var = of_row.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>() / SAMPLES as f64;
        let (expected, var_expected) =
            (x[0] * weights[0] + x[1] * weights[1] + bias, 0.25 * (x[0] * x[0] + x[1] * x[1] + 1.0));
        let allowed = 4.0 * f64::from(var_expected.sqrt()) / (SAMPLES as f64).sqrt();
        assert!((mean - f64::from(expected)).abs() < allowed, "{mean} {expected}");
        assert!((var / f64::from(var_expected) - 1.0).abs() < 0.05, "{var} {var_expected}");
    }
}

/// Transitions that are learned become less informative, and those that were never seen stay more so.
#[test]
fn the_gain_falls_as_transitions_are_seen_and_is_higher_for_unseen_ones() {
    let device = Device::flex().autodiff();
    let scales = Scales { prior_sd: 0.5, likelihood_sd: 1.0, samples: 10 };
    let mut network = BayesianNetwork::new(4, &[16], 4, scales, &mut Init::new(6, &device));
    let settings = OptimizerConfig { learning_rate: 1e-2, ..OptimizerConfig::default() };
    let mut optimizers = BTreeMap::from([("dynamics", Optimizer::new(&settings))]);
    // State k of four leads to state k + 1, and only 0 and 1 are ever seen.
    let one_hot = |states: &[usize]| {
        let values =
            states.iter().flat_map(|&state| (0..4).map(move |place| f32::from(u8::from(place == state))));
        tensor::<2>(values.collect(), [states.len(), 4], &device)
    };
    let gains = |network: &BayesianNetwork, states: &[usize]| {
        let next: Vec<usize> = states.iter().map(|state| (state + 1) % 4).collect();
        let mut stream = 0;
        let noise = network.draw_noise(states.len(), &mut |shape| {
            stream += 1;
            let noise = rng::normal(&mut rng::generator(9, "test", stream), shape.iter().product());
            tensor(noise, shape, &device)
        });
        let frozen = network.clone().no_grad();
        let gains = numbers(frozen.information_gains(one_hot(states), one_hot(&next), &noise, 1.0));
        gains.iter().sum::<f32>() / gains.len() as f32
    };
    let (seen, unseen) = ([0, 1].repeat(50), [2, 3].repeat(50));
    let at_first = gains(&network, &seen);
    let mut after = Vec::new();
    for number in 0..600 {
        let mut step = Step::for_test(number, 1, &device, &mut optimizers);
        let mut draw = step.draws("test", normal);
        let noise = network.draw_noise(10, &mut draw);
        let bound = network.bound(one_hot(&seen[..10]), one_hot(&[1, 2].repeat(5)), &noise);
        step.minimize("dynamics", &mut network, &bound.loss(0.2));
        if number % 200 == 199 {
            after.push(gains(&network, &seen));
        }
    }
    assert!(after[0] < 0.5 * at_first && after[2] < 0.7 * after[0], "{at_first} {after:?}");
    let of_unseen = gains(&network, &unseen);
    assert!(of_unseen > 2.0 * after[2], "unseen {of_unseen}, seen {}", after[2]);
}

/// Settings with which the chain is walked in a few seconds.
const ON_THE_CHAIN: &str = "bonus_weight=0.01 dynamics_updates=100 replay_start=100";

#[test]
fn the_end_of_a_chain_is_reached_with_the_bonus_and_not_without() {
    let curious = chain::best_return::<Vime>(ON_THE_CHAIN, 30);
    assert!(curious > 0.5, "with the bonus, the best mean return is {curious}");
    let plain = chain::best_return::<Vime>("bonus_weight=0", 30);
    assert_eq!(plain, 0.0, "without the bonus, the {END} steps to the end are not made by chance");
}

fn three_iterations<M: Model>(settings: &str) -> Learner<M> {
    let mut learner = chain::on_the_chain::<M>(&format!("{} {settings}", chain::SETTINGS), 1);
    (0..3).for_each(|number| drop(learner.step(number, 1.0).unwrap()));
    learner
}

#[test]
fn without_a_bonus_it_is_its_learner() {
    let (plain, trpo) = (three_iterations::<Vime>("bonus_weight=0"), three_iterations::<Trpo>(""));
    assert!(plain.model.dynamics.is_none());
    assert_eq!(plain.state_dict().to_arrays(), trpo.state_dict().to_arrays());
    assert_eq!(plain.training_state().to_arrays(), trpo.training_state().to_arrays());
}

#[test]
fn the_first_iteration_has_no_bonus_and_later_ones_have() {
    let mut learner = chain::on_the_chain::<Vime>(&format!("{} {ON_THE_CHAIN}", chain::SETTINGS), 1);
    let bonuses: Vec<Option<f64>> = (0..3)
        .map(|number| {
            let metrics = learner.step(number, 1.0).unwrap().read();
            metrics.into_iter().find(|(name, _)| *name == "bonus").map(|(_, value)| value)
        })
        .collect();
    assert_eq!(bonuses[0], None);
    assert!(bonuses[1..].iter().all(|bonus| bonus.is_some_and(|bonus| bonus > 0.0)), "{bonuses:?}");
}

#[test]
fn the_last_step_of_a_path_has_the_gain_of_the_one_before() {
    // Paths of 3, 1 and 1 rows, then of 1 and 4.
    let rollout = rollout(2, 5, &[2, 3], &[5]);
    let mut gains: Vec<f64> = (0..10).map(f64::from).collect();
    copy_to_last(&mut gains, &rollout);
    assert_eq!(gains, [0.0, 1.0, 1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0]);
}

/// A small agent in four environments.
const SMALL: &str = "rollout_steps=16 hidden_dims=[8] replay_size=300 replay_start=20 dynamics_updates=5";

#[test]
fn numbers_do_not_depend_on_the_number_of_threads() {
    for base in ["trpo", "ppo", "reinforce"] {
        is_the_same_for_any_threads::<Vime>(&format!("{SMALL} base={base}"));
    }
}

#[test]
fn what_goes_wrong_in_an_environment_is_an_error() {
    reports_failures::<Vime>(SMALL);
}

#[test]
fn it_conforms() {
    expect_conforms::<Vime>(
        "hidden_dims=[8] rollout_steps=12 replay_size=40 replay_start=10 dynamics_updates=3 dynamics_hidden_dims=[4]",
        &[
            "dynamics_hidden_dims=[0]",
            "samples=0",
            "prior_sd=0.0",
            "likelihood_sd=-1.0",
            "bonus_weight=-1.0",
            "replay_size=40 replay_start=41",
        ],
    );
}
