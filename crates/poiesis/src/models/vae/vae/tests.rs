//! The VAE against PyTorch, against what is known in closed form, and on a toy problem.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::{Dataset, Split};
use serde_json::from_value;

use super::*;
use crate::abilities::{BitsBack, Bound as _, Latents};
use crate::evaluate::{Bound, BoundProtocol, bound};
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::run::checkpoint::Array;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_coded, expect_conforms, gradients_of,
    image_spec, learner, settings, shapes, source,
};

/// The cases of `parity.py`.
const CASES: [&str; 10] = [
    "mlp",
    "conv",
    "levels",
    "mlp-classes",
    "conv-classes",
    "planar",
    "radial-weighted",
    "vamp",
    "vamp-classes",
    "factor",
];
/// Classes of the data of those whose names end so.
const CLASSES: usize = 3;
/// Outputs and terms of the bound relative to the largest, f32 here against f64 there: some twenty roundings in a
/// row and sums over a thousand pixels.
const FORWARD: f64 = 2e-6;
/// The KL from a learned prior: a small difference of two log densities.
const SAMPLED_KL: f64 = 2e-5;
/// Gradients: twice as many roundings.
const GRADIENT: f64 = 1e-5;
/// Metrics of ten steps, relative to the largest.
const TERMS: f64 = 2e-6;
/// What ten steps changed, relative to the largest change of an array: Adam divides each gradient by its own size
/// at first, so that the rounding of small ones is felt in full.
const CHANGE: f64 = 5e-5;

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, device: &Device) -> Learner<Vae> {
    let given = fixture.case(case);
    let shape: [usize; 3] = from_value(given["shape"].clone()).unwrap();
    let (_folder, dataset) = shapes(8, [16, 16]);
    let (config, optimizer) = settings::<Vae>(&given["config"]);
    let data = source::<Vae>(&config, &dataset, 1, device);
    let vae = Vae::new(&config, &image_spec(shape, CLASSES), &mut Init::new(1, device)).unwrap();
    let mut training = Learner::of(vae, &config, &optimizer, data, 1, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

/// Images and noise of a step.
fn inputs(
    fixture: &Fixture,
    case: &str,
    encoding: PixelEncoding,
    step: usize,
    device: &Device,
) -> (Tensor<4>, Tensor<2>) {
    let encode = |pixel| match encoding {
        PixelEncoding::Binary => pixel,
        PixelEncoding::EightBit => pixel / 127.5 - 1.0,
    };
    let x = fixture.step(&format!("{case}.pixels"), step, encode, device);
    (x, fixture.step(&format!("{case}.eps"), step, |eps| eps, device))
}

/// The classes of a step, none in cases without.
fn classes(fixture: &Fixture, case: &str, step: usize) -> Vec<Option<u32>> {
    if !case.ends_with("classes") {
        return Vec::new();
    }
    let classes = fixture.step::<1>(&format!("{case}.classes"), step, |class| class, &Device::flex());
    let class = |class: f32| Some(class as u32).filter(|&class| class < CLASSES as u32);
    classes.into_data().iter::<f32>().map(class).collect()
}

/// What the discriminator of a step learns from.
fn others(fixture: &Fixture, case: &str, step: usize, device: &Device) -> OtherImages {
    let array = |name: &str| format!("{case}.{name}");
    OtherImages {
        x: fixture.step(&array("others.pixels"), step, |pixel| pixel, device),
        classes: Vec::new(),
        eps: fixture.step(&array("others.eps"), step, |eps| eps, device),
        orders: fixture.step::<2>(&array("orders"), step, |from| from, device).int(),
    }
}

#[test]
fn first_outputs_terms_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vae/vae"), Device::flex().autodiff());
    for case in CASES {
        let vae = training(&fixture, case, &device).model;
        let (x, eps) = inputs(&fixture, case, Vae::encoding(&vae), 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));

        let y = classes(&fixture, case, 0);
        let posterior = vae.posterior(x.clone(), &y);
        expect_close("mean", posterior.normal.mean.clone(), theirs("mean"), FORWARD);
        expect_close("log variance", posterior.normal.log_var.clone(), theirs("log_var"), FORWARD);
        let samples = vae.config.importance_samples;
        let z = posterior.repeated(samples).draw(eps.clone()).z;
        let x_of_draws = flatten(x.clone()).repeat_dim(0, samples);
        let z_and_y = with_classes(z.clone(), &y, vae.num_classes);
        let parameters = match &vae.decoder {
            Decoder::Mlp(mlp) => mlp.forward(z_and_y),
            Decoder::Conv(conv) => conv.forward(z_and_y),
        };
        expect_close("parameters of pixels", parameters, theirs("parameters"), FORWARD);
        let log_prob = vae.pixels(z, &y).log_prob(x_of_draws);
        expect_close("log p(x|z)", log_prob, theirs("log_prob"), FORWARD);

        let loss = vae.loss(x, &y, eps);
        let tolerance = if case.starts_with("vamp") { SAMPLED_KL } else { FORWARD };
        expect_close("kl", loss.kl, theirs("kl"), tolerance);
        let terms = Tensor::cat(vec![loss.objective.clone(), loss.reconstruction], 0);
        expect_close("terms", terms, theirs("losses"), FORWARD);

        let gradients = loss.objective.backward();
        let mut ours = gradients_of("encoder", &vae.encoder, &gradients);
        ours.extend(gradients_of("decoder", &vae.decoder, &gradients));
        if let Some(pseudo_inputs) = &vae.pseudo_inputs {
            let gradient = pseudo_inputs.val().grad(&gradients).unwrap();
            let shape = gradient.dims().to_vec();
            let data = gradient.into_data().iter::<f32>().collect();
            ours.insert("pseudo_inputs".into(), Array { shape, data });
        }
        if let Some(discriminator) = &vae.discriminator {
            assert!(gradients_of("discriminator", discriminator, &gradients).is_empty(), "it is frozen");
        }
        expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vae/vae"), Device::flex().autodiff());
    for case in CASES {
        let mut training = training(&fixture, case, &device);
        let (mut terms, mut factor) = (Vec::new(), Vec::new());
        for step in 0..10 {
            let (x, eps) = inputs(&fixture, case, Vae::encoding(&training.model), step, &device);
            let y = classes(&fixture, case, step);
            let others = (case == "factor").then(|| others(&fixture, case, step, &device));
            let metrics = training.with_step(step as u64, 1.0, |model, _, step| {
                let (metrics, z) = model.update(x, &y, eps, step);
                match others {
                    Some(others) => metrics.with("d_loss", model.update_discriminator(z, others, step)),
                    None => metrics,
                }
            });
            let values: BTreeMap<_, _> = metrics.read().into_iter().collect();
            terms.extend(["bound", "reconstruction", "kl"].map(|name| values[name] as f32));
            if case == "factor" {
                factor.extend(["tc", "d_loss"].map(|name| values[name] as f32));
            }
        }
        if case == "factor" {
            let factor = Tensor::<2>::from_data(TensorData::new(factor, [10, 2]), &device);
            expect_close("total correlation", factor, fixture.array("factor.factor"), TERMS);
        }
        let terms = Tensor::<2>::from_data(TensorData::new(terms, [10, 3]), &device);
        expect_close("terms", terms, fixture.array(&format!("{case}.losses")), TERMS);

        expect_change(&fixture, case, &training, CHANGE);
    }
}

/// A VAE whose decoder does not look at its latents, so that log p(x) is known, and whose posterior is
/// N(0.8, e^0.3) for every image and dimension.
fn blind(device: &Device) -> Vae {
    let config = VaeConfig {
        body: Body::Mlp,
        latent_dim: 2,
        hidden_dim: 3,
        layers: 1,
        likelihood: PixelDistribution::Bernoulli,
        ..VaeConfig::default()
    };
    let vae = Vae::new(&config, &image_spec([2, 2, 1], 0), &mut Init::new(0, device)).unwrap();
    let mut arrays = StateDict::of(&vae).to_arrays();
    arrays.values_mut().for_each(|array| array.data.fill(0.0));
    arrays.insert("encoder.Mlp.output.bias".into(), Array { shape: vec![4], data: vec![0.8, 0.8, 0.3, 0.3] });
    arrays
        .insert("decoder.Mlp.output.bias".into(), Array { shape: vec![4], data: vec![0.5, -1.0, 2.0, 0.0] });
    StateDict::from_arrays(arrays, device).load_into(vae).unwrap()
}

#[test]
fn bounds_around_a_known_log_probability_are_as_far_from_it_as_they_must() {
    let device = Device::flex();
    let vae = blind(&device);
    let logits = [0.5f64, -1.0, 2.0, 0.0];
    let pixels = [1.0f64, 0.0, 1.0, 1.0];
    let log_p: f64 = logits.iter().zip(pixels).map(|(l, x)| x * l - (1.0 + l.exp()).ln()).sum();
    // KL of each of the two dimensions, in closed form.
    let kl = 2.0 * 0.5 * (0.8f64.powi(2) + 0.3f64.exp() - 0.3 - 1.0);

    let count = 200;
    let x = Tensor::<4>::from_data([[[[1.0], [0.0]], [[1.0], [1.0]]]], &device).repeat_dim(0, count);
    let indices: Vec<u64> = (0..count as u64).collect();
    let weights = vae.log_weights(x, &vec![None; count], 3, &indices, 0..500);
    for image in 0..count {
        assert!((weights.kl[image] - kl).abs() < 1e-5, "{} {kl}", weights.kl[image]);
        assert!((weights.reconstruction[image] - log_p).abs() < 1e-5);
    }
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let elbo = mean(weights.log_w.iter().map(|w| mean(w.clone())).collect());
    // 100,000 draws of a term whose deviation is about 1.
    assert!((elbo - (log_p - kl)).abs() < 0.015, "{elbo} {}", log_p - kl);
    let weighted =
        mean(weights.log_w.iter().map(|w| mean(w.iter().map(|w| w.exp()).collect()).ln()).collect());
    assert!((weighted - log_p).abs() < 0.02, "{weighted} {log_p}");
}

#[test]
fn a_free_dimension_costs_its_free_bits_and_no_more() {
    let device = Device::flex().autodiff();
    let vae = blind(&device);
    let x = Tensor::zeros([4, 2, 2, 1], &device);
    let eps = Tensor::zeros([4, 2], &device);
    let value = |tensor: Tensor<1>| f64::from(tensor.into_scalar::<f32>());
    let plain = vae.loss(x.clone(), &[], eps.clone());
    let (reconstruction, kl) = (value(plain.reconstruction), value(plain.kl.sum()));
    assert!((value(plain.objective) - reconstruction - kl).abs() < 1e-5);

    let mut changed = vae.clone();
    (changed.config.free_bits, changed.config.kl_weight) = (3.0, 0.5);
    let loss = changed.loss(x, &[], eps);
    assert!((value(loss.objective) - reconstruction - 0.5 * 6.0).abs() < 1e-5);
    assert!((value(loss.kl.sum()) - kl).abs() < 1e-6, "what is reported changed");
}

#[test]
fn flows_are_trained_and_weighted_bounds_of_more_draws_are_tighter() {
    let device = Device::flex().autodiff();
    for flow in [Flow::None, Flow::Planar, Flow::Radial] {
        let mut config = VaeConfig {
            body: Body::Mlp,
            latent_dim: 4,
            hidden_dim: 32,
            layers: 1,
            flow,
            importance_samples: 5,
            ..VaeConfig::default()
        };
        config.likelihood = PixelDistribution::Bernoulli;
        let optimizer = OptimizerConfig { learning_rate: 1e-2, ..OptimizerConfig::default() };
        let (_folder, dataset) = shapes(100, [16, 16]);
        let mut training =
            learner::<Vae>(&(config, optimizer), &image_spec([16, 16, 3], 0), &dataset, 16, &device);
        let metrics = |training: &mut Learner<Vae>, step| -> BTreeMap<_, _> {
            training.step(step, 1.0).unwrap().read().into_iter().collect()
        };
        let first = metrics(&mut training, 0);
        let last = (1..80).map(|step| metrics(&mut training, step)).last().unwrap();
        assert!(last["weighted_bound"] < 0.9 * first["weighted_bound"], "{flow:?}: {first:?} {last:?}");
        assert!(last["weighted_bound"] < last["bound"], "{flow:?}: {last:?}");
        let view = dataset.require(Split::Validation).unwrap();
        let [once, few, many] = [1, 8, 64].map(|samples| {
            let protocol = BoundProtocol { images: 10, samples, seed: 5 };
            bound(&training.model, &view, training.model.shape, protocol, &device, &mut |_| ()).weighted_nats
        });
        assert!(few < once && many < few, "{flow:?}: {once} {few} {many}");
    }
}

fn tiny(device: &Device) -> (tempfile::TempDir, Dataset, Learner<Vae>) {
    let config = VaeConfig { latent_dim: 8, width: 8, blocks: 1, ..VaeConfig::default() };
    let optimizer = OptimizerConfig { learning_rate: 3e-3, ..OptimizerConfig::default() };
    let (folder, dataset) = shapes(500, [16, 16]);
    let training = learner::<Vae>(&(config, optimizer), &image_spec([16, 16, 3], 0), &dataset, 16, device);
    (folder, dataset, training)
}

#[test]
fn sixty_steps_on_shapes_lower_the_bound_and_bounds_keep_their_order() {
    let device = Device::flex().autodiff();
    let (_folder, dataset, mut training) = tiny(&device);
    let view = dataset.require(Split::Validation).unwrap();
    let measure = |training: &Learner<Vae>, samples| -> Bound {
        let protocol = BoundProtocol { images: 50, samples, seed: 5 };
        bound(&training.model, &view, training.model.shape, protocol, &device, &mut |_| ())
    };
    let before = measure(&training, 1);
    for step in 0..60 {
        training.step(step, 1.0).unwrap();
    }
    let [once, few, many] = [1, 8, 64].map(|samples| measure(&training, samples));
    // 9.4 and 6.8 bits when this was written.
    assert!(once.bits_per_dim < before.bits_per_dim - 2.0, "{} {}", before.bits_per_dim, once.bits_per_dim);
    assert_eq!(once.nats, once.weighted_nats);
    assert!(few.weighted_nats < once.weighted_nats && many.weighted_nats < few.weighted_nats);
    assert!(few.weighted_nats < few.nats && many.weighted_nats < many.nats);
    // The two ways to the bound, closed form and draws, differ by the noise of eight latents over 50 images; a
    // constant left out of a density would be 0.9 nats for each latent.
    let difference = once.nats - (once.reconstruction + once.kl);
    assert!(difference.abs() < 2.5, "{difference}");
}

#[test]
fn an_image_of_a_class_is_of_that_class_and_its_bound_knows_it() {
    let device = Device::flex().autodiff();
    let config = VaeConfig {
        body: Body::Mlp,
        latent_dim: 2,
        hidden_dim: 16,
        layers: 1,
        likelihood: PixelDistribution::Bernoulli,
        conditional: true,
        ..VaeConfig::default()
    };
    let optimizer = OptimizerConfig { learning_rate: 3e-2, ..OptimizerConfig::default() };
    let (_folder, dataset) = shapes(8, [16, 16]);
    let mut training = learner::<Vae>(&(config, optimizer), &image_spec([4, 4, 1], 2), &dataset, 8, &device);
    // Class 0 is black and class 1 is white.
    let classes: Vec<Option<u32>> = (0..8).map(|i| Some(i % 2)).collect();
    let x = || {
        let pixels = classes.iter().flat_map(|class| [class.unwrap_or(0) as f32; 16]);
        Tensor::from_data(TensorData::new(pixels.collect(), [8, 4, 4, 1]), &device)
    };
    for step in 0..100 {
        training.with_step(step, 1.0, |model, _, step| {
            let eps = step.normal("train posterior", [8, 2]);
            model.update(x(), &classes, eps, step)
        });
    }
    let latents: &dyn Latents = &training.model;
    assert_eq!(latents.num_classes(), 2);
    let mean = |class: u32| {
        let images = latents.decode(latents.draw(0, 0..16, &device), &[Some(class); 16]);
        f64::from(images.mean().into_scalar::<f32>())
    };
    let means = [mean(0), mean(1)];
    assert!(means[0] < -0.8 && means[1] > 0.8, "{means:?}");
    // Given the class there is nothing left to say: less than a nat, and far more with the classes exchanged.
    let bound = |classes: &[Option<u32>]| {
        let weights = training.model.log_weights(x(), classes, 0, &[0, 1, 2, 3, 4, 5, 6, 7], 0..1);
        -weights.log_w.iter().map(|w| w[0]).sum::<f64>() / 8.0
    };
    let exchanged: Vec<Option<u32>> = classes.iter().map(|class| class.map(|class| 1 - class)).collect();
    let (own, other) = (bound(&classes), bound(&exchanged));
    assert!(own < 2.0 && other > 10.0, "{own} {other}");
}

#[test]
fn images_are_coded_losslessly_at_the_size_of_the_bound() {
    let device = Device::flex();
    for case in ["mlp", "conv", "levels", "mlp-classes", "conv-classes"] {
        let given = Fixture::read("vae/vae").case(case).clone();
        let shape: [usize; 3] = from_value(given["shape"].clone()).unwrap();
        let spec = image_spec(shape, CLASSES);
        let vae = Vae::new(&settings::<Vae>(&given["config"]).0, &spec, &mut Init::new(4, &device)).unwrap();
        expect_coded(&vae, spec.images().unwrap(), CLASSES as u32);
    }
}

#[test]
fn a_posterior_that_is_a_flow_is_not_coded() {
    let spec = image_spec([8, 8, 1], 0);
    for flow in [Flow::Planar, Flow::Radial, Flow::None] {
        let config = VaeConfig { flow, width: 4, ..VaeConfig::default() };
        let vae = Vae::new(&config, &spec, &mut Init::new(0, &Device::flex())).unwrap();
        let coded: &dyn BitsBack = &vae;
        match coded.refusal() {
            Some(refusal) => assert!(flow != Flow::None && refusal.remedy.contains("vae.flow=none")),
            None => assert_eq!(flow, Flow::None),
        }
    }
}

#[test]
fn it_conforms() {
    expect_conforms::<Vae>(
        "width=4 latent_dim=8 blocks=0",
        &["layers=0", "latent_dim=0", "conditional=true"],
    );
    expect_conforms::<Vae>("width=4 latent_dim=8 blocks=0 conditional=true flow=planar", &[]);
    expect_conforms::<Vae>(
        "body=mlp hidden_dim=8 latent_dim=3 importance_samples=2 flow=radial flow_steps=2",
        &["kl_weight=2 importance_samples=2", "flow_steps=0"],
    );
    expect_conforms::<Vae>(
        "body=mlp hidden_dim=8 latent_dim=3 prior=vamp pseudo_inputs=5",
        &["prior=vamp flow=planar", "prior=vamp free_bits=0.1", "pseudo_inputs=0"],
    );
    expect_conforms::<Vae>(
        "body=mlp hidden_dim=8 latent_dim=3 total_correlation=5 discriminator_hidden_dims=[6]",
        &[
            "total_correlation=-1",
            "total_correlation=5 importance_samples=2",
            "total_correlation=5 latent_dim=1",
            "total_correlation=5 discriminator_hidden_dims=[]",
        ],
    );
}

mod learned_prior;
mod total_correlation;
