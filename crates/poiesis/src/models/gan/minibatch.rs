//! Minibatch discrimination (Salimans et al. 2016, arXiv:1606.03498, §3.2): how close an example is to the others of its batch, as
//! features, so that a generator that makes all examples alike is found out.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, linear};

use crate::nn::{Init, weight_norm};

/// First value of the bias of the closeness.
const BIAS: f64 = -1.0;

/// Appends to the features f(xᵢ) of an example, for each of several kernels, Σⱼ exp(−‖Mᵢ − Mⱼ‖₁) over the others of its batch,
/// where M = f(x) T.
#[derive(Module, Debug)]
pub(super) struct MinibatchLayer {
    /// T = g v / ‖v‖: v, `[features, kernels · dims]`.
    direction: Param<Tensor<2>>,
    /// g, `[kernels · dims]`.
    gain: Param<Tensor<1>>,
    /// `[kernels]`.
    bias: Param<Tensor<1>>,
    kernels: usize,
}

impl MinibatchLayer {
    pub(super) fn new(features: usize, kernels: usize, dims: usize, init: &mut Init) -> MinibatchLayer {
        MinibatchLayer {
            direction: init.normal([features, kernels * dims], 0.0, 0.05),
            gain: init.constant([kernels * dims], 1.0),
            bias: init.constant([kernels], BIAS),
            kernels,
        }
    }

    /// `[rows, features]`, the rows of batches of these sizes, to `[rows, features + kernels]`.
    pub(super) fn forward(&self, features: Tensor<2>, sizes: &[usize]) -> Tensor<2> {
        let weight = weight_norm(self.direction.val(), self.gain.val());
        let m = linear(features.clone(), weight, None, Activation::Identity);
        let mut first = 0;
        let closeness = sizes.iter().map(|&size| {
            let batch = m.clone().narrow(0, first, size);
            first += size;
            self.closeness(batch)
        });
        let closeness = Tensor::cat(closeness.collect(), 0) + self.bias.val().reshape([1, self.kernels]);
        Tensor::cat(vec![features, closeness], 1)
    }

    /// The same for rows each of which is a batch of its own, and close to nothing.
    pub(super) fn forward_alone(&self, features: Tensor<2>) -> Tensor<2> {
        let rows = features.dims()[0];
        let bias = self.bias.val().reshape([1, self.kernels]).expand([rows, self.kernels]);
        Tensor::cat(vec![features, bias], 1)
    }

    /// Σⱼ exp(−‖Mᵢ − Mⱼ‖₁) over j ≠ i (the equations of §3.2), `[batch, kernels · dims]` to `[batch, kernels]`.
    fn closeness(&self, m: Tensor<2>) -> Tensor<2> {
        let [batch, values] = m.dims();
        let dims = values / self.kernels;
        let each = m.clone().reshape([batch, 1, self.kernels, dims]);
        let other = m.reshape([1, batch, self.kernels, dims]);
        let distance = (each - other).abs().sum_dim(3).reshape([batch, batch, self.kernels]);
        // An example is at distance 0 from itself, which adds 1.
        distance.neg().exp().sum_dim(1).reshape([batch, self.kernels]) - 1.0
    }
}
