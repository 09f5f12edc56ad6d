//! The sum of two tensors on all threads.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::operand::{self, Operand};
use super::parallel;
use super::pool::Buffer;
use super::simd;

/// Values of a task.
const PART: usize = 1 << 14;

/// [`crate::add`] of tensors on Flex; `None` for others.
pub(crate) fn add<const D: usize>(x: &Tensor<D>, y: &Tensor<D>) -> Option<Tensor<D>> {
    let shape = x.dims();
    let inputs = Inputs::new([Operand::new(x)?, Operand::new(y)?]);
    let [x, y] = inputs.values();
    let total = operand::tensor(sum(x, y), &shape);
    Some(inputs.finish(total, |_, _| Add))
}

/// The sums of `x` and `y`, element by element.
pub(crate) fn sum(x: &[f32], y: &[f32]) -> Buffer {
    let mut total = Buffer::take(x.len());
    parallel::chunks(&mut total, PART, |part, total| {
        let (x, y) = (&x[part * PART..][..total.len()], &y[part * PART..][..total.len()]);
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

#[derive(Clone, Debug)]
struct Add;

impl BackwardPass<2> for Add {
    const CONTIGUOUS: bool = false;

    fn gradients(self, dy: FlexTensor, _needed: [bool; 2]) -> [Option<FlexTensor>; 2] {
        [Some(dy.clone()), Some(dy)]
    }
}
