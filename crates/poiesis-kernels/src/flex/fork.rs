//! Two uses of a tensor, whose gradients are added on all threads.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::add::sum;
use super::operand::{self, Operand, contiguous, values};

/// The gradient of the second use, until the first's is there.
type Waiting = Arc<Mutex<Option<FlexTensor>>>;

/// [`crate::fork`] of a tensor on Flex that takes a gradient; `None` for others.
pub(crate) fn fork<const D: usize>(x: &Tensor<D>) -> Option<[Tensor<D>; 2]> {
    let x = Operand::new(x)?;
    if !x.is_tracked() {
        return None;
    }
    let (x, node) = x.into_parts();
    let waiting = Waiting::default();
    let first = match First.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(waiting.clone(), x.clone()),
        OpsKind::UnTracked(node) => node.finish(x.clone()),
    };
    // Its parent is the first, so its gradient is there before the first's is asked for.
    let second = match Second.prepare::<NoCheckpointing>([first.node()]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(waiting, x),
        OpsKind::UnTracked(node) => node.finish(x),
    };
    Some([first, second].map(Tensor::from_primitive::<Autodiff<Flex>>))
}

#[derive(Debug)]
struct First;

impl Backward<Flex, 1> for First {
    type State = Waiting;

    fn backward(self, ops: Ops<Waiting, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        let waiting = ops.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        let total = match waiting {
            Some(other) => {
                let (gradient, other) = (contiguous(&gradient), contiguous(&other));
                operand::tensor(sum(values(&gradient), values(&other)), gradient.layout().shape())
            }
            None => gradient,
        };
        for node in ops.parents.into_iter().flatten() {
            gradients.register::<Flex>(node.id, total.clone());
        }
    }
}

#[derive(Debug)]
struct Second;

impl Backward<Flex, 1> for Second {
    type State = Waiting;

    fn backward(self, ops: Ops<Waiting, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        *ops.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
    }
}
