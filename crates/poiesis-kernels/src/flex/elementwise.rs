//! Elementwise functions of whole arrays, on all threads.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::function::{self, Function, with_function};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use crate::activation::Activation;

/// Values of a task.
const PART: usize = 1 << 14;

/// The activation of a tensor that lives on Flex; `None` for others.
pub(crate) fn activate<const D: usize>(x: &Tensor<D>, activation: Activation) -> Option<Tensor<D>> {
    let shape = x.dims();
    let x = Operand::new(x)?;
    if !x.is_autodiff() {
        let y = map(values(&x.into_values()), activation);
        return Some(Tensor::from_primitive::<Flex>(operand::tensor(y, &shape)));
    }
    let (x, node) = x.into_parts();
    let y = operand::tensor(map(values(&x), activation), &shape);
    let saved = if function::slope_from_value(activation) { y.clone() } else { x };
    let y = match Elementwise.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(State { activation, saved }, y),
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

/// The activation of every value.
pub(crate) fn map(x: &[f32], activation: Activation) -> Buffer {
    let mut y = Buffer::take(x.len());
    let shared = Shared::new(&mut y);
    parallel::tasks(parallel::parts(x.len(), PART), |task| {
        let range = parallel::part(x.len(), PART, task);
        let x = &x[range.clone()];
        // SAFETY: the tasks' ranges are disjoint.
        let y = unsafe { shared.part(range) };
        with_function!(activation, function => simd::run(#[inline(always)] || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = function.value(x);
            }
        }));
    });
    y
}

/// The activation of every value, in its place.
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
/// [`function::slope_from_value`]) is `saved`.
pub(crate) fn map_backward(gradient: &[f32], saved: &[f32], activation: Activation) -> Buffer {
    let mut dx = Buffer::take(gradient.len());
    let shared = Shared::new(&mut dx);
    parallel::tasks(parallel::parts(gradient.len(), PART), |task| {
        let range = parallel::part(gradient.len(), PART, task);
        let gradient = &gradient[range.clone()];
        let saved = &saved[range.clone()];
        // SAFETY: the tasks' ranges are disjoint.
        let dx = unsafe { shared.part(range) };
        with_function!(activation, function => simd::run(#[inline(always)] || {
            for ((dx, &gradient), &saved) in dx.iter_mut().zip(gradient).zip(saved) {
                *dx = gradient * function.slope(saved, saved);
            }
        }));
    });
    dx
}

#[derive(Debug)]
struct Elementwise;

#[derive(Clone, Debug)]
struct State {
    activation: Activation,
    saved: FlexTensor,
}

impl Backward<Flex, 1> for Elementwise {
    type State = State;

    fn backward(self, ops: Ops<State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let State { activation, saved } = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            let dx = map_backward(values(&gradient), values(&saved), activation);
            let dx = operand::tensor(dx, gradient.layout().shape());
            gradients.register::<Flex>(node.id, dx);
        }
    }
}
