//! Two uses of a tensor, whose gradients are added on all threads.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::add::sum;
use super::autodiff::{BackwardPass, Inputs};
use super::operand::{self, Operand, contiguous, values};

/// The gradient of the second use, kept until that of the first is known.
type Pending = Arc<Mutex<Option<FlexTensor>>>;

/// [`crate::fork`] of a tensor on Flex that takes a gradient; `None` for others.
pub(crate) fn fork<const D: usize>(x: &Tensor<D>) -> Option<[Tensor<D>; 2]> {
    let x = Operand::new(x)?;
    if !x.is_tracked() {
        return None;
    }
    let pending = Pending::default();
    let inputs = Inputs::new([x]);
    let x = inputs.tensor(0).clone();
    let first = inputs.finish(x.clone(), |_, _| First(pending.clone()));
    // Its parent is the first use, so its gradient is known before that of the first is asked for.
    let second = Inputs::new([Operand::new(&first)?]).finish(x, |_, _| Second(pending));
    Some([first, second])
}

#[derive(Clone, Debug)]
struct First(Pending);

impl BackwardPass<1> for First {
    const CONTIGUOUS: bool = false;

    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let other = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(other) = other else { return [Some(dy)] };
        let (dy, other) = (contiguous(&dy), contiguous(&other));
        [Some(operand::tensor(sum(values(&dy), values(&other)), dy.layout().shape()))]
    }
}

#[derive(Clone, Debug)]
struct Second(Pending);

impl BackwardPass<1> for Second {
    const CONTIGUOUS: bool = false;

    fn gradients(self, dy: FlexTensor, _needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(dy);
        [None]
    }
}
