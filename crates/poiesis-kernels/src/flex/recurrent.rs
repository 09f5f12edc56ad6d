//! What the recurrent layers share: how the work of a step is split, packed weights, and the states that a
//! sequence's steps begin with.
//!
//! The steps of a sequence follow one another; inside a step, each task computes a block of hidden units for a
//! block of the batch: all gates of these units by matrix products, and their new state.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use std::ops::Range;

use burn::tensor::Tensor;

use super::function::Function;
use super::gemm::{Gemm, Left, Write};
use super::linear;
use super::operand::{self, Operand};
use super::packed::Packed;
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use crate::activation::Activation;

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
        // A few hidden units only: the threads share the batch.
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

/// Runs `block(step, examples, units, state, new)` for all blocks of every step. The first step finds `state` as it is, each
/// later one what the step before wrote into `new`; in the end `state` holds what the last one wrote.
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
        let gemm = Gemm::in_force();
        std::array::from_fn(|gate| {
            Self::new(gemm, &weight[gate * hidden..], hidden, hidden, GATES * hidden, 1)
        })
    }

    /// Recurrent weights `[hidden, gates · hidden]`, transposed.
    pub(crate) fn transposed(weight: &[f32], hidden: usize, gates: usize) -> Self {
        Self::new(Gemm::in_force(), weight, gates * hidden, hidden, 1, gates * hidden)
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
        self.product(left, rows.len(), columns, result, stride, Write::Replace);
    }
}

/// The state in front of each step, `[batch, time, hidden]`, from that in front of the first step and those
/// behind every step.
pub(crate) fn previous(size: &Size, first: &[f32], states: &[f32]) -> Buffer {
    let len = size.time * size.hidden;
    let mut result = Buffer::take(states.len());
    let shared = Shared::new(&mut result);
    parallel::tasks(size.batch, |example| {
        // SAFETY: every example has a part of its own.
        let result = unsafe { shared.part(example * len..(example + 1) * len) };
        let (begin, rest) = result.split_at_mut(size.hidden);
        begin.copy_from_slice(&first[example * size.hidden..][..size.hidden]);
        rest.copy_from_slice(&states[example * len..][..len - size.hidden]);
    });
    result
}

/// Adds to the inputs' part of a gate, for some units, the states' part, and applies its function.
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

/// The state in front of the first step where none is given.
pub(crate) fn zeros(batch: usize, hidden: usize) -> Operand {
    Operand::Plain(operand::tensor(Buffer::zeros(batch * hidden), &[batch, hidden]))
}

/// The last step of a sequence.
pub(crate) fn last(y: Tensor<3>) -> Tensor<2> {
    let [batch, time, hidden] = y.dims();
    y.narrow(1, time - 1, 1).reshape([batch, hidden])
}

/// The gradient of the left matrix of a product with `weight`.
pub(crate) fn through(size: linear::Size, dz: &[f32], weight: &[f32]) -> Buffer {
    let size = linear::Size { inputs: size.outputs, outputs: size.inputs, ..size };
    linear::product(size, dz, weight, true, None, Activation::Identity)
}
