//! A fully connected layer: matrix product, bias and activation in one task per block of the result, and
//! its gradients.

#![expect(unsafe_code, reason = "tasks write interleaved columns of one array through `Shared`")]

use std::ops::Range;

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::convolution::{self, Geometry};
use super::elementwise;
use super::function::{self, Function, with_function};
use super::gemm::{self, Gemm, Left, Right, Steps, Write};
use super::operand::{self, Operand, values};
use super::packed;
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::row;
use super::simd;
use super::sums;
use crate::activation::Activation;

/// Rows of a task, at most.
const ROWS: usize = 192;

/// Rows of a task, if there are as many: as few as do not make the tiles smaller.
const FEWEST_ROWS: usize = 48;

/// Panels of a task, at most.
const PANELS: usize = 4;

/// Tasks of a product, if its rows suffice: as many as let threads that began at different times end together.
const TASKS: usize = 32;

/// Products of fewer multiplications than this stay on the calling thread.
const SMALL: usize = 1 << 15;

/// Up to so many rows, packing the weights would take longer than it saves.
const FEW_ROWS: usize = 4;

/// Columns of a task with few rows.
const COLUMNS: usize = 256;

/// [`crate::linear`] of tensors that live on Flex; `None` for others.
pub(crate) fn linear<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    activation: Activation,
) -> Option<Tensor<D>> {
    // The derivative of these needs the value in front of them, so they go behind as an operation of their own.
    if !function::slope_from_value(activation) {
        let z = linear(x, weight, bias, Activation::Identity)?;
        return elementwise::activate(&z, activation);
    }
    let [inputs, outputs] = weight.dims();
    let mut shape = x.dims();
    let size = Size { rows: shape[..D - 1].iter().product(), inputs, outputs };
    shape[D - 1] = outputs;
    let with_bias = bias.is_some();
    let operands = [
        Operand::new(x)?,
        Operand::new(weight)?,
        match bias {
            Some(bias) => Operand::new(bias)?,
            None => Operand::absent(),
        },
    ];
    let forward = |x: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor| {
        let bias = with_bias.then(|| values(bias));
        let y = product(size, values(x), values(weight), false, bias, activation);
        operand::tensor(y, &shape)
    };
    if !operands.iter().any(Operand::is_autodiff) {
        let [x, weight, bias] = operands.map(Operand::into_values);
        return Some(Tensor::from_primitive::<Flex>(forward(&x, &weight, &bias)));
    }
    let [x_tracked, weight_tracked, _] = operands.each_ref().map(Operand::is_tracked);
    let [(x, x_node), (weight, weight_node), (bias, bias_node)] = operands.map(Operand::into_parts);
    let y = forward(&x, &weight, &bias);
    let y = match Linear
        .prepare::<NoCheckpointing>([x_node, weight_node, bias_node])
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(node) => {
            let state = State {
                size,
                x_shape: x.layout().shape().to_vec(),
                x: weight_tracked.then_some(x),
                weight: x_tracked.then_some(weight),
                y: (activation != Activation::Identity).then(|| y.clone()),
                activation,
            };
            node.finish(state, y)
        }
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// `activation(x · weight + bias)`; with `transposed`, `weight` is `[outputs, inputs]`.
pub(crate) fn product(
    size: Size,
    x: &[f32],
    weight: &[f32],
    transposed: bool,
    bias: Option<&[f32]>,
    activation: Activation,
) -> Buffer {
    let Size { rows, inputs, outputs } = size;
    if !transposed && (1..=FEW_ROWS).contains(&rows) && outputs > 0 {
        return few_rows(size, x, weight, bias, activation);
    }
    let mut y = Buffer::take(rows * outputs);
    let (row, column) = if transposed { (1, inputs) } else { (outputs, 1) };
    let gemm = Gemm::in_force();
    let panel = gemm::panel_width();
    // The more columns a task has, the seldomer its rows are rounded to bf16; but there must be enough tasks.
    let width =
        panel * (parallel::parts(rows, ROWS) * parallel::parts(outputs, panel) / TASKS).clamp(1, PANELS);
    let block_rows = (rows * parallel::parts(outputs, width) / TASKS).next_multiple_of(FEWEST_ROWS);
    let block_rows = block_rows.clamp(FEWEST_ROWS, ROWS);
    let (blocks, strips) = (parallel::parts(rows, block_rows), parallel::parts(outputs, width));
    let in_place = |columns: &Range<usize>| !transposed && gemm.reads_in_place(columns.len());
    let packs = (0..strips).any(|strip| !in_place(&parallel::part(outputs, width, strip)));
    let mut packed = Buffer::take(if packs { gemm.packed_len(inputs, outputs) } else { 0 });
    let shared = Shared::new(&mut y);
    let shared_packed = Shared::new(&mut packed);
    let pack = |index: usize| {
        if !in_place(&parallel::part(outputs, width, index * panel / width)) {
            let range = gemm.panel_range(inputs, outputs, index);
            // SAFETY: panels are disjoint, and each is packed by one task before it is read.
            let packed = unsafe { shared_packed.part(range) };
            gemm.pack_panel(packed, weight, &[0], inputs, outputs, row, column, index);
        }
    };
    let multiply = |block: usize, strip: usize| {
        let block = parallel::part(rows, block_rows, block);
        let columns = parallel::part(outputs, width, strip);
        let left = Left::new(&x[block.start * inputs..], inputs, 1);
        let right = if in_place(&columns) {
            Right::InPlace(&weight[columns.start.min(weight.len())..], outputs)
        } else {
            let first = gemm.panel_range(inputs, outputs, columns.start / panel);
            let last = gemm.panel_range(inputs, outputs, (columns.end - 1) / panel);
            // SAFETY: nothing writes these panels any more.
            Right::Packed(unsafe { shared_packed.read(first.start..last.end) })
        };
        let at = block.start * outputs + columns.start;
        // SAFETY: blocks of rows and strips of columns are disjoint.
        unsafe {
            gemm.multiply_shared(
                left,
                block.len(),
                inputs,
                right,
                columns.len(),
                &shared,
                at,
                Steps::even(outputs),
                Write::Replace,
            );
        }
        if bias.is_none() && activation == Activation::Identity {
            return;
        }
        let bias = bias.map(|bias| &bias[columns.clone()]);
        for row in block {
            let at = row * outputs;
            // SAFETY: as above.
            let y = unsafe { shared.part(at + columns.start..at + columns.end) };
            with_function!(activation, function => finish_row(y, bias, function));
        }
    };
    let panels = parallel::parts(outputs, panel);
    if blocks <= 1 && rows * inputs * outputs < SMALL {
        (0..panels).for_each(pack);
        (0..strips * blocks).for_each(|strip| multiply(0, strip));
    } else if blocks <= 1 {
        // One block of rows: panels are packed by the task that needs them, their only one.
        parallel::tasks(strips * blocks, |strip| {
            let columns = parallel::part(outputs, width, strip);
            (columns.start / panel..parallel::parts(columns.end, panel)).for_each(pack);
            multiply(0, strip);
        });
    } else {
        if inputs * outputs < packed::SMALL {
            (0..panels).for_each(pack);
        } else {
            parallel::tasks(panels, pack);
        }
        parallel::tasks(blocks * strips, |task| multiply(task / strips, task % strips));
    }
    y
}

/// [`product`] without packing.
fn few_rows(size: Size, x: &[f32], weight: &[f32], bias: Option<&[f32]>, activation: Activation) -> Buffer {
    let Size { rows, inputs, outputs } = size;
    let mut y = Buffer::take(rows * outputs);
    let shared = Shared::new(&mut y);
    let width = if rows * inputs * outputs < SMALL { outputs } else { COLUMNS };
    parallel::tasks(parallel::parts(outputs, width), |task| {
        let columns = parallel::part(outputs, width, task);
        let bias = bias.map(|bias| &bias[columns.clone()]);
        for row in 0..rows {
            let at = row * outputs;
            // SAFETY: rows are disjoint, and so are the tasks' columns.
            let y = unsafe { shared.part(at + columns.start..at + columns.end) };
            row::product(
                &x[row * inputs..][..inputs],
                &weight[columns.start.min(weight.len())..],
                outputs,
                y,
            );
            with_function!(activation, function => finish_row(y, bias, function));
        }
    });
    y
}

/// Adds the bias to products and activates the sums.
#[inline(always)]
pub(crate) fn finish_row<F: Function>(y: &mut [f32], bias: Option<&[f32]>, function: F) {
    simd::dispatch(FinishRow { y, bias, function });
}

/// A type rather than a closure: the call of a closure is inlined only if it is small, and else compiled without SIMD.
struct FinishRow<'a, F> {
    y: &'a mut [f32],
    bias: Option<&'a [f32]>,
    function: F,
}

impl<F: Function> WithSimd for FinishRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { y, bias, function } = self;
        match bias {
            Some(bias) => {
                for (y, &bias) in y.iter_mut().zip(bias) {
                    *y = function.value(*y + bias);
                }
            }
            None => {
                for y in y {
                    *y = function.value(*y);
                }
            }
        }
    }
}

/// `xᵀ · dz` for `x [rows, inputs]` and `dz [rows, outputs]`.
pub(crate) fn weight_gradient(size: Size, x: &[f32], dz: &[f32]) -> Buffer {
    let Size { rows, inputs, outputs } = size;
    // A 1×1 convolution of images of one pixel.
    let geometry = Geometry {
        batch: rows,
        large: [1, 1],
        channels: inputs,
        small: [1, 1],
        out: outputs,
        kernel: [1, 1],
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
        live: 1,
        transposed: false,
    };
    convolution::weight_gradient(&geometry, x, dz)
}

#[derive(Debug)]
struct Linear;

#[derive(Clone, Debug)]
struct State {
    size: Size,
    x_shape: Vec<usize>,
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
    y: Option<FlexTensor>,
    activation: Activation,
}

impl Backward<Flex, 3> for Linear {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let mut gradient = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let state = ops.state;
        if let Some(y) = &state.y {
            let dz = elementwise::map_backward(values(&gradient), values(y), state.activation);
            gradient = operand::tensor(dz, gradient.layout().shape());
        }
        let dz = values(&gradient);
        let Size { rows, inputs, outputs } = state.size;
        let [x_node, weight_node, bias_node] = ops.parents;
        if let (Some(node), Some(x)) = (weight_node, &state.x) {
            let dw = weight_gradient(state.size, values(x), dz);
            gradients.register::<Flex>(node.id, operand::tensor(dw, &[inputs, outputs]));
        }
        if let Some(node) = bias_node {
            let db = sums::columns(dz, outputs);
            gradients.register::<Flex>(node.id, operand::tensor(db, &[outputs]));
        }
        if let (Some(node), Some(weight)) = (x_node, &state.weight) {
            let size = Size { rows, inputs: outputs, outputs: inputs };
            let dx = product(size, dz, values(weight), true, None, Activation::Identity);
            gradients.register::<Flex>(node.id, operand::tensor(dx, &state.x_shape));
        }
    }
}
