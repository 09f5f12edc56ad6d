//! Steps of recurrent layers from the pre-activations of their gates.

use crate::flex;

/// New cells and hidden states `[rows, hidden]` of a long short-term memory from the pre-activations `gates [rows, 4 · hidden]`
/// of the gates i, f, g, o: `c = f ∘ c + i ∘ g`, `h = o ∘ tanh(c)`, as in [`crate::lstm`]. Overwrites the old cells `c`, `h`
/// (whose old contents are ignored), and `gates` with the activated gates.
///
/// The pre-activations are those of [`super::PackedLinear::forward`] of the input with the bias and
/// [`super::PackedLinear::forward_add`] of the hidden state.
///
/// # Panics
///
/// When the lengths do not fit, or `hidden` is 0.
pub fn lstm_cell(gates: &mut [f32], c: &mut [f32], h: &mut [f32], hidden: usize) {
    assert!(
        hidden > 0 && c.len().is_multiple_of(hidden) && c.len() == h.len() && gates.len() == 4 * c.len(),
        "lstm_cell: gates [{}], cells [{}] and states [{}] do not fit rows of {hidden} hidden units",
        gates.len(),
        c.len(),
        h.len(),
    );
    flex::lstm::cells(gates, c, h, hidden);
}

/// New hidden states `[rows, hidden]` of a gated recurrent unit, which overwrite the old ones `h`, from the input's and the
/// state's part of the pre-activations of the gates r, u, n, `[rows, 3 · hidden]` each with its bias:
/// `r, u = σ(from_input + from_state)`, `n = tanh(from_input + r ∘ from_state)`, `h = (1 − u) ∘ n + u ∘ h`, as in
/// [`crate::gru`]. `from_input` is overwritten with the activated gates.
///
/// # Panics
///
/// When the lengths do not fit, or `hidden` is 0.
pub fn gru_cell(from_input: &mut [f32], from_state: &[f32], h: &mut [f32], hidden: usize) {
    assert!(
        hidden > 0
            && h.len().is_multiple_of(hidden)
            && from_input.len() == 3 * h.len()
            && from_state.len() == 3 * h.len(),
        "gru_cell: sums [{}] and [{}] and states [{}] do not fit rows of {hidden} hidden units",
        from_input.len(),
        from_state.len(),
        h.len(),
    );
    flex::gru::cells(from_input, from_state, h, hidden);
}
