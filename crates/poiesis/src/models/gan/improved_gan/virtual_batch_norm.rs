//! Virtual batch normalisation (§3.5): an example is normalised with the statistics of a fixed reference batch and its own, so that
//! it does not depend on the other examples of its batch.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, activate};

use crate::nn::{BatchNorm, Init, Mode};

/// Added to variances.
const EPSILON: f64 = 1e-5;

/// Batch normalisation, or virtual batch normalisation.
#[derive(Module, Debug)]
pub(super) enum Norm {
    /// With the statistics of the batch in training, running ones afterwards.
    Batch(BatchNorm),
    /// With those of the reference batch.
    Virtual(VirtualBatchNorm),
}

impl Norm {
    /// For `features` features, with γ drawn from N(1, `gamma_std`²).
    pub(super) fn new(features: usize, gamma_std: f64, is_virtual: bool, init: &mut Init) -> Norm {
        if is_virtual {
            Norm::Virtual(VirtualBatchNorm::new(features, gamma_std, init))
        } else {
            Norm::Batch(BatchNorm::new(features, gamma_std, EPSILON, init))
        }
    }

    /// What each feature is multiplied by, `[features]`: with running statistics, or those of the reference batch, whose values before
    /// normalisation are `reference`, `[references, values]`.
    ///
    /// # Panics
    ///
    /// When a virtual normalisation has no reference batch.
    pub(super) fn scale(&self, reference: Option<Tensor<2>>) -> Tensor<1> {
        match (self, reference) {
            (Norm::Batch(norm), _) => norm.scale(),
            (Norm::Virtual(norm), Some(reference)) => norm.scale(reference),
            (Norm::Virtual(_), None) => panic!("a virtual batch normalisation has a reference batch"),
        }
    }

    /// The same with γ as it is, which training does not change.
    pub(super) fn with_fixed_gain(self) -> Norm {
        match self {
            Norm::Batch(norm) => Norm::Batch(norm.with_fixed_gain()),
            Norm::Virtual(norm) => Norm::Virtual(VirtualBatchNorm { fixed_gain: true, ..norm }),
        }
    }

    /// Normalises `[rows, pixels, features]`, of which the first `references` rows are the reference batch, then applies
    /// `activation`.
    pub(super) fn forward(
        &self,
        h: Tensor<3>,
        activation: Activation,
        references: usize,
        mode: Mode,
    ) -> Tensor<3> {
        match self {
            Norm::Batch(norm) => norm.forward(h, activation, mode),
            Norm::Virtual(norm) => activate(norm.forward(h, references), activation),
        }
    }
}

/// Virtual batch normalisation of each feature.
#[derive(Module, Debug)]
pub(super) struct VirtualBatchNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    #[module(skip)]
    fixed_gain: bool,
}

impl VirtualBatchNorm {
    pub(super) fn new(features: usize, gamma_std: f64, init: &mut Init) -> VirtualBatchNorm {
        let gamma = init.normal([features], 1.0, gamma_std);
        VirtualBatchNorm { gamma, beta: init.constant([features], 0.0), fixed_gain: false }
    }

    fn scale(&self, reference: Tensor<2>) -> Tensor<1> {
        let gamma = self.gamma.val();
        let features = gamma.dims()[0];
        let rows = reference.reshape([-1, features as i64]);
        let mean = rows.clone().mean_dim(0);
        let variance = rows.square().mean_dim(0) - mean.square();
        gamma / (variance + EPSILON).sqrt().reshape([features])
    }

    /// Normalises `[rows, pixels, features]`, the first `references` rows by their own statistics, and each of the others by those of
    /// the references and itself, where it weighs as much as one of them.
    pub(super) fn forward(&self, h: Tensor<3>, references: usize) -> Tensor<3> {
        let [rows, _, features] = h.dims();
        let moment = |h: Tensor<3>| h.mean_dim(1);
        let (means, squares) = (moment(h.clone()), moment(h.clone().square()));
        let of_references = |rows: &Tensor<3>| rows.clone().narrow(0, 0, references).mean_dim(0);
        let mix = |each: Tensor<3>| {
            let reference = of_references(&each);
            let weight = 1.0 / (references as f64 + 1.0);
            let others =
                each.narrow(0, references, rows - references) * weight + reference.clone() * (1.0 - weight);
            Tensor::cat(vec![reference.expand([references, 1, features]), others], 0)
        };
        let (mean, square) = (mix(means), mix(squares));
        let deviation = (square - mean.clone().square() + EPSILON).sqrt();
        let gamma = if self.fixed_gain { self.gamma.val().detach() } else { self.gamma.val() };
        let [gamma, beta] = [gamma, self.beta.val()].map(|values| values.reshape([1, 1, features]));
        (h - mean) / deviation * gamma + beta
    }
}
