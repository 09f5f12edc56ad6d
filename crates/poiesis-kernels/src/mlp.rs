//! A chain of fully connected layers for control loops.

use burn::tensor::Tensor;

use crate::flex;
use crate::types::Activation;

/// A chain of fully connected layers, prepared once and then applied to one example at a time without tensors and without
/// threads: for control loops, where the latency of a single example matters.
///
/// Gives the same bits as [`crate::linear`] layer by layer on the Flex backend. Gradients are not computed.
///
/// Memory: a copy of weights and biases, and two rows of the widest layer.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<flex::mlp::Layer>,
    inputs: usize,
    outputs: usize,
    scratch: [Vec<f32>; 2],
}

impl Mlp {
    /// Takes a copy of each layer's weight `[in, out]` and bias `[out]`, in the order of the layers.
    ///
    /// # Panics
    ///
    /// When there are no layers, or the shapes do not fit each other.
    pub fn new(layers: &[(Tensor<2>, Tensor<1>, Activation)]) -> Self {
        assert!(!layers.is_empty(), "mlp: no layers");
        for (weight, bias, _) in layers {
            assert!(
                bias.dims() == [weight.dims()[1]],
                "mlp: bias {:?} does not fit weight {:?}",
                bias.dims(),
                weight.dims(),
            );
        }
        for pair in layers.windows(2) {
            let (first, second) = (pair[0].0.dims(), pair[1].0.dims());
            assert!(first[1] == second[0], "mlp: weight {second:?} does not fit weight {first:?} before it");
        }
        let widest = layers.iter().map(|(weight, ..)| weight.dims()[1]).max().unwrap_or(0);
        Self {
            inputs: layers[0].0.dims()[0],
            outputs: layers[layers.len() - 1].0.dims()[1],
            scratch: [vec![0.0; widest], vec![0.0; widest]],
            layers: layers
                .iter()
                .map(|(weight, bias, activation)| {
                    flex::mlp::Layer::new(values_of(weight), values_of(bias), *activation)
                })
                .collect(),
        }
    }

    /// The last layer's values for the example `x [in of the first layer]` into `y [out of the last]`.
    ///
    /// # Panics
    ///
    /// When the lengths of `x` and `y` do not fit the layers.
    pub fn forward(&mut self, x: &[f32], y: &mut [f32]) {
        assert!(
            x.len() == self.inputs && y.len() == self.outputs,
            "mlp: input [{}] and output [{}] do not fit layers from [{}] to [{}]",
            x.len(),
            y.len(),
            self.inputs,
            self.outputs,
        );
        let scratch = self.scratch.each_mut().map(|values| &mut values[..]);
        flex::mlp::forward(&self.layers, x, scratch, y);
    }
}

/// The values of a tensor, in f32.
fn values_of<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter::<f32>().collect()
}
