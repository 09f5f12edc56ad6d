//! The gated PixelCNN against PyTorch, its order, its laws value by value, on a toy problem, and across a break.

use burn::tensor::Device;

use super::*;
use crate::models::autoregressive::testing::images::{
    case, expect_causal, expect_exact_laws, expect_naive_samples, expect_pytorch, expect_sum_to_one,
    learn_chains, spec,
};
use crate::testing::{Fixture, batches, expect_exact_resume, shapes};

fn tiny(law: PixelLaw, conditional: bool) -> GatedPixelCnnConfig {
    GatedPixelCnnConfig {
        width: 7,
        layers: 3,
        first_kernel: 5,
        head: 8,
        law,
        levels: 8,
        conditional,
        ..GatedPixelCnnConfig::default()
    }
}

/// A model whose logits are far from zero.
fn model(law: PixelLaw, shape: [usize; 3], classes: usize, device: &Device) -> ImageModel<GatedPixelCnn> {
    grown(&tiny(law, classes > 0), shape, classes, device)
}

/// The same with so many features that rectifiers leave each group some.
fn wide(law: PixelLaw, shape: [usize; 3], classes: usize, device: &Device) -> ImageModel<GatedPixelCnn> {
    let config = GatedPixelCnnConfig { width: 25, head: 25, ..tiny(law, classes > 0) };
    grown(&config, shape, classes, device)
}

fn grown(
    config: &GatedPixelCnnConfig,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> ImageModel<GatedPixelCnn> {
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
    let (fixture, device) = (Fixture::read("autoregressive/gated_pixelcnn"), Device::flex().autodiff());
    let (_folder, dataset) = shapes(8, [16, 16]);
    for name in ["gated", "gated_colour", "gated_muon"] {
        let (spec, config) = case::<GatedPixelCnnConfig>(&fixture, name);
        let model = config.init(&spec, 0, &device).unwrap();
        let optimizer = config.optimizer();
        let training = Training { model, optimizer, batches: batches(&dataset, 1, &device) };
        expect_pytorch(&fixture, name, training, &device);
    }
}

#[test]
fn every_number_depends_on_all_before_it_and_on_nothing_else() {
    let device = Device::flex().autodiff();
    // Three layers reach four pixels to each side.
    for (shape, law, classes) in [
        ([4, 5, 1], PixelLaw::Binary, 0),
        ([3, 4, 3], PixelLaw::Softmax, 3),
        ([4, 4, 3], PixelLaw::Binary, 0),
    ] {
        let depends = expect_causal(&wide(law, shape, classes, &device), &device);
        for (number, depends) in depends.iter().enumerate() {
            assert!(depends.iter().all(|&depends| depends), "{number} of {shape:?} does not see {depends:?}");
        }
    }
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
    let config = GatedPixelCnnConfig { learning_rate: 1e-2, ..tiny(PixelLaw::Binary, false) };
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
    let refused = |config: GatedPixelCnnConfig, key: &str| {
        let error = config.init(&colour, 0, &device).unwrap_err().to_string();
        assert!(error.contains(&format!("gated-pixelcnn.{key}")), "{error}");
    };
    let good = tiny(PixelLaw::Softmax, false);
    refused(GatedPixelCnnConfig { width: 2, ..good.clone() }, "width");
    refused(GatedPixelCnnConfig { layers: 0, ..good.clone() }, "layers");
    refused(GatedPixelCnnConfig { kernel: 4, ..good.clone() }, "kernel");
    refused(GatedPixelCnnConfig { levels: 100, ..good.clone() }, "levels");
    refused(GatedPixelCnnConfig { conditional: true, ..good }, "conditional");
}
