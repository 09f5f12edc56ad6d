//! Reading and writing sound with what each layer remembers.

use poiesis_kernels::inference::{PackedLinear, activate, add, gate_halves, log_softmax};
use poiesis_kernels::logistic_mixture_byte_log_probs;

use super::{Layer, WaveNet, num_values};
use crate::abilities::IncrementalDecoder;
use crate::data::{SampleFormat, mu_law};
use crate::nn::{Activation, values};

/// A WaveNet that reads several sequences at once. A layer with dilation d keeps its last d inputs, so a new sample costs one
/// row of each matrix and nothing of the past is computed again.
pub(super) struct WaveNetDecoder<'a> {
    model: &'a WaveNet,
    embedding: Vec<f32>,
    /// `[width]`.
    exact: Option<Vec<f32>>,
    layers: Vec<PackedLayer>,
    hidden: PackedLinear,
    output: PackedLinear,
    /// How many sequences there are.
    rows: usize,
    /// Tokens read.
    times: usize,
    /// The entry of the classes' tables for each sequence.
    classes: Vec<usize>,
    /// `[rows, width]` between layers.
    x: Vec<f32>,
    /// `[rows, 2 · width]`: the past and the present of a layer's input.
    both: Vec<f32>,
    /// `[rows, 2 · width]`.
    filters: Vec<f32>,
    /// `[rows, width]`.
    gated: Vec<f32>,
    /// `[rows, skip]`, twice.
    sum: [Vec<f32>; 2],
    /// The last 16-bit samples in [-1, 1], 0 for beginnings, `[rows]`.
    last: Vec<f32>,
    /// `[rows, outputs]`.
    outputs: Vec<f32>,
    /// The high bytes of 16-bit samples whose low bytes are to come.
    high: Option<Vec<u32>>,
    /// `[rows, num_values]`.
    log_probs: Vec<f32>,
}

struct PackedLayer {
    dilated: PackedLinear,
    classes: Vec<f32>,
    residual: PackedLinear,
    skip: PackedLinear,
    dilation: usize,
    /// The last inputs, `[dilation, rows, width]`; place t mod dilation is the oldest.
    past: Vec<f32>,
}

impl PackedLayer {
    fn new(layer: &Layer, width: usize, rows: usize) -> PackedLayer {
        let dilated = values(&layer.dilated);
        PackedLayer {
            // The kernel's past and present lie one below the other, as a matrix of twice the rows.
            dilated: PackedLinear::new(&dilated, None, 2 * width, 2 * width),
            classes: values(&layer.classes),
            residual: layer.residual.packed(),
            skip: layer.skip.packed(),
            dilation: layer.dilation,
            past: vec![0.0; layer.dilation * rows * width],
        }
    }
}

impl<'a> WaveNetDecoder<'a> {
    pub(super) fn new(model: &'a WaveNet, classes: &[Option<u32>]) -> WaveNetDecoder<'a> {
        let (rows, width, skip) = (classes.len(), model.config.width, model.config.skip);
        let (num_values, outputs) = (num_values(model.tokens), model.config.outputs(model.tokens));
        let network = &model.network;
        let mut decoder = WaveNetDecoder {
            model,
            embedding: values(&network.embedding),
            exact: network.exact.as_ref().map(values),
            layers: network.layers.iter().map(|layer| PackedLayer::new(layer, width, rows)).collect(),
            hidden: network.hidden.packed(),
            output: network.output.packed(),
            rows,
            times: 0,
            classes: vec![0; rows],
            x: vec![0.0; rows * width],
            both: vec![0.0; rows * 2 * width],
            filters: vec![0.0; rows * 2 * width],
            gated: vec![0.0; rows * width],
            sum: [vec![0.0; rows * skip], vec![0.0; rows * skip]],
            last: vec![0.0; rows],
            outputs: vec![0.0; rows * outputs],
            high: None,
            // Before anything is read, nothing is known.
            log_probs: vec![-(num_values as f32).ln(); rows * num_values],
        };
        let beginnings: Option<Vec<u32>> =
            classes.iter().map(|&class| model.tokens.beginning(class)).collect();
        if let Some(beginnings) = beginnings.filter(|_| rows > 0) {
            decoder.read(&beginnings);
            decoder.tell();
        }
        decoder
    }

    /// Takes the next token of each sequence.
    fn read(&mut self, tokens: &[u32]) {
        let width = self.model.config.width;
        for (row, &token) in tokens.iter().enumerate() {
            let x = &mut self.x[row * width..][..width];
            x.copy_from_slice(&self.embedding[self.model.entry(token) * width..][..width]);
            if let Some(exact) = &self.exact {
                let value = self.model.sample_value(token);
                x.iter_mut().zip(exact).for_each(|(x, exact)| *x += value * exact);
                self.last[row] = value;
            }
            if let Some(class) = self.model.class_of(token) {
                self.classes[row] = class as usize;
            }
        }
        self.sum[0].fill(0.0);
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let place = self.times % layer.dilation;
            let past = &mut layer.past[place * self.rows * width..][..self.rows * width];
            for row in 0..self.rows {
                let (before, now) = self.both[2 * row * width..][..2 * width].split_at_mut(width);
                before.copy_from_slice(&past[row * width..][..width]);
                now.copy_from_slice(&self.x[row * width..][..width]);
            }
            past.copy_from_slice(&self.x);
            layer.dilated.forward(&self.both[..], &mut self.filters[..]);
            for (filters, &class) in self.filters.chunks_exact_mut(2 * width).zip(&self.classes) {
                add(filters, &layer.classes[class * 2 * width..][..2 * width]);
            }
            gate_halves(&self.filters, width, Activation::Tanh, Activation::Sigmoid, &mut self.gated);
            layer.skip.forward(&self.gated[..], &mut self.sum[1][..]);
            if number == 0 {
                self.sum.swap(0, 1);
            } else {
                let [sum, skip] = &mut self.sum;
                add(sum, skip);
            }
            layer.residual.forward(&self.gated[..], &mut self.both[..self.rows * width]);
            add(&mut self.x, &self.both[..self.rows * width]);
        }
        let [sum, hidden] = &mut self.sum;
        activate(sum, Activation::Relu);
        self.hidden.forward(&sum[..], &mut hidden[..]);
        activate(hidden, Activation::Relu);
        self.output.forward(&hidden[..], &mut self.outputs[..]);
        self.times += 1;
    }

    /// The log_probs of the next values from the network's outputs and, of low bytes, the high ones.
    fn tell(&mut self) {
        let (model, num_values) = (self.model, num_values(self.model.tokens));
        if model.sample_format() == SampleFormat::MuLaw {
            self.log_probs.copy_from_slice(&self.outputs);
            return log_softmax(&mut self.log_probs, num_values);
        }
        let kinds = 1 + model.tokens.beginnings;
        let columns = model.config.outputs(model.tokens);
        let rows = || self.outputs.chunks_exact(columns);
        let mut mixtures: Vec<f32> = rows().flat_map(|outputs| &outputs[kinds..]).copied().collect();
        for (mixture, last) in mixtures.chunks_exact_mut(columns - kinds).zip(&self.last) {
            let (means, log_scales) = mixture[model.config.mixtures..].split_at_mut(model.config.mixtures);
            let mut scales = log_scales.to_vec();
            activate(&mut scales, Activation::Sigmoid);
            means.iter_mut().zip(scales).for_each(|(mean, scale)| *mean = last + *mean * scale);
        }
        // What follows a beginning that stands in place of a high byte is not looked at.
        let high: Option<Vec<u32>> =
            self.high.as_ref().map(|high| high.iter().map(|&value| value.min(255)).collect());
        let mut bytes = vec![0.0; self.rows * mu_law::LEVELS];
        logistic_mixture_byte_log_probs(&mixtures, high.as_deref(), &mut bytes);
        let mut log_kinds: Vec<f32> = rows().flat_map(|outputs| &outputs[..kinds]).copied().collect();
        log_softmax(&mut log_kinds, kinds);
        let log_probs = self.log_probs.chunks_exact_mut(num_values);
        let each = bytes.chunks_exact(mu_law::LEVELS).zip(log_kinds.chunks_exact(kinds));
        for (of_row, (bytes, log_kinds)) in log_probs.zip(each) {
            let (of_bytes, of_beginnings) = of_row.split_at_mut(mu_law::LEVELS);
            of_bytes.copy_from_slice(bytes);
            if high.is_some() {
                of_beginnings.fill(f32::NEG_INFINITY);
            } else {
                of_bytes.iter_mut().for_each(|log_prob| *log_prob += log_kinds[0]);
                of_beginnings.copy_from_slice(&log_kinds[1..]);
            }
        }
    }
}

impl IncrementalDecoder for WaveNetDecoder<'_> {
    fn log_probs(&mut self) -> &[f32] {
        &self.log_probs
    }

    fn append(&mut self, values: &[u32]) {
        assert_eq!(values.len(), self.rows, "{} values for {} sequences", values.len(), self.rows);
        match (self.model.sample_format(), self.high.take()) {
            (SampleFormat::MuLaw, _) => self.read(values),
            (SampleFormat::Pcm16, None) => self.high = Some(values.to_vec()),
            (SampleFormat::Pcm16, Some(high)) => {
                let beginnings = self.model.tokens.values as u32;
                let token = |(&high, &low): (&u32, &u32)| match high {
                    0..256 => high << 8 | low & 255,
                    _ => beginnings + high - 256,
                };
                let tokens: Vec<u32> = high.iter().zip(values).map(token).collect();
                self.read(&tokens);
            }
        }
        self.tell();
    }
}
