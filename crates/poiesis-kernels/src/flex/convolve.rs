//! Convolution and transposed convolution as nodes of Burn's autodiff graph.

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::convolution::{self, Geometry};
use super::operand::{self, Operand, values};
use super::pool::Buffer;
use super::sums;

/// The convolution of tensors that live on Flex; `None` for others.
pub(crate) fn conv2d(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    geometry: Geometry,
) -> Option<Tensor<4>> {
    convolve(x, weight, bias, Convolution(geometry))
}

/// The transposed convolution of tensors that live on Flex; `None` for others.
pub(crate) fn conv_transpose2d(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    geometry: Geometry,
) -> Option<Tensor<4>> {
    convolve(x, weight, bias, Convolution(geometry))
}

fn convolve(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: Option<&Tensor<1>>,
    convolution: Convolution,
) -> Option<Tensor<4>> {
    let with_bias = bias.is_some();
    let operands = [
        Operand::new(x)?,
        Operand::new(weight)?,
        match bias {
            Some(bias) => Operand::new(bias)?,
            None => Operand::absent(),
        },
    ];
    if operands.iter().any(Operand::is_autodiff) {
        let [x_tracked, weight_tracked, _] = operands.each_ref().map(Operand::is_tracked);
        let [(x, x_node), (weight, weight_node), (bias, bias_node)] = operands.map(Operand::into_parts);
        let y = convolution.forward(&x, &weight, with_bias.then_some(&bias));
        let state = State {
            geometry: convolution.0.clone(),
            // Each gradient needs the other argument.
            x: weight_tracked.then_some(x),
            weight: x_tracked.then_some(weight),
        };
        let nodes = [x_node, weight_node, bias_node];
        let y = match convolution.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(node) => node.finish(state, y),
            OpsKind::UnTracked(node) => node.finish(y),
        };
        Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
    } else {
        let [x, weight, bias] = operands.map(Operand::into_values);
        let y = convolution.forward(&x, &weight, with_bias.then_some(&bias));
        Some(Tensor::from_primitive::<Flex>(y))
    }
}

#[derive(Clone, Debug)]
struct Convolution(Geometry);

#[derive(Clone, Debug)]
struct State {
    geometry: Geometry,
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
}

impl Convolution {
    fn forward(&self, x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>) -> FlexTensor {
        let g = &self.0;
        let bias = bias.map(values);
        if g.transposed {
            large_tensor(g, convolution::grow(g, values(x), values(weight), bias))
        } else {
            small_tensor(g, convolution::shrink(g, values(x), values(weight), bias))
        }
    }
}

impl Backward<Flex, 3> for Convolution {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let dy = values(&gradient);
        let State { geometry: g, x, weight } = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        if let (Some(node), Some(x)) = (weight_node, x) {
            let (large, small) = if g.transposed { (dy, values(&x)) } else { (values(&x), dy) };
            let sums = convolution::weight_gradient(&g, large, small);
            let shape = if g.transposed {
                [g.kernel[0], g.kernel[1], g.out, g.channels / g.groups]
            } else {
                [g.kernel[0], g.kernel[1], g.channels / g.groups, g.out]
            };
            gradients.register::<Flex>(node.id, operand::tensor(sums, &shape));
        }
        if let Some(node) = bias_node {
            let channels = if g.transposed { g.channels } else { g.out };
            let sums = sums::columns(dy, channels);
            gradients.register::<Flex>(node.id, operand::tensor(sums, &[channels]));
        }
        if let (Some(node), Some(weight)) = (x_node, weight) {
            let weight = values(&weight);
            let dx = if g.transposed {
                small_tensor(&g, convolution::shrink(&g, dy, weight, None))
            } else {
                large_tensor(&g, convolution::grow(&g, dy, weight, None))
            };
            gradients.register::<Flex>(node.id, dx);
        }
    }
}

fn large_tensor(g: &Geometry, values: Buffer) -> FlexTensor {
    operand::tensor(values, &[g.batch, g.large[0], g.large[1], g.channels])
}

fn small_tensor(g: &Geometry, values: Buffer) -> FlexTensor {
    operand::tensor(values, &[g.batch, g.small[0], g.small[1], g.out])
}
