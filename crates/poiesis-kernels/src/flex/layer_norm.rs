//! Layer norm and RMS norm, row by row: one pass over memory forward and one backward. The mean and the scale of each row are
//! kept; its normalised values are computed again from the input.

#![expect(unsafe_code, reason = "tasks write their own rows of several arrays through `Shared`")]

use std::ops::Range;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::autodiff::{BackwardPass, Inputs};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use super::sums::{self, LANES};

/// Values of a task, about.
const PART: usize = 1 << 13;

/// The gradients of the parameters are summed in f32 over this many rows, then in f64.
const MIN_ROWS: usize = 32;
const MAX_ROWS: usize = 256;

/// Columns of a task that adds up the sums of blocks of rows.
const COLUMNS: usize = 64;

/// [`crate::layer_norm`] (`centered`) or [`crate::rms_norm`] of tensors on Flex; `None` for others. Rows
/// must not be empty.
pub(crate) fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    gamma: &Tensor<1>,
    beta: Option<&Tensor<1>>,
    epsilon: f64,
    centered: bool,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let has_beta = beta.is_some();
    let inputs = Inputs::new([Operand::new(x)?, Operand::new(gamma)?, Operand::optional(beta)?]);
    let [x, gamma, beta] = inputs.values();
    let (y, statistics) = forward(x, gamma, has_beta.then_some(beta), epsilon, centered);
    let y = operand::tensor(y, &shape);
    Some(inputs.finish(y, |[x, gamma, _], _| LayerNorm { x, gamma, statistics, centered }))
}

/// The statistics that normalise each row.
#[derive(Clone, Debug)]
struct Statistics {
    /// The mean; 0 for RMS norm.
    mean: Vec<f32>,
    /// `1 / √(mean square around the mean + ε)`
    inverse: Vec<f32>,
}

fn forward(
    x: &[f32],
    gamma: &[f32],
    beta: Option<&[f32]>,
    epsilon: f64,
    centered: bool,
) -> (Buffer, Statistics) {
    let channels = gamma.len();
    let rows = x.len() / channels;
    let zeros = Buffer::zeros(if beta.is_some() { 0 } else { channels });
    let beta = beta.unwrap_or(&zeros);
    let mut y = Buffer::take(x.len());
    let mut statistics = Statistics { mean: vec![0.0; rows], inverse: vec![0.0; rows] };
    let shared = Shared::new(&mut y);
    let means = Shared::new(&mut statistics.mean);
    let inverses = Shared::new(&mut statistics.inverse);
    let size = PART.div_ceil(channels);
    parallel::tasks(parallel::parts(rows, size), |task| {
        let range = parallel::part(rows, size, task);
        // SAFETY: the tasks' rows are disjoint.
        let (y, means, inverses) = unsafe {
            (
                shared.part(range.start * channels..range.end * channels),
                means.part(range.clone()),
                inverses.part(range.clone()),
            )
        };
        let x = &x[range.start * channels..range.end * channels];
        simd::run(
            #[inline(always)]
            || {
                let rows = y.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
                for ((y, x), (mean, inverse)) in rows.zip(means.iter_mut().zip(inverses.iter_mut())) {
                    (*mean, *inverse) = statistics_of(x, epsilon, centered);
                    normalise(y, x, [*mean, *inverse], gamma, beta);
                }
            },
        );
    });
    (y, statistics)
}

/// The result alone, without statistics.
pub(crate) fn write(
    y: &mut [f32],
    x: &[f32],
    gamma: &[f32],
    beta: Option<&[f32]>,
    epsilon: f64,
    centered: bool,
) {
    let channels = gamma.len();
    let zeros = Buffer::zeros(if beta.is_some() { 0 } else { channels });
    let beta = beta.unwrap_or(&zeros);
    let size = PART.div_ceil(channels) * channels;
    parallel::chunks(y, size, |part, y| {
        let x = &x[part * size..][..y.len()];
        simd::run(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    let (mean, inverse) = statistics_of(x, epsilon, centered);
                    normalise(y, x, [mean, inverse], gamma, beta);
                }
            },
        );
    });
}

#[inline(always)]
fn statistics_of(x: &[f32], epsilon: f64, centered: bool) -> (f32, f32) {
    let count = x.len() as f64;
    let mean = if centered { (sums::of_terms(x, |x| x) / count) as f32 } else { 0.0 };
    let squares = sums::of_terms(x, |x| (x - mean) * (x - mean));
    (mean, (1.0 / (squares / count + epsilon).sqrt()) as f32)
}

#[inline(always)]
fn normalise(y: &mut [f32], x: &[f32], [mean, inverse]: [f32; 2], gamma: &[f32], beta: &[f32]) {
    let (x, gamma, beta) = (&x[..y.len()], &gamma[..y.len()], &beta[..y.len()]);
    for c in 0..y.len() {
        y[c] = (x[c] - mean) * inverse * gamma[c] + beta[c];
    }
}

#[derive(Clone, Debug)]
struct LayerNorm {
    x: FlexTensor,
    gamma: FlexTensor,
    statistics: Statistics,
    centered: bool,
}

impl BackwardPass<3> for LayerNorm {
    fn gradients(self, dy: FlexTensor, needed: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [x_needed, gamma_needed, beta_needed] = needed;
        let (dx, dgamma, dbeta) = backward(values(&dy), &self, x_needed, gamma_needed || beta_needed);
        let vector = |gradient: Buffer| {
            let shape = [gradient.len()];
            operand::tensor(gradient, &shape)
        };
        [
            x_needed.then(|| operand::tensor(dx, self.x.layout().shape())),
            gamma_needed.then(|| vector(dgamma)),
            beta_needed.then(|| vector(dbeta)),
        ]
    }
}

/// The gradients of input, `gamma` and `beta`; the contents of those that are not needed are unspecified.
fn backward(
    dy: &[f32],
    state: &LayerNorm,
    with_input: bool,
    with_parameters: bool,
) -> (Buffer, Buffer, Buffer) {
    let (x, gamma) = (values(&state.x), values(&state.gamma));
    let channels = gamma.len();
    let rows = x.len() / channels;
    let block = (PART / channels).clamp(MIN_ROWS, MAX_ROWS);
    let blocks = parallel::parts(rows, block);
    let mut dx = Buffer::take(if with_input { x.len() } else { 0 });
    let mut partial = Buffer::take(if with_parameters { blocks * 2 * channels } else { 0 });
    let dx_shared = Shared::new(&mut dx);
    let partial_shared = Shared::new(&mut partial);
    let step = PART.div_ceil(block * channels);
    let statistics = &state.statistics;
    let work = |index: usize| {
        let range = parallel::part(rows, block, index);
        if with_parameters {
            // SAFETY: every block has its own array.
            let sums = unsafe { partial_shared.part(index * 2 * channels..(index + 1) * 2 * channels) };
            simd::run(
                #[inline(always)]
                || parameter_gradients(sums, range.clone(), x, dy, statistics),
            );
        }
        if with_input {
            // SAFETY: the blocks' rows are disjoint.
            let dx = unsafe { dx_shared.part(range.start * channels..range.end * channels) };
            simd::run(
                #[inline(always)]
                || {
                    for (dx, row) in dx.chunks_exact_mut(channels).zip(range.clone()) {
                        let values = row * channels..(row + 1) * channels;
                        let (x, dy) = (&x[values.clone()], &dy[values]);
                        let (mean, inverse) = (statistics.mean[row], statistics.inverse[row]);
                        input_gradient(dx, x, dy, gamma, [mean, inverse], state.centered);
                    }
                },
            );
        }
    };
    parallel::tasks(parallel::parts(blocks, step), |task| {
        parallel::part(blocks, step, task).for_each(&work);
    });
    let (dgamma, dbeta) = add_blocks(&partial, channels, with_parameters);
    (dx, dgamma, dbeta)
}

/// The sums over the rows of `range` of `dy` times the normalised input, followed by those of `dy`.
#[inline(always)]
fn parameter_gradients(
    sums: &mut [f32],
    range: Range<usize>,
    x: &[f32],
    dy: &[f32],
    statistics: &Statistics,
) {
    sums.fill(0.0);
    let channels = sums.len() / 2;
    let (dgamma, dbeta) = sums.split_at_mut(channels);
    for row in range {
        let values = row * channels..(row + 1) * channels;
        let (mean, inverse) = (statistics.mean[row], statistics.inverse[row]);
        add_row(dgamma, dbeta, &x[values.clone()], &dy[values], [mean, inverse]);
    }
}

#[inline(always)]
fn add_row(dgamma: &mut [f32], dbeta: &mut [f32], x: &[f32], dy: &[f32], [mean, inverse]: [f32; 2]) {
    let len = x.len();
    let (dgamma, dbeta, dy) = (&mut dgamma[..len], &mut dbeta[..len], &dy[..len]);
    for c in 0..len {
        dgamma[c] += dy[c] * ((x[c] - mean) * inverse);
        dbeta[c] += dy[c];
    }
}

/// `inverse · (g − mean(g) − n · mean(g · n))` with `g = dy · gamma` and the normalised input `n`; RMS norm has no
/// `mean(g)`.
#[inline(always)]
fn input_gradient(
    dx: &mut [f32],
    x: &[f32],
    dy: &[f32],
    gamma: &[f32],
    [mean, inverse]: [f32; 2],
    centered: bool,
) {
    let len = dx.len();
    let (x, dy, gamma) = (&x[..len], &dy[..len], &gamma[..len]);
    let [sum, product] = row_sums(x, dy, gamma, mean);
    let mean_gradient = if centered { (sum / len as f64) as f32 } else { 0.0 };
    let wide = f64::from(inverse);
    let projection = (product / len as f64 * wide * wide) as f32;
    for c in 0..len {
        dx[c] = inverse * (dy[c] * gamma[c] - mean_gradient - (x[c] - mean) * projection);
    }
}

/// The sum of `g` and that of `g · (x − mean)`.
#[inline(always)]
fn row_sums(x: &[f32], dy: &[f32], gamma: &[f32], mean: f32) -> [f64; 2] {
    let mut total = [0.0; 2];
    for ((x, dy), gamma) in x.chunks(sums::RUN).zip(dy.chunks(sums::RUN)).zip(gamma.chunks(sums::RUN)) {
        let (mut sums, mut products) = ([0.0f32; LANES], [0.0f32; LANES]);
        let whole = x.len() / LANES * LANES;
        let chunks = x[..whole].chunks_exact(LANES).zip(dy[..whole].chunks_exact(LANES));
        for ((x, dy), gamma) in chunks.zip(gamma[..whole].chunks_exact(LANES)) {
            for i in 0..LANES {
                let g = dy[i] * gamma[i];
                sums[i] += g;
                products[i] += g * (x[i] - mean);
            }
        }
        for (i, ((x, dy), gamma)) in x.iter().zip(dy).zip(gamma).skip(whole).enumerate() {
            let g = dy * gamma;
            sums[i] += g;
            products[i] += g * (x - mean);
        }
        total[0] += f64::from(sums::of_lanes(sums));
        total[1] += f64::from(sums::of_lanes(products));
    }
    total
}

/// The gradients of `gamma` and `beta` from the sums of all blocks, in their order.
fn add_blocks(partial: &[f32], channels: usize, wanted: bool) -> (Buffer, Buffer) {
    let mut total = Buffer::take(if wanted { 2 * channels } else { 0 });
    let len = total.len();
    let shared = Shared::new(&mut total);
    parallel::tasks(parallel::parts(len, COLUMNS), |task| {
        let range = parallel::part(len, COLUMNS, task);
        // SAFETY: the tasks' ranges are disjoint.
        let total = unsafe { shared.part(range.clone()) };
        let mut sums = [0.0f64; COLUMNS];
        for block in partial.chunks_exact(len) {
            for (sum, &value) in sums.iter_mut().zip(&block[range.clone()]) {
                *sum += f64::from(value);
            }
        }
        for (total, sum) in total.iter_mut().zip(sums) {
            *total = sum as f32;
        }
    });
    let half = |range: Range<usize>| {
        let mut half = Buffer::take(range.len());
        half.copy_from_slice(&total[range]);
        half
    };
    (half(0..len / 2), half(len / 2..len))
}
