//! Mixture of discretised logistics: one pass over the parameters, one for their gradient, sixteen pixels at a time.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn_autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_flex::FlexTensor;

use super::function::{Function, Tanh, exp, exp_minus_one, log, sigmoid, softplus};
use super::operand::{self, Operand, values};
use super::parallel::{self, Shared};
use super::pool::Buffer;
use super::simd;
use crate::logistic_mixture::{EDGE, HALF_BIN, LEVELS, MIN_LOG_SCALE, Order};

/// Pixels that are computed side by side.
const TILE: usize = 16;

/// Tiles of a task.
const TILES: usize = 8;

/// One number for each pixel of a tile.
type Lanes = [f32; TILE];

/// [`crate::logistic_mixture_log_prob`] of tensors that live on Flex; `None` for others. There is a pixel.
pub(crate) fn log_prob(parameters: &Tensor<2>, x: &Tensor<2>, order: Order) -> Option<Tensor<1>> {
    let [pixels, _] = x.dims();
    let (parameters, x) = (Operand::new(parameters)?, Operand::new(x)?);
    let x = x.into_values();
    let with_autodiff = parameters.is_autodiff();
    let (parameters, node) = parameters.into_parts();
    let y = operand::tensor(forward(values(&parameters), values(&x), order), &[pixels]);
    if !with_autodiff {
        return Some(Tensor::from_primitive::<Flex>(y));
    }
    let y = match LogProb.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(node) => node.finish(State { parameters, x, order }, y),
        OpsKind::UnTracked(node) => node.finish(y),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(y))
}

fn forward(parameters: &[f32], x: &[f32], order: Order) -> Buffer {
    let mut y = Buffer::take(x.len() / order.channels);
    let len = y.len();
    let shared = Shared::new(&mut y);
    let tiles = parallel::parts(len, TILE);
    parallel::tasks(parallel::parts(tiles, TILES), |task| {
        let mut tile = Tile::new(order);
        for index in parallel::part(tiles, TILES, task) {
            let range = parallel::part(len, TILE, index);
            // SAFETY: every tile belongs to one task.
            let y = unsafe { shared.part(range.clone()) };
            simd::run(
                #[inline(always)]
                || {
                    tile.read(parameters, x, range.clone());
                    y.copy_from_slice(&tile.log_prob()[..y.len()]);
                },
            );
        }
    });
    y
}

/// The numbers of a tile's pixels, and room to compute with them.
struct Tile {
    order: Order,
    /// The parameters in their order; in the end their gradients.
    parameters: Vec<Lanes>,
    x: Vec<Lanes>,
    /// For each mixture its logit plus the log mass of the pixel.
    terms: Vec<Lanes>,
    /// For each mixture and channel, the derivatives of the log mass by mean and by log-scale.
    slopes: Vec<[Lanes; 2]>,
}

impl Tile {
    fn new(order: Order) -> Self {
        let zero = [0.0; TILE];
        Self {
            order,
            parameters: vec![zero; order.parameters()],
            x: vec![zero; order.channels],
            terms: vec![zero; order.mixtures],
            slopes: vec![[zero; 2]; order.mixtures * order.channels],
        }
    }

    /// Takes the pixels of `range`; lanes beyond repeat its last one.
    #[inline(always)]
    fn read(&mut self, parameters: &[f32], x: &[f32], range: std::ops::Range<usize>) {
        let rows: [usize; TILE] = std::array::from_fn(|lane| (range.start + lane).min(range.end - 1));
        transpose(parameters, rows, &mut self.parameters);
        transpose(x, rows, &mut self.x);
    }

    /// `mean(channel)` of a mixture, moved by the channels before it.
    #[inline(always)]
    fn mean(&self, mixture: usize, channel: usize) -> Lanes {
        let mut mean = self.parameters[self.order.mean(mixture, channel)];
        for earlier in 0..channel {
            let coefficient = &self.parameters[self.order.coefficient(mixture, channel, earlier)];
            let x = &self.x[earlier];
            for i in 0..TILE {
                mean[i] += Tanh.value(coefficient[i]) * x[i];
            }
        }
        mean
    }

    #[inline(always)]
    fn log_prob(&mut self) -> Lanes {
        let Order { mixtures, channels } = self.order;
        for mixture in 0..mixtures {
            let mut term = self.parameters[mixture];
            for channel in 0..channels {
                let mean = self.mean(mixture, channel);
                let log_scale = &self.parameters[self.order.log_scale(mixture, channel)];
                let x = &self.x[channel];
                for i in 0..TILE {
                    term[i] += Bin::new(x[i], mean[i], log_scale[i]).log_mass();
                }
            }
            self.terms[mixture] = term;
        }
        let mut result = log_sum_exp(&self.terms);
        let denominator = log_sum_exp(&self.parameters[..mixtures]);
        for i in 0..TILE {
            result[i] -= denominator[i];
        }
        result
    }

    /// Replaces the parameters by the gradients, where `dy` is that of the log probability.
    #[inline(always)]
    fn gradient(&mut self, dy: &Lanes) {
        let Order { mixtures, channels } = self.order;
        self.slopes_and_terms();
        softmax(&mut self.terms);
        softmax(&mut self.parameters[..mixtures]);
        for mixture in 0..mixtures {
            let mut weight = self.terms[mixture];
            let prior = &mut self.parameters[mixture];
            for i in 0..TILE {
                prior[i] = dy[i] * (weight[i] - prior[i]);
                weight[i] *= dy[i];
            }
            for channel in 0..channels {
                let slopes = &self.slopes[mixture * channels + channel];
                for (slope, place) in slopes
                    .iter()
                    .zip([self.order.mean(mixture, channel), self.order.log_scale(mixture, channel)])
                {
                    let gradient = &mut self.parameters[place];
                    for i in 0..TILE {
                        gradient[i] = weight[i] * slope[i];
                    }
                }
                for earlier in 0..channel {
                    let place = self.order.coefficient(mixture, channel, earlier);
                    let coefficient = &mut self.parameters[place];
                    let x = &self.x[earlier];
                    for i in 0..TILE {
                        let t = Tanh.value(coefficient[i]);
                        coefficient[i] = weight[i] * slopes[0][i] * x[i] * Tanh.slope(0.0, t);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn slopes_and_terms(&mut self) {
        let Order { mixtures, channels } = self.order;
        for mixture in 0..mixtures {
            let mut term = self.parameters[mixture];
            for channel in 0..channels {
                let mean = self.mean(mixture, channel);
                let log_scale = &self.parameters[self.order.log_scale(mixture, channel)];
                let x = &self.x[channel];
                let [by_mean, by_log_scale] = &mut self.slopes[mixture * channels + channel];
                for i in 0..TILE {
                    let bin = Bin::new(x[i], mean[i], log_scale[i]);
                    term[i] += bin.log_mass();
                    [by_mean[i], by_log_scale[i]] = bin.slopes();
                    by_log_scale[i] = if log_scale[i] < MIN_LOG_SCALE { 0.0 } else { by_log_scale[i] };
                }
            }
            self.terms[mixture] = term;
        }
    }
}

/// The bin of one value under one logistic distribution.
struct Bin {
    /// The edges, standardised.
    upper: f32,
    lower: f32,
    inverse_scale: f32,
    /// Width of the bin over the scale.
    width: f32,
    /// `1 − exp(−width)`, and its logarithm.
    inside: f32,
    log_inside: f32,
    first: bool,
    last: bool,
}

/// Below this width the series of `1 − exp(−width)` is the more exact.
const NARROW: f32 = 1e-3;

impl Bin {
    #[inline(always)]
    fn new(x: f32, mean: f32, log_scale: f32) -> Self {
        let log_scale = if log_scale < MIN_LOG_SCALE { MIN_LOG_SCALE } else { log_scale };
        let inverse_scale = exp(-log_scale);
        let half = HALF_BIN as f32;
        let width = 2.0 * half * inverse_scale;
        let inside = -exp_minus_one(-width);
        let narrow = LOG_BIN - log_scale - 0.5 * width;
        Self {
            upper: (x - mean + half) * inverse_scale,
            lower: (x - mean - half) * inverse_scale,
            inverse_scale,
            width,
            inside,
            log_inside: if width < NARROW { narrow } else { log(inside) },
            first: x < -EDGE as f32,
            last: x > EDGE as f32,
        }
    }

    /// `log σ(upper) + log σ(−lower) + log(1 − exp(−width))`, which is `log(σ(upper) − σ(lower))` without its
    /// cancellation; one of the first two alone for the bins that are open to one side.
    #[inline(always)]
    fn log_mass(&self) -> f32 {
        let below_upper = -softplus(-self.upper);
        let above_lower = -softplus(self.lower);
        let middle = below_upper + above_lower + self.log_inside;
        let value = if self.first { below_upper } else { middle };
        if self.last { above_lower } else { value }
    }

    /// The derivatives of [`Self::log_mass`] by mean and by log-scale.
    #[inline(always)]
    fn slopes(&self) -> [f32; 2] {
        let upper = if self.last { 0.0 } else { sigmoid(-self.upper) };
        let lower = if self.first { 0.0 } else { sigmoid(self.lower) };
        let wide = self.width * (1.0 - self.inside) / self.inside;
        let between = if self.width < NARROW { 1.0 - 0.5 * self.width } else { wide };
        let between = if self.first | self.last { 0.0 } else { between };
        let by_mean = self.inverse_scale * (lower - upper);
        [by_mean, self.lower * lower - self.upper * upper - between]
    }
}

/// `log(2 · HALF_BIN)`
const LOG_BIN: f32 = -4.848_116_4;

#[inline(always)]
fn transpose(matrix: &[f32], rows: [usize; TILE], columns: &mut [Lanes]) {
    let count = columns.len();
    let rows = rows.map(|row| &matrix[row * count..(row + 1) * count]);
    for (i, column) in columns.iter_mut().enumerate() {
        for (value, row) in column.iter_mut().zip(rows) {
            *value = row[i];
        }
    }
}

#[inline(always)]
fn greatest(terms: &[Lanes]) -> Lanes {
    let mut greatest = terms[0];
    for term in &terms[1..] {
        for i in 0..TILE {
            greatest[i] = if term[i] > greatest[i] { term[i] } else { greatest[i] };
        }
    }
    greatest
}

#[inline(always)]
fn log_sum_exp(terms: &[Lanes]) -> Lanes {
    let mut result = greatest(terms);
    let mut sum = [0.0; TILE];
    for term in terms {
        for i in 0..TILE {
            sum[i] += exp(term[i] - result[i]);
        }
    }
    for i in 0..TILE {
        result[i] += log(sum[i]);
    }
    result
}

#[inline(always)]
fn softmax(terms: &mut [Lanes]) {
    let greatest = greatest(terms);
    let mut sum = [0.0; TILE];
    for term in terms.iter_mut() {
        for i in 0..TILE {
            term[i] = exp(term[i] - greatest[i]);
            sum[i] += term[i];
        }
    }
    for term in terms {
        for i in 0..TILE {
            term[i] /= sum[i];
        }
    }
}

/// Pixels of a task where laws are computed.
const LAWS: usize = 16;

/// See [`crate::logistic_mixture_laws`].
pub(crate) fn laws(parameters: &[f32], earlier: &[f32], order: Order, channel: usize, laws: &mut [f32]) {
    let columns = order.parameters();
    let pixels = laws.len() / LEVELS;
    let shared = Shared::new(laws);
    parallel::tasks(parallel::parts(pixels, LAWS), |task| {
        let mut weights = vec![0.0; order.mixtures];
        let mut terms = vec![[0.0; LEVELS]; order.mixtures];
        for pixel in parallel::part(pixels, LAWS, task) {
            let parameters = &parameters[pixel * columns..][..columns];
            let earlier = &earlier[pixel * channel..][..channel];
            // SAFETY: every pixel belongs to one task.
            let law = unsafe { shared.part(pixel * LEVELS..(pixel + 1) * LEVELS) };
            simd::run(
                #[inline(always)]
                || {
                    weigh(&mut weights, parameters, earlier, order);
                    for (mixture, (weight, terms)) in weights.iter().zip(&mut terms).enumerate() {
                        let mean = mean_of(parameters, earlier, order, mixture, channel);
                        let log_scale = parameters[order.log_scale(mixture, channel)];
                        add_log_masses(terms, *weight, mean, log_scale);
                    }
                    add_up(law, &terms);
                },
            );
        }
    });
}

/// `mean(channel)` of a mixture, moved by the `earlier` channels.
#[inline(always)]
fn mean_of(parameters: &[f32], earlier: &[f32], order: Order, mixture: usize, channel: usize) -> f32 {
    let mut mean = parameters[order.mean(mixture, channel)];
    for (j, x) in earlier[..channel].iter().enumerate() {
        mean += Tanh.value(parameters[order.coefficient(mixture, channel, j)]) * x;
    }
    mean
}

/// The logarithms of the mixture's weights given the earlier channels.
#[inline(always)]
fn weigh(weights: &mut [f32], parameters: &[f32], earlier: &[f32], order: Order) {
    let mut greatest = f32::NEG_INFINITY;
    for (mixture, weight) in weights.iter_mut().enumerate() {
        *weight = parameters[mixture];
        for (channel, &x) in earlier.iter().enumerate() {
            let mean = mean_of(parameters, earlier, order, mixture, channel);
            *weight += Bin::new(x, mean, parameters[order.log_scale(mixture, channel)]).log_mass();
        }
        greatest = if *weight > greatest { *weight } else { greatest };
    }
    let mut sum = 0.0;
    for weight in weights.iter() {
        sum += exp(weight - greatest);
    }
    let log_sum = greatest + log(sum);
    for weight in weights.iter_mut() {
        *weight -= log_sum;
    }
}

/// `weight` and the log mass of every level.
#[inline(always)]
fn add_log_masses(terms: &mut [f32; LEVELS], weight: f32, mean: f32, log_scale: f32) {
    for (level, term) in terms.iter_mut().enumerate() {
        let x = level as f32 / 127.5 - 1.0;
        *term = weight + Bin::new(x, mean, log_scale).log_mass();
    }
}

/// The logarithm of the sum over the mixture, level by level.
#[inline(always)]
fn add_up(law: &mut [f32], terms: &[[f32; LEVELS]]) {
    law.copy_from_slice(&terms[0]);
    for terms in &terms[1..] {
        for (greatest, &term) in law.iter_mut().zip(terms) {
            *greatest = if term > *greatest { term } else { *greatest };
        }
    }
    let mut sums = [0.0; LEVELS];
    for terms in terms {
        for ((sum, &term), &greatest) in sums.iter_mut().zip(terms).zip(law.iter()) {
            *sum += exp(term - greatest);
        }
    }
    for (law, sum) in law.iter_mut().zip(sums) {
        *law += log(sum);
    }
}

#[derive(Debug)]
struct LogProb;

#[derive(Clone, Debug)]
struct State {
    parameters: FlexTensor,
    x: FlexTensor,
    order: Order,
}

impl Backward<Flex, 1> for LogProb {
    type State = State;

    fn backward(self, ops: Ops<State, 1>, gradients: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = operand::contiguous(&gradients.consume::<Flex>(&ops.node));
        let [node] = ops.parents;
        let Some(node) = node else { return };
        let State { parameters, x, order } = &ops.state;
        let result = backward(values(&gradient), values(parameters), values(x), *order);
        gradients.register::<Flex>(node.id, operand::tensor(result, parameters.layout().shape()));
    }
}

fn backward(dy: &[f32], parameters: &[f32], x: &[f32], order: Order) -> Buffer {
    let mut result = Buffer::take(parameters.len());
    let shared = Shared::new(&mut result);
    let columns = order.parameters();
    let tiles = parallel::parts(dy.len(), TILE);
    parallel::tasks(parallel::parts(tiles, TILES), |task| {
        let mut tile = Tile::new(order);
        for index in parallel::part(tiles, TILES, task) {
            let range = parallel::part(dy.len(), TILE, index);
            // SAFETY: every tile belongs to one task.
            let result = unsafe { shared.part(range.start * columns..range.end * columns) };
            let mut lanes = [0.0; TILE];
            lanes[..range.len()].copy_from_slice(&dy[range.clone()]);
            simd::run(
                #[inline(always)]
                || {
                    tile.read(parameters, x, range.clone());
                    tile.gradient(&lanes);
                    for (lane, row) in result.chunks_exact_mut(columns).enumerate() {
                        for (value, column) in row.iter_mut().zip(&tile.parameters) {
                            *value = column[lane];
                        }
                    }
                },
            );
        }
    });
    result
}
