//! How fast this machine does the arithmetic of training, found out in about two seconds.

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_kernels::{Activation, AdamStep, ConvOptions, adam, conv2d, linear};
use serde::Serialize;

/// The speeds of two kinds of work, with all threads and in f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// A product of two matrices of [`SIDE`] rows and columns.
    pub product: Rate,
    /// A training step of one layer: DCGAN's second convolution, its result, both gradients and the update of its weights.
    pub convolution: Rate,
}

/// A speed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Thousand million additions and multiplications in a second. A convolution counts as if it were computed directly; Winograd's
    /// algorithms, which need fewer, make this more than the processor computes.
    pub gflops: f64,
    /// The same in units of [`REFERENCE`].
    pub relative: f64,
}

/// What two cores of an AMD EPYC (family 26) reach: GFLOP/s of the product and of the convolution, the median of seven runs of
/// [`measure`] on a machine that does nothing else.
pub const REFERENCE: [f64; 2] = [447.0, 742.0];

/// Rows and columns of the matrices.
pub const SIDE: usize = 512;

/// The layer: images, side of their square, channels before and after; its kernel is 4×4 with stride 2.
const LAYER: [usize; 4] = [64, 32, 64, 128];

/// Seconds in which each kind of work is repeated, after it was done once.
const SECONDS: f64 = 0.6;

/// Measures both. Where one repetition takes longer than half a second, it is the only one.
pub fn measure() -> Speed {
    // As in training, on one of the threads that do the arithmetic.
    rayon::scope(|_| Speed { product: product(), convolution: convolution() })
}

fn product() -> Rate {
    let device = Device::flex();
    let (x, weight) = (filled([SIDE, SIDE], &device), filled([SIDE, SIDE], &device));
    let seconds = median_seconds(|| drop(linear(x.clone(), weight.clone(), None, Activation::Identity)));
    rate(2 * SIDE.pow(3), seconds, REFERENCE[0])
}

fn convolution() -> Rate {
    let device = Device::flex().autodiff();
    let [batch, side, channels, out] = LAYER;
    let x = filled([batch, side, side, channels], &device).require_grad();
    let weight = filled([4, 4, channels, out], &device).require_grad();
    let options = ConvOptions::new([2, 2], [1, 1]);
    let step = AdamStep {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decoupled_weight_decay: 0.0,
        step: 1,
        gradient_scale: 1.0,
    };
    let moment = Tensor::<1>::zeros([weight.dims().iter().product::<usize>()], &Device::flex());
    let seconds = median_seconds(|| {
        let y = conv2d(x.clone(), weight.clone(), None, &options);
        let gradients = y.backward();
        let gradient = weight.grad(&gradients).expect("the weights require a gradient");
        drop(adam(weight.clone().inner(), gradient, moment.clone(), moment.clone(), &step));
    });
    let half = side / 2;
    // The result and two gradients, each with a multiplication and an addition for each tap.
    rate(3 * 2 * batch * half * half * out * channels * 16, seconds, REFERENCE[1])
}

fn rate(operations: usize, seconds: f64, reference: f64) -> Rate {
    let gflops = operations as f64 / seconds.max(1e-9) / 1e9;
    Rate { gflops, relative: gflops / reference }
}

/// The median time of `work`, which is done once before and then for [`SECONDS`], but at least once.
fn median_seconds(mut work: impl FnMut()) -> f64 {
    work();
    let began = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || began.elapsed().as_secs_f64() < SECONDS {
        let start = Instant::now();
        work();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A tensor of different numbers between -0.5 and 0.5.
fn filled<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0 - 0.5).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_work_are_measured_in_a_few_seconds() {
        let began = Instant::now();
        let Speed { product, convolution } = measure();
        for rate in [product, convolution] {
            assert!(rate.gflops > 0.1 && rate.gflops.is_finite(), "{rate:?}");
        }
        assert!((product.relative * REFERENCE[0] - product.gflops).abs() < 1e-6 * product.gflops);
        assert!(began.elapsed().as_secs() < 30);
    }

    #[test]
    fn a_rate_is_operations_in_a_second() {
        let rate = rate(447_000_000, 1e-3, REFERENCE[0]);
        assert!((rate.gflops - 447.0).abs() < 1e-9 && (rate.relative - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_median_leaves_out_what_takes_long_once() {
        let mut calls = 0;
        let median = median_seconds(|| {
            calls += 1;
            if calls == 2 {
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        });
        assert!(calls > 2 && median < 0.1);
    }
}
