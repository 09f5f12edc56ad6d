//! The first GAN against PyTorch, and on the plane.

use burn::tensor::{Device, TensorData};
use poiesis_collect::{Dataset, Split};

use super::*;
use crate::config::{Layer, resolve};
use crate::data::{Examples, PointShape};
use crate::model::{Entry as _, Learner, Of, Session as _};
use crate::nn::StateDict;
use crate::rng;
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
    DataSpec { content: Content::Points(PointShape::new(2)), classes: 0, unlabelled: false }
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
        let Gan { generator, discriminator, config, .. } = training(&fixture, case, &dataset, &device).model;
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

/// Heights and weights in their usual units, 80 % correlated, and a column that is 7 in every row, as a data set.
fn measurements(count: usize) -> (tempfile::TempDir, Dataset) {
    let draws = rng::normal(&mut rng::generator(1, "test", 0), 2 * count);
    let row = |z: &[f32]| format!("{},{},7\n", 170.0 + 10.0 * z[0], 65.0 + 12.0 * (0.8 * z[0] + 0.6 * z[1]));
    packed("height,weight,group", draws.chunks(2).map(row))
}

/// A table as a data set.
fn packed(header: &str, rows: impl Iterator<Item = String>) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let (table, out) = (folder.path().join("table.csv"), folder.path().join("packed"));
    std::fs::write(&table, format!("{header}\n{}", rows.collect::<String>())).unwrap();
    poiesis_collect::collect(&table, &out, &poiesis_collect::Options::default(), &|_| ()).unwrap();
    (folder, Dataset::open(&out).unwrap())
}

/// Trains with the settings that are chosen for the data, but for this value of `standardize`.
fn trained_on(dataset: &Dataset, standardize: bool, steps: u64) -> Learner<Gan> {
    let spec = DataSpec::of(dataset).unwrap();
    let examples = Examples::of(dataset, Split::Train).unwrap();
    let choices = Gan::settings_for(&DataFacts::of(&spec, &examples));
    let given = Layer::single("a test", "gan.standardize", standardize);
    let layers: Vec<Layer> = choices.iter().map(Choice::layer).chain([given]).collect();
    let config = resolve(&Of::<Gan>::NEW.defaults().unwrap(), &layers).unwrap().config;
    let settings = (config.model().unwrap(), config.optimizer.clone());
    let device = Device::flex().autodiff();
    let mut training = learner::<Gan>(&settings, &spec, dataset, config.train.batch_size, &device);
    (0..steps).for_each(|step| drop(training.step(step, 1.0).unwrap()));
    training
}

/// `count` samples of points.
fn samples(model: &Gan, count: usize) -> Tensor<2> {
    let device = Device::flex().autodiff();
    let latents: &dyn Latents = model;
    latents.decode(latents.draw(0, 0..count as u64, &device), &vec![None; count])
}

#[test]
fn a_table_in_units_of_its_own_is_learned() {
    let (_folder, dataset) = measurements(2000);
    // Means and deviations of height and weight, and their correlation.
    let moments = |model: &Gan| {
        let values: Vec<f64> = samples(model, 1000).into_data().iter::<f64>().collect();
        assert!(values.chunks(3).all(|point| !model.config.standardize || point[2] == 7.0));
        let mean = |of: &dyn Fn(&[f64]) -> f64| values.chunks(3).map(of).sum::<f64>() / 1000.0;
        let [height, weight] = [0, 1].map(|at| mean(&|point| point[at]));
        let product = |a: usize, b: usize| {
            let means = [height, weight];
            mean(&|point| (point[a] - means[a]) * (point[b] - means[b]))
        };
        let [tall, heavy] = [product(0, 0).sqrt(), product(1, 1).sqrt()];
        [height, weight, tall, heavy, product(0, 1) / (tall * heavy)]
    };
    let is_learned = |[height, weight, tall, heavy, correlation]: [f64; 5]| {
        (height - 170.0).abs() < 4.0
            && (weight - 65.0).abs() < 5.0
            && (tall / 10.0).ln().abs() < 0.3
            && (heavy / 12.0).ln().abs() < 0.3
            && correlation > 0.6
    };
    let [with, without] = [true, false].map(|on| moments(&trained_on(&dataset, on, 1000).model));
    assert!(is_learned(with), "{with:?}");
    // As many steps do not suffice in other units.
    assert!(!is_learned(without), "{without:?}");
}

#[test]
fn the_discriminator_sees_standardised_points_and_samples_are_in_units_of_the_data() {
    let (_folder, dataset) = measurements(200);
    let model = trained_on(&dataset, true, 0).model;
    let view = dataset.split(Split::Train).unwrap();
    let all: Vec<usize> = (0..view.len()).collect();
    let device = Device::flex().autodiff();
    let seen: Vec<f64> = model.seen(crate::data::points(&view, &all, &device)).into_data().iter().collect();
    for at in 0..3 {
        let column: Vec<f64> = seen.chunks(3).map(|point| point[at]).collect();
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        let square = column.iter().map(|x| x * x).sum::<f64>() / column.len() as f64;
        let expected = if at == 2 { 0.0 } else { 1.0 };
        assert!(mean.abs() < 1e-4 && (square - expected).abs() < 1e-4, "column {at}: {mean} {square}");
    }
    // What the critic says of a point of the data is what the discriminator says of it standardised.
    let point = Tensor::<2>::from_floats([[170.0, 65.0, 7.0]], &device);
    let inside = model.discriminator.forward_alone(model.seen(point.clone()));
    let expected = model.config.loss.prob_real(inside).into_scalar::<f64>();
    assert_eq!(model.prob_real(point).into_scalar::<f64>(), expected);
    // An untrained generator makes points among the data already.
    let heights = samples(&model, 100).narrow(1, 0, 1);
    assert!((heights.mean().into_scalar::<f64>() - 170.0).abs() < 10.0);
}

#[test]
fn no_digits_are_lost_between_the_players() {
    // In f32 such times are 128 apart, three of their deviations.
    let row = |i: usize| format!("{},{},7\n", 1.7e9 + 40.0 * (i % 3) as f64, i % 10);
    let (_folder, dataset) = packed("time,score,group", (0..100).map(row));
    let mut model = trained_on(&dataset, true, 0).model;
    let map = model.standardize.as_mut().unwrap();
    map.set(&[1.7e9, 4.5, 7.0], &[40.0, 3.0, 0.0]);
    let device = Device::flex().autodiff();
    let latents: &dyn Latents = &model;
    let z = latents.draw(0, 0..20, &device);
    let made: Vec<f32> = model.generator.forward(z.clone()).into_data().iter().collect();
    let seen: Vec<f32> = model.generate_seen(z).into_data().iter().collect();
    for (made, seen) in made.chunks(3).zip(seen.chunks(3)) {
        assert_eq!(made[..2], seen[..2]);
        assert_eq!(seen[2], 0.0, "as data of one value are seen");
    }
}

#[test]
fn a_run_that_starts_from_weights_keeps_their_units_and_refuses_what_they_cannot_make() {
    let (_folder, first) = measurements(100);
    let weights = trained_on(&first, true, 0).state_dict();
    let start = |rows: &dyn Fn(usize) -> String| {
        let (folder, dataset) = packed("height,weight,group", (0..50).map(rows));
        let mut training = trained_on(&dataset, true, 0);
        let started = training.start_from(&weights);
        drop(folder);
        started.map(|()| training.model)
    };
    let model = start(&|i| format!("{},{},7\n", 150 + i, i)).unwrap();
    // Samples of the first weights: around the heights that these were learned from.
    let height = samples(&model, 100).narrow(1, 0, 1).mean().into_scalar::<f64>();
    assert!((height - 170.0).abs() < 10.0, "{height}");
    let others: [fn(usize) -> usize; 2] = [|i| i % 2, |_| 8];
    for group in others {
        let refused = start(&|i| format!("{},{},{}\n", 150 + i, i, group(i))).unwrap_err();
        assert!(refused.starts_with("`group` is 7 in all of its samples"), "{refused}");
    }
    // A column that has one value only here is made as it was.
    assert!(start(&|i| format!("170,{i},7\n")).is_ok());
}

#[test]
fn it_conforms() {
    expect_conforms::<Gan>("latent_dim=4 generator_hidden_dims=[8] standardize=true", &[]);
    expect_conforms::<Gan>(
        "latent_dim=4 generator_hidden_dims=[8] discriminator_hidden_dims=[8,8] maxout_pieces=2 dropout=0.2",
        &["maxout_pieces=0", "dropout=1.0", "discriminator_steps=0", "generator_hidden_dims=[8,0]"],
    );
}
