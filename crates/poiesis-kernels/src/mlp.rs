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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear;
    use crate::testing::{tensor, values};
    use burn::tensor::Device;

    fn layers(sizes: &[usize], activation: Activation) -> Vec<(Tensor<2>, Tensor<1>, Activation)> {
        let device = Device::flex();
        sizes
            .windows(2)
            .enumerate()
            .map(|(i, pair)| {
                let weight = crate::testing::numbers(pair[0] * pair[1], i as u64 + 1);
                let bias = crate::testing::numbers(pair[1], i as u64 + 50);
                let weight = tensor(&weight, [pair[0], pair[1]], &device);
                (weight, tensor(&bias, [pair[1]], &device), activation)
            })
            .collect()
    }

    #[test]
    fn equals_linear_bit_by_bit() {
        for sizes in [&[17, 64, 64, 6][..], &[1, 1], &[5, 300, 7, 130], &[500, 33]] {
            for activation in [Activation::Tanh, Activation::Relu, Activation::Gelu, Activation::Identity] {
                let layers = layers(sizes, activation);
                let x = crate::testing::numbers(3 * sizes[0], 9);
                let mut expected = tensor(&x, [3, sizes[0]], &Device::flex());
                for (weight, bias, activation) in &layers {
                    expected = linear(expected, weight.clone(), Some(bias.clone()), *activation);
                }
                let expected = values(expected);
                let mut mlp = Mlp::new(&layers);
                let mut y = vec![0.5; sizes[sizes.len() - 1]];
                for (x, expected) in x.chunks_exact(sizes[0]).zip(expected.chunks_exact(y.len())) {
                    mlp.forward(x, &mut y);
                    assert_eq!(y, expected, "{sizes:?} {activation:?}");
                }
            }
        }
    }

    #[test]
    fn transposed_weights() {
        let weight = tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2], &Device::flex()).transpose();
        let bias = Tensor::zeros([3], &Device::flex());
        let mut y = [0.0; 3];
        Mlp::new(&[(weight, bias, Activation::Identity)]).forward(&[1.0, 10.0], &mut y);
        assert_eq!(y, [21.0, 43.0, 65.0]);
    }

    #[test]
    #[should_panic(expected = "weight [6, 2] does not fit weight [4, 5] before it")]
    fn wrong_layers_panic_with_both_shapes() {
        let mut both = layers(&[4, 5], Activation::Tanh);
        both.extend(layers(&[6, 2], Activation::Tanh));
        Mlp::new(&both);
    }

    #[test]
    #[should_panic(expected = "input [3] and output [2] do not fit layers from [4] to [2]")]
    fn a_wrong_input_panics_with_both_shapes() {
        Mlp::new(&layers(&[4, 5, 2], Activation::Tanh)).forward(&[0.0; 3], &mut [0.0; 2]);
    }
}
