//! The LSTM, by the tests of all recurrent layers and some of its own.

use burn::tensor::Tensor;
use poiesis_kernels::internals::default_lstm as default;
use poiesis_kernels::{lstm, lstm_step};

use crate::common::flex_device;
use crate::recurrent::{Arguments, Layer, tests_of};

const LSTM: Layer<1, 2> = Layer {
    name: "lstm",
    gates: 4,
    biases: ["bias"],
    states: ["h", "c"],
    run,
    default: |Arguments { x, w_input, w_hidden, biases: [bias], state }| {
        let (y, (h, c)) = default(x, [w_input, w_hidden], bias, state.map(|[h, c]| (h, c)));
        (y, [h, c])
    },
    step: |x, Arguments { w_input, w_hidden, biases: [bias], state, .. }| {
        let [h, c] = state.unwrap();
        let (h, c) = lstm_step(x, w_input, w_hidden, bias, (h, c));
        [h, c]
    },
    plain: |[from_x, from_h], [bias], [h, c]| {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let hidden = h.len();
        for (j, (h, c)) in h.iter_mut().zip(c).enumerate() {
            let z = [0, 1, 2, 3].map(|gate| gate * hidden + j).map(|j| from_x[j] + from_h[j] + bias[j]);
            *c = sigmoid(z[1]) * *c + sigmoid(z[0]) * z[2].tanh();
            *h = sigmoid(z[3]) * c.tanh();
        }
    },
};

fn run(
    Arguments { x, w_input, w_hidden, biases: [bias], state }: Arguments<1, 2>,
) -> (Tensor<3>, [Tensor<2>; 2]) {
    let (y, (h, c)) = lstm(x, w_input, w_hidden, bias, state.map(|[h, c]| (h, c)));
    (y, [h, c])
}

tests_of!(LSTM);

fn wrong_state() -> [Tensor<2>; 2] {
    [[3, 4], [2, 4]].map(|shape| Tensor::zeros(shape, &flex_device()))
}

#[test]
#[should_panic(expected = "state [3, 4] and [2, 4] must be [2, 4]")]
fn a_wrong_state_of_a_step_panics_with_both_shapes() {
    let all = LSTM.arguments([2, 1, 5, 4], &flex_device());
    let x = all.x.clone().reshape([2, 5]);
    (LSTM.step)(x, Arguments { state: Some(wrong_state()), ..all });
}

#[test]
#[should_panic(expected = "input weights [5, 12] do not fit 5 inputs and recurrent weights [4, 16]")]
fn wrong_weights_panic_with_both_shapes() {
    let all = LSTM.arguments([2, 3, 5, 4], &flex_device());
    run(Arguments { w_input: Tensor::zeros([5, 12], &flex_device()), ..all });
}

#[test]
#[should_panic(expected = "state [3, 4] and [2, 4] must be [2, 4]")]
fn a_wrong_state_panics_with_both_shapes() {
    let all = LSTM.arguments([2, 3, 5, 4], &flex_device());
    run(Arguments { state: Some(wrong_state()), ..all });
}
