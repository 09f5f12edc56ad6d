//! Reading and writing with the states of all layers kept.

use burn::module::Param;
use burn::tensor::Tensor;
use poiesis_kernels::inference::{PackedLinear, gru_cell, log_softmax, lstm_cell};

use super::{Cell, CharRnn};
use crate::abilities::IncrementalDecoder;
use crate::nn::values;

/// A recurrent network that reads several sequences at once.
pub(super) struct CharRnnDecoder {
    /// What the first layer's gates get from each token, `[vocabulary, gates]`.
    first: Vec<f32>,
    layers: Vec<PackedCell>,
    head: PackedLinear,
    rows: usize,
    width: usize,
    vocabulary: usize,
    /// Sums of the gates from the input, and from the state, `[rows, gates]`.
    gates: [Vec<f32>; 2],
    /// Whether `log_probs` are those of what was read.
    known: bool,
    log_probs: Vec<f32>,
}

/// A layer and its states, `[rows, width]`.
struct PackedCell {
    /// From the layer below; the first layer looks its sums up instead.
    input: PackedLinear,
    hidden: PackedLinear,
    h: Vec<f32>,
    /// Cells of an LSTM; a GRU has none.
    c: Option<Vec<f32>>,
}

fn pack(weight: &Param<Tensor<2>>, bias: Option<&Param<Tensor<1>>>) -> PackedLinear {
    let [inputs, outputs] = weight.dims();
    PackedLinear::new(&values(weight), bias.map(values).as_deref(), inputs, outputs)
}

impl PackedCell {
    fn new(cell: &Cell, rows: usize) -> PackedCell {
        match cell {
            Cell::Lstm(lstm) => {
                let state = vec![0.0; rows * lstm.w_hidden.dims()[0]];
                PackedCell {
                    input: pack(&lstm.w_input, Some(&lstm.bias)),
                    hidden: pack(&lstm.w_hidden, None),
                    h: state.clone(),
                    c: Some(state),
                }
            }
            Cell::Gru(gru) => PackedCell {
                input: pack(&gru.w_input, Some(&gru.bias_input)),
                hidden: pack(&gru.w_hidden, Some(&gru.bias_hidden)),
                h: vec![0.0; rows * gru.w_hidden.dims()[0]],
                c: None,
            },
        }
    }

    /// Steps on, given the sums that come from the input; `from_state` is scratch of the same size.
    fn step(&mut self, gates: &mut [f32], from_state: &mut [f32], width: usize) {
        match &mut self.c {
            Some(c) => {
                self.hidden.forward_add(&self.h, &mut *gates);
                lstm_cell(gates, c, &mut self.h, width);
            }
            None => {
                self.hidden.forward(&self.h, &mut *from_state);
                gru_cell(gates, from_state, &mut self.h, width);
            }
        }
    }
}

impl CharRnnDecoder {
    pub(super) fn new(model: &CharRnn, classes: &[Option<u32>]) -> CharRnnDecoder {
        let (rows, width, network) = (classes.len(), model.config.width, &model.network);
        let vocabulary = model.shape.vocabulary();
        let layers: Vec<PackedCell> = network.layers.iter().map(|cell| PackedCell::new(cell, rows)).collect();
        let head = network.head.packed();
        let gates = layers[0].input.outputs();
        let mut first = vec![0.0; vocabulary * gates];
        layers[0].input.forward(&network.rows_of_tokens(), &mut first);
        let mut decoder = CharRnnDecoder {
            first,
            rows,
            width,
            vocabulary,
            gates: [vec![0.0; rows * gates], vec![0.0; rows * gates]],
            known: true,
            // Before anything is read, nothing is known.
            log_probs: vec![-(head.outputs() as f32).ln(); rows * head.outputs()],
            layers,
            head,
        };
        let beginnings: Option<Vec<u32>> =
            classes.iter().map(|&class| model.shape.beginning(class)).collect();
        if let Some(beginnings) = beginnings.filter(|_| rows > 0) {
            decoder.append(&beginnings);
        }
        decoder
    }
}

impl IncrementalDecoder for CharRnnDecoder {
    fn log_probs(&mut self) -> &[f32] {
        if !self.known {
            let top = &self.layers[self.layers.len() - 1];
            self.head.forward(&top.h, &mut self.log_probs);
            log_softmax(&mut self.log_probs, self.head.outputs());
            self.known = true;
        }
        &self.log_probs
    }

    fn append(&mut self, tokens: &[u32]) {
        assert_eq!(tokens.len(), self.rows, "{} values for {} sequences", tokens.len(), self.rows);
        let [gates, from_state] = &mut self.gates;
        let size = self.layers[0].input.outputs();
        for (gates, &token) in gates.chunks_exact_mut(size).zip(tokens) {
            assert!((token as usize) < self.vocabulary, "value {token} of {}", self.vocabulary);
            gates.copy_from_slice(&self.first[token as usize * size..][..size]);
        }
        for layer in 0..self.layers.len() {
            let (below, rest) = self.layers.split_at_mut(layer);
            if let Some(below) = below.last() {
                rest[0].input.forward(&below.h, &mut *gates);
            }
            rest[0].step(gates, from_state, self.width);
        }
        self.known = false;
    }
}
