//! A gated recurrent unit over whole sequences as one operation of the graph.
//!
//! Forward: one product for all inputs; in each step a product with packed recurrent weights, and the gates. Backward:
//! in each step the gradients of the gates, from that of the state, and a product with the packed transposed weights; then
//! one product each for inputs and weights.

#![expect(unsafe_code, reason = "tasks write interleaved parts of one array through `Shared`")]

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function::{Function, Sigmoid, Tanh};
use super::linear;
use super::operand::{self, Operand, values};
use super::parallel::Shared;
use super::pool::Buffer;
use super::recurrent::{self, Saved, Size, last};
use super::simd::{self, Loops};

/// Reset gate, update gate and new state.
const GATES: usize = 3;

/// [`crate::gru`] of tensors on Flex; `None` for others. No size may be 0.
pub(crate) fn gru(
    x: &Tensor<3>,
    weights: [&Tensor<2>; 2],
    [bias_input, bias_hidden]: [&Tensor<1>; 2],
    state: Option<&Tensor<2>>,
) -> Option<(Tensor<3>, Tensor<2>)> {
    let size = Size::new(x.dims(), weights[1].dims());
    let rest = [Operand::new(bias_hidden)?, recurrent::state(state, &size)?];
    let inputs = Inputs::new(recurrent::operands(x, weights, bias_input, rest)?);
    let [x, w_input, w_hidden, bias_input, bias_hidden, h] = inputs.values();
    let layer = linear::Layer::new(w_input).with_bias(bias_input);
    let gates = linear::product(size.input_product(), x, layer);
    let Forward { y, gates, from_state } = forward(&size, gates, w_hidden, bias_hidden, h);
    let y = operand::tensor(y, &size.states());
    let y = inputs.finish(y, |[x, w_input, w_hidden, _, _, h], y| Gru {
        saved: Saved::new(size, [x, w_input, w_hidden, h], y, gates),
        from_state: operand::tensor(from_state, &size.states()),
    });
    Some((y.clone(), last(y)))
}

/// [`crate::gru_step`] of tensors on Flex without autodiff; `None` for others. No size may be 0.
pub(crate) fn step(
    x: &Tensor<2>,
    weights: [&Tensor<2>; 2],
    [bias_input, bias_hidden]: [&Tensor<1>; 2],
    h: &Tensor<2>,
) -> Option<Tensor<2>> {
    let [rows, inputs] = x.dims();
    let hidden = h.dims()[1];
    let rest = [Operand::new(bias_hidden)?, Operand::new(h)?];
    let operands = recurrent::operands(x, weights, bias_input, rest)?;
    let [x, w_input, w_hidden, bias_input, bias_hidden, h] = operand::constants(operands)?;
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
        simd::run_loops(Unit { gates: [reset, update, candidate], sums, h });
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
    let mut from_state = Buffer::take(size.states().iter().product());
    let y = {
        let (gates, from_state) = (Shared::new(&mut gates), Shared::new(&mut from_state));
        recurrent::forward(size, w_hidden, h, |place, mut sums: [&mut [f32]; GATES], old, h| {
            // SAFETY: every task has its own examples and units.
            let (gates, from_state) = unsafe { (place.gates(&gates), from_state.part(place.states())) };
            for (gate, sums) in sums.iter_mut().enumerate() {
                recurrent::add(sums, &bias[place.columns(gate)]);
            }
            from_state.copy_from_slice(sums[2]);
            h.copy_from_slice(old);
            simd::run_loops(Unit { gates, sums: sums.map(|sums| &*sums), h });
        })
    };
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

impl Loops for Unit<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { gates, sums, h } = self;
        let len = h.len();
        let [reset, update, new] = gates.map(|gate| &mut gate[..len]);
        let [reset_sum, update_sum, new_sum] = sums.map(|sums| &sums[..len]);
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
    gates: [&'a mut [f32]; GATES],
    from_state: &'a [f32],
    previous: &'a [f32],
    dh: &'a mut [f32],
    /// The gradient of [`Forward::from_state`].
    d_from_state: &'a mut [f32],
}

impl Loops for UnitBackward<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { gates, from_state, previous, dh, d_from_state } = self;
        let len = dh.len();
        let [reset, update, new] = gates.map(|gate| &mut gate[..len]);
        let (from_state, previous) = (&from_state[..len], &previous[..len]);
        let d_from_state = &mut d_from_state[..len];
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
    saved: Saved,
    from_state: FlexTensor,
}

impl BackwardPass<6> for Gru {
    fn gradients(mut self, dy: FlexTensor, needed: [bool; 6]) -> [Option<FlexTensor>; 6] {
        let Sums { hidden: dz_hidden, first, mut dh } = backward(&mut self, values(&dy));
        let saved = &self.saved;
        let dz_input = values(&saved.gates);
        let [x, w_input, w_hidden, bias_input, bias_hidden, h] = needed;
        let [dx, dw_input, dw_hidden] = saved.gradients([dz_input, &dz_hidden], [x, w_input, w_hidden]);
        let dbias_input = bias_input.then(|| saved.bias_gradient(dz_input));
        let dbias_hidden = bias_hidden.then(|| saved.bias_gradient(&dz_hidden));
        let dh = h.then(|| {
            recurrent::add(&mut dh, &saved.first_state_gradient(&first));
            operand::tensor(dh, &saved.size.state())
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
    let saved = &mut state.saved;
    let size = saved.size;
    let mut sums = Buffer::take(size.gates().iter().product());
    let mut dh = Buffer::zeros(size.state().iter().product());
    let (y, h, from_state) = (values(&saved.y), values(&saved.h), values(&state.from_state));
    let first = {
        let gates = Shared::new(saved.gates.storage_mut());
        let (sums, dh) = (Shared::new(&mut sums), Shared::new(&mut dh));
        recurrent::backward(
            &size,
            values(&saved.w_hidden),
            |place, through_gates, later: [&mut [f32]; GATES]| {
                // SAFETY: every task has its own examples and units.
                let (dh, mut gates, sums): (_, [_; GATES], [_; GATES]) =
                    unsafe { (dh.part(place.state()), place.gates(&gates), place.gates(&sums)) };
                recurrent::add(dh, through_gates);
                recurrent::add(dh, &dy[place.states()]);
                let [reset_sum, update_sum, d_from_state] = sums;
                simd::run_loops(UnitBackward {
                    gates: gates.each_mut().map(|gate| &mut **gate),
                    from_state: &from_state[place.states()],
                    previous: place.previous(h, y),
                    dh,
                    d_from_state: &mut *d_from_state,
                });
                reset_sum.copy_from_slice(gates[0]);
                update_sum.copy_from_slice(gates[1]);
                for (later, sum) in later.into_iter().zip([reset_sum, update_sum, d_from_state]) {
                    later.copy_from_slice(sum);
                }
            },
        )
    };
    Sums { hidden: sums, first, dh }
}
