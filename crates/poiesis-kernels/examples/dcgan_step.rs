//! Time of a whole DCGAN step (discriminator on real and on made images, generator) on this machine:
//! `cargo run --release --example dcgan_step [batch [width [kernel]]]`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement for people, which may simply stop"
)]

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use poiesis_kernels::{
    Activation, AdamStep, ConvOptions, ConvTransposeOptions, activate, batch_norm, conv_transpose2d, conv2d,
};

#[path = "common/mod.rs"]
mod common;
use common::Parameter;

/// The weights of a convolution and of the norm after it.
struct Layer {
    weight: Parameter<4>,
    norm: Option<[Parameter<1>; 2]>,
}

struct Network {
    layers: Vec<Layer>,
}

impl Network {
    fn new(shapes: &[[usize; 4]], channels: impl Fn([usize; 4]) -> usize, device: &Device) -> Self {
        let last = shapes.len() - 1;
        let layers = shapes.iter().enumerate().map(|(i, &shape)| Layer {
            weight: Parameter::new(Tensor::random(shape, Distribution::Normal(0.0, 0.02), device)),
            norm: (i != last).then(|| {
                let channels = channels(shape);
                [
                    Parameter::new(Tensor::ones([channels], device)),
                    Parameter::new(Tensor::zeros([channels], device)),
                ]
            }),
        });
        Self { layers: layers.collect() }
    }

    fn update(&mut self, mut gradients: burn::tensor::Gradients, step: &AdamStep, skip: usize) {
        for (i, layer) in self.layers.iter_mut().enumerate() {
            layer.weight.update(&mut gradients, step);
            if i >= skip {
                for parameter in layer.norm.iter_mut().flatten() {
                    parameter.update(&mut gradients, step);
                }
            }
        }
    }
}

fn discriminate(network: &Network, x: Tensor<4>, kernel: usize, frozen: bool) -> Tensor<4> {
    let last = network.layers.len() - 1;
    let mut x = x;
    for (i, layer) in network.layers.iter().enumerate() {
        let weight = if frozen { layer.weight.constant() } else { layer.weight.value.clone() };
        let options =
            if i == last { ConvOptions::default() } else { ConvOptions::new([2; 2], [(kernel - 1) / 2; 2]) };
        x = conv2d(x, weight, None, &options);
        let activation = Activation::LeakyRelu(0.2);
        x = match &layer.norm {
            Some([gamma, beta]) if i > 0 => {
                let (gamma, beta) = if frozen {
                    (gamma.constant(), beta.constant())
                } else {
                    (gamma.value.clone(), beta.value.clone())
                };
                batch_norm(x, gamma, beta, 1e-5, activation).y
            }
            _ if i == last => x,
            _ => activate(x, activation),
        };
    }
    x
}

fn generate(network: &Network, z: Tensor<4>, kernel: usize) -> Tensor<4> {
    let mut x = z;
    for (i, layer) in network.layers.iter().enumerate() {
        let options = if i == 0 {
            ConvTransposeOptions::default()
        } else {
            ConvTransposeOptions {
                output_padding: [kernel % 2; 2],
                ..ConvTransposeOptions::new([2; 2], [(kernel - 1) / 2; 2])
            }
        };
        x = conv_transpose2d(x, layer.weight.value.clone(), None, &options);
        x = match &layer.norm {
            Some([gamma, beta]) => {
                let (gamma, beta) = (gamma.value.clone(), beta.value.clone());
                batch_norm(x, gamma, beta, 1e-5, Activation::Relu).y
            }
            None => activate(x, Activation::Tanh),
        };
    }
    x
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse().unwrap());
    let batch: usize = arguments.next().unwrap_or(64);
    let n: usize = arguments.next().unwrap_or(64);
    let k: usize = arguments.next().unwrap_or(4);
    let device = Device::flex().autodiff();
    device.seed(1);
    let shapes =
        [[k, k, 3, n], [k, k, n, 2 * n], [k, k, 2 * n, 4 * n], [k, k, 4 * n, 8 * n], [4, 4, 8 * n, 1]];
    let mut d = Network::new(&shapes, |shape| shape[3], &device);
    let shapes =
        [[4, 4, 100, 8 * n], [k, k, 8 * n, 4 * n], [k, k, 4 * n, 2 * n], [k, k, 2 * n, n], [k, k, n, 3]];
    let mut g = Network::new(&shapes, |shape| shape[3], &device);
    let real = Tensor::<4>::random([batch, 64, 64, 3], Distribution::Uniform(-1.0, 1.0), &device);
    let mut seconds = Vec::new();
    let mut processor = Vec::new();
    for step in 1..=12 {
        let start = (Instant::now(), processor_seconds());
        let settings = AdamStep {
            learning_rate: 2e-4,
            beta1: 0.5,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: 0.0,
            step,
            gradient_scale: 1.0,
        };
        let z = Tensor::<4>::random([batch, 1, 1, 100], Distribution::Normal(0.0, 1.0), &device);
        let made = generate(&g, z, k);
        let on_real = discriminate(&d, real.clone(), k, false);
        let on_made = discriminate(&d, made.clone().inner().autodiff(), k, false);
        let loss =
            activate(-on_real, Activation::Softplus).mean() + activate(on_made, Activation::Softplus).mean();
        d.update(loss.clone().backward(), &settings, 1);
        let on_made = discriminate(&d, made, k, true);
        let g_loss = activate(-on_made, Activation::Softplus).mean();
        g.update(g_loss.clone().backward(), &settings, 0);
        seconds.push(start.0.elapsed().as_secs_f64());
        processor.push(processor_seconds() - start.1);
        if step == 12 {
            let (loss, g_loss) = (loss.into_scalar::<f32>(), g_loss.into_scalar::<f32>());
            println!("losses {loss} {g_loss}");
        }
    }
    for times in [&mut seconds, &mut processor] {
        times.drain(..2);
        times.sort_by(f64::total_cmp);
    }
    println!(
        "batch {batch}, width {n}, kernel {k}: median {:.3} s, least {:.3} s; processor {:.3} s",
        seconds[5], seconds[0], processor[5]
    );
}

/// The time that all threads of this process have run.
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
