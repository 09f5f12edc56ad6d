//! Code shared by the measurements: arguments, timing, the line of JSON at the end, and parameters with Adam.
#![allow(
    dead_code,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "measurements for people, which may simply stop"
)]

use std::time::Instant;

use burn::tensor::{Device, Distribution, Gradients, Tensor};
use poiesis_kernels::{AdamStep, adam};

/// `--batch B --steps N --warmup N --threads T`, and every other word in its order.
pub(crate) struct Arguments {
    pub(crate) batch: usize,
    pub(crate) steps: usize,
    pub(crate) warmup: usize,
    pub(crate) words: Vec<String>,
}

impl Arguments {
    /// Reads the command line and creates the thread pool.
    pub(crate) fn read(batch: usize, steps: usize) -> Self {
        let mut found = Self { batch, steps, warmup: 3, words: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut number = || words.next().unwrap().parse::<usize>().unwrap();
            match word.as_str() {
                "--batch" => found.batch = number(),
                "--steps" => found.steps = number(),
                "--warmup" => found.warmup = number(),
                "--threads" => {
                    rayon::ThreadPoolBuilder::new().num_threads(number()).build_global().unwrap();
                }
                _ => found.words.push(word),
            }
        }
        found
    }

    /// Times `step(i)`, which returns the loss it has read, and prints the median. As in training, the steps run on one
    /// of rayon's threads, which then takes part in the work instead of waiting.
    pub(crate) fn measure(&self, mut step: impl FnMut(usize) -> f32 + Send) {
        let mut loss = 0.0;
        let mut times = Vec::new();
        rayon::scope(|_| {
            for i in 0..self.warmup + self.steps {
                let start = Instant::now();
                loss = step(i);
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        });
        let times = &mut times[self.warmup..];
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!("{{\"ms\": {median:.6}, \"min_ms\": {:.6}, \"loss\": {loss}}}", times[0]);
    }
}

/// A weight with the moments of its optimizer.
pub(crate) struct Parameter<const D: usize> {
    pub(crate) value: Tensor<D>,
    moments: Option<(Tensor<1>, Tensor<1>)>,
}

impl<const D: usize> Parameter<D> {
    pub(crate) fn new(value: Tensor<D>) -> Self {
        let count: usize = value.dims().iter().product();
        let zeros = || Tensor::zeros([count], &Device::flex());
        Self { value: value.require_grad(), moments: Some((zeros(), zeros())) }
    }

    /// Drawn from N(0, `std`²).
    pub(crate) fn normal(shape: [usize; D], std: f64, device: &Device) -> Self {
        Self::new(Tensor::random(shape, Distribution::Normal(0.0, std), device))
    }

    /// The value, to compute with.
    pub(crate) fn val(&self) -> Tensor<D> {
        self.value.clone()
    }

    /// The value without a gradient.
    pub(crate) fn constant(&self) -> Tensor<D> {
        self.value.clone().inner()
    }

    pub(crate) fn update(&mut self, gradients: &mut Gradients, step: &AdamStep) {
        let gradient = self.value.grad_remove(gradients).unwrap();
        let (first, second) = self.moments.take().unwrap();
        let device = Device::flex();
        let old = std::mem::replace(&mut self.value, Tensor::zeros([1; D], &device));
        let (value, first, second) = adam(old.inner(), gradient, first, second, step);
        self.value = value.autodiff().require_grad();
        self.moments = Some((first, second));
    }
}

/// Adam with a learning rate of 1e-3 at step `i`, counted from 0.
pub(crate) fn adam_step(i: usize) -> AdamStep {
    AdamStep {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decoupled_weight_decay: 0.0,
        step: i as u64 + 1,
        gradient_scale: 1.0,
    }
}
