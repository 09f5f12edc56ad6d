//! The convolutional body.

use burn::module::Module;
use burn::tensor::Tensor;

use super::VaeConfig;
use crate::data::ImageShape;
use crate::error::Result;
use crate::nn::{
    Activation, Conv2d, ConvTranspose2d, Init, Initializer, Linear, SquareKernel, activate, flatten,
};

/// The kernel between two sizes.
const HALVE: SquareKernel = SquareKernel { size: 4, stride: 2 };

/// Strided convolutions with residual blocks between, then a linear layer to the posterior's parameters.
#[derive(Module, Debug)]
pub struct ConvEncoder {
    levels: Vec<EncoderLevel>,
    output: Linear,
}

#[derive(Module, Debug)]
struct EncoderLevel {
    down: Conv2d,
    blocks: Vec<Residual>,
}

impl ConvEncoder {
    pub(super) fn new(
        config: &VaeConfig,
        num_classes: usize,
        shape: ImageShape,
        init: &mut Init,
    ) -> Result<ConvEncoder> {
        let (halvings, base) = shape.halvings()?;
        let features = |level: usize| config.width << level;
        let levels = (0..halvings).map(|level| {
            let inputs = if level == 0 { shape.channels } else { features(level - 1) };
            let down =
                Conv2d::new([inputs, features(level)], HALVE, Initializer::FanIn, init).with_bias(init);
            let blocks = (0..config.blocks).map(|_| Residual::new(features(level), init)).collect();
            EncoderLevel { down, blocks }
        });
        let levels = levels.collect();
        let flat = base[0] * base[1] * features(halvings - 1);
        let output =
            Linear::with_bias(flat + num_classes, config.posterior_parameters(), Initializer::FanIn, init);
        Ok(ConvEncoder { levels, output })
    }

    /// `with_classes` adds the classes to the flat features.
    pub(super) fn forward(&self, x: Tensor<4>, with_classes: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let level = |h: Tensor<4>, level: &EncoderLevel| {
            level.blocks.iter().fold(level.down.forward(h), |h, block| block.forward(h))
        };
        // The image goes in as it is; every later level starts from an activation.
        let (first, rest) = self.levels.split_first().expect("an image is halved at least once");
        let h = rest.iter().fold(level(x, first), |h, next| level(elu(h), next));
        self.output.forward(with_classes(flatten(elu(h))), Activation::Identity)
    }
}

/// A linear layer to a small map, then residual blocks with transposed convolutions between.
#[derive(Module, Debug)]
pub struct ConvDecoder {
    input: Linear,
    levels: Vec<DecoderLevel>,
    #[module(skip)]
    base: [usize; 3],
    #[module(skip)]
    channels: usize,
}

#[derive(Module, Debug)]
struct DecoderLevel {
    blocks: Vec<Residual>,
    up: ConvTranspose2d,
}

impl ConvDecoder {
    pub(super) fn new(
        config: &VaeConfig,
        inputs: usize,
        shape: ImageShape,
        outputs: usize,
        init: &mut Init,
    ) -> Result<ConvDecoder> {
        let (halvings, base) = shape.halvings()?;
        let features = |level: usize| config.width << level;
        let deepest = features(halvings - 1);
        let flat = base[0] * base[1] * deepest;
        let input = Linear::with_bias(inputs, flat, Initializer::FanIn, init);
        let levels = (0..halvings).rev().map(|level| {
            let blocks = (0..config.blocks).map(|_| Residual::new(features(level), init)).collect();
            let outputs = if level == 0 { outputs } else { features(level - 1) };
            let up = ConvTranspose2d::new([features(level), outputs], HALVE, Initializer::FanIn, init)
                .with_bias(init);
            DecoderLevel { blocks, up }
        });
        let levels = levels.collect();
        Ok(ConvDecoder { input, levels, base: [base[0], base[1], deepest], channels: shape.channels })
    }

    /// The layer that the latents go through first.
    pub(super) fn first(&self) -> &Linear {
        &self.input
    }

    /// The parameters of the pixels' distribution, `[batch, kinds · dims]`: all of the first kind, then all of
    /// the second, each row by row as an image is.
    pub(super) fn forward(&self, z: Tensor<2>) -> Tensor<2> {
        let [height, width, features] = self.base;
        let h = self.input.forward(z, Activation::Identity);
        let h = h.reshape([-1, height as i64, width as i64, features as i64]);
        let level = |h: Tensor<4>, level: &DecoderLevel| {
            level.up.forward(elu(level.blocks.iter().fold(h, |h, block| block.forward(h))))
        };
        let maps = self.levels.iter().fold(h, level);
        let kinds = maps.dims()[3] / self.channels;
        let kind = |k: usize| flatten(maps.clone().narrow(3, k * self.channels, self.channels));
        if kinds == 1 { flatten(maps) } else { Tensor::cat((0..kinds).map(kind).collect(), 1) }
    }
}

/// h + conv(elu(conv(elu(h)))) (He et al. 2016, with the activations before the convolutions).
#[derive(Module, Debug)]
struct Residual {
    first: Conv2d,
    second: Conv2d,
}

impl Residual {
    fn new(features: usize, init: &mut Init) -> Residual {
        let kernel = SquareKernel { size: 3, stride: 1 };
        let mut conv = || Conv2d::new([features; 2], kernel, Initializer::FanIn, init).with_bias(init);
        Residual { first: conv(), second: conv() }
    }

    fn forward(&self, h: Tensor<4>) -> Tensor<4> {
        h.clone() + self.second.forward(elu(self.first.forward(elu(h))))
    }
}

fn elu(h: Tensor<4>) -> Tensor<4> {
    activate(h, Activation::Elu)
}
