//! The sum of two tensors on all threads.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Values of a task.
const PART: usize = 1 << 14;

/// [`crate::add`] of tensors that live on Flex; `None` for others.
pub(crate) fn add<const D: usize>(x: &Tensor<D>, y: &Tensor<D>) -> Option<Tensor<D>> {
    let shape = x.dims();
    let operands = [Operand::new(x)?, Operand::new(y)?];
    if !operands.iter().any(Operand::is_autodiff) {
        let [x, y] = operands.map(Operand::into_values);
        let total = operand::tensor(sum(values(&x), values(&y)), &shape);
        return Some(Tensor::from_primitive::<Flex>(total));
    }
    let [(x, x_node), (y, y_node)] = operands.map(Operand::into_parts);
    let total = operand::tensor(sum(values(&x), values(&y)), &shape);
    let total = match Add.prepare::<NoCheckpointing>([x_node, y_node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish((), total),
        OpsKind::UnTracked(node) => node.finish(total),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(total))
}

/// The sums of `x` and `y`, element by element.
pub(crate) fn sum(x: &[f32], y: &[f32]) -> Buffer {
    let mut total = Buffer::take(x.len());
    let shared = Shared::new(&mut total);
    parallel::tasks(parallel::parts(x.len(), PART), |task| {
        let range = parallel::part(x.len(), PART, task);
        let (x, y) = (&x[range.clone()], &y[range.clone()]);
        // SAFETY: the tasks' ranges are disjoint.
        let total = unsafe { shared.part(range) };
        simd::dispatch(
            #[inline(always)]
            || {
                for ((total, x), y) in total.iter_mut().zip(x).zip(y) {
                    *total = x + y;
                }
            },
        );
    });
    total
}

#[derive(Debug)]
struct Add;

impl Backward<Flex, 2> for Add {
    type State = ();

    fn backward(self, ops: Ops<(), 2>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        for node in ops.parents.into_iter().flatten() {
            gradients.register::<Flex>(node.id, gradient.clone());
        }
    }
}
