//! The DCGAN against PyTorch, and on a toy problem.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::Dataset;

use super::*;
use crate::model::{Learner, Session as _};
use crate::nn::{StateDict, num_parameters};
use crate::rng;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of, image_spec,
    learner, settings, shapes,
};

/// The cases of `parity.py`.
const CASES: [&str; 3] = ["popular", "paper", "conditional"];
/// Classes of the data of the last of them.
const CLASSES: usize = 3;
/// Outputs and losses relative to the largest, f32 here against f64 there: some ten roundings in a row.
const FORWARD: f64 = 2e-6;
/// Gradients: twice as many roundings, and batch normalisation of few values takes differences of near ones.
const GRADIENT: f64 = 1e-5;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 1e-5;
/// What ten steps changed, relative to the largest change of an array: a γ near 1 is rounded by 6e-8 ten times, and
/// changes by 2e-3.
const CHANGE: f64 = 4e-4;

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, dataset: &Dataset, device: &Device) -> Learner<Dcgan> {
    let spec = image_spec([16, 24, 3], CLASSES);
    let mut training = learner::<Dcgan>(&settings::<Dcgan>(fixture.case(case)), &spec, dataset, 4, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

fn real(fixture: &Fixture, step: usize, device: &Device) -> Tensor<4> {
    fixture.step("real", step, |pixel| pixel / 127.5 - 1.0, device)
}

fn latents(fixture: &Fixture, case: &str, step: usize, device: &Device) -> Tensor<2> {
    fixture.step(&format!("{case}.z"), step, |z| z, device)
}

/// The classes of a step, none in cases without.
fn classes(fixture: &Fixture, case: &str, step: usize) -> Vec<Option<u32>> {
    if case != "conditional" {
        return Vec::new();
    }
    let classes = fixture.step::<1>("conditional.classes", step, |class| class, &Device::flex());
    let class = |class: f32| Some(class as u32).filter(|&class| class < CLASSES as u32);
    classes.into_data().iter::<f32>().map(class).collect()
}

#[test]
fn first_outputs_losses_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gan/dcgan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [16, 24]);
    for case in CASES {
        let Dcgan { generator, discriminator, .. } = training(&fixture, case, &dataset, &device).model;
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));

        let y = classes(&fixture, case, 0);
        let fake = generator.forward(latents(&fixture, case, 0, &device), &y, Mode::Train);
        expect_close("images", fake.clone(), theirs("fake"), FORWARD);
        let real_logits = discriminator.forward(real(&fixture, 0, &device), &y, Mode::Train);
        expect_close("logits of data", real_logits.clone(), theirs("real_logits"), FORWARD);
        let fake_logits = discriminator.forward(fake.clone().inner().autodiff(), &y, Mode::Train);
        expect_close("logits of images", fake_logits.clone(), theirs("fake_logits"), FORWARD);

        let d_loss = discriminator_loss(real_logits, fake_logits);
        let g_loss = generator_loss(discriminator.clone().no_grad().forward(fake, &y, Mode::Train));
        let losses = Tensor::cat(vec![d_loss.clone(), g_loss.clone()], 0);
        expect_close("losses", losses, theirs("losses"), FORWARD);

        let mut gradients = gradients_of("discriminator", &discriminator, &d_loss.backward());
        gradients.extend(gradients_of("generator", &generator, &g_loss.backward()));
        expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gan/dcgan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [16, 24]);
    for case in CASES {
        let mut training = training(&fixture, case, &dataset, &device);
        let mut losses = Vec::new();
        for step in 0..10 {
            let (x, z) = (real(&fixture, step, &device), latents(&fixture, case, step, &device));
            let y = classes(&fixture, case, step);
            let metrics = training.with_step(step as u64, 1.0, |model, _, step| model.update(x, &y, z, step));
            losses.extend(metrics.read().iter().map(|(_, value)| *value as f32));
        }
        let losses = Tensor::<2>::from_data(TensorData::new(losses, [10, 4]), &device);
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), LOSSES);

        expect_change(&fixture, case, &training, CHANGE);

        let (z, y) = (latents(&fixture, case, 0, &device), classes(&fixture, case, 0));
        let samples = training.model.generator.forward(z, &y, Mode::Eval);
        expect_close("samples", samples, fixture.array(&format!("{case}.samples")), LOSSES);
    }
}

#[test]
fn the_popular_settings_give_the_popular_numbers_of_parameters() {
    let config = DcganConfig { kernel: 4, width: 64, ..DcganConfig::default() };
    let mut init = Init::blank(&Device::flex());
    let model = Dcgan::new(&config, &image_spec([64, 64, 3], 0), &mut init).unwrap();
    assert_eq!(num_parameters(&model.generator), 3_576_704);
    assert_eq!(num_parameters(&model.discriminator), 2_765_568);
}

/// Flat images whose red is drawn from N(0.5, 0.15²), whose green is always -0.5 and whose blue is minus the red.
fn flat(count: usize, seed: u64, device: &Device) -> Tensor<4> {
    let reds = rng::normal(&mut rng::generator(seed, "test", 0), count);
    let pixels = reds.iter().flat_map(|normal| {
        let red = 0.5 + 0.15 * normal;
        [red, -0.5, -red].repeat(64)
    });
    Tensor::from_data(TensorData::new(pixels.collect(), [count, 8, 8, 3]), device)
}

#[test]
fn flat_images_and_the_spread_of_their_colours_are_learned() {
    let device = Device::flex().autodiff();
    let config = DcganConfig { latent_dim: 4, width: 16, kernel: 4, ..DcganConfig::default() };
    let optimizer = OptimizerConfig { learning_rate: 1e-3, weight_decay: 0.0, ..(Dcgan::ABOUT.optimizer)() };
    let (_folder, dataset) = shapes(8, [8, 8]);
    let spec = image_spec([8, 8, 3], 0);
    let mut training = learner::<Dcgan>(&(config, optimizer), &spec, &dataset, 32, &device);
    for step in 0..600 {
        training.with_step(step, 1.0, |model, _, step| {
            let z = draw_latent(&model.latent(), &mut step.generator("train latents"), 32);
            let z = step.tensor(z, [32, 4]);
            model.update(flat(32, step.number, step.device), &[], z, step)
        });
    }

    let latents: &dyn Latents = &training.model;
    let drawn = latents.draw(0, 0..200, &device);
    let pixels = latents.decode(drawn, &[None; 200]).reshape([200, 64, 3]);
    let colours = pixels.clone().mean_dim(1);
    let unevenness = (pixels - colours.clone()).square().mean().sqrt().into_scalar::<f32>();
    let colours: Vec<f32> = colours.into_data().iter::<f32>().collect();
    let channel = |c: usize| colours.iter().skip(c).step_by(3).map(|&x| f64::from(x)).collect::<Vec<_>>();
    let [red, green, blue] = [0, 1, 2].map(channel);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let covariance = |a: &[f64], b: &[f64]| {
        let (mean_a, mean_b) = (mean(a), mean(b));
        mean(&a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).collect::<Vec<_>>())
    };
    // When this was written: 0.48, -0.49 and -0.56 for means, -0.997 for the correlation.
    for (channel, theirs) in [(&red, 0.5), (&green, -0.5), (&blue, -0.5)] {
        assert!((mean(channel) - theirs).abs() < 0.2, "{} {theirs}", mean(channel));
    }
    let deviation = covariance(&red, &red).sqrt();
    assert!((0.05..0.4).contains(&deviation), "the deviation of red is {deviation}");
    let correlation = covariance(&red, &blue) / (deviation * covariance(&blue, &blue).sqrt());
    assert!(correlation < -0.8, "red and blue are correlated by {correlation}");
    assert!(unevenness < 0.25, "pixels of an image deviate by {unevenness}");
}

#[test]
fn a_sample_of_a_class_is_of_that_class() {
    let device = Device::flex().autodiff();
    let config =
        DcganConfig { latent_dim: 4, width: 8, kernel: 4, conditional: true, ..DcganConfig::default() };
    let optimizer = OptimizerConfig { learning_rate: 1e-3, weight_decay: 0.0, ..(Dcgan::ABOUT.optimizer)() };
    let (_folder, dataset) = shapes(8, [8, 8]);
    let mut training =
        learner::<Dcgan>(&(config, optimizer), &image_spec([8, 8, 1], 2), &dataset, 16, &device);
    // Class 0 is dark and class 1 is bright, each a little different every time.
    let classes: Vec<Option<u32>> = (0..16).map(|i| Some(i % 2)).collect();
    let level = |class: Option<u32>| class.map_or(0.0, |class| class as f32 - 0.5);
    for step in 0..400 {
        training.with_step(step, 1.0, |model, _, step| {
            let noise = rng::normal(&mut step.generator("test"), 16);
            let pixels = classes.iter().zip(noise).flat_map(|(&class, n)| [level(class) + 0.05 * n; 64]);
            let real = Tensor::from_data(TensorData::new(pixels.collect(), [16, 8, 8, 1]), step.device);
            let z = draw_latent(&model.latent(), &mut step.generator("train latents"), 16);
            model.update(real, &classes, step.tensor(z, [16, 4]), step)
        });
    }
    let latents: &dyn Latents = &training.model;
    assert_eq!(latents.num_classes(), 2);
    let mean = |class: u32| {
        let images = latents.decode(latents.draw(0, 0..32, &device), &[Some(class); 32]);
        f64::from(images.mean().into_scalar::<f32>())
    };
    let means = [mean(0), mean(1)];
    // With PyTorch −0.50 and 0.49, give or take 0.03.
    assert!(means[0] < -0.35 && means[1] > 0.35, "{means:?}");
}

#[test]
fn it_conforms() {
    expect_conforms::<Dcgan>("width=4 latent_dim=8", &["width=0", "kernel=6", "conditional=true"]);
    expect_conforms::<Dcgan>("width=4 latent_dim=8 conditional=true", &[]);
}
