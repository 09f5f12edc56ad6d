//! A fully connected layer with its bias and activation.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::types::Activation;

/// `activation(x · weight + bias)` over the last axis of `x [..., in]`, with `weight [in, out]` and
/// `bias [out]`; the result is `[..., out]`.
///
/// On Flex: a matrix product by register tiles with fused bias and activation; the weight is packed once per call (a copy of
/// it), or read in place for up to four rows. The result of a row does not depend on the other rows. Kept for the backward pass:
/// input, weight and, with an activation, the result; silu and gelu run as a separate operation, which keeps its argument.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<D> {
    check(&x.dims(), weight.dims(), bias.as_ref().map(Tensor::dims));
    flex::linear::linear(&x, &weight, bias.as_ref(), activation)
        .unwrap_or_else(|| default(x, weight, bias, activation))
}

fn check(x: &[usize], weight: [usize; 2], bias: Option<[usize; 1]>) {
    let [inputs, out] = weight;
    assert!(
        x.last() == Some(&inputs),
        "linear: input {x:?} does not fit weight {weight:?}: the weight is [in, out]",
    );
    assert!(
        bias.is_none_or(|bias| bias == [out]),
        "linear: bias {bias:?} does not fit weight {weight:?}: it must be [{out}]",
    );
}

pub(crate) fn default<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<D> {
    let [inputs, out] = weight.dims();
    let mut shape = x.dims();
    let rows = shape[..D - 1].iter().product::<usize>();
    shape[D - 1] = out;
    if rows == 0 || out == 0 {
        return Tensor::zeros(shape, &x.device());
    }
    let mut y = x.reshape([rows, inputs]).matmul(weight);
    if let Some(bias) = bias {
        y = y + bias.unsqueeze::<2>();
    }
    activation::default(y.reshape(shape), activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_all_close, assert_same_for_any_threads, numbers, tensor, values, with_gradients,
    };
    use burn::tensor::Device;

    type Linear = fn(Tensor<3>, Tensor<2>, Option<Tensor<1>>, Activation) -> Tensor<3>;

    /// Result and every gradient.
    fn run(linear: Linear, shape: [usize; 4], activation: Activation) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let [a, b, inputs, outputs] = shape;
        let x = tensor(&numbers(a * b * inputs, 1), [a, b, inputs], &device).require_grad();
        let weight = tensor(&numbers(inputs * outputs, 2), [inputs, outputs], &device);
        let weight = weight.require_grad();
        let bias = tensor(&numbers(outputs, 3), [outputs], &device).require_grad();
        let y = linear(x.clone(), weight.clone(), Some(bias.clone()), activation);
        with_gradients(y, &numbers(a * b * outputs, 4), (&x, &weight, &bias))
    }

    #[test]
    fn equals_the_default_implementation() {
        let shapes = [
            [2, 64, 784, 500],
            [1, 1, 1, 1],
            [3, 5, 7, 66],
            [2, 150, 20, 30],
            [1, 1, 64, 6],
            // Several panels per task, with few rows and with many; some panels are read in place.
            [1, 5, 9, 4170],
            [1, 5, 4170, 9],
            [4, 300, 40, 600],
            [4, 300, 600, 40],
        ];
        for shape in shapes {
            for activation in [Activation::Identity, Activation::Relu, Activation::Tanh, Activation::Gelu] {
                let expected = run(default, shape, activation);
                let got = run(linear, shape, activation);
                // A sum just above 0 in one and just below 0 in the other has another derivative.
                let tolerance = if activation == Activation::Relu { 1e-4 } else { 3e-5 };
                assert_all_close(&got, &expected, tolerance, &format!("{shape:?} {activation:?}"));
            }
        }
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        for shape in [[2, 150, 300, 200], [4, 300, 40, 600]] {
            assert_same_for_any_threads(|| run(linear, shape, Activation::Relu));
        }
    }

    #[test]
    fn rows_do_not_depend_on_the_batch() {
        let device = Device::flex();
        let x = tensor(&numbers(300 * 40, 1), [300, 40], &device);
        let weight = tensor(&numbers(40 * 100, 2), [40, 100], &device);
        let all = values(linear(x.clone(), weight.clone(), None, Activation::Tanh));
        let one = values(linear(x.narrow(0, 217, 1), weight, None, Activation::Tanh));
        assert_eq!(all[217 * 100..218 * 100], one);
    }

    #[test]
    fn an_empty_batch() {
        let device = Device::flex();
        let y = linear(
            Tensor::<2>::zeros([0, 4], &device),
            Tensor::ones([4, 5], &device),
            None,
            Activation::Relu,
        );
        assert_eq!(y.dims(), [0, 5]);
    }

    #[test]
    fn keeps_leading_axes() {
        let device = Device::flex();
        let x = Tensor::<3>::ones([2, 3, 4], &device);
        let bias = Some(Tensor::ones([5], &device));
        let y = linear(x, Tensor::ones([4, 5], &device), bias, Activation::Relu);
        assert_eq!(y.dims(), [2, 3, 5]);
        assert_eq!(y.max().into_scalar::<f32>(), 5.0);
    }

    #[test]
    #[should_panic(expected = "[2, 3] does not fit weight [4, 5]")]
    fn wrong_inputs_panic_with_both_shapes() {
        let device = Device::flex();
        let x = Tensor::<2>::ones([2, 3], &device);
        linear(x, Tensor::ones([4, 5], &device), None, Activation::Identity);
    }
}
