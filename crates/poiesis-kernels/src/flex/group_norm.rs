//! Group norm with its activation: one pass for the statistics and one for the result; two for the gradients. The
//! normalised values are not stored; the backward pass computes them again from the input.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

use std::ops::Range;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::function::{Function, with_function};
use super::norm::Saved;
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use super::sums;
use crate::types::Activation;

/// Values of a task, about.
const PART: usize = 1 << 14;

/// [`crate::group_norm`] of tensors on Flex; `None` for others. `x` must not be empty.
pub(crate) fn group_norm<const D: usize>(
    x: &Tensor<D>,
    groups: usize,
    [gamma, beta]: [&Tensor<1>; 2],
    epsilon: f64,
    activation: Activation,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let inputs = Inputs::new([Operand::new(x)?, Operand::new(gamma)?, Operand::new(beta)?]);
    let [x, gamma, beta] = inputs.values();
    let sizes = Sizes { batch: shape[0], channels: shape[D - 1], groups };
    let statistics = Statistics::new(x, sizes, epsilon);
    let affine = Affine::new(&statistics, gamma, beta);
    let y = with_function!(activation, function => affine.apply(x, function));
    let y = operand::tensor(y, &shape);
    Some(inputs.finish(y, |arguments, _| Saved::new(arguments, statistics, activation)))
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    batch: usize,
    channels: usize,
    groups: usize,
}

impl Sizes {
    /// Channels of a group.
    fn width(self) -> usize {
        self.channels / self.groups
    }
}

/// Mean and scale of each group of each example, `[batch, groups]`.
#[derive(Clone, Debug)]
struct Statistics {
    sizes: Sizes,
    mean: Vec<f64>,
    /// `1 / √(variance + ε)`
    inverse: Vec<f64>,
}

impl Statistics {
    /// Sums each channel's differences from the example's first position, which keeps the variance exact where the
    /// mean is large, and combines the channels of a group.
    fn new(x: &[f32], sizes: Sizes, epsilon: f64) -> Self {
        let channels = sizes.channels;
        let each = x.len() / sizes.batch;
        let count = (each / channels) as f64;
        let sums = sums::examples(sizes.batch, each, channels, 2 * channels, |range, sums| {
            let start = range.start / each * each;
            let pivot = &x[start..start + channels];
            sums::add_differences(&x[range], pivot, sums);
        });
        let mut result = Self { sizes, mean: Vec::new(), inverse: Vec::new() };
        for (example, sums) in sums.chunks_exact(2 * channels).enumerate() {
            let pivot = &x[example * each..example * each + channels];
            for group in 0..sizes.groups {
                let members = group * sizes.width()..(group + 1) * sizes.width();
                let offset = |c: usize| sums[c] / count;
                let mean_of = |c: usize| f64::from(pivot[c]) + offset(c);
                let mean = members.clone().map(mean_of).sum::<f64>() / sizes.width() as f64;
                let variance = |c: usize| {
                    let within = (sums[channels + c] / count - offset(c) * offset(c)).max(0.0);
                    within + (mean_of(c) - mean).powi(2)
                };
                let variance = members.map(variance).sum::<f64>() / sizes.width() as f64;
                result.mean.push(mean);
                result.inverse.push(1.0 / (variance + epsilon).sqrt());
            }
        }
        result
    }

    /// The index in `mean` and `inverse` of a channel of an example.
    fn group(&self, example: usize, channel: usize) -> usize {
        example * self.sizes.groups + channel / self.sizes.width()
    }

    /// `value(example, channel)` for all, `[batch, channels]`.
    fn table(&self, value: impl Fn(usize, usize) -> f64) -> Vec<f32> {
        let channels = self.sizes.channels;
        (0..self.sizes.batch * channels).map(|i| value(i / channels, i % channels) as f32).collect()
    }
}

/// `(x − mean) · scale + beta`, with `mean` and `scale` `[batch, channels]`.
struct Affine<'a> {
    sizes: Sizes,
    mean: Vec<f32>,
    scale: Vec<f32>,
    beta: &'a [f32],
}

impl<'a> Affine<'a> {
    fn new(statistics: &Statistics, gamma: &[f32], beta: &'a [f32]) -> Self {
        let scale = |e, c: usize| f64::from(gamma[c]) * statistics.inverse[statistics.group(e, c)];
        Self {
            sizes: statistics.sizes,
            mean: statistics.table(|e, c| statistics.mean[statistics.group(e, c)]),
            scale: statistics.table(scale),
            beta,
        }
    }

    /// The range of an example in `mean`, `scale` and other arrays `[batch, channels]`.
    fn row(&self, example: usize) -> Range<usize> {
        example * self.sizes.channels..(example + 1) * self.sizes.channels
    }

    fn apply<F: Function>(&self, x: &[f32], function: F) -> Buffer {
        let mut y = Buffer::take(x.len());
        let shared = Shared::new(&mut y);
        self.parts(x.len(), |example, range| {
            let x = &x[range.clone()];
            // SAFETY: the tasks' ranges are disjoint.
            let y = unsafe { shared.part(range) };
            let (mean, scale) = (&self.mean[self.row(example)], &self.scale[self.row(example)]);
            let channels = mean.len();
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                let x = &x[..y.len()];
                let (mean, scale, beta) = (&mean[..y.len()], &scale[..y.len()], &self.beta[..y.len()]);
                for c in 0..y.len() {
                    y[c] = function.value((x[c] - mean[c]) * scale[c] + beta[c]);
                }
            }
        });
        y
    }

    /// For each example and channel the sum of `g` and the sum of `g · (x − mean)`, where `g` is
    /// the gradient before the activation: `[batch, 2, channels]`.
    #[inline(always)]
    fn sum_gradients<F: Function>(&self, x: &[f32], dy: &[f32], function: F) -> Vec<f64> {
        let Sizes { batch, channels, .. } = self.sizes;
        let each = x.len() / batch;
        sums::examples(batch, each, channels, 2 * channels, |range, sums| {
            let row = self.row(range.start / each);
            let (mean, scale) = (&self.mean[row.clone()], &self.scale[row]);
            let (first, second) = sums.split_at_mut(channels);
            let rows = x[range.clone()].chunks_exact(channels);
            for (x, dy) in rows.zip(dy[range].chunks_exact(channels)) {
                let len = x.len();
                let (first, second) = (&mut first[..len], &mut second[..len]);
                let (dy, mean) = (&dy[..len], &mean[..len]);
                let (scale, beta) = (&scale[..len], &self.beta[..len]);
                for c in 0..len {
                    let centered = x[c] - mean[c];
                    let z = centered * scale[c] + beta[c];
                    let g = dy[c] * function.derivative(z, function.value(z));
                    first[c] += g;
                    second[c] += g * centered;
                }
            }
        })
    }

    /// `scale · g − offset − (x − mean) · projection`, with `offset` and `projection` `[batch, channels]`.
    fn input_gradient<F: Function>(
        &self,
        x: &[f32],
        dy: &[f32],
        [offset, projection]: [&[f32]; 2],
        function: F,
    ) -> Buffer {
        let mut dx = Buffer::take(x.len());
        let shared = Shared::new(&mut dx);
        self.parts(x.len(), |example, range| {
            let (x, dy) = (&x[range.clone()], &dy[range.clone()]);
            // SAFETY: the tasks' ranges are disjoint.
            let dx = unsafe { shared.part(range) };
            let row = self.row(example);
            let (mean, scale) = (&self.mean[row.clone()], &self.scale[row.clone()]);
            let (offset, projection) = (&offset[row.clone()], &projection[row]);
            let channels = mean.len();
            let rows = x.chunks_exact(channels).zip(dy.chunks_exact(channels));
            for (dx, (x, dy)) in dx.chunks_exact_mut(channels).zip(rows) {
                let len = dx.len();
                let (x, dy, mean, scale) = (&x[..len], &dy[..len], &mean[..len], &scale[..len]);
                let (beta, offset, projection) = (&self.beta[..len], &offset[..len], &projection[..len]);
                for c in 0..len {
                    let centered = x[c] - mean[c];
                    let z = centered * scale[c] + beta[c];
                    let g = dy[c] * function.derivative(z, function.value(z));
                    dx[c] = scale[c] * g - offset[c] - centered * projection[c];
                }
            }
        });
        dx
    }

    /// Runs `work(example, range)` on parts of `0..len`, each within one example, on all threads.
    #[inline(always)]
    fn parts(&self, len: usize, work: impl Fn(usize, Range<usize>) + Sync) {
        let Sizes { batch, channels, .. } = self.sizes;
        let each = len / batch;
        let size = PART.div_ceil(channels) * channels;
        let count = parallel::parts(each, size);
        let step = PART.div_ceil(each.min(size));
        parallel::tasks(parallel::parts(batch * count, step), |task| {
            for index in parallel::part(batch * count, step, task) {
                let example = index / count;
                let range = parallel::part(each, size, index % count);
                simd::run(
                    #[inline(always)]
                    || work(example, example * each + range.start..example * each + range.end),
                );
            }
        });
    }
}

impl BackwardPass<3> for Saved<Statistics> {
    fn gradients(self, dy: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let dy = values(&dy);
        let [x_needed, gamma_needed, beta_needed] = needed;
        let (x, gamma, statistics) = (values(&self.x), values(&self.gamma), &self.statistics);
        let affine = Affine::new(statistics, gamma, values(&self.beta));
        let sums = with_function!(self.activation, function => affine.sum_gradients(x, dy, function));
        let Sizes { batch, channels, .. } = statistics.sizes;
        let sum = |e: usize, c: usize| sums[2 * e * channels + c];
        let normal = |e: usize, c: usize| {
            sums[(2 * e + 1) * channels + c] * statistics.inverse[statistics.group(e, c)]
        };
        let dgamma = gamma_needed.then(|| over_examples(batch, channels, normal));
        let dbeta = beta_needed.then(|| over_examples(batch, channels, sum));
        let dx = x_needed.then(|| {
            let mean = statistics.group_means(x.len(), |e, c| f64::from(gamma[c]) * sum(e, c));
            let mean_normal = statistics.group_means(x.len(), |e, c| f64::from(gamma[c]) * normal(e, c));
            let offset = statistics.table(|e, c| {
                let group = statistics.group(e, c);
                statistics.inverse[group] * mean[group]
            });
            let projection = statistics.table(|e, c| {
                let group = statistics.group(e, c);
                statistics.inverse[group].powi(2) * mean_normal[group]
            });
            let dx = with_function!(
                self.activation,
                function => affine.input_gradient(x, dy, [&offset, &projection], function)
            );
            operand::tensor(dx, self.x.layout().shape())
        });
        [dx, dgamma, dbeta]
    }
}

impl Statistics {
    /// The mean over the values of each group, from the sums `sum(example, channel)` of its channels.
    fn group_means(&self, len: usize, sum: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let count = (len / self.mean.len()) as f64;
        let mut means = vec![0.0; self.mean.len()];
        for example in 0..self.sizes.batch {
            for channel in 0..self.sizes.channels {
                means[self.group(example, channel)] += sum(example, channel) / count;
            }
        }
        means
    }
}

/// The sum over all examples for each channel.
fn over_examples(batch: usize, channels: usize, value: impl Fn(usize, usize) -> f64) -> FlexTensor {
    let mut result = Buffer::take(channels);
    for (c, result) in result.iter_mut().enumerate() {
        *result = (0..batch).map(|e| value(e, c)).sum::<f64>() as f32;
    }
    operand::tensor(result, &[channels])
}
