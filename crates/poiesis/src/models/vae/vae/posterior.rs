//! q(z|x): a normal distribution, which the steps of a flow can make more flexible (Rezende and Mohamed 2015, arXiv:1505.05770).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::super::flows;
use crate::dist::DiagonalNormal;

/// The steps from the normal distribution to the posterior. The encoder gives the parameters of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// No steps.
    None,
    /// Planar steps (Eq. 10).
    Planar,
    /// Radial steps (Eq. 14).
    Radial,
}

impl Flow {
    /// Parameters of a step over `dims` dimensions.
    pub(super) fn step_parameters(self, dims: usize) -> usize {
        match self {
            Flow::None => 0,
            Flow::Planar => 2 * dims + 1,
            Flow::Radial => dims + 2,
        }
    }

    /// A step from `z`, `[batch, dims]`, with `parameters`, `[batch, step_parameters]`: z′, and the log-determinants, `[batch, 1]`.
    fn step(self, z: Tensor<2>, parameters: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let dims = z.dims()[1];
        let part = |first, size| parameters.clone().narrow(1, first, size);
        match self {
            Flow::None => unreachable!("it has no steps"),
            Flow::Planar => flows::planar(z, part(0, dims), part(dims, dims), part(2 * dims, 1)),
            Flow::Radial => flows::radial(z, part(0, dims), part(dims, 1), part(dims + 1, 1)),
        }
    }
}

/// q(z|x) of a batch.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// The normal distribution before the steps.
    pub normal: DiagonalNormal,
    flow: Flow,
    /// Parameters of each step.
    steps: Vec<Tensor<2>>,
}

/// A draw from a posterior.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// `[batch, dims]`.
    pub z: Tensor<2>,
    /// log |det| of all steps, `[batch, 1]`; `None` without a flow.
    log_det: Option<Tensor<2>>,
}

impl Posterior {
    /// Takes mean, log variance and the parameters of the steps from the encoder's result, in this order.
    pub(super) fn from_parameters(parameters: &Tensor<2>, dims: usize, flow: Flow) -> Posterior {
        let part = |first, size| parameters.clone().narrow(1, first, size);
        let normal = DiagonalNormal { mean: part(0, dims), log_var: part(dims, dims) };
        let size = flow.step_parameters(dims);
        let rest = parameters.dims()[1] - 2 * dims;
        let steps = rest.checked_div(size).unwrap_or(0);
        Posterior { normal, flow, steps: (0..steps).map(|step| part(2 * dims + step * size, size)).collect() }
    }

    /// Each posterior `count` times: all of the batch, then all of it again.
    pub(super) fn repeated(self, count: usize) -> Posterior {
        let repeat = |x: Tensor<2>| x.repeat_dim(0, count);
        let DiagonalNormal { mean, log_var } = self.normal;
        let normal = DiagonalNormal { mean: repeat(mean), log_var: repeat(log_var) };
        Posterior { normal, steps: self.steps.into_iter().map(repeat).collect(), ..self }
    }

    /// Draws z with noise `eps` from N(0, 1), `[batch, dims]`.
    pub fn draw(&self, eps: Tensor<2>) -> Drawn {
        let start = Drawn { z: self.normal.sample(eps), log_det: None };
        self.steps.iter().fold(start, |Drawn { z, log_det: before }, parameters| {
            let (z, log_det) = self.flow.step(z, parameters);
            Drawn { z, log_det: Some(before.map_or(log_det.clone(), |before| before + log_det)) }
        })
    }

    /// log q(z|x) of the draw that `eps` gave, `[batch]`, in nats.
    pub fn log_prob(&self, drawn: &Drawn, eps: Tensor<2>) -> Tensor<1> {
        let Some(log_det) = &drawn.log_det else { return self.normal.log_prob(drawn.z.clone()) };
        let batch = log_det.dims()[0];
        self.normal.log_prob(self.normal.sample(eps)) - log_det.clone().reshape([batch])
    }

    /// About how much each dimension tells about an image, `[dims]`, in nats, without a flow: ½ log(1 + Var μ / E σ²) over the batch, the
    /// capacity of a normal channel with this signal and this noise. For a prior with which the KL has no parts.
    pub(super) fn normal_information(&self) -> Tensor<1> {
        let DiagonalNormal { mean, log_var } = &self.normal;
        let dims = mean.dims()[1];
        let signal = (mean.clone() - mean.clone().mean_dim(0)).square().mean_dim(0);
        let noise = log_var.clone().exp().mean_dim(0);
        ((signal / noise + 1.0).log() * 0.5).reshape([dims])
    }

    /// KL(q(z|x) ‖ N(0, 1)) of each dimension, `[batch, dims]`, in nats: in closed form without a flow; else log q − log p of the draw that
    /// `eps` gave, with the log-determinants shared out among the dimensions.
    pub fn kl(&self, drawn: &Drawn, eps: Tensor<2>) -> Tensor<2> {
        let Some(log_det) = &drawn.log_det else { return self.normal.kl_to_standard() };
        let dims = eps.dims()[1];
        let log_q = (eps.square() + self.normal.log_var.clone()) * -0.5 - log_det.clone() / dims as f64;
        log_q + drawn.z.clone().square() * 0.5
    }
}
