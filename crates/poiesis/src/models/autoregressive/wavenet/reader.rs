//! Reading and writing sound with what each layer remembers.

use poiesis_kernels::inference::{PackedLinear, activate, add, gate_halves, log_softmax};

use super::{Layer, WaveNet};
use crate::capability::Reader;
use crate::nn::{Activation, values};

/// A WaveNet that reads several sequences at once. A layer with dilation d keeps its last d inputs, so a new sample costs one
/// row of each matrix and nothing of the past is computed again.
pub(super) struct WaveNetReader<'a> {
    model: &'a WaveNet,
    embedding: Vec<f32>,
    layers: Vec<PackedLayer>,
    hidden: PackedLinear,
    output: PackedLinear,
    /// How many sequences there are.
    rows: usize,
    /// Tokens read.
    read: usize,
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
    /// `[rows, vocabulary]`.
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
        let vocabulary = model.tokens.vocabulary();
        let network = &model.network;
        let mut reader = WaveNetReader {
            model,
            embedding: values(&network.embedding),
            layers: network.layers.iter().map(|layer| PackedLayer::new(layer, width, rows)).collect(),
            hidden: network.hidden.packed(),
            output: network.output.packed(),
            rows,
            read: 0,
            classes: vec![0; rows],
            x: vec![0.0; rows * width],
            both: vec![0.0; rows * 2 * width],
            filters: vec![0.0; rows * 2 * width],
            gated: vec![0.0; rows * width],
            sum: [vec![0.0; rows * skip], vec![0.0; rows * skip]],
            // Before anything is read, nothing is known.
            laws: vec![-(vocabulary as f32).ln(); rows * vocabulary],
        };
        let beginnings: Option<Vec<u32>> =
            classes.iter().map(|&class| model.tokens.beginning(class)).collect();
        if let Some(beginnings) = beginnings.filter(|_| rows > 0) {
            reader.push(&beginnings);
        }
        reader
    }
}

impl Reader for WaveNetReader<'_> {
    fn laws(&mut self) -> &[f32] {
        &self.laws
    }

    fn push(&mut self, tokens: &[u32]) {
        assert_eq!(tokens.len(), self.rows, "{} values for {} sequences", tokens.len(), self.rows);
        let width = self.model.config.width;
        for (row, &token) in tokens.iter().enumerate() {
            let entry = &self.embedding[token as usize * width..][..width];
            self.x[row * width..][..width].copy_from_slice(entry);
            if let Some(class) = self.model.class_of(token) {
                self.classes[row] = class as usize;
            }
        }
        self.sum[0].fill(0.0);
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let place = self.read % layer.dilation;
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
        self.output.forward(&hidden[..], &mut self.laws[..]);
        log_softmax(&mut self.laws, self.model.tokens.vocabulary());
        self.read += 1;
    }
}
