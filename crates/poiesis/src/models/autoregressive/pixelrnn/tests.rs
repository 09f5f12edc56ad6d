//! The PixelRNN against PyTorch, its order of pixels and channels, its probabilities, its reader against the whole network, on a
//! source whose entropy is known, and across a break.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::Dataset;
use serde_json::from_value;

use super::*;
use crate::generate::Choice;
use crate::rng;
use crate::testing::{
    Fixture, batches, change, config, expect_all_close, expect_close, expect_exact_resume, gradients_of,
    shapes,
};

/// The cases of `fixtures/pixelrnn.py`.
const CASES: [&str; 4] = ["diagonal", "row", "colour", "colour-row"];
/// Outputs relative to the largest, f32 here against f64 there.
const FORWARD: f64 = 2e-6;
/// Gradients: through two recurrences over a dozen lines.
const GRADIENT: f64 = 1e-5;
/// Losses of ten steps, relative to the largest.
const TERMS: f64 = 2e-6;
/// What ten steps changed, relative to the largest change of an array: both rules divide each gradient by its own size
/// at first, so that the rounding of small ones is felt in full.
const CHANGE: f64 = 1e-4;

fn start(
    config: &PixelRnnConfig,
    shape: ImageShape,
    dataset: &Dataset,
    batch: usize,
    device: &Device,
) -> Training {
    Training {
        model: config.init(shape, 1, device).unwrap(),
        optimizer: config.optimizer.optimizer(config.learning_rate, config.clip_norm),
        batches: batches(dataset, batch, device),
    }
}

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, device: &Device) -> Training {
    let settings = fixture.case(case);
    let config: PixelRnnConfig = config(&settings["config"]);
    let shape: Vec<usize> = from_value(settings["shape"].clone()).unwrap();
    let (_folder, dataset) = shapes(8, [16, 16]);
    let mut training = start(&config, ImageShape::from_slice(&shape).unwrap(), &dataset, 1, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &Weights::default()).unwrap();
    training
}

fn images(fixture: &Fixture, case: &str, law: PixelLaw, step: usize, device: &Device) -> Tensor<4> {
    fixture.step(&format!("{case}.pixels"), step, |pixel| law.number(pixel as u32), device)
}

#[test]
fn first_outputs_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("pixelrnn"), Device::flex().autodiff());
    for case in CASES {
        let model = training(&fixture, case, &device).model;
        let x = images(&fixture, case, model.config.likelihood, 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
        expect_close("parameters", model.network.forward(x.clone()), theirs("parameters"), FORWARD);
        expect_close("log p(x)", model.log_prob(x.clone()), theirs("log_prob"), FORWARD);
        let gradients = model.loss(x).backward();
        let ours = gradients_of("network", &model.network, &gradients);
        expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("pixelrnn"), Device::flex().autodiff());
    for case in CASES {
        let mut training = training(&fixture, case, &device);
        let mut losses = Vec::new();
        for step in 0..10 {
            let x = images(&fixture, case, training.model.config.likelihood, step, &device);
            let values: BTreeMap<_, _> = training.learn(x, 1.0).read().into_iter().collect();
            losses.push(values["nll"] as f32);
        }
        let losses = Tensor::<1>::from_data(TensorData::new(losses, [10]), &device);
        expect_close("losses", losses, fixture.array(&format!("{case}.losses")), TERMS);
        let (initial, theirs) =
            (fixture.arrays(&format!("{case}.initial")), fixture.arrays(&format!("{case}.final")));
        let ours = training.weights().to_arrays();
        expect_all_close(&change(&initial, &ours), &change(&initial, &theirs), CHANGE);
    }
}

/// Small models of every kind, with weights large enough that what is seen is felt.
fn every_kind(device: &Device) -> Vec<PixelRnn> {
    let sizes = [([4, 5], 1), ([5, 4], 3), ([1, 6], 1), ([6, 1], 3)];
    let bodies = [Body::Row, Body::Diagonal];
    let laws = [PixelLaw::Bernoulli, PixelLaw::Softmax];
    let kinds = sizes.iter().flat_map(|size| bodies.map(|body| laws.map(|law| (*size, body, law))));
    let model = |(([height, width], channels), body, likelihood): (([usize; 2], usize), Body, PixelLaw)| {
        let config =
            PixelRnnConfig { body, layers: 2, hidden: 6, head: 22, likelihood, ..PixelRnnConfig::default() };
        let mut model = config.init(ImageShape { height, width, channels }, 3, device).unwrap();
        let mut arrays = Weights::of("network", &model.network).to_arrays();
        for (number, array) in arrays.values_mut().enumerate() {
            if array.shape.len() == 1 {
                array.data = rng::normal(&mut rng::generator(4, "test", number as u64), array.data.len());
            }
            array.data.iter_mut().for_each(|weight| *weight *= 1.5);
        }
        let weights = Weights::from_arrays(arrays, device);
        model.network = weights.put_into("network", model.network).unwrap();
        model
    };
    kinds.flatten().map(model).collect()
}

/// Values of `count` images, and the images as the network reads them.
fn random_images(model: &PixelRnn, count: usize, seed: u64) -> (Vec<Vec<u32>>, Vec<f32>) {
    let law = model.config.likelihood;
    let draw = |image: usize| {
        let draws = rng::uniform(&mut rng::generator(seed, "test", image as u64), model.shape.dims());
        draws.into_iter().map(|u| (u * law.alphabet() as f32) as u32).collect::<Vec<u32>>()
    };
    let values: Vec<Vec<u32>> = (0..count).map(draw).collect();
    let numbers = values.concat().into_iter().map(|value| law.number(value)).collect();
    (values, numbers)
}

fn tensor(model: &PixelRnn, numbers: &[f32], device: &Device) -> Tensor<4> {
    let ImageShape { height, width, channels } = model.shape;
    let count = numbers.len() / model.shape.dims();
    Tensor::from_data(TensorData::new(numbers.to_vec(), [count, height, width, channels]), device)
}

/// The parameters of each value's law, `[values][parameters]`, of one image.
fn parameters(model: &PixelRnn, numbers: &[f32], device: &Device) -> Vec<Vec<f32>> {
    let all: Vec<f32> =
        model.network.forward(tensor(model, numbers, device)).into_data().iter::<f32>().collect();
    all.chunks_exact(model.config.likelihood.parameters()).map(<[f32]>::to_vec).collect()
}

/// Images that are looked at together, as in one of them all units of the head may be off.
const SEVERAL: usize = 6;

#[test]
fn no_law_depends_on_its_own_or_a_later_value() {
    let device = Device::flex();
    for model in every_kind(&device) {
        let (_, numbers) = random_images(&model, SEVERAL, 5);
        let (dims, per_value) = (model.shape.dims(), model.config.likelihood.parameters());
        let laws = |numbers: &[f32]| -> Vec<f32> {
            model.network.forward(tensor(&model, numbers, &device)).into_data().iter::<f32>().collect()
        };
        let before = laws(&numbers);
        let mut felt = 0;
        for changed in 0..dims {
            let mut numbers = numbers.clone();
            for image in numbers.chunks_exact_mut(dims) {
                image[changed] = if image[changed] > 0.0 { -0.75 } else { 0.75 };
            }
            let after = laws(&numbers);
            let images = before.chunks_exact(dims * per_value).zip(after.chunks_exact(dims * per_value));
            for (before, after) in images {
                let until = (changed + 1) * per_value;
                assert_eq!(before[..until], after[..until], "{:?}: value {changed}", model.config);
            }
            felt += usize::from(before != after);
        }
        // All but the last have somebody after them.
        assert_eq!(felt, dims - 1, "{:?}", model.config);
    }
}

/// Whether a Diagonal BiLSTM sees value `earlier` from value `later`: the last pixel of a row is in no feature of its own row, so
/// that the row below sees it through the first kernel only. Of colours, this holds for the last channel.
fn seen(shape: ImageShape, earlier: usize, later: usize) -> bool {
    let ImageShape { width, channels, .. } = shape;
    let place = |value: usize| [value / channels / width, value / channels % width, value % channels];
    let ([row, column, channel], [below, left, _]) = (place(earlier), place(later));
    let last = row + 1 == below && column + 1 == width && channel + 1 == channels;
    !last || left + FIRST_KERNEL / 2 >= column
}

#[test]
fn no_law_has_a_gradient_to_its_own_or_a_later_value_and_the_diagonal_one_has_to_all_it_sees() {
    let device = Device::flex().autodiff();
    for model in every_kind(&device) {
        let (_, numbers) = random_images(&model, SEVERAL, 6);
        let (dims, per_value) = (model.shape.dims(), model.config.likelihood.parameters());
        for value in 0..dims {
            let x = tensor(&model, &numbers, &device).require_grad();
            let all = model.network.forward(x.clone()).reshape([SEVERAL, dims * per_value]);
            let gradients = all.narrow(1, value * per_value, 1).sum().backward();
            let gradient = x.grad(&gradients).unwrap().abs().reshape([SEVERAL, dims]).sum_dim(0);
            let gradient: Vec<f32> = gradient.into_data().iter::<f32>().collect();
            assert!(gradient[value..].iter().all(|&g| g == 0.0), "{:?}: value {value}", model.config);
            if model.config.body == Body::Diagonal {
                for (earlier, &g) in gradient[..value].iter().enumerate() {
                    let expected = seen(model.shape, earlier, value);
                    assert_eq!(
                        g > 0.0,
                        expected,
                        "{:?} {:?}: {earlier} from {value}",
                        model.config,
                        model.shape
                    );
                }
            }
        }
    }
}

#[test]
fn probabilities_of_all_images_of_four_pixels_sum_to_one() {
    let device = Device::flex();
    for body in [Body::Row, Body::Diagonal] {
        let config = PixelRnnConfig { body, layers: 2, hidden: 4, head: 5, ..PixelRnnConfig::default() };
        let shape = ImageShape { height: 2, width: 2, channels: 1 };
        let model = config.init(shape, 7, &device).unwrap();
        let all: Vec<f32> =
            (0..16u8).flat_map(|bits| [0, 1, 2, 3].map(|i| f32::from(bits >> i & 1))).collect();
        let log_probs = ImageLikelihood::log_prob(&model, tensor(&model, &all, &device), &[]);
        let total: f64 = log_probs.iter().map(|log_prob| log_prob.exp()).sum();
        assert!((total - 1.0).abs() < 1e-6, "{body:?}: {total}");
        assert!(log_probs.iter().any(|log_prob| (log_prob - log_probs[0]).abs() > 0.01));
    }
}

/// All laws of some images as readers give them, `count` images side by side.
fn read(model: &PixelRnn, values: &[Vec<u32>], count: usize) -> Vec<Vec<f32>> {
    let alphabet = model.alphabet();
    let mut laws = vec![Vec::new(); values.len()];
    for (values, laws) in values.chunks(count).zip(laws.chunks_mut(count)) {
        let mut reader = model.reader(&vec![None; values.len()]);
        for at in 0..values[0].len() {
            // A value that is pushed without asking for its law leaves the same state.
            let asked = reader.laws().to_vec();
            for (laws, law) in laws.iter_mut().zip(asked.chunks_exact(alphabet)) {
                laws.extend_from_slice(law);
            }
            reader.push(&values.iter().map(|values| values[at]).collect::<Vec<_>>());
        }
    }
    laws
}

#[test]
fn laws_are_the_same_to_the_bit_in_any_company_for_any_threads_and_all_at_once() {
    let device = Device::flex();
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    for model in every_kind(&device) {
        let (values, _) = random_images(&model, 16, 8);
        let alone = read(&model, &values, 1).concat();
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for count in [3, 16] {
                let laws = pool.install(|| read(&model, &values, count)).concat();
                assert!(same(&alone, &laws), "{:?}: {count} images on {threads} threads", model.config);
            }
            let sequences: Vec<&[u32]> = values.iter().map(Vec::as_slice).collect();
            let laws = pool.install(|| model.all_laws(&sequences, &[None; 16])).unwrap();
            assert_eq!(laws.len(), alone.len());
            assert!(same(&alone, &laws), "{:?}: all laws on {threads} threads", model.config);
        }
    }
}

#[test]
fn the_laws_of_an_image_weigh_it_as_the_network_does() {
    let device = Device::flex();
    for model in every_kind(&device) {
        let (values, numbers) = random_images(&model, 3, 9);
        let alphabet = model.alphabet();
        let weighed = ImageLikelihood::log_prob(&model, tensor(&model, &numbers, &device), &[]);
        for ((laws, values), weighed) in read(&model, &values, 3).iter().zip(&values).zip(weighed) {
            for law in laws.chunks_exact(alphabet) {
                let total: f64 = law.iter().map(|&l| f64::from(l).exp()).sum();
                assert!((total - 1.0).abs() < 1e-5, "{total}");
            }
            let laws = laws.chunks_exact(alphabet).zip(values);
            let read: f64 = laws.map(|(law, &value)| f64::from(law[value as usize])).sum();
            assert!((read - weighed).abs() < 1e-5 * weighed.abs(), "{:?}: {read} {weighed}", model.config);
        }
    }
}

#[test]
fn a_law_nobody_asked_for_changes_nothing() {
    let device = Device::flex();
    for model in every_kind(&device) {
        let (values, _) = random_images(&model, 2, 10);
        let dims = model.shape.dims();
        let mut reader = model.reader(&[None, None]);
        for (&first, &second) in values[0].iter().zip(&values[1]).take(dims - 1) {
            reader.push(&[first, second]);
        }
        let asked = read(&model, &values, 2);
        let alphabet = model.alphabet();
        let last = asked.iter().flat_map(|laws| laws[(dims - 1) * alphabet..].to_vec());
        assert_eq!(reader.laws(), last.collect::<Vec<f32>>());
    }
}

/// Samples with the whole network on the whole image for each value, with the draws of [`Writer`].
fn sample_naively(model: &PixelRnn, seed: u64, indices: Range<u64>, device: &Device) -> Vec<f32> {
    let (dims, law) = (model.shape.dims(), model.config.likelihood);
    let count = (indices.end - indices.start) as usize;
    let mut generators: Vec<_> = indices.map(|index| rng::generator(seed, "value", index)).collect();
    let mut numbers = vec![0.0; count * dims];
    let mut drawn = vec![0.0; count * dims];
    for at in 0..dims {
        for (image, generator) in generators.iter_mut().enumerate() {
            let one = &numbers[image * dims..][..dims];
            let mut parameters = parameters(model, one, device)[at].clone();
            if law == PixelLaw::Bernoulli {
                parameters.insert(0, 0.0);
            }
            let value = Choice::default().choose(&parameters, rng::unit_f64(generator));
            numbers[image * dims + at] = law.number(value);
            drawn[image * dims + at] = 2.0 * value as f32 / (law.alphabet() - 1) as f32 - 1.0;
        }
    }
    drawn
}

#[test]
fn samples_are_those_of_the_whole_network_value_for_value() {
    let device = Device::flex();
    for model in every_kind(&device) {
        let cached: Vec<f32> = model.sample(11, 3..8).into_data().iter::<f32>().collect();
        assert_eq!(cached, sample_naively(&model, 11, 3..8, &device), "{:?}", model.config);
    }
}

#[test]
#[should_panic(expected = "3 values for 2 images")]
fn values_for_another_number_of_images_panic() {
    let config = PixelRnnConfig { layers: 1, hidden: 2, head: 2, ..PixelRnnConfig::default() };
    let shape = ImageShape { height: 2, width: 2, channels: 1 };
    let model = config.init(shape, 0, &Device::flex()).unwrap();
    model.reader(&[None, None]).push(&[0, 1, 0]);
}

#[test]
fn fewer_features_than_channels_are_an_error_that_says_so() {
    let config = PixelRnnConfig { hidden: 2, ..PixelRnnConfig::default() };
    let shape = ImageShape { height: 2, width: 2, channels: 3 };
    let error = config.init(shape, 0, &Device::flex()).unwrap_err().to_string();
    assert!(error.contains("pixelrnn.hidden"), "{error}");
}

/// Images of 6 × 6 bits: coins in the first row and at the left, and every other bit the exclusive or of the one to the left and the one
/// to the right above, turned over with probability `FLIP`.
const SIDE: usize = 6;
const FLIP: f32 = 0.05;

fn source(count: usize, step: u64, device: &Device) -> Tensor<4> {
    let mut bits = Vec::with_capacity(count * SIDE * SIDE);
    let draws = rng::uniform(&mut rng::generator(12, "test", step), count * SIDE * SIDE);
    for draws in draws.chunks_exact(SIDE * SIDE) {
        let start = bits.len();
        for (at, &u) in draws.iter().enumerate() {
            let (row, column) = (at / SIDE, at % SIDE);
            let bit = if row == 0 || column == 0 {
                u < 0.5
            } else {
                let left: f32 = bits[start + at - 1];
                let above: f32 = bits[start + at - SIDE + usize::from(column + 1 < SIDE)];
                (left != above) != (u < FLIP)
            };
            bits.push(f32::from(bit));
        }
    }
    Tensor::from_data(TensorData::new(bits, [count, SIDE, SIDE, 1]), device)
}

#[test]
fn both_bodies_come_near_the_entropy_of_a_source() {
    let coins = 2 * SIDE - 1;
    let flip = f64::from(FLIP);
    let entropy = coins as f64 * 2f64.ln()
        - (SIDE * SIDE - coins) as f64 * (flip * flip.ln() + (1.0 - flip) * (1.0 - flip).ln());
    let device = Device::flex().autodiff();
    let (_folder, dataset) = shapes(8, [16, 16]);
    for body in [Body::Row, Body::Diagonal] {
        let config = PixelRnnConfig {
            body,
            layers: 1,
            hidden: 16,
            head: 16,
            optimizer: Rule::Adam,
            learning_rate: 5e-3,
            ..PixelRnnConfig::default()
        };
        let shape = ImageShape { height: SIDE, width: SIDE, channels: 1 };
        let mut training = start(&config, shape, &dataset, 1, &device);
        let steps = 600;
        for step in 0..steps {
            let schedule = 1.0 - step as f64 / steps as f64;
            training.learn(source(32, step, &device), schedule);
        }
        let loss = training.model.loss(source(2000, steps, &device)).into_scalar::<f32>();
        // Coins alone would cost 24.95 nats.
        let loss = f64::from(loss);
        assert!(loss < entropy + 0.5, "{body:?}: {loss} nats, the source has {entropy}");
        assert!(loss > entropy - 0.3, "{body:?}: {loss} nats, the source has {entropy}");
    }
}

fn tiny(device: &Device) -> (tempfile::TempDir, Training) {
    let config = PixelRnnConfig {
        layers: 2,
        hidden: 6,
        head: 6,
        likelihood: PixelLaw::Softmax,
        ..PixelRnnConfig::default()
    };
    let (folder, dataset) = shapes(40, [8, 8]);
    let shape = ImageShape { height: 8, width: 8, channels: 3 };
    let training = start(&config, shape, &dataset, 4, device);
    (folder, training)
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    let device = Device::flex().autodiff();
    expect_exact_resume(|| tiny(&device).1, &device);
}
