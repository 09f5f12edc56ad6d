//! Products with the Fisher matrix of a policy.
//!
//! The second derivative of the mean KL(π_old ‖ π) at π = π_old is Jᵀ M J, where J is the derivative of the outputs of the network
//! by its parameters, and M the second derivative of the divergence by the outputs: what the second derivatives of the network
//! would add is multiplied by the first derivative of the divergence, which is zero there. So no second derivatives of the network
//! are needed. J v is computed forwards, layer by layer, and Jᵀ backwards.

use burn::tensor::{Tensor, TensorData};
use poiesis_kernels::{Activation, linear};

use crate::agents::{HiddenActivation, Policy};
use crate::nn::Linear;

/// The Fisher matrix of a policy, averaged over rows of observations, known by its products with vectors of parameters in the order of
/// [`flat_parameters`](crate::agents::flat_parameters).
#[derive(Debug)]
pub struct Fisher {
    /// What each layer reads, `[rows, ..]`.
    read: Vec<Tensor<2>>,
    /// `[inputs, outputs]` of each layer.
    weights: Vec<Tensor<2>>,
    activation: HiddenActivation,
    outputs: Outputs,
}

/// The second derivative of the divergence by the outputs.
#[derive(Debug)]
enum Outputs {
    /// diag(p) − p pᵀ, with the probabilities, `[rows, choices]`.
    Choices(Tensor<2>),
    /// 1/σ² for the mean, `[1, dims]`; 2 for log σ.
    Vectors(Tensor<2>),
}

impl Fisher {
    /// At `policy`, over the rows of `inputs`, `[n, observation]`, normalised.
    pub fn new(policy: &Policy, inputs: Tensor<2>) -> Fisher {
        let network = policy.network();
        let mut read = network.activations(inputs);
        let last = read.pop().expect("a network has an output");
        let outputs = match policy.log_std() {
            None => Outputs::Choices(burn::tensor::activation::softmax(last, 1)),
            Some(log_std) => {
                let dims = log_std.dims()[0];
                Outputs::Vectors((log_std.inner() * -2.0).exp().reshape([1, dims]))
            }
        };
        let weight = |(layer, _): (&Linear, Activation)| layer.weight().inner();
        let weights = network.layers().into_iter().map(weight).collect();
        Fisher { read, weights, activation: network.activation(), outputs }
    }

    /// F v.
    ///
    /// # Panics
    ///
    /// When `v` is not as long as the parameters of the policy.
    pub fn product(&self, v: &[f64]) -> Vec<f64> {
        let (tangents, of_log_std) = self.tangents(v);
        let moved = self.forwards(&tangents);
        let rows = moved.dims()[0] as f64;
        let weighted = match &self.outputs {
            Outputs::Choices(probs) => {
                let each = probs.clone() * moved;
                each.clone() - probs.clone() * each.sum_dim(1)
            }
            Outputs::Vectors(precision) => moved * precision.clone(),
        };
        let mut product = self.backwards(weighted / rows);
        product.extend(of_log_std.iter().map(|v| 2.0 * v));
        product
    }

    /// `v` as a weight and a bias for each layer, and what is left of it.
    fn tangents<'a>(&self, v: &'a [f64]) -> (Vec<(Tensor<2>, Tensor<2>)>, &'a [f64]) {
        let mut rest = v;
        let mut take = |shape: [usize; 2], like: &Tensor<2>| {
            let count = shape[0] * shape[1];
            assert!(count <= rest.len(), "a vector of {} numbers for more parameters", v.len());
            let (own, after) = rest.split_at(count);
            rest = after;
            let own: Vec<f32> = own.iter().map(|&number| number as f32).collect();
            Tensor::from_data(TensorData::new(own, shape), &like.device())
        };
        let layer = |weight: &Tensor<2>| {
            let [inputs, outputs] = weight.dims();
            (take([inputs, outputs], weight), take([1, outputs], weight))
        };
        let tangents = self.weights.iter().map(layer).collect();
        let log_stds = match &self.outputs {
            Outputs::Choices(_) => 0,
            Outputs::Vectors(precision) => precision.dims()[1],
        };
        assert_eq!(rest.len(), log_stds, "a vector of {} numbers does not fit the parameters", v.len());
        (tangents, rest)
    }

    /// J v: how the outputs move, `[rows, outputs]`, when each layer's weight and bias move by its tangents.
    fn forwards(&self, tangents: &[(Tensor<2>, Tensor<2>)]) -> Tensor<2> {
        let mut moved: Option<Tensor<2>> = None;
        for (layer, (weight, bias)) in tangents.iter().enumerate() {
            let bias = bias.clone().reshape([weight.dims()[1]]);
            let mut sum = linear(self.read[layer].clone(), weight.clone(), Some(bias), Activation::Identity);
            if let Some(before) = moved {
                sum = sum + linear(before, self.weights[layer].clone(), None, Activation::Identity);
            }
            moved = Some(match self.read.get(layer + 1) {
                Some(h) => sum * self.activation.derivative(h.clone()),
                None => sum,
            });
        }
        moved.expect("a network has layers")
    }

    /// Jᵀ u, in the order of the parameters, for `u` of `[rows, outputs]`.
    fn backwards(&self, u: Tensor<2>) -> Vec<f64> {
        let mut error = u;
        let mut parts = Vec::new();
        for (layer, read) in self.read.iter().enumerate().rev() {
            let weight = linear(read.clone().transpose(), error.clone(), None, Activation::Identity);
            parts.push((weight, error.clone().sum_dim(0)));
            if layer > 0 {
                let back = self.weights[layer].clone().transpose();
                let through = linear(error, back, None, Activation::Identity);
                error = through * self.activation.derivative(read.clone());
            }
        }
        let numbers =
            |tensor: Tensor<2>| tensor.into_data().iter::<f32>().map(f64::from).collect::<Vec<f64>>();
        parts
            .into_iter()
            .rev()
            .flat_map(|(weight, bias)| [numbers(weight), numbers(bias)])
            .flatten()
            .collect()
    }
}
