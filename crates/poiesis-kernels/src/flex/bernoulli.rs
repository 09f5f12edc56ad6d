//! Bernoulli log probability from logits: one pass over logits and data, one for the gradient.

#![expect(unsafe_code, reason = "tasks write their own part of one array through `Shared`")]

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function;
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Values of a task, about.
const PART: usize = 1 << 13;

/// Sums that run side by side, so that the loop vectorises and its order is fixed.
const SUMS: usize = 16;

/// [`crate::bernoulli_log_prob`] of tensors on Flex; `None` for others. Neither may be empty.
pub(crate) fn log_prob<const D: usize>(logits: &Tensor<D>, x: &Tensor<D>) -> Option<Tensor<1>> {
    let batch = logits.dims()[0];
    let (logits, x) = (Operand::new(logits)?, Operand::new(x)?.into_values());
    let inputs = Inputs::new([logits]);
    let [logits] = inputs.values();
    let y = operand::tensor(sums(logits, values(&x), batch), &[batch]);
    Some(inputs.finish(y, |[logits], _| LogProb { logits, x }))
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

#[derive(Clone, Debug)]
struct LogProb {
    logits: FlexTensor,
    x: FlexTensor,
}

impl BackwardPass<1> for LogProb {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let dy = operand::contiguous(&dy);
        let gradient = values(&dy);
        let (logits, x) = (values(&self.logits), values(&self.x));
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
        [Some(operand::tensor(result, self.logits.layout().shape()))]
    }
}
