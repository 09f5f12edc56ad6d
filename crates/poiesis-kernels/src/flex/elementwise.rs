//! Elementwise functions of whole arrays, on all threads.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function::{self, Function, with_function};
use super::operand::{self, Operand, values};
use super::parallel;
use super::pool::Buffer;
use super::simd;
use crate::types::Activation;

/// Values of a task.
const PART: usize = 1 << 14;

/// The activation of a tensor on Flex; `None` for others.
pub(crate) fn activate<const D: usize>(x: &Tensor<D>, activation: Activation) -> Option<Tensor<D>> {
    let shape = x.dims();
    let inputs = Inputs::new([Operand::new(x)?]);
    let [x] = inputs.values();
    let y = operand::tensor(map(x, activation), &shape);
    Some(inputs.finish(y, |[x], y| {
        let saved = if function::derivative_from_value(activation) { y.clone() } else { x };
        Elementwise { activation, saved }
    }))
}

/// `t` times the derivative of the activation at `x`, a constant; `None` for tensors that are not on Flex.
pub(crate) fn tangent<const D: usize>(
    t: &Tensor<D>,
    x: &Tensor<D>,
    activation: Activation,
) -> Option<Tensor<D>> {
    let shape = t.dims();
    let saved = Operand::new(x)?.into_values();
    let inputs = Inputs::new([Operand::new(t)?]);
    let [t] = inputs.values();
    let y = operand::tensor(map_backward(t, values(&saved), activation), &shape);
    Some(inputs.finish(y, |_, _| Elementwise { activation, saved }))
}

/// The activation of every value.
pub(crate) fn map(x: &[f32], activation: Activation) -> Buffer {
    let mut y = Buffer::take(x.len());
    parallel::chunks(&mut y, PART, |part, y| {
        let x = &x[part * PART..][..y.len()];
        with_function!(activation, function => simd::run(#[inline(always)] || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = function.value(x);
            }
        }));
    });
    y
}

/// The activation of every value, in place.
pub(crate) fn activate_in_place(x: &mut [f32], activation: Activation) {
    parallel::chunks(x, PART, |_, x| {
        with_function!(activation, function => simd::run(#[inline(always)] || {
            for x in x.iter_mut() {
                *x = function.value(*x);
            }
        }));
    });
}

/// `gradient` times the derivative of the activation whose value (or argument, see
/// [`function::derivative_from_value`]) is `saved`.
pub(crate) fn map_backward(gradient: &[f32], saved: &[f32], activation: Activation) -> Buffer {
    let mut dx = Buffer::take(gradient.len());
    parallel::chunks(&mut dx, PART, |part, dx| {
        let gradient = &gradient[part * PART..][..dx.len()];
        let saved = &saved[part * PART..][..dx.len()];
        with_function!(activation, function => simd::run(#[inline(always)] || {
            for ((dx, &gradient), &saved) in dx.iter_mut().zip(gradient).zip(saved) {
                *dx = gradient * function.derivative(saved, saved);
            }
        }));
    });
    dx
}

#[derive(Clone, Debug)]
struct Elementwise {
    activation: Activation,
    saved: FlexTensor,
}

impl BackwardPass<1> for Elementwise {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let dx = map_backward(values(&dy), values(&self.saved), self.activation);
        [Some(operand::tensor(dx, dy.layout().shape()))]
    }
}
