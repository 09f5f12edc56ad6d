//! The ELU of rows and of their negatives: one pass over memory forward and one backward.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function::{Elu, Function};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// [`crate::concat_elu`] of a tensor on Flex; `None` for others. `x` must not be empty.
pub(crate) fn concat_elu<const D: usize>(x: &Tensor<D>) -> Option<Tensor<D>> {
    let mut shape = x.dims();
    let width = shape[D - 1];
    shape[D - 1] *= 2;
    let inputs = Inputs::new([Operand::new(x)?]);
    let [x] = inputs.values();
    let y = operand::tensor(forward(x, width), &shape);
    Some(inputs.finish(y, |_, y| ConcatElu { y: y.clone(), width }))
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
                    let plain = dy[i] * Elu.derivative(y[i], y[i]);
                    *dx = plain - dy_negative[i] * Elu.derivative(y_negative[i], y_negative[i]);
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

#[derive(Clone, Debug)]
struct ConcatElu {
    y: FlexTensor,
    width: usize,
}

impl BackwardPass<1> for ConcatElu {
    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self { y, width } = self;
        let mut shape = y.layout().shape().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = width;
        }
        [Some(operand::tensor(backward(values(&dy), values(&y), width), &shape))]
    }
}
