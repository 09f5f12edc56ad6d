//! Code shared by the recurrent layers: splitting the work of a step, packed weights, and the states before each step of
//! a sequence.
//!
//! The steps of a sequence follow one another; inside a step, each task computes a block of hidden units for a
//! block of the batch: all gates of these units by matrix products, and their new state.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use std::ops::Range;

use burn::tensor::Tensor;

use super::function::Function;
use super::gemm::{Gemm, Left, Matrix, Write};
use super::linear;
use super::operand::{self, Operand};
use super::packed::Packed;
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;

/// Hidden units of a task: a multiple of the width of a panel.
const UNITS: usize = 64;

/// Examples of a task, at most.
const ROWS: usize = 96;

/// Steps of fewer multiplications than this stay on one thread.
const SMALL: usize = 1 << 16;

/// The sizes of a recurrent layer over a batch of sequences.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) batch: usize,
    pub(crate) time: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    /// Rows of weights of each hidden unit.
    pub(crate) gates: usize,
}

impl Size {
    /// The product of all inputs with the input weights.
    pub(crate) fn input_product(&self) -> linear::Size {
        let rows = self.batch * self.time;
        linear::Size { rows, inputs: self.inputs, outputs: self.gates * self.hidden }
    }

    /// The product of the states of all steps with the recurrent weights.
    pub(crate) fn hidden_product(&self) -> linear::Size {
        linear::Size { inputs: self.hidden, ..self.input_product() }
    }

    /// Runs `task(examples, units)` for all examples and hidden units of a step.
    pub(crate) fn for_each_block(&self, task: impl Fn(Range<usize>, Range<usize>) + Send + Sync) {
        let unit_blocks = parallel::parts(self.hidden, UNITS);
        // With few hidden units the threads divide the batch.
        let row_blocks = parallel::parts(self.batch, ROWS).max(4usize.div_ceil(unit_blocks));
        let rows = self.batch.div_ceil(row_blocks);
        let row_blocks = parallel::parts(self.batch, rows);
        let run = |index: usize| {
            let rows = parallel::part(self.batch, rows, index / unit_blocks);
            task(rows, parallel::part(self.hidden, UNITS, index % unit_blocks));
        };
        if self.batch * self.hidden * self.gates * self.hidden < SMALL {
            (0..row_blocks * unit_blocks).for_each(run);
        } else {
            parallel::tasks(row_blocks * unit_blocks, run);
        }
    }
}

/// Runs `block(step, examples, units, state, new)` for all blocks of every step. The first step reads the given `state`, each
/// later one what the previous step wrote to `new`; at the end `state` holds what the last step wrote.
pub(crate) fn steps(
    size: &Size,
    order: impl Iterator<Item = usize> + Send,
    state: &mut Buffer,
    block: impl Fn(usize, Range<usize>, Range<usize>, &[f32], &Shared<'_>) + Send + Sync,
) {
    let mut next = Buffer::take(state.len());
    parallel::inside(|| {
        for step in order {
            let new = Shared::new(&mut next);
            size.for_each_block(|rows, units| block(step, rows, units, state, &new));
            std::mem::swap(state, &mut next);
        }
    });
}

impl Packed {
    /// The columns of each gate of recurrent weights `[hidden, gates · hidden]`.
    pub(crate) fn gates<const GATES: usize>(weight: &[f32], hidden: usize) -> [Self; GATES] {
        let gemm = Gemm::current();
        std::array::from_fn(|gate| {
            Self::new(gemm, &Matrix::strided(&weight[gate * hidden..], [hidden, hidden], [GATES * hidden, 1]))
        })
    }

    /// Recurrent weights `[hidden, gates · hidden]`, transposed.
    pub(crate) fn transposed(weight: &[f32], hidden: usize, gates: usize) -> Self {
        let matrix = Matrix::strided(weight, [gates * hidden, hidden], [1, gates * hidden]);
        Self::new(Gemm::current(), &matrix)
    }

    /// The product of some rows of a matrix with the columns `columns` of these weights.
    pub(crate) fn multiply(
        &self,
        left: &[f32],
        rows: Range<usize>,
        columns: Range<usize>,
        result: &mut [f32],
    ) {
        let left = Left::new(&left[rows.start * self.rows()..], self.rows(), 1);
        let stride = columns.len();
        self.product(left, rows.len(), columns, Write::Replace, result, stride);
    }
}

/// The state before each step, `[batch, time, hidden]`, from the state before the first step and the states
/// after every step.
pub(crate) fn previous(size: &Size, first: &[f32], states: &[f32]) -> Buffer {
    let len = size.time * size.hidden;
    let mut result = Buffer::take(states.len());
    let shared = Shared::new(&mut result);
    parallel::tasks(size.batch, |example| {
        // SAFETY: every example has its own part.
        let result = unsafe { shared.part(example * len..(example + 1) * len) };
        let (begin, rest) = result.split_at_mut(size.hidden);
        begin.copy_from_slice(&first[example * size.hidden..][..size.hidden]);
        rest.copy_from_slice(&states[example * len..][..len - size.hidden]);
    });
    result
}

/// Adds the state's part of the pre-activation of a gate to the inputs' part, for some units, and applies its function.
#[inline(always)]
pub(crate) fn finish_gate<F: Function>(gate: &mut [f32], sums: &[f32], function: F) {
    simd::run(
        #[inline(always)]
        || {
            for (gate, &sum) in gate.iter_mut().zip(sums) {
                *gate = function.value(*gate + sum);
            }
        },
    );
}

/// Adds `values` to `sums`, element by element.
pub(crate) fn add(sums: &mut [f32], values: &[f32]) {
    simd::run(
        #[inline(always)]
        || {
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        },
    );
}

/// The state before the first step where none is given.
pub(crate) fn zeros(batch: usize, hidden: usize) -> Operand {
    Operand::Plain(operand::tensor(Buffer::zeros(batch * hidden), &[batch, hidden]))
}

/// The last step of a sequence.
pub(crate) fn last(y: Tensor<3>) -> Tensor<2> {
    let [batch, time, hidden] = y.dims();
    y.narrow(1, time - 1, 1).reshape([batch, hidden])
}

/// The gradient of the input of a product with `weight`.
pub(crate) fn input_gradient(size: linear::Size, dz: &[f32], weight: &[f32]) -> Buffer {
    let size = linear::Size { inputs: size.outputs, outputs: size.inputs, ..size };
    linear::product(size, dz, linear::Layer::transposed(weight))
}
