//! Batch normalisation with its activation: one pass for the statistics and one for the result; two
//! for the gradients. The normalised values are not stored; the backward pass computes them again from
//! the input.

use std::ops::Range;

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function::{Function, with_function};
use super::operand::{self, Operand, values};
use super::parallel;
use super::pool::Buffer;
use super::simd;
use super::sums;
use crate::types::Activation;
use crate::types::Normalized;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// [`crate::batch_norm`] of tensors on Flex; `None` for others.
pub(crate) fn batch_norm<const D: usize>(
    x: &Tensor<D>,
    gamma: &Tensor<1>,
    beta: &Tensor<1>,
    epsilon: f64,
    activation: Activation,
) -> Option<Normalized<D>> {
    let shape = x.dims();
    let channels = shape[D - 1];
    let count = shape.iter().product::<usize>() / channels;
    let inputs = Inputs::new([Operand::new(x)?, Operand::new(gamma)?, Operand::new(beta)?]);
    let [x, gamma, beta] = inputs.values();
    let statistics = Statistics::new(x, channels, epsilon);
    let y = operand::tensor(statistics.affine(gamma, beta).apply(x, activation), &shape);
    let mean = inputs.constant(vector(&statistics.mean));
    let var = inputs.constant(vector(&statistics.variance));
    let y = inputs.finish(y, |arguments, _| Saved::new(arguments, statistics, activation));
    Some(Normalized { y, mean, var, count })
}

/// Mean and variance of the channels of one batch.
#[derive(Clone, Debug)]
struct Statistics {
    mean: Vec<f64>,
    variance: Vec<f64>,
    epsilon: f64,
}

impl Statistics {
    /// Sums the differences from the first row, which keeps the variance exact where the mean is large.
    fn new(x: &[f32], channels: usize, epsilon: f64) -> Self {
        let pivot = &x[..channels];
        let sums = sums::blocks(x.len(), channels, 2 * channels, |range, sums| {
            sums::add_differences(&x[range], pivot, sums);
        });
        let count = (x.len() / channels) as f64;
        let offset = |c: usize| sums[c] / count;
        Self {
            mean: (0..channels).map(|c| f64::from(pivot[c]) + offset(c)).collect(),
            variance: (0..channels)
                .map(|c| (sums[channels + c] / count - offset(c) * offset(c)).max(0.0))
                .collect(),
            epsilon,
        }
    }

    /// `1 / √(var + ε)` of a channel.
    fn inverse(&self, channel: usize) -> f64 {
        1.0 / (self.variance[channel] + self.epsilon).sqrt()
    }

    fn affine(&self, gamma: &[f32], beta: &[f32]) -> Affine {
        let scale: Vec<f32> =
            (0..gamma.len()).map(|c| (f64::from(gamma[c]) * self.inverse(c)) as f32).collect();
        let shift = (0..gamma.len())
            .map(|c| (f64::from(beta[c]) - self.mean[c] * f64::from(scale[c])) as f32)
            .collect();
        Affine { scale, shift }
    }
}

/// `scale · x + shift` of each channel.
struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Affine {
    fn apply(&self, x: &[f32], activation: Activation) -> Buffer {
        let channels = self.scale.len();
        by_rows(x.len(), channels, |range, y| {
            let x = &x[range];
            with_function!(activation, function => simd::run(#[inline(always)] || {
                for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    let x = &x[..y.len()];
                    let scale = &self.scale[..y.len()];
                    let shift = &self.shift[..y.len()];
                    for c in 0..y.len() {
                        y[c] = function.value(x[c] * scale[c] + shift[c]);
                    }
                }
            }));
        })
    }
}

/// An array of `len` values that `work(range, part)` writes, some rows of `channels` values at a time, on all threads.
fn by_rows(len: usize, channels: usize, work: impl Fn(Range<usize>, &mut [f32]) + Send + Sync) -> Buffer {
    let mut y = Buffer::take(len);
    let size = PART.div_ceil(channels) * channels;
    parallel::chunks(&mut y, size, |part, y| work(part * size..part * size + y.len(), y));
    y
}

fn vector(values: &[f64]) -> FlexTensor {
    let mut buffer = Buffer::take(values.len());
    for (target, &value) in buffer.iter_mut().zip(values) {
        *target = value as f32;
    }
    operand::tensor(buffer, &[values.len()])
}

/// What the backward pass of a norm with the statistics `S` needs.
#[derive(Clone, Debug)]
pub(super) struct Saved<S> {
    pub(super) statistics: S,
    pub(super) activation: Activation,
    pub(super) x: FlexTensor,
    pub(super) gamma: FlexTensor,
    pub(super) beta: FlexTensor,
}

impl<S> Saved<S> {
    pub(super) fn new([x, gamma, beta]: [FlexTensor; 3], statistics: S, activation: Activation) -> Self {
        Self { statistics, activation, x, gamma, beta }
    }
}

impl BackwardPass<3> for Saved<Statistics> {
    fn gradients(self, dy: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let dy = values(&dy);
        let [x_needed, gamma_needed, beta_needed] = needed;
        let (x, statistics) = (values(&self.x), &self.statistics);
        let channels = statistics.mean.len();
        let count = (x.len() / channels) as f64;
        let affine = statistics.affine(values(&self.gamma), values(&self.beta));
        let mean: Vec<f32> = statistics.mean.iter().map(|&m| m as f32).collect();
        let sums = with_function!(
            self.activation,
            function => sum_gradients(x, dy, &affine, &mean, function)
        );
        let gamma_gradient: Vec<f64> =
            (0..channels).map(|c| sums[channels + c] * statistics.inverse(c)).collect();
        let dgamma = gamma_needed.then(|| vector(&gamma_gradient));
        let dbeta = beta_needed.then(|| vector(&sums[..channels]));
        let dx = x_needed.then(|| {
            let factors = Factors {
                mean_gradient: (0..channels).map(|c| (sums[c] / count) as f32).collect(),
                projection: (0..channels)
                    .map(|c| (gamma_gradient[c] / count * statistics.inverse(c)) as f32)
                    .collect(),
                mean,
            };
            let dx = with_function!(
                self.activation,
                function => input_gradient(x, dy, &affine, &factors, function)
            );
            operand::tensor(dx, self.x.layout().shape())
        });
        [dx, dgamma, dbeta]
    }
}

/// For each channel the sum of `g` and that of `g · (x − mean)`, where `g` is the gradient before the
/// activation.
#[inline(always)]
fn sum_gradients<F: Function>(x: &[f32], dy: &[f32], affine: &Affine, mean: &[f32], function: F) -> Vec<f64> {
    let channels = mean.len();
    sums::blocks(x.len(), channels, 2 * channels, |range, sums| {
        let (first, second) = sums.split_at_mut(channels);
        let rows = x[range.clone()].chunks_exact(channels);
        for (x, dy) in rows.zip(dy[range].chunks_exact(channels)) {
            let first = &mut first[..x.len()];
            let second = &mut second[..x.len()];
            let dy = &dy[..x.len()];
            let mean = &mean[..x.len()];
            let scale = &affine.scale[..x.len()];
            let shift = &affine.shift[..x.len()];
            for c in 0..x.len() {
                let z = x[c] * scale[c] + shift[c];
                let g = dy[c] * function.derivative(z, function.value(z));
                first[c] += g;
                second[c] += g * (x[c] - mean[c]);
            }
        }
    })
}

/// The values that the gradient of the input needs, per channel.
struct Factors {
    mean: Vec<f32>,
    /// Mean of the gradient before the activation.
    mean_gradient: Vec<f32>,
    /// Mean of that gradient times the normalised input, divided by the standard deviation.
    projection: Vec<f32>,
}

fn input_gradient<F: Function>(
    x: &[f32],
    dy: &[f32],
    affine: &Affine,
    factors: &Factors,
    function: F,
) -> Buffer {
    let channels = affine.scale.len();
    by_rows(x.len(), channels, |range, dx| {
        let (x, dy) = (&x[range.clone()], &dy[range]);
        simd::run(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
                for (dx, (x, dy)) in dx.chunks_exact_mut(channels).zip(rows) {
                    let x = &x[..dx.len()];
                    let dy = &dy[..dx.len()];
                    let scale = &affine.scale[..dx.len()];
                    let shift = &affine.shift[..dx.len()];
                    let mean = &factors.mean[..dx.len()];
                    let mean_gradient = &factors.mean_gradient[..dx.len()];
                    let projection = &factors.projection[..dx.len()];
                    for c in 0..dx.len() {
                        let z = x[c] * scale[c] + shift[c];
                        let g = dy[c] * function.derivative(z, function.value(z));
                        let centered = g - mean_gradient[c] - (x[c] - mean[c]) * projection[c];
                        dx[c] = scale[c] * centered;
                    }
                }
            },
        );
    })
}

/// [`crate::batch_norm_eval`] of tensors on Flex and take no gradient; `None` for others.
pub(crate) fn batch_norm_eval<const D: usize>(
    x: &Tensor<D>,
    parameters: [&Tensor<1>; 4],
    epsilon: f64,
    activation: Activation,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let [gamma, beta, mean, var] = parameters;
    let [x, gamma, beta, mean, var] = operand::constants([
        Operand::new(x)?,
        Operand::new(gamma)?,
        Operand::new(beta)?,
        Operand::new(mean)?,
        Operand::new(var)?,
    ])?;
    let wide = |tensor: &FlexTensor| values(tensor).iter().map(|&v| f64::from(v)).collect();
    let statistics = Statistics { mean: wide(&mean), variance: wide(&var), epsilon };
    let affine = statistics.affine(values(&gamma), values(&beta));
    let y = affine.apply(values(&x), activation);
    Some(Tensor::from_primitive::<Flex>(operand::tensor(y, &shape)))
}
