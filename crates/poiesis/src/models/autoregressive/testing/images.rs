//! What all models of images by masked networks must hold, whatever their networks.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::from_value;

use crate::abilities::{Autoregressive, ImageLikelihood};
use crate::data::PixelEncoding;
use crate::generate::{SamplingParams, Writer};
use crate::model::{Learner, Model, Session as _};
use crate::models::autoregressive::image_model::{ImageModel, ImageNetwork};
use crate::models::autoregressive::pixels::{PixelDistribution, Pixels};
use crate::nn::{Init, StateDict};
use crate::optim::OptimizerConfig;
use crate::rng;
use crate::testing::{
    Fixture, distance, expect_all_close, expect_change, expect_close, gradients_of, image_spec, learner,
    settings, shapes,
};

/// Outputs, losses and gradients relative to the largest, f32 here against f64 there: some twenty roundings in a row, twice as
/// many for gradients.
const FORWARD: f64 = 2e-6;
const GRADIENT: f64 = 1e-5;
/// What ten steps changed, relative to the largest change of an array: the rules divide each gradient by its own size, so that
/// the rounding of small ones is felt in full.
const CHANGE: f64 = 1e-4;

/// A model of images of this shape, with first weights of a seed.
pub(crate) fn made<N: ImageNetwork>(
    config: &N::Config,
    shape: [usize; 3],
    classes: usize,
    seed: u64,
    device: &Device,
) -> ImageModel<N> {
    ImageModel::new(config, &image_spec(shape, classes), &mut Init::new(seed, device)).unwrap()
}

/// Factors on the last weights and on all others, which bring logits far from zero.
const GROWN: [f32; 2] = [4.0, 1.5];

/// The same with logits far from zero.
pub(crate) fn grown<N: ImageNetwork>(
    config: &N::Config,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> ImageModel<N> {
    let model = made(config, shape, classes, 4, device);
    let mut arrays = StateDict::of(&model).to_arrays();
    for (name, array) in &mut arrays {
        let grow = GROWN[usize::from(!name.starts_with("network.output"))];
        array.data.iter_mut().for_each(|x| *x *= grow);
    }
    StateDict::from_arrays(arrays, &device.clone().inner()).load_into(model).unwrap()
}

/// Compares logits, loss, gradients and ten steps of a case of the model's `parity.py` with PyTorch's.
pub(crate) fn expect_pytorch<N: ImageNetwork>(fixture: &Fixture, case: &str, device: &Device) {
    let given = fixture.case(case);
    let shape: [usize; 3] = from_value(given["shape"].clone()).unwrap();
    let spec = image_spec(shape, given["classes"].as_u64().unwrap() as usize);
    let settings = settings::<ImageModel<N>>(&given["config"]);
    // Its batches are not used.
    let (_folder, dataset) = shapes(8, [16, 16]);
    let mut training: Learner<ImageModel<N>> = learner(&settings, &spec, &dataset, 1, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    let encoding = training.model.pixels().encoding();
    let data = |step| {
        let encoded = |pixel| match encoding {
            PixelEncoding::Binary => pixel,
            PixelEncoding::EightBit => pixel / 127.5 - 1.0,
        };
        let labels: Tensor<1> = fixture.step(&format!("{case}.labels"), step, |label| label, device);
        let labels: Vec<u32> = labels.into_data().iter::<u32>().collect();
        (fixture.step::<4>(&format!("{case}.pixels"), step, encoded, device), labels)
    };

    let (images, classes) = data(0);
    let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));
    expect_close("logits", training.model.logits(images.clone(), &classes), theirs("logits"), FORWARD);
    let loss = training.model.loss(images, &classes);
    expect_close("loss", loss.clone(), theirs("loss"), FORWARD);
    let gradients = gradients_of("network", &training.model.network, &loss.backward());
    expect_all_close(&gradients, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);

    let mut losses = Vec::new();
    for step in 0..10 {
        let (images, classes) = data(step);
        let metrics =
            training.with_step(step as u64, 1.0, |model, _, step| model.update(images, &classes, step));
        let values: BTreeMap<_, _> = metrics.read().into_iter().collect();
        losses.push(values["nll"] as f32);
    }
    let losses = Tensor::<1>::from_data(TensorData::new(losses, [10]), device);
    expect_close("losses", losses, fixture.array(&format!("{case}.losses")), FORWARD);
    expect_change(fixture, case, &training, CHANGE);
}

/// Draws levels for `count` images.
fn draw(pixels: &Pixels, count: usize) -> Vec<Vec<u32>> {
    let level = |generator: &mut rng::Generator| rng::below(generator, pixels.levels() as u64) as u32;
    let image = |index| {
        let mut generator = rng::generator(3, "test", index);
        (0..pixels.shape.dims()).map(|_| level(&mut generator)).collect()
    };
    (0..count as u64).map(image).collect()
}

/// Images of levels in the encoding of the model.
fn encoded(pixels: &Pixels, levels: &[Vec<u32>], device: &Device) -> Tensor<4> {
    match pixels.encoding() {
        PixelEncoding::Binary => (pixels.images(levels, device) + 1.0) * 0.5,
        PixelEncoding::EightBit => pixels.images(levels, device),
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Images whose order is looked at: their shape, the distribution of their values, and the number of their classes.
const ORDERED: [([usize; 3], PixelDistribution, usize); 3] = [
    ([4, 5, 1], PixelDistribution::Binary, 0),
    ([3, 4, 3], PixelDistribution::Softmax, 3),
    ([4, 4, 3], PixelDistribution::Binary, 0),
];

/// Images that the order is looked at with: a rectifier that is off hides what it would have seen, but not in all of them.
const LOOKS: usize = 8;

/// Looks at the order of models that `model` makes: `seen` is told the shape of their images and what [`expect_causal`] finds.
pub(crate) fn expect_order<N: ImageNetwork>(
    model: impl Fn(PixelDistribution, [usize; 3], usize, &Device) -> ImageModel<N>,
    seen: impl Fn([usize; 3], Vec<Vec<bool>>),
) {
    let device = Device::flex().autodiff();
    for (shape, distribution, classes) in ORDERED {
        seen(shape, expect_causal(&model(distribution, shape, classes, &device), &device));
    }
}

/// No logit depends on its own value or a later one, by gradients and by change; returns for each value whether it depends
/// on each earlier one in any of several images.
pub(crate) fn expect_causal<N: ImageNetwork>(model: &ImageModel<N>, device: &Device) -> Vec<Vec<bool>> {
    let pixels = model.pixels();
    let (dims, logits) = (pixels.shape.dims(), pixels.logits());
    let levels = draw(pixels, LOOKS);
    let apply = |x: Tensor<4>| model.network.logits(x, &[1; LOOKS]).reshape([LOOKS, dims, logits]);
    // Different weights, so that gradients of logits cannot cancel.
    let weights = rng::normal(&mut rng::generator(1, "test", 0), logits);
    let weights = Tensor::<3>::from_data(TensorData::new(weights, [1, 1, logits]), device);
    let mut depends = Vec::new();
    for place in 0..dims {
        let x = pixels.images(&levels, device).require_grad();
        let own = apply(x.clone()).narrow(1, place, 1) * weights.clone();
        let gradient = values(x.grad(&own.sum().backward()).unwrap());
        let images = gradient.chunks_exact(dims);
        let later = images.clone().all(|gradient| gradient[place..].iter().all(|&g| g == 0.0));
        assert!(later, "value {place} depends on itself or a later one");
        let seen = |before: usize| images.clone().any(|gradient| gradient[before] != 0.0);
        depends.push((0..place).map(seen).collect());
    }

    let before = values(apply(pixels.images(&levels, device)));
    for place in 0..dims {
        let mut changed = levels.clone();
        changed.iter_mut().for_each(|image| image[place] = (image[place] + 1) % pixels.levels() as u32);
        let after = values(apply(pixels.images(&changed, device)));
        let mut pairs = before.chunks_exact(dims * logits).zip(after.chunks_exact(dims * logits));
        let until = (place + 1) * logits;
        let same = pairs.all(|(before, after)| before[..until] == after[..until]);
        assert!(same, "a change of value {place} is seen there or before");
        assert!(place + 1 == dims || before != after, "a change of value {place} is seen nowhere");
    }
    depends
}

/// Values have exact distributions: they add up to one, samples are those of the whole network, and they have the same bits in any
/// batch and all at once. `model` makes one for images of `[height, width, channels]`, with a number of classes or none.
pub(crate) fn expect_exact_values<N: ImageNetwork>(
    model: impl Fn(PixelDistribution, [usize; 3], usize, &Device) -> ImageModel<N>,
) {
    let device = Device::flex();
    expect_sum_to_one(&model(PixelDistribution::Binary, [2, 2, 1], 0, &device), &device);
    for (shape, distribution, classes) in [
        ([6, 5, 1], PixelDistribution::Binary, 0),
        ([1, 4, 1], PixelDistribution::Softmax, 0),
        ([5, 1, 3], PixelDistribution::Softmax, 3),
        ([4, 6, 3], PixelDistribution::Softmax, 0),
    ] {
        expect_naive_samples(&model(distribution, shape, classes, &device), classes, &device);
    }
    expect_exact_log_probs(&model(PixelDistribution::Binary, [7, 6, 1], 0, &device), 0, &device);
    expect_exact_log_probs(&model(PixelDistribution::Softmax, [4, 5, 3], 3, &device), 3, &device);
}

/// The probabilities of all 2×2 images of black and white add up to one.
fn expect_sum_to_one<N: ImageNetwork>(model: &ImageModel<N>, device: &Device) {
    let images: Vec<Vec<u32>> = (0..16).map(|bits| (0..4).map(|i| bits >> i & 1).collect()).collect();
    let log_probs = model.log_prob(encoded(model.pixels(), &images, device), &[0; 16]);
    let total: f64 = log_probs.iter().map(|log_prob| log_prob.exp()).sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");
    // Not by being indifferent.
    assert!(log_probs.iter().any(|log_prob| (log_prob + 4.0 * 2f64.ln()).abs() > 0.1), "{log_probs:?}");
}

/// Samples are those of the whole network applied to the whole image for each value, with the same draws.
fn expect_naive_samples<N: ImageNetwork>(model: &ImageModel<N>, classes: usize, device: &Device) {
    let pixels = model.pixels();
    let count = 5;
    let labels: Vec<u32> = (0..count).map(|index| index as u32 % classes.max(1) as u32).collect();
    let mut images = vec![vec![0; pixels.shape.dims()]; count];
    let mut generators: Vec<_> = (0..count).map(|index| rng::generator(9, "value", index as u64)).collect();
    for place in 0..pixels.shape.dims() {
        let logits = values(model.network.logits(pixels.images(&images, device), &labels));
        for ((image, generator), logits) in
            images.iter_mut().zip(&mut generators).zip(logits.chunks_exact(logits.len() / count))
        {
            let logits = &logits[place * pixels.logits()..][..pixels.logits()];
            let log_probs = match pixels.distribution() {
                PixelDistribution::Binary => vec![0.0, logits[0]],
                PixelDistribution::Softmax => logits.to_vec(),
            };
            image[place] = SamplingParams::default().sample(&log_probs, rng::unit_f64(generator));
        }
    }
    let written = |indices: std::ops::Range<u64>| -> Vec<Vec<u32>> {
        let classes: Vec<_> = indices.clone().map(|index| Some(labels[index as usize])).collect();
        let mut writer = Writer::new(model, 9, indices, &classes, SamplingParams::default());
        let places: Vec<_> =
            (0..pixels.shape.dims()).map(|_| writer.next(&vec![None; classes.len()])).collect();
        (0..classes.len()).map(|row| places.iter().map(|values| values[row]).collect()).collect()
    };
    assert_eq!(written(0..count as u64), images);
    // Any of them alone is the same.
    assert_eq!(written(3..4), images[3..4]);
}

/// Log-probabilities read value by value have the same bits in a batch of any size, on any number of threads, and all at once; and
/// they are the likelihood.
fn expect_exact_log_probs<N: ImageNetwork>(model: &ImageModel<N>, classes: usize, device: &Device) {
    let pixels = model.pixels();
    let (levels, dims) = (pixels.levels(), pixels.shape.dims());
    let images = draw(pixels, 16);
    let class = |index: usize| (classes > 0).then(|| (index % classes) as u32);
    let read = |range: std::ops::Range<usize>| -> Vec<Vec<u32>> {
        let classes: Vec<_> = range.clone().map(class).collect();
        let mut decoder = model.decoder(&classes);
        let mut all = vec![Vec::new(); range.len()];
        for place in 0..dims {
            for (all, log_probs) in all.iter_mut().zip(decoder.log_probs().chunks_exact(levels)) {
                all.extend(log_probs.iter().map(|x| x.to_bits()));
            }
            decoder.append(&images[range.clone()].iter().map(|image| image[place]).collect::<Vec<_>>());
        }
        all
    };
    let threads = |count: usize| rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
    let all: Vec<&[u32]> = images.iter().map(Vec::as_slice).collect();
    let each: Vec<_> = (0..16).map(class).collect();
    let together = threads(2).install(|| read(0..16));
    for count in 1..=3 {
        let pool = threads(count);
        assert_eq!(pool.install(|| read(0..1)), together[..1], "alone, {count} threads");
        assert_eq!(pool.install(|| read(7..10)), together[7..10], "three, {count} threads");
        let at_once = pool.install(|| model.all_log_probs(&all, &each)).unwrap();
        let at_once: Vec<u32> = at_once.iter().map(|x| x.to_bits()).collect();
        assert!(at_once == together.concat(), "all at once, {count} threads");
    }
    assert_eq!(threads(3).install(|| read(0..16)), together, "sixteen, three threads");

    let within = (256.0 / levels as f64).ln() * dims as f64;
    let within = if pixels.distribution() == PixelDistribution::Binary { 0.0 } else { within };
    let labels: Vec<u32> = each.iter().map(|class| class.unwrap_or(0)).collect();
    let log_probs = model.log_prob(encoded(pixels, &images, device), &labels);
    let by_values = together.iter().zip(&images).map(|(bits, image)| {
        let log_prob =
            |(place, &value): (usize, &u32)| f64::from(f32::from_bits(bits[place * levels + value as usize]));
        image.iter().enumerate().map(log_prob).sum::<f64>() - within
    });
    let by_values: Vec<f32> = by_values.map(|x| x as f32).collect();
    let log_probs: Vec<f32> = log_probs.iter().map(|&x| x as f32).collect();
    let distance = distance(&by_values, &log_probs);
    assert!(distance < 1e-5, "values and likelihood differ by {distance:e}");
}

/// Images of 4×4 pixels are learned whose first is fair and each later one equals the one before it in nine of ten cases.
pub(crate) fn expect_chains_to_be_learned<N: ImageNetwork>(config: N::Config) {
    let device = &Device::flex().autodiff();
    let optimizer = OptimizerConfig { learning_rate: 1e-2, ..OptimizerConfig::default() };
    // Its batches are not used.
    let (_folder, dataset) = shapes(8, [16, 16]);
    let spec = image_spec([4, 4, 1], 0);
    let mut training: Learner<ImageModel<N>> = learner(&(config, optimizer), &spec, &dataset, 1, device);
    let batch = |purpose: &str, step: u64, count: usize| {
        let mut generator = rng::generator(2, purpose, step);
        let chain = |draws: &[f32]| {
            let mut bits = vec![u32::from(draws[0] < 0.5)];
            draws[1..].iter().for_each(|&u| bits.push(bits[bits.len() - 1] ^ u32::from(u < 0.1)));
            bits
        };
        let draws = rng::uniform(&mut generator, 16 * count);
        draws.chunks_exact(16).map(chain).collect::<Vec<_>>()
    };
    for step in 0..150 {
        let images = encoded(training.model.pixels(), &batch("learn", step, 32), device);
        let schedule = 1.0 - step as f64 / 150.0;
        training.with_step(step, schedule, |model, _, step| model.update(images, &[0; 32], step));
    }
    let held_out = encoded(training.model.pixels(), &batch("hold out", 0, 500), device);
    let log_probs = training.model.log_prob(held_out, &[0; 500]);
    let flip = 0.1f64;
    let entropy = 2f64.ln() - 15.0 * (flip * flip.ln() + (1.0 - flip) * (1.0 - flip).ln());
    let excess = -log_probs.iter().sum::<f64>() / 500.0 - entropy;
    // Half a nat for each of the fifteen pixels when nothing is learned.
    assert!(excess < 0.5, "{excess} nats over the entropy");
}
