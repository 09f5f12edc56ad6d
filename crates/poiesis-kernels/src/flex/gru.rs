//! A gated recurrent unit over whole sequences as one operation of the graph.
//!
//! Forward: one product for all inputs; in each step a product with packed recurrent weights and the gates. Backward:
//! in each step the gates' gradients, from the state's, and a product with the packed transposed weights; then one
//! product each for inputs and weights.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};

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

/// Reset gate, update gate and new state.
const GATES: usize = 3;

/// [`crate::gru`] of tensors that live on Flex; `None` for others. No size is 0.
pub(crate) fn gru(
    x: &Tensor<3>,
    w_input: &Tensor<2>,
    w_hidden: &Tensor<2>,
    bias_input: &Tensor<1>,
    bias_hidden: &Tensor<1>,
    state: Option<&Tensor<2>>,
) -> Option<(Tensor<3>, Tensor<2>)> {
    let [batch, time, inputs] = x.dims();
    let hidden = w_hidden.dims()[0];
    let size = Size { batch, time, inputs, hidden, gates: GATES };
    let h = match state {
        Some(h) => Operand::new(h)?,
        None => zeros(batch, hidden),
    };
    let operands = [
        Operand::new(x)?,
        Operand::new(w_input)?,
        Operand::new(w_hidden)?,
        Operand::new(bias_input)?,
        Operand::new(bias_hidden)?,
        h,
    ];
    let forward = |[x, w_input, w_hidden, bias_input, bias_hidden, h]: [&FlexTensor; 6]| {
        let gates = linear::product(
            size.input_product(),
            values(x),
            values(w_input),
            false,
            Some(values(bias_input)),
            Activation::Identity,
        );
        forward(&size, gates, values(w_hidden), values(bias_hidden), values(h))
    };
    if !operands.iter().any(Operand::is_autodiff) {
        let operands = operands.map(Operand::into_values);
        let y = operand::tensor(forward(operands.each_ref()).y, &[batch, time, hidden]);
        let y = Tensor::from_primitive::<Flex>(y);
        return Some((y.clone(), last(y)));
    }
    let parts = operands.map(Operand::into_parts);
    let tensors = parts.each_ref().map(|(tensor, _)| tensor.clone());
    let Forward { y, gates, from_state } = forward(tensors.each_ref());
    let y = operand::tensor(y, &[batch, time, hidden]);
    let nodes = parts.map(|(_, node)| node);
    let y = match Gru.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(node) => {
            let [x, w_input, w_hidden, _, _, h] = tensors;
            let state = State {
                size,
                x,
                w_input,
                w_hidden,
                h,
                y: y.clone(),
                gates: operand::tensor(gates, &[batch, time, GATES * hidden]),
                from_state: operand::tensor(from_state, &[batch, time, hidden]),
            };
            node.finish(state, y)
        }
        OpsKind::UnTracked(node) => node.finish(y),
    };
    let y = Tensor::from_primitive::<Autodiff<Flex>>(y);
    Some((y.clone(), last(y)))
}

/// [`crate::gru_step`] of tensors that live on Flex without autodiff; `None` for others. No size is 0.
pub(crate) fn step(
    x: &Tensor<2>,
    w_input: &Tensor<2>,
    w_hidden: &Tensor<2>,
    bias_input: &Tensor<1>,
    bias_hidden: &Tensor<1>,
    h: &Tensor<2>,
) -> Option<Tensor<2>> {
    let [rows, inputs] = x.dims();
    let hidden = w_hidden.dims()[0];
    let operands = [
        Operand::new(x)?,
        Operand::new(w_input)?,
        Operand::new(w_hidden)?,
        Operand::new(bias_input)?,
        Operand::new(bias_hidden)?,
        Operand::new(h)?,
    ];
    if operands.iter().any(Operand::is_autodiff) {
        return None;
    }
    let [x, w_input, w_hidden, bias_input, bias_hidden, h] = operands.map(Operand::into_values);
    let product = |inputs, x, weight, bias| {
        let size = linear::Size { rows, inputs, outputs: GATES * hidden };
        linear::product(size, values(x), values(weight), false, Some(values(bias)), Activation::Identity)
    };
    let mut from_input = product(inputs, &x, &w_input, &bias_input);
    let from_state = product(hidden, &h, &w_hidden, &bias_hidden);
    let mut new = Buffer::take(rows * hidden);
    new.copy_from_slice(values(&h));
    cells(&mut from_input, &from_state, &mut new, hidden);
    Some(Tensor::from_primitive::<Flex>(operand::tensor(new, &[rows, hidden])))
}

/// The new states of rows from both parts of their sums, `[rows, gates · hidden]` each, with their biases; the gates take
/// the place of the inputs' part.
pub(crate) fn cells(from_input: &mut [f32], from_state: &[f32], h: &mut [f32], hidden: usize) {
    let sums = from_input.chunks_exact_mut(GATES * hidden).zip(from_state.chunks_exact(GATES * hidden));
    for ((gates, sums), h) in sums.zip(h.chunks_exact_mut(hidden)) {
        let (reset, rest) = gates.split_at_mut(hidden);
        let (update, candidate) = rest.split_at_mut(hidden);
        let sums = [0, 1, 2].map(|gate| &sums[gate * hidden..(gate + 1) * hidden]);
        simd::dispatch(Unit { gates: [reset, update, candidate], sums, h });
    }
}

struct Forward {
    y: Buffer,
    /// The gates of every step behind their functions.
    gates: Buffer,
    /// The state's part of the sum for the new state, which the reset gate multiplies.
    from_state: Buffer,
}

/// All steps; `gates` comes in as the inputs' part of the sums, with its bias.
fn forward(size: &Size, mut gates: Buffer, w_hidden: &[f32], bias: &[f32], h: &[f32]) -> Forward {
    let Size { batch, time, hidden, .. } = *size;
    let weights = Packed::gates::<GATES>(w_hidden, hidden);
    let mut y = Buffer::take(batch * time * hidden);
    let mut from_state = Buffer::take(batch * time * hidden);
    let mut state = Buffer::take(batch * hidden);
    state.copy_from_slice(h);
    {
        let (gates, y) = (Shared::new(&mut gates), Shared::new(&mut y));
        let from_state = Shared::new(&mut from_state);
        recurrent::steps(size, 0..time, &mut state, |step, rows, units, state, new| {
            let width = units.len();
            let mut sums = Buffer::take(GATES * rows.len() * width);
            for (weights, sums) in weights.iter().zip(sums.chunks_exact_mut(rows.len() * width)) {
                weights.multiply(state, rows.clone(), units.clone(), sums);
            }
            for (i, row) in rows.clone().enumerate() {
                let at = row * time + step;
                let here = row * hidden + units.start..row * hidden + units.end;
                let there = at * hidden + units.start..at * hidden + units.end;
                let gate = |gate: usize| {
                    let start = (at * GATES + gate) * hidden + units.start;
                    // SAFETY: every task has its own examples and units.
                    unsafe { gates.part(start..start + width) }
                };
                for gate in 0..GATES {
                    let sums = &mut sums[(gate * rows.len() + i) * width..][..width];
                    recurrent::add(sums, &bias[gate * hidden + units.start..][..width]);
                }
                let sum = |gate: usize| &sums[(gate * rows.len() + i) * width..][..width];
                // SAFETY: as above.
                let (h, from_state, y) =
                    unsafe { (new.part(here.clone()), from_state.part(there.clone()), y.part(there)) };
                from_state.copy_from_slice(sum(2));
                h.copy_from_slice(&state[here]);
                let gates = [gate(0), gate(1), gate(2)];
                simd::dispatch(Unit { gates, sums: [sum(0), sum(1), sum(2)], h: &mut *h });
                y.copy_from_slice(h);
            }
        });
    }
    Forward { y, gates, from_state }
}

/// Gates and new state of some units.
struct Unit<'a> {
    /// The inputs' part of the sums, with its bias, that become the gates.
    gates: [&'a mut [f32]; GATES],
    /// The state's part of the sums, with its bias.
    sums: [&'a [f32]; GATES],
    h: &'a mut [f32],
}

impl WithSimd for Unit<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let len = self.h.len();
        let [reset, update, new] = self.gates.map(|gate| &mut gate[..len]);
        let [reset_sum, update_sum, new_sum] = self.sums.map(|sums| &sums[..len]);
        let h = self.h;
        for j in 0..len {
            reset[j] = Sigmoid.value(reset[j] + reset_sum[j]);
        }
        for j in 0..len {
            update[j] = Sigmoid.value(update[j] + update_sum[j]);
        }
        for j in 0..len {
            new[j] = Tanh.value(new[j] + reset[j] * new_sum[j]);
        }
        for j in 0..len {
            h[j] = new[j] + update[j] * (h[j] - new[j]);
        }
    }
}

/// Turns the gates of some units into the gradients in front of their functions, and the gradient of the state behind the
/// step into the part of that of the state in front of it which does not go through the gates.
struct UnitBackward<'a> {
    reset: &'a mut [f32],
    update: &'a mut [f32],
    new: &'a mut [f32],
    from_state: &'a [f32],
    previous: &'a [f32],
    dh: &'a mut [f32],
    /// The gradient of [`Forward::from_state`].
    d_from_state: &'a mut [f32],
}

impl WithSimd for UnitBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let dh = self.dh;
        let len = dh.len();
        let (reset, update, new) = (&mut self.reset[..len], &mut self.update[..len], &mut self.new[..len]);
        let (from_state, previous) = (&self.from_state[..len], &self.previous[..len]);
        let d_from_state = &mut self.d_from_state[..len];
        for j in 0..len {
            let (r, u, n, d) = (reset[j], update[j], new[j], dh[j]);
            let dn = d * (1.0 - u) * Tanh.slope(0.0, n);
            update[j] = d * (previous[j] - n) * Sigmoid.slope(0.0, u);
            reset[j] = dn * from_state[j] * Sigmoid.slope(0.0, r);
            new[j] = dn;
            d_from_state[j] = dn * r;
            dh[j] = d * u;
        }
    }
}

#[derive(Debug)]
struct Gru;

#[derive(Clone, Debug)]
struct State {
    size: Size,
    x: FlexTensor,
    w_input: FlexTensor,
    w_hidden: FlexTensor,
    h: FlexTensor,
    y: FlexTensor,
    gates: FlexTensor,
    from_state: FlexTensor,
}

impl Backward<Flex, 6> for Gru {
    type State = State;

    fn backward(self, ops: Ops<State, 6>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let dy = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let mut state = ops.state;
        let size = state.size;
        let Size { batch, inputs, hidden, .. } = size;
        let outputs = GATES * hidden;
        let Sums { hidden: dz_hidden, first, mut dh } = backward(&mut state, values(&dy));
        let dz_input = values(&state.gates);
        let [x_node, w_input_node, w_hidden_node, bias_input_node, bias_hidden_node, h_node] = ops.parents;
        if let Some(node) = w_input_node {
            let dw = linear::weight_gradient(size.input_product(), values(&state.x), dz_input);
            gradients.register::<Flex>(node.id, operand::tensor(dw, &[inputs, outputs]));
        }
        if let Some(node) = w_hidden_node {
            let previous = recurrent::previous(&size, values(&state.h), values(&state.y));
            let dw = linear::weight_gradient(size.hidden_product(), &previous, &dz_hidden);
            gradients.register::<Flex>(node.id, operand::tensor(dw, &[hidden, outputs]));
        }
        for (node, dz) in [(bias_input_node, dz_input), (bias_hidden_node, &dz_hidden)] {
            if let Some(node) = node {
                let db = operand::tensor(sums::columns(dz, outputs), &[outputs]);
                gradients.register::<Flex>(node.id, db);
            }
        }
        if let Some(node) = x_node {
            let dx = recurrent::through(size.input_product(), dz_input, values(&state.w_input));
            gradients.register::<Flex>(node.id, operand::tensor(dx, state.x.layout().shape()));
        }
        if let Some(node) = h_node {
            let size = linear::Size { rows: batch, ..size.hidden_product() };
            let through_gates = recurrent::through(size, &first, values(&state.w_hidden));
            recurrent::add(&mut dh, &through_gates);
            gradients.register::<Flex>(node.id, operand::tensor(dh, &[batch, hidden]));
        }
    }
}

/// What [`backward`] leaves beside the gradients of the inputs' sums.
struct Sums {
    /// Gradients of the state's part of the sums, `[batch, time, gates · hidden]`.
    hidden: Buffer,
    /// Those of the first step, `[batch, gates · hidden]`.
    first: Buffer,
    /// The part of the gradient of the first state that does not go through the gates.
    dh: Buffer,
}

/// Turns the gates of all steps into gradients in front of their functions.
fn backward(state: &mut State, dy: &[f32]) -> Sums {
    let size = state.size;
    let Size { batch, time, hidden, .. } = size;
    let weights = Packed::transposed(values(&state.w_hidden), hidden, GATES);
    let mut sums = Buffer::take(batch * time * GATES * hidden);
    let mut dh = Buffer::zeros(batch * hidden);
    let mut later = Buffer::take(batch * GATES * hidden);
    let (y, h, from_state) = (values(&state.y), values(&state.h), values(&state.from_state));
    {
        let gates = Shared::new(state.gates.storage_mut());
        let sums = Shared::new(&mut sums);
        let dh = Shared::new(&mut dh);
        recurrent::steps(&size, (0..time).rev(), &mut later, |step, rows, units, later, new| {
            let width = units.len();
            let mut through_gates = Buffer::zeros(rows.len() * width);
            if step + 1 < time {
                weights.multiply(later, rows.clone(), units.clone(), &mut through_gates);
            }
            for (row, through_gates) in rows.zip(through_gates.chunks_exact(width)) {
                let at = row * time + step;
                let here = row * hidden + units.start..row * hidden + units.end;
                let there = at * hidden + units.start..at * hidden + units.end;
                let previous = match step {
                    0 => &h[here.clone()],
                    _ => &y[there.start - hidden..there.end - hidden],
                };
                let gate = |row: usize, gate: usize| {
                    let start = (row * GATES + gate) * hidden + units.start;
                    start..start + width
                };
                // SAFETY: every task has its own examples and units.
                let (dh, reset, update, candidate, d_from_state) = unsafe {
                    (
                        dh.part(here),
                        gates.part(gate(at, 0)),
                        gates.part(gate(at, 1)),
                        gates.part(gate(at, 2)),
                        sums.part(gate(at, 2)),
                    )
                };
                recurrent::add(dh, through_gates);
                recurrent::add(dh, &dy[there.clone()]);
                simd::dispatch(UnitBackward {
                    reset: &mut *reset,
                    update: &mut *update,
                    new: candidate,
                    from_state: &from_state[there],
                    previous,
                    dh,
                    d_from_state: &mut *d_from_state,
                });
                // SAFETY: as above.
                unsafe {
                    sums.part(gate(at, 0)).copy_from_slice(reset);
                    sums.part(gate(at, 1)).copy_from_slice(update);
                    new.part(gate(row, 0)).copy_from_slice(reset);
                    new.part(gate(row, 1)).copy_from_slice(update);
                    new.part(gate(row, 2)).copy_from_slice(d_from_state);
                }
            }
        });
    }
    Sums { hidden: sums, first: later, dh }
}
