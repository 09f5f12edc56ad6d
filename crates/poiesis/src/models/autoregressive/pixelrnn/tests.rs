//! The PixelRNN against PyTorch, its order, its laws value by value, on a source whose entropy is known, and across a break.

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::models::autoregressive::testing::images::{
    case, expect_causal, expect_exact_laws, expect_naive_samples, expect_pytorch, expect_sum_to_one, spec,
};
use crate::rng;
use crate::testing::{Fixture, batches, expect_exact_resume, shapes};

const BODIES: [Body; 2] = [Body::Row, Body::Diagonal];

fn tiny(body: Body, law: PixelLaw, conditional: bool) -> PixelRnnConfig {
    PixelRnnConfig {
        body,
        layers: 2,
        hidden: 6,
        head: 22,
        law,
        levels: 8,
        conditional,
        ..PixelRnnConfig::default()
    }
}

/// A model with weights large enough that what is seen is felt.
fn model(
    body: Body,
    law: PixelLaw,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> ImageModel<PixelRnn> {
    let mut model = tiny(body, law, classes > 0).init(&spec(shape, classes), 3, device).unwrap();
    let mut arrays = Weights::of("network", model.network()).to_arrays();
    for (number, array) in arrays.values_mut().enumerate() {
        if array.shape.len() == 1 {
            array.data = rng::normal(&mut rng::generator(4, "test", number as u64), array.data.len());
        }
        array.data.iter_mut().for_each(|weight| *weight *= 1.5);
    }
    model.put(&Weights::from_arrays(arrays, &device.clone().inner())).unwrap();
    model
}

#[test]
fn outputs_gradients_and_ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("autoregressive/pixelrnn"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [16, 16]);
    for name in ["diagonal", "row", "colour", "colour-row"] {
        let (spec, config) = case::<PixelRnnConfig>(&fixture, name);
        let model = config.init(&spec, 0, &device).unwrap();
        let optimizer = config.optimizer();
        let training = Training { model, optimizer, batches: batches(&dataset, 1, &device) };
        expect_pytorch(&fixture, name, training, &device);
    }
}

/// Whether a Diagonal BiLSTM sees number `earlier` from number `later`: the last pixel of a row is in no feature of its own row, so
/// that the row below sees it through the first kernel only. Of colours, this holds for the last channel.
fn seen([_, width, channels]: [usize; 3], earlier: usize, later: usize) -> bool {
    let place = |value: usize| [value / channels / width, value / channels % width, value % channels];
    let ([row, column, channel], [below, left, _]) = (place(earlier), place(later));
    let last = row + 1 == below && column + 1 == width && channel + 1 == channels;
    !last || left + FIRST_KERNEL / 2 >= column
}

#[test]
fn no_number_depends_on_a_later_one_and_along_diagonals_on_all_it_sees() {
    let device = Device::flex().autodiff();
    for body in BODIES {
        for (shape, law, classes) in [
            ([4, 5, 1], PixelLaw::Binary, 0),
            ([5, 4, 3], PixelLaw::Softmax, 3),
            ([1, 6, 1], PixelLaw::Softmax, 0),
            ([6, 1, 3], PixelLaw::Binary, 0),
        ] {
            let depends = expect_causal(&model(body, law, shape, classes, &device), &device);
            for (later, depends) in depends.iter().enumerate().filter(|_| body == Body::Diagonal) {
                for (earlier, &depends) in depends.iter().enumerate() {
                    assert_eq!(depends, seen(shape, earlier, later), "{shape:?}: {earlier} from {later}");
                }
            }
        }
    }
}

#[test]
fn probabilities_of_all_images_sum_to_one() {
    let device = Device::flex();
    for body in BODIES {
        expect_sum_to_one(&model(body, PixelLaw::Binary, [2, 2, 1], 0, &device), &device);
    }
}

#[test]
fn samples_are_those_of_the_whole_network() {
    let device = Device::flex();
    for body in BODIES {
        for (shape, law, classes) in [
            ([6, 5, 1], PixelLaw::Binary, 0),
            ([1, 4, 1], PixelLaw::Softmax, 0),
            ([5, 1, 3], PixelLaw::Softmax, 3),
            ([4, 6, 3], PixelLaw::Softmax, 0),
        ] {
            expect_naive_samples(&model(body, law, shape, classes, &device), classes, &device);
        }
    }
}

#[test]
fn laws_are_the_same_to_the_bit_in_any_company_and_all_at_once() {
    let device = Device::flex();
    for body in BODIES {
        expect_exact_laws(&model(body, PixelLaw::Binary, [7, 6, 1], 0, &device), 0, &device);
        expect_exact_laws(&model(body, PixelLaw::Softmax, [4, 5, 3], 3, &device), 3, &device);
    }
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
    for body in BODIES {
        let config = PixelRnnConfig {
            layers: 1,
            hidden: 16,
            head: 16,
            optimizer: Rule::Adam,
            learning_rate: 5e-3,
            ..tiny(body, PixelLaw::Binary, false)
        };
        let model = config.init(&spec([SIDE, SIDE, 1], 0), 1, &device).unwrap();
        let batches = batches(&dataset, 1, &device);
        let mut training = Training { model, optimizer: config.optimizer(), batches };
        let steps = 600;
        for step in 0..steps {
            let schedule = 1.0 - step as f64 / steps as f64;
            training.learn(source(32, step, &device), &[0; 32], schedule);
        }
        let loss = training.model.loss(source(2000, steps, &device), &[0; 2000]).into_scalar::<f32>();
        // Coins alone would cost 24.95 nats.
        let loss = f64::from(loss);
        assert!(loss < entropy + 0.5, "{body:?}: {loss} nats, the source has {entropy}");
        assert!(loss > entropy - 0.3, "{body:?}: {loss} nats, the source has {entropy}");
    }
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    let device = Device::flex().autodiff();
    let (_folder, dataset) = shapes(20, [8, 8]);
    let spec = DataSpec::of(&dataset).unwrap();
    let config = PixelRnnConfig { optimizer: Rule::Muon, ..tiny(Body::Diagonal, PixelLaw::Softmax, false) };
    let start = || Training {
        model: config.init(&spec, 1, &device).unwrap(),
        optimizer: config.optimizer(),
        batches: batches(&dataset, 4, &device),
    };
    expect_exact_resume(start, &device);
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let (device, colour) = (Device::flex(), spec([4, 4, 3], 0));
    let refused = |config: PixelRnnConfig, key: &str| {
        let error = config.init(&colour, 0, &device).unwrap_err().to_string();
        assert!(error.contains(&format!("pixelrnn.{key}")), "{error}");
    };
    let good = tiny(Body::Row, PixelLaw::Softmax, false);
    refused(PixelRnnConfig { layers: 0, ..good.clone() }, "layers");
    refused(PixelRnnConfig { hidden: 2, ..good.clone() }, "hidden");
    refused(PixelRnnConfig { levels: 100, ..good.clone() }, "levels");
    refused(PixelRnnConfig { conditional: true, ..good }, "conditional");
}
