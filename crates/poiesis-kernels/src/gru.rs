//! Gated recurrent unit.

use burn::tensor::Tensor;

use crate::activation;
use crate::flex;
use crate::recurrent::check_weights;
use crate::types::Activation;

/// A gated recurrent unit over sequences `x [batch, time, in]`. Returns the hidden states `y [batch, time, hidden]`, and the
/// state after the last step, `[batch, hidden]`.
///
/// Weights are `w_input [in, 3 · hidden]`, `w_hidden [hidden, 3 · hidden]`, `bias_input` and `bias_hidden
/// [3 · hidden]`, whose columns are those of r, z, n in this order. Without `state`, the initial hidden state is
/// zero. Each step is
///
/// `r, z = σ(x · W + b + h · U + d)`, `n = tanh(x · W + b + r ∘ (h · U + d))`, `h ← (1 − z) ∘ n + z ∘ h`
///
/// with `W, U, b, d` the weights in the order of the arguments. The reset gate multiplies the product with the recurrent
/// weights, as in cuDNN and PyTorch, and not the state before that product.
///
/// Differentiable in every argument, and through both results. To carry the state from one segment of a long
/// sequence to the next without its gradient (truncated backpropagation through time), take its
/// [`inner`](Tensor::inner) tensor.
///
/// Memory: until the backward pass, `4 · batch · time · hidden` values, besides the arguments and `y`.
///
/// Source: Cho et al. 2014; this form: Chung et al. 2014 with the reset gate after the product.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn gru(
    x: Tensor<3>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias_input: Tensor<1>,
    bias_hidden: Tensor<1>,
    state: Option<Tensor<2>>,
) -> (Tensor<3>, Tensor<2>) {
    let [batch, time, inputs] = x.dims();
    let state_shape = state.as_ref().map(Tensor::dims);
    let biases = [bias_input.dims(), bias_hidden.dims()];
    check([batch, inputs], w_input.dims(), w_hidden.dims(), biases, state_shape);
    let is_empty = batch * time * w_hidden.dims()[0] == 0;
    let (weights, biases) = ([w_input, w_hidden], [bias_input, bias_hidden]);
    if is_empty {
        return default(x, weights, biases, state);
    }
    flex::gru::gru(&x, weights.each_ref(), biases.each_ref(), state.as_ref())
        .unwrap_or_else(|| default(x, weights, biases, state))
}

/// One step of [`gru`] for `x [batch, in]`: the hidden state after it, from the one before it, with the same bits as that
/// step of a whole sequence. Differentiable, but intended for inference step by step: without autodiff, small
/// batches use the weights without packing them.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub fn gru_step(
    x: Tensor<2>,
    w_input: Tensor<2>,
    w_hidden: Tensor<2>,
    bias_input: Tensor<1>,
    bias_hidden: Tensor<1>,
    state: Tensor<2>,
) -> Tensor<2> {
    let biases = [bias_input.dims(), bias_hidden.dims()];
    check(x.dims(), w_input.dims(), w_hidden.dims(), biases, Some(state.dims()));
    if x.dims()[0] * w_hidden.dims()[0] == 0 {
        return state;
    }
    flex::gru::step(&x, [&w_input, &w_hidden], [&bias_input, &bias_hidden], &state).unwrap_or_else(|| {
        gru(x.unsqueeze_dim::<3>(1), w_input, w_hidden, bias_input, bias_hidden, Some(state)).1
    })
}

fn check(
    [batch, inputs]: [usize; 2],
    w_input: [usize; 2],
    w_hidden: [usize; 2],
    biases: [[usize; 1]; 2],
    state: Option<[usize; 2]>,
) {
    check_weights("gru", 3, inputs, w_input, w_hidden);
    let hidden = w_hidden[0];
    let [input, recurrent] = biases;
    assert!(
        biases == [[3 * hidden]; 2],
        "gru: biases {input:?} and {recurrent:?} do not fit recurrent weights {w_hidden:?}: each must be [{}]",
        3 * hidden,
    );
    assert!(
        state.is_none_or(|state| state == [batch, hidden]),
        "gru: state {state:?} must be [{batch}, {hidden}]",
    );
}

/// The same in Burn's own operations.
#[expect(clippy::needless_pass_by_value, reason = "takes what `gru` takes")]
pub fn default(
    x: Tensor<3>,
    [w_input, w_hidden]: [Tensor<2>; 2],
    [bias_input, bias_hidden]: [Tensor<1>; 2],
    state: Option<Tensor<2>>,
) -> (Tensor<3>, Tensor<2>) {
    let [batch, time, inputs] = x.dims();
    let hidden = w_hidden.dims()[0];
    let device = x.device();
    let mut h = state.unwrap_or_else(|| Tensor::zeros([batch, hidden], &device));
    if batch * time * hidden == 0 {
        return (Tensor::zeros([batch, time, hidden], &device), h);
    }
    let mut states = Vec::with_capacity(time);
    for step in 0..time {
        let x = x.clone().narrow(1, step, 1).reshape([batch, inputs]);
        let from_x = x.matmul(w_input.clone()) + bias_input.clone().unsqueeze::<2>();
        let from_h = h.clone().matmul(w_hidden.clone()) + bias_hidden.clone().unsqueeze::<2>();
        let part = |sums: &Tensor<2>, index: usize| sums.clone().narrow(1, index * hidden, hidden);
        let sigmoid =
            |index| activation::default(part(&from_x, index) + part(&from_h, index), Activation::Sigmoid);
        let (reset, update) = (sigmoid(0), sigmoid(1));
        let new = (part(&from_x, 2) + reset * part(&from_h, 2)).tanh();
        h = new.clone() + update * (h - new);
        states.push(h.clone().unsqueeze_dim::<3>(1));
    }
    (Tensor::cat(states, 1), h)
}
