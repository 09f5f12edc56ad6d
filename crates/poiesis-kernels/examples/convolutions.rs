//! Times of single convolutions, forward and both gradients: `convolutions bench/convolutions.txt [bf16]`. Ends with a line of
//! JSON: for each line of the file the milliseconds of the three directions.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, which may simply stop")]

#[path = "common/mod.rs"]
mod common;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Device, Distribution, Tensor};
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;
use common::Arguments;
use poiesis_kernels::{
    ConvOptions, ConvTransposeOptions, Precision, conv_transpose2d, conv2d, set_precision,
};

fn main() {
    let given = Arguments::read(0, 9);
    // As in training, on one of the threads that do the arithmetic.
    if given.words.get(1).is_some_and(|word| word == "bf16") {
        set_precision(Precision::Bf16);
    }
    rayon::scope(|_| measure(&given));
}

fn measure(given: &Arguments) {
    let file = std::fs::read_to_string(&given.words[0]).unwrap();
    let times: Vec<String> = file
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (kind, numbers) = line.split_once(' ').unwrap();
            let numbers: Vec<usize> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            format!("{:?}", time(kind == "transposed", &numbers, given.steps))
        })
        .collect();
    println!("{{\"times\": [{}]}}", times.join(", "));
}

fn time(transposed: bool, numbers: &[usize], rounds: usize) -> [f64; 3] {
    let &[kernel, stride, padding, size, channels, out, batch] = numbers else { panic!("{numbers:?}") };
    let device = Device::flex().autodiff();
    let random = |shape| Tensor::<4>::random(shape, Distribution::Default, &device);
    let x = random([batch, size, size, channels]);
    let weight = random([kernel, kernel, channels, out]);
    let conv = |x: Tensor<4>, weight: Tensor<4>| {
        if transposed {
            let options = ConvTransposeOptions::new([stride; 2], [padding; 2]);
            conv_transpose2d(x, weight, None, &options)
        } else {
            conv2d(x, weight, None, &ConvOptions::new([stride; 2], [padding; 2]))
        }
    };
    let median = |run: &mut dyn FnMut() -> f64| {
        let mut times: Vec<f64> = (0..rounds + 1).map(|_| run()).skip(1).collect();
        times.sort_by(f64::total_cmp);
        times[rounds / 2] * 1e3
    };
    let forward = median(&mut || {
        let start = Instant::now();
        drop(conv(x.clone(), weight.clone()));
        start.elapsed().as_secs_f64()
    });
    // As the peer's, the gradient of the result is there already when the clock starts.
    let dy =
        Tensor::<4>::random(conv(x.clone(), weight.clone()).dims(), Distribution::Default, &Device::flex());
    let (x_leaf, weight_leaf) = (x.clone().require_grad(), weight.clone().require_grad());
    let back = |x: &Tensor<4>, weight: &Tensor<4>| {
        // All results first: made in between, they would put the gradient out of the cache, which the peer's stays in.
        let mut results: Vec<_> = (0..rounds + 1).map(|_| conv(x.clone(), weight.clone())).collect();
        median(&mut || backward(results.pop().unwrap(), dy.clone()))
    };
    [forward, back(&x_leaf, &weight), back(&x, &weight_leaf)]
}

/// Seconds of the way back from `y`, whose gradient is `dy`.
fn backward(y: Tensor<4>, dy: Tensor<4>) -> f64 {
    let y = y.try_into_primitive::<Autodiff<Flex>>().unwrap();
    let (values, node) = y.into_parts();
    let started = Arc::new(Mutex::new(None));
    let state = (dy.try_into_primitive::<Flex>().unwrap(), started.clone());
    let y = match Start.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(state, values),
        OpsKind::UnTracked(_) => panic!("nothing takes a gradient"),
    };
    drop(Tensor::<4>::from_primitive::<Autodiff<Flex>>(y).backward());
    let started: Instant = started.lock().unwrap().unwrap();
    started.elapsed().as_secs_f64()
}

/// Passes the given gradient on and starts the clock.
#[derive(Debug)]
struct Start;

impl Backward<Flex, 1> for Start {
    type State = (FlexTensor, Arc<Mutex<Option<Instant>>>);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let _ = gradients.consume::<Flex>(&ops.node);
        let (dy, started) = ops.state;
        for node in ops.parents.into_iter().flatten() {
            gradients.register::<Flex>(node.id, dy.clone());
        }
        *started.lock().unwrap() = Some(Instant::now());
    }
}
