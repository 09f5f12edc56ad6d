//! Functions of single values and of rows.

use crate::flex::{categorical, elementwise, gate as gates, layer_norm as norm, recurrent};
use crate::types::Activation;

/// Applies `activation` to every value of `x`; same bits as [`crate::activate`].
pub fn activate(x: &mut [f32], activation: Activation) {
    if activation != Activation::Identity {
        elementwise::activate_in_place(x, activation);
    }
}

/// `x = x + y`
///
/// # Panics
///
/// When the lengths differ.
pub fn add(x: &mut [f32], y: &[f32]) {
    assert!(x.len() == y.len(), "add: first [{}] does not fit second [{}]", x.len(), y.len());
    recurrent::add(x, y);
}

/// `a = activation_a(a) · activation_b(b)`; same bits as [`crate::gate`].
///
/// # Panics
///
/// When the lengths differ.
pub fn gate(a: &mut [f32], b: &[f32], activation_a: Activation, activation_b: Activation) {
    assert!(a.len() == b.len(), "gate: first [{}] does not fit second [{}]", a.len(), b.len());
    gates::in_place(a, b, [activation_a, activation_b]);
}

/// `out [rows, width] = activation_a(first) · activation_b(second)` of the halves of each row of `x [rows, 2 · width]`; same
/// bits as [`crate::gate_halves`]. Tanh and Sigmoid give the gate of the gated PixelCNN and of WaveNet, Silu and
/// Identity SwiGLU.
///
/// # Panics
///
/// When the lengths do not fit.
pub fn gate_halves(
    x: &[f32],
    width: usize,
    activation_a: Activation,
    activation_b: Activation,
    out: &mut [f32],
) {
    check_rows("gate_halves", out.len(), width);
    assert!(
        x.len() == 2 * out.len(),
        "gate_halves: output [{}] does not fit input [{}]: it must have half of it",
        out.len(),
        x.len(),
    );
    gates::write_halves(out, x, width, [activation_a, activation_b]);
}

/// Turns each row of `width` logits into probabilities.
///
/// A row whose largest logit is infinite becomes NaN.
///
/// # Panics
///
/// When `x` does not consist of whole rows.
pub fn softmax(x: &mut [f32], width: usize) {
    check_rows("softmax", x.len(), width);
    categorical::normalise(x, width, false);
}

/// Turns each row of `width` logits into log probabilities, in nats; same bits as
/// [`crate::categorical_log_prob`].
///
/// A row whose largest logit is infinite becomes NaN.
///
/// # Panics
///
/// When `x` does not consist of whole rows.
pub fn log_softmax(x: &mut [f32], width: usize) {
    check_rows("log_softmax", x.len(), width);
    categorical::normalise(x, width, true);
}

/// Normalises each row of `x` to root mean square 1 and scales it by `gamma [width]`; same bits as
/// [`crate::rms_norm`].
///
/// # Panics
///
/// When the lengths do not fit.
pub fn rms_norm(x: &[f32], gamma: &[f32], epsilon: f64, out: &mut [f32]) {
    check_norm("rms_norm", x, gamma, out);
    norm::write(out, x, gamma, None, epsilon, false);
}

/// Normalises each row of `x` to mean 0 and variance 1, scales it by `gamma [width]` and adds `beta [width]` if there is one;
/// same bits as [`crate::layer_norm`].
///
/// # Panics
///
/// When the lengths do not fit.
pub fn layer_norm(x: &[f32], gamma: &[f32], beta: Option<&[f32]>, epsilon: f64, out: &mut [f32]) {
    check_norm("layer_norm", x, gamma, out);
    if let Some(beta) = beta {
        assert!(
            gamma.len() == beta.len(),
            "layer_norm: gamma [{}] does not fit beta [{}]",
            gamma.len(),
            beta.len(),
        );
    }
    norm::write(out, x, gamma, beta, epsilon, true);
}

fn check_rows(what: &str, len: usize, width: usize) {
    assert!(
        width > 0 && len.is_multiple_of(width),
        "{what}: [{len}] does not fit rows of [{width}], which must not be empty",
    );
}

fn check_norm(what: &str, x: &[f32], gamma: &[f32], out: &[f32]) {
    check_rows(what, x.len(), gamma.len());
    assert!(x.len() == out.len(), "{what}: input [{}] does not fit output [{}]", x.len(), out.len());
}
