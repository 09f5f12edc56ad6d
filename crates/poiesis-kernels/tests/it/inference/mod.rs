//! Every row by itself against many at once, bit by bit; against plain loops in f64; against the operations on tensors.

mod attention;
mod functions;
mod products;

use poiesis_kernels::Activation;
use poiesis_kernels::inference::{
    KeyValueCache, PackedLinear, Rows, RowsMut, activate, gate, gate_halves, log_softmax, lstm_cell,
    rms_norm, softmax,
};

use self::attention::Attention;
use self::products::Product;
use crate::common::{assert_same_for_any_threads, limit_instruction_set, numbers};

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Numbers in (−8, 8).
fn wide(count: usize, seed: u64) -> Vec<f32> {
    numbers(count, seed).iter().map(|x| 8.0 * x).collect()
}

#[test]
fn the_same_for_any_number_of_threads() {
    assert_same_for_any_threads(|| {
        let products = [[16, 576, 200], [1, 600, 2048], [1000, 300, 70]].map(|[rows, inputs, outputs]| {
            let case = Product { rows, inputs, outputs, gaps: [0, 0], bias: true, add: false };
            let mut out = vec![0.0; rows * outputs];
            case.layer().forward(&numbers(rows * inputs, 3), &mut out);
            out
        });
        let x = wide(90_000, 1);
        let mut results = products.to_vec();
        for function in [
            |x: &mut [f32]| activate(x, Activation::Tanh),
            |x: &mut [f32]| softmax(x, 300),
            |x: &mut [f32]| log_softmax(x, 300),
            |x: &mut [f32]| gate(x, &wide(x.len(), 2), Activation::Silu, Activation::Identity),
        ] {
            let mut x = x.clone();
            function(&mut x);
            results.push(x);
        }
        let mut out = vec![0.0; x.len()];
        rms_norm(&x, &numbers(300, 2), 1e-5, &mut out);
        results.push(out.clone());
        gate_halves(&x, 150, Activation::Tanh, Activation::Sigmoid, &mut out[..45_000]);
        results.push(out);
        let attention = Attention::LARGE;
        results.push(attention.run(700, &[600, 1]));
        results
    });
}

#[test]
fn nothing() {
    limit_instruction_set();
    let layer = PackedLinear::new(&[1.0; 6], None, 2, 3);
    layer.forward(&[], &mut []);
    layer.forward_add(Rows::strided(&[], 5), RowsMut::strided(&mut [], 0, 7));
    activate(&mut [], Activation::Tanh);
    softmax(&mut [], 3);
    rms_norm(&[], &[1.0], 1e-5, &mut []);
}

#[test]
#[should_panic(expected = "input [5] does not fit 2 rows of [2]")]
fn a_wrong_input_panics_with_both() {
    limit_instruction_set();
    PackedLinear::new(&[1.0; 6], None, 2, 3).forward(&[0.0; 5], &mut [0.0; 6]);
}

#[test]
#[should_panic(expected = "output [5] does not fit rows of [3]")]
fn a_wrong_output_panics_with_both() {
    limit_instruction_set();
    PackedLinear::new(&[1.0; 6], None, 2, 3).forward(&[0.0; 4], &mut [0.0; 5]);
}

#[test]
#[should_panic(expected = "2 pieces of [3] do not fit 1 rows of [2]")]
fn wrong_pieces_panic_with_both() {
    limit_instruction_set();
    let layer = PackedLinear::new(&[1.0; 6], None, 2, 3);
    layer.forward(Rows::pieces(&[0.0; 9], 3, &[None, Some(1)]), &mut [0.0; 3]);
}

#[test]
#[should_panic(expected = "weight [5] does not fit [2, 3]")]
fn a_wrong_weight_panics_with_both() {
    limit_instruction_set();
    PackedLinear::new(&[1.0; 5], None, 2, 3);
}

#[test]
#[should_panic(expected = "3 positions do not fit after 0 positions of a cache of [1, 2, 2, 4]")]
fn a_full_cache_panics() {
    limit_instruction_set();
    KeyValueCache::new([1, 2, 2, 4]).append(3, &[0.0; 24], &[0.0; 24]);
}

#[test]
#[should_panic(expected = "input [7] does not fit 1 rows of [8]")]
fn wrong_keys_panic_with_both() {
    limit_instruction_set();
    KeyValueCache::new([1, 2, 2, 4]).append(1, &[0.0; 7], &[0.0; 8]);
}

#[test]
#[should_panic(expected = "gates [9], cells [2] and states [2] do not fit rows of 2 hidden units")]
fn wrong_gates_panic_with_all() {
    limit_instruction_set();
    lstm_cell(&mut [0.0; 9], &mut [0.0; 2], &mut [0.0; 2], 2);
}
