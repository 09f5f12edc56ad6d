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
use crate::logistic_mixture::{Grid, LAW, Order};

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
    bins: Bins,
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
            bins: Bins::new(order.grid, 1),
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
        let Order { mixtures, channels, .. } = self.order;
        for mixture in 0..mixtures {
            let mut term = self.parameters[mixture];
            for channel in 0..channels {
                let mean = self.mean(mixture, channel);
                let log_scale = &self.parameters[self.order.log_scale(mixture, channel)];
                let x = &self.x[channel];
                for i in 0..TILE {
                    term[i] += self.bins.bin(x[i], mean[i], log_scale[i]).log_mass();
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
        let Order { mixtures, channels, .. } = self.order;
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
        let Order { mixtures, channels, .. } = self.order;
        for mixture in 0..mixtures {
            let mut term = self.parameters[mixture];
            for channel in 0..channels {
                let mean = self.mean(mixture, channel);
                let log_scale = &self.parameters[self.order.log_scale(mixture, channel)];
                let x = &self.x[channel];
                let [by_mean, by_log_scale] = &mut self.slopes[mixture * channels + channel];
                for i in 0..TILE {
                    let bin = self.bins.bin(x[i], mean[i], log_scale[i]);
                    term[i] += bin.log_mass();
                    [by_mean[i], by_log_scale[i]] = bin.slopes();
                    by_log_scale[i] =
                        if log_scale[i] < self.bins.min_log_scale { 0.0 } else { by_log_scale[i] };
                }
            }
            self.terms[mixture] = term;
        }
    }
}

/// Bins of one or several neighbouring levels each.
#[derive(Clone, Copy)]
struct Bins {
    half: f32,
    /// The logarithm of a bin's width.
    log_width: f32,
    /// Values beyond this, or below its negative, lie in the last or first bin, which is open to its side.
    edge: f32,
    min_log_scale: f32,
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

impl Bins {
    fn new(grid: Grid, levels: usize) -> Self {
        let half = grid.half_bin() * levels as f64;
        Self {
            half: half as f32,
            log_width: (2.0 * half).ln() as f32,
            edge: (1.0 - half) as f32,
            min_log_scale: grid.min_log_scale() as f32,
        }
    }

    #[inline(always)]
    fn bin(&self, x: f32, mean: f32, log_scale: f32) -> Bin {
        let log_scale = if log_scale < self.min_log_scale { self.min_log_scale } else { log_scale };
        let inverse_scale = exp(-log_scale);
        let width = 2.0 * self.half * inverse_scale;
        let inside = -exp_minus_one(-width);
        let narrow = self.log_width - log_scale - 0.5 * width;
        Bin {
            upper: (x - mean + self.half) * inverse_scale,
            lower: (x - mean - self.half) * inverse_scale,
            inverse_scale,
            width,
            inside,
            log_inside: if width < NARROW { narrow } else { log(inside) },
            first: x < -self.edge,
            last: x > self.edge,
        }
    }
}

impl Bin {
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
    let parts = Parts::new(order, 1);
    let columns = order.parameters();
    each_law(order, laws, |pixel, law, room| {
        let parameters = &parameters[pixel * columns..][..columns];
        parts.law(parameters, &earlier[pixel * channel..][..channel], 0, law, room);
    });
}

/// See [`crate::logistic_mixture_byte_laws`].
pub(crate) fn byte_laws(parameters: &[f32], high: Option<&[u32]>, order: Order, laws: &mut [f32]) {
    let parts = Parts::new(order, if high.is_some() { 1 } else { LAW });
    let columns = order.parameters();
    each_law(order, laws, |sample, law, room| {
        let first = high.map_or(0, |high| high[sample] as usize * LAW);
        parts.law(&parameters[sample * columns..][..columns], &[], first, law, room);
        normalise(law);
    });
}

/// Room to compute a law in.
struct Room {
    /// The logarithms of the mixture's weights.
    weights: Vec<f32>,
    /// For each mixture the log masses of all parts.
    terms: Vec<[f32; LAW]>,
}

/// Lets `law` write each of `laws`, of which it is told the number.
fn each_law(order: Order, laws: &mut [f32], law: impl Fn(usize, &mut [f32], &mut Room) + Send + Sync) {
    let count = laws.len() / LAW;
    let shared = Shared::new(laws);
    parallel::tasks(parallel::parts(count, LAWS), |task| {
        let mut room = Room { weights: vec![0.0; order.mixtures], terms: vec![[0.0; LAW]; order.mixtures] };
        for pixel in parallel::part(count, LAWS, task) {
            // SAFETY: every pixel belongs to one task.
            let one = unsafe { shared.part(pixel * LAW..(pixel + 1) * LAW) };
            simd::run(
                #[inline(always)]
                || law(pixel, one, &mut room),
            );
        }
    });
}

/// Parts of `step` levels each, whose masses make a law.
struct Parts {
    order: Order,
    step: usize,
    levels: Bins,
    bins: Bins,
}

impl Parts {
    fn new(order: Order, step: usize) -> Self {
        Self { order, step, levels: Bins::new(order.grid, 1), bins: Bins::new(order.grid, step) }
    }

    /// The logarithms of the masses of parts from level `first` on, for the channel behind the `earlier` ones of a pixel.
    #[inline(always)]
    fn law(&self, parameters: &[f32], earlier: &[f32], first: usize, law: &mut [f32], room: &mut Room) {
        let channel = earlier.len();
        weigh(&mut room.weights, parameters, earlier, self.order, self.levels);
        for (mixture, (weight, terms)) in room.weights.iter().zip(&mut room.terms).enumerate() {
            let mean = mean_of(parameters, earlier, self.order, mixture, channel);
            let log_scale = parameters[self.order.log_scale(mixture, channel)];
            let middle = first as f32 + (self.step - 1) as f32 / 2.0;
            for (part, term) in terms.iter_mut().enumerate() {
                let x = self.order.grid.value(middle + (part * self.step) as f32);
                *term = weight + self.bins.bin(x, mean, log_scale).log_mass();
            }
        }
        add_up(law, &room.terms);
    }
}

/// Makes the probabilities of a law add up to one.
#[inline(always)]
fn normalise(law: &mut [f32]) {
    let greatest = law.iter().fold(f32::NEG_INFINITY, |greatest, &l| if l > greatest { l } else { greatest });
    let mut sum = 0.0;
    for &l in law.iter() {
        sum += exp(l - greatest);
    }
    let log_sum = greatest + log(sum);
    for l in law {
        *l -= log_sum;
    }
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
fn weigh(weights: &mut [f32], parameters: &[f32], earlier: &[f32], order: Order, bins: Bins) {
    for (mixture, weight) in weights.iter_mut().enumerate() {
        *weight = parameters[mixture];
        for (channel, &x) in earlier.iter().enumerate() {
            let mean = mean_of(parameters, earlier, order, mixture, channel);
            *weight += bins.bin(x, mean, parameters[order.log_scale(mixture, channel)]).log_mass();
        }
    }
    normalise(weights);
}

/// The logarithm of the sum over the mixture, part by part.
#[inline(always)]
fn add_up(law: &mut [f32], terms: &[[f32; LAW]]) {
    law.copy_from_slice(&terms[0]);
    for terms in &terms[1..] {
        for (greatest, &term) in law.iter_mut().zip(terms) {
            *greatest = if term > *greatest { term } else { *greatest };
        }
    }
    let mut sums = [0.0; LAW];
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
