//! The ResNet VAE with flows against PyTorch, against what is known in closed form, and on a toy problem.

use std::collections::BTreeMap;

use burn::tensor::{Device, TensorData};
use poiesis_collect::{Dataset, Split};
use serde_json::from_value;

use super::super::flows::testing::numeric_log_det;
use super::posterior::{Evidence, Flow, Normal};
use super::*;
use crate::abilities::{BitsBack, Bound as _, Encoder as _, Latents};
use crate::evaluate::{Bound, BoundProtocol, bound};
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::rng;
use crate::run::checkpoint::Array;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_coded, expect_conforms, gradients_of,
    image_spec, learner, settings, shapes, source,
};

/// The cases of `parity.py`.
const CASES: [&str; 5] = ["vector-diagonal", "vector-iaf", "maps-planar", "maps-iaf", "both-levels"];
/// Terms of the bound relative to the largest, f32 here against f64 there: some thirty roundings in a row.
const FORWARD: f64 = 5e-6;
/// Gradients: twice as many roundings.
const GRADIENT: f64 = 2e-5;
/// Metrics of ten steps, relative to the largest.
const TERMS: f64 = 5e-6;
/// What ten steps changed, relative to the largest change of an array: AdaMax divides each gradient by its own size, so that the
/// rounding of small ones is felt.
const CHANGE: f64 = 2e-4;
/// First values: deviations over a batch, one behind the other.
const FIRST_VALUES: f64 = 2e-5;
/// Central differences in f32 through a whole flow.
const NUMERIC: f64 = 2e-3;

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, device: &Device) -> Learner<IafVae> {
    let given = fixture.case(case);
    let shape: [usize; 3] = from_value(given["shape"].clone()).unwrap();
    let (_folder, dataset) = shapes(8, [16, 16]);
    let (config, optimizer) = settings::<IafVae>(&given["config"]);
    // A direction with one input has a gradient of 0, and AdaMax would make a step of its rounding.
    let optimizer = OptimizerConfig { epsilon: 1e-4, ..optimizer };
    let model = IafVae::new(&config, &image_spec(shape, 0), &mut Init::new(1, device)).unwrap();
    let data = source::<IafVae>(&config, &dataset, 4, device);
    let mut training = Learner::of(model, &config, &optimizer, data, 1, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

/// Images and noise of a step.
fn inputs(
    fixture: &Fixture,
    case: &str,
    model: &IafVae,
    step: usize,
    device: &Device,
) -> (Tensor<4>, Vec<Tensor<4>>) {
    let encode = |pixel| match model.config.likelihood {
        PixelDistribution::Bernoulli => pixel,
        PixelDistribution::DiscretizedLogistic => pixel / 127.5 - 1.0,
    };
    let x = fixture.step(&format!("{case}.pixels"), step, encode, device);
    let layers = model.noise_shapes(1).count();
    let noise = |layer| fixture.step(&format!("{case}.noise{layer}"), step, |eps| eps, device);
    (x, (0..layers).map(noise).collect())
}

#[test]
fn first_terms_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vae/iaf_vae"), Device::flex().autodiff());
    for case in CASES {
        let model = training(&fixture, case, &device).model;
        let (x, noise) = inputs(&fixture, case, &model, 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));

        let evidence = model.bottom_up.forward(x.clone(), &mut None);
        let mut found = None;
        let pixels = model.top_down.forward(&mut Draws::new(&noise, Some(evidence), &mut found));
        let parameters = match pixels {
            Pixels::Bernoulli(p) => p.logits,
            Pixels::DiscretizedLogistic(p) => p.mean,
        };
        expect_close(case, parameters, theirs("parameters"), FORWARD);
        let loss = model.loss(x, &noise);
        expect_close(case, loss.kl, theirs("kl"), FORWARD);
        let terms = Tensor::cat(vec![loss.objective.clone(), loss.reconstruction], 0);
        expect_close(case, terms, theirs("losses"), FORWARD);

        let gradients = loss.objective.backward();
        let mut ours = gradients_of("bottom_up", &model.bottom_up, &gradients);
        ours.extend(gradients_of("top_down", &model.top_down, &gradients));
        expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_of_adamax_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vae/iaf_vae"), Device::flex().autodiff());
    for case in CASES {
        let mut training = training(&fixture, case, &device);
        let mut terms = Vec::new();
        for step in 0..10 {
            let (x, noise) = inputs(&fixture, case, &training.model, step, &device);
            let values: BTreeMap<_, _> = training
                .with_step(step as u64, 1.0, |model, _, step| model.update(x, &noise, step))
                .read()
                .into_iter()
                .collect();
            terms.extend(["bound", "reconstruction", "kl"].map(|name| values[name] as f32));
        }
        let terms = Tensor::<2>::from_data(TensorData::new(terms, [10, 3]), &device);
        expect_close(case, terms, fixture.array(&format!("{case}.losses")), TERMS);
        expect_change(&fixture, case, &training, CHANGE);
    }
}

#[test]
fn first_values_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vae/iaf_vae"), Device::flex().autodiff());
    for case in CASES {
        let mut model = training(&fixture, case, &device).model;
        let (x, noise) = inputs(&fixture, case, &model, 0, &device);
        model.set_first_values(x, &noise);
        let mut ours = StateDict::of(&model).to_arrays();
        ours.retain(|name, _| name.ends_with(".gain") || name.ends_with(".bias"));
        let mut theirs = fixture.arrays(&format!("{case}.first_values"));
        // Features with mean 0 need no bias: there the rounding of both is all that there is.
        theirs.retain(|name, array| {
            let largest = |array: &Array| array.data.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
            let is_zero = largest(array) < 1e-9;
            if is_zero {
                let ours = ours.remove(name).unwrap_or_else(|| panic!("no `{name}`"));
                assert!(largest(&ours) < 1e-6, "{name} is not 0");
            }
            !is_zero
        });
        expect_all_close(&ours, &theirs, FIRST_VALUES);
    }
}

fn config(posterior: Posterior) -> IafVaeConfig {
    IafVaeConfig {
        posterior,
        levels: 1,
        blocks: 1,
        width: 4,
        hidden_dim: 8,
        flow_steps: 3,
        flow_layers: 2,
        flow_width: 8,
        ..IafVaeConfig::default()
    }
}

fn draw<const D: usize>(shape: [usize; D], index: u64, device: &Device) -> Tensor<D> {
    let values = rng::normal(&mut rng::generator(9, "test", index), shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[test]
fn log_determinants_of_whole_flows_are_those_of_their_jacobians() {
    let device = Device::flex();
    for posterior in [Posterior::Planar, Posterior::Iaf] {
        for ([height, width, maps], kernel) in [([1, 1, 5], 1), ([2, 3, 2], 3)] {
            let mut config = config(posterior);
            // Far from a step that changes nothing.
            config.forget_bias = -0.5;
            let flow = Flow::new(&config, maps, 3, kernel, &mut Init::new(5, &device));
            let (dims, context) = (height * width * maps, draw([1, height, width, 3], 1, &device));
            let start = |z: Tensor<2>| {
                let rows = z.dims()[0];
                let mean = z.reshape([rows, height, width, maps]);
                let base = Normal { log_std: mean.zeros_like(), mean };
                Evidence { base, context: Some(context.clone().repeat_dim(0, rows)) }
            };
            // Without noise a draw is the image of the mean, whose density under the normal distribution is known.
            let run = |z: Tensor<2>| {
                let evidence = start(z);
                let eps = evidence.base.mean.zeros_like();
                flow.draw(&evidence, None, eps, &mut None)
            };
            let z: Vec<f32> = draw([dims], 2, &device).into_data().iter::<f32>().collect();
            let here = Tensor::from_data(TensorData::new(z.clone(), [1, dims]), &device);
            let (to, drawn) = run(here);
            // log q − log p = −log |det| + ½ z′², without what both densities have.
            let ours: f64 = (to.square() * 0.5 - drawn.kl).sum().into_scalar::<f64>();
            let numeric = numeric_log_det(|z| flatten(run(z).0), &z);
            let difference = (ours - numeric).abs();
            assert!(difference < NUMERIC * (1.0 + numeric.abs()), "{posterior:?}: {ours} {numeric}");
            assert!(numeric.abs() > 0.1, "{posterior:?} changes nothing: {numeric}");
        }
    }
}

/// Weights by name with all numbers zero but those given; a direction of which nothing is given is zero.
fn with_weights<M: Module>(module: M, given: &[(&str, &[f32])], device: &Device) -> M {
    let mut arrays = StateDict::of(&module).to_arrays();
    arrays.values_mut().for_each(|array| array.data.fill(0.0));
    for (name, values) in given {
        let array = arrays.get_mut(*name).unwrap_or_else(|| panic!("no `{name}`"));
        assert_eq!(array.data.len(), values.len(), "{name}");
        array.data = values.to_vec();
    }
    StateDict::from_arrays(arrays, device).load_into(module).unwrap()
}

/// x = [1, 1]·z + n with z ~ N(0, 1) in two dimensions and n ~ N(0, ½): the posterior of z has correlated dimensions, which one step of
/// flow gives exactly and a normal distribution with independent dimensions does not. Then log p(x|z) + log p(z) − log q(z|x) is
/// log p(x), whatever the noise.
#[test]
fn the_bound_of_a_linear_gaussian_model_is_its_log_probability() {
    let device = Device::flex();
    let (x, var) = (1.3f64, 0.5f64);
    let tau = std::f64::consts::TAU;
    let log_p = -0.5 * (x * x / (2.0 + var) + (tau * (2.0 + var)).ln());
    // z₁ given x, then z₂ given x and z₁.
    let (mean1, var1) = (x / (2.0 + var), 1.0 - 1.0 / (2.0 + var));
    let (gain2, var2) = (1.0 / (1.0 + var), var / (1.0 + var));
    let log_std = |var: f64| (0.5 * var.ln()) as f32;
    // z₂ = m + sd₂ ε₂ with m = gain₂ (x − z₁): the step has (1 − σ) M = m for σ = ½, from a deviation of 2 sd₂.
    let base = Normal {
        mean: Tensor::from_data([[[[2.0 * mean1 as f32, 0.0]]]], &device),
        log_std: Tensor::from_data([[[[log_std(4.0 * var1), log_std(4.0 * var2)]]]], &device),
    };
    let mut config = config(Posterior::Iaf);
    (config.flow_steps, config.flow_layers, config.flow_width, config.forget_bias) = (1, 1, 2, 0.0);
    let flow = Flow::new(&config, 2, 1, 1, &mut Init::new(0, &device));
    // The hidden feature of group 2 reads z₁, and stays where an ELU is the identity. z₁ comes with twice its size, so that the half of
    // it that the step keeps is z₁ itself.
    let shift = 40.0;
    let of_z1 = -gain2 as f32;
    // Outputs: M₁, M₂, s₁, s₂.
    let flow = with_weights(
        flow,
        &[
            ("steps.0.Iaf.made.input.normed.direction", &[0.0, 1.0, 0.0, 0.0]),
            ("steps.0.Iaf.made.input.normed.gain", &[0.0, 1.0]),
            ("steps.0.Iaf.made.input.normed.bias", &[0.0, shift]),
            ("steps.0.Iaf.made.output.normed.direction", &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
            ("steps.0.Iaf.made.output.normed.gain", &[0.0, of_z1, 0.0, 0.0]),
            (
                "steps.0.Iaf.made.output.normed.bias",
                &[0.0, (2.0 * gain2 * x) as f32 - of_z1 * shift, 0.0, 0.0],
            ),
        ],
        &device,
    );
    let evidence = Evidence { base: base.clone(), context: Some(Tensor::zeros([1, 1, 1, 1], &device)) };
    let diagonal = Flow::new(&self::config(Posterior::Diagonal), 2, 1, 1, &mut Init::new(0, &device));
    let log_w = |flow: &Flow, evidence: &Evidence, index: u64| {
        let (z, drawn) = flow.draw(evidence, None, draw([1, 1, 1, 2], index, &device), &mut None);
        let mean: f64 = z.sum().into_scalar::<f64>();
        let log_x = -0.5 * ((x - mean).powi(2) / var + (tau * var).ln());
        log_x - drawn.kl.sum().into_scalar::<f64>()
    };
    for index in 0..20 {
        let found = log_w(&flow, &evidence, index);
        assert!((found - log_p).abs() < 1e-4, "{found} {log_p}");
    }
    // The best of independent dimensions: the means of the posterior, and the precision of each given the other one.
    let best = Normal {
        mean: Tensor::full([1, 1, 1, 2], mean1, &device),
        log_std: Tensor::full([1, 1, 1, 2], log_std(var2), &device),
    };
    let best = Evidence { base: best, context: None };
    let draws = 4000;
    let elbo = (0..draws).map(|index| log_w(&diagonal, &best, index)).sum::<f64>() / draws as f64;
    // KL of the best diagonal from the posterior: −½ log of the determinant's ratio.
    let gap = 0.5 * ((var1 * var2).ln() - (var2 * var2).ln());
    assert!((elbo - (log_p - gap)).abs() < 0.03, "{elbo} {}", log_p - gap);
}

/// A model whose decoder does not look at its latents, so that log p(x) is known, with a posterior that differs from the prior. It is
/// wider, so that weights have a variance.
fn blind(posterior: Posterior, device: &Device) -> IafVae {
    let config = IafVaeConfig {
        latent_dim: 2,
        maps: 0,
        likelihood: PixelDistribution::Bernoulli,
        ..config(posterior)
    };
    let mut model = IafVae::new(&config, &image_spec([4, 4, 1], 0), &mut Init::new(1, device)).unwrap();
    model.set_first_values(draw([8, 4, 4, 1], 0, device), &[draw([8, 1, 1, 2], 1, device)]);
    let mut arrays = StateDict::of(&model).to_arrays();
    let mut set = |name: &str, values: Vec<f32>| {
        let shape = vec![values.len()];
        assert!(arrays.insert(name.into(), Array { shape, data: values }).is_some(), "{name}");
    };
    set("top_down.output.normed.gain", vec![0.0]);
    set("top_down.output.normed.bias", vec![0.5]);
    set("bottom_up.vector.base.normed.gain", vec![0.0; 4]);
    set("bottom_up.vector.base.normed.bias", vec![0.4, -0.3, 0.5, 0.4]);
    StateDict::from_arrays(arrays, device).load_into(model).unwrap()
}

#[test]
fn bounds_around_a_known_log_probability_are_below_it_and_reach_it_with_draws() {
    let device = Device::flex();
    for posterior in [Posterior::Diagonal, Posterior::Planar, Posterior::Iaf] {
        let model = blind(posterior, &device);
        let count = 50;
        let x = draw([1, 4, 4, 1], 3, &device).greater_elem(0.0).float();
        let white = f64::from(x.clone().sum().into_scalar::<f32>());
        let log_p = 0.5 * white - 16.0 * 0.5f64.exp().ln_1p();
        let indices: Vec<u64> = (0..count as u64).collect();
        let weights = model.log_weights(x.repeat_dim(0, count), &[], 3, &indices, 0..400);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let elbo = mean(&weights.log_w.iter().map(|w| mean(w)).collect::<Vec<_>>());
        let log_mean = |w: &Vec<f64>| mean(&w.iter().map(|w| w.exp()).collect::<Vec<_>>()).ln();
        let weighted = mean(&weights.log_w.iter().map(log_mean).collect::<Vec<_>>());
        assert!(elbo < log_p - 0.05, "{posterior:?}: {elbo} {log_p}");
        assert!((weighted - log_p).abs() < 0.02, "{posterior:?}: {weighted} {log_p}");
        assert!((elbo - (mean(&weights.reconstruction) - mean(&weights.kl))).abs() < 1e-4, "{posterior:?}");
    }
}

#[test]
fn free_bits_change_what_is_charged_and_not_what_is_reported() {
    let device = Device::flex().autodiff();
    let mut model = blind(Posterior::Diagonal, &device);
    let (x, noise) = (Tensor::zeros([4, 4, 4, 1], &device), [Tensor::zeros([4, 1, 1, 2], &device)]);
    let value = |tensor: Tensor<1>| tensor.into_scalar::<f64>();
    model.config.free_bits = 0.0;
    let plain = model.loss(x.clone(), &noise);
    let (reconstruction, kl) = (value(plain.reconstruction), value(plain.kl.sum()));
    assert!((value(plain.objective) - reconstruction - kl).abs() < 1e-5);
    model.config.free_bits = 3.0;
    let free = model.loss(x, &noise);
    assert!((value(free.objective) - reconstruction - 6.0).abs() < 1e-5);
    assert!((value(free.kl.sum()) - kl).abs() < 1e-6);
}

/// A model of maps and a vector on 16×16 shapes.
fn tiny(posterior: Posterior, device: &Device) -> (tempfile::TempDir, Dataset, Learner<IafVae>) {
    let config = IafVaeConfig { latent_dim: 6, maps: 2, width: 12, residual_scale: 0.5, ..config(posterior) };
    let optimizer = OptimizerConfig { learning_rate: 0.01, ..(IafVae::ABOUT.optimizer)() };
    let (folder, dataset) = shapes(500, [16, 16]);
    let training = learner::<IafVae>(&(config, optimizer), &image_spec([16, 16, 3], 0), &dataset, 16, device);
    (folder, dataset, training)
}

#[test]
fn steps_on_shapes_lower_the_bound_and_bounds_keep_their_order() {
    let device = Device::flex().autodiff();
    for posterior in [Posterior::Diagonal, Posterior::Planar, Posterior::Iaf] {
        let (_folder, dataset, mut training) = tiny(posterior, &device);
        let view = dataset.require(Split::Validation).unwrap();
        let measure = |training: &Learner<IafVae>, samples| -> Bound {
            let protocol = BoundProtocol { images: 50, samples, seed: 5 };
            bound(&training.model, &view, training.model.shape, protocol, &device, &mut |_| ())
        };
        let before = measure(&training, 1);
        (0..80).for_each(|step| drop(training.step(step, 1.0).unwrap()));
        let [once, few, many] = [1, 8, 64].map(|samples| measure(&training, samples));
        let bits = [&before, &once, &few, &many].map(|bound| bound.weighted_bits_per_dim);
        assert!(bits[1] < bits[0] - 1.5, "{posterior:?}: {bits:?}");
        assert!(bits[2] < bits[1] && bits[3] < bits[2], "{posterior:?}: {bits:?}");
        assert!((once.nats - (once.reconstruction + once.kl)).abs() < 1e-2, "{posterior:?}");
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    let device = Device::flex().autodiff();
    let (_folder, _dataset, training) = tiny(Posterior::Iaf, &device);
    let model = &training.model;
    let latents: &dyn Latents = model;
    assert_eq!(latents.latent_dim(), 6 + 8 * 8 * 2);
    let x = draw([3, 16, 16, 3], 4, &device).clamp(-1.0, 1.0);
    let middle = model.noise_shapes(3).map(|shape| Tensor::zeros(shape, &device)).collect::<Vec<_>>();
    let evidence = model.bottom_up.forward(x.clone(), &mut None);
    let mut found = None;
    let mut draws = Draws::new(&middle, Some(evidence), &mut found);
    let expected = model.top_down.forward(&mut draws).mean();
    let decoded = latents.decode(model.encode(flatten(x), &[]), &[]);
    let difference = (expected - decoded).abs().max().into_scalar::<f32>();
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn images_are_coded_losslessly_at_the_size_of_the_bound() {
    let (device, spec) = (Device::flex(), image_spec([8, 8, 1], 0));
    let sizes = [(3, 0, PixelDistribution::Bernoulli), (0, 2, PixelDistribution::DiscretizedLogistic)];
    for (latent_dim, maps, likelihood) in sizes.into_iter().chain([(4, 3, PixelDistribution::Bernoulli)]) {
        let config = IafVaeConfig {
            latent_dim,
            maps,
            likelihood,
            levels: 2,
            blocks: 2,
            ..config(Posterior::Diagonal)
        };
        let mut model = IafVae::new(&config, &spec, &mut Init::new(4, &device)).unwrap();
        let noise: Vec<Tensor<4>> = model.noise_shapes(16).map(|shape| draw(shape, 1, &device)).collect();
        model.set_first_values(draw([16, 8, 8, 1], 2, &device), &noise);
        expect_coded(&model, spec.images().unwrap(), 0);
        let coded: &dyn BitsBack = &model;
        assert_eq!(coded.refusal(), None);
    }
    for posterior in [Posterior::Planar, Posterior::Iaf] {
        let model = IafVae::new(&config(posterior), &spec, &mut Init::new(4, &device)).unwrap();
        let coded: &dyn BitsBack = &model;
        assert!(coded.refusal().unwrap().remedy.contains("iaf-vae.posterior=diagonal"));
    }
}

#[test]
fn it_conforms() {
    expect_conforms::<IafVae>(
        "width=4 maps=2 blocks=1 flow_width=4 posterior=iaf",
        &["blocks=0", "maps=0", "levels=3", "free_bits=-1", "forget_bias=nan"],
    );
    expect_conforms::<IafVae>(
        "width=4 maps=0 latent_dim=3 hidden_dim=6 levels=1 posterior=planar likelihood=bernoulli",
        &["hidden_dim=0"],
    );
}
