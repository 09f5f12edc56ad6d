//! The ELU of rows and of their negatives: one pass over memory forward and one backward.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::function::{Elu, Function};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// [`crate::concat_elu`] of a tensor that lives on Flex; `None` for others. It has a value.
pub(crate) fn concat_elu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    let mut shape = x.dims();
    let width = shape[D - 1];
    shape[D - 1] *= 2;
    let x = Operand::new(x)?;
    if !x.is_autodiff() {
        let y = operand::tensor(forward(values(&x.into_values()), width), &shape);
        return Some(Tensor::from_primitive::<Flex>(y));
    }
    let (x, node) = x.into_parts();
    let y = operand::tensor(forward(values(&x), width), &shape);
    let y = match ConcatElu.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(State { y: y.clone(), width }, y),
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

fn forward(x: &[f32], width: usize) -> Buffer {
    let mut y = Buffer::take(2 * x.len());
    let shared = Shared::new(&mut y);
    for_each(x.len() / width, width, |row| {
        let x = &x[row * width..][..width];
        // SAFETY: every row belongs to one task.
        let (plain, negative) =
            unsafe { shared.part(2 * row * width..2 * (row + 1) * width) }.split_at_mut(width);
        simd::run(
            #[inline(always)]
            || {
                for ((plain, negative), &x) in plain.iter_mut().zip(negative.iter_mut()).zip(x) {
                    *plain = Elu.value(x);
                    *negative = Elu.value(-x);
                }
            },
        );
    });
    y
}

fn backward(dy: &[f32], y: &[f32], width: usize) -> Buffer {
    let mut dx = Buffer::take(dy.len() / 2);
    let rows = dx.len() / width;
    let shared = Shared::new(&mut dx);
    for_each(rows, width, |row| {
        let both = |array| <[f32]>::split_at(array, width);
        let (dy, dy_negative) = both(&dy[2 * row * width..][..2 * width]);
        let (y, y_negative) = both(&y[2 * row * width..][..2 * width]);
        // SAFETY: every row belongs to one task.
        let dx = unsafe { shared.part(row * width..(row + 1) * width) };
        simd::run(
            #[inline(always)]
            || {
                for (i, dx) in dx.iter_mut().enumerate() {
                    let plain = dy[i] * Elu.slope(y[i], y[i]);
                    *dx = plain - dy_negative[i] * Elu.slope(y_negative[i], y_negative[i]);
                }
            },
        );
    });
    dx
}

/// Runs `work` on every row, some rows to a task.
fn for_each(rows: usize, width: usize, work: impl Fn(usize) + Send + Sync) {
    let step = (PART / width).max(1);
    parallel::tasks(parallel::parts(rows, step), |task| {
        parallel::part(rows, step, task).for_each(&work);
    });
}

#[derive(Debug)]
struct ConcatElu;

#[derive(Clone, Debug)]
struct State {
    y: FlexTensor,
    width: usize,
}

impl Backward<Flex, 1> for ConcatElu {
    type State = State;

    fn backward(self, ops: Ops<State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let State { y, width } = ops.state;
        let [node] = ops.parents;
        let Some(node) = node else { return };
        let mut shape = y.layout().shape().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = width;
        }
        let dx = backward(values(&dy), values(&y), width);
        gradients.register::<Flex>(node.id, operand::tensor(dx, &shape));
    }
}
