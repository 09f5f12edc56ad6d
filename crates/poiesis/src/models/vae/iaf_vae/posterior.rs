//! The posterior of one stochastic layer: a normal distribution, and the steps that make it more flexible (Algorithm 1).

use burn::module::Module;
use burn::tensor::Tensor;

use super::super::flows;
use super::{IafVaeConfig, Posterior};
use crate::nn::{FirstValues, Init, Made, MadeSizes, NormedLinear};

/// Deviation that first values give to means, log deviations and what an autoregressive network returns: the posterior starts near
/// the prior.
pub(super) const NEAR_PRIOR: f64 = 0.1;
/// The same for the parameters of planar steps, which have to differ from zero.
const PLANAR: f64 = 0.3;

/// A normal distribution with independent values: maps `[batch, height, width, maps]`, or a vector as maps of one pixel.
#[derive(Clone, Debug)]
pub(super) struct Normal {
    pub(super) mean: Tensor<4>,
    /// log σ.
    pub(super) log_std: Tensor<4>,
}

impl Normal {
    /// Takes means, then log deviations, from the last axis of `parameters`, beginning at `first`.
    pub(super) fn from_parameters(parameters: &Tensor<4>, first: usize, maps: usize) -> Normal {
        let part = |first| parameters.clone().narrow(3, first, maps);
        Normal { mean: part(first), log_std: part(first + maps) }
    }

    /// Adds the parameters of another one.
    pub(super) fn plus(self, other: Normal) -> Normal {
        Normal { mean: self.mean + other.mean, log_std: self.log_std + other.log_std }
    }

    /// μ + σ ε.
    pub(super) fn sample(&self, eps: Tensor<4>) -> Tensor<4> {
        self.mean.clone() + self.log_std.clone().exp() * eps
    }

    /// The same in units of `prior`: that of (z − μ) / σ, where μ and σ are those of the prior.
    pub(super) fn in_units_of(self, prior: &Normal) -> Normal {
        Normal { mean: prior.standardize(self.mean), log_std: self.log_std - prior.log_std.clone() }
    }

    /// (z − μ) / σ.
    fn standardize(&self, z: Tensor<4>) -> Tensor<4> {
        (z - self.mean.clone()) * self.log_std.clone().neg().exp()
    }
}

/// What the bottom-up pass knows of a stochastic layer.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// The normal distribution before the flow; what the top-down pass adds is not in it.
    pub(super) base: Normal,
    /// h, which the steps of a flow read.
    pub(super) context: Option<Tensor<4>>,
}

impl Evidence {
    /// The sum with what the top-down pass says of the same layer.
    pub(super) fn plus(self, other: Evidence) -> Evidence {
        let context = self.context.zip(other.context).map(|(up, down)| up + down);
        Evidence { base: self.base.plus(other.base), context }
    }
}

/// A draw from the posterior of a stochastic layer.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// z in units of the prior: (z − μ) / σ.
    pub(super) standardized: Tensor<4>,
    /// log q(z|x) − log p(z) of each value, in nats; only the sum over the maps of a pixel is meant for a planar flow.
    pub(super) kl: Tensor<4>,
}

/// The steps from the normal distribution to the posterior; none for a diagonal posterior.
#[derive(Module, Debug)]
pub(super) struct Flow {
    steps: Vec<FlowStep>,
}

#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few steps")]
enum FlowStep {
    /// Its u, w and b, from the context.
    Planar(NormedLinear),
    Iaf(Iaf),
}

impl Flow {
    /// The flow of a layer of `maps`, whose context has `context` features; `kernel` is 1 for a vector.
    pub(super) fn new(
        config: &IafVaeConfig,
        maps: usize,
        context: usize,
        kernel: usize,
        init: &mut Init,
    ) -> Flow {
        let count = if config.posterior == Posterior::Diagonal { 0 } else { config.flow_steps };
        let step = |number: usize| match config.posterior {
            Posterior::Diagonal | Posterior::Planar => {
                FlowStep::Planar(NormedLinear::new(context, 2 * maps + 1, init).with_deviation(PLANAR))
            }
            Posterior::Iaf => {
                let (width, layers) = (config.flow_width, config.flow_layers);
                let sizes = MadeSizes { values: maps, context, width, layers, parts: 2, kernel };
                let made = Made::new(sizes, NEAR_PRIOR, init);
                FlowStep::Iaf(Iaf { made, reversed: number % 2 == 1, forget_bias: config.forget_bias })
            }
        };
        Flow { steps: (0..count).map(step).collect() }
    }

    /// Draws z from the posterior whose normal distribution and context are `evidence`, with noise `eps`, and compares it with
    /// `prior`, or N(0, 1) (Algorithm 1).
    pub(super) fn draw(
        &self,
        evidence: &Evidence,
        prior: Option<&Normal>,
        eps: Tensor<4>,
        found: &mut Option<FirstValues>,
    ) -> (Tensor<4>, Drawn) {
        let mut z = evidence.base.sample(eps.clone());
        // Without −½ log 2π, which the prior has too.
        let mut log_q = eps.square() * -0.5 - evidence.base.log_std.clone();
        for step in &self.steps {
            let context = evidence.context.clone().expect("a layer with a flow has a context");
            let log_det;
            (z, log_det) = step.forward(z, context, found);
            log_q = log_q - log_det;
        }
        let standardized = match prior {
            Some(prior) => prior.standardize(z.clone()),
            None => z.clone(),
        };
        let mut kl = log_q + standardized.clone().square() * 0.5;
        if let Some(prior) = prior {
            kl = kl + prior.log_std.clone();
        }
        (z, Drawn { standardized, kl })
    }
}

impl FlowStep {
    /// z′ and the log-determinant, as terms of each value.
    fn forward(
        &self,
        z: Tensor<4>,
        context: Tensor<4>,
        found: &mut Option<FirstValues>,
    ) -> (Tensor<4>, Tensor<4>) {
        let (shape, maps) = (z.dims(), z.dims()[3]);
        match self {
            FlowStep::Planar(parameters) => {
                let parameters = parameters.forward(context, found);
                let part = |first, size| parameters.clone().narrow(3, first, size);
                let (z, log_det) = flows::planar(z, part(0, maps), part(maps, maps), part(2 * maps, 1));
                // One for each pixel, shared out among its maps.
                (z, (log_det / maps as f64).expand(shape))
            }
            FlowStep::Iaf(iaf) => iaf.forward(z, context, found),
        }
    }
}

/// A step of inverse autoregressive flow.
#[derive(Module, Debug)]
struct Iaf {
    made: Made,
    /// Whether the last value comes first.
    #[module(skip)]
    reversed: bool,
    /// Added to s, so that a step begins by keeping most of z (§4).
    #[module(skip)]
    forget_bias: f64,
}

impl Iaf {
    fn forward(
        &self,
        z: Tensor<4>,
        context: Tensor<4>,
        found: &mut Option<FirstValues>,
    ) -> (Tensor<4>, Tensor<4>) {
        if !self.reversed {
            return self.forward_in_order(z, context, found);
        }
        let (z, log_det) = self.forward_in_order(z.flip([1, 2, 3]), context.flip([1, 2]), found);
        (z.flip([1, 2, 3]), log_det.flip([1, 2, 3]))
    }

    fn forward_in_order(
        &self,
        z: Tensor<4>,
        context: Tensor<4>,
        found: &mut Option<FirstValues>,
    ) -> (Tensor<4>, Tensor<4>) {
        let maps = z.dims()[3];
        let parameters = self.made.forward(z.clone(), context, found);
        let (m, s) = (parameters.clone().narrow(3, 0, maps), parameters.narrow(3, maps, maps));
        flows::gated(z, m, s + self.forget_bias)
    }
}
