//! Time of a whole training step of the residual layers of a PixelCNN: seven residual layers `h + conv(relu(h))` of masked 3×3
//! convolutions (mask B) with 64 channels on 28×28 images, Adam:
//! `cargo run --release --example pixelcnn_body -- --batch 64 [full]`; `full` leaves the mask out.

use burn::tensor::{Device, Distribution, Tensor};
use poiesis_kernels::{Activation, ConvOptions, activate, conv2d};

#[path = "common/mod.rs"]
mod common;
use common::{Arguments, Parameter, adam_step};

const LAYERS: usize = 7;
const CHANNELS: usize = 64;
const SIDE: usize = 28;

fn main() {
    let arguments = Arguments::read(64, 10);
    let active_taps = (!arguments.words.iter().any(|word| word == "full")).then_some(5);
    let device = Device::flex().autodiff();
    let std = (1.0 / (9.0 * CHANNELS as f64)).sqrt();
    let mut layers: Vec<(Parameter<4>, Parameter<1>)> = (0..LAYERS)
        .map(|_| {
            let weight = Parameter::normal([3, 3, CHANNELS, CHANNELS], std, &device);
            (weight, Parameter::new(Tensor::zeros([CHANNELS], &device)))
        })
        .collect();
    let x = Tensor::<4>::random([arguments.batch, SIDE, SIDE, CHANNELS], Distribution::Default, &device);
    let options = ConvOptions { active_taps, ..ConvOptions::new([1, 1], [1, 1]) };
    arguments.measure(|i| {
        let mut h = x.clone();
        for (weight, bias) in &layers {
            let y = conv2d(activate(h.clone(), Activation::Relu), weight.val(), Some(bias.val()), &options);
            h = h + y;
        }
        let loss = h.clone().mul(h).mean();
        let mut gradients = loss.backward();
        for (weight, bias) in &mut layers {
            weight.update(&mut gradients, &adam_step(i));
            bias.update(&mut gradients, &adam_step(i));
        }
        loss.into_scalar::<f32>()
    });
}
