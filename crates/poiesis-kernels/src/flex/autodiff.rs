//! Operations as nodes of Burn's autodiff graph: the inputs of an operation, and its backward pass.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::operand::{self, Operand};

/// The backward pass of an operation with `N` inputs. The value itself is what the forward pass saves for it.
pub(crate) trait BackwardPass<const N: usize>: Clone + Debug + Send + 'static {
    /// Whether the gradient of the result is made contiguous first.
    const CONTIGUOUS: bool = true;

    /// The gradients of the inputs from `dy`, that of the result. Only those that are `needed` are used.
    fn gradients(self, dy: FlexTensor, needed: [bool; N]) -> [Option<FlexTensor>; N];
}

/// The inputs of an operation. If one of them is in an autodiff graph, the others count as constants of that graph.
pub(crate) struct Inputs<const N: usize> {
    tensors: [FlexTensor; N],
    tracked: [bool; N],
    nodes: Option<[NodeGuard; N]>,
}

impl<const N: usize> Inputs<N> {
    pub(crate) fn new(operands: [Operand; N]) -> Self {
        let tracked = operands.each_ref().map(Operand::is_tracked);
        if !operands.iter().any(Operand::is_autodiff) {
            return Self { tensors: operands.map(Operand::into_values), tracked, nodes: None };
        }
        let (tensors, nodes) = unzip(operands.map(Operand::into_parts));
        Self { tensors, tracked, nodes: Some(nodes) }
    }

    /// The values of the inputs.
    pub(crate) fn values(&self) -> [&[f32]; N] {
        self.tensors.each_ref().map(operand::values)
    }

    /// The tensor of input `index`, contiguous.
    pub(crate) fn tensor(&self, index: usize) -> &FlexTensor {
        &self.tensors[index]
    }

    /// Which inputs take a gradient.
    pub(crate) fn tracked(&self) -> [bool; N] {
        self.tracked
    }

    /// The result `y` as a tensor: a node of the inputs' graph, if there is one. `save` is called if an input takes a
    /// gradient, with the inputs and `y`.
    pub(crate) fn finish<const D: usize, B: BackwardPass<N>>(
        self,
        y: FlexTensor,
        save: impl FnOnce([FlexTensor; N], &FlexTensor) -> B,
    ) -> Tensor<D> {
        let Some(nodes) = self.nodes else {
            return Tensor::from_primitive::<Flex>(y);
        };
        let y = match Node(PhantomData).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(node) => {
                let saved = save(self.tensors, &y);
                node.finish(saved, y)
            }
            OpsKind::UnTracked(node) => node.finish(y),
        };
        Tensor::from_primitive::<Autodiff<Flex>>(y)
    }

    /// A further result, which takes no gradient.
    pub(crate) fn constant<const D: usize>(&self, y: FlexTensor) -> Tensor<D> {
        let y = Tensor::from_primitive::<Flex>(y);
        if self.nodes.is_some() { y.autodiff() } else { y }
    }
}

fn unzip<A, B, const N: usize>(pairs: [(A, B); N]) -> ([A; N], [B; N]) {
    let mut second = [const { None }; N];
    let mut slots = second.iter_mut();
    let first = pairs.map(|(a, b)| {
        if let Some(slot) = slots.next() {
            *slot = Some(b);
        }
        a
    });
    (first, second.map(|b| b.unwrap_or_else(|| unreachable!("there are as many slots as pairs"))))
}

/// A node of the graph whose backward pass is `B`.
#[derive(Debug)]
struct Node<B>(PhantomData<B>);

impl<B: BackwardPass<N>, const N: usize> Backward<Flex, N> for Node<B> {
    type State = B;

    fn backward(self, ops: Ops<B, N>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = gradients.consume::<Flex>(&ops.node);
        let dy = if B::CONTIGUOUS { operand::contiguous(&dy) } else { dy };
        let needed = ops.parents.each_ref().map(Option::is_some);
        for (node, gradient) in ops.parents.into_iter().zip(ops.state.gradients(dy, needed)) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}
