//! The gated PixelCNN against PyTorch, its order, its distributions value by value, on a toy problem, and across a break.

use burn::tensor::Device;

use super::*;
use crate::model::Model as _;
use crate::models::autoregressive::testing::images::{
    expect_causal, expect_exact_log_probs, expect_naive_samples, expect_pytorch, expect_sum_to_one, grown,
    learn_chains,
};
use crate::testing::{Fixture, expect_conforms, expect_exact_resume, image_spec, learner, refusal, shapes};

fn tiny(distribution: PixelDistribution, conditional: bool) -> GatedPixelCnnConfig {
    GatedPixelCnnConfig {
        width: 7,
        layers: 3,
        first_kernel: 5,
        head: 8,
        distribution,
        levels: 8,
        conditional,
        ..GatedPixelCnnConfig::default()
    }
}

/// Factors on the last weights and on all others, which bring logits far from zero.
const GROWN: (f32, f32) = (4.0, 1.5);

/// A model whose logits are far from zero.
fn model(
    distribution: PixelDistribution,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> GatedPixelCnn {
    grown::<GatedPixelCnnNetwork>(&tiny(distribution, classes > 0), shape, classes, GROWN, device)
}

/// The same with so many features that rectifiers leave each group some.
fn wide(
    distribution: PixelDistribution,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> GatedPixelCnn {
    let config = GatedPixelCnnConfig { width: 25, head: 25, ..tiny(distribution, classes > 0) };
    grown::<GatedPixelCnnNetwork>(&config, shape, classes, GROWN, device)
}

#[test]
fn outputs_gradients_and_ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("autoregressive/gated_pixelcnn"), Device::flex().autodiff());
    for name in ["gated", "gated_colour", "gated_muon"] {
        expect_pytorch::<GatedPixelCnnNetwork>(&fixture, name, &device);
    }
}

#[test]
fn every_number_depends_on_all_before_it_and_on_nothing_else() {
    let device = Device::flex().autodiff();
    // Three layers reach four pixels to each side.
    for (shape, distribution, classes) in [
        ([4, 5, 1], PixelDistribution::Binary, 0),
        ([3, 4, 3], PixelDistribution::Softmax, 3),
        ([4, 4, 3], PixelDistribution::Binary, 0),
    ] {
        let depends = expect_causal(&wide(distribution, shape, classes, &device), &device);
        for (number, depends) in depends.iter().enumerate() {
            assert!(depends.iter().all(|&depends| depends), "{number} of {shape:?} does not see {depends:?}");
        }
    }
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
    let excess = learn_chains::<GatedPixelCnnNetwork>(config, optimizer, &Device::flex().autodiff());
    // Half a nat for each of the fifteen pixels when nothing is learned.
    assert!(excess < 0.5, "{excess} nats over the entropy");
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    let device = Device::flex().autodiff();
    let (_folder, dataset) = shapes(20, [12, 12]);
    let spec = image_spec([12, 12, 3], 0);
    let settings = (tiny(PixelDistribution::Softmax, false), (GatedPixelCnn::ABOUT.optimizer)());
    expect_exact_resume(
        || Box::new(learner::<GatedPixelCnn>(&settings, &spec, &dataset, 4, &device)),
        &device,
    );
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let refused = |config: GatedPixelCnnConfig, key: &str| {
        let error = refusal::<GatedPixelCnn>(&config, &image_spec([4, 4, 3], 0));
        assert!(error.contains(&format!("gated-pixelcnn.{key}")), "{error}");
    };
    let good = tiny(PixelDistribution::Softmax, false);
    refused(GatedPixelCnnConfig { width: 2, ..good.clone() }, "width");
    refused(GatedPixelCnnConfig { layers: 0, ..good.clone() }, "layers");
    refused(GatedPixelCnnConfig { kernel: 4, ..good.clone() }, "kernel");
    refused(GatedPixelCnnConfig { levels: 100, ..good.clone() }, "levels");
    refused(GatedPixelCnnConfig { conditional: true, ..good }, "conditional");
}

#[test]
fn it_conforms() {
    expect_conforms::<GatedPixelCnn>("width=6 layers=2 head=6 levels=8 conditional=true");
}
