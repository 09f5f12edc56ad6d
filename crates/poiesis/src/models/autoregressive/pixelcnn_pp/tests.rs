//! PixelCNN++ against PyTorch, its order, its log-probabilities, its decoder, and on a toy problem.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::from_value;

use super::*;
use crate::generate::{SamplingParams, Writer};
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_conforms, gradients_of, image_spec,
    learner, refusal, settings, shapes, source,
};

/// The cases of `parity.py`.
const CASES: [&str; 2] = ["colour", "grey"];
/// Outputs and log-probabilities relative to the largest, f32 here against f64 there: some forty layers in a row.
const FORWARD: f64 = 5e-6;
/// First gains and biases, which divide by deviations of small numbers.
const FIRST: f64 = 5e-5;
/// Gradients: twice as many roundings.
const GRADIENT: f64 = 3e-5;
/// Losses of ten steps, relative to the largest.
const LOSSES: f64 = 5e-6;
/// What ten steps changed, relative to the largest change of an array: Adam divides each gradient by its own size
/// at first, so that the rounding of small ones is felt in full.
const CHANGE: f64 = 2e-3;

/// A case of the fixture.
struct Case<'a> {
    fixture: &'a Fixture,
    name: &'a str,
    settings: (PixelCnnPpConfig, OptimizerConfig),
    spec: DataSpec,
    device: Device,
}

impl<'a> Case<'a> {
    fn new(fixture: &'a Fixture, name: &'a str) -> Case<'a> {
        let given = fixture.case(name);
        let shape: [usize; 3] = from_value(given["shape"].clone()).unwrap();
        Case {
            fixture,
            name,
            settings: settings::<PixelCnnPp>(&given["config"]),
            spec: image_spec(shape, from_value(given["classes"].clone()).unwrap()),
            device: Device::flex().autodiff(),
        }
    }

    /// The model with the weights called `weights`.
    fn model(&self, weights: &str) -> PixelCnnPp {
        let model = PixelCnnPp::new(&self.settings.0, &self.spec, &mut Init::new(1, &self.device)).unwrap();
        self.fixture.weights(&format!("{}.{weights}", self.name), &self.device).load_into(model).unwrap()
    }

    fn images(&self, step: usize) -> Tensor<4> {
        self.fixture.step(&format!("{}.pixels", self.name), step, |pixel| pixel / 127.5 - 1.0, &self.device)
    }

    fn classes(&self, step: usize) -> Vec<u32> {
        let classes: Tensor<1> =
            self.fixture.step(&format!("{}.classes", self.name), step, |class| class, &self.device);
        classes.into_data().iter::<f32>().map(|class| class as u32).collect()
    }

    /// Dropout's numbers of a step, one block after another.
    fn noise(&self, step: usize) -> impl FnMut([usize; 4]) -> Tensor<4> {
        let mut left: Vec<f32> = if self.settings.0.dropout > 0.0 {
            let noise: Tensor<1> =
                self.fixture.step(&format!("{}.noise", self.name), step, |u| u, &self.device);
            noise.into_data().iter::<f32>().collect()
        } else {
            Vec::new()
        };
        let device = self.device.clone();
        move |shape: [usize; 4]| {
            let rest = left.split_off(shape.iter().product());
            let values = std::mem::replace(&mut left, rest);
            Tensor::from_data(TensorData::new(values, shape), &device)
        }
    }

    fn array(&self, name: &str) -> &crate::run::checkpoint::Array {
        self.fixture.array(&format!("{}.{name}", self.name))
    }
}

#[test]
fn first_outputs_losses_and_gradients_are_those_of_pytorch() {
    let fixture = Fixture::read("autoregressive/pixelcnn_pp");
    for name in CASES {
        let case = Case::new(&fixture, name);
        let model = case.model("initial");
        let (x, classes) = (case.images(0), case.classes(0));
        let parameters = model.parameters(&x, &classes);
        expect_close("parameters", parameters, case.array("first.parameters"), FORWARD);
        let loss = model.loss(x, &classes, &mut case.noise(0));
        expect_close("log p(x)", loss.clone().neg(), case.array("first.log_prob"), FORWARD);
        let ours = gradients_of("network", &model.network, &loss.mean().backward());
        expect_all_close(&ours, &fixture.arrays(&format!("{name}.gradient")), GRADIENT);
    }
}

#[test]
fn data_give_the_first_gains_and_biases_of_pytorch() {
    let fixture = Fixture::read("autoregressive/pixelcnn_pp");
    let case = Case::new(&fixture, "colour");
    let mut model = case.model("drawn");
    model.set_first_values(&case.images(0), &case.classes(0));
    let ours = StateDict::of(&model).to_arrays();
    expect_all_close(&ours, &fixture.arrays("colour.initialised"), FIRST);
    let gradients = model.loss(case.images(0), &case.classes(0), &mut case.noise(0)).mean().backward();
    // Every parameter still learns.
    assert_eq!(gradients_of("network", &model.network, &gradients).len(), ours.len());
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let fixture = Fixture::read("autoregressive/pixelcnn_pp");
    let (_folder, dataset) = shapes(8, [4, 4]);
    for name in CASES {
        let case = Case::new(&fixture, name);
        let (config, optimizer) = &case.settings;
        // Its batches are not used.
        let batches = source::<PixelCnnPp>(config, &dataset, 1, &case.device);
        let mut training = Learner::of(case.model("initial"), config, optimizer, batches, 1, &case.device);
        let mut losses = Vec::new();
        for step in 0..10 {
            let (x, classes) = (case.images(step), case.classes(step));
            let mut noise = case.noise(step);
            let decay = optimizer.decay.powi(step as i32);
            let metrics = training
                .with_step(step as u64, decay, |model, _, step| model.update(x, &classes, &mut noise, step));
            losses.push(metrics.read()[0].1 as f32);
        }
        let losses = Tensor::<1>::from_data(TensorData::new(losses, [10]), &case.device);
        expect_close("losses", losses, case.array("losses"), LOSSES);
        expect_change(&fixture, name, &training, CHANGE);
    }
}

/// A small model whose gains and biases come from images of noise, and which no weight leaves cold.
fn small(shape: [usize; 3], conditional: bool, device: &Device) -> PixelCnnPp {
    let config =
        PixelCnnPpConfig { width: 6, blocks: 1, mixtures: 3, conditional, ..PixelCnnPpConfig::default() };
    let mut model = PixelCnnPp::new(&config, &image_spec(shape, 5), &mut Init::new(3, device)).unwrap();
    let pixels = noise_images(4, shape, 1);
    model.set_first_values(&to_images(&pixels, shape, device), &[0, 1, 2, 3]);
    model
}

/// Images whose pixels are all equally likely.
fn noise_images(count: usize, shape: [usize; 3], seed: u64) -> Vec<Vec<u32>> {
    let mut generator = rng::generator(seed, "test", 0);
    let dims: usize = shape.iter().product();
    (0..count).map(|_| (0..dims).map(|_| rng::below(&mut generator, 256) as u32).collect()).collect()
}

fn to_images(pixels: &[Vec<u32>], [height, width, channels]: [usize; 3], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = pixels.iter().flatten().map(|&pixel| pixel as f32 / 127.5 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, [pixels.len(), height, width, channels]), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn parameters_depend_on_all_pixels_before_and_none_after() {
    let device = Device::flex().autodiff();
    for shape in [[8, 4, 3], [4, 8, 1]] {
        let model = small(shape, false, &device);
        let pixels = noise_images(1, shape, 2);
        let x = to_images(&pixels, shape, &device).require_grad();
        let count = shape[0] * shape[1];
        for pixel in 0..count {
            // By gradients.
            let parameters = model.parameters(&x, &[0]);
            let width = parameters.dims()[3];
            let flat = parameters.reshape([count, width]);
            let (gradients, ours) =
                (flat.clone().narrow(0, pixel, 1).powi_scalar(2).sum().backward(), values(flat));
            let gradient = values(x.grad(&gradients).unwrap());
            for (other, gradient) in gradient.chunks_exact(shape[2]).enumerate() {
                // A layer reaches a column further, of which there are seven in each row's part.
                let near = (other % shape[1]).abs_diff(pixel % shape[1]) < 7;
                let seen = gradient.iter().all(|&g| g != 0.0);
                let unseen = gradient.iter().all(|&g| g == 0.0);
                let right = if other < pixel { seen || !near } else { unseen };
                assert!(right, "{shape:?}: {pixel} by {other}: {gradient:?}");
            }
            // By changing the pixel and all after it.
            let mut changed = pixels.clone();
            for value in &mut changed[0][pixel * shape[2]..] {
                *value = (*value + 77) % 256;
            }
            let other = model.parameters(&to_images(&changed, shape, &device), &[0]).reshape([count, width]);
            let theirs = values(other);
            let same = (pixel + 1) * width;
            assert_eq!(ours[..same], theirs[..same], "{shape:?}: {pixel}");
            assert!(pixel + 1 == count || ours[same..] != theirs[same..], "{shape:?}: {pixel}");
        }
    }
}

/// The distribution of a channel of a pixel from its parameters, through the likelihood: log p of it and the channels before, less
/// log p of the channels before.
fn row_by_likelihood(parameters: &Tensor<2>, before: &[f32], channels: usize) -> Vec<f32> {
    let (device, channel) = (parameters.device(), before.len());
    let mixtures = parameters.dims()[1] / (1 + 2 * channels + channels * (channels - 1) / 2);
    // The parameters of the first channels alone make a mixture of its own.
    let first = |count: usize| {
        let block =
            |start: usize, count: usize| parameters.clone().narrow(1, start * mixtures, count * mixtures);
        let mut blocks = vec![block(0, 1), block(1, count), block(1 + channels, count)];
        if count > 1 {
            blocks.push(block(1 + 2 * channels, count * (count - 1) / 2));
        }
        Tensor::cat(blocks, 1)
    };
    let rows: Vec<f32> =
        (0..256).flat_map(|value| before.iter().copied().chain([value as f32 / 127.5 - 1.0])).collect();
    let x = Tensor::<2>::from_data(TensorData::new(rows, [256, channel + 1]), &device);
    let joint = logistic_mixture_log_prob(first(channel + 1).repeat_dim(0, 256), x.clone(), Grid::Bits8);
    if channel == 0 {
        return values(joint);
    }
    values(
        joint
            - logistic_mixture_log_prob(
                first(channel).repeat_dim(0, 256),
                x.narrow(1, 0, channel),
                Grid::Bits8,
            ),
    )
}

/// Samples as the definition has them: the whole network on the whole image for each value.
fn naive_sample(model: &PixelCnnPp, seed: u64, index: u64, class: u32) -> Vec<u32> {
    let ImageShape { height, width, channels } = model.shape;
    let mut generator = rng::generator(seed, "value", index);
    let mut image = vec![0; model.shape.dims()];
    for place in 0..image.len() {
        let (pixel, channel) = (place / channels, place % channels);
        let x = to_images(std::slice::from_ref(&image), [height, width, channels], &Device::flex());
        let parameters = model.parameters(&x, &[class]);
        let count = parameters.dims()[3];
        let parameters = parameters.reshape([height * width, count]).narrow(0, pixel, 1);
        let before: Vec<f32> =
            image[place - channel..place].iter().map(|&value| value as f32 / 127.5 - 1.0).collect();
        let row = row_by_likelihood(&parameters, &before, channels);
        image[place] = SamplingParams::default().sample(&row, rng::unit_f64(&mut generator));
    }
    image
}

#[test]
fn samples_are_those_of_the_whole_network() {
    for (shape, conditional) in
        [([4, 4, 3], true), ([8, 4, 1], false), ([4, 12, 1], true), ([4, 8, 2], false)]
    {
        let model = small(shape, conditional, &Device::flex());
        let mut writer = Writer::new(&model, 7, 1..4, &[1, 2, 3].map(Some), SamplingParams::default());
        let places: Vec<_> = (0..model.shape.dims()).map(|_| writer.next(&[None; 3])).collect();
        for (row, index) in (1..4).enumerate() {
            let sample: Vec<u32> = places.iter().map(|values| values[row]).collect();
            let naive = naive_sample(&model, 7, index, index as u32 % 5);
            assert_eq!(sample, naive, "{shape:?}, image {index}");
        }
    }
}

/// The log-probabilities of all values of `images`, side by side: `[images][values · 256]`.
fn read(model: &PixelCnnPp, images: &[Vec<u32>], classes: &[Option<u32>]) -> Vec<Vec<f32>> {
    let mut decoder = model.decoder(classes);
    let mut log_probs = vec![Vec::new(); images.len()];
    for place in 0..model.shape.dims() {
        for (all, row) in log_probs.iter_mut().zip(decoder.log_probs().chunks_exact(256)) {
            all.extend_from_slice(row);
        }
        decoder.append(&images.iter().map(|image| image[place]).collect::<Vec<_>>());
    }
    log_probs
}

#[test]
fn log_probs_are_the_same_in_any_batch_and_all_at_once() {
    for (shape, conditional) in [([8, 8, 3], true), ([4, 12, 1], false)] {
        let model = small(shape, conditional, &Device::flex());
        let images = noise_images(16, shape, 4);
        let classes: Vec<Option<u32>> = (0..16).map(|i| (i > 0).then_some(i % 5)).collect();
        let expected = read(&model, &images, &classes);
        for first in [0, 3, 15] {
            let alone = read(&model, &images[first..=first], &classes[first..=first]);
            assert!(alone[0] == expected[first], "{shape:?}: image {first} alone");
        }
        assert!(read(&model, &images[5..8], &classes[5..8]) == expected[5..8], "{shape:?}: three");
        for threads in 1..=3 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let sequences: Vec<&[u32]> = images.iter().map(Vec::as_slice).collect();
            let (side_by_side, at_once) = pool.install(|| {
                (read(&model, &images, &classes), model.all_log_probs(&sequences, &classes).unwrap())
            });
            assert!(side_by_side == expected, "{shape:?}: {threads} threads");
            assert!(at_once == expected.concat(), "{shape:?}: all at once, {threads} threads");
        }
    }
}

#[test]
fn values_appended_unread_leave_the_same_log_probs() {
    let shape = [8, 4, 3];
    let model = small(shape, false, &Device::flex());
    let images = noise_images(2, shape, 6);
    let expected = read(&model, &images, &[None, None]);
    let mut decoder = model.decoder(&[None, None]);
    for place in 0..model.shape.dims() {
        if place % 7 == 3 {
            let again = decoder.log_probs().to_vec();
            assert_eq!(again, decoder.log_probs());
            for (row, expected) in again.chunks_exact(256).zip(&expected) {
                assert_eq!(row, &expected[place * 256..][..256], "{place}");
            }
        }
        decoder.append(&[images[0][place], images[1][place]]);
    }
}

/// Each distribution adds up to one and their product is the likelihood: so the probabilities of all images add up to one.
#[test]
fn distributions_add_up_to_one_and_multiply_to_the_likelihood() {
    for (shape, conditional) in [([8, 4, 3], true), ([4, 4, 1], false)] {
        let model = small(shape, conditional, &Device::flex());
        let images = noise_images(3, shape, 5);
        let classes = [1, 0, 4];
        let log_prob = model.log_prob(to_images(&images, shape, &Device::flex()), &classes);
        let log_probs = read(&model, &images, &classes.map(Some));
        for ((image, log_probs), log_prob) in images.iter().zip(&log_probs).zip(log_prob) {
            let mut product = 0.0;
            for (row, &value) in log_probs.chunks_exact(256).zip(image) {
                let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
                assert!((sum - 1.0).abs() < 2e-5, "{sum}");
                product += f64::from(row[value as usize]);
            }
            // The network on tensors rounds otherwise, and every layer passes it on.
            assert!((product - log_prob).abs() < 1e-4 * log_prob.abs(), "{product} {log_prob}");
        }
    }
}

#[test]
#[should_panic(expected = "256 is not one of 256 values")]
fn a_value_out_of_range_panics() {
    small([4, 4, 1], false, &Device::flex()).decoder(&[None]).append(&[256]);
}

#[test]
fn classes_matter_to_a_model_of_them_alone() {
    let device = Device::flex();
    let shape = [4, 4, 1];
    let x = to_images(&noise_images(2, shape, 2), shape, &device);
    for conditional in [false, true] {
        let model = small(shape, conditional, &device);
        let log_prob = |classes: &[u32]| model.log_prob(x.clone(), classes);
        let (all, other) = (log_prob(&[1, 2]), log_prob(&[1, 3]));
        assert_eq!(all[0], other[0]);
        assert_eq!(all[1] != other[1], conditional);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |config: PixelCnnPpConfig, shape, key: &str| {
        let error = refusal::<PixelCnnPp>(&config, &image_spec(shape, 0));
        assert!(error.contains(key), "{error}");
    };
    let config = PixelCnnPpConfig::default();
    refused(config.clone(), [30, 32, 3], "data.size");
    refused(config.clone(), [32, 30, 3], "height and width that 4 divides");
    refused(PixelCnnPpConfig { conditional: true, ..config }, [32, 32, 3], "the data have no classes");
}

fn tiny(dropout: f64, device: &Device) -> Learner<PixelCnnPp> {
    let config =
        PixelCnnPpConfig { width: 8, blocks: 1, mixtures: 3, dropout, ..PixelCnnPpConfig::default() };
    let (_folder, dataset) = shapes(200, [8, 8]);
    let optimizer = (PixelCnnPp::ABOUT.optimizer)();
    learner(&(config, optimizer), &image_spec([8, 8, 3], 0), &dataset, 8, device)
}

#[test]
fn coloured_shapes_are_learned() {
    let device = Device::flex().autodiff();
    let mut training = tiny(0.0, &device);
    let mut bits = |steps: std::ops::Range<u64>| {
        let count = (steps.end - steps.start) as f64;
        let each = steps.map(|step| {
            let terms = training.step(step, 1.0).unwrap().read();
            terms.iter().find(|(name, _)| *name == "bits_per_dim").unwrap().1
        });
        each.sum::<f64>() / count
    };
    let (_, last) = (bits(0..180), bits(180..200));
    // A model that knew nothing would take 8 bits.
    assert!(last < 6.0, "{last} bits for each number");
}

#[test]
fn it_conforms() {
    expect_conforms::<PixelCnnPp>(
        "width=8 blocks=1 mixtures=2 dropout=0.2",
        &["width=0", "mixtures=0", "dropout=1.0"],
    );
}
