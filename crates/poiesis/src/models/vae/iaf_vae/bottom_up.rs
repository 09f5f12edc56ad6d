//! The bottom-up pass: from an image to what it says of each stochastic layer (§5, Figure 3).

use burn::module::Module;
use burn::tensor::Tensor;
use poiesis_kernels::{add, fork};

use super::posterior::{Evidence, NEAR_PRIOR, Normal};
use super::{AROUND, HALVE, IMAGE, IafVaeConfig, elu};
use crate::data::ImageShape;
use crate::nn::{FirstValues, Init, NormedConv2d, NormedLinear};

/// Strided convolutions with residual blocks between, each of which says something of the maps of the same block on the way down.
#[derive(Module, Debug)]
pub struct BottomUp {
    input: NormedConv2d,
    levels: Vec<Level>,
    vector: Option<VectorLayer>,
}

#[derive(Module, Debug)]
struct Level {
    /// From the level before; none at the first.
    down: Option<NormedConv2d>,
    blocks: Vec<Block>,
}

impl BottomUp {
    pub(super) fn new(config: &IafVaeConfig, shape: ImageShape, init: &mut Init) -> BottomUp {
        let width = config.width;
        let input = NormedConv2d::new([shape.channels, width], IMAGE, init);
        let levels = (0..config.levels).map(|level| Level {
            down: (level > 0).then(|| NormedConv2d::new([width; 2], HALVE, init)),
            blocks: (0..config.blocks).map(|_| Block::new(config, init)).collect(),
        });
        let levels = levels.collect();
        let flat = config.deepest(shape).into_iter().product();
        let vector = (config.latent_dim > 0).then(|| VectorLayer::new(config, flat, init));
        BottomUp { input, levels, vector }
    }

    /// What images say of each stochastic layer, in the order of this pass: the first is the last one to be drawn.
    ///
    /// `x` is `[batch, height, width, channels]`.
    pub(super) fn forward(&self, x: Tensor<4>, found: &mut Option<FirstValues>) -> Vec<Evidence> {
        let mut all = Vec::new();
        let mut h = self.input.forward(x, found);
        for level in &self.levels {
            if let Some(down) = &level.down {
                h = down.forward(elu(h), found);
            }
            for block in &level.blocks {
                let evidence;
                (h, evidence) = block.forward(h, found);
                all.extend(evidence);
            }
        }
        all.extend(self.vector.as_ref().map(|vector| vector.forward(h, found)));
        all
    }
}

/// h′ = h + scale · conv(elu(conv(elu(h)))), and what h′ says of the maps of the block.
#[derive(Module, Debug)]
struct Block {
    hidden: NormedConv2d,
    output: NormedConv2d,
    maps: Option<Maps>,
    #[module(skip)]
    scale: f64,
}

#[derive(Module, Debug)]
struct Maps {
    /// To mean and log deviation of each map.
    base: NormedConv2d,
    /// To the features that a flow reads.
    context: Option<NormedConv2d>,
}

impl Block {
    fn new(config: &IafVaeConfig, init: &mut Init) -> Block {
        let width = config.width;
        let mut conv = |outputs| NormedConv2d::new([width, outputs], AROUND, init);
        Block {
            hidden: conv(width),
            output: conv(width),
            maps: (config.maps > 0).then(|| Maps {
                base: conv(2 * config.maps).with_deviation(NEAR_PRIOR),
                context: config.has_flow().then(|| conv(width)),
            }),
            scale: config.residual_scale,
        }
    }

    fn forward(&self, h: Tensor<4>, found: &mut Option<FirstValues>) -> (Tensor<4>, Option<Evidence>) {
        let [h, inside] = fork(h);
        let change = self.output.forward(elu(self.hidden.forward(elu(inside), found)), found);
        let h = add(h, change * self.scale);
        let Some(maps) = &self.maps else { return (h, None) };
        // Of the deepest features only what is seen of them matters where there is no vector.
        let [seen, h] = fork(h);
        (h, Some(maps.forward(elu(seen), found)))
    }
}

impl Maps {
    fn forward(&self, h: Tensor<4>, found: &mut Option<FirstValues>) -> Evidence {
        let parameters = self.base.forward(h.clone(), found);
        let maps = parameters.dims()[3] / 2;
        let context = self.context.as_ref().map(|context| context.forward(h, found));
        Evidence { base: Normal::from_parameters(&parameters, 0, maps), context }
    }
}

/// A fully connected layer, then mean and log deviation of the vector of latents. A flow reads the features between.
#[derive(Module, Debug)]
struct VectorLayer {
    hidden: NormedLinear,
    base: NormedLinear,
}

impl VectorLayer {
    fn new(config: &IafVaeConfig, flat: usize, init: &mut Init) -> VectorLayer {
        VectorLayer {
            hidden: NormedLinear::new(flat, config.hidden_dim, init),
            base: NormedLinear::new(config.hidden_dim, 2 * config.latent_dim, init)
                .with_deviation(NEAR_PRIOR),
        }
    }

    fn forward(&self, h: Tensor<4>, found: &mut Option<FirstValues>) -> Evidence {
        let [batch, height, width, features] = h.dims();
        let flat = elu(h).reshape([batch, 1, 1, height * width * features]);
        let context = elu(self.hidden.forward(flat, found));
        let parameters = self.base.forward(context.clone(), found);
        let size = parameters.dims()[3] / 2;
        Evidence { base: Normal::from_parameters(&parameters, 0, size), context: Some(context) }
    }
}
