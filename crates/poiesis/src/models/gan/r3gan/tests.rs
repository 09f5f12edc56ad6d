//! R3GAN against PyTorch, and what its parts promise.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::Dataset;

use super::augment::DRAWS;
use super::*;
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of, image_spec,
    learner, settings, shapes,
};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["plain", "classes"];
/// Outputs and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients.
const GRADIENT: f64 = 1e-5;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 1e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 2e-3;

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, dataset: &Dataset, device: &Device) -> Learner<R3Gan> {
    training_with(fixture, case, |_| {}, dataset, device)
}

/// The same with changed settings.
fn training_with(
    fixture: &Fixture,
    case: &str,
    change: impl FnOnce(&mut R3GanConfig),
    dataset: &Dataset,
    device: &Device,
) -> Learner<R3Gan> {
    let described = fixture.case(case);
    let shape = [0, 1, 2].map(|axis| described["shape"][axis].as_u64().unwrap() as usize);
    let classes = described["classes"].as_u64().unwrap() as usize;
    let mut settings = settings::<R3Gan>(&described["config"]);
    change(&mut settings.0);
    let mut training = learner::<R3Gan>(&settings, &image_spec(shape, classes), dataset, 4, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

/// The batch of step `step`.
fn batch(fixture: &Fixture, case: &str, step: usize, device: &Device) -> Batch {
    let real = fixture.step(&format!("{case}.real"), step, |pixel| pixel / 127.5 - 1.0, device);
    let classes: Tensor<1> = fixture.step(&format!("{case}.classes"), step, |class| class, device);
    let classes = classes.into_data().iter::<f32>().map(|class| Some(class as u32)).collect();
    Batch {
        real,
        z: fixture.step(&format!("{case}.z"), step, |z| z, device),
        classes,
        augment: vec![0.5; 8 * DRAWS],
    }
}

#[test]
fn first_outputs_losses_penalties_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gan/r3gan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let model = training(&fixture, case, &dataset, &device).model;
        let Batch { real, z, classes, .. } = batch(&fixture, case, 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
        let fake = model.generator.forward(z, &classes);
        expect_close("images", fake.clone(), theirs("fake"), FORWARD);

        let logits = |x: Tensor<4>| model.discriminator.forward(x, &classes);
        let d_loss = relativistic_loss(logits(real.clone()), logits(fake.clone().detach()));
        let penalties = [real.clone(), fake.clone()].map(|x| {
            let (gradient, at) = model.discriminator.input_gradient(x, &classes);
            model.discriminator.directional_derivative(gradient, &classes, &at).mean()
        });
        let frozen = model.discriminator.clone().no_grad();
        let g_loss = relativistic_loss(frozen.forward(fake, &classes), frozen.forward(real, &classes));
        let [r1, r2] = penalties;
        let losses = vec![d_loss.clone(), g_loss.clone(), r1.clone(), r2.clone()];
        expect_close("losses", Tensor::cat(losses, 0), theirs("losses"), FORWARD);

        let d_total = d_loss + (r1 + r2) * model.config.gamma;
        let mut gradients = gradients_of("discriminator", &model.discriminator, &d_total.backward());
        gradients.extend(gradients_of("generator", &model.generator, &g_loss.backward()));
        expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gan/r3gan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let mut training = training(&fixture, case, &dataset, &device);
        let mut losses = Vec::new();
        for step in 0..10 {
            let batch = batch(&fixture, case, step, &device);
            let metrics = training.with_step(step as u64, 1.0, |model, _, step| model.update(batch, step));
            losses.extend(metrics.read().iter().map(|(_, value)| *value as f32));
        }
        let losses = Tensor::<2>::from_data(TensorData::new(losses, [10, 5]), &device);
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), LOSSES);
        expect_change(&fixture, case, &training, CHANGE);
    }
}

#[test]
fn penalties_of_every_other_step_count_twice() {
    let (fixture, device) = (Fixture::read("gan/r3gan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    let stepped = |gamma: f64, every: usize, number: u64| {
        let change = |config: &mut R3GanConfig| (config.gamma, config.penalty_every) = (gamma, every);
        let mut training = training_with(&fixture, "plain", change, &dataset, &device);
        let batch = batch(&fixture, "plain", 0, &device);
        let metrics = training.with_step(number, 1.0, |model, _, step| model.update(batch, step));
        let features = training.model.discriminator.features(counting([2, 8, 16, 3]).autodiff());
        (features.into_data().iter::<f32>().collect::<Vec<_>>(), metrics.read().len())
    };
    let (without, reported) = stepped(0.5, 2, 0);
    assert_eq!(without, stepped(0.0, 1, 0).0);
    assert_eq!(reported, 3);
    assert_eq!(stepped(0.5, 2, 1), stepped(1.0, 1, 1));
    assert_ne!(without, stepped(0.5, 2, 1).0);
}

/// Values that count up.
fn counting<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let values = (0..shape.iter().product()).map(|i: usize| (i as f32 * 0.7).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn augmentation(target: f64) -> Augmentation {
    let config = R3GanConfig { augment_target: target, augment_images: 400, ..R3GanConfig::default() };
    Augmentation::new(&config, &mut Init::new(0, &Device::flex()))
}

#[test]
fn the_strength_of_augmentation_follows_how_often_real_images_win() {
    let adapting = augmentation(0.6);
    assert_eq!(adapting.probability(), 0.0);
    (0..20).for_each(|_| adapting.adapt(0.9, 10));
    assert!((adapting.probability() - 0.5).abs() < 1e-5);
    (0..5).for_each(|_| adapting.adapt(0.1, 10));
    assert!((adapting.probability() - 0.375).abs() < 1e-5);
    (0..100).for_each(|_| adapting.adapt(0.9, 10));
    assert_eq!(adapting.probability(), 1.0);
    let off = augmentation(0.0);
    off.adapt(1.0, 10);
    assert_eq!(off.probability(), 0.0);
}

/// A full augmentation of `x` by these numbers for each image.
fn augmented(x: Tensor<4>, draws: [f32; DRAWS]) -> Vec<f32> {
    let full = augmentation(0.5);
    (0..40).for_each(|_| full.adapt(1.0, 10));
    let draws = draws.repeat(x.dims()[0]);
    full.apply(x, &draws).into_data().iter::<f32>().collect()
}

#[test]
fn augmentation_recolours_moves_and_cuts() {
    let x = counting([2, 8, 8, 3]);
    let values: Vec<f32> = x.clone().into_data().iter::<f32>().collect();
    // Numbers of 1 are above any probability: nothing changes but by rounding.
    let same = augmented(x.clone(), [1.0; DRAWS]);
    assert!(same.iter().zip(&values).all(|(new, old)| (new - old).abs() < 1e-6));
    assert_eq!(
        augmentation(0.5).apply(x.clone(), &[0.0; 2 * DRAWS]).into_data().iter::<f32>().collect::<Vec<_>>(),
        values
    );

    let brighter = augmented(x.clone(), [0.0, 0.75, 0.5, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    assert!(brighter.iter().zip(&values).all(|(new, old)| (new - old - 0.25).abs() < 1e-6));
    let grey = augmented(x.clone(), [0.0, 0.5, 0.0, 0.5, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    assert!(grey.chunks(3).all(|pixel| (pixel[0] - pixel[2]).abs() < 1e-6));

    // An eighth of 8 rows down, and of 8 columns to the left.
    let moved = augmented(x.clone(), [1.0, 0.0, 0.0, 0.0, 0.0, 0.99, 0.0, 1.0, 0.0, 0.0]);
    let at = |values: &[f32], row: usize, column: usize| values[(row * 8 + column) * 3];
    assert!((at(&moved, 3, 2) - at(&values, 2, 3)).abs() < 1e-6);
    assert_eq!((at(&moved, 0, 2), at(&moved, 3, 7)), (0.0, 0.0));

    // Four rows and columns around the centre.
    let cut = augmented(x, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.5, 0.5]);
    assert_eq!((at(&cut, 2, 2), at(&cut, 5, 5)), (0.0, 0.0));
    assert!(
        (at(&cut, 1, 5) - at(&values, 1, 5)).abs() < 1e-6
            && (at(&cut, 6, 6) - at(&values, 6, 6)).abs() < 1e-6
    );
}

#[test]
fn it_conforms() {
    expect_conforms::<R3Gan>(
        "latent_dim=4 width=4 max_width=8 expansion=1 group_width=4",
        &[
            "group_width=4 expansion=1 max_width=8 width=6",
            "gamma=-1",
            "augment_target=1.0",
            "blocks=0",
            "penalty_every=0",
        ],
    );
}
