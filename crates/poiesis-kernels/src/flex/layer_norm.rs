//! Layer norm and RMS norm: a row at a time, one pass over memory forward and one backward. A row's mean and
//! scale are kept; its normalised values are computed again from the input.

#![expect(unsafe_code, reason = "tasks write their own rows of several arrays through `Shared`")]

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use super::sums::{self, LANES};

/// Values of a task, about.
const PART: usize = 1 << 13;

/// Rows whose gradients of the parameters are summed in f32 before the sum goes on in f64.
const MIN_ROWS: usize = 32;
const MAX_ROWS: usize = 256;

/// Columns of a task that adds up what the blocks of rows have summed.
const COLUMNS: usize = 64;

/// [`crate::layer_norm`] (`centered`) or [`crate::rms_norm`] of tensors that live on Flex; `None` for others. Rows
/// are not empty.
pub(crate) fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    gamma: &Tensor<1>,
    beta: Option<&Tensor<1>>,
    epsilon: f64,
    centered: bool,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let has_beta = beta.is_some();
    let beta = beta.map_or_else(|| Some(Operand::absent()), Operand::new)?;
    let operands = [Operand::new(x)?, Operand::new(gamma)?, beta];
    let with_autodiff = operands.iter().any(Operand::is_autodiff);
    let [(x, x_node), (gamma, gamma_node), (beta, beta_node)] = operands.map(Operand::into_parts);
    let beta = has_beta.then(|| values(&beta));
    let (y, statistics) = forward(values(&x), values(&gamma), beta, epsilon, centered);
    let y = operand::tensor(y, &shape);
    if !with_autodiff {
        return Some(Tensor::from_primitive::<Flex>(y));
    }
    let nodes = [x_node, gamma_node, beta_node];
    let y = match LayerNorm.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(State { x, gamma, statistics, centered }, y),
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

/// What normalises each row.
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
    let zeros;
    let beta = match beta {
        Some(beta) => beta,
        None => {
            zeros = Buffer::zeros(channels);
            &zeros
        }
    };
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
    let zeros;
    let beta = match beta {
        Some(beta) => beta,
        None => {
            zeros = Buffer::zeros(channels);
            &zeros
        }
    };
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

#[derive(Debug)]
struct LayerNorm;

#[derive(Clone, Debug)]
struct State {
    x: FlexTensor,
    gamma: FlexTensor,
    statistics: Statistics,
    centered: bool,
}

impl Backward<Flex, 3> for LayerNorm {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let [x_node, gamma_node, beta_node] = ops.parents;
        let state = ops.state;
        let with_parameters = gamma_node.is_some() || beta_node.is_some();
        let (dx, dgamma, dbeta) = backward(values(&gradient), &state, x_node.is_some(), with_parameters);
        if let Some(node) = x_node {
            let dx = operand::tensor(dx, state.x.layout().shape());
            gradients.register::<Flex>(node.id, dx);
        }
        for (node, gradient) in [(gamma_node, dgamma), (beta_node, dbeta)] {
            if let Some(node) = node {
                let shape = [gradient.len()];
                gradients.register::<Flex>(node.id, operand::tensor(gradient, &shape));
            }
        }
    }
}

/// The gradients of input, `gamma` and `beta`; those that are not wanted are empty or hold anything.
fn backward(dy: &[f32], state: &State, with_input: bool, with_parameters: bool) -> (Buffer, Buffer, Buffer) {
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
            // SAFETY: every block has an array of its own.
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

/// The sums over the rows of `range` of `dy` times the normalised input and, behind it, of `dy`.
#[inline(always)]
fn parameter_gradients(
    sums: &mut [f32],
    range: std::ops::Range<usize>,
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
    let slope = (product / len as f64 * wide * wide) as f32;
    for c in 0..len {
        dx[c] = inverse * (dy[c] * gamma[c] - mean_gradient - (x[c] - mean) * slope);
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
    let half = |range: std::ops::Range<usize>| {
        let mut half = Buffer::take(range.len());
        half.copy_from_slice(&total[range]);
        half
    };
    (half(0..len / 2), half(len / 2..len))
}
