//! What both networks are made of: an inverted residual block without normalisation (§3.4).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, ConvOptions, activate, activation_tangent, add, conv2d, linear};

use super::R3GanConfig;
use crate::nn::{Init, Initializer, Linear};

/// The slope of the leaky ReLU below zero.
const LEAK: f64 = 0.2;

/// What a leaky ReLU takes off the deviation, which first weights make up for (He et al. 2015): √(2 / (1 + leak²)).
fn gain() -> f64 {
    (2.0 / (1.0 + LEAK * LEAK)).sqrt()
}

/// What goes into the leaky ReLUs of a network at one batch, in the order of the layers: their slopes there follow from it.
pub(super) type PreActivations = Vec<Tensor<4>>;

/// How a batch goes through a network.
pub(super) enum Pass<'a> {
    /// As it is.
    Values,
    /// As it is, and what goes into the activations is kept.
    Keep(&'a mut PreActivations),
    /// Through its derivative at the batch that these are of: a network of piecewise linear layers is differentiated by leaving out the
    /// biases and fixing the slopes.
    Tangent(std::slice::Iter<'a, Tensor<4>>),
}

impl Pass<'_> {
    /// A layer and the leaky ReLU behind it. `layer` computes with its bias or without.
    fn activated(&mut self, layer: impl Fn(bool) -> Tensor<4>) -> Tensor<4> {
        let leaky = Activation::LeakyRelu(LEAK as f32);
        match self {
            Pass::Values => activate(layer(true), leaky),
            Pass::Keep(kept) => {
                let h = layer(true);
                kept.push(h.clone().detach());
                activate(h, leaky)
            }
            Pass::Tangent(kept) => match kept.next() {
                Some(h) => activation_tangent(layer(false), h.clone(), leaky),
                None => panic!("fewer pre-activations than activations"),
            },
        }
    }
}

/// x + W₃ a(W₂ ∗ a(W₁ x)): to more features, a grouped 3×3 convolution there, and back.
#[derive(Module, Debug)]
pub(super) struct Block {
    expand: Linear,
    conv: GroupedConv,
    reduce: Linear,
}

impl Block {
    /// A block of a network with `blocks` blocks. The last layer starts at zero and the others are scaled down (Zhang et al. 2019, "Fixup
    /// initialization"), so that the signal keeps its size without normalisation.
    fn new(features: usize, config: &R3GanConfig, blocks: usize, init: &mut Init) -> Block {
        let expanded = features * config.expansion;
        let weights = Initializer::FanInNormal(gain() * (blocks as f64).powf(-0.25));
        Block {
            expand: Linear::with_bias(features, expanded, weights, init),
            conv: GroupedConv::new(expanded, config.group_width, weights, init),
            reduce: Linear::new(expanded, features, Initializer::Normal(0.0), init),
        }
    }

    /// `[batch, height, width, features]` to the same.
    fn forward(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        let h = pass.activated(|biased| match biased {
            true => self.expand.forward(x.clone(), Activation::Identity),
            false => linear(x.clone(), self.expand.weight(), None, Activation::Identity),
        });
        let h = pass.activated(|biased| self.conv.forward(h.clone(), biased));
        add(x, self.reduce.forward(h, Activation::Identity))
    }
}

/// The blocks of one size of the image.
#[derive(Module, Debug)]
pub(super) struct Stage {
    blocks: Vec<Block>,
}

impl Stage {
    /// One of the `stages` stages of a network.
    pub(super) fn new(features: usize, config: &R3GanConfig, stages: usize, init: &mut Init) -> Stage {
        let block = |_| Block::new(features, config, stages * config.blocks, init);
        Stage { blocks: (0..config.blocks).map(block).collect() }
    }

    /// `[batch, height, width, features]` to the same.
    pub(super) fn forward(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        self.blocks.iter().fold(x, |x, block| block.forward(x, pass))
    }
}

/// A 3×3 convolution in groups of channels.
#[derive(Module, Debug)]
struct GroupedConv {
    /// `[3, 3, group_width, features]`.
    weight: Param<Tensor<4>>,
    /// `[features]`.
    bias: Param<Tensor<1>>,
}

impl GroupedConv {
    fn new(features: usize, group_width: usize, initializer: Initializer, init: &mut Init) -> GroupedConv {
        let fan = 9 * group_width;
        GroupedConv {
            weight: init.weight([3, 3, group_width, features], fan, fan, initializer),
            bias: init.constant([features], 0.0),
        }
    }

    fn forward(&self, x: Tensor<4>, biased: bool) -> Tensor<4> {
        let [_, _, group_width, features] = self.weight.dims();
        let options = ConvOptions { groups: features / group_width, ..ConvOptions::new([1, 1], [1, 1]) };
        conv2d(x, self.weight.val(), biased.then(|| self.bias.val()), &options)
    }
}

/// A change of the number of features, without bias; `None` where it stays.
pub(super) fn change([inputs, outputs]: [usize; 2], init: &mut Init) -> Option<Linear> {
    (inputs != outputs).then(|| Linear::new(inputs, outputs, Initializer::FanInNormal(1.0), init))
}
