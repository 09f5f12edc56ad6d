//! DRAW against PyTorch, its attention against plain loops, its bound against what is known, and a toy problem.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::from_value;

use super::*;
use crate::model::{Learner, Session as _};
use crate::nn::StateDict;
use crate::run::checkpoint::Array;
use crate::testing::{
    Fixture, expect_all_close, expect_change, expect_close, expect_coded, expect_conforms, gradients_of,
    image_spec, learner, settings, shapes,
};

/// The cases of `parity.py`.
const CASES: [&str; 3] = ["attention", "colour", "whole"];
/// Outputs and terms of the bound relative to the largest, f32 here against f64 there: three glimpses, each with a dozen roundings.
const FORWARD: f64 = 3e-6;
/// Gradients, through all glimpses and back.
const GRADIENT: f64 = 2e-5;
/// Metrics of ten steps, relative to the largest.
const TERMS: f64 = 3e-6;
/// What ten steps changed, relative to the largest change of an array: Adam divides each gradient by its own size at first, so that
/// the rounding of small ones is felt in full.
const CHANGE: f64 = 2e-4;

/// A model in training with the first weights of `case`. Its batches are not used.
fn training(fixture: &Fixture, case: &str, device: &Device) -> Learner<Draw> {
    let given = fixture.case(case);
    let shape: [usize; 3] = from_value(given["shape"].clone()).unwrap();
    let (_folder, dataset) = shapes(8, [16, 16]);
    let settings = settings::<Draw>(&given["config"]);
    let mut training = learner::<Draw>(&settings, &image_spec(shape, 0), &dataset, 1, device);
    let initial = fixture.weights(&format!("{case}.initial"), device);
    training.restore(&initial, &StateDict::default()).unwrap();
    training
}

/// Images and noise of a step.
fn inputs(fixture: &Fixture, case: &str, step: usize, device: &Device) -> (Tensor<4>, Tensor<2>) {
    let read = |pixel| pixel;
    let x = fixture.step(&format!("{case}.pixels"), step, read, device);
    (x, fixture.step(&format!("{case}.eps"), step, read, device))
}

#[test]
fn first_outputs_terms_and_gradients_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vae/draw"), Device::flex().autodiff());
    for case in CASES {
        let draw = training(&fixture, case, &device).model;
        let (x, eps) = inputs(&fixture, case, 0, &device);
        let theirs = |name: &str| fixture.array(&format!("{case}.first.{name}"));

        let inferred = draw.infer(&x, &eps);
        expect_close("latents", inferred.latents.clone(), theirs("latents"), FORWARD);
        expect_close("state", inferred.state, theirs("state"), FORWARD);
        let canvases = Tensor::stack::<5>(draw.canvases(&inferred.latents), 0);
        expect_close("canvases", canvases, theirs("canvases"), FORWARD);

        let loss = draw.loss(x, &eps);
        expect_close("reconstruction", loss.reconstruction.clone(), theirs("reconstruction"), FORWARD);
        expect_close("kl", loss.kl.clone(), theirs("kl"), FORWARD);
        let gradients = (loss.reconstruction + loss.kl.sum()).backward();
        let ours = gradients_of("", &draw, &gradients);
        let ours = ours.into_iter().map(|(name, array)| (name[1..].to_owned(), array)).collect();
        expect_all_close(&ours, &fixture.arrays(&format!("{case}.gradient")), GRADIENT);
    }
}

#[test]
fn ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("vae/draw"), Device::flex().autodiff());
    for case in CASES {
        let mut training = training(&fixture, case, &device);
        let mut terms = Vec::new();
        for step in 0..10 {
            let (x, eps) = inputs(&fixture, case, step, &device);
            let values: BTreeMap<_, _> = training
                .with_step(step as u64, 1.0, |model, _, step| model.update(x, &eps, step))
                .read()
                .into_iter()
                .collect();
            terms.extend(["bound", "reconstruction", "kl"].map(|name| values[name] as f32));
        }
        let terms = Tensor::<2>::from_data(TensorData::new(terms, [10, 3]), &device);
        expect_close("terms", terms, fixture.array(&format!("{case}.losses")), TERMS);
        expect_change(&fixture, case, &training, CHANGE);
    }
}

/// A filter at pixel `a`, the means of the filters as the paper gives them: pixels and filters are numbered from 1.
fn plain_filter(
    centre: f64,
    stride: f64,
    variance: f64,
    size: usize,
    side: usize,
    i: usize,
    a: usize,
) -> f64 {
    let mean = centre + (i as f64 - size as f64 / 2.0 - 0.5) * stride;
    let value = |a: usize| (-(a as f64 - mean).powi(2) / (2.0 * variance)).exp();
    value(a) / (1..=side).map(value).sum::<f64>()
}

/// Filters for images of 5 × 7 as plain functions: those of rows, those of columns and the intensity.
struct Plain {
    parameters: [f64; 5],
    size: usize,
}

impl Plain {
    const SIDES: [usize; 2] = [5, 7];

    fn filter(&self, axis: usize, i: usize, a: usize) -> f64 {
        let [x, y, log_variance, log_stride, _] = self.parameters;
        let side = Plain::SIDES[axis];
        let centre = (side + 1) as f64 / 2.0 * ([y, x][axis] + 1.0);
        let stride = 6.0 / (self.size - 1) as f64 * log_stride.exp();
        plain_filter(centre, stride, log_variance.exp(), self.size, side, i + 1, a + 1)
    }

    /// Value (i, j) of the patch that is read from one channel of an image.
    fn read(&self, image: impl Fn(usize, usize) -> f64, i: usize, j: usize) -> f64 {
        let mut sum = 0.0;
        for b in 0..5 {
            for a in 0..7 {
                sum += self.filter(0, i, b) * image(b, a) * self.filter(1, j, a);
            }
        }
        self.parameters[4].exp() * sum
    }

    /// Pixel (b, a) of what is written of one channel of a patch.
    fn write(&self, patch: impl Fn(usize, usize) -> f64, b: usize, a: usize) -> f64 {
        let mut sum = 0.0;
        for i in 0..self.size {
            for j in 0..self.size {
                sum += self.filter(0, i, b) * patch(i, j) * self.filter(1, j, a);
            }
        }
        sum / self.parameters[4].exp()
    }
}

/// A value for each place, neither symmetric nor smooth.
fn value(example: usize, row: usize, column: usize, channel: usize) -> f64 {
    ((7 * example + 3 * row * row + 5 * column + 11 * channel + row * column) % 13) as f64 / 6.0 - 1.0
}

/// Tensor of [`value`] with two examples and two channels.
fn valued(height: usize, width: usize, device: &Device) -> Tensor<4> {
    let mut values = Vec::new();
    for example in 0..2 {
        for row in 0..height {
            for column in 0..width {
                values.extend([0, 1].map(|channel| value(example, row, column, channel) as f32));
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [2, height, width, 2]), device)
}

/// Two different grids of three filters: one fine, one wide that reaches over the border.
const PLAINS: [Plain; 2] = [
    Plain { parameters: [0.3, -0.4, -0.5, -1.1, 0.6], size: 3 },
    Plain { parameters: [-0.7, 0.5, 1.2, 0.2, -0.8], size: 3 },
];

fn parameters(device: &Device) -> Tensor<2> {
    let values = PLAINS.iter().flat_map(|plain| plain.parameters.map(|p| p as f32)).collect();
    Tensor::from_data(TensorData::new(values, [2, 5]), device)
}

#[test]
fn patches_are_read_and_written_as_plain_loops_do() {
    let device = Device::flex();
    let filters = Filters::new(&parameters(&device), 3, Plain::SIDES);
    let read = filters.read(valued(5, 7, &device)).into_data().try_to_vec::<f32>().unwrap();
    let written = filters.write(valued(3, 3, &device)).into_data().try_to_vec::<f32>().unwrap();
    let near = |ours: f32, theirs: f64| assert!((f64::from(ours) - theirs).abs() < 2e-6, "{ours} {theirs}");
    for (example, plain) in PLAINS.iter().enumerate() {
        for channel in 0..2 {
            let of = |row, column| value(example, row, column, channel);
            for (i, j) in (0..9).map(|k| (k / 3, k % 3)) {
                near(read[((example * 3 + i) * 3 + j) * 2 + channel], plain.read(of, i, j));
            }
            for (b, a) in (0..35).map(|k| (k / 7, k % 7)) {
                near(written[((example * 5 + b) * 7 + a) * 2 + channel], plain.write(of, b, a));
            }
        }
    }
}

#[test]
fn gradients_of_the_filters_are_those_of_small_differences() {
    let device = Device::flex().autodiff();
    let parameters = parameters(&device).require_grad();
    let filters = Filters::new(&parameters, 3, Plain::SIDES);
    let weighted_read = (filters.read(valued(5, 7, &device)) * valued(3, 3, &device)).sum();
    let weighted_write = (filters.write(valued(3, 3, &device)) * valued(5, 7, &device)).sum();
    let gradients = (weighted_read + weighted_write).backward();
    let ours = parameters.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();

    /// The same sum for one example in plain loops.
    fn total(example: usize, plain: &Plain) -> f64 {
        let mut total = 0.0;
        for channel in 0..2 {
            let of = |row, column| value(example, row, column, channel);
            total += (0..9).map(|k| plain.read(of, k / 3, k % 3) * of(k / 3, k % 3)).sum::<f64>();
            total += (0..35).map(|k| plain.write(of, k / 7, k % 7) * of(k / 7, k % 7)).sum::<f64>();
        }
        total
    }
    const H: f64 = 1e-5;
    for (example, plain) in PLAINS.iter().enumerate() {
        for i in 0..5 {
            let at = |shift: f64| {
                let mut parameters = plain.parameters;
                parameters[i] += shift;
                total(example, &Plain { parameters, size: plain.size })
            };
            let expected = (at(H) - at(-H)) / (2.0 * H);
            let found = f64::from(ours[example * 5 + i]);
            assert!((found - expected).abs() < 2e-5 * (1.0 + expected.abs()), "{i}: {found} {expected}");
        }
    }
}

#[test]
fn filters_far_outside_of_the_image_are_defined() {
    let device = Device::flex();
    let parameters = Tensor::<2>::from_data([[40.0, -40.0, -6.0, 1.0, 0.0]], &device);
    let filters = Filters::new(&parameters, 4, [6, 6]);
    for filters in [filters.rows, filters.columns] {
        let sums = filters.sum_dim(2).into_data().try_to_vec::<f32>().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
    }
}

/// A model that writes nothing on a given first canvas, so that log p(x) is known, and whose posterior is N(0.8, e^0.3) for every
/// glimpse and latent.
fn blind(device: &Device) -> Draw {
    let config = DrawConfig { glimpses: 2, width: 3, latent_dim: 2, ..DrawConfig::default() };
    let draw = Draw::new(&config, &image_spec([2, 2, 1], 0), &mut Init::new(0, device)).unwrap();
    let mut arrays = StateDict::of(&draw).to_arrays();
    for (name, array) in &mut arrays {
        if name.starts_with("posterior") || name.starts_with("patch") {
            array.data.fill(0.0);
        }
    }
    let array = |data: &[f32]| Array { shape: vec![data.len()], data: data.to_vec() };
    arrays.insert("posterior.bias".into(), array(&[0.8, 0.8, 0.15, 0.15]));
    arrays.insert("first_canvas".into(), array(&[0.5, -1.0, 2.0, 0.0]));
    StateDict::from_arrays(arrays, device).load_into(draw).unwrap()
}

#[test]
fn bounds_around_a_known_log_probability_are_as_far_from_it_as_they_must() {
    let device = Device::flex();
    let draw = blind(&device);
    let logits = [0.5f64, -1.0, 2.0, 0.0];
    let pixels = [1.0f64, 0.0, 1.0, 1.0];
    let log_p: f64 = logits.iter().zip(pixels).map(|(l, x)| x * l - (1.0 + l.exp()).ln()).sum();
    // KL of each of the four latents, in closed form.
    let kl = 4.0 * 0.5 * (0.8f64.powi(2) + 0.3f64.exp() - 0.3 - 1.0);

    let count = 200;
    let x = Tensor::<4>::from_data([[[[1.0], [0.0]], [[1.0], [1.0]]]], &device).repeat_dim(0, count);
    let indices: Vec<u64> = (0..count as u64).collect();
    let weights = draw.log_weights(x, &vec![None; count], 3, &indices, 0..300);
    for image in 0..count {
        assert!((weights.kl[image] - kl).abs() < 1e-5, "{} {kl}", weights.kl[image]);
        assert!((weights.reconstruction[image] - log_p).abs() < 1e-5);
    }
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let elbo = mean(weights.log_w.iter().map(|w| mean(w.clone())).collect());
    // 60,000 draws of a term whose deviation is about 1.7.
    assert!((elbo - (log_p - kl)).abs() < 0.03, "{elbo} {}", log_p - kl);
    let weighted =
        mean(weights.log_w.iter().map(|w| mean(w.iter().map(|w| w.exp()).collect()).ln()).collect());
    assert!((weighted - log_p).abs() < 0.03, "{weighted} {log_p}");
}

#[test]
fn a_bound_of_draws_is_that_of_the_loss() {
    let device = Device::flex();
    let config = DrawConfig { glimpses: 3, width: 8, latent_dim: 2, ..DrawConfig::default() };
    let draw = Draw::new(&config, &image_spec([6, 5, 1], 0), &mut Init::new(4, &device)).unwrap();
    let x = Tensor::<4>::zeros([3, 6, 5, 1], &device);
    let weights = draw.log_weights(x.clone(), &[None; 3], 9, &[4, 5, 6], 0..1);
    let row = |index: u64| rng::normal(&mut rng::generator(9, "posterior", index << 24), 6);
    let eps = TensorData::new((4..7).flat_map(row).collect(), [3, 6]);
    let loss = draw.loss(x, &Tensor::from_data(eps, &device));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let reconstruction = f64::from(loss.reconstruction.into_scalar::<f32>());
    assert!((mean(&weights.reconstruction) + reconstruction).abs() < 1e-5);
    let kl = f64::from(loss.kl.sum().into_scalar::<f32>());
    assert!((mean(&weights.kl) - kl).abs() < 1e-5);
}

/// Images of 10 × 10 with a white square of 4 × 4 at one of nine places.
fn squares(count: usize, device: &Device) -> Tensor<4> {
    let pixel = |image: usize, row: usize, column: usize| {
        let [top, left] = [image / 3 % 3, image % 3].map(|place| 3 * place);
        f32::from((top..top + 4).contains(&row) && (left..left + 4).contains(&column))
    };
    let pixels = (0..count).flat_map(|i| (0..100).map(move |at| pixel(i, at / 10, at % 10))).collect();
    Tensor::from_data(TensorData::new(pixels, [count, 10, 10, 1]), device)
}

#[test]
fn squares_at_nine_places_are_learned_to_a_few_nats() {
    let device = Device::flex().autodiff();
    let config = DrawConfig {
        glimpses: 4,
        width: 32,
        latent_dim: 4,
        read_size: 4,
        write_size: 4,
        ..DrawConfig::default()
    };
    let optimizer = OptimizerConfig { learning_rate: 1e-2, ..(Draw::ABOUT.optimizer)() };
    let (_folder, dataset) = shapes(8, [16, 16]);
    let mut training =
        learner::<Draw>(&(config, optimizer), &image_spec([10, 10, 1], 0), &dataset, 8, &device);
    let x = squares(36, &device);
    let mut bounds = Vec::new();
    for step in 0..300 {
        let metrics = training.with_step(step, 1.0, |model, _, step| {
            let eps = step.normal("train posterior", [36, 16]);
            model.update(x.clone(), &eps, step)
        });
        bounds.push(metrics.read()[0].1);
    }
    let mean = |bounds: &[f64]| bounds.iter().sum::<f64>() / bounds.len() as f64;
    let (first, last) = (bounds[0], mean(&bounds[280..]));
    // log 9 = 2.2 nats are the least.
    assert!(first > 40.0 && last < 10.0 && last > 9f64.ln() - 0.2, "{first} {last}");
    // A sample is nearly a square: as bright as one, and mostly black or white.
    let trained = &training.model;
    let latents: &dyn Latents = trained;
    let images = latents.decode(latents.draw(1, 0..16, &device), &[None; 16]);
    let brightness = f64::from(((images.clone() + 1.0) * 50.0).mean().into_scalar::<f32>());
    let decided = f64::from(images.abs().mean().into_scalar::<f32>());
    assert!((brightness - 16.0).abs() < 4.0 && decided > 0.8, "{brightness} {decided}");
}

#[test]
fn images_are_coded_losslessly_at_the_size_of_the_bound() {
    for attention in [true, false] {
        let config = DrawConfig { glimpses: 3, width: 16, latent_dim: 5, attention, ..DrawConfig::default() };
        let spec = image_spec([10, 8, 1], 0);
        let draw = Draw::new(&config, &spec, &mut Init::new(4, &Device::flex())).unwrap();
        expect_coded(&draw, spec.images().unwrap(), 0);
    }
}

#[test]
fn it_conforms() {
    expect_conforms::<Draw>(
        "glimpses=3 width=8 latent_dim=2",
        &["glimpses=0", "latent_dim=0", "read_size=1", "write_size=1"],
    );
    expect_conforms::<Draw>("glimpses=2 width=8 latent_dim=2 attention=false", &[]);
}
