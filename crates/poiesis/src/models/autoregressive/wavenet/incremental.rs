//! Reading and writing sound with what each layer remembers.

use poiesis_kernels::inference::{PackedLinear, activate, add, gate_halves, log_softmax};
use poiesis_kernels::logistic_mixture_byte_laws;

use super::{Layer, WaveNet, alphabet};
use crate::capability::Reader;
use crate::data::{Depth, mu_law};
use crate::nn::{Activation, values};

/// A WaveNet that reads several sequences at once. A layer with dilation d keeps its last d inputs, so a new sample costs one
/// row of each matrix and nothing of the past is computed again.
pub(super) struct WaveNetReader<'a> {
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
    /// `[rows, alphabet]`.
    laws: Vec<f32>,
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

impl<'a> WaveNetReader<'a> {
    pub(super) fn new(model: &'a WaveNet, classes: &[Option<u32>]) -> WaveNetReader<'a> {
        let (rows, width, skip) = (classes.len(), model.config.width, model.config.skip);
        let (alphabet, outputs) = (alphabet(model.tokens), model.config.outputs(model.tokens));
        let network = &model.network;
        let mut reader = WaveNetReader {
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
            laws: vec![-(alphabet as f32).ln(); rows * alphabet],
        };
        let beginnings: Option<Vec<u32>> =
            classes.iter().map(|&class| model.tokens.beginning(class)).collect();
        if let Some(beginnings) = beginnings.filter(|_| rows > 0) {
            reader.read(&beginnings);
            reader.tell();
        }
        reader
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

    /// The laws of the next values from the network's outputs and, of low bytes, the high ones.
    fn tell(&mut self) {
        let (model, alphabet) = (self.model, alphabet(self.model.tokens));
        if model.depth() == Depth::MuLaw {
            self.laws.copy_from_slice(&self.outputs);
            return log_softmax(&mut self.laws, alphabet);
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
        logistic_mixture_byte_laws(&mixtures, high.as_deref(), &mut bytes);
        let mut log_kinds: Vec<f32> = rows().flat_map(|outputs| &outputs[..kinds]).copied().collect();
        log_softmax(&mut log_kinds, kinds);
        let laws = self.laws.chunks_exact_mut(alphabet);
        let each = bytes.chunks_exact(mu_law::LEVELS).zip(log_kinds.chunks_exact(kinds));
        for (law, (bytes, log_kinds)) in laws.zip(each) {
            let (of_bytes, of_beginnings) = law.split_at_mut(mu_law::LEVELS);
            of_bytes.copy_from_slice(bytes);
            if high.is_some() {
                of_beginnings.fill(f32::NEG_INFINITY);
            } else {
                of_bytes.iter_mut().for_each(|law| *law += log_kinds[0]);
                of_beginnings.copy_from_slice(&log_kinds[1..]);
            }
        }
    }
}

impl Reader for WaveNetReader<'_> {
    fn laws(&mut self) -> &[f32] {
        &self.laws
    }

    fn push(&mut self, values: &[u32]) {
        assert_eq!(values.len(), self.rows, "{} values for {} sequences", values.len(), self.rows);
        match (self.model.depth(), self.high.take()) {
            (Depth::MuLaw, _) => self.read(values),
            (Depth::Bits16, None) => self.high = Some(values.to_vec()),
            (Depth::Bits16, Some(high)) => {
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
