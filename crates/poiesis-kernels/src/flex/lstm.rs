//! A long short-term memory over whole sequences as one operation of the graph.
//!
//! Forward: one product for all inputs; in each step a product with packed recurrent weights, and the gates. Backward:
//! in each step the gradients of the gates, from that of the state, and a product with the packed transposed weights; then
//! one product each for inputs and weights.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::autodiff::{BackwardPass, Inputs};
use super::elementwise;
use super::function::{Function, Sigmoid, Tanh};
use super::linear;
use super::operand::{self, Operand, values};
use super::packed::Packed;
use super::parallel::Shared;
use super::pool::Buffer;
use super::recurrent::{self, Size, last, zeros};
use super::simd;
use super::sums;
use crate::types::Activation;

/// Input, forget, cell and output gate.
const GATES: usize = 4;

type Output = (Tensor<3>, (Tensor<2>, Tensor<2>));

/// [`crate::lstm`] of tensors on Flex; `None` for others. No size may be 0.
pub(crate) fn lstm(
    x: &Tensor<3>,
    w_input: &Tensor<2>,
    w_hidden: &Tensor<2>,
    bias: &Tensor<1>,
    state: Option<&(Tensor<2>, Tensor<2>)>,
) -> Option<Output> {
    let [batch, time, inputs] = x.dims();
    let hidden = w_hidden.dims()[0];
    let size = Size { batch, time, inputs, hidden, gates: GATES };
    let (h, c) = match state {
        Some((h, c)) => (Operand::new(h)?, Operand::new(c)?),
        None => (zeros(batch, hidden), zeros(batch, hidden)),
    };
    let inputs = Inputs::new([
        Operand::new(x)?,
        Operand::new(w_input)?,
        Operand::new(w_hidden)?,
        Operand::new(bias)?,
        h,
        c,
    ]);
    let [x, w_input, w_hidden, bias, h, c] = inputs.values();
    let layer = linear::Layer::new(w_input).with_bias(bias);
    let gates = linear::product(size.input_product(), x, layer);
    let Forward { y, gates, cells, last_cell } = forward(&size, gates, w_hidden, h, c);
    let y = operand::tensor(y, &[batch, time, hidden]);
    let cell_gradient = CellGradient::default();
    let y: Tensor<3> = inputs.finish(y, |[x, w_input, w_hidden, _, h, first_cell], y| Lstm {
        size,
        x,
        w_input,
        w_hidden,
        h,
        first_cell,
        y: y.clone(),
        gates: operand::tensor(gates, &[batch, time, GATES * hidden]),
        cells: operand::tensor(cells, &[batch, time, hidden]),
        cell_gradient: cell_gradient.clone(),
    });
    let c = operand::tensor(last_cell, &[batch, hidden]);
    let c = Inputs::new([Operand::new(&y)?]).finish(c, |_, _| LastCell(size, cell_gradient));
    Some((y.clone(), (last(y), c)))
}

/// [`crate::lstm_step`] of tensors on Flex without autodiff; `None` for others. No size may be 0.
pub(crate) fn step(
    x: &Tensor<2>,
    w_input: &Tensor<2>,
    w_hidden: &Tensor<2>,
    bias: &Tensor<1>,
    state: (&Tensor<2>, &Tensor<2>),
) -> Option<(Tensor<2>, Tensor<2>)> {
    let [rows, inputs] = x.dims();
    let hidden = w_hidden.dims()[0];
    let operands = [
        Operand::new(x)?,
        Operand::new(w_input)?,
        Operand::new(w_hidden)?,
        Operand::new(bias)?,
        Operand::new(state.0)?,
        Operand::new(state.1)?,
    ];
    if operands.iter().any(Operand::is_autodiff) {
        return None;
    }
    let [x, w_input, w_hidden, bias, h, c] = operands.map(Operand::into_values);
    let product = |inputs, x, layer| {
        let size = linear::Size { rows, inputs, outputs: GATES * hidden };
        linear::product(size, values(x), layer)
    };
    let mut gates = product(inputs, &x, linear::Layer::new(values(&w_input)).with_bias(values(&bias)));
    let sums = product(hidden, &h, linear::Layer::new(values(&w_hidden)));
    let mut new_h = Buffer::take(rows * hidden);
    let mut new_c = Buffer::take(rows * hidden);
    new_c.copy_from_slice(values(&c));
    recurrent::add(&mut gates, &sums);
    cells(&mut gates, &mut new_c, &mut new_h, hidden);
    let result = |values| Tensor::from_primitive::<Flex>(operand::tensor(values, &[rows, hidden]));
    Some((result(new_h), result(new_c)))
}

/// The new cells and hidden states of rows from the pre-activations of their gates, `[rows, gates · hidden]`, which the gates
/// overwrite.
pub(crate) fn cells(gates: &mut [f32], c: &mut [f32], h: &mut [f32], hidden: usize) {
    let states = c.chunks_exact_mut(hidden).zip(h.chunks_exact_mut(hidden));
    for (gates, (c, h)) in gates.chunks_exact_mut(GATES * hidden).zip(states) {
        elementwise::activate_in_place(&mut gates[..2 * hidden], Activation::Sigmoid);
        elementwise::activate_in_place(&mut gates[2 * hidden..3 * hidden], Activation::Tanh);
        elementwise::activate_in_place(&mut gates[3 * hidden..], Activation::Sigmoid);
        let [i, f, g, o] = [0, 1, 2, 3].map(|gate| &gates[gate * hidden..(gate + 1) * hidden]);
        simd::dispatch(Cell { i, f, g, o, c, h });
    }
}

struct Forward {
    y: Buffer,
    /// The activated gates of every step.
    gates: Buffer,
    /// The cells after every step.
    cells: Buffer,
    last_cell: Buffer,
}

/// All steps; `gates` holds the inputs' part of the pre-activations, with the bias.
fn forward(size: &Size, mut gates: Buffer, w_hidden: &[f32], h: &[f32], c: &[f32]) -> Forward {
    let Size { batch, time, hidden, .. } = *size;
    let weights = Packed::gates::<GATES>(w_hidden, hidden);
    let mut y = Buffer::take(batch * time * hidden);
    let mut cells = Buffer::take(batch * time * hidden);
    let mut state = Buffer::take(batch * hidden);
    state.copy_from_slice(h);
    let mut last_cell = Buffer::take(batch * hidden);
    last_cell.copy_from_slice(c);
    {
        let (gates, y, cells) = (Shared::new(&mut gates), Shared::new(&mut y), Shared::new(&mut cells));
        let last_cell = Shared::new(&mut last_cell);
        recurrent::steps(size, 0..time, &mut state, |step, rows, units, state, new| {
            let width = units.len();
            let mut sums = Buffer::take(GATES * rows.len() * width);
            for (weights, sums) in weights.iter().zip(sums.chunks_exact_mut(rows.len() * width)) {
                weights.multiply(state, rows.clone(), units.clone(), sums);
            }
            for (i, row) in rows.clone().enumerate() {
                let at = row * time + step;
                let gate = |gate: usize| {
                    let start = (at * GATES + gate) * hidden + units.start;
                    // SAFETY: every task has its own examples and units.
                    unsafe { gates.part(start..start + width) }
                };
                let sum = |gate: usize| &sums[(gate * rows.len() + i) * width..][..width];
                recurrent::finish_gate(gate(0), sum(0), Sigmoid);
                recurrent::finish_gate(gate(1), sum(1), Sigmoid);
                recurrent::finish_gate(gate(2), sum(2), Tanh);
                recurrent::finish_gate(gate(3), sum(3), Sigmoid);
                let here = row * hidden + units.start..row * hidden + units.end;
                let there = at * hidden + units.start..at * hidden + units.end;
                // SAFETY: as above.
                let (c, h) = unsafe { (last_cell.part(here.clone()), new.part(here)) };
                simd::dispatch(Cell {
                    i: gate(0),
                    f: gate(1),
                    g: gate(2),
                    o: gate(3),
                    c: &mut *c,
                    h: &mut *h,
                });
                // SAFETY: as above.
                unsafe {
                    cells.part(there.clone()).copy_from_slice(c);
                    y.part(there).copy_from_slice(h);
                }
            }
        });
    }
    Forward { y, gates, cells, last_cell }
}

/// The new cell and hidden state of some units from their gates.
struct Cell<'a> {
    i: &'a [f32],
    f: &'a [f32],
    g: &'a [f32],
    o: &'a [f32],
    c: &'a mut [f32],
    h: &'a mut [f32],
}

impl WithSimd for Cell<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let (c, h) = (self.c, self.h);
        let len = c.len();
        let (i, f, g, o) = (&self.i[..len], &self.f[..len], &self.g[..len], &self.o[..len]);
        let h = &mut h[..len];
        for j in 0..len {
            c[j] = f[j] * c[j] + i[j] * g[j];
            h[j] = o[j] * Tanh.value(c[j]);
        }
    }
}

/// Turns the gates of some units into the gradients of their pre-activations, and the gradient of the cell after
/// the step, without the part through `h`, into that of the cell before it.
struct CellBackward<'a> {
    i: &'a mut [f32],
    f: &'a mut [f32],
    g: &'a mut [f32],
    o: &'a mut [f32],
    previous: &'a [f32],
    c: &'a [f32],
    dh: &'a [f32],
    dc: &'a mut [f32],
}

impl WithSimd for CellBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let dc = self.dc;
        let len = dc.len();
        let (i, f, g, o) = (&mut self.i[..len], &mut self.f[..len], &mut self.g[..len], &mut self.o[..len]);
        let (previous, c, dh) = (&self.previous[..len], &self.c[..len], &self.dh[..len]);
        for j in 0..len {
            let tanh = Tanh.value(c[j]);
            let d = dc[j] + dh[j] * o[j] * (1.0 - tanh * tanh);
            let (input, forget, cell, output) = (i[j], f[j], g[j], o[j]);
            i[j] = d * cell * Sigmoid.derivative(0.0, input);
            f[j] = d * previous[j] * Sigmoid.derivative(0.0, forget);
            g[j] = d * input * Tanh.derivative(0.0, cell);
            o[j] = dh[j] * tanh * Sigmoid.derivative(0.0, output);
            dc[j] = d * forget;
        }
    }
}

/// The gradient of the last cell, passed from [`LastCell`] to [`Lstm`].
type CellGradient = Arc<Mutex<Option<FlexTensor>>>;

#[derive(Clone, Debug)]
struct Lstm {
    size: Size,
    x: FlexTensor,
    w_input: FlexTensor,
    w_hidden: FlexTensor,
    h: FlexTensor,
    first_cell: FlexTensor,
    y: FlexTensor,
    gates: FlexTensor,
    cells: FlexTensor,
    cell_gradient: CellGradient,
}

/// The last cell, a second result of [`Lstm`]. A node of the graph has one result, so this one passes its gradient on
/// outside the graph. In the graph it depends on the sequence, with a gradient of 0, so that its backward pass runs first.
#[derive(Clone, Debug)]
struct LastCell(Size, CellGradient);

impl BackwardPass<1> for LastCell {
    fn gradients(self, dc: FlexTensor, needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self(Size { batch, time, hidden, .. }, target) = self;
        *target.lock().unwrap_or_else(PoisonError::into_inner) = Some(operand::contiguous(&dc));
        let zeros = || operand::tensor(Buffer::zeros(batch * time * hidden), &[batch, time, hidden]);
        needed.map(|needed| needed.then(zeros))
    }
}

impl BackwardPass<6> for Lstm {
    fn gradients(mut self, dy: FlexTensor, needed: [bool; 6]) -> [Option<FlexTensor>; 6] {
        let dy = operand::contiguous(&dy);
        let size = self.size;
        let Size { batch, inputs, hidden, .. } = size;
        let outputs = GATES * hidden;
        let dc = self.cell_gradient.lock().unwrap_or_else(PoisonError::into_inner).take();
        let first = backward(&mut self, values(&dy), dc.as_ref().map(values));
        let dz = values(&self.gates);
        let [x_needed, w_input_needed, w_hidden_needed, bias_needed, h_needed, c_needed] = needed;
        let dw_input = w_input_needed.then(|| {
            let dw = linear::weight_gradient(size.input_product(), values(&self.x), dz);
            operand::tensor(dw, &[inputs, outputs])
        });
        let dw_hidden = w_hidden_needed.then(|| {
            let previous = recurrent::previous(&size, values(&self.h), values(&self.y));
            let dw = linear::weight_gradient(size.hidden_product(), &previous, dz);
            operand::tensor(dw, &[hidden, outputs])
        });
        let dbias = bias_needed.then(|| operand::tensor(sums::columns(dz, outputs), &[outputs]));
        let dx = x_needed.then(|| {
            let dx = recurrent::input_gradient(size.input_product(), dz, values(&self.w_input));
            operand::tensor(dx, self.x.layout().shape())
        });
        let dh = h_needed.then(|| {
            let size = linear::Size { rows: batch, ..size.hidden_product() };
            let dh = recurrent::input_gradient(size, &first.gates, values(&self.w_hidden));
            operand::tensor(dh, &[batch, hidden])
        });
        let dc = c_needed.then(|| operand::tensor(first.cell, &[batch, hidden]));
        [dx, dw_input, dw_hidden, dbias, dh, dc]
    }
}

/// Gradients at the first step.
struct First {
    /// Of the pre-activations of the gates, `[batch, gates · hidden]`.
    gates: Buffer,
    /// Of the cell before the step.
    cell: Buffer,
}

/// Turns the gates of all steps into gradients of their pre-activations.
fn backward(state: &mut Lstm, dy: &[f32], dc: Option<&[f32]>) -> First {
    let size = state.size;
    let Size { batch, time, hidden, .. } = size;
    let weights = Packed::transposed(values(&state.w_hidden), hidden, GATES);
    let mut cell = Buffer::zeros(batch * hidden);
    if let Some(dc) = dc {
        cell.copy_from_slice(dc);
    }
    let mut later = Buffer::take(batch * GATES * hidden);
    let (cells, first_cell) = (values(&state.cells), values(&state.first_cell));
    {
        let gates = Shared::new(state.gates.storage_mut());
        let cell = Shared::new(&mut cell);
        recurrent::steps(&size, (0..time).rev(), &mut later, |step, rows, units, later, new| {
            let width = units.len();
            let mut dh = Buffer::zeros(rows.len() * width);
            if step + 1 < time {
                weights.multiply(later, rows.clone(), units.clone(), &mut dh);
            }
            for (row, dh) in rows.zip(dh.chunks_exact_mut(width)) {
                let at = row * time + step;
                let here = row * hidden + units.start..row * hidden + units.end;
                let there = at * hidden + units.start..at * hidden + units.end;
                let gate = |gate: usize| {
                    let start = (at * GATES + gate) * hidden + units.start;
                    // SAFETY: every task has its own examples and units.
                    unsafe { gates.part(start..start + width) }
                };
                let previous = match step {
                    0 => &first_cell[here.clone()],
                    _ => &cells[there.start - hidden..there.end - hidden],
                };
                recurrent::add(dh, &dy[there.clone()]);
                // SAFETY: as above.
                let dc = unsafe { cell.part(here) };
                let c = &cells[there];
                let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                simd::dispatch(CellBackward { i, f, g, o, previous, c, dh, dc });
                for k in 0..GATES {
                    let start = (row * GATES + k) * hidden + units.start;
                    // SAFETY: as above.
                    unsafe { new.part(start..start + width) }.copy_from_slice(gate(k));
                }
            }
        });
    }
    First { gates: later, cell }
}
