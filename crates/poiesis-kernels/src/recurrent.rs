//! Code shared by [`gru`](crate::gru()) and [`lstm`](crate::lstm()): the checks of their weights.

/// Panics unless the weights of `gates` gates fit each other and `inputs` inputs.
pub(crate) fn check_weights(
    name: &str,
    gates: usize,
    inputs: usize,
    w_input: [usize; 2],
    w_hidden: [usize; 2],
) {
    let hidden = w_hidden[0];
    let width = gates * hidden;
    assert!(
        w_hidden[1] == width,
        "{name}: recurrent weights {w_hidden:?} must be [hidden, {gates} · hidden], here [{hidden}, {width}]",
    );
    assert!(
        w_input == [inputs, width],
        "{name}: input weights {w_input:?} do not fit {inputs} inputs and recurrent weights {w_hidden:?}",
    );
}
