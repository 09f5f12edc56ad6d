//! Reading and writing with kept keys and values.

use poiesis_kernels::inference::{KeyValueCache, PackedLinear, Rotary, gate_halves, log_softmax, rms_norm};
use poiesis_kernels::inference::{Rows, RowsMut};

use super::{BASE, Block, EPSILON, Transformer};
use crate::abilities::IncrementalDecoder;
use crate::nn::{Activation, values};

/// The network on slices.
pub(super) struct Packed {
    embedding: Vec<f32>,
    blocks: Vec<PackedBlock>,
    norm: Vec<f32>,
    head: PackedLinear,
    rotary: Rotary,
    width: usize,
    heads: usize,
    kv_heads: usize,
    hidden: usize,
    context: usize,
}

struct PackedBlock {
    attention_norm: Vec<f32>,
    qkv: PackedLinear,
    attended: PackedLinear,
    gated_norm: Vec<f32>,
    up: PackedLinear,
    down: PackedLinear,
}

impl PackedBlock {
    fn new(block: &Block) -> PackedBlock {
        PackedBlock {
            attention_norm: values(&block.attention_norm),
            qkv: block.qkv.packed(),
            attended: block.attended.packed(),
            gated_norm: values(&block.gated_norm),
            up: block.up.packed(),
            down: block.down.packed(),
        }
    }
}

impl Packed {
    pub(super) fn new(model: &Transformer) -> Packed {
        let (config, network) = (&model.config, &model.network);
        let embedding = values(&network.embedding);
        let (width, outputs) = (config.width, network.outputs);
        let head = match &network.head {
            Some(head) => head.packed(),
            None => {
                let column = |input: usize| (0..outputs).map(move |output| output * width + input);
                let weight: Vec<f32> = (0..width).flat_map(column).map(|place| embedding[place]).collect();
                PackedLinear::new(&weight, None, width, outputs)
            }
        };
        let context = config.context(model.shape);
        Packed {
            embedding,
            blocks: network.blocks.iter().map(PackedBlock::new).collect(),
            norm: values(&network.norm),
            head,
            rotary: Rotary::new(context, width / config.heads, BASE),
            width,
            heads: config.heads,
            kv_heads: config.kv_heads(),
            hidden: config.hidden_dim(),
            context,
        }
    }

    /// Empty caches of all layers for `rows` sequences.
    pub(super) fn caches(&self, rows: usize) -> Vec<KeyValueCache> {
        let shape = [rows, self.context, self.kv_heads, self.width / self.heads];
        self.blocks.iter().map(|_| KeyValueCache::new(shape)).collect()
    }

    /// Reads the next `count` tokens of every sequence, first all of the first one; their streams behind the last layer go
    /// to `scratch.h`.
    pub(super) fn read(
        &self,
        tokens: &[u32],
        count: usize,
        caches: &mut [KeyValueCache],
        scratch: &mut Scratch,
    ) {
        let (width, rows) = (self.width, tokens.len());
        let queries = width;
        let keys = self.kv_heads * width / self.heads;
        let all = queries + 2 * keys;
        let first = caches[0].len();
        let Scratch { h, x, qkv, up, gated } = scratch;
        h.resize(rows * width, 0.0);
        x.resize(rows * width, 0.0);
        qkv.resize(rows * all, 0.0);
        up.resize(rows * 2 * self.hidden, 0.0);
        gated.resize(rows * self.hidden, 0.0);
        for (h, &token) in h.chunks_exact_mut(width).zip(tokens) {
            h.copy_from_slice(&self.embedding[token as usize * width..][..width]);
        }
        for (block, cache) in self.blocks.iter().zip(caches) {
            rms_norm(h, &block.attention_norm, EPSILON, x);
            block.qkv.forward(&*x, &mut *qkv);
            for (row, qkv) in qkv.chunks_exact_mut(all).enumerate() {
                self.rotary.apply(first + row % count, &mut qkv[..queries + keys]);
            }
            let part = |start| Rows::strided(&qkv[start..], all);
            cache.append(count, part(queries), part(queries + keys));
            cache.attend(count, self.heads, part(0), None, &mut *x);
            block.attended.forward_add(&*x, &mut *h);
            rms_norm(h, &block.gated_norm, EPSILON, x);
            block.up.forward(&*x, &mut *up);
            gate_halves(up, self.hidden, Activation::Silu, Activation::Identity, gated);
            block.down.forward_add(&*gated, &mut *h);
        }
    }

    /// The log_probs behind streams `h [rows, width]`: `out [rows, outputs]`; `x` is scratch.
    pub(super) fn log_probs(&self, h: &[f32], x: &mut Vec<f32>, out: &mut [f32]) {
        x.resize(h.len(), 0.0);
        rms_norm(h, &self.norm, EPSILON, x);
        self.head.forward(&*x, RowsMut::from(&mut *out));
        log_softmax(out, self.head.outputs());
    }
}

/// What is computed between layers, a row for each token.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) h: Vec<f32>,
    pub(super) x: Vec<f32>,
    qkv: Vec<f32>,
    up: Vec<f32>,
    gated: Vec<f32>,
}

/// A transformer that reads several sequences at once. A new token costs one row of each matrix and one query; where the
/// context is full, the decoder begins anew from its later half, as windows of [`crate::evaluate::token_nll`] do.
pub(super) struct TransformerDecoder {
    packed: Packed,
    caches: Vec<KeyValueCache>,
    scratch: Scratch,
    /// Tokens of the present window, those of each sequence.
    windows: Vec<Vec<u32>>,
    /// How many tokens of a window the caches hold.
    read: usize,
    /// Whether a window is a whole document, after which nothing comes.
    whole: bool,
    vocabulary: usize,
    log_probs: Vec<f32>,
}

impl TransformerDecoder {
    pub(super) fn new(model: &Transformer, classes: &[Option<u32>]) -> TransformerDecoder {
        let (rows, outputs) = (classes.len(), model.network.outputs);
        let packed = Packed::new(model);
        let begin = |&class: &Option<u32>| model.shape.beginning(class).into_iter().collect();
        TransformerDecoder {
            caches: packed.caches(rows),
            packed,
            scratch: Scratch::default(),
            windows: classes.iter().map(begin).collect(),
            read: 0,
            whole: model.shape.length.is_some(),
            vocabulary: model.shape.vocabulary(),
            // Before anything is read, nothing is known.
            log_probs: vec![-(outputs as f32).ln(); rows * outputs],
        }
    }

    /// Tokens in a window.
    fn len(&self) -> usize {
        self.windows.first().map_or(0, Vec::len)
    }

    /// Begins the windows anew from their later half, but for what the next token needs.
    fn shift(&mut self) {
        let stride = self.packed.context.div_ceil(2);
        for window in &mut self.windows {
            window.drain(..stride);
        }
        self.caches.iter_mut().for_each(KeyValueCache::clear);
        self.read = 0;
    }
}

impl IncrementalDecoder for TransformerDecoder {
    fn log_probs(&mut self) -> &[f32] {
        let count = self.len() - self.read;
        if count > 0 {
            let tokens: Vec<u32> =
                self.windows.iter().flat_map(|window| &window[self.read..]).copied().collect();
            self.packed.read(&tokens, count, &mut self.caches, &mut self.scratch);
            self.read += count;
            let width = self.packed.width;
            let Scratch { h, x, up, .. } = &mut self.scratch;
            up.clear();
            for sequence in h.chunks_exact(count * width) {
                up.extend_from_slice(&sequence[(count - 1) * width..]);
            }
            self.packed.log_probs(up, x, &mut self.log_probs);
        }
        &self.log_probs
    }

    fn append(&mut self, values: &[u32]) {
        assert_eq!(values.len(), self.windows.len(), "{} values for other sequences", values.len());
        if self.len() == self.packed.context {
            if self.whole {
                return;
            }
            self.shift();
        }
        for (window, &value) in self.windows.iter_mut().zip(values) {
            assert!((value as usize) < self.vocabulary, "value {value} of {}", self.vocabulary);
            window.push(value);
        }
    }
}
