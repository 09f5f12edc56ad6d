//! The GRU, by the tests of all recurrent layers and some of its own.

use burn::tensor::Tensor;
use poiesis_kernels::internals::default_gru as default;
use poiesis_kernels::{gru, gru_step};

use crate::common::flex_device;
use crate::recurrent::{Arguments, Layer, tests_of};

const GRU: Layer<2, 1> = Layer {
    name: "gru",
    gates: 3,
    biases: ["bias_input", "bias_hidden"],
    states: ["h"],
    run,
    default: |Arguments { x, w_input, w_hidden, biases, state }| {
        let (y, h) = default(x, [w_input, w_hidden], biases, state.map(|[h]| h));
        (y, [h])
    },
    step: |x, Arguments { w_input, w_hidden, biases: [b, d], state, .. }| {
        let [h] = state.unwrap();
        [gru_step(x, w_input, w_hidden, b, d, h)]
    },
    plain: |[from_x, from_h], [b, d], [h]| {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let hidden = h.len();
        for (j, h) in h.iter_mut().enumerate() {
            let sums = [0, 1, 2].map(|gate| gate * hidden + j).map(|j| [from_x[j] + b[j], from_h[j] + d[j]]);
            let [r, z] = [sums[0], sums[1]].map(|[from_x, from_h]| sigmoid(from_x + from_h));
            let n = (sums[2][0] + r * sums[2][1]).tanh();
            *h = (1.0 - z) * n + z * *h;
        }
    },
};

fn run(
    Arguments { x, w_input, w_hidden, biases: [b, d], state }: Arguments<2, 1>,
) -> (Tensor<3>, [Tensor<2>; 1]) {
    let (y, h) = gru(x, w_input, w_hidden, b, d, state.map(|[h]| h));
    (y, [h])
}

tests_of!(GRU);

#[test]
#[should_panic(expected = "state Some([3, 4]) must be [2, 4]")]
fn a_wrong_state_of_a_step_panics_with_both_shapes() {
    let Arguments { x, w_input, w_hidden, biases: [b, d], .. } = GRU.arguments([2, 1, 5, 4], &flex_device());
    gru_step(x.reshape([2, 5]), w_input, w_hidden, b, d, Tensor::zeros([3, 4], &flex_device()));
}

#[test]
#[should_panic(expected = "input weights [5, 16] do not fit 5 inputs and recurrent weights [4, 12]")]
fn wrong_weights_panic_with_both_shapes() {
    let all = GRU.arguments([2, 3, 5, 4], &flex_device());
    run(Arguments { w_input: Tensor::zeros([5, 16], &flex_device()), state: None, ..all });
}

#[test]
#[should_panic(expected = "state Some([3, 4]) must be [2, 4]")]
fn a_wrong_state_panics_with_both_shapes() {
    let all = GRU.arguments([2, 3, 5, 4], &flex_device());
    run(Arguments { state: Some([Tensor::zeros([3, 4], &flex_device())]), ..all });
}
