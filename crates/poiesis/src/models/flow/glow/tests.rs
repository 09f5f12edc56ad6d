//! Glow against PyTorch, against its Jacobian, and on a toy problem.

use burn::tensor::{Device, TensorData};
use poiesis_collect::Dataset;
use serde_json::from_value;

use super::super::testing::{expect_inverse, expect_log_det, floats, noise, shaken};
use super::*;
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::optim::OptimizerConfig;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of, image_spec,
    learner, refusal, settings, shapes, source,
};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["uniform", "variational"];
/// Latents, log-determinants and losses relative to the largest, f32 here against f64 there: several steps of the flow in a row.
const FORWARD: f64 = 1e-5;
/// Gradients: twice as many roundings, and scales multiply them.
const GRADIENT: f64 = 5e-5;
/// What ten steps changed, relative to the largest change of an array: Adam divides each gradient by its own size at first, so that
/// the rounding of small ones is felt in full.
const CHANGE: f64 = 1e-3;

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, dataset: &Dataset, device: &Device) -> Learner<Glow> {
    let described = fixture.case(case);
    let shape: [usize; 3] = from_value(described["shape"].clone()).unwrap();
    let settings = settings::<Glow>(&described["config"]);
    // The first values of such a model are those of images of its own shape, which the fixture replaces.
    let spec = image_spec(shape, 0);
    let data = source::<Glow>(&settings.0, dataset, 2, device);
    let model = Glow::new(&settings.0, &spec, &mut Init::new(1, device)).unwrap();
    let mut training = Learner::of(model, &settings.0, &settings.1, data, 1, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

/// Images and noise of a step.
fn inputs(fixture: &Fixture, case: &str, step: usize, device: &Device) -> (Tensor<4>, Tensor<4>) {
    let x = fixture.step(&format!("{case}.pixels"), step, |pixel| pixel / 127.5 - 1.0, device);
    (x, fixture.step(&format!("{case}.noise"), step, |x| x, device))
}

#[test]
fn first_latents_log_determinants_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("flow/glow"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let model = training(&fixture, case, &dataset, &device).model;
        let (x, noise) = inputs(&fixture, case, 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));

        let (z, log_det) = model.forward(middle(x.clone()));
        expect_close("z", z, theirs("z"), FORWARD);
        expect_close("log-determinant", log_det, theirs("log_det"), FORWARD);
        let loss = model.loss(&x, noise);
        expect_close("loss", loss.clone(), theirs("loss"), FORWARD);

        let gradients = loss.backward();
        let mut ours = gradients_of("scales", &model.scales, &gradients);
        ours.extend(gradients_of("dequantizer", &model.dequantizer, &gradients));
        expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("flow/glow"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let mut training = training(&fixture, case, &dataset, &device);
        let mut losses = Vec::new();
        for step in 0..10 {
            let (x, noise) = inputs(&fixture, case, step, &device);
            let metrics =
                training.with_step(step as u64, 1.0, |model, _, step| model.update(&x, noise, step)).read();
            losses.push(metrics[0].1 as f32);
        }
        let losses = Tensor::<1>::from_data(TensorData::new(losses, [10]), &device);
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), FORWARD);
        expect_change(&fixture, case, &training, CHANGE);
    }
}

/// A small model of images of this shape in which nothing is zero.
fn made(shape: [usize; 3]) -> Glow {
    let config = GlowConfig { depth: 2, width: 4, ..GlowConfig::default() };
    let model = Glow::new(&config, &image_spec(shape, 0), &mut Init::new(1, &Device::flex())).unwrap();
    shaken(&model, 0.1, 2)
}

#[test]
fn images_come_back_and_the_log_determinant_is_that_of_the_jacobian() {
    let device = Device::flex();
    let model = made([16, 32, 3]);
    let y = noise([2, 16, 32, 3], 3, &device) * 0.2 + 0.5;
    expect_inverse(y, |y| model.forward(y).0, |z| model.inverse(z));

    let model = made([8, 8, 1]);
    expect_log_det(noise([1, 8, 8, 1], 4, &device) * 0.2 + 0.5, |y| {
        let (z, log_det) = model.forward(y);
        let batch = z.dims()[0];
        (z.reshape([batch, 8, 8, 1]), log_det)
    });
}

#[test]
fn images_survive_being_encoded_and_decoded_and_latents_of_all_scales_are_parts() {
    let device = Device::flex();
    let model = made([28, 28, 1]);
    let levels = (0..784).map(|i| (i % 256) as f32 / 127.5 - 1.0).collect::<Vec<f32>>();
    let images = Tensor::<2>::from_data(TensorData::new(levels, [1, 784]), &device);
    let again = model.decode(model.encode(images.clone(), &[None]), &[None]);
    // A level is 2 / 255 wide.
    assert!((again - images).abs().max().into_scalar::<f64>() < 1e-3);
    let sizes: Vec<usize> = model.parts().iter().map(|part| part.size).collect();
    assert_eq!(sizes, [392, 392]);
}

#[test]
fn at_a_temperature_of_zero_all_samples_are_the_same() {
    let device = Device::flex();
    let model = made([8, 8, 1]);
    let latents: &dyn Latents = &model;
    let cold = latents.decode(latents.draw(0, 0..2, &device) * 0.0, &[None; 2]);
    let [first, second] = [0, 1].map(|row| floats(cold.clone().narrow(0, row, 1)));
    assert_eq!(first, second);
}

#[test]
fn sixty_steps_on_shapes_lower_the_bound() {
    let device = Device::flex().autodiff();
    let config = GlowConfig { depth: 2, width: 16, ..GlowConfig::default() };
    let optimizer = OptimizerConfig { learning_rate: 3e-3, clip: 100.0, ..OptimizerConfig::default() };
    let (_folder, dataset) = shapes(500, [16, 16]);
    let spec = image_spec([16, 16, 3], 0);
    let mut training = learner::<Glow>(&(config, optimizer), &spec, &dataset, 16, &device);
    let bits: Vec<f64> = (0..60).map(|step| training.step(step, 1.0).unwrap().read()[1].1).collect();
    let mean = |bits: &[f64]| bits.iter().sum::<f64>() / bits.len() as f64;
    let (before, after) = (mean(&bits[..5]), mean(&bits[55..]));
    assert!(after < before - 1.0, "{before} {after}");
}

#[test]
fn sides_that_do_not_halve_are_refused() {
    let refusal = refusal::<Glow>(&GlowConfig::default(), &image_spec([30, 30, 1], 0));
    assert!(refusal.contains("data.size"), "{refusal}");
}

#[test]
fn it_conforms() {
    expect_conforms::<Glow>("depth=1 width=4", &["depth=0", "width=0", "dequantization_width=0"]);
    expect_conforms::<Glow>("depth=1 width=4 dequantization='variational' dequantization_width=2", &[]);
}
