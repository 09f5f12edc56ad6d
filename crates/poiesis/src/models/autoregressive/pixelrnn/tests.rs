//! The PixelRNN against PyTorch, its order, its distributions value by value, on a source whose entropy is known, and across a break.

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::model::Model as _;
use crate::models::autoregressive::testing::images::{
    expect_causal, expect_exact_values, expect_pytorch, made,
};
use crate::nn::StateDict;
use crate::rng;
use crate::testing::{Fixture, expect_conforms, expect_exact_resume, image_spec, learner, shapes};

const BODIES: [Body; 2] = [Body::Row, Body::Diagonal];

fn tiny(body: Body, distribution: PixelDistribution, conditional: bool) -> PixelRnnConfig {
    let pixels = PixelConfig { distribution, levels: 8, conditional };
    PixelRnnConfig { body, layers: 2, hidden_dim: 6, head: 22, pixels }
}

/// A model with weights large enough that what is seen is felt.
fn model(
    body: Body,
    distribution: PixelDistribution,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> PixelRnn {
    let model = made::<PixelRnnNetwork>(&tiny(body, distribution, classes > 0), shape, classes, 3, device);
    let mut arrays = StateDict::of(&model).to_arrays();
    for (number, array) in arrays.values_mut().enumerate() {
        if array.shape.len() == 1 {
            array.data = rng::normal(&mut rng::generator(4, "test", number as u64), array.data.len());
        }
        array.data.iter_mut().for_each(|weight| *weight *= 1.5);
    }
    StateDict::from_arrays(arrays, &device.clone().inner()).load_into(model).unwrap()
}

#[test]
fn outputs_gradients_and_ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("autoregressive/pixelrnn"), Device::flex().autodiff());
    for name in ["diagonal", "row", "colour", "colour-row"] {
        expect_pytorch::<PixelRnnNetwork>(&fixture, name, &device);
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
        for (shape, distribution, classes) in [
            ([4, 5, 1], PixelDistribution::Binary, 0),
            ([5, 4, 3], PixelDistribution::Softmax, 3),
            ([1, 6, 1], PixelDistribution::Softmax, 0),
            ([6, 1, 3], PixelDistribution::Binary, 0),
        ] {
            let depends = expect_causal(&model(body, distribution, shape, classes, &device), &device);
            for (later, depends) in depends.iter().enumerate().filter(|_| body == Body::Diagonal) {
                for (earlier, &depends) in depends.iter().enumerate() {
                    assert_eq!(depends, seen(shape, earlier, later), "{shape:?}: {earlier} from {later}");
                }
            }
        }
    }
}

#[test]
fn values_have_exact_distributions() {
    for body in BODIES {
        expect_exact_values(|distribution, shape, classes, device| {
            model(body, distribution, shape, classes, device)
        });
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
            hidden_dim: 16,
            head: 16,
            ..tiny(body, PixelDistribution::Binary, false)
        };
        let optimizer = OptimizerConfig { learning_rate: 5e-3, clip: 1.0, ..OptimizerConfig::default() };
        let spec = image_spec([SIDE, SIDE, 1], 0);
        let mut training = learner::<PixelRnn>(&(config, optimizer), &spec, &dataset, 1, &device);
        let steps = 600;
        for step in 0..steps {
            let schedule = 1.0 - step as f64 / steps as f64;
            training.with_step(step, schedule, |model, _, step| {
                model.update(source(32, step.number, step.device), &[0; 32], step)
            });
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
    let spec = image_spec([8, 8, 3], 0);
    let optimizer = OptimizerConfig { kind: OptimizerKind::Muon, ..(PixelRnn::ABOUT.optimizer)() };
    let settings = (tiny(Body::Diagonal, PixelDistribution::Softmax, false), optimizer);
    expect_exact_resume(|| Box::new(learner::<PixelRnn>(&settings, &spec, &dataset, 4, &device)), &device);
}

#[test]
fn it_conforms() {
    expect_conforms::<PixelRnn>(
        "hidden_dim=6 layers=1 head=6 distribution=softmax",
        &["layers=0", "hidden_dim=2", "distribution=softmax levels=100", "conditional=true"],
    );
}
