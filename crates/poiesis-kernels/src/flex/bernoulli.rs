//! Bernoulli log probability from logits: one pass over logits and data, one for the gradient.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::function;
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Values of a task, about.
const PART: usize = 1 << 13;

/// Sums that run side by side, so that the loop vectorises and its order is fixed.
const SUMS: usize = 16;

/// [`crate::bernoulli_log_prob`] of tensors that live on Flex; `None` for others. Neither is empty.
pub(crate) fn log_prob<const D: usize>(logits: &Tensor<D>, x: &Tensor<D>) -> Option<Tensor<1>> {
    let batch = logits.dims()[0];
    let (logits, x) = (Operand::new(logits)?, Operand::new(x)?);
    let x = x.into_values();
    if !logits.is_autodiff() {
        let y = sums(values(&logits.into_values()), values(&x), batch);
        return Some(Tensor::from_primitive::<Flex>(operand::tensor(y, &[batch])));
    }
    let (logits, node) = logits.into_parts();
    let y = operand::tensor(sums(values(&logits), values(&x), batch), &[batch]);
    let y = match LogProb.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(State { logits, x }, y),
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

fn sums(logits: &[f32], x: &[f32], batch: usize) -> Buffer {
    let each = logits.len() / batch;
    let mut result = Buffer::take(batch);
    let shared = Shared::new(&mut result);
    let rows = PART.div_ceil(each);
    parallel::tasks(parallel::parts(batch, rows), |task| {
        let range = parallel::part(batch, rows, task);
        // SAFETY: the tasks' ranges are disjoint.
        let result = unsafe { shared.part(range.clone()) };
        let examples = logits.chunks_exact(each).zip(x.chunks_exact(each));
        for (result, (logits, x)) in result.iter_mut().zip(examples.skip(range.start)) {
            *result = simd::run(
                #[inline(always)]
                || sum(logits, x),
            );
        }
    });
    result
}

#[inline(always)]
fn sum(logits: &[f32], x: &[f32]) -> f32 {
    let mut sums = [0.0f32; SUMS];
    let whole = logits.len() / SUMS * SUMS;
    let chunks = logits[..whole].chunks_exact(SUMS).zip(x[..whole].chunks_exact(SUMS));
    for (logits, x) in chunks {
        for i in 0..SUMS {
            sums[i] += x[i] * logits[i] - function::softplus(logits[i]);
        }
    }
    for (i, (&logit, &x)) in logits[whole..].iter().zip(&x[whole..]).enumerate() {
        sums[i] += x * logit - function::softplus(logit);
    }
    sums.iter().map(|&sum| f64::from(sum)).sum::<f64>() as f32
}

#[derive(Debug)]
struct LogProb;

#[derive(Clone, Debug)]
struct State {
    logits: FlexTensor,
    x: FlexTensor,
}

impl Backward<Flex, 1> for LogProb {
    type State = State;

    fn backward(self, ops: Ops<State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let gradient = values(&gradient);
        let [node] = ops.parents;
        let Some(node) = node else { return };
        let (logits, x) = (values(&ops.state.logits), values(&ops.state.x));
        let each = logits.len() / gradient.len();
        let mut result = Buffer::take(logits.len());
        let shared = Shared::new(&mut result);
        let rows = PART.div_ceil(each);
        parallel::tasks(parallel::parts(gradient.len(), rows), |task| {
            for row in parallel::part(gradient.len(), rows, task) {
                let range = row * each..(row + 1) * each;
                // SAFETY: every row belongs to one task.
                let result = unsafe { shared.part(range.clone()) };
                let (logits, x, gradient) = (&logits[range.clone()], &x[range], gradient[row]);
                simd::run(
                    #[inline(always)]
                    || {
                        for ((result, &logit), &x) in result.iter_mut().zip(logits).zip(x) {
                            *result = gradient * (x - function::sigmoid(logit));
                        }
                    },
                );
            }
        });
        let shape = ops.state.logits.layout().shape();
        gradients.register::<Flex>(node.id, operand::tensor(result, shape));
    }
}
