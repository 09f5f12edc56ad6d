//! The PixelCNN against PyTorch, its order, its distributions value by value, on a toy problem, and across a break.

use burn::tensor::Device;

use super::*;
use crate::model::Model as _;
use crate::models::autoregressive::testing::images::{
    expect_causal, expect_exact_log_probs, expect_naive_samples, expect_pytorch, expect_sum_to_one, grown,
    learn_chains, made,
};
use crate::testing::{Fixture, expect_conforms, expect_exact_resume, image_spec, learner, refusal, shapes};

fn tiny(distribution: PixelDistribution, conditional: bool) -> PixelCnnConfig {
    PixelCnnConfig {
        width: 7,
        blocks: 3,
        first_kernel: 5,
        head: 8,
        distribution,
        levels: 8,
        conditional,
        ..PixelCnnConfig::default()
    }
}

/// Factors on the last weights and on all others, which bring logits far from zero.
const GROWN: (f32, f32) = (4.0, 1.5);

/// A model whose logits are far from zero.
fn model(distribution: PixelDistribution, shape: [usize; 3], classes: usize, device: &Device) -> PixelCnn {
    grown::<PixelCnnNetwork>(&tiny(distribution, classes > 0), shape, classes, GROWN, device)
}

/// The same with so many features that rectifiers leave each group some.
fn wide(distribution: PixelDistribution, shape: [usize; 3], classes: usize, device: &Device) -> PixelCnn {
    let config = PixelCnnConfig { width: 25, head: 25, ..tiny(distribution, classes > 0) };
    grown::<PixelCnnNetwork>(&config, shape, classes, GROWN, device)
}

#[test]
fn outputs_gradients_and_ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("autoregressive/pixelcnn"), Device::flex().autodiff());
    for name in ["plain", "plain_colour"] {
        expect_pytorch::<PixelCnnNetwork>(&fixture, name, &device);
    }
}

#[test]
fn numbers_depend_on_those_before_but_for_the_blind_spot_and_on_nothing_else() {
    let device = Device::flex().autodiff();
    for (shape, distribution, classes) in [
        ([4, 5, 1], PixelDistribution::Binary, 0),
        ([3, 4, 3], PixelDistribution::Softmax, 3),
        ([4, 4, 3], PixelDistribution::Binary, 0),
    ] {
        let depends = expect_causal(&wide(distribution, shape, classes, &device), &device);
        // The values just before are seen: of the same pixel, of the one to the left, of the one above.
        let [_, width, channels] = shape;
        for (number, depends) in depends.iter().enumerate() {
            let (pixel, channel) = (number / channels, number % channels);
            assert!(channel == 0 || depends[number - 1], "{number} of {shape:?}");
            assert!(pixel % width == 0 || depends[number - channels], "{number} of {shape:?}");
            assert!(pixel < width || depends[number - width * channels], "{number} of {shape:?}");
        }
    }
    // With kernels of 3×3 nothing to the right of the first diagonal is ever seen (arXiv:1606.05328, Figure 1).
    let config = PixelCnnConfig { first_kernel: 3, ..tiny(PixelDistribution::Binary, false) };
    let model = made::<PixelCnnNetwork>(&config, [4, 6, 1], 0, 1, &device);
    let depends = expect_causal(&model, &device);
    let seen = |from: [usize; 2], to: [usize; 2]| depends[to[0] * 6 + to[1]][from[0] * 6 + from[1]];
    assert!(seen([2, 3], [3, 2]) && seen([1, 4], [3, 2]) && seen([3, 0], [3, 2]));
    assert!(!seen([2, 4], [3, 2]) && !seen([2, 5], [3, 2]) && !seen([1, 5], [3, 2]));
}

#[test]
fn probabilities_of_all_images_sum_to_one() {
    let device = Device::flex();
    expect_sum_to_one(&model(PixelDistribution::Binary, [2, 2, 1], 0, &device), &device);
}

#[test]
fn samples_are_those_of_the_whole_network() {
    let device = Device::flex();
    for (shape, distribution, classes) in [
        ([6, 5, 1], PixelDistribution::Binary, 0),
        ([1, 4, 1], PixelDistribution::Softmax, 0),
        ([5, 1, 3], PixelDistribution::Softmax, 3),
        ([4, 6, 3], PixelDistribution::Softmax, 0),
    ] {
        expect_naive_samples(&model(distribution, shape, classes, &device), classes, &device);
    }
}

#[test]
fn log_probs_have_the_same_bits_in_any_batch_and_all_at_once() {
    let device = Device::flex();
    expect_exact_log_probs(&model(PixelDistribution::Binary, [7, 6, 1], 0, &device), 0, &device);
    expect_exact_log_probs(&model(PixelDistribution::Softmax, [4, 5, 3], 3, &device), 3, &device);
}

#[test]
fn a_chain_of_pixels_is_learned() {
    let optimizer = OptimizerConfig { learning_rate: 1e-2, ..OptimizerConfig::default() };
    let config = tiny(PixelDistribution::Binary, false);
    let excess = learn_chains::<PixelCnnNetwork>(config, optimizer, &Device::flex().autodiff());
    // Half a nat for each of the fifteen pixels when nothing is learned.
    assert!(excess < 0.5, "{excess} nats over the entropy");
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    let device = Device::flex().autodiff();
    let (_folder, dataset) = shapes(20, [12, 12]);
    let spec = image_spec([12, 12, 3], 0);
    let settings = (tiny(PixelDistribution::Softmax, false), (PixelCnn::ABOUT.optimizer)());
    expect_exact_resume(|| Box::new(learner::<PixelCnn>(&settings, &spec, &dataset, 4, &device)), &device);
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let refused = |config: PixelCnnConfig, key: &str| {
        let error = refusal::<PixelCnn>(&config, &image_spec([4, 4, 3], 0));
        assert!(error.contains(&format!("pixelcnn.{key}")), "{error}");
    };
    let good = tiny(PixelDistribution::Softmax, false);
    refused(PixelCnnConfig { width: 2, ..good.clone() }, "width");
    refused(PixelCnnConfig { kernel: 4, ..good.clone() }, "kernel");
    refused(PixelCnnConfig { levels: 100, ..good.clone() }, "levels");
    refused(PixelCnnConfig { conditional: true, ..good }, "conditional");
}

#[test]
fn it_conforms() {
    expect_conforms::<PixelCnn>("width=6 blocks=1 head=6 levels=8");
}
