//! The first GAN against PyTorch, and on the plane.

use burn::tensor::{Device, TensorData};
use poiesis_collect::Dataset;

use super::*;
use crate::data::PointShape;
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of, image_spec,
    learner, settings, shapes,
};

/// The cases of `parity.py`.
const CASES: [&str; 4] = ["points", "maxout", "least-squares", "minibatch"];
/// Outputs and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 2e-6;
/// Gradients, twice as many roundings.
const GRADIENT: f64 = 5e-6;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 1e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 1e-3;

fn spec(case: &serde_json::Value) -> DataSpec {
    if case["bounded"] == serde_json::Value::Bool(true) {
        return image_spec([3, 4, 1], 0);
    }
    DataSpec { content: Content::Points(PointShape { dims: 2, columns: Vec::new() }), classes: 0 }
}

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, dataset: &Dataset, device: &Device) -> Learner<Gan> {
    let described = fixture.case(case);
    let settings = settings::<Gan>(&described["config"]);
    let mut training = learner::<Gan>(&settings, &spec(described), dataset, 2, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

/// The examples or latents of each round of a step.
fn rounds(fixture: &Fixture, name: &str, step: usize, device: &Device) -> Vec<Tensor<2>> {
    let all: Tensor<3> = fixture.step(name, step, |x| x, device);
    let [rounds, batch, values] = all.dims();
    (0..rounds).map(|round| all.clone().narrow(0, round, 1).reshape([batch, values])).collect()
}

/// Noise handed out in the order of the fixture.
fn noise(values: Vec<f32>, device: &Device) -> impl FnMut([usize; 2]) -> Tensor<2> + use<> {
    let (mut used, device) = (0, device.clone());
    move |shape| {
        let first = used;
        used += shape[0] * shape[1];
        Tensor::from_data(TensorData::new(values[first..used].to_vec(), shape), &device)
    }
}

#[test]
fn first_outputs_losses_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gan/gan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let Gan { generator, discriminator, config } = training(&fixture, case, &dataset, &device).model;
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
        let mut noise = noise(theirs("noise").data.clone(), &device);
        let [x, z] =
            ["real", "z"].map(|name| rounds(&fixture, &format!("{case}.{name}"), 0, &device).remove(0));

        let fake = generator.forward(z);
        expect_close("examples", fake.clone(), theirs("fake"), FORWARD);
        let real_logits = discriminator.forward(x, Some(&mut noise));
        let fake_logits = discriminator.forward(fake.clone().detach(), Some(&mut noise));
        let d_loss = config.loss.of_discriminator(real_logits, fake_logits);
        let g_loss =
            config.loss.of_generator(discriminator.clone().no_grad().forward(fake, Some(&mut noise)));
        let losses = Tensor::cat(vec![d_loss.clone(), g_loss.clone()], 0);
        expect_close("losses", losses, theirs("losses"), FORWARD);

        let mut gradients = gradients_of("discriminator", &discriminator, &d_loss.backward());
        gradients.extend(gradients_of("generator", &generator, &g_loss.backward()));
        expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gan/gan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let mut training = training(&fixture, case, &dataset, &device);
        let drawn = fixture.array(&format!("{case}.noise"));
        let mut losses = Vec::new();
        for step in 0..10 {
            let [x, z] = ["real", "z"].map(|name| rounds(&fixture, &format!("{case}.{name}"), step, &device));
            let len = drawn.shape[1];
            let mut noise = noise(drawn.data[step * len..(step + 1) * len].to_vec(), &device);
            let metrics =
                training.with_step(step as u64, 1.0, |model, _, step| model.update(x, &z, &mut noise, step));
            losses.extend(metrics.read().iter().map(|(_, value)| *value as f32));
        }
        let losses = Tensor::<2>::from_data(TensorData::new(losses, [10, 4]), &device);
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), LOSSES);
        expect_change(&fixture, case, &training, CHANGE);
    }
}

#[test]
fn at_the_equilibrium_the_game_is_worth_minus_log_four() {
    // D = 1/2 everywhere (Theorem 1).
    let logits = || Tensor::<1>::zeros([5], &Device::flex());
    for loss in [Loss::NonSaturating, Loss::Saturating] {
        let value = loss.of_discriminator(logits(), logits()).into_scalar::<f64>();
        assert!((value - 4f64.ln()).abs() < 1e-6);
    }
    let half = logits() + 0.5;
    assert_eq!(Loss::LeastSquares.of_discriminator(half.clone(), half).into_scalar::<f64>(), 0.25);
}

#[test]
fn the_players_want_the_opposite_only_in_the_saturating_game() {
    let device = Device::flex();
    let fake = Tensor::<1>::from_floats([-3.0, 0.5], &device);
    let real = Tensor::<1>::from_floats([30.0, 30.0], &device);
    let d_loss = Loss::Saturating.of_discriminator(real, fake.clone()).into_scalar::<f64>();
    assert!((d_loss + Loss::Saturating.of_generator(fake).into_scalar::<f64>()).abs() < 1e-6);
}

#[test]
fn the_modes_of_a_ring_are_found() {
    let device = Device::flex().autodiff();
    let config = GanConfig {
        latent_dim: 2,
        prior: Prior::Normal,
        generator_hidden_dims: vec![64, 64],
        discriminator_hidden_dims: vec![64, 64],
        ..GanConfig::default()
    };
    let optimizer = OptimizerConfig { learning_rate: 1e-3, ..(Gan::ABOUT.optimizer)() };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rings");
    let options = poiesis_collect::Options { count: Some(5000), ..Default::default() };
    poiesis_collect::collect("rings".as_ref(), &out, &options, &|_| ()).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    let spec = DataSpec::of(&dataset).unwrap();
    let mut training = learner::<Gan>(&(config, optimizer), &spec, &dataset, 128, &device);
    for step in 0..1500 {
        training.step(step, 1.0).unwrap();
    }
    let latents: &dyn Latents = &training.model;
    let points = latents.decode(latents.draw(0, 0..500, &device), &[None; 500]);
    let points: Vec<f32> = points.into_data().iter::<f32>().collect();
    let near_the_ring = points.chunks(2).filter(|p| (p[0].hypot(p[1]) - 2.0).abs() < 0.4).count();
    assert!(near_the_ring > 350, "{near_the_ring} of 500 points are near the ring");
}

#[test]
fn it_conforms() {
    expect_conforms::<Gan>(
        "latent_dim=4 generator_hidden_dims=[8] discriminator_hidden_dims=[8,8] maxout_pieces=2 dropout=0.2",
        &["maxout_pieces=0", "dropout=1.0", "discriminator_steps=0", "generator_hidden_dims=[8,0]"],
    );
}
