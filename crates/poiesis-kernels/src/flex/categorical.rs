//! Categorical log probability from logits: one pass over the logits, one for the gradient.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function;
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use super::sums::{self, LANES};

/// Values of a task, about.
const PART: usize = 1 << 13;

/// [`crate::categorical_log_prob`] of tensors on Flex; `None` for others. There must be a row.
pub fn log_prob(logits: &Tensor<2>, targets: &Tensor<1, Int>) -> Option<Tensor<1>> {
    let [rows, classes] = logits.dims();
    let logits = Operand::new(logits)?;
    let targets = operand::integers(targets)?;
    targets.iter().for_each(|&target| check(target, classes));
    let targets: Vec<usize> = targets.into_iter().map(|target| target as usize).collect();
    let inputs = Inputs::new([logits]);
    let [logits] = inputs.values();
    let mut denominators = vec![0.0; rows];
    let y = operand::tensor(forward(logits, &targets, &mut denominators), &[rows]);
    Some(inputs.finish(y, |[logits], _| LogProb {
        logits,
        targets: targets.into(),
        denominators: denominators.into(),
    }))
}

/// Panics if a target is outside of `0..classes`.
pub(crate) fn check(target: i64, classes: usize) {
    assert!(
        usize::try_from(target).is_ok_and(|target| target < classes),
        "categorical_log_prob: target {target} is outside of {classes} classes",
    );
}

/// Writes the logarithm of each row's sum of exponentials into `denominators`.
fn forward(logits: &[f32], targets: &[usize], denominators: &mut [f32]) -> Buffer {
    let rows = targets.len();
    let classes = logits.len() / rows;
    let mut result = Buffer::take(rows);
    let shared = Shared::new(&mut result);
    let denominators = Shared::new(denominators);
    let size = PART.div_ceil(classes);
    parallel::tasks(parallel::parts(rows, size), |task| {
        let range = parallel::part(rows, size, task);
        // SAFETY: the tasks' ranges are disjoint.
        let (result, denominators) =
            unsafe { (shared.part(range.clone()), denominators.part(range.clone())) };
        let targets = &targets[range.clone()];
        let logits = &logits[range.start * classes..range.end * classes];
        simd::run(
            #[inline(always)]
            || {
                let rows = logits.chunks_exact(classes).zip(targets);
                for ((logits, &target), (result, denominator)) in
                    rows.zip(result.iter_mut().zip(denominators.iter_mut()))
                {
                    let (max, log_sum) = log_sum_exp(logits);
                    // Maximum and logarithm are added last, which keeps terms exact that are small next to the maximum.
                    *result = (logits[target] - max) - log_sum;
                    *denominator = max + log_sum;
                }
            },
        );
    });
    result
}

/// Turns rows of logits into log probabilities, or into probabilities.
pub(crate) fn normalise(rows: &mut [f32], classes: usize, logarithms: bool) {
    parallel::chunks(rows, PART.div_ceil(classes) * classes, |_, rows| {
        simd::run(
            #[inline(always)]
            || {
                for row in rows.chunks_exact_mut(classes) {
                    if logarithms {
                        let (max, log_sum) = log_sum_exp(row);
                        for x in row {
                            *x = (*x - max) - log_sum;
                        }
                    } else {
                        softmax(row);
                    }
                }
            },
        );
    });
}

#[inline(always)]
fn softmax(row: &mut [f32]) {
    let max = max(row);
    for x in row.iter_mut() {
        *x = function::exp(*x - max);
    }
    let factor = (1.0 / sums::of_terms(row, |x| x)) as f32;
    for x in row {
        *x *= factor;
    }
}

/// The largest logit, and the logarithm of the sum of the exponentials of the differences from it.
#[inline(always)]
fn log_sum_exp(logits: &[f32]) -> (f32, f32) {
    let max = max(logits);
    let whole = logits.len() / LANES * LANES;
    let mut sum = sums::of_terms(&logits[..whole], |x| function::exp(x - max));
    if whole < logits.len() {
        // A full vector is faster than a remainder; exp(−∞) is 0.
        let mut rest = [f32::NEG_INFINITY; LANES];
        rest[..logits.len() - whole].copy_from_slice(&logits[whole..]);
        sum += sums::of_terms(&rest, |x| function::exp(x - max));
    }
    (max, sum.ln() as f32)
}

#[inline(always)]
fn max(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if x > *lane { x } else { *lane };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[derive(Clone, Debug)]
struct LogProb {
    logits: FlexTensor,
    targets: Arc<[usize]>,
    denominators: Arc<[f32]>,
}

impl BackwardPass<1> for LogProb {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = values(&dy);
        let Self { logits, targets, denominators } = &self;
        let shape = logits.layout().shape();
        let logits = values(logits);
        let rows = targets.len();
        let classes = logits.len() / rows;
        let mut result = Buffer::take(logits.len());
        let shared = Shared::new(&mut result);
        let size = PART.div_ceil(classes);
        parallel::tasks(parallel::parts(rows, size), |task| {
            simd::run(
                #[inline(always)]
                || {
                    for row in parallel::part(rows, size, task) {
                        let range = row * classes..(row + 1) * classes;
                        // SAFETY: every row belongs to one task.
                        let result = unsafe { shared.part(range.clone()) };
                        row_gradient(result, &logits[range], denominators[row], gradient[row]);
                        result[targets[row]] += gradient[row];
                    }
                },
            );
        });
        [Some(operand::tensor(result, shape))]
    }
}

/// `−gradient · softmax`
#[inline(always)]
fn row_gradient(result: &mut [f32], logits: &[f32], denominator: f32, gradient: f32) {
    for (result, &logit) in result.iter_mut().zip(logits) {
        *result = -gradient * function::exp(logit - denominator);
    }
}
