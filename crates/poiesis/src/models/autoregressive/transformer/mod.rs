//! The decoder-only transformer.
//!
//! Vaswani et al., "Attention is all you need", 2017, arXiv:1706.03762; as a model of sequences alone, Radford et al. 2018. A
//! sequence of tokens (characters, bytes, pieces of words, levels of sound, numbers of an image) is predicted token by
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
//! [`Muon`](crate::train::Muon)).

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use poiesis_kernels::{
    AttentionOptions, add, attention_packed, categorical_log_prob, embedding, fork, gate_halves, linear,
    rms_norm, rotary_packed,
};
use serde::{Deserialize, Serialize};

use super::{Dropout, outputs};
use crate::capability::{Capability, Code, Likelihood, Model, Reader, Sample, TokenLikelihood};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{Decay, RunConfig, SampleSchedule, TrainConfig};
use crate::data::{DataSpec, ImageShape, TokenShape, Windows};
use crate::error::{Error, Result};
use crate::generate;
use crate::nn::{Activation, Init, Law, Linear, Weights, num_parameters};
use crate::train::{MuonConfig, Optimizer, OptimizerConfig, Rule, Session, Terms};

/// Base of the wavelengths of rotated positions (Su et al. 2021, §3.2.2).
const BASE: f64 = 10_000.0;
/// Added to the mean square of a row before its root.
const EPSILON: f64 = 1e-6;

mod incremental;

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
    pub hidden: usize,
    /// Whether the table of tokens is the last layer as well.
    pub tied: bool,
    /// Part of the numbers that are set to zero in training: of the first stream and of what each layer adds.
    pub dropout: f64,
    /// Images: levels that a number is cut to, 2 to 256.
    pub levels: usize,
    /// What moves the weights.
    pub optimizer: Rate,
    /// Step size of AdamW.
    pub learning_rate: f64,
    /// `muon`: step size of the matrices inside.
    pub muon_learning_rate: f64,
    /// `muon`: how much of their momentum a step keeps.
    pub momentum: f64,
    /// AdamW: decay of the first moment.
    pub beta1: f64,
    /// AdamW: decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay of all matrices.
    pub weight_decay: f64,
    /// AdamW: norm that gradients are scaled down to; 0 leaves them alone.
    pub clip_norm: f64,
}

/// What moves the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rate {
    /// AdamW for all (Loshchilov and Hutter 2019).
    AdamW,
    /// Muon for the matrices inside, AdamW for the table of tokens, the last layer and the gains.
    Muon,
}

impl Default for TransformerConfig {
    fn default() -> TransformerConfig {
        TransformerConfig {
            context: 256,
            width: 128,
            layers: 4,
            heads: 4,
            kv_heads: 0,
            hidden: 0,
            tied: false,
            dropout: 0.0,
            levels: 256,
            optimizer: Rate::Muon,
            learning_rate: 3e-3,
            muon_learning_rate: 0.02,
            momentum: 0.95,
            beta1: 0.9,
            beta2: 0.99,
            weight_decay: 0.1,
            clip_norm: 1.0,
        }
    }
}

impl TransformerConfig {
    /// Makes a network for tokens of `shape`, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a size of zero, or heads that do not divide what they share.
    pub fn init(&self, shape: TokenShape, seed: u64, device: &Device) -> Result<Transformer> {
        self.validate()?;
        let mut init = Init::new(seed, device);
        let width = self.width;
        let outputs = outputs(shape);
        let embedding = init.weight([shape.vocabulary(), width], width, width, Law::Normal(0.02));
        let blocks = (0..self.layers).map(|_| Block::new(self, &mut init)).collect();
        let norm = init.constant([width], 1.0);
        let head = (!self.tied).then(|| Linear::new(width, outputs, Law::Normal(0.02), &mut init));
        let network = Network { embedding, blocks, norm, head, outputs };
        Ok(Transformer { config: self.clone(), shape, image: None, network })
    }

    fn validate(&self) -> Result<()> {
        let invalid = |key: &str, value: usize, reason: &str, remedy: &str| {
            let key = format!("transformer.{key}");
            Err(Error::InvalidValue {
                key,
                value: value.to_string(),
                reason: reason.into(),
                remedy: remedy.into(),
            })
        };
        let sizes = [
            ("context", self.context),
            ("width", self.width),
            ("layers", self.layers),
            ("heads", self.heads),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return invalid(key, 0, "a network needs at least one", "give a positive number");
        }
        if !self.width.is_multiple_of(2 * self.heads) {
            let reason = format!("{} heads do not divide a width of {} evenly", self.heads, self.width);
            return invalid(
                "heads",
                self.heads,
                &reason,
                "give a width that is an even multiple of the heads",
            );
        }
        if !self.heads.is_multiple_of(self.kv_heads()) {
            let reason = format!("{} heads of queries cannot share them evenly", self.heads);
            return invalid("kv_heads", self.kv_heads, &reason, "give a divisor of the heads, or 0");
        }
        if !(2..=256).contains(&self.levels) {
            return invalid("levels", self.levels, "a number of an image is a byte", "give 2 to 256");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::InvalidValue {
                key: "transformer.dropout".into(),
                value: self.dropout.to_string(),
                reason: "it is a part of the numbers, and some must be left".into(),
                remedy: "give 0 to 0.9".into(),
            });
        }
        Ok(())
    }

    fn kv_heads(&self) -> usize {
        if self.kv_heads == 0 { self.heads } else { self.kv_heads }
    }

    fn hidden(&self) -> usize {
        if self.hidden == 0 { (8 * self.width).div_ceil(3 * 32) * 32 } else { self.hidden }
    }

    /// Tokens that a prediction can see.
    fn context(&self, shape: TokenShape) -> usize {
        shape.length.unwrap_or(self.context)
    }

    fn optimizer(&self) -> Optimizer {
        let rule = Rule::Adam { beta1: self.beta1, beta2: self.beta2, epsilon: 1e-8 };
        let adam = Optimizer::new(OptimizerConfig {
            decoupled_weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            ..OptimizerConfig::new(rule, self.learning_rate)
        });
        match self.optimizer {
            Rate::AdamW => adam,
            Rate::Muon => adam.with_muon(MuonConfig {
                learning_rate: self.muon_learning_rate,
                momentum: self.momentum,
                rounds: 5,
                weight_decay: self.weight_decay,
                moves: |name| name.starts_with("blocks.") && name.ends_with(".weight"),
            }),
        }
    }
}

/// A transformer for tokens of one alphabet.
#[derive(Clone, Debug)]
pub struct Transformer {
    config: TransformerConfig,
    shape: TokenShape,
    /// Shape of its images, if it is a model of images.
    image: Option<ImageShape>,
    /// Its parameters.
    pub network: Network,
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
        let (width, hidden, kv_heads) = (config.width, config.hidden(), config.kv_heads());
        let all = width + 2 * kv_heads * width / config.heads;
        // What is added to the stream starts at a size that keeps its variance over all layers (Radford et al. 2019).
        let added =
            |inputs: usize| Law::Normal(1.0 / (3.0 * inputs as f64 * 2.0 * config.layers as f64).sqrt());
        Block {
            attention_norm: init.constant([width], 1.0),
            qkv: Linear::new(width, all, Law::FanIn, init),
            attended: Linear::new(width, width, added(width), init),
            gated_norm: init.constant([width], 1.0),
            up: Linear::new(width, 2 * hidden, Law::FanIn, init),
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

impl Code for Transformer {
    fn alphabet(&self) -> usize {
        outputs(self.shape)
    }

    fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
        Box::new(incremental::TransformerReader::new(self, classes))
    }

    fn all_laws(&self, sequences: &[&[u32]], classes: &[Option<u32>]) -> Option<Vec<f32>> {
        let length = self.shape.length?;
        assert_eq!(sequences.len(), classes.len(), "there must be a class for each sequence");
        let packed = incremental::Packed::new(self);
        let mut scratch = incremental::Scratch::default();
        let size = length * self.alphabet();
        let mut laws = vec![0.0; sequences.len() * size];
        for ((sequence, &class), laws) in sequences.iter().zip(classes).zip(laws.chunks_exact_mut(size)) {
            assert_eq!(sequence.len(), length, "a sequence of another length");
            let mut tokens: Vec<u32> = self.shape.beginning(class).into_iter().collect();
            tokens.extend_from_slice(&sequence[..length - 1]);
            packed.read(&tokens, length, &mut packed.caches(1), &mut scratch);
            packed.laws(&scratch.h, &mut scratch.x, laws);
        }
        Some(laws)
    }
}

impl Sample for Transformer {
    /// Images of the classes in turn.
    ///
    /// # Panics
    ///
    /// When the model is not one of images.
    fn sample(&self, seed: u64, indices: Range<u64>) -> Tensor<4> {
        let shape = self.image.expect("a model of images has their shape");
        generate::images(self, shape, self.shape.beginnings, seed, indices, &self.network.devices()[0])
    }
}

impl Model for Transformer {
    fn sampler(&self) -> Option<&dyn Sample> {
        self.image.is_some().then_some(self as &dyn Sample)
    }

    fn likelihood(&self) -> Option<Likelihood<'_>> {
        Some(Likelihood::Tokens(self))
    }

    fn code(&self) -> Option<&dyn Code> {
        Some(self)
    }
}

/// A transformer in training.
struct Training {
    model: Transformer,
    optimizer: Optimizer,
    windows: Windows,
    seed: u64,
}

impl Training {
    fn new(model: Transformer, windows: Windows, seed: u64) -> Training {
        Training { optimizer: model.config.optimizer(), model, windows, seed }
    }

    /// One step on given tokens.
    fn learn(&mut self, tokens: Tensor<2, Int>, dropout: &mut Dropout, schedule: f64) -> Terms {
        let nll = self.model.log_probs(tokens, dropout).mean().neg();
        let mut gradients = nll.backward();
        self.model.network = self.optimizer.step(self.model.network.clone(), &mut gradients, schedule);
        Terms::new().with("nll", nll.inner())
    }
}

impl Session for Training {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        let TransformerConfig { layers, dropout, .. } = self.model.config;
        let mut dropout = Dropout::of_step(dropout, self.seed, step, 2 * layers + 1);
        self.learn(self.windows.random(step), &mut dropout, schedule)
    }

    fn weights(&self) -> Weights {
        Weights::of("network", &self.model.network)
    }

    fn optimizer_state(&self) -> Weights {
        self.optimizer.state("optimizer")
    }

    fn restore(&mut self, weights: &Weights, optimizer_state: &Weights) -> Result<(), String> {
        self.model.network = weights.put_into("network", self.model.network.clone())?;
        self.optimizer.restore("optimizer", optimizer_state);
        Ok(())
    }
}

/// The transformer in the catalogue.
pub struct TransformerEntry;

impl Entry for TransformerEntry {
    fn name(&self) -> &'static str {
        "transformer"
    }

    fn summary(&self) -> &'static str {
        "decoder-only transformer: text, sound or images token by token, with exact probabilities"
    }

    fn paper(&self) -> Paper {
        Paper {
            title: "Attention is all you need",
            authors: "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
            year: 2017,
            arxiv: "1706.03762",
        }
    }

    fn domains(&self) -> &'static [Domain] {
        &[Domain::Text, Domain::Sound, Domain::Images]
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sample, Capability::Likelihood, Capability::Code, Capability::Complete]
    }

    fn recipes(&self) -> &'static [crate::catalogue::Recipe] {
        recipes!("tinyshakespeare-fast", "tinyshakespeare", "names", "novels", "fsdd", "shapes")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig {
            batch_size: 32,
            schedule: Decay::Trapezoid,
            cooldown: 0.5,
            ema_decay: 0.0,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&TransformerConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: TransformerConfig = start.config.model()?;
        let shape = start.spec.tokens(config.levels);
        let windows = start.windows(config.levels, config.context(shape))?;
        let model = config.init(shape, start.config.seed, &start.device)?;
        Ok(Box::new(Training::new(model, windows, start.config.seed)))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: TransformerConfig = config.model()?;
        let mut model = config.init(spec.tokens(config.levels), 0, device)?;
        model.network = weights
            .put_into("network", model.network)
            .map_err(|reason| Error::WeightsMismatch { model: "transformer".into(), reason })?;
        model.image = spec.images().ok();
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let config: TransformerConfig = config.model()?;
        let shape = spec.tokens(config.levels);
        let model = config.init(shape, 0, &Device::flex())?;
        // A layer holds its stream and both norms' results, queries, keys and values twice, what was attended to, and the gated
        // layer before and behind its gate.
        let layer = 12 * config.width + 3 * config.hidden();
        let token = config.layers * layer + 3 * config.width + outputs(shape);
        Ok(Footprint {
            parameters: vec![("network", num_parameters(&model.network))],
            activations: 2 * token * config.context(shape),
        })
    }
}

#[cfg(test)]
mod tests;
