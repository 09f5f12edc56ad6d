//! The log probabilities of all levels of one channel, for generating and for coding.

#![expect(unsafe_code, reason = "tasks write their own rows of one array through `Shared`")]

use super::bins::Bins;
use crate::flex::function::{Function, Tanh, exp, log};
use crate::flex::parallel::{self, Shared};
use crate::flex::simd;
use crate::types::{LEVELS, ParameterLayout};

/// Pixels of a task.
const PIXELS: usize = 16;

/// See [`crate::logistic_mixture_log_probs`].
pub(crate) fn log_probs(
    parameters: &[f32],
    earlier: &[f32],
    layout: ParameterLayout,
    channel: usize,
    log_probs: &mut [f32],
) {
    let parts = Parts::new(layout, 1);
    let columns = layout.parameters();
    for_each_row(layout, log_probs, |pixel, row, scratch| {
        let parameters = &parameters[pixel * columns..][..columns];
        parts.write_row(parameters, &earlier[pixel * channel..][..channel], 0, row, scratch);
    });
}

/// See [`crate::logistic_mixture_byte_log_probs`].
pub(crate) fn byte_log_probs(
    parameters: &[f32],
    high: Option<&[u32]>,
    layout: ParameterLayout,
    log_probs: &mut [f32],
) {
    let parts = Parts::new(layout, if high.is_some() { 1 } else { LEVELS });
    let columns = layout.parameters();
    for_each_row(layout, log_probs, |sample, row, scratch| {
        let first = high.map_or(0, |high| high[sample] as usize * LEVELS);
        parts.write_row(&parameters[sample * columns..][..columns], &[], first, row, scratch);
        normalise(row);
    });
}

/// Scratch space for a row.
struct Scratch {
    /// The logarithms of the mixture weights.
    weights: Vec<f32>,
    /// For each mixture component the log masses of all parts.
    terms: Vec<[f32; LEVELS]>,
}

/// Lets `write(index, row, scratch)` write each row of `log_probs`.
fn for_each_row(
    layout: ParameterLayout,
    log_probs: &mut [f32],
    write: impl Fn(usize, &mut [f32], &mut Scratch) + Send + Sync,
) {
    let count = log_probs.len() / LEVELS;
    let shared = Shared::new(log_probs);
    parallel::tasks(parallel::parts(count, PIXELS), |task| {
        let mut scratch =
            Scratch { weights: vec![0.0; layout.mixtures], terms: vec![[0.0; LEVELS]; layout.mixtures] };
        for pixel in parallel::part(count, PIXELS, task) {
            // SAFETY: every pixel belongs to one task.
            let row = unsafe { shared.part(pixel * LEVELS..(pixel + 1) * LEVELS) };
            simd::run(
                #[inline(always)]
                || write(pixel, row, &mut scratch),
            );
        }
    });
}

/// Parts of `step` levels each, whose log masses are the values of a row.
struct Parts {
    layout: ParameterLayout,
    step: usize,
    levels: Bins,
    bins: Bins,
}

impl Parts {
    fn new(layout: ParameterLayout, step: usize) -> Self {
        Self { layout, step, levels: Bins::new(layout.grid, 1), bins: Bins::new(layout.grid, step) }
    }

    /// The log masses of the parts from level `first` on, for the channel after the `earlier` ones of a pixel.
    #[inline(always)]
    fn write_row(
        &self,
        parameters: &[f32],
        earlier: &[f32],
        first: usize,
        row: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let channel = earlier.len();
        weigh(&mut scratch.weights, parameters, earlier, self.layout, self.levels);
        for (mixture, (weight, terms)) in scratch.weights.iter().zip(&mut scratch.terms).enumerate() {
            let mean = mean_of(parameters, earlier, self.layout, mixture, channel);
            let log_scale = parameters[self.layout.log_scale(mixture, channel)];
            let middle = first as f32 + (self.step - 1) as f32 / 2.0;
            for (part, term) in terms.iter_mut().enumerate() {
                let x = self.layout.grid.value(middle + (part * self.step) as f32);
                *term = weight + self.bins.bin(x, mean, log_scale).log_mass();
            }
        }
        add_up(row, &scratch.terms);
    }
}

/// Makes the probabilities of a row sum to one.
#[inline(always)]
fn normalise(row: &mut [f32]) {
    let max = row.iter().fold(f32::NEG_INFINITY, |max, &l| if l > max { l } else { max });
    let mut sum = 0.0;
    for &l in row.iter() {
        sum += exp(l - max);
    }
    let log_sum = max + log(sum);
    for l in row {
        *l -= log_sum;
    }
}

/// `mean(channel)` of a mixture component, shifted by the `earlier` channels.
#[inline(always)]
fn mean_of(
    parameters: &[f32],
    earlier: &[f32],
    layout: ParameterLayout,
    mixture: usize,
    channel: usize,
) -> f32 {
    let mut mean = parameters[layout.mean(mixture, channel)];
    for (j, x) in earlier[..channel].iter().enumerate() {
        mean += Tanh.value(parameters[layout.coefficient(mixture, channel, j)]) * x;
    }
    mean
}

/// The logarithms of the mixture weights given the earlier channels.
#[inline(always)]
fn weigh(weights: &mut [f32], parameters: &[f32], earlier: &[f32], layout: ParameterLayout, bins: Bins) {
    for (mixture, weight) in weights.iter_mut().enumerate() {
        *weight = parameters[mixture];
        for (channel, &x) in earlier.iter().enumerate() {
            let mean = mean_of(parameters, earlier, layout, mixture, channel);
            *weight += bins.bin(x, mean, parameters[layout.log_scale(mixture, channel)]).log_mass();
        }
    }
    normalise(weights);
}

/// The logarithm of the sum over the mixture components, part by part.
#[inline(always)]
fn add_up(row: &mut [f32], terms: &[[f32; LEVELS]]) {
    row.copy_from_slice(&terms[0]);
    for terms in &terms[1..] {
        for (max, &term) in row.iter_mut().zip(terms) {
            *max = if term > *max { term } else { *max };
        }
    }
    let mut sums = [0.0; LEVELS];
    for terms in terms {
        for ((sum, &term), &max) in sums.iter_mut().zip(terms).zip(row.iter()) {
            *sum += exp(term - max);
        }
    }
    for (row, sum) in row.iter_mut().zip(sums) {
        *row += log(sum);
    }
}
