//! Sixteen pixels side by side: their log probabilities and the gradients of their parameters.

use std::ops::Range;

use super::bins::Bins;
use crate::flex::function::{Function, Tanh, exp, log};
use crate::types::ParameterLayout;

/// Pixels that are computed side by side.
pub(super) const TILE: usize = 16;

/// One value for each pixel of a tile.
pub(super) type Lanes = [f32; TILE];

/// The values of the pixels of a tile, and scratch space.
pub(super) struct Tile {
    layout: ParameterLayout,
    bins: Bins,
    /// The parameters in their layout; at the end their gradients.
    pub(super) parameters: Vec<Lanes>,
    x: Vec<Lanes>,
    /// For each mixture component its logit plus the log mass of the pixel.
    terms: Vec<Lanes>,
    /// For each mixture component and channel, the derivatives of the log mass with respect to mean and log-scale.
    derivatives: Vec<[Lanes; 2]>,
}

impl Tile {
    pub(super) fn new(layout: ParameterLayout) -> Self {
        let zero = [0.0; TILE];
        Self {
            layout,
            bins: Bins::new(layout.grid, 1),
            parameters: vec![zero; layout.parameters()],
            x: vec![zero; layout.channels],
            terms: vec![zero; layout.mixtures],
            derivatives: vec![[zero; 2]; layout.mixtures * layout.channels],
        }
    }

    /// Reads the pixels of `range`; the remaining lanes repeat its last one.
    #[inline(always)]
    pub(super) fn read(&mut self, parameters: &[f32], x: &[f32], range: Range<usize>) {
        let rows: [usize; TILE] = std::array::from_fn(|lane| (range.start + lane).min(range.end - 1));
        transpose(parameters, rows, &mut self.parameters);
        transpose(x, rows, &mut self.x);
    }

    /// `mean(channel)` of a mixture component, shifted by the earlier channels.
    #[inline(always)]
    fn mean(&self, mixture: usize, channel: usize) -> Lanes {
        let mut mean = self.parameters[self.layout.mean(mixture, channel)];
        for earlier in 0..channel {
            let coefficient = &self.parameters[self.layout.coefficient(mixture, channel, earlier)];
            let x = &self.x[earlier];
            for i in 0..TILE {
                mean[i] += Tanh.value(coefficient[i]) * x[i];
            }
        }
        mean
    }

    #[inline(always)]
    pub(super) fn log_prob(&mut self) -> Lanes {
        self.write_terms::<false>();
        let mut result = log_sum_exp(&self.terms);
        let denominator = log_sum_exp(&self.parameters[..self.layout.mixtures]);
        for i in 0..TILE {
            result[i] -= denominator[i];
        }
        result
    }

    /// Replaces the parameters by their gradients, where `dy` is the gradient of the log probability.
    #[inline(always)]
    pub(super) fn gradient(&mut self, dy: &Lanes) {
        let ParameterLayout { mixtures, channels, .. } = self.layout;
        self.write_terms::<true>();
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
                let derivatives = &self.derivatives[mixture * channels + channel];
                for (derivative, index) in derivatives
                    .iter()
                    .zip([self.layout.mean(mixture, channel), self.layout.log_scale(mixture, channel)])
                {
                    let gradient = &mut self.parameters[index];
                    for i in 0..TILE {
                        gradient[i] = weight[i] * derivative[i];
                    }
                }
                for earlier in 0..channel {
                    let index = self.layout.coefficient(mixture, channel, earlier);
                    let coefficient = &mut self.parameters[index];
                    let x = &self.x[earlier];
                    for i in 0..TILE {
                        let t = Tanh.value(coefficient[i]);
                        coefficient[i] = weight[i] * derivatives[0][i] * x[i] * Tanh.derivative(0.0, t);
                    }
                }
            }
        }
    }

    /// Writes the terms, and the derivatives if they are wanted.
    #[inline(always)]
    fn write_terms<const DERIVATIVES: bool>(&mut self) {
        let ParameterLayout { mixtures, channels, .. } = self.layout;
        for mixture in 0..mixtures {
            let mut term = self.parameters[mixture];
            for channel in 0..channels {
                let mean = self.mean(mixture, channel);
                let log_scale = &self.parameters[self.layout.log_scale(mixture, channel)];
                let x = &self.x[channel];
                let mut derivatives = [[0.0; TILE]; 2];
                let [by_mean, by_log_scale] = &mut derivatives;
                for i in 0..TILE {
                    let bin = self.bins.bin(x[i], mean[i], log_scale[i]);
                    term[i] += bin.log_mass();
                    if DERIVATIVES {
                        [by_mean[i], by_log_scale[i]] = bin.derivatives();
                        by_log_scale[i] =
                            if log_scale[i] < self.bins.min_log_scale { 0.0 } else { by_log_scale[i] };
                    }
                }
                if DERIVATIVES {
                    self.derivatives[mixture * channels + channel] = derivatives;
                }
            }
            self.terms[mixture] = term;
        }
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
fn max(terms: &[Lanes]) -> Lanes {
    let mut max = terms[0];
    for term in &terms[1..] {
        for i in 0..TILE {
            max[i] = if term[i] > max[i] { term[i] } else { max[i] };
        }
    }
    max
}

#[inline(always)]
fn log_sum_exp(terms: &[Lanes]) -> Lanes {
    let mut result = max(terms);
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
    let max = max(terms);
    let mut sum = [0.0; TILE];
    for term in terms.iter_mut() {
        for i in 0..TILE {
            term[i] = exp(term[i] - max[i]);
            sum[i] += term[i];
        }
    }
    for term in terms {
        for i in 0..TILE {
            term[i] /= sum[i];
        }
    }
}
