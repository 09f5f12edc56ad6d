//! The top-down pass: draws each stochastic layer given those above it, and ends with the distribution of the image (§5, Figure 3).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{add, fork};

use super::super::pixels::PixelDistribution;
use super::posterior::{Drawn, Evidence, Flow, NEAR_PRIOR, Normal};
use super::{AROUND, HALVE, IMAGE, IafVaeConfig, elu};
use crate::data::ImageShape;
use crate::dist::{Bernoulli, DiagonalNormal, DiscretizedLogistic, Pixels};
use crate::nn::{FirstValues, Init, NormedConv2d, NormedConvTranspose2d, NormedLinear, flatten};

/// log of the scale of pixels at first, an eighth of the range.
const FIRST_LOG_SCALE: f64 = -1.4;
/// No pixel is narrower than a tenth of a bin.
const SMALLEST_LOG_SCALE: f64 = -7.0;

/// Residual blocks with transposed convolutions between, from a vector of latents or a learned constant to the image.
#[derive(Module, Debug)]
pub struct TopDown {
    vector: Option<VectorLayer>,
    /// The features that it begins with where there is no vector, `[width]`.
    top: Option<Param<Tensor<1>>>,
    /// The deepest first.
    levels: Vec<Level>,
    output: NormedConvTranspose2d,
    /// log of the one scale of all values, of 256 levels.
    log_scale: Option<Param<Tensor<1>>>,
    #[module(skip)]
    deepest: [usize; 3],
}

#[derive(Module, Debug)]
struct Level {
    blocks: Vec<Block>,
    /// To the next level; none at the last.
    up: Option<NormedConvTranspose2d>,
}

/// How the latents of a pass are drawn.
pub(super) struct Draws<'a> {
    batch: usize,
    source: Source<'a>,
    /// What the bottom-up pass knows of the layers that are still to be drawn; `None` draws from the prior.
    evidence: Option<Vec<Evidence>>,
    pub(super) found: &'a mut Option<FirstValues>,
    /// What was drawn from posteriors, the top first.
    pub(super) drawn: Vec<Drawn>,
}

/// Where the latents of a layer come from.
enum Source<'a> {
    /// Noise for each layer, the top first.
    Noise(std::slice::Iter<'a, Tensor<4>>),
    /// Standardised latents that are given for the standardised posterior of each layer, flattened.
    Given(&'a mut dyn FnMut(DiagonalNormal) -> Tensor<2>),
}

impl<'a> Draws<'a> {
    /// Draws from the prior, or from the posterior given what the bottom-up pass knows, with `noise` for each layer, the top first.
    pub(super) fn new(
        noise: &'a [Tensor<4>],
        evidence: Option<Vec<Evidence>>,
        found: &'a mut Option<FirstValues>,
    ) -> Draws<'a> {
        let batch = noise[0].dims()[0];
        Draws { batch, source: Source::Noise(noise.iter()), evidence, found, drawn: Vec::new() }
    }

    /// Takes latents from `draw`, given their posterior. For a posterior without flow.
    pub(super) fn given(
        batch: usize,
        evidence: Vec<Evidence>,
        draw: &'a mut dyn FnMut(DiagonalNormal) -> Tensor<2>,
        found: &'a mut Option<FirstValues>,
    ) -> Draws<'a> {
        Draws { batch, source: Source::Given(draw), evidence: Some(evidence), found, drawn: Vec::new() }
    }

    /// The posterior of the next layer before its flow; `None` draws from the prior.
    ///
    /// # Panics
    ///
    /// When there are fewer layers in the evidence.
    fn next_evidence(&mut self, down: Option<Evidence>) -> Option<Evidence> {
        let up = self.evidence.as_mut()?.pop().expect("evidence of each stochastic layer");
        Some(match down {
            Some(down) => up.plus(down),
            None => up,
        })
    }

    /// Draws the next layer; `down` is what the top-down pass says of the posterior.
    ///
    /// # Panics
    ///
    /// When there are fewer layers in the noise or in the evidence.
    fn next(&mut self, prior: Option<&Normal>, down: Option<Evidence>, flow: &Flow) -> Tensor<4> {
        let evidence = self.next_evidence(down);
        let noise = match &mut self.source {
            Source::Noise(noise) => noise.next().expect("noise for each stochastic layer").clone(),
            Source::Given(draw) => {
                let base = evidence.expect("latents are given for their posterior").base;
                let base = prior.map_or(base.clone(), |prior| base.in_units_of(prior));
                let shape = base.mean.dims();
                let posterior =
                    DiagonalNormal { mean: flatten(base.mean), log_var: flatten(base.log_std * 2.0) };
                let latents = draw(posterior).reshape(shape);
                return prior.map_or(latents.clone(), |prior| prior.sample(latents));
            }
        };
        let Some(evidence) = evidence else {
            return prior.map_or(noise.clone(), |prior| prior.sample(noise));
        };
        let (z, drawn) = flow.draw(&evidence, prior, noise, self.found);
        self.drawn.push(drawn);
        z
    }
}

impl TopDown {
    pub(super) fn new(config: &IafVaeConfig, shape: ImageShape, init: &mut Init) -> TopDown {
        let (width, deepest) = (config.width, config.deepest(shape));
        let has_vector = config.latent_dim > 0;
        let vector = has_vector.then(|| VectorLayer::new(config, deepest.iter().product(), init));
        let top = (!has_vector).then(|| init.normal([width], 0.0, 1.0));
        let levels = (0..config.levels).rev().map(|level| Level {
            blocks: (0..config.blocks).map(|_| Block::new(config, init)).collect(),
            up: (level > 0).then(|| NormedConvTranspose2d::new([width; 2], HALVE, init)),
        });
        let levels = levels.collect();
        let output =
            NormedConvTranspose2d::new([width, shape.channels], IMAGE, init).with_deviation(NEAR_PRIOR);
        let log_scale = (config.likelihood == PixelDistribution::DiscretizedLogistic)
            .then(|| init.constant([1], FIRST_LOG_SCALE));
        TopDown { vector, top, levels, output, log_scale, deepest }
    }

    /// p(x|z) of the latents that `draws` draws.
    pub(super) fn forward(&self, draws: &mut Draws<'_>) -> Pixels {
        let [height, width, features] = self.deepest;
        let batch = draws.batch;
        let mut h = match (&self.vector, &self.top) {
            (Some(vector), _) => vector.forward(draws).reshape([batch, height, width, features]),
            (None, Some(top)) => {
                top.val().reshape([1, 1, 1, features]).expand([batch, height, width, features])
            }
            (None, None) => unreachable!("a pass begins with a vector or a constant"),
        };
        for level in &self.levels {
            h = level.blocks.iter().fold(h, |h, block| block.forward(h, draws));
            if let Some(up) = &level.up {
                h = up.forward(elu(h), draws.found);
            }
        }
        let parameters = flatten(self.output.forward(elu(h), draws.found));
        match &self.log_scale {
            None => Pixels::Bernoulli(Bernoulli { logits: parameters }),
            Some(log_scale) => {
                let log_scale = log_scale.val().clamp_min(SMALLEST_LOG_SCALE).reshape([1, 1]);
                let log_scale = log_scale.expand(parameters.dims());
                Pixels::DiscretizedLogistic(DiscretizedLogistic { mean: parameters, log_scale })
            }
        }
    }

    /// The layer that the vector of latents goes through first.
    pub(super) fn first(&self) -> Option<&NormedLinear> {
        self.vector.as_ref().map(|vector| &vector.hidden)
    }
}

/// h + scale · conv(elu([conv(elu(h)), z])), where z are the maps of this block.
#[derive(Module, Debug)]
struct Block {
    hidden: NormedConv2d,
    maps: Option<Maps>,
    output: NormedConv2d,
    #[module(skip)]
    scale: f64,
}

impl Block {
    fn new(config: &IafVaeConfig, init: &mut Init) -> Block {
        let width = config.width;
        Block {
            hidden: NormedConv2d::new([width; 2], AROUND, init),
            maps: (config.maps > 0).then(|| Maps::new(config, init)),
            output: NormedConv2d::new([width + config.maps, width], AROUND, init),
            scale: config.residual_scale,
        }
    }

    fn forward(&self, h: Tensor<4>, draws: &mut Draws<'_>) -> Tensor<4> {
        let [h, inside] = fork(h);
        let [inside, of_maps] = fork(elu(inside));
        let mut inside = self.hidden.forward(inside, draws.found);
        if let Some(maps) = &self.maps {
            inside = Tensor::cat(vec![inside, maps.forward(of_maps, draws)], 3);
        }
        add(h, self.output.forward(elu(inside), draws.found) * self.scale)
    }
}

/// The stochastic maps of a block: their prior given the layers above, and the top-down part of their posterior.
#[derive(Module, Debug)]
struct Maps {
    /// To means and log deviations of the prior, then to what is added to those of the posterior.
    prior_and_base: NormedConv2d,
    /// To what is added to the features that a flow reads.
    context: Option<NormedConv2d>,
    flow: Flow,
}

impl Maps {
    fn new(config: &IafVaeConfig, init: &mut Init) -> Maps {
        let (width, maps) = (config.width, config.maps);
        Maps {
            prior_and_base: NormedConv2d::new([width, 4 * maps], AROUND, init).with_deviation(NEAR_PRIOR),
            context: config.has_flow().then(|| NormedConv2d::new([width; 2], AROUND, init)),
            flow: Flow::new(config, maps, width, AROUND.size, init),
        }
    }

    fn forward(&self, h: Tensor<4>, draws: &mut Draws<'_>) -> Tensor<4> {
        let parameters = self.prior_and_base.forward(h.clone(), draws.found);
        let maps = parameters.dims()[3] / 4;
        let prior = Normal::from_parameters(&parameters, 0, maps);
        let down = draws.evidence.is_some().then(|| Evidence {
            base: Normal::from_parameters(&parameters, 2 * maps, maps),
            context: self.context.as_ref().map(|context| context.forward(h, draws.found)),
        });
        draws.next(Some(&prior), down, &self.flow)
    }
}

/// The vector of latents, N(0, 1) under the prior, and two fully connected layers to the first features.
#[derive(Module, Debug)]
struct VectorLayer {
    flow: Flow,
    hidden: NormedLinear,
    output: NormedLinear,
}

impl VectorLayer {
    fn new(config: &IafVaeConfig, flat: usize, init: &mut Init) -> VectorLayer {
        VectorLayer {
            flow: Flow::new(config, config.latent_dim, config.hidden_dim, 1, init),
            hidden: NormedLinear::new(config.latent_dim, config.hidden_dim, init),
            output: NormedLinear::new(config.hidden_dim, flat, init),
        }
    }

    fn forward(&self, draws: &mut Draws<'_>) -> Tensor<4> {
        let z = draws.next(None, None, &self.flow);
        let h = elu(self.hidden.forward(z, draws.found));
        self.output.forward(h, draws.found)
    }
}
