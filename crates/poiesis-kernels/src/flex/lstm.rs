//! A long short-term memory over whole sequences as one operation of the graph.
//!
//! Forward: one product for all inputs; in each step a product with packed recurrent weights and the gates. Backward:
//! in each step the gates' gradients, from the state's, and a product with the packed transposed weights; then one
//! product each for inputs and weights.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};

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
use crate::activation::Activation;

/// Input, forget, cell and output gate.
const GATES: usize = 4;

type Output = (Tensor<3>, (Tensor<2>, Tensor<2>));

/// [`crate::lstm`] of tensors that live on Flex; `None` for others. No size is 0.
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
    let operands =
        [Operand::new(x)?, Operand::new(w_input)?, Operand::new(w_hidden)?, Operand::new(bias)?, h, c];
    let forward = |[x, w_input, w_hidden, bias, h, c]: [&FlexTensor; 6]| {
        let gates = linear::product(
            size.input_product(),
            values(x),
            values(w_input),
            false,
            Some(values(bias)),
            Activation::Identity,
        );
        forward(&size, gates, values(w_hidden), values(h), values(c))
    };
    if !operands.iter().any(Operand::is_autodiff) {
        let operands = operands.map(Operand::into_values);
        let Forward { y, last_cell, .. } = forward(operands.each_ref());
        let y = Tensor::from_primitive::<Flex>(operand::tensor(y, &[batch, time, hidden]));
        let c = Tensor::from_primitive::<Flex>(operand::tensor(last_cell, &[batch, hidden]));
        return Some((y.clone(), (last(y), c)));
    }
    let parts = operands.map(Operand::into_parts);
    let tensors = parts.each_ref().map(|(tensor, _)| tensor.clone());
    let Forward { y, gates, cells, last_cell } = forward(tensors.each_ref());
    let y = operand::tensor(y, &[batch, time, hidden]);
    let c = operand::tensor(last_cell, &[batch, hidden]);
    let nodes = parts.map(|(_, node)| node);
    let (y, c) = match Lstm.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(node) => {
            let [x, w_input, w_hidden, _, h, first_cell] = tensors;
            let cell_gradient = CellGradient::default();
            let state = State {
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
            };
            let y = node.finish(state, y);
            let (_, node) = y.clone().into_parts();
            let c = match LastCell.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
                OpsKind::Tracked(node) => node.finish((size, cell_gradient), c),
                OpsKind::UnTracked(node) => node.finish(c),
            };
            (y, Tensor::from_primitive::<Autodiff<Flex>>(c))
        }
        OpsKind::UnTracked(node) => (node.finish(y), Tensor::from_primitive::<Flex>(c).autodiff()),
    };
    let y = Tensor::from_primitive::<Autodiff<Flex>>(y);
    Some((y.clone(), (last(y), c)))
}

/// [`crate::lstm_step`] of tensors that live on Flex without autodiff; `None` for others. No size is 0.
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
    let product = |inputs, x, weight, bias| {
        let size = linear::Size { rows, inputs, outputs: GATES * hidden };
        linear::product(size, values(x), values(weight), false, bias, Activation::Identity)
    };
    let mut gates = product(inputs, &x, &w_input, Some(values(&bias)));
    let sums = product(hidden, &h, &w_hidden, None);
    let mut new_h = Buffer::take(rows * hidden);
    let mut new_c = Buffer::take(rows * hidden);
    new_c.copy_from_slice(values(&c));
    recurrent::add(&mut gates, &sums);
    cells(&mut gates, &mut new_c, &mut new_h, hidden);
    let result = |values| Tensor::from_primitive::<Flex>(operand::tensor(values, &[rows, hidden]));
    Some((result(new_h), result(new_c)))
}

/// The new cells and hidden states of rows from the sums of their gates, `[rows, gates · hidden]`, which become the gates.
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
    /// The gates of every step behind their functions.
    gates: Buffer,
    /// The cells behind every step.
    cells: Buffer,
    last_cell: Buffer,
}

/// All steps; `gates` comes in as the inputs' part of the sums, with the bias.
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

/// Turns the gates of some units into the gradients in front of their functions, and the gradient of the cell behind
/// the step, without the part through `h`, into that of the cell in front of it.
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
            i[j] = d * cell * Sigmoid.slope(0.0, input);
            f[j] = d * previous[j] * Sigmoid.slope(0.0, forget);
            g[j] = d * input * Tanh.slope(0.0, cell);
            o[j] = dh[j] * tanh * Sigmoid.slope(0.0, output);
            dc[j] = d * forget;
        }
    }
}

#[derive(Debug)]
struct Lstm;

/// The gradient of the last cell, on its way from [`LastCell`] to [`Lstm`].
type CellGradient = Arc<Mutex<Option<FlexTensor>>>;

#[derive(Clone, Debug)]
struct State {
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

/// The last cell, a second result of [`Lstm`]. A node of the graph has one result, so this one hands its gradient over
/// beside the graph; in the graph it stands behind the sequence, with a gradient of 0, so that its turn comes first.
#[derive(Debug)]
struct LastCell;

impl Backward<Flex, 1> for LastCell {
    type State = (Size, CellGradient);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let (Size { batch, time, hidden, .. }, target) = ops.state;
        *target.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
        let [node] = ops.parents;
        if let Some(node) = node {
            let zeros = operand::tensor(Buffer::zeros(batch * time * hidden), &[batch, time, hidden]);
            gradients.register::<Flex>(node.id, zeros);
        }
    }
}

impl Backward<Flex, 6> for Lstm {
    type State = State;

    fn backward(self, ops: Ops<State, 6>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let mut state = ops.state;
        let size = state.size;
        let Size { batch, inputs, hidden, .. } = size;
        let outputs = GATES * hidden;
        let dc = state.cell_gradient.lock().unwrap_or_else(PoisonError::into_inner).take();
        let first = backward(&mut state, values(&dy), dc.as_ref().map(values));
        let dz = values(&state.gates);
        let [x_node, w_input_node, w_hidden_node, bias_node, h_node, c_node] = ops.parents;
        if let Some(node) = w_input_node {
            let dw = linear::weight_gradient(size.input_product(), values(&state.x), dz);
            gradients.register::<Flex>(node.id, operand::tensor(dw, &[inputs, outputs]));
        }
        if let Some(node) = w_hidden_node {
            let previous = recurrent::previous(&size, values(&state.h), values(&state.y));
            let dw = linear::weight_gradient(size.hidden_product(), &previous, dz);
            gradients.register::<Flex>(node.id, operand::tensor(dw, &[hidden, outputs]));
        }
        if let Some(node) = bias_node {
            let db = sums::columns(dz, outputs);
            gradients.register::<Flex>(node.id, operand::tensor(db, &[outputs]));
        }
        if let Some(node) = x_node {
            let dx = recurrent::through(size.input_product(), dz, values(&state.w_input));
            gradients.register::<Flex>(node.id, operand::tensor(dx, state.x.layout().shape()));
        }
        if let Some(node) = h_node {
            let size = linear::Size { rows: batch, ..size.hidden_product() };
            let dh = recurrent::through(size, &first.gates, values(&state.w_hidden));
            gradients.register::<Flex>(node.id, operand::tensor(dh, &[batch, hidden]));
        }
        if let Some(node) = c_node {
            gradients.register::<Flex>(node.id, operand::tensor(first.cell, &[batch, hidden]));
        }
    }
}

/// Gradients at the first step.
struct First {
    /// In front of the gates' functions, `[batch, gates · hidden]`.
    gates: Buffer,
    /// Of the cell in front of the step.
    cell: Buffer,
}

/// Turns the gates of all steps into gradients in front of their functions.
fn backward(state: &mut State, dy: &[f32], dc: Option<&[f32]>) -> First {
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
