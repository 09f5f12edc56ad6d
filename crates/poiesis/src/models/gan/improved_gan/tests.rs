//! The improved GAN against PyTorch, and the properties of its techniques.

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::model::{Learner, Session as _};
use crate::models::gan::minibatch::MinibatchLayer;
use crate::nn::StateDict;
use crate::rng;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of, image_spec,
    learner, settings, shapes, source,
};

/// The cases of `parity.py`.
const CASES: [&str; 4] = ["classifier", "techniques", "conv", "conv-batch-norm"];
/// Classes in the fixture.
const CLASSES: usize = 3;
/// Outputs and losses relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 5e-6;
/// Gradients, which batch normalisation of few values computes from differences of near ones.
const GRADIENT: f64 = 2e-5;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 2e-5;
/// What ten steps changed, relative to the largest change of an array.
const CHANGE: f64 = 2e-3;

/// A case of the fixture.
struct Case {
    fixture: Fixture,
    name: &'static str,
    device: Device,
}

impl Case {
    fn all() -> impl Iterator<Item = Case> {
        let device = Device::flex().autodiff();
        CASES.into_iter().map(move |name| {
            let fixture = Fixture::read("gan/improved_gan");
            Case { fixture, name, device: device.clone() }
        })
    }

    fn settings(&self) -> &serde_json::Value {
        &self.fixture.case(self.name)["config"]
    }

    /// A model in training with the first weights. Its batches are not used.
    fn training(&self) -> (tempfile::TempDir, Learner<ImprovedGan>) {
        let shape = &self.fixture.case(self.name)["shape"];
        let shape = [0, 1, 2].map(|axis| shape[axis].as_u64().unwrap() as usize);
        let (folder, dataset) = shapes(40, [16, 16]);
        let (config, optimizer) = settings::<ImprovedGan>(self.settings());
        let data = source::<ImprovedGan>(&config, &dataset, 2, &self.device);
        let mut init = Init::new(1, &self.device);
        let model = ImprovedGan::new(&config, &image_spec(shape, CLASSES), &mut init).unwrap();
        let mut training = Learner::of(model, &config, &optimizer, data, 1, &self.device);
        let initial = self.fixture.weights(&format!("{}.initial", self.name), &self.device);
        training.restore(&initial, &StateDict::default()).unwrap();
        (folder, training)
    }

    fn images(&self, what: &str, step: usize) -> Tensor<4> {
        self.fixture.step(&format!("{}.{what}", self.name), step, |pixel| pixel / 127.5 - 1.0, &self.device)
    }

    fn batch(&self, step: usize) -> Batch {
        let array = |what: &str| self.fixture.array(&format!("{}.{what}", self.name));
        let classes = array("classes");
        let count = classes.shape[1];
        let classes = classes.data[step * count..(step + 1) * count].iter().map(|&class| class as u32);
        let labelled = self.settings()["classify"] != serde_json::Value::Bool(false);
        let latents: Tensor<3> = self.fixture.step(&format!("{}.z", self.name), step, |z| z, &self.device);
        let [rounds, batch, dim] = latents.dims();
        let latents = (0..rounds).map(|round| latents.clone().narrow(0, round, 1).reshape([batch, dim]));
        Batch {
            labelled: labelled.then(|| (self.images("labelled", step), classes.collect())),
            real: self.images("real", step),
            matched: self.images("matched", step),
            latents: latents.collect(),
        }
    }

    /// The noise called `what`: all of it, or that of a step.
    fn noise(&self, what: &str, step: Option<usize>) -> impl FnMut([usize; 2]) -> Tensor<2> + use<> {
        let array = self.fixture.array(&format!("{}.{what}", self.name));
        let len = array.shape.last().copied().unwrap();
        let first = step.unwrap_or(0) * len;
        // The fixture has uniform noise in 256ths.
        let scale = if self.settings()["body"] == "conv" { 256.0 } else { 1.0 };
        let values: Vec<f32> = array.data[first..first + len].iter().map(|noise| noise / scale).collect();
        let (mut used, device) = (0, self.device.clone());
        move |shape| {
            let count = shape[0] * shape[1];
            used += count;
            Tensor::from_data(TensorData::new(values[used - count..used].to_vec(), shape), &device)
        }
    }
}

#[test]
fn first_outputs_losses_and_gradients_are_those_of_pytorch() {
    for case in Case::all() {
        let (_folder, Learner { model, .. }) = case.training();
        let theirs = |name: &str| case.fixture.array(&format!("{}.first.{name}", case.name));
        let mut noise = case.noise("gradient_noise", None);
        let batch = case.batch(0);

        let fake = model.generator.forward(batch.latents[0].clone(), Mode::Train);
        expect_close("images", fake.clone(), theirs("fake"), FORWARD);
        let losses = model.discriminator_losses(&batch, fake.detach(), &mut noise);
        let d_loss = match &losses.supervised {
            Some(supervised) => losses.unsupervised.clone() + supervised.clone(),
            None => losses.unsupervised.clone(),
        };
        let fake = model.generator.forward(batch.latents[1].clone(), Mode::Train);
        let g_loss = model.generator_loss(&batch.matched, fake, &mut noise);
        let all = [Some(losses.unsupervised), Some(g_loss.clone()), losses.supervised];
        let all = Tensor::cat(all.into_iter().flatten().collect(), 0);
        expect_close("losses", all, theirs("losses"), FORWARD);

        let mut gradients = gradients_of("discriminator", &model.discriminator, &d_loss.backward());
        gradients.extend(gradients_of("generator", &model.generator, &g_loss.backward()));
        expect_all_close(&gradients, &case.fixture.arrays(&format!("{}.gradient", case.name)), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    for case in Case::all() {
        let (_folder, mut training) = case.training();
        let mut losses = Vec::new();
        for step in 0..10 {
            let (batch, mut noise) = (case.batch(step), case.noise("noise", Some(step)));
            let metrics =
                training.with_step(step as u64, 1.0, |model, _, step| model.update(&batch, &mut noise, step));
            let is_in_fixture = |name: &str| name != "class_error";
            losses.extend(
                metrics.read().iter().filter(|(name, _)| is_in_fixture(name)).map(|(_, x)| *x as f32),
            );
        }
        let count = losses.len() / 10;
        let losses = Tensor::<2>::from_data(TensorData::new(losses, [10, count]), &case.device);
        expect_close("losses", losses, case.fixture.array(&format!("{}.losses", case.name)), LOSSES);
        expect_change(&case.fixture, case.name, &training, CHANGE);
    }
}

#[test]
fn data_dependent_first_values_are_those_of_pytorch() {
    for case in Case::all() {
        let (_folder, Learner { mut model, .. }) = case.training();
        model.set_first_values(case.images("real", 0), &mut case.noise("first_noise", None));
        let ours = StateDict::of(&model).to_arrays();
        let theirs = case.fixture.arrays(&format!("{}.first_values", case.name));
        assert!(theirs.len() >= 4);
        let ours = ours.into_iter().filter(|(name, _)| theirs.contains_key(name)).collect();
        expect_all_close(&ours, &theirs, GRADIENT);
    }
}

fn random<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let values = rng::normal(&mut rng::generator(seed, "test", 0), shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn losses_stay_finite_at_extreme_logits() {
    let device = Device::flex();
    for extreme in [1e4_f32, -1e4] {
        let logits = Tensor::<2>::from_data([[extreme, -extreme, 0.0], [extreme; 3]], &device);
        let z = log_sum_exp(logits.clone());
        assert_eq!(values(z.clone()), [1e4, extreme + 3f32.ln()]);
        for loss in [
            discriminator_loss(z.clone(), z.neg(), 0.75),
            classifier_loss(logits, Tensor::from_data([0, 2], &device)),
        ] {
            let loss = loss.into_scalar::<f32>();
            assert!(loss.is_finite() && loss >= 0.0, "{loss} at logits of {extreme}");
        }
    }
}

#[test]
fn smoothing_moves_the_best_answer_for_real_images_to_the_target() {
    // With a target α the loss of a real image is least at D(x) = α.
    let loss = |d: f32| {
        let z = Tensor::<1>::from_floats([(d / (1.0 - d)).ln()], &Device::flex());
        discriminator_loss(z, Tensor::from_floats([-100.0], &Device::flex()), 0.75).into_scalar::<f32>()
    };
    assert!(loss(0.75) < loss(0.7) && loss(0.75) < loss(0.8));
    let entropy = -(0.75 * 0.75f32.ln() + 0.25 * 0.25f32.ln());
    assert!((loss(0.75) - entropy).abs() < 1e-5);
}

#[test]
fn minibatch_discrimination_follows_a_permutation_of_the_batch() {
    let layer = MinibatchLayer::new(6, 4, 3, &mut Init::new(1, &Device::flex()));
    let x = random(2, [5, 6]);
    let order = Tensor::from_data([3, 0, 4, 1, 2], &Device::flex());
    let permuted = layer.forward(x.clone().select(0, order.clone()), &[5]);
    let expected = layer.forward(x.clone(), &[5]).select(0, order);
    for (ours, theirs) in values(permuted).into_iter().zip(values(expected)) {
        assert!((ours - theirs).abs() < 1e-5);
    }
    // Batches that go through together do not see each other.
    let [first, second] = [(0, 2), (2, 3)].map(|(start, len)| x.clone().narrow(0, start, len));
    let apart = [first, second].map(|part| {
        let size = part.dims()[0];
        values(layer.forward(part, &[size]))
    });
    assert_eq!(values(layer.forward(x, &[2, 3])), apart.concat());
}

#[test]
fn images_that_are_all_alike_are_closest() {
    let layer = MinibatchLayer::new(6, 4, 3, &mut Init::new(1, &Device::flex()));
    let closeness = |x: Tensor<2>| layer.forward(x, &[5]).narrow(1, 6, 4);
    // Four others at distance 0, and the first value of the bias.
    let alike = random(2, [1, 6]).expand([5, 6]);
    assert_eq!(values(closeness(alike)), [3.0; 20]);
    assert!(values(closeness(random(2, [5, 6]) * 100.0)).iter().all(|&x| (-1.0..0.0).contains(&x)));
}

#[test]
fn a_virtually_normalised_sample_does_not_depend_on_its_batch() {
    for body in [Body::Mlp, Body::Conv] {
        let config = ImprovedGanConfig {
            body,
            generator_hidden_dims: vec![8, 8],
            discriminator_hidden_dims: vec![8],
            latent_dim: 4,
            generator_width: 4,
            width: 4,
            virtual_batch_norm: true,
            virtual_batch_size: 8,
            ..ImprovedGanConfig::default()
        };
        let spec = image_spec([16, 16, 1], 0);
        let model = ImprovedGan::new(&config, &spec, &mut Init::new(3, &Device::flex())).unwrap();
        let z = random(4, [3, 4]);
        let among = model.generator.forward(z.clone(), Mode::Train).narrow(0, 2, 1);
        let alone = model.generator.forward(z.narrow(0, 2, 1), Mode::Train);
        for (among, alone) in values(among).into_iter().zip(values(alone)) {
            assert!((among - alone).abs() < 1e-6, "{body:?}: {among} among others, {alone} alone");
        }
    }
}

#[test]
fn classes_are_learned_from_two_labels_each() {
    let device = Device::flex().autodiff();
    let config = ImprovedGanConfig {
        latent_dim: 8,
        generator_hidden_dims: vec![32],
        discriminator_hidden_dims: vec![64, 32],
        labels_per_class: 2,
        ..ImprovedGanConfig::default()
    };
    let spec = image_spec([8, 8, 3], 2);
    let (_folder, dataset) = shapes(40, [8, 8]);
    let settings = (config, (ImprovedGan::ABOUT.optimizer)());
    let mut training = learner::<ImprovedGan>(&settings, &spec, &dataset, 2, &device);
    let mixed: Vec<u32> = (0..16).map(|i| i % 2).collect();
    for number in 0..200 {
        training.with_step(number, 1.0, |model, _, step| {
            let mut generator = step.generator("test");
            let mut latents = || step.tensor(draw_latent(&model.latent(), &mut generator, 16), [16, 8]);
            let batch = Batch {
                // Always the same four.
                labelled: Some((stripes(&[0, 1, 0, 1], 0).autodiff(), vec![0, 1, 0, 1])),
                real: stripes(&mixed, 1000 + number).autodiff(),
                matched: stripes(&mixed, 2000 + number).autodiff(),
                latents: vec![latents(), latents()],
            };
            let (mut generator, device) = (step.generator("noise"), step.device.clone());
            let mut noise = |shape: [usize; 2]| {
                let values = rng::normal(&mut generator, shape[0] * shape[1]);
                Tensor::from_data(TensorData::new(values, shape), &device)
            };
            model.update(&batch, &mut noise, step);
        });
    }
    let log_probs = training.model.class_log_probs(stripes(&mixed, 5).autodiff());
    let classes: Vec<u32> = log_probs.clone().argmax(1).into_data().iter::<u32>().collect();
    assert_eq!(classes, mixed);
    let sums = values(log_probs.exp().sum_dim(1));
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{sums:?}");
}

/// Images of horizontal (class 0) or vertical (class 1) stripes under noise.
fn stripes(classes: &[u32], seed: u64) -> Tensor<4> {
    let noise = random(seed, [classes.len(), 8, 8, 3]) * 0.3;
    let value = |class: u32, row: usize, column: usize| {
        if (if class == 0 { row } else { column }) % 4 < 2 { 0.6 } else { -0.6 }
    };
    let pixels = classes.iter().flat_map(|&class| (0..192).map(move |i| value(class, i / 24, i / 3 % 8)));
    let pixels: Vec<f32> = pixels.collect();
    noise + Tensor::from_data(TensorData::new(pixels, [classes.len(), 8, 8, 3]), &Device::flex())
}

#[test]
fn it_conforms() {
    let refused = [
        "width=0",
        "label_smoothing=1.5",
        "historical_averaging=-1",
        "generator_hidden_dims=[0]",
        "discriminator_hidden_dims=[4,0]",
    ];
    expect_conforms::<ImprovedGan>(
        "latent_dim=8 generator_hidden_dims=[8] discriminator_hidden_dims=[8,8] historical_averaging=0.1",
        &refused,
    );
    expect_conforms::<ImprovedGan>(
        "body=conv latent_dim=8 width=4 generator_width=4 minibatch_discrimination=true virtual_batch_norm=true",
        &["body=conv width=0"],
    );
}
