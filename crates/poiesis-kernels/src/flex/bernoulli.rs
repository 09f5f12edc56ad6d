//! Bernoulli log probability from logits: one pass over logits and data, one for the gradient.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function;
use super::operand::{self, Operand, values};
use super::parallel;
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
    Some(inputs.finish(y, |[logits], _| LogProb([logits, x])))
}

fn sums(logits: &[f32], x: &[f32], batch: usize) -> Buffer {
    let each = logits.len() / batch;
    let mut result = Buffer::take(batch);
    let rows = PART.div_ceil(each);
    parallel::chunks(&mut result, rows, |part, result| {
        let examples = logits.chunks_exact(each).zip(x.chunks_exact(each));
        for (result, (logits, x)) in result.iter_mut().zip(examples.skip(part * rows)) {
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

/// The logits and the data.
#[derive(Clone, Debug)]
struct LogProb([FlexTensor; 2]);

impl BackwardPass<1> for LogProb {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self(arguments) = self;
        let dy = values(&dy);
        let [logits, x] = arguments.each_ref().map(values);
        let each = logits.len() / dy.len();
        let mut result = Buffer::take(logits.len());
        let rows = PART.div_ceil(each);
        parallel::chunks(&mut result, rows * each, |part, result| {
            for (row, result) in (part * rows..).zip(result.chunks_exact_mut(each)) {
                let range = row * each..(row + 1) * each;
                let (logits, x, gradient) = (&logits[range.clone()], &x[range], dy[row]);
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
        [Some(operand::tensor(result, arguments[0].layout().shape()))]
    }
}
