//! A gated recurrent unit over whole sequences as one operation of the graph.
//!
//! Forward: one product for all inputs; in each step a product with packed recurrent weights, and the gates. Backward:
//! in each step the gradients of the gates, from that of the state, and a product with the packed transposed weights; then
//! one product each for inputs and weights.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::autodiff::{BackwardPass, Inputs};
use super::function::{Function, Sigmoid, Tanh};
use super::linear;
use super::operand::{self, Operand, values};
use super::packed::Packed;
use super::parallel::Shared;
use super::pool::Buffer;
use super::recurrent::{self, Size, last, zeros};
use super::simd;
use super::sums;

/// Reset gate, update gate and new state.
const GATES: usize = 3;

/// [`crate::gru`] of tensors on Flex; `None` for others. No size may be 0.
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
    let inputs = Inputs::new([
        Operand::new(x)?,
        Operand::new(w_input)?,
        Operand::new(w_hidden)?,
        Operand::new(bias_input)?,
        Operand::new(bias_hidden)?,
        h,
    ]);
    let [x, w_input, w_hidden, bias_input, bias_hidden, h] = inputs.values();
    let layer = linear::Layer::new(w_input).with_bias(bias_input);
    let gates = linear::product(size.input_product(), x, layer);
    let Forward { y, gates, from_state } = forward(&size, gates, w_hidden, bias_hidden, h);
    let y = operand::tensor(y, &[batch, time, hidden]);
    let y = inputs.finish(y, |[x, w_input, w_hidden, _, _, h], y| Gru {
        size,
        x,
        w_input,
        w_hidden,
        h,
        y: y.clone(),
        gates: operand::tensor(gates, &[batch, time, GATES * hidden]),
        from_state: operand::tensor(from_state, &[batch, time, hidden]),
    });
    Some((y.clone(), last(y)))
}

/// [`crate::gru_step`] of tensors on Flex without autodiff; `None` for others. No size may be 0.
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
        linear::product(size, values(x), linear::Layer::new(values(weight)).with_bias(values(bias)))
    };
    let mut from_input = product(inputs, &x, &w_input, &bias_input);
    let from_state = product(hidden, &h, &w_hidden, &bias_hidden);
    let mut new = Buffer::take(rows * hidden);
    new.copy_from_slice(values(&h));
    cells(&mut from_input, &from_state, &mut new, hidden);
    Some(Tensor::from_primitive::<Flex>(operand::tensor(new, &[rows, hidden])))
}

/// The new states of rows from both parts of their pre-activations, `[rows, gates · hidden]` each, with their biases; the
/// gates overwrite the part of the inputs.
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
    /// The activated gates of every step.
    gates: Buffer,
    /// The state's part of the candidate's pre-activation, which the reset gate multiplies.
    from_state: Buffer,
}

/// All steps; `gates` holds the inputs' part of the pre-activations, with its bias.
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
    /// The inputs' part of the pre-activations, with its bias, overwritten by the gates.
    gates: [&'a mut [f32]; GATES],
    /// The state's part of the pre-activations, with its bias.
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

/// Turns the gates of some units into the gradients of their pre-activations, and the gradient of the state after the
/// step into the part of the gradient of the state before it that does not go through the gates.
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
            let dn = d * (1.0 - u) * Tanh.derivative(0.0, n);
            update[j] = d * (previous[j] - n) * Sigmoid.derivative(0.0, u);
            reset[j] = dn * from_state[j] * Sigmoid.derivative(0.0, r);
            new[j] = dn;
            d_from_state[j] = dn * r;
            dh[j] = d * u;
        }
    }
}

#[derive(Clone, Debug)]
struct Gru {
    size: Size,
    x: FlexTensor,
    w_input: FlexTensor,
    w_hidden: FlexTensor,
    h: FlexTensor,
    y: FlexTensor,
    gates: FlexTensor,
    from_state: FlexTensor,
}

impl BackwardPass<6> for Gru {
    fn gradients(mut self, dy: FlexTensor, needed: [bool; 6]) -> [Option<FlexTensor>; 6] {
        let dy = operand::contiguous(&dy);
        let size = self.size;
        let Size { batch, inputs, hidden, .. } = size;
        let outputs = GATES * hidden;
        let Sums { hidden: dz_hidden, first, mut dh } = backward(&mut self, values(&dy));
        let dz_input = values(&self.gates);
        let [x_needed, w_input_needed, w_hidden_needed, bias_input_needed, bias_hidden_needed, h_needed] =
            needed;
        let dw_input = w_input_needed.then(|| {
            let dw = linear::weight_gradient(size.input_product(), values(&self.x), dz_input);
            operand::tensor(dw, &[inputs, outputs])
        });
        let dw_hidden = w_hidden_needed.then(|| {
            let previous = recurrent::previous(&size, values(&self.h), values(&self.y));
            let dw = linear::weight_gradient(size.hidden_product(), &previous, &dz_hidden);
            operand::tensor(dw, &[hidden, outputs])
        });
        let bias = |dz: &[f32]| operand::tensor(sums::columns(dz, outputs), &[outputs]);
        let dbias_input = bias_input_needed.then(|| bias(dz_input));
        let dbias_hidden = bias_hidden_needed.then(|| bias(&dz_hidden));
        let dx = x_needed.then(|| {
            let dx = recurrent::input_gradient(size.input_product(), dz_input, values(&self.w_input));
            operand::tensor(dx, self.x.layout().shape())
        });
        let dh = h_needed.then(|| {
            let size = linear::Size { rows: batch, ..size.hidden_product() };
            let through_gates = recurrent::input_gradient(size, &first, values(&self.w_hidden));
            recurrent::add(&mut dh, &through_gates);
            operand::tensor(dh, &[batch, hidden])
        });
        [dx, dw_input, dw_hidden, dbias_input, dbias_hidden, dh]
    }
}

/// The results of [`backward`] besides the gradients of the inputs' part of the pre-activations.
struct Sums {
    /// Gradients of the state's part of the pre-activations, `[batch, time, gates · hidden]`.
    hidden: Buffer,
    /// Those of the first step, `[batch, gates · hidden]`.
    first: Buffer,
    /// The part of the gradient of the first state that does not go through the gates.
    dh: Buffer,
}

/// Turns the gates of all steps into gradients of their pre-activations.
fn backward(state: &mut Gru, dy: &[f32]) -> Sums {
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
