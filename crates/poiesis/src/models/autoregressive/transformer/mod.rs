//! The decoder-only transformer.
//!
//! Vaswani et al., "Attention is all you need", 2017, arXiv:1706.03762; as a model of sequences alone, Radford et al. 2018. A
//! sequence of tokens (characters, bytes, pieces of words, levels of sound, values of an image) is predicted token by
//! token: log p(x) = Σ log p(xₜ given x₁ … xₜ₋₁), and attention lets each place see all before it.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `tokens` | x | `[batch, time]`, numbers below the vocabulary |
//! | `h` | h | the stream that every layer adds to, `[batch, time, width]` |
//! | `qkv` | q, k, v | queries, keys and values of all heads side by side, made by one product |
//! | `nll` | −log p | nats for each token |
//!
//! Differences from the paper: norms in front of the layers (Radford et al. 2019) and by the root mean square alone (Zhang and
//! Sennrich 2019, arXiv:1910.07467), positions by rotation of queries and keys (Su et al. 2021, arXiv:2104.09864), a gated
//! layer silu(a) · b instead of ReLU (Shazeer 2020, arXiv:2002.05202), no biases, grouped queries where `kv_heads` is less than
//! `heads` (Ainslie et al. 2023, arXiv:2305.13245). Optimizers: AdamW, or Muon for the matrices inside (see
//! [`Muon`](crate::optim::Muon)).

mod incremental;

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use poiesis_kernels::{
    AttentionOptions, add, attention_packed, categorical_log_prob, embedding, fork, gate_halves, linear,
    rms_norm, rotary_packed,
};
use serde::{Deserialize, Serialize};

use super::{Dropout, FAMILY, dropout_for, outputs, train_on_text};
use crate::abilities::{Abilities, Autoregressive, IncrementalDecoder, TokenLikelihood};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{Content, DataFacts, DataSpec, MediaKind, TokenShape, TokenWindows, WindowNeeds};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, recipes};
use crate::nn::{Activation, Init, Initializer, Linear};
use crate::optim::{Decay, Optimizer, OptimizerConfig, OptimizerKind};

/// Base of the wavelengths of rotated positions (Su et al. 2021, §3.2.2).
const BASE: f64 = 10_000.0;
/// Added to the mean square of a row before its root.
const EPSILON: f64 = 1e-6;

/// Settings of a [`Transformer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Tokens that a prediction can see; for images it is their own length.
    pub context: usize,
    /// Features of the stream.
    pub width: usize,
    /// Layers, each attention and a gated layer.
    pub layers: usize,
    /// Heads of attention, which divide the width among themselves.
    pub heads: usize,
    /// Heads of keys and values, shared by neighbouring heads of queries; 0 for as many as heads.
    pub kv_heads: usize,
    /// Features inside a gated layer; 0 for 8/3 of the width, to the next multiple of 32.
    pub hidden_dim: usize,
    /// Whether the table of tokens is the last layer as well.
    pub tied: bool,
    /// Fraction of the values that are set to zero in training: of the first stream and of what each layer adds.
    pub dropout: f64,
    /// Images: levels that a value is cut to, 2 to 256.
    pub levels: usize,
}

impl Default for TransformerConfig {
    fn default() -> TransformerConfig {
        TransformerConfig {
            context: 256,
            width: 128,
            layers: 4,
            heads: 4,
            kv_heads: 0,
            hidden_dim: 0,
            tied: false,
            dropout: 0.0,
            levels: 256,
        }
    }
}

impl TransformerConfig {
    fn kv_heads(&self) -> usize {
        if self.kv_heads == 0 { self.heads } else { self.kv_heads }
    }

    fn hidden_dim(&self) -> usize {
        if self.hidden_dim == 0 { (8 * self.width).div_ceil(3 * 32) * 32 } else { self.hidden_dim }
    }

    /// Tokens that a prediction can see.
    fn context(&self, shape: TokenShape) -> usize {
        shape.length.unwrap_or(self.context)
    }
}

impl Settings for TransformerConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["context", "width", "heads"]);
        faults.depths(&["layers"]);
        if self.heads > 0 && !self.width.is_multiple_of(2 * self.heads) {
            let reason = format!("{} heads do not divide a width of {} evenly", self.heads, self.width);
            faults.add("heads", self.heads, &reason, "give a width that is an even multiple of the heads");
        }
        if self.heads > 0 && !self.heads.is_multiple_of(self.kv_heads()) {
            let reason = format!("{} heads of queries cannot share them evenly", self.heads);
            faults.add("kv_heads", self.kv_heads, &reason, "give a divisor of the heads, or 0");
        }
        faults.levels_of_bytes("levels");
        faults.dropout("dropout", self.dropout);
    }
}

/// A transformer for tokens of one vocabulary.
#[derive(Module, Debug)]
pub struct Transformer {
    /// Its parameters.
    pub network: Network,
    #[module(skip)]
    config: TransformerConfig,
    #[module(skip)]
    shape: TokenShape,
}

/// The parameters of a transformer.
#[derive(Module, Debug)]
pub struct Network {
    /// `[vocabulary, width]`.
    embedding: Param<Tensor<2>>,
    blocks: Vec<Block>,
    /// Gains of the last norm, `[width]`.
    norm: Param<Tensor<1>>,
    /// The last layer, unless it is the table of tokens.
    head: Option<Linear>,
    #[module(skip)]
    outputs: usize,
}

/// A layer: h ← h + attention(norm(h)), then h ← h + gated(norm(h)).
#[derive(Module, Debug)]
struct Block {
    attention_norm: Param<Tensor<1>>,
    qkv: Linear,
    attended: Linear,
    gated_norm: Param<Tensor<1>>,
    up: Linear,
    down: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
}

impl Block {
    fn new(config: &TransformerConfig, init: &mut Init) -> Block {
        let (width, hidden, kv_heads) = (config.width, config.hidden_dim(), config.kv_heads());
        let all = width + 2 * kv_heads * width / config.heads;
        // What is added to the stream starts at a size that keeps its variance over all layers (Radford et al. 2019).
        let added = |inputs: usize| {
            Initializer::Normal(1.0 / (3.0 * inputs as f64 * 2.0 * config.layers as f64).sqrt())
        };
        Block {
            attention_norm: init.constant([width], 1.0),
            qkv: Linear::new(width, all, Initializer::FanIn, init),
            attended: Linear::new(width, width, added(width), init),
            gated_norm: init.constant([width], 1.0),
            up: Linear::new(width, 2 * hidden, Initializer::FanIn, init),
            down: Linear::new(hidden, width, added(hidden), init),
            heads: config.heads,
            kv_heads,
        }
    }

    fn forward(&self, h: Tensor<3>, dropout: &mut Dropout) -> Tensor<3> {
        let [batch, time, width] = h.dims();
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        let [x, h] = fork(h);
        let x = rms_norm(x, self.attention_norm.val(), EPSILON);
        let qkv = self.qkv.forward(x, Activation::Identity);
        let qkv = qkv.reshape([batch, time, heads + 2 * kv_heads, width / heads]);
        let qkv = rotary_packed(qkv, kv_heads, 0, BASE);
        let options = AttentionOptions { causal: true, scale: None };
        let y = attention_packed(qkv, kv_heads, &options).reshape([batch, time, width]);
        let [x, h] = fork(add(h, dropout.apply(self.attended.forward(y, Activation::Identity))));
        let x = rms_norm(x, self.gated_norm.val(), EPSILON);
        let x = gate_halves(self.up.forward(x, Activation::Identity), Activation::Silu, Activation::Identity);
        add(h, dropout.apply(self.down.forward(x, Activation::Identity)))
    }
}

impl Network {
    /// The logits of the token after each, `[batch, time]` to `[batch · time, outputs]`.
    fn forward(&self, tokens: Tensor<2, Int>, dropout: &mut Dropout) -> Tensor<2> {
        let [batch, time] = tokens.dims();
        let h = dropout.apply(embedding(self.embedding.val(), tokens));
        let h = self.blocks.iter().fold(h, |h, block| block.forward(h, dropout));
        let h = rms_norm(h, self.norm.val(), EPSILON);
        let width = h.dims()[2];
        let h = h.reshape([batch * time, width]);
        match &self.head {
            Some(head) => head.forward(h, Activation::Identity),
            None => {
                let table = self.embedding.val().narrow(0, 0, self.outputs);
                linear(h, table.transpose(), None, Activation::Identity)
            }
        }
    }
}

impl Transformer {
    /// log p of each token but the first given those before it in its row, `[batch, length]` to `[batch · (length − 1)]`.
    fn log_probs(&self, tokens: Tensor<2, Int>, dropout: &mut Dropout) -> Tensor<1> {
        let [batch, length] = tokens.dims();
        let logits = self.network.forward(tokens.clone().narrow(1, 0, length - 1), dropout);
        let targets = tokens.narrow(1, 1, length - 1).reshape([batch * (length - 1)]);
        categorical_log_prob(logits, targets)
    }
}

impl TokenLikelihood for Transformer {
    fn levels(&self) -> usize {
        self.config.levels
    }

    fn window(&self) -> usize {
        self.config.context(self.shape) + 1
    }

    fn log_prob(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [batch, length] = tokens.dims();
        self.log_probs(tokens, &mut Dropout::none()).reshape([batch, length - 1])
    }
}

impl Autoregressive for Transformer {
    fn num_values(&self) -> usize {
        outputs(self.shape)
    }

    fn num_classes(&self) -> usize {
        self.shape.classes()
    }

    fn knows_no_class(&self) -> bool {
        self.shape.unlabelled
    }

    fn decoder(&self, classes: &[Option<u32>]) -> Box<dyn IncrementalDecoder + '_> {
        Box::new(incremental::TransformerDecoder::new(self, classes))
    }

    fn all_log_probs(&self, sequences: &[&[u32]], classes: &[Option<u32>]) -> Option<Vec<f32>> {
        let length = self.shape.length?;
        assert_eq!(sequences.len(), classes.len(), "there must be a class for each sequence");
        let packed = incremental::Packed::new(self);
        let mut scratch = incremental::Scratch::default();
        let size = length * self.num_values();
        let mut log_probs = vec![0.0; sequences.len() * size];
        for ((sequence, &class), log_probs) in
            sequences.iter().zip(classes).zip(log_probs.chunks_exact_mut(size))
        {
            assert_eq!(sequence.len(), length, "a sequence of another length");
            let mut tokens: Vec<u32> = self.shape.beginning(class).into_iter().collect();
            tokens.extend_from_slice(&sequence[..length - 1]);
            packed.read(&tokens, length, &mut packed.caches(1), &mut scratch);
            packed.log_probs(&scratch.h, &mut scratch.x, log_probs);
        }
        Some(log_probs)
    }
}

impl Transformer {
    /// Makes the network for tokens of `shape`.
    pub fn for_tokens(config: &TransformerConfig, shape: TokenShape, init: &mut Init) -> Transformer {
        let (width, outputs, normal) = (config.width, outputs(shape), Initializer::Normal(0.02));
        let embedding = init.weight([shape.vocabulary(), width], width, width, normal);
        let blocks = (0..config.layers).map(|_| Block::new(config, init)).collect();
        let norm = init.constant([width], 1.0);
        let head = (!config.tied).then(|| Linear::new(width, outputs, normal, init));
        let network = Network { embedding, blocks, norm, head, outputs };
        Transformer { network, config: config.clone(), shape }
    }

    /// One step on given tokens.
    fn update(&mut self, tokens: Tensor<2, Int>, dropout: &mut Dropout, step: &mut Step<'_>) -> Metrics {
        let nll = self.log_probs(tokens, dropout).mean().neg();
        step.minimize("optimizer", &mut self.network, &nll);
        Metrics::new().with("nll", nll)
    }
}

impl Model for Transformer {
    const ABOUT: About = About {
        name: "transformer",
        summary: "decoder-only transformer: text, sound or images token by token, with exact probabilities",
        paper: Paper {
            title: "Attention is all you need",
            authors: "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
            year: 2017,
            arxiv: "1706.03762",
        },
        media: &[MediaKind::Text, MediaKind::Sound, MediaKind::Images],
        recipes: recipes!("tinyshakespeare-fast", "tinyshakespeare", "names", "novels", "fsdd", "shapes"),
        train: || TrainConfig { batch_size: 32, ..train_on_text() },
        optimizer: || OptimizerConfig {
            kind: OptimizerKind::Muon,
            learning_rate: 3e-3,
            betas: [0.9, 0.99],
            weight_decay: 0.1,
            clip: 1.0,
            schedule: Decay::Trapezoid,
            cooldown: 0.5,
            ..OptimizerConfig::default()
        },
        old_keys: &[
            ("hidden", &["transformer.hidden_dim"]),
            ("momentum", &["optimizer.muon_momentum"]),
            ("weight_decay", &["optimizer.weight_decay", "optimizer.muon_weight_decay"]),
        ],
        ..FAMILY
    };

    type Config = TransformerConfig;
    type Data = TokenWindows;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        let dropout = dropout_for("transformer", facts);
        match facts.spec.content {
            Content::Text(_) => vec![
                Choice::new("transformer.context", facts.window(128), "short windows make short steps"),
                Choice::new("train.batch_size", 16, "many steps in little time"),
                Choice::new("train.sample_count", 1, "one text"),
                Choice::new("optimizer.warmup_steps", 20, "the first steps are rough"),
                dropout,
            ],
            Content::Sound(_) => vec![
                Choice::new("transformer.context", facts.window(1024), "an eighth of a second at 8 kHz"),
                Choice::new("train.batch_size", 4, "windows are long"),
                Choice::new("train.sample_count", 1, "one clip"),
                dropout,
            ],
            _ => vec![
                Choice::new("transformer.levels", if facts.two_tones { 2 } else { 16 }, facts.toned()),
                Choice::new("train.batch_size", 8, "an image is a long sequence"),
                Choice::new("train.sample_count", 16, "values are drawn one after another"),
            ],
        }
    }

    fn needs(config: &TransformerConfig, spec: &DataSpec) -> Result<WindowNeeds> {
        let context = config.context(spec.tokens(config.levels));
        Ok(WindowNeeds { levels: config.levels, context })
    }

    fn new(config: &TransformerConfig, spec: &DataSpec, init: &mut Init) -> Result<Transformer> {
        Ok(Transformer::for_tokens(config, spec.tokens(config.levels), init))
    }

    fn held_values(config: &TransformerConfig, spec: &DataSpec) -> Result<f64> {
        let context = config.context(spec.tokens(config.levels));
        // Of each layer its queries, keys and values, and the stream before it.
        Ok(context as f64 * 2.0 * config.layers as f64 * config.width as f64)
    }

    fn optimizers(_config: &TransformerConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        let inner = |name: &str| name.starts_with("blocks.") && name.ends_with(".weight");
        vec![("optimizer", Optimizer::with_muon_for(shared, inner))]
    }

    fn train_step(&mut self, data: &mut TokenWindows, step: &mut Step<'_>) -> Metrics {
        let mut dropout = Dropout::of_step(self.config.dropout, step, 2 * self.config.layers + 1);
        self.update(data.windows(step.number), &mut dropout, step)
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities::of_tokens(self)
    }
}

#[cfg(test)]
mod tests;
