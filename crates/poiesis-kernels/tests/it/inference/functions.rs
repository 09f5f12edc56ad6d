//! Functions of values and of rows, against the operations on tensors.

use burn::tensor::{Int, Tensor, TensorData};
use poiesis_kernels::Activation;
use poiesis_kernels::inference::{
    PackedLinear, activate, gate, gate_halves, gru_cell, layer_norm, log_softmax, lstm_cell, rms_norm,
    softmax,
};

use super::{bits, wide};
use crate::common::{ACTIVATIONS, assert_close, flex_device, numbers, tensor, values};

#[test]
fn functions_are_those_of_tensors_and_the_same_in_a_rest() {
    let device = flex_device();
    for activation in ACTIVATIONS {
        for count in [1, 15, 16, 17, 63, 1000, 40_000] {
            let (x, z) = (wide(count, 1), wide(count, 2));
            let expected = values(poiesis_kernels::activate(tensor(&x, [count], &device), activation));
            let mut got = x.clone();
            activate(&mut got, activation);
            assert_eq!(bits(&got), bits(&expected), "{activation:?} of {count}");
            for i in [0, count / 2, count - 1] {
                let mut one = [x[i]];
                activate(&mut one, activation);
                assert_eq!(one[0].to_bits(), expected[i].to_bits(), "{activation:?} of {}", x[i]);
            }
            let pair = [&x, &z].map(|x| tensor(x, [count], &device));
            let [a, b] = pair;
            let expected = values(poiesis_kernels::gate(a, b, activation, Activation::Sigmoid));
            let mut got = x.clone();
            gate(&mut got, &z, activation, Activation::Sigmoid);
            assert_eq!(bits(&got), bits(&expected), "gate of {activation:?} of {count}");
        }
    }
}

#[test]
fn halves_are_those_of_tensors() {
    for [rows, width] in [[1, 1], [7, 33], [3, 3000], [500, 64]] {
        let x = wide(rows * 2 * width, 1);
        let y = poiesis_kernels::gate_halves(
            tensor(&x, [rows, 2 * width], &flex_device()),
            Activation::Tanh,
            Activation::Sigmoid,
        );
        let mut got = vec![0.0; rows * width];
        gate_halves(&x, width, Activation::Tanh, Activation::Sigmoid, &mut got);
        assert_eq!(bits(&got), bits(&values(y)), "{rows} of {width}");
    }
}

#[test]
fn norms_are_those_of_tensors() {
    let device = flex_device();
    for [rows, width] in [[1, 1], [7, 33], [3, 5000], [900, 64]] {
        let (x, gamma, beta) = (wide(rows * width, 1), numbers(width, 2), numbers(width, 3));
        let array = || tensor(&x, [rows, width], &device);
        let vector = |x: &[f32]| tensor(x, [width], &device);
        let mut got = vec![0.0; x.len()];
        rms_norm(&x, &gamma, 1e-5, &mut got);
        assert_eq!(bits(&got), bits(&values(poiesis_kernels::rms_norm(array(), vector(&gamma), 1e-5))));
        for beta in [None, Some(&beta[..])] {
            let expected = poiesis_kernels::layer_norm(array(), vector(&gamma), beta.map(vector), 1e-5);
            layer_norm(&x, &gamma, beta, 1e-5, &mut got);
            assert_eq!(bits(&got), bits(&values(expected)), "{rows} of {width}");
        }
    }
}

#[test]
fn probabilities() {
    for [rows, width] in [[1, 1], [5, 3], [7, 256], [300, 40], [2, 9000]] {
        let x = wide(rows * width, 1);
        let (mut logs, mut probabilities) = (x.clone(), x.clone());
        log_softmax(&mut logs, width);
        softmax(&mut probabilities, width);
        for row in 0..rows {
            let range = row * width..(row + 1) * width;
            let exact: Vec<f64> = x[range.clone()].iter().map(|&x| f64::from(x)).collect();
            let log_sum = exact.iter().map(|x| x.exp()).sum::<f64>().ln();
            let expected: Vec<f64> = exact.iter().map(|x| x - log_sum).collect();
            assert_close(&logs[range.clone()], &expected, 3e-7, "log_softmax");
            let expected: Vec<f64> = expected.into_iter().map(f64::exp).collect();
            assert_close(&probabilities[range.clone()], &expected, 2e-6, "softmax");
            let mut alone = x[range.clone()].to_vec();
            log_softmax(&mut alone, width);
            assert_eq!(bits(&alone), bits(&logs[range.clone()]));
            alone.copy_from_slice(&x[range.clone()]);
            softmax(&mut alone, width);
            assert_eq!(bits(&alone), bits(&probabilities[range]));
        }
        let targets: Vec<i64> = (0..rows).map(|i| (i * 7 % width) as i64).collect();
        let taken: Vec<f32> =
            targets.iter().zip(logs.chunks_exact(width)).map(|(&t, row)| row[t as usize]).collect();
        let device = flex_device();
        let targets = Tensor::<1, Int>::from_data(TensorData::new(targets, [rows]), &device);
        let expected = poiesis_kernels::categorical_log_prob(tensor(&x, [rows, width], &device), targets);
        assert_eq!(bits(&taken), bits(&values(expected)));
    }
}

#[test]
fn cells_are_those_of_the_recurrent_layers() {
    let device = flex_device();
    for [rows, inputs, hidden] in [[1, 3, 5], [7, 20, 64], [33, 70, 130]] {
        let (x, h, c) = (numbers(rows * inputs, 1), numbers(rows * hidden, 2), numbers(rows * hidden, 3));
        let array = |x: &[f32], width: usize| tensor(x, [rows, width], &device);
        let weight = |inputs: usize, gates: usize, seed| {
            // As large as a layer begins with.
            let scale = 1.0 / (inputs as f32).sqrt();
            let values: Vec<f32> =
                numbers(inputs * gates * hidden, seed).into_iter().map(|w| w * scale).collect();
            (values.clone(), tensor(&values, [inputs, gates * hidden], &device))
        };
        let bias = |gates: usize, seed| {
            let values = numbers(gates * hidden, seed);
            (values.clone(), tensor(&values, [gates * hidden], &device))
        };
        let layer = |weight: &[f32], bias: Option<&[f32]>, inputs: usize, gates: usize| {
            PackedLinear::new(weight, bias, inputs, gates * hidden)
        };
        let close = |got: &[f32], expected: Tensor<2>, what: &str| {
            let expected: Vec<f64> = values(expected).into_iter().map(f64::from).collect();
            assert_close(got, &expected, 2e-6, &format!("{what} of {hidden} units"));
        };

        let ((w, w_tensor), (u, u_tensor), (b, b_tensor)) =
            (weight(inputs, 4, 4), weight(hidden, 4, 5), bias(4, 6));
        let state = (array(&h, hidden), array(&c, hidden));
        let expected = poiesis_kernels::lstm_step(array(&x, inputs), w_tensor, u_tensor, b_tensor, state);
        let mut gates = vec![0.0; rows * 4 * hidden];
        layer(&w, Some(&b), inputs, 4).forward(&x, &mut gates);
        layer(&u, None, hidden, 4).forward_add(&h, &mut gates);
        let (mut new_c, mut new_h) = (c.clone(), vec![f32::NAN; rows * hidden]);
        lstm_cell(&mut gates, &mut new_c, &mut new_h, hidden);
        close(&new_h, expected.0, "h");
        close(&new_c, expected.1, "c");

        let ((w, w_tensor), (u, u_tensor)) = (weight(inputs, 3, 7), weight(hidden, 3, 8));
        let ((b, b_tensor), (d, d_tensor)) = (bias(3, 9), bias(3, 10));
        let expected = poiesis_kernels::gru_step(
            array(&x, inputs),
            w_tensor,
            u_tensor,
            b_tensor,
            d_tensor,
            array(&h, hidden),
        );
        let [mut from_input, mut from_state] = [(); 2].map(|()| vec![0.0; rows * 3 * hidden]);
        layer(&w, Some(&b), inputs, 3).forward(&x, &mut from_input);
        layer(&u, Some(&d), hidden, 3).forward(&h, &mut from_state);
        let row = rows / 2;
        let range = |width: usize| row * width..(row + 1) * width;
        let (mut alone, mut alone_h) = (from_input[range(3 * hidden)].to_vec(), h[range(hidden)].to_vec());
        gru_cell(&mut alone, &from_state[range(3 * hidden)], &mut alone_h, hidden);
        let mut new_h = h.clone();
        gru_cell(&mut from_input, &from_state, &mut new_h, hidden);
        close(&new_h, expected, "h of the GRU");
        assert_eq!(bits(&alone_h), bits(&new_h[range(hidden)]));
    }
}
