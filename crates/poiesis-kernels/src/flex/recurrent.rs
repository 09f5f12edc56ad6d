//! Code shared by the recurrent layers: the steps of a sequence forward and backward, how the work of a step is split, and the
//! gradients of inputs and weights.
//!
//! The steps of a sequence follow one another; inside a step, each task computes a block of hidden units for a
//! block of the batch: all gates of these units by matrix products, and their new state.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use std::ops::Range;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::function::Function;
use super::gemm::{Gemm, Left, Matrix, Write};
use super::linear;
use super::operand::{self, Operand, values};
use super::packed::Packed;
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use super::sums;

/// Hidden units of a task: a multiple of the width of a panel.
const UNITS: usize = 64;

/// Examples of a task, at most.
const ROWS: usize = 96;

/// Steps of fewer multiplications than this stay on one thread.
const SMALL: usize = 1 << 16;

/// The sizes of a recurrent layer over a batch of sequences.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    batch: usize,
    time: usize,
    inputs: usize,
    hidden: usize,
    /// Rows of weights of each hidden unit.
    gates: usize,
}

impl Size {
    /// The sizes for an input `[batch, time, in]` and recurrent weights `[hidden, gates · hidden]`.
    pub(crate) fn new([batch, time, inputs]: [usize; 3], [hidden, columns]: [usize; 2]) -> Self {
        Self { batch, time, inputs, hidden, gates: columns / hidden }
    }

    /// The shape of a state.
    pub(crate) fn state(&self) -> [usize; 2] {
        [self.batch, self.hidden]
    }

    /// The shape of the states after all steps.
    pub(crate) fn states(&self) -> [usize; 3] {
        [self.batch, self.time, self.hidden]
    }

    /// The shape of the gates of all steps.
    pub(crate) fn gates(&self) -> [usize; 3] {
        [self.batch, self.time, self.gates * self.hidden]
    }

    /// The product of all inputs with the input weights.
    pub(crate) fn input_product(&self) -> linear::Size {
        let rows = self.batch * self.time;
        linear::Size { rows, inputs: self.inputs, outputs: self.gates * self.hidden }
    }

    /// The product of the states of all steps with the recurrent weights.
    fn hidden_product(&self) -> linear::Size {
        linear::Size { inputs: self.hidden, ..self.input_product() }
    }

    /// Runs `task(examples, units)` for all examples and hidden units of a step.
    fn for_each_block(&self, task: impl Fn(Range<usize>, Range<usize>) + Send + Sync) {
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

/// Some hidden units of an example at a step.
pub(crate) struct Place {
    size: Size,
    row: usize,
    step: usize,
    units: Range<usize>,
}

impl Place {
    /// The units in a state `[batch, hidden]`.
    pub(crate) fn state(&self) -> Range<usize> {
        self.in_row(self.row * self.size.hidden)
    }

    /// The units in the states of all steps, `[batch, time, hidden]`.
    pub(crate) fn states(&self) -> Range<usize> {
        self.in_row((self.row * self.size.time + self.step) * self.size.hidden)
    }

    /// The units' columns of a gate.
    pub(crate) fn columns(&self, gate: usize) -> Range<usize> {
        self.in_row(gate * self.size.hidden)
    }

    fn in_row(&self, start: usize) -> Range<usize> {
        start + self.units.start..start + self.units.end
    }

    /// The units in the state before the step, from the first state and the states of all steps.
    pub(crate) fn previous<'a>(&self, first: &'a [f32], states: &'a [f32]) -> &'a [f32] {
        let Range { start, end } = self.states();
        if self.step == 0 {
            &first[self.state()]
        } else {
            &states[start - self.size.hidden..end - self.size.hidden]
        }
    }

    /// The units' gates at this step in an array of the gates of all steps, `[batch, time, gates · hidden]`.
    ///
    /// # Safety
    ///
    /// Nothing else uses them at the same time.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that nothing else uses them")]
    pub(crate) unsafe fn gates<'a, const GATES: usize>(
        &self,
        array: &'a Shared<'_>,
    ) -> [&'a mut [f32]; GATES] {
        // SAFETY: the caller's promise.
        unsafe { self.gates_of(array, self.row * self.size.time + self.step) }
    }

    /// The units' gates in row `row` of an array whose rows are `[gates · hidden]`.
    ///
    /// # Safety
    ///
    /// Nothing else uses them at the same time.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that nothing else uses them")]
    unsafe fn gates_of<'a, const GATES: usize>(
        &self,
        array: &'a Shared<'_>,
        row: usize,
    ) -> [&'a mut [f32]; GATES] {
        std::array::from_fn(|gate| {
            // SAFETY: gates are disjoint; the rest is the caller's promise.
            unsafe { array.part(self.in_row((row * GATES + gate) * self.size.hidden)) }
        })
    }
}

/// The states after every step, `[batch, time, hidden]`. `unit(place, sums, old, new)` computes the new state of some units from
/// the state's part of the pre-activations of their gates, without bias, and from their old state.
pub(crate) fn forward<const GATES: usize>(
    size: &Size,
    w_hidden: &[f32],
    first: &[f32],
    unit: impl Fn(&Place, [&mut [f32]; GATES], &[f32], &mut [f32]) + Send + Sync,
) -> Buffer {
    let Size { batch, time, hidden, .. } = *size;
    let weights = Packed::gates::<GATES>(w_hidden, hidden);
    let mut y = Buffer::take(batch * time * hidden);
    let mut state = Buffer::take(batch * hidden);
    state.copy_from_slice(first);
    let shared = Shared::new(&mut y);
    steps(size, 0..time, &mut state, |step, rows, units, state, new| {
        let width = units.len();
        let mut sums = Buffer::take(GATES * rows.len() * width);
        let mut of_gates = sums.chunks_exact_mut(rows.len() * width);
        let mut sums: [&mut [f32]; GATES] = std::array::from_fn(|_| of_gates.next().unwrap_or_default());
        for (weights, sums) in weights.iter().zip(&mut sums) {
            weights.multiply(state, rows.clone(), units.clone(), sums);
        }
        for (i, row) in rows.enumerate() {
            let place = Place { size: *size, row, step, units: units.clone() };
            let sums = sums.each_mut().map(|sums| &mut sums[i * width..][..width]);
            // SAFETY: every task has its own examples and units.
            let (new, y) = unsafe { (new.part(place.state()), shared.part(place.states())) };
            unit(&place, sums, &state[place.state()], new);
            y.copy_from_slice(new);
        }
    });
    y
}

/// The gradients of the first step's pre-activations, `[batch, gates · hidden]`. `unit(place, dh, dz)` computes those of some
/// units from the part of the gradient of their state that comes through the gates of the next step.
pub(crate) fn backward<const GATES: usize>(
    size: &Size,
    w_hidden: &[f32],
    unit: impl Fn(&Place, &mut [f32], [&mut [f32]; GATES]) + Send + Sync,
) -> Buffer {
    let Size { batch, time, hidden, .. } = *size;
    let weights = Packed::transposed(w_hidden, hidden, GATES);
    let mut later = Buffer::take(batch * GATES * hidden);
    steps(size, (0..time).rev(), &mut later, |step, rows, units, later, new| {
        let width = units.len();
        let mut dh = Buffer::zeros(rows.len() * width);
        if step + 1 < time {
            weights.multiply(later, rows.clone(), units.clone(), &mut dh);
        }
        for (row, dh) in rows.zip(dh.chunks_exact_mut(width)) {
            let place = Place { size: *size, row, step, units: units.clone() };
            // SAFETY: every task has its own examples and units.
            unit(&place, dh, unsafe { place.gates_of(new, row) });
        }
    });
    later
}

/// Runs `block(step, examples, units, state, new)` for all blocks of every step. The first step reads the given `state`, each
/// later one what the previous step wrote to `new`; at the end `state` holds what the last step wrote.
fn steps(
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
    fn gates<const GATES: usize>(weight: &[f32], hidden: usize) -> [Self; GATES] {
        let gemm = Gemm::current();
        std::array::from_fn(|gate| {
            Self::new(gemm, &Matrix::strided(&weight[gate * hidden..], [hidden, hidden], [GATES * hidden, 1]))
        })
    }

    /// Recurrent weights `[hidden, gates · hidden]`, transposed.
    fn transposed(weight: &[f32], hidden: usize, gates: usize) -> Self {
        let matrix = Matrix::strided(weight, [gates * hidden, hidden], [1, gates * hidden]);
        Self::new(Gemm::current(), &matrix)
    }

    /// The product of some rows of a matrix with the columns `columns` of these weights.
    fn multiply(&self, left: &[f32], rows: Range<usize>, columns: Range<usize>, result: &mut [f32]) {
        let left = Left::new(&left[rows.start * self.rows()..], self.rows(), 1);
        let stride = columns.len();
        self.product(left, rows.len(), columns, Write::Replace, result, stride);
    }
}

/// The state before each step, `[batch, time, hidden]`, from the state before the first step and the states
/// after every step.
fn previous(size: &Size, first: &[f32], states: &[f32]) -> Buffer {
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

/// The operands of a layer: input, weights, the bias of the input, and two that layers differ in; `None` if one is not on Flex.
pub(crate) fn operands<const D: usize>(
    x: &Tensor<D>,
    [w_input, w_hidden]: [&Tensor<2>; 2],
    bias: &Tensor<1>,
    [first, second]: [Operand; 2],
) -> Option<[Operand; 6]> {
    let [w_input, w_hidden] = [Operand::new(w_input)?, Operand::new(w_hidden)?];
    Some([Operand::new(x)?, w_input, w_hidden, Operand::new(bias)?, first, second])
}

/// An initial state, or zeros where none is given; `None` if it is not on Flex.
pub(crate) fn state(given: Option<&Tensor<2>>, size: &Size) -> Option<Operand> {
    let zeros = || Operand::Plain(operand::tensor(Buffer::zeros(size.batch * size.hidden), &size.state()));
    given.map_or_else(|| Some(zeros()), Operand::new)
}

/// The last step of a sequence.
pub(crate) fn last(y: Tensor<3>) -> Tensor<2> {
    let [batch, time, hidden] = y.dims();
    y.narrow(1, time - 1, 1).reshape([batch, hidden])
}

/// What the backward pass of every recurrent layer needs.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) size: Size,
    x: FlexTensor,
    w_input: FlexTensor,
    pub(crate) w_hidden: FlexTensor,
    pub(crate) h: FlexTensor,
    pub(crate) y: FlexTensor,
    /// The gates of all steps; the backward pass turns them into the gradients of their pre-activations.
    pub(crate) gates: FlexTensor,
}

impl Saved {
    pub(crate) fn new(
        size: Size,
        [x, w_input, w_hidden, h]: [FlexTensor; 4],
        y: &FlexTensor,
        gates: Buffer,
    ) -> Self {
        Self { size, x, w_input, w_hidden, h, y: y.clone(), gates: operand::tensor(gates, &size.gates()) }
    }

    /// The gradients of the input, the input weights and the recurrent weights that are needed, from those of the two parts of
    /// the pre-activations, `[batch, time, gates · hidden]` each.
    pub(crate) fn gradients(
        &self,
        [dz_input, dz_hidden]: [&[f32]; 2],
        [x_needed, w_input_needed, w_hidden_needed]: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let [input, hidden] = [self.size.input_product(), self.size.hidden_product()];
        let dx = x_needed.then(|| {
            let dx = input_gradient(input, dz_input, values(&self.w_input));
            operand::tensor(dx, self.x.layout().shape())
        });
        let dw_input = w_input_needed.then(|| {
            let dw = linear::weight_gradient(input, values(&self.x), dz_input);
            operand::tensor(dw, &[input.inputs, input.outputs])
        });
        let dw_hidden = w_hidden_needed.then(|| {
            let previous = previous(&self.size, values(&self.h), values(&self.y));
            let dw = linear::weight_gradient(hidden, &previous, dz_hidden);
            operand::tensor(dw, &[hidden.inputs, hidden.outputs])
        });
        [dx, dw_input, dw_hidden]
    }

    /// The gradient of a bias from that of the pre-activations.
    pub(crate) fn bias_gradient(&self, dz: &[f32]) -> FlexTensor {
        let outputs = self.size.gates * self.size.hidden;
        operand::tensor(sums::columns(dz, outputs), &[outputs])
    }

    /// The part of the gradient of the first state that comes through the gates, from that of the first pre-activations.
    pub(crate) fn first_state_gradient(&self, first: &[f32]) -> Buffer {
        let size = linear::Size { rows: self.size.batch, ..self.size.hidden_product() };
        input_gradient(size, first, values(&self.w_hidden))
    }
}

/// The gradient of the input of a product with `weight`.
fn input_gradient(size: linear::Size, dz: &[f32], weight: &[f32]) -> Buffer {
    let size = linear::Size { inputs: size.outputs, outputs: size.inputs, ..size };
    linear::product(size, dz, linear::Layer::transposed(weight))
}
