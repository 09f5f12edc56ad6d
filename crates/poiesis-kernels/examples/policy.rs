//! Time of 1000 answers of a small policy network to one observation each (17 numbers, two hidden layers of 64, 6 numbers,
//! tanh between): `cargo run --release --example policy -- [mlp | tensor]`.

use burn::tensor::{Device, Distribution, Tensor};
use poiesis_kernels::{Activation, Mlp, linear};

#[path = "common/mod.rs"]
mod common;
use common::Arguments;

const SIZES: [usize; 4] = [17, 64, 64, 6];
const ANSWERS: usize = 1000;

fn main() {
    let arguments = Arguments::read(1, 50);
    let device = Device::flex();
    device.seed(1);
    let layers: Vec<_> = SIZES
        .windows(2)
        .enumerate()
        .map(|(i, pair)| {
            let std = (1.0 / pair[0] as f64).sqrt();
            let weight = Tensor::<2>::random([pair[0], pair[1]], Distribution::Normal(0.0, std), &device);
            let activation = if i + 2 == SIZES.len() { Activation::Identity } else { Activation::Tanh };
            (weight, Tensor::<1>::zeros([pair[1]], &device), activation)
        })
        .collect();
    let observation = Tensor::<2>::random([1, SIZES[0]], Distribution::Normal(0.0, 1.0), &device);
    if arguments.words.first().is_some_and(|word| word == "tensor") {
        arguments.measure(|_| {
            let mut answer = observation.clone();
            for _ in 0..ANSWERS {
                answer = observation.clone();
                for (weight, bias, activation) in &layers {
                    answer = linear(answer, weight.clone(), Some(bias.clone()), *activation);
                }
            }
            answer.sum().into_scalar::<f32>()
        });
    } else {
        let mut mlp = Mlp::new(&layers);
        let mut observation: Vec<f32> = observation.into_data().iter::<f32>().collect();
        let mut answer = [0.0; SIZES[3]];
        arguments.measure(|_| {
            for _ in 0..ANSWERS {
                mlp.forward(&observation, &mut answer);
                // The next observation follows from the answer, so that no two run at once.
                observation[0] = answer[0];
            }
            answer.iter().sum()
        });
    }
}
