//! The PixelCNN against PyTorch, its order, its distributions value by value, and on a toy problem.

use burn::tensor::Device;

use super::*;
use crate::models::autoregressive::PixelDistribution;
use crate::models::autoregressive::testing::images::{
    expect_causal, expect_chains_to_be_learned, expect_exact_values, expect_order, expect_pytorch, grown,
    made,
};
use crate::testing::{Fixture, expect_conforms};

fn tiny(distribution: PixelDistribution, conditional: bool) -> PixelCnnConfig {
    PixelCnnConfig {
        width: 7,
        blocks: 3,
        first_kernel: 5,
        head: 8,
        pixels: PixelConfig { distribution, levels: 8, conditional },
        ..PixelCnnConfig::default()
    }
}

/// A model whose logits are far from zero.
fn model(distribution: PixelDistribution, shape: [usize; 3], classes: usize, device: &Device) -> PixelCnn {
    grown::<PixelCnnNetwork>(&tiny(distribution, classes > 0), shape, classes, device)
}

/// The same with so many features that rectifiers leave each group some.
fn wide(distribution: PixelDistribution, shape: [usize; 3], classes: usize, device: &Device) -> PixelCnn {
    let config = PixelCnnConfig { width: 25, head: 25, ..tiny(distribution, classes > 0) };
    grown::<PixelCnnNetwork>(&config, shape, classes, device)
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
    expect_order(wide, |shape, depends| {
        // The values just before are seen: of the same pixel, of the one to the left, of the one above.
        let [_, width, channels] = shape;
        for (number, depends) in depends.iter().enumerate() {
            let (pixel, channel) = (number / channels, number % channels);
            assert!(channel == 0 || depends[number - 1], "{number} of {shape:?}");
            assert!(pixel % width == 0 || depends[number - channels], "{number} of {shape:?}");
            assert!(pixel < width || depends[number - width * channels], "{number} of {shape:?}");
        }
    });
    let device = Device::flex().autodiff();
    // With kernels of 3×3 nothing to the right of the first diagonal is ever seen (arXiv:1606.05328, Figure 1).
    let config = PixelCnnConfig { first_kernel: 3, ..tiny(PixelDistribution::Binary, false) };
    let model = made::<PixelCnnNetwork>(&config, [4, 6, 1], 0, 1, &device);
    let depends = expect_causal(&model, &device);
    let seen = |from: [usize; 2], to: [usize; 2]| depends[to[0] * 6 + to[1]][from[0] * 6 + from[1]];
    assert!(seen([2, 3], [3, 2]) && seen([1, 4], [3, 2]) && seen([3, 0], [3, 2]));
    assert!(!seen([2, 4], [3, 2]) && !seen([2, 5], [3, 2]) && !seen([1, 5], [3, 2]));
}

#[test]
fn values_have_exact_distributions() {
    expect_exact_values(model);
}

#[test]
fn a_chain_of_pixels_is_learned() {
    expect_chains_to_be_learned::<PixelCnnNetwork>(tiny(PixelDistribution::Binary, false));
}

#[test]
fn it_conforms() {
    expect_conforms::<PixelCnn>(
        "width=6 blocks=1 head=6 levels=8",
        &["width=2", "kernel=4", "levels=100", "conditional=true"],
    );
}
