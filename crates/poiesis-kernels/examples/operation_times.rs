//! Time of one operation forward and backward on this machine, or of one update:
//! `cargo run --release --example operation_times -- WORK [ROWS COLUMNS]`, where `WORK` is `layer_norm`, `rms_norm`,
//! `group_norm` (of 32 groups; rows are `BATCH POSITIONS CHANNELS`), `categorical`, `logistic_mixture` (rows are
//! pixels, columns mixtures; RGB), `adamw`, `embedding`, `uniform` or `normal`.
#![expect(clippy::unwrap_used, reason = "a measurement for people, which may simply stop")]

use burn::tensor::{Device, Distribution, Int, Tensor};
use poiesis_kernels::{
    Activation, Grid, OptimizerKind, UpdateStep, categorical_log_prob, embedding, group_norm, layer_norm,
    logistic_mixture_log_prob, normal, rms_norm, uniform, update,
};

#[path = "common/mod.rs"]
mod common;
use common::Arguments;

const KEY: [u8; 32] = [7; 32];

/// The first number of what a step has made, which ends it.
fn first<const D: usize>(x: Tensor<D>) -> f32 {
    let count = x.dims().iter().product::<usize>();
    x.reshape([count]).narrow(0, 0, 1).into_scalar()
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Times `y = operation(leaves)` with the gradients that `dy` gives all leaves.
fn forward_backward<const D: usize, const E: usize>(
    arguments: &Arguments,
    x: &Tensor<D>,
    parameters: &[Tensor<1>],
    dy: &Tensor<E>,
    operation: impl Fn(Tensor<D>, &[Tensor<1>]) -> Tensor<E> + Sync,
) {
    let x = x.clone().require_grad();
    let parameters: Vec<_> = parameters.iter().map(|p| p.clone().require_grad()).collect();
    arguments.measure(|_| {
        let y = operation(x.clone(), &parameters);
        // Burn's own product with the gradient is a part of both sides' step.
        let gradients = (y * dy.clone()).sum().backward();
        first(x.grad(&gradients).unwrap())
    });
}

fn main() {
    let arguments = Arguments::read(1, 200);
    let device = Device::flex().autodiff();
    let work = arguments.words[0].clone();
    let sizes: Vec<usize> = arguments.words[1..].iter().map(|word| word.parse().unwrap()).collect();
    match (work.as_str(), &sizes[..]) {
        ("layer_norm" | "rms_norm", &[rows, channels]) => {
            let x = random([rows, channels], &device);
            let parameters = [Tensor::ones([channels], &device), Tensor::zeros([channels], &device)];
            let dy = random([rows, channels], &device);
            forward_backward(&arguments, &x, &parameters, &dy, |x, p| match work.as_str() {
                "layer_norm" => layer_norm(x, p[0].clone(), Some(p[1].clone()), 1e-5),
                _ => rms_norm(x, p[0].clone(), 1e-5),
            });
        }
        ("group_norm", &[batch, positions, channels]) => {
            let x = random([batch, positions, channels], &device);
            let parameters = [Tensor::ones([channels], &device), Tensor::zeros([channels], &device)];
            let dy = random(x.dims(), &device);
            forward_backward(&arguments, &x, &parameters, &dy, |x, p| {
                group_norm(x, 32, p[0].clone(), p[1].clone(), 1e-5, Activation::Silu)
            });
        }
        ("categorical", &[rows, classes]) => {
            let targets = Tensor::<1, Int>::arange(0..rows as i64, &device).remainder_scalar(classes as i64);
            let x = random([rows, classes], &device);
            let dy = random([rows], &device);
            forward_backward(&arguments, &x, &[], &dy, |x, _| categorical_log_prob(x, targets.clone()));
        }
        ("logistic_mixture", &[pixels, mixtures]) => {
            let parameters = random([pixels, mixtures * 10], &device);
            let levels = Tensor::<1, Int>::arange(0..3 * pixels as i64, &device).remainder_scalar(256);
            let x = levels.float().reshape([pixels, 3]) * (2.0 / 255.0) - 1.0;
            let dy = random([pixels], &device);
            forward_backward(&arguments, &parameters, &[], &dy, |parameters, _| {
                logistic_mixture_log_prob(parameters, x.clone(), Grid::Bits8)
            });
        }
        ("embedding", &[rows, dim]) => {
            let indices = Tensor::<1, Int>::arange(0..rows as i64, &device).remainder_scalar(1000);
            let indices = indices.reshape([rows, 1]);
            let dy = random([rows, 1, dim], &device);
            forward_backward(&arguments, &random([1000, dim], &device), &[], &dy, |weight, _| {
                embedding(weight, indices.clone())
            });
        }
        ("adamw", &[count]) => time_adamw(&arguments, count),
        ("uniform", &[count]) => {
            arguments.measure(|i| first(uniform([count], &KEY, i as u64, &Device::flex())));
        }
        ("normal", &[count]) => {
            arguments.measure(|i| first(normal([count], &KEY, i as u64, &Device::flex())));
        }
        (work, sizes) => panic!("no work `{work}` with sizes {sizes:?}"),
    }
}

fn time_adamw(arguments: &Arguments, count: usize) {
    let device = Device::flex();
    let gradient = random([count], &device);
    let zeros = || Tensor::<1>::zeros([count], &device);
    let mut now = Some((random([count], &device), vec![zeros(), zeros()]));
    arguments.measure(|i| {
        let (parameter, states) = now.take().unwrap();
        let step = UpdateStep {
            kind: OptimizerKind::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            learning_rate: 1e-3,
            weight_decay: 0.0,
            decoupled_weight_decay: 0.01,
            step: i as u64 + 1,
            gradient_scale: 1.0,
        };
        let moved = update(parameter, gradient.clone(), states, None, &step);
        let loss = first(moved.parameter.clone());
        now = Some((moved.parameter, moved.states));
        loss
    });
}
