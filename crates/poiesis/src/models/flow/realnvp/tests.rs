//! Real NVP against PyTorch, against its Jacobian, and on the plane.

use burn::tensor::{Device, TensorData};
use poiesis_collect::{Dataset, Options, Split, collect};
use serde_json::from_value;

use super::super::testing::{expect_inverse, expect_log_det, floats, noise, shaken};
use super::*;
use crate::data::{Examples, PointShape};
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::optim::OptimizerConfig;
use crate::rng;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of, image_spec,
    learner, refusal, settings, shapes, source,
};

/// The cases of `parity.py`.
const CASES: [&str; 3] = ["points", "images", "variational"];
/// Latents, log-determinants and losses relative to the largest, f32 here against f64 there: up to sixteen couplings in a row.
const FORWARD: f64 = 1e-5;
/// Gradients: twice as many roundings, and scales multiply them.
const GRADIENT: f64 = 5e-5;
/// What ten steps changed, relative to the largest change of an array: Adam divides each gradient by its own size at first, so that
/// the rounding of small ones is felt in full.
const CHANGE: f64 = 1e-3;

fn points_of(dims: usize) -> DataSpec {
    DataSpec { content: Content::Points(PointShape::new(dims)), classes: 0, unlabelled: false }
}

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, dataset: &Dataset, device: &Device) -> Learner<RealNvp> {
    let described = fixture.case(case);
    let shape: [usize; 3] = from_value(described["shape"].clone()).unwrap();
    let spec = if shape[0] == 1 { points_of(shape[2]) } else { image_spec(shape, 0) };
    let settings = settings::<RealNvp>(&described["config"]);
    // The first values of such a model are those of examples of its own shape, which the fixture replaces.
    let data = source::<RealNvp>(&settings.0, dataset, 2, device);
    let model = RealNvp::new(&settings.0, &spec, &mut Init::new(1, device)).unwrap();
    let mut training = Learner::of(model, &settings.0, &settings.1, data, 1, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

/// Examples and noise of a step.
fn inputs(fixture: &Fixture, case: &str, step: usize, device: &Device) -> (Tensor<4>, Option<Tensor<4>>) {
    if case == "points" {
        return (fixture.step("points.points", step, |x| x, device), None);
    }
    let x = fixture.step(&format!("{case}.pixels"), step, |pixel| pixel / 127.5 - 1.0, device);
    (x, Some(fixture.step(&format!("{case}.noise"), step, |x| x, device)))
}

#[test]
fn first_latents_log_determinants_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("flow/realnvp"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let model = training(&fixture, case, &dataset, &device).model;
        let (x, noise) = inputs(&fixture, case, 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));

        let y = if noise.is_some() { middle(x.clone()) } else { x.clone() };
        let (z, log_det) = model.forward(y);
        expect_close("z", z, theirs("z"), FORWARD);
        expect_close("log-determinant", log_det, theirs("log_det"), FORWARD);
        let loss = model.loss(x, noise);
        expect_close("loss", loss.clone(), theirs("loss"), FORWARD);

        let gradients = loss.backward();
        let mut ours = gradients_of("scales", &model.scales, &gradients);
        ours.extend(gradients_of("dequantizer", &model.dequantizer, &gradients));
        expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("flow/realnvp"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [8, 8]);
    for case in CASES {
        let mut training = training(&fixture, case, &dataset, &device);
        let mut losses = Vec::new();
        for step in 0..10 {
            let (x, noise) = inputs(&fixture, case, step, &device);
            let metrics =
                training.with_step(step as u64, 1.0, |model, _, step| model.update(x, noise, step)).read();
            losses.push(metrics[0].1 as f32);
        }
        let losses = Tensor::<1>::from_data(TensorData::new(losses, [10]), &device);
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), FORWARD);
        expect_change(&fixture, case, &training, CHANGE);
    }
}

/// A small model of this data in which nothing is zero.
fn made(spec: &DataSpec, deviation: f32) -> RealNvp {
    let config =
        RealNvpConfig { width: 2, blocks: 1, couplings: 4, hidden_dim: 8, ..RealNvpConfig::default() };
    shaken(&RealNvp::new(&config, spec, &mut Init::new(1, &Device::flex())).unwrap(), deviation, 2)
}

#[test]
fn images_and_points_come_back_and_the_log_determinant_is_that_of_the_jacobian() {
    let device = Device::flex();
    let as_image = |z: Tensor<2>, [height, width, channels]: [usize; 3]| {
        let batch = z.dims()[0];
        z.reshape([batch, height, width, channels])
    };
    let model = made(&image_spec([16, 8, 3], 0), 0.05);
    let y = noise([2, 16, 8, 3], 3, &device).clamp(-2.0, 2.0) * 0.2 + 0.5;
    expect_inverse(y, |y| model.forward(y).0, |z| model.inverse(z));

    let model = made(&image_spec([8, 8, 1], 0), 0.05);
    let y = noise([1, 8, 8, 1], 4, &device).clamp(-2.0, 2.0) * 0.2 + 0.5;
    expect_log_det(y, |y| {
        let (z, log_det) = model.forward(y);
        (as_image(z, [8, 8, 1]), log_det)
    });

    let model = made(&points_of(3), 0.3);
    expect_inverse(noise([5, 1, 1, 3], 5, &device), |y| model.forward(y).0, |z| model.inverse(z));
    expect_log_det(noise([1, 1, 1, 3], 6, &device), |y| {
        let (z, log_det) = model.forward(y);
        (as_image(z, [1, 1, 3]), log_det)
    });
}

#[test]
fn examples_survive_being_encoded_and_decoded() {
    let device = Device::flex();
    let model = made(&image_spec([16, 16, 1], 0), 0.05);
    let levels = (0..512).map(|i| (i % 256) as f32 / 127.5 - 1.0).collect::<Vec<f32>>();
    let images = Tensor::<2>::from_data(TensorData::new(levels, [2, 256]), &device);
    let again = model.decode(model.encode(images.clone(), &[None; 2]), &[None; 2]);
    // A level is 2 / 255 wide.
    assert!((again - images).abs().max().into_scalar::<f64>() < 1e-3);
    let sizes: Vec<usize> = model.parts().iter().map(|part| part.size).collect();
    assert_eq!(sizes, [128, 64, 64]);
}

#[test]
fn the_density_of_a_model_of_the_plane_is_one_in_all() {
    let device = Device::flex();
    let model = made(&points_of(2), 0.15);
    // Squares of 0.05 of the plane around the origin.
    let (side, reach) = (400, 10.0);
    let at = |i: usize| (i as f32 + 0.5) / side as f32 * 2.0 * reach - reach;
    let points = (0..side).flat_map(|row| (0..side).flat_map(move |column| [at(column), at(row)]));
    let points = Tensor::from_data(TensorData::new(points.collect(), [side * side, 2]), &device);
    let log_probs = PointLikelihood::log_prob(&model, points, &[]);
    let area = f64::from(2.0 * reach / side as f32).powi(2);
    let sum = log_probs.iter().map(|log_prob| log_prob.exp()).sum::<f64>() * area;
    // What the samples say of how much lies outside of the square: nothing.
    let latents: &dyn Latents = &model;
    let samples = latents.decode(latents.draw(0, 0..1000, &device), &[None; 1000]);
    assert!(samples.abs().max().into_scalar::<f64>() < 0.9 * f64::from(reach));
    assert!((sum - 1.0).abs() < 2e-3, "{sum}");
}

#[test]
fn a_bound_depends_on_seed_and_number_of_an_image_alone() {
    let device = Device::flex();
    for dequantization in [Dequantization::Uniform, Dequantization::Variational] {
        let config = RealNvpConfig { width: 2, blocks: 0, dequantization, ..RealNvpConfig::default() };
        let spec = image_spec([8, 8, 1], 0);
        let model = RealNvp::new(&config, &spec, &mut Init::new(1, &device)).unwrap();
        let images = noise([3, 8, 8, 1], 1, &device).clamp(-1.0, 1.0);
        let all = model.log_weights(images.clone(), &[None; 3], 5, &[7, 8, 9], 0..2);
        let one = model.log_weights(images.narrow(0, 1, 1), &[None], 5, &[8], 1..2);
        assert!((all.log_w[1][1] - one.log_w[0][0]).abs() < 1e-3);
        assert!(all.log_w[1][0] != all.log_w[1][1]);
        assert_eq!((all.reconstruction[1], all.kl[1]), (0.0, -all.log_w[1][0]));
    }
}

#[test]
fn rings_are_learned_far_better_than_a_normal_distribution_would_be() {
    let device = Device::flex().autodiff();
    let config = RealNvpConfig { couplings: 8, hidden_dim: 32, ..RealNvpConfig::default() };
    let optimizer = OptimizerConfig { learning_rate: 3e-3, clip: 5.0, ..OptimizerConfig::default() };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rings");
    collect("rings".as_ref(), &out, &Options { count: Some(5000), ..Options::default() }, &|_| ()).unwrap();
    let dataset = Dataset::open(&out).unwrap();
    let spec = DataSpec::of(&dataset).unwrap();
    let mut training = learner::<RealNvp>(&(config, optimizer), &spec, &dataset, 128, &device);
    let mut nll = 0.0;
    for step in 0..800 {
        let value = training.step(step, 1.0).unwrap().read()[0].1;
        if step >= 700 {
            nll += value / 100.0;
        }
    }
    // A normal distribution of deviation √2 has 3.53 nats; eight modes of deviation 0.02 have −2.9.
    assert!(nll < 1.0, "{nll}");
    let latents: &dyn Latents = &training.model;
    let points = latents.decode(latents.draw(0, 0..500, &device), &[None; 500]);
    let points = floats(points);
    let near_the_ring = points.chunks(2).filter(|p| (p[0].hypot(p[1]) - 2.0).abs() < 0.4).count();
    assert!(near_the_ring > 350, "{near_the_ring} of 500 points are near the ring");
}

#[test]
fn first_values_bring_any_data_to_a_normal_distribution() {
    let device = Device::flex();
    let config = RealNvpConfig { couplings: 2, ..RealNvpConfig::default() };
    let mut model = RealNvp::new(&config, &points_of(2), &mut Init::new(1, &device)).unwrap();
    let x = noise([500, 1, 1, 2], 1, &device) * 300.0 - 5000.0;
    model.set_first_values(x.clone(), None);
    let (z, _) = model.forward(x.clone());
    let (mean, square) = (z.clone().mean().into_scalar::<f64>(), z.square().mean().into_scalar::<f64>());
    assert!(mean.abs() < 1e-2 && (square - 1.0).abs() < 1e-2, "{mean} {square}");
    // log p of a normal distribution of deviation 300 in each of two dimensions.
    let nll = model.loss(x, None).into_scalar::<f64>();
    let expected = 2.0 * (300f64.ln() + 0.5 * (std::f64::consts::TAU.ln() + 1.0));
    assert!((nll - expected).abs() < 0.1, "{nll} {expected}");
}

/// A table of `count` rows as a data set, each row made from its number.
fn packed(header: &str, count: usize, row: impl Fn(usize) -> String) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let (table, out) = (folder.path().join("table.csv"), folder.path().join("packed"));
    let rows: String = (0..count).map(|at| row(at) + "\n").collect();
    std::fs::write(&table, format!("{header}\n{rows}")).unwrap();
    collect(&table, &out, &Options::default(), &|_| ()).unwrap();
    (folder, Dataset::open(&out).unwrap())
}

/// A normal column, and two of few values: a flag that is seldom set, and grades.
fn table(count: usize) -> (tempfile::TempDir, Dataset) {
    let draws = rng::normal(&mut rng::generator(1, "test", 0), count);
    packed("measured,flag,grade", count, |at| {
        format!("{},{},{}", draws[at], u8::from(at % 100 == 7), [1, 3, 5, 9][at % 4])
    })
}

#[test]
fn repeated_values_get_noise_that_keeps_them_apart() {
    let device = Device::flex();
    let (_folder, dataset) = table(400);
    let spec = DataSpec::of(&dataset).unwrap();
    let with = |dequantize_columns: bool| {
        let config = RealNvpConfig { couplings: 2, dequantize_columns, ..RealNvpConfig::default() };
        let data = source::<RealNvp>(&config, &dataset, 100, &device);
        let model = RealNvp::new(&config, &spec, &mut Init::new(1, &device)).unwrap();
        let plain = data.vectors(0);
        let noisy = model.dequantized(plain.clone(), data.columns(), draws(1, "test", 0, uniform, &device));
        (floats(plain), floats(noisy))
    };
    let (plain, noisy) = with(true);
    let away = |at: usize| -> Vec<f32> {
        plain.chunks(3).zip(noisy.chunks(3)).map(|(plain, noisy)| noisy[at] - plain[at]).collect()
    };
    assert!(away(0).iter().all(|&away| away == 0.0), "measured values are as they are");
    // Half the least distance on each side: 1 between the values of the flag, 2 between the first grades.
    for (at, half) in [(1, 0.5), (2, 1.0)] {
        let reach = away(at).iter().fold(0.0_f32, |most, away| most.max(away.abs()));
        assert!((0.9 * half..=half).contains(&reach), "column {at}: {reach}");
    }
    let (plain, without) = with(false);
    assert_eq!(plain, without);
    let facts = DataFacts::of(&spec, &Examples::of(&dataset, Split::Train).unwrap());
    let chosen = RealNvp::settings_for(&facts);
    assert!(chosen.iter().any(|choice| choice.key == "realnvp.dequantize_columns"), "{chosen:?}");
}

#[test]
fn columns_of_few_values_have_a_bounded_density_with_noise_alone() {
    let device = Device::flex().autodiff();
    let (_folder, dataset) = table(1500);
    let spec = DataSpec::of(&dataset).unwrap();
    let train = |dequantize_columns: bool| {
        let config =
            RealNvpConfig { couplings: 4, hidden_dim: 16, dequantize_columns, ..RealNvpConfig::default() };
        let optimizer = (RealNvp::ABOUT.optimizer)();
        let mut training = learner::<RealNvp>(&(config, optimizer), &spec, &dataset, 64, &device);
        (0..600).map(|step| training.step(step, 1.0).unwrap().read()[0].1).collect::<Vec<f64>>()
    };
    let mean = |nll: &[f64]| nll[500..].iter().sum::<f64>() / 100.0;
    // Entropies: a normal column 1.42, the flag 0.06 with noise of width 1, and four grades ln 4 with noise of width 2.
    let entropy = 1.42 + 0.06 + 4_f64.ln() + 2_f64.ln();
    let with = mean(&train(true));
    assert!((entropy - 0.1..entropy + 1.0).contains(&with), "{with}");
    // Without noise the density of the flag and of the grades grows for as long as training lasts, or is infinite at once.
    let without = mean(&train(false));
    assert!(!without.is_finite() || without < entropy - 1.0, "{without}");
}

#[test]
fn a_frequent_zero_among_measured_values_gets_noise() {
    let device = Device::flex();
    // Rain on one day of five: 0.5, 1, 1.5 and so on, more than 256 values.
    let (_folder, dataset) = packed("day,rain", 2000, |day| {
        let rain = if day % 5 == 0 { 0.1 * (day + 5) as f32 } else { 0.0 };
        format!("{day},{rain}")
    });
    let config = RealNvpConfig { couplings: 2, dequantize_columns: true, ..RealNvpConfig::default() };
    let data = source::<RealNvp>(&config, &dataset, 200, &device);
    let model = RealNvp::new(&config, &points_of(2), &mut Init::new(1, &device)).unwrap();
    let (plain, draw) = (data.vectors(0), draws(1, "test", 0, uniform, &device));
    let noisy = floats(model.dequantized(plain.clone(), data.columns(), draw));
    let plain = floats(plain);
    let dry = plain.chunks(2).zip(noisy.chunks(2)).filter(|(plain, _)| plain[1] == 0.0);
    let zeros: Vec<f32> = dry.map(|(_, noisy)| noisy[1]).collect();
    let reach = zeros.iter().fold(0.0_f32, |most, away| most.max(away.abs()));
    // The others are 0.5 apart, but where some are held out.
    assert!(zeros.len() > 100 && (0.2..0.26).contains(&reach), "{} {reach}", zeros.len());
    assert!(zeros.windows(2).all(|pair| pair[0] != pair[1]), "each zero has a place of its own");
}

#[test]
fn a_column_of_one_value_is_refused_before_training_and_resumed() {
    let (_folder, dataset) = packed("a,site,b", 50, |i| format!("{i},4,{}", i * i));
    let spec = DataSpec::of(&dataset).unwrap();
    let facts = DataFacts::of(&spec, &Examples::of(&dataset, Split::Train).unwrap());
    let error = RealNvp::expect_learnable(&facts).unwrap_err();
    assert!(error.to_string().contains("the column `site`"), "{error}");
    assert!(error.hint().unwrap().contains("leave this column out"));
    // A run that was begun by an earlier version is continued.
    let settings = (RealNvpConfig { couplings: 2, ..RealNvpConfig::default() }, OptimizerConfig::default());
    let made = || learner::<RealNvp>(&settings, &spec, &dataset, 8, &Device::flex().autodiff());
    let (begun, mut resumed) = (made(), made());
    resumed.restore(&begun.state_dict(), &begun.training_state()).unwrap();
    resumed.step(0, 1.0).unwrap();
}

#[test]
fn points_of_one_coordinate_are_refused() {
    let refusal = refusal::<RealNvp>(&RealNvpConfig::default(), &points_of(1));
    assert!(refusal.contains("data.source") && refusal.contains("two or more"), "{refusal}");
}

#[test]
fn it_conforms() {
    expect_conforms::<RealNvp>(
        "width=2 blocks=1 couplings=3 hidden_dim=4",
        &["width=0", "couplings=0", "hidden_dim=0", "layers=0"],
    );
    expect_conforms::<RealNvp>(
        "width=2 blocks=0 dequantization='variational' couplings=2 hidden_dim=4 dequantize_columns=true",
        &[],
    );
}
