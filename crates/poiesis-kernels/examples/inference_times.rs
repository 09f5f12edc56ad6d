//! Times of the building blocks for generating: `cargo run --release --example inference_times -- [--threads T]`.

#![expect(clippy::print_stdout, reason = "a measurement for people")]

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use poiesis_kernels::inference::{
    KeyValueCache, PackedLinear, activate, gate_halves, log_softmax, lstm_cell,
};
use poiesis_kernels::{Activation, linear};

#[path = "common/mod.rs"]
mod common;
use common::Arguments;

/// Prints the least and the median microseconds of `work`, called for a tenth of a second.
fn measure(name: &str, mut work: impl FnMut()) {
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 20 || begin.elapsed().as_millis() < 200 {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    println!("{name:44} {:10.2} least {:10.2} median µs", times[0], times[times.len() / 2]);
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0).collect()
}

fn main() {
    let _ = Arguments::read(1, 1);
    rayon::scope(|_| all());
}

fn all() {
    let device = Device::flex();
    for [rows, inputs, outputs] in [
        [1, 64, 64],
        [1, 256, 1024],
        [1, 512, 2048],
        [16, 64, 128],
        [16, 576, 128],
        [64, 512, 512],
        [784 * 16, 576, 128],
    ] {
        let layer = PackedLinear::new(&numbers(inputs * outputs), Some(&numbers(outputs)), inputs, outputs);
        let x = numbers(rows * inputs);
        let mut out = vec![0.0; rows * outputs];
        measure(&format!("PackedLinear {rows}×{inputs}→{outputs}"), || layer.forward(&x, &mut out));
        let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
        let (x, weight) = (random([rows, inputs]), random([inputs, outputs]));
        let bias = Tensor::<1>::zeros([outputs], &device);
        measure(&format!("linear       {rows}×{inputs}→{outputs}"), || {
            let _ = linear(x.clone(), weight.clone(), Some(bias.clone()), Activation::Identity);
        });
    }
    let (heads, dim, time) = (4, 32, 256);
    for batch in [1, 16] {
        let mut cache = KeyValueCache::new([batch, time, heads, dim]);
        let x = numbers(batch * time * heads * dim);
        cache.append(time, &x, &x);
        let q = &x[..batch * heads * dim];
        let mut y = q.to_vec();
        measure(&format!("attend of {batch} to {time} positions"), || {
            cache.attend(1, heads, q, None, &mut y);
        });
    }
    let hidden = 512;
    let (mut gates, mut c, mut h) = (numbers(16 * 4 * hidden), numbers(16 * hidden), numbers(16 * hidden));
    measure("lstm_cell of 16×512", || lstm_cell(&mut gates, &mut c, &mut h, hidden));
    let x = numbers(16 * 256);
    let mut y = x.clone();
    for activation in [Activation::Relu, Activation::Tanh, Activation::Gelu] {
        measure(&format!("{activation:?} of 16×256"), || {
            y.copy_from_slice(&x);
            activate(&mut y, activation);
        });
    }
    measure("log_softmax of 16×256", || {
        y.copy_from_slice(&x);
        log_softmax(&mut y, 256);
    });
    measure("gate_halves of 16×256", || {
        gate_halves(&x, 128, Activation::Tanh, Activation::Sigmoid, &mut y[..16 * 128]);
    });
}
