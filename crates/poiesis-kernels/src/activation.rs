//! Elementwise activation functions.

use burn::tensor::{Tensor, activation};

use crate::flex;
use crate::types::Activation;

/// Applies `activation` to every element of `x`, any shape.
///
/// On Flex: one pass on all threads with branch-free vector code; exp, tanh, sigmoid and similar functions are within 2 to 5
/// units in the last place. The result is kept for the backward pass if the derivative follows from it, else the argument.
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if activation == Activation::Identity {
        return x;
    }
    flex::elementwise::activate(&x, activation).unwrap_or_else(|| default(x, activation))
}

/// `t` times the derivative of `activation` at `x`, element by element: where the result of [`activate`] goes when `x` moves along `t`.
///
/// `x` is a constant, to which no gradient goes; its own derivative is zero almost everywhere for the activations that are allowed. On
/// Flex one pass on all threads, also backward.
///
/// # Panics
///
/// When the shapes differ, or `activation` is not made of straight lines: identity, ReLU or leaky ReLU with a slope of at least 0.
pub fn activation_tangent<const D: usize>(t: Tensor<D>, x: Tensor<D>, activation: Activation) -> Tensor<D> {
    assert!(t.dims() == x.dims(), "activation_tangent: {:?} does not fit {:?}", t.dims(), x.dims());
    let slope = match activation {
        Activation::Identity => return t,
        Activation::Relu => 0.0,
        Activation::LeakyRelu(slope) if slope >= 0.0 => slope,
        other => panic!("activation_tangent: the second derivative of {other:?} is not zero"),
    };
    flex::elementwise::tangent(&t, &x, activation).unwrap_or_else(|| default_tangent(t, x, slope))
}

fn default_tangent<const D: usize>(t: Tensor<D>, x: Tensor<D>, slope: f32) -> Tensor<D> {
    let slope = f64::from(slope);
    t * (x.detach().greater_elem(0.0).float() * (1.0 - slope) + slope)
}

pub(crate) fn default<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => activation::relu(x),
        Activation::LeakyRelu(slope) => activation::leaky_relu(x, f64::from(slope)),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Softplus => activation::softplus(x, 1.0),
        Activation::Elu => activation::elu(x, 1.0),
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        ACTIVATIONS, assert_all_close, assert_same_for_any_threads, numbers, tensor, values,
    };
    use burn::tensor::Device;

    fn run(
        function: impl Fn(Tensor<2>, Activation) -> Tensor<2>,
        activation: Activation,
        x: &[f32],
        dy: &[f32],
    ) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let x = tensor(x, [x.len() / 7, 7], &device).require_grad();
        let y = function(x.clone(), activation);
        let gradients = (y.clone() * tensor(dy, y.dims(), &device)).sum().backward();
        vec![values(y), values(x.grad(&gradients).unwrap())]
    }

    #[test]
    fn equals_the_default_implementation() {
        for activation in [Activation::LeakyRelu(-0.5)].into_iter().chain(ACTIVATIONS) {
            let x: Vec<f32> = numbers(7 * 5000, 1).iter().map(|x| x * 6.0).collect();
            let dy = numbers(x.len(), 2);
            let got = run(activate, activation, &x, &dy);
            let expected = run(default, activation, &x, &dy);
            assert_all_close(&got, &expected, 2e-6, &format!("{activation:?}"));
        }
    }

    #[test]
    fn a_tangent_is_multiplied_by_the_slope_and_so_is_its_gradient() {
        let device = Device::flex().autodiff();
        let x = tensor(&numbers(7 * 3000, 1), [3000, 7], &device);
        let dy = tensor(&numbers(7 * 3000, 2), [3000, 7], &device);
        for (activation, slope) in [(Activation::Relu, 0.0), (Activation::LeakyRelu(0.2), 0.2)] {
            let run = |tangent: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                let t = tensor(&numbers(7 * 3000, 3), [3000, 7], &device).require_grad();
                let y = tangent(t.clone());
                let gradients = (y.clone() * dy.clone()).sum().backward();
                vec![values(y), values(t.grad(&gradients).unwrap())]
            };
            let got = run(&|t| activation_tangent(t, x.clone(), activation));
            let expected = run(&|t| default_tangent(t, x.clone(), slope));
            assert_all_close(&got, &expected, 1e-6, &format!("{activation:?}"));
        }
    }

    #[test]
    #[should_panic(expected = "the second derivative of Tanh is not zero")]
    fn curved_activations_have_no_tangent() {
        let x = Tensor::<1>::ones([2], &Device::flex());
        activation_tangent(x.clone(), x, Activation::Tanh);
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        let x = numbers(7 * 9000, 1);
        assert_same_for_any_threads(|| run(activate, Activation::Tanh, &x, &x));
    }

    #[test]
    fn views_and_nothing() {
        let device = Device::flex();
        let x = tensor(&numbers(12, 1), [3, 4], &device);
        let y = activate(x.clone().transpose(), Activation::Tanh);
        assert_eq!(values(y), values(activate(x, Activation::Tanh).transpose()));
        let nothing = Tensor::<2>::zeros([0, 4], &device);
        assert_eq!(activate(nothing, Activation::Silu).dims(), [0, 4]);
    }
}
