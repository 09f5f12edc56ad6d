//! InfoGAN against PyTorch, and what the information means.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::Dataset;

use super::*;
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::rng;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of, image_spec,
    learner, settings, shapes,
};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["mnist", "colour"];
/// Outputs and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients, which batch normalisation of few values computes from differences of near ones.
const GRADIENT: f64 = 2e-5;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 2e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 2e-3;

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, dataset: &Dataset, device: &Device) -> Learner<InfoGan> {
    let described = fixture.case(case);
    let shape = [0, 1, 2].map(|axis| described["shape"][axis].as_u64().unwrap() as usize);
    let settings = settings::<InfoGan>(&described["config"]);
    let mut training = learner::<InfoGan>(&settings, &image_spec(shape, 0), dataset, 4, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

fn real(fixture: &Fixture, case: &str, step: usize, device: &Device) -> Tensor<4> {
    fixture.step(&format!("{case}.real"), step, |pixel| pixel / 127.5 - 1.0, device)
}

fn latents(fixture: &Fixture, case: &str, step: usize, device: &Device) -> Tensor<2> {
    fixture.step(&format!("{case}.z"), step, |z| z, device)
}

#[test]
fn first_outputs_losses_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gan/infogan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let model = training(&fixture, case, &dataset, &device).model;
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
        let z = latents(&fixture, case, 0, &device);
        let fake = model.generator.forward(z.clone(), Mode::Train);
        expect_close("images", fake.clone(), theirs("fake"), FORWARD);

        let of_real = model.discriminator.forward(real(&fixture, case, 0, &device), Mode::Train);
        let of_fake = model.discriminator.forward(fake.clone().detach(), Mode::Train);
        let of_d = model.information(&of_fake.codes, &z);
        let d_loss = discriminator_loss(of_real.logits, of_fake.logits);
        let of_fake = model.discriminator.clone().no_grad().forward(fake, Mode::Train);
        let of_g = model.information(&of_fake.codes, &z);
        let g_loss = generator_loss(of_fake.logits);
        let losses = vec![
            d_loss.clone(),
            of_d.categorical.clone(),
            of_d.continuous.clone(),
            g_loss.clone(),
            of_g.categorical.clone(),
            of_g.continuous.clone(),
        ];
        expect_close("losses", Tensor::cat(losses, 0), theirs("losses"), FORWARD);

        let d_total = d_loss - model.weighted(&of_d);
        let g_total = g_loss - model.weighted(&of_g);
        let mut gradients = gradients_of("discriminator", &model.discriminator, &d_total.backward());
        gradients.extend(gradients_of("generator", &model.generator, &g_total.backward()));
        expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_and_the_codes_then_read_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("gan/infogan"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let mut training = training(&fixture, case, &dataset, &device);
        let mut losses = Vec::new();
        for step in 0..10 {
            let (x, z) = (real(&fixture, case, step, &device), latents(&fixture, case, step, &device));
            let metrics = training.with_step(step as u64, 1.0, |model, _, step| model.update(x, &z, step));
            losses.extend(metrics.read().iter().map(|(_, value)| *value as f32));
        }
        let losses = Tensor::<2>::from_data(TensorData::new(losses, [10, 6]), &device);
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), LOSSES);
        expect_change(&fixture, case, &training, CHANGE);
        let codes = training.model.encode(flatten(real(&fixture, case, 0, &device)), &[]);
        expect_close("codes", codes, fixture.array(&format!("{case}.codes")), LOSSES * 5.0);
    }
}

/// Codes that Q gives with these logits and means.
fn codes(logits: Vec<f32>, mean: f32, batch: usize) -> Codes {
    let device = Device::flex();
    let size = logits.len() / batch;
    let categorical = vec![Tensor::from_data(TensorData::new(logits, [batch, size]), &device)];
    let mean = Tensor::<2>::full([batch, 1], mean, &device);
    Codes { categorical, continuous: Some((mean.clone(), mean.zeros_like())) }
}

#[test]
fn information_is_the_entropy_for_a_sure_and_right_q_and_nothing_for_one_that_knows_nothing() {
    let config =
        InfoGanConfig { noise_dim: 0, categorical: vec![4], continuous: 1, ..InfoGanConfig::default() };
    let model = InfoGan::new(&config, &image_spec([8, 8, 1], 0), &mut Init::new(0, &Device::flex())).unwrap();
    let z = Tensor::<2>::from_data([[0.0, 0.0, 1.0, 0.0, 0.5]], &Device::flex());
    let of = |logits: [f32; 4]| {
        let information = model.information(&codes(logits.to_vec(), 0.5, 1), &z);
        [information.categorical, information.continuous].map(|value| value.into_scalar::<f64>())
    };
    let [sure, continuous] = of([0.0, 0.0, 1e4, 0.0]);
    assert!((sure - 4f64.ln()).abs() < 1e-6);
    // log N(c; c, 1) + log 2.
    assert!((continuous - (LN_2 - 0.5 * TAU.ln())).abs() < 1e-6);
    assert!(of([1.0; 4])[0].abs() < 1e-6);
    assert!(of([0.0, 0.0, -1e4, 0.0])[0] < -1e3, "sure and wrong");
}

#[test]
fn information_of_categories_never_exceeds_their_entropy() {
    let config =
        InfoGanConfig { noise_dim: 0, categorical: vec![5], continuous: 1, ..InfoGanConfig::default() };
    let model = InfoGan::new(&config, &image_spec([8, 8, 1], 0), &mut Init::new(0, &Device::flex())).unwrap();
    for seed in 0..50 {
        let mut generator = rng::generator(seed, "test", 0);
        let logits = rng::normal(&mut generator, 5 * 8).iter().map(|x| x * 10.0).collect();
        let z = draw_latent(&config.parts(), &mut generator, 8);
        let z = Tensor::<2>::from_data(TensorData::new(z, [8, 6]), &Device::flex());
        let bound = model.information(&codes(logits, 0.0, 8), &z).categorical.into_scalar::<f64>();
        assert!(bound <= 5f64.ln() + 1e-6, "{bound}");
    }
}

#[test]
fn latents_have_one_category_of_each_code() {
    let config =
        InfoGanConfig { noise_dim: 2, categorical: vec![3, 4], continuous: 2, ..InfoGanConfig::default() };
    assert_eq!(config.latent_dim(), 11);
    let z = draw_latent(&config.parts(), &mut rng::generator(1, "test", 0), 400);
    let mut chosen = [0; 3];
    for latent in z.chunks(11) {
        let (noise, rest) = latent.split_at(2);
        assert!(noise.iter().chain(&rest[7..]).all(|x| (-1.0..1.0).contains(x)));
        for code in [&rest[..3], &rest[3..7]] {
            assert_eq!(code.iter().filter(|&&x| x == 1.0).count(), 1);
            assert_eq!(code.iter().sum::<f32>(), 1.0);
        }
        chosen[rest[..3].iter().position(|&x| x == 1.0).unwrap()] += 1;
    }
    // A third of 400, and four standard deviations.
    assert!(chosen.iter().all(|count| (96..171).contains(count)), "{chosen:?}");
}

#[test]
fn it_conforms() {
    expect_conforms::<InfoGan>(
        "noise_dim=4 categorical=[3] continuous=1 generator_widths=[8,4] discriminator_widths=[4,8] hidden_dim=8 q_dim=8",
        &[
            "categorical=[0]",
            "generator_widths=[]",
            "leak=2.0",
            "categorical_weight=-1",
            "generator_widths=[4,4,4]",
        ],
    );
}
