//! The gated PixelCNN against PyTorch, its order, its distributions value by value, and on a toy problem.

use burn::tensor::Device;

use super::*;
use crate::models::autoregressive::PixelDistribution;
use crate::models::autoregressive::testing::images::{
    expect_chains_to_be_learned, expect_exact_values, expect_order, expect_pytorch, grown,
};
use crate::testing::{Fixture, expect_conforms};

fn tiny(distribution: PixelDistribution, conditional: bool) -> GatedPixelCnnConfig {
    GatedPixelCnnConfig {
        width: 7,
        layers: 3,
        first_kernel: 5,
        head: 8,
        pixels: PixelConfig { distribution, levels: 8, conditional },
        ..GatedPixelCnnConfig::default()
    }
}

/// A model whose logits are far from zero.
fn model(
    distribution: PixelDistribution,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> GatedPixelCnn {
    grown::<GatedPixelCnnNetwork>(&tiny(distribution, classes > 0), shape, classes, device)
}

/// The same with so many features that rectifiers leave each group some.
fn wide(
    distribution: PixelDistribution,
    shape: [usize; 3],
    classes: usize,
    device: &Device,
) -> GatedPixelCnn {
    let config = GatedPixelCnnConfig { width: 25, head: 25, ..tiny(distribution, classes > 0) };
    grown::<GatedPixelCnnNetwork>(&config, shape, classes, device)
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
    // Three layers reach four pixels to each side.
    expect_order(wide, |shape, depends| {
        for (number, depends) in depends.iter().enumerate() {
            assert!(depends.iter().all(|&depends| depends), "{number} of {shape:?} does not see {depends:?}");
        }
    });
}

#[test]
fn values_have_exact_distributions() {
    expect_exact_values(model);
}

#[test]
fn a_chain_of_pixels_is_learned() {
    expect_chains_to_be_learned::<GatedPixelCnnNetwork>(tiny(PixelDistribution::Binary, false));
}

#[test]
fn it_conforms() {
    expect_conforms::<GatedPixelCnn>(
        "width=6 layers=2 head=6 levels=8 conditional=true",
        &["width=2", "layers=0", "kernel=4", "levels=100", "conditional=true"],
    );
}
