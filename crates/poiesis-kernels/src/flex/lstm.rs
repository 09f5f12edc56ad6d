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

use super::autodiff::{BackwardPass, Inputs};
use super::elementwise;
use super::function::{Function, Sigmoid, Tanh};
use super::linear;
use super::operand::{self, Operand, values};
use super::parallel::Shared;
use super::pool::Buffer;
use super::recurrent::{self, Saved, Size, last};
use super::simd::{self, Loops};
use crate::types::Activation;

/// Input, forget, cell and output gate.
const GATES: usize = 4;

type Output = (Tensor<3>, (Tensor<2>, Tensor<2>));

/// [`crate::lstm`] of tensors on Flex; `None` for others. No size may be 0.
pub(crate) fn lstm(
    x: &Tensor<3>,
    weights: [&Tensor<2>; 2],
    bias: &Tensor<1>,
    state: Option<&(Tensor<2>, Tensor<2>)>,
) -> Option<Output> {
    let size = Size::new(x.dims(), weights[1].dims());
    let state = [state.map(|(h, _)| h), state.map(|(_, c)| c)];
    let [h, c] = state.map(|state| recurrent::state(state, &size));
    let inputs = Inputs::new(recurrent::operands(x, weights, bias, [h?, c?])?);
    let [x, w_input, w_hidden, bias, h, c] = inputs.values();
    let gates = linear::product(size.input_product(), x, linear::Layer::new(w_input).with_bias(bias));
    let Forward { y, gates, cells, last_cell } = forward(&size, gates, w_hidden, h, c);
    let y = operand::tensor(y, &size.states());
    let cell_gradient = CellGradient::default();
    let y: Tensor<3> = inputs.finish(y, |[x, w_input, w_hidden, _, h, first_cell], y| Lstm {
        saved: Saved::new(size, [x, w_input, w_hidden, h], y, gates),
        first_cell,
        cells: operand::tensor(cells, &size.states()),
        cell_gradient: cell_gradient.clone(),
    });
    let c = operand::tensor(last_cell, &size.state());
    let c = Inputs::new([Operand::new(&y)?]).finish(c, |_, _| LastCell(size, cell_gradient));
    Some((y.clone(), (last(y), c)))
}

/// [`crate::lstm_step`] of tensors on Flex without autodiff; `None` for others. No size may be 0.
pub(crate) fn step(
    x: &Tensor<2>,
    weights: [&Tensor<2>; 2],
    bias: &Tensor<1>,
    (h, c): (&Tensor<2>, &Tensor<2>),
) -> Option<(Tensor<2>, Tensor<2>)> {
    let [rows, inputs] = x.dims();
    let hidden = h.dims()[1];
    let operands = recurrent::operands(x, weights, bias, [Operand::new(h)?, Operand::new(c)?])?;
    let [x, w_input, w_hidden, bias, h, c] = operand::constants(operands)?;
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
        let gates = [0, 1, 2, 3].map(|gate| &gates[gate * hidden..(gate + 1) * hidden]);
        simd::run_loops(Cell { gates, c, h });
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
    let mut cells = Buffer::take(size.states().iter().product());
    let mut last_cell = Buffer::take(c.len());
    last_cell.copy_from_slice(c);
    let y = {
        let (gates, cells) = (Shared::new(&mut gates), Shared::new(&mut cells));
        let last_cell = Shared::new(&mut last_cell);
        recurrent::forward(size, w_hidden, h, |place, [i_sum, f_sum, g_sum, o_sum], _, h| {
            // SAFETY: every task has its own examples and units.
            let ([i, f, g, o], c, cells) =
                unsafe { (place.gates(&gates), last_cell.part(place.state()), cells.part(place.states())) };
            recurrent::finish_gate(i, i_sum, Sigmoid);
            recurrent::finish_gate(f, f_sum, Sigmoid);
            recurrent::finish_gate(g, g_sum, Tanh);
            recurrent::finish_gate(o, o_sum, Sigmoid);
            simd::run_loops(Cell { gates: [i, f, g, o], c: &mut *c, h });
            cells.copy_from_slice(c);
        })
    };
    Forward { y, gates, cells, last_cell }
}

/// The new cell and hidden state of some units from their gates.
struct Cell<'a> {
    gates: [&'a [f32]; GATES],
    c: &'a mut [f32],
    h: &'a mut [f32],
}

impl Loops for Cell<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { gates: [i, f, g, o], c, h } = self;
        let len = c.len();
        let (i, f, g, o) = (&i[..len], &f[..len], &g[..len], &o[..len]);
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
    gates: [&'a mut [f32]; GATES],
    previous: &'a [f32],
    c: &'a [f32],
    dh: &'a [f32],
    dc: &'a mut [f32],
}

impl Loops for CellBackward<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { gates: [i, f, g, o], previous, c, dh, dc } = self;
        let len = dc.len();
        let (i, f, g, o) = (&mut i[..len], &mut f[..len], &mut g[..len], &mut o[..len]);
        let (previous, c, dh) = (&previous[..len], &c[..len], &dh[..len]);
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
    saved: Saved,
    first_cell: FlexTensor,
    cells: FlexTensor,
    cell_gradient: CellGradient,
}

/// The last cell, a second result of [`Lstm`]. A node of the graph has one result, so this one passes its gradient on
/// outside the graph. In the graph it depends on the sequence, with a gradient of 0, so that its backward pass runs first.
#[derive(Clone, Debug)]
struct LastCell(Size, CellGradient);

impl BackwardPass<1> for LastCell {
    fn gradients(self, dc: FlexTensor, needed: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let Self(size, target) = self;
        *target.lock().unwrap_or_else(PoisonError::into_inner) = Some(dc);
        let zeros = || operand::tensor(Buffer::zeros(size.states().iter().product()), &size.states());
        needed.map(|needed| needed.then(zeros))
    }
}

impl BackwardPass<6> for Lstm {
    fn gradients(mut self, dy: FlexTensor, needed: [bool; 6]) -> [Option<FlexTensor>; 6] {
        let dc = self.cell_gradient.lock().unwrap_or_else(PoisonError::into_inner).take();
        let first = backward(&mut self, values(&dy), dc.as_ref().map(values));
        let saved = &self.saved;
        let dz = values(&saved.gates);
        let [x, w_input, w_hidden, bias, h, c] = needed;
        let [dx, dw_input, dw_hidden] = saved.gradients([dz, dz], [x, w_input, w_hidden]);
        let dbias = bias.then(|| saved.bias_gradient(dz));
        let dh = h.then(|| operand::tensor(saved.first_state_gradient(&first.gates), &saved.size.state()));
        let dc = c.then(|| operand::tensor(first.cell, &saved.size.state()));
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
    let saved = &mut state.saved;
    let size = saved.size;
    let mut cell = Buffer::zeros(size.state().iter().product());
    if let Some(dc) = dc {
        cell.copy_from_slice(dc);
    }
    let (cells, first_cell) = (values(&state.cells), values(&state.first_cell));
    let gates = {
        let gates = Shared::new(saved.gates.storage_mut());
        let cell = Shared::new(&mut cell);
        recurrent::backward(&size, values(&saved.w_hidden), |place, dh, later: [&mut [f32]; GATES]| {
            // SAFETY: every task has its own examples and units.
            let (mut gates, dc): ([_; GATES], _) = unsafe { (place.gates(&gates), cell.part(place.state())) };
            recurrent::add(dh, &dy[place.states()]);
            simd::run_loops(CellBackward {
                gates: gates.each_mut().map(|gate| &mut **gate),
                previous: place.previous(first_cell, cells),
                c: &cells[place.states()],
                dh,
                dc,
            });
            for (later, gate) in later.into_iter().zip(gates) {
                later.copy_from_slice(gate);
            }
        })
    };
    First { gates, cell }
}
