//! Times of DCGAN's convolutions on this machine: `cargo run --release --example convolution_times`.
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use burn::tensor::{Device, Distribution, Tensor};
use poiesis_kernels::{ConvOptions, ConvTransposeOptions, conv_transpose2d, conv2d};

fn main() {
    let shapes = [
        (64, 64, 3, 64, 4, 2, 1),
        (64, 32, 64, 128, 4, 2, 1),
        (64, 16, 128, 256, 4, 2, 1),
        (64, 8, 256, 512, 4, 2, 1),
        (64, 4, 512, 1, 4, 1, 0),
        (64, 4, 512, 100, 4, 1, 0),
        (64, 32, 64, 128, 5, 2, 2),
        (64, 28, 64, 64, 3, 1, 1),
        (64, 14, 64, 64, 3, 1, 1),
        (64, 28, 64, 128, 1, 1, 0),
    ];
    println!(
        "large channels out kernel | conv: forward, dx, dw | transposed: forward, dx, dw: processor time in ms, half of it per thread"
    );
    for (batch, size, channels, out, kernel, stride, padding) in shapes {
        let small = (size + 2 * padding - kernel) / stride + 1;
        let options = ConvOptions::new([stride; 2], [padding; 2]);
        let conv = |x: Tensor<4>, w: Tensor<4>| conv2d(x, w, None, &options);
        let first = times([batch, size, size, channels], [kernel, kernel, channels, out], conv);
        let extra = (size + 2 * padding - kernel) % stride;
        let options = ConvTransposeOptions {
            output_padding: [extra; 2],
            ..ConvTransposeOptions::new([stride; 2], [padding; 2])
        };
        let conv = |x: Tensor<4>, w: Tensor<4>| conv_transpose2d(x, w, None, &options);
        let second = times([batch, small, small, out], [kernel, kernel, out, channels], conv);
        println!("{size}² {channels} {out} {kernel}/{stride} | {first:.2?} | {second:.2?}");
    }
}

fn times(x: [usize; 4], weight: [usize; 4], conv: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>) -> [f64; 3] {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::random(x, Distribution::Default, &device);
    let weight = Tensor::<4>::random(weight, Distribution::Default, &device);
    let dy = Tensor::random(conv(x.clone(), weight.clone()).dims(), Distribution::Default, &device);
    let backward = |leaf: &dyn Fn() -> Tensor<4>| {
        let mut seconds = 0.0;
        for _ in 0..ROUNDS {
            let y = (leaf() * dy.clone()).sum();
            let start = processor_seconds();
            drop(y.backward());
            seconds += processor_seconds() - start;
        }
        seconds / f64::from(ROUNDS) * 1e3
    };
    let leaf = conv(x.clone(), weight.clone()).require_grad();
    let none = backward(&|| leaf.clone());
    let x_leaf = x.clone().require_grad();
    let dx = backward(&|| conv(x_leaf.clone(), weight.clone()));
    let weight_leaf = weight.clone().require_grad();
    let dw = backward(&|| conv(x.clone(), weight_leaf.clone()));
    let start = processor_seconds();
    for _ in 0..ROUNDS {
        drop(conv(x.clone(), weight.clone()));
    }
    let forward = (processor_seconds() - start) / f64::from(ROUNDS) * 1e3;
    [forward, dx - none, dw - none].map(|ms| ms / 2.0)
}

const ROUNDS: u32 = 10;

/// The time that all threads of this process have run, which other processes do not disturb much.
fn processor_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let nanoseconds: u64 = tasks
        .filter_map(|task| {
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    nanoseconds as f64 / 1e9
}
