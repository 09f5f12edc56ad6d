//! The PixelCNN against PyTorch, its order, its laws value by value, on a toy problem, and across a break.

use burn::tensor::Device;

use super::*;
use crate::models::autoregressive::testing::images::{
    case, expect_causal, expect_exact_laws, expect_naive_samples, expect_pytorch, expect_sum_to_one,
    learn_chains, spec,
};
use crate::testing::{Fixture, batches, expect_exact_resume, shapes};

fn tiny(law: PixelLaw, conditional: bool) -> PixelCnnConfig {
    PixelCnnConfig {
        width: 7,
        blocks: 3,
        first_kernel: 5,
        head: 8,
        law,
        levels: 8,
        conditional,
        ..PixelCnnConfig::default()
    }
}

/// A model whose logits are far from zero.
fn model(law: PixelLaw, shape: [usize; 3], classes: usize, device: &Device) -> ImageModel<PixelCnn> {
    grown(&tiny(law, classes > 0), shape, classes, device)
}

/// The same with so many features that rectifiers leave each group some.
fn wide(law: PixelLaw, shape: [usize; 3], classes: usize, device: &Device) -> ImageModel<PixelCnn> {
    let config = PixelCnnConfig { width: 25, head: 25, ..tiny(law, classes > 0) };
    grown(&config, shape, classes, device)
}

fn grown(
    config: &PixelCnnConfig,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> ImageModel<PixelCnn> {
    let mut model = config.init(&spec(shape, classes), 4, device).unwrap();
    let mut arrays = Weights::of("network", model.network()).to_arrays();
    for (name, array) in &mut arrays {
        let grow = if name.starts_with("network.output") { 4.0 } else { 1.5 };
        array.data.iter_mut().for_each(|x| *x *= grow);
    }
    model.put(&Weights::from_arrays(arrays, &device.clone().inner())).unwrap();
    model
}

#[test]
fn outputs_gradients_and_ten_steps_are_those_of_pytorch() {
    let (fixture, device) = (Fixture::read("autoregressive/pixelcnn"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [16, 16]);
    for name in ["plain", "plain_colour"] {
        let (spec, config) = case::<PixelCnnConfig>(&fixture, name);
        let model = config.init(&spec, 0, &device).unwrap();
        let optimizer = config.optimizer();
        let training = Training { model, optimizer, batches: batches(&dataset, 1, &device) };
        expect_pytorch(&fixture, name, training, &device);
    }
}

#[test]
fn numbers_depend_on_those_before_but_for_the_blind_spot_and_on_nothing_else() {
    let device = Device::flex().autodiff();
    for (shape, law, classes) in [
        ([4, 5, 1], PixelLaw::Binary, 0),
        ([3, 4, 3], PixelLaw::Softmax, 3),
        ([4, 4, 3], PixelLaw::Binary, 0),
    ] {
        let depends = expect_causal(&wide(law, shape, classes, &device), &device);
        // The numbers just before are seen: of the same pixel, of the one to the left, of the one above.
        let [_, width, channels] = shape;
        for (number, depends) in depends.iter().enumerate() {
            let (pixel, channel) = (number / channels, number % channels);
            assert!(channel == 0 || depends[number - 1], "{number} of {shape:?}");
            assert!(pixel % width == 0 || depends[number - channels], "{number} of {shape:?}");
            assert!(pixel < width || depends[number - width * channels], "{number} of {shape:?}");
        }
    }
    // With kernels of 3×3 nothing to the right of the first diagonal is ever seen (arXiv:1606.05328, Figure 1).
    let config = PixelCnnConfig { first_kernel: 3, ..tiny(PixelLaw::Binary, false) };
    let model = config.init(&spec([4, 6, 1], 0), 1, &device).unwrap();
    let depends = expect_causal(&model, &device);
    let seen = |from: [usize; 2], to: [usize; 2]| depends[to[0] * 6 + to[1]][from[0] * 6 + from[1]];
    assert!(seen([2, 3], [3, 2]) && seen([1, 4], [3, 2]) && seen([3, 0], [3, 2]));
    assert!(!seen([2, 4], [3, 2]) && !seen([2, 5], [3, 2]) && !seen([1, 5], [3, 2]));
}

#[test]
fn probabilities_of_all_images_sum_to_one() {
    let device = Device::flex();
    expect_sum_to_one(&model(PixelLaw::Binary, [2, 2, 1], 0, &device), &device);
}

#[test]
fn samples_are_those_of_the_whole_network() {
    let device = Device::flex();
    for (shape, law, classes) in [
        ([6, 5, 1], PixelLaw::Binary, 0),
        ([1, 4, 1], PixelLaw::Softmax, 0),
        ([5, 1, 3], PixelLaw::Softmax, 3),
        ([4, 6, 3], PixelLaw::Softmax, 0),
    ] {
        expect_naive_samples(&model(law, shape, classes, &device), classes, &device);
    }
}

#[test]
fn laws_are_the_same_to_the_bit_in_any_company_and_all_at_once() {
    let device = Device::flex();
    expect_exact_laws(&model(PixelLaw::Binary, [7, 6, 1], 0, &device), 0, &device);
    expect_exact_laws(&model(PixelLaw::Softmax, [4, 5, 3], 3, &device), 3, &device);
}

#[test]
fn a_chain_of_pixels_is_learned() {
    let device = Device::flex().autodiff();
    let (_folder, dataset) = shapes(8, [16, 16]);
    let config = PixelCnnConfig { learning_rate: 1e-2, ..tiny(PixelLaw::Binary, false) };
    let model = config.init(&spec([4, 4, 1], 0), 1, &device).unwrap();
    let optimizer = config.optimizer.optimizer(config.learning_rate, 0.0, 0.0);
    let excess = learn_chains(model, optimizer, &dataset, &device);
    // Half a nat for each of the fifteen pixels when nothing is learned.
    assert!(excess < 0.5, "{excess} nats over the entropy");
}

#[test]
fn three_steps_a_break_and_three_steps_are_six_steps() {
    let device = Device::flex().autodiff();
    let (_folder, dataset) = shapes(20, [12, 12]);
    let spec = DataSpec::of(&dataset).unwrap();
    let config = tiny(PixelLaw::Softmax, false);
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
    let refused = |config: PixelCnnConfig, key: &str| {
        let error = config.init(&colour, 0, &device).unwrap_err().to_string();
        assert!(error.contains(&format!("pixelcnn.{key}")), "{error}");
    };
    let good = tiny(PixelLaw::Softmax, false);
    refused(PixelCnnConfig { width: 2, ..good.clone() }, "width");
    refused(PixelCnnConfig { kernel: 4, ..good.clone() }, "kernel");
    refused(PixelCnnConfig { levels: 100, ..good.clone() }, "levels");
    refused(PixelCnnConfig { conditional: true, ..good }, "conditional");
}
