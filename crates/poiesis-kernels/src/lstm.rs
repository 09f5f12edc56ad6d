//! Long short-term memory.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::recurrent::check_weights;
use crate::types::Activation;

/// A long short-term memory over sequences `x [batch, time, in]`. Returns the hidden states `y [batch, time, hidden]`, and
/// hidden state and cell after the last step, `[batch, hidden]` each.
///
/// Weights are `w_input [in, 4 · hidden]`, `w_hidden [hidden, 4 · hidden]` and `bias [4 · hidden]`, whose columns are
/// those of the gates i, f, g, o in this order. Without `state`, the initial hidden state and cell are zero. Each step is
///
/// `i, f, o = σ(x · W + h · U + b)`, `g = tanh(x · W + h · U + b)`, `c ← f ∘ c + i ∘ g`, `h ← o ∘ tanh(c)`.
///
/// Differentiable in every argument, and through all three results. To carry the state from one segment of a long
/// sequence to the next without its gradient (truncated backpropagation through time), take its
/// [`inner`](Tensor::inner) tensors.
///
/// Memory: until the backward pass, gates and cells of all steps, `5 · batch · time · hidden` values, besides the
/// arguments and `y`.
///
/// Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn lstm(
    x: Tensor<3>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias: Tensor<1>,
    state: Option<(Tensor<2>, Tensor<2>)>,
) -> (Tensor<3>, (Tensor<2>, Tensor<2>)) {
    let [batch, time, inputs] = x.dims();
    check([batch, inputs], w_input.dims(), w_hidden.dims(), bias.dims(), state.as_ref());
    let is_empty = batch * time * w_hidden.dims()[0] == 0;
    let weights = [w_input, w_hidden];
    if is_empty {
        return default(x, weights, bias, state);
    }
    flex::lstm::lstm(&x, weights.each_ref(), &bias, state.as_ref())
        .unwrap_or_else(|| default(x, weights, bias, state))
}

/// One step of [`lstm`] for `x [batch, in]`: hidden state and cell after it, from those before it, with the same bits as
/// that step of a whole sequence. Differentiable, but intended for inference step by step: without autodiff, small
/// batches use the weights without packing them.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn lstm_step(
    x: Tensor<2>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias: Tensor<1>,
    state: (Tensor<2>, Tensor<2>),
) -> (Tensor<2>, Tensor<2>) {
    check(x.dims(), w_input.dims(), w_hidden.dims(), bias.dims(), Some(&state));
    if x.dims()[0] * w_hidden.dims()[0] == 0 {
        return state;
    }
    flex::lstm::step(&x, [&w_input, &w_hidden], &bias, (&state.0, &state.1))
        .unwrap_or_else(|| lstm(x.unsqueeze_dim::<3>(1), w_input, w_hidden, bias, Some(state)).1)
}

fn check(
    [batch, inputs]: [usize; 2],
    w_input: [usize; 2],
    w_hidden: [usize; 2],
    bias: [usize; 1],
    state: Option<&(Tensor<2>, Tensor<2>)>,
) {
    check_weights("lstm", 4, inputs, w_input, w_hidden);
    let hidden = w_hidden[0];
    assert!(
        bias == [4 * hidden],
        "lstm: bias {bias:?} does not fit recurrent weights {w_hidden:?}: it must be [{}]",
        4 * hidden,
    );
    if let Some((h, c)) = state {
        assert!(
            h.dims() == [batch, hidden] && c.dims() == [batch, hidden],
            "lstm: state {:?} and {:?} must be [{batch}, {hidden}]",
            h.dims(),
            c.dims(),
        );
    }
}

/// The same in Burn's own operations.
#[expect(clippy::needless_pass_by_value, reason = "takes what `lstm` takes")]
pub fn default(
    x: Tensor<3>,
    [w_input, w_hidden]: [Tensor<2>; 2],
    bias: Tensor<1>,
    state: Option<(Tensor<2>, Tensor<2>)>,
) -> (Tensor<3>, (Tensor<2>, Tensor<2>)) {
    let [batch, time, inputs] = x.dims();
    let hidden = w_hidden.dims()[0];
    let device = x.device();
    let zeros = || Tensor::zeros([batch, hidden], &device);
    let (mut h, mut c) = state.unwrap_or_else(|| (zeros(), zeros()));
    if batch * time * hidden == 0 {
        return (Tensor::zeros([batch, time, hidden], &device), (h, c));
    }
    let mut states = Vec::with_capacity(time);
    for step in 0..time {
        let x = x.clone().narrow(1, step, 1).reshape([batch, inputs]);
        let z = x.matmul(w_input.clone()) + h.matmul(w_hidden.clone()) + bias.clone().unsqueeze::<2>();
        let gate = |index: usize, function| {
            activation::default(z.clone().narrow(1, index * hidden, hidden), function)
        };
        let (input, forget) = (gate(0, Activation::Sigmoid), gate(1, Activation::Sigmoid));
        let (new, output) = (gate(2, Activation::Tanh), gate(3, Activation::Sigmoid));
        c = forget * c + input * new;
        h = output * c.clone().tanh();
        states.push(h.clone().unsqueeze_dim::<3>(1));
    }
    (Tensor::cat(states, 1), (h, c))
}
