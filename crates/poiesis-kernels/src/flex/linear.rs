//! A fully connected layer: matrix product, bias and activation in one task per block of the result, and
//! its gradients.

#![expect(unsafe_code, reason = "tasks write interleaved columns of one array through `Shared`")]

use std::ops::Range;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::convolution::{self, Geometry};
use super::elementwise;
use super::function::{self, Function, with_function};
use super::gemm::{self, Gemm, Left, Matrix, Product, Right, Strides, Write};
use super::operand::{self, Operand, values};
use super::packed;
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::row;
use super::simd::{self, Loops};
use super::sums;
use crate::types::Activation;

/// Rows of a task, at most.
const ROWS: usize = 192;

/// Rows of a task, at least, if there are as many: the fewest that do not make the tiles smaller.
const FEWEST_ROWS: usize = 48;

/// Panels of a task, at most.
const PANELS: usize = 4;

/// Tasks of a product, if it has enough rows: enough for threads that start at different times to finish together.
const TASKS: usize = 32;

/// Products of fewer multiplications than this stay on the calling thread.
const SMALL: usize = 1 << 15;

/// [`crate::linear`] of tensors on Flex; `None` for others.
pub(crate) fn linear<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    activation: Activation,
) -> Option<Tensor<D>> {
    // The derivative of these needs their argument, so they follow as a separate operation.
    if !function::derivative_from_value(activation) {
        let z = linear(x, weight, bias, Activation::Identity)?;
        return elementwise::activate(&z, activation);
    }
    let [inputs, outputs] = weight.dims();
    let mut shape = x.dims();
    let size = Size { rows: shape[..D - 1].iter().product(), inputs, outputs };
    shape[D - 1] = outputs;
    let has_bias = bias.is_some();
    let inputs = Inputs::new([Operand::new(x)?, Operand::new(weight)?, Operand::optional(bias)?]);
    let [x, weight, bias] = inputs.values();
    let layer = Layer { bias: has_bias.then_some(bias), activation, ..Layer::new(weight) };
    let y = operand::tensor(product(size, x, layer), &shape);
    let [x_tracked, weight_tracked, _] = inputs.tracked();
    Some(inputs.finish(y, |[x, weight, _], y| Linear {
        size,
        x_shape: x.layout().shape().to_vec(),
        x: weight_tracked.then_some(x),
        weight: x_tracked.then_some(weight),
        y: (activation != Activation::Identity).then(|| y.clone()),
        activation,
    }))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// What is computed with the rows of a matrix: `activation(x · weight + bias)`.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    /// `[inputs, outputs]`, or `[outputs, inputs]` if `transposed`.
    pub(crate) weight: &'a [f32],
    pub(crate) transposed: bool,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) activation: Activation,
}

impl<'a> Layer<'a> {
    /// `x · weight`
    pub(crate) fn new(weight: &'a [f32]) -> Self {
        Self { weight, transposed: false, bias: None, activation: Activation::Identity }
    }

    /// `x · weightᵀ`
    pub(crate) fn transposed(weight: &'a [f32]) -> Self {
        Self { transposed: true, ..Self::new(weight) }
    }

    /// The layer with a bias `[outputs]`.
    pub(crate) fn with_bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }
}

/// The result of a layer for `x [rows, inputs]`.
pub(crate) fn product(size: Size, x: &[f32], layer: Layer<'_>) -> Buffer {
    let Size { rows, inputs, outputs } = size;
    let Layer { weight, transposed, bias, activation } = layer;
    if !transposed && (1..=FEW_ROWS).contains(&rows) && outputs > 0 {
        return few_rows(size, x, layer);
    }
    let mut y = Buffer::take(rows * outputs);
    let gemm = Gemm::current();
    let strides = if transposed { [1, inputs] } else { [outputs, 1] };
    let matrix = Matrix::strided(weight, [inputs, outputs], strides);
    let panel = gemm::panel_width();
    // The more columns a task has, the less often its rows are rounded to bf16; but there must be enough tasks.
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
            gemm.pack_panel(packed, &matrix, index);
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
            // SAFETY: these panels are complete, and nothing writes them any more.
            Right::Packed(unsafe { shared_packed.read(first.start..last.end) })
        };
        let at = block.start * outputs + columns.start;
        let product = Product {
            left,
            right,
            rows: block.len(),
            depth: inputs,
            columns: columns.len(),
            write: Write::Replace,
        };
        // SAFETY: blocks of rows and strips of columns are disjoint.
        unsafe { gemm.multiply_shared(product, &shared, at, Strides::even(outputs)) };
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
        // One block of rows: each panel is packed by the only task that needs it.
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

/// Up to this many rows, packing the weights takes longer than it saves.
const FEW_ROWS: usize = 4;

/// Columns of a task with few rows.
const COLUMNS: usize = 256;

/// [`product`] without packing.
fn few_rows(size: Size, x: &[f32], layer: Layer<'_>) -> Buffer {
    let Size { rows, inputs, outputs } = size;
    let Layer { weight, bias, activation, .. } = layer;
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
    simd::run_loops(FinishRow { y, bias, function });
}

struct FinishRow<'a, F> {
    y: &'a mut [f32],
    bias: Option<&'a [f32]>,
    function: F,
}

impl<F: Function> Loops for FinishRow<'_, F> {
    #[inline(always)]
    fn run(self) {
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
        active_taps: 1,
        transposed: false,
    };
    convolution::wgrad(&geometry, x, dz)
}

#[derive(Clone, Debug)]
struct Linear {
    size: Size,
    x_shape: Vec<usize>,
    x: Option<FlexTensor>,
    weight: Option<FlexTensor>,
    y: Option<FlexTensor>,
    activation: Activation,
}

impl BackwardPass<3> for Linear {
    fn gradients(self, dy: FlexTensor, [_, _, bias_needed]: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let Size { rows, inputs, outputs } = self.size;
        let mut dz = dy;
        if let Some(y) = &self.y {
            let gradient = elementwise::map_backward(values(&dz), values(y), self.activation);
            dz = operand::tensor(gradient, dz.layout().shape());
        }
        let dz = values(&dz);
        let dweight =
            self.x.map(|x| operand::tensor(weight_gradient(self.size, values(&x), dz), &[inputs, outputs]));
        let dbias = bias_needed.then(|| operand::tensor(sums::columns(dz, outputs), &[outputs]));
        let dx = self.weight.map(|weight| {
            let size = Size { rows, inputs: outputs, outputs: inputs };
            operand::tensor(product(size, dz, Layer::transposed(values(&weight))), &self.x_shape)
        });
        [dx, dweight, dbias]
    }
}
