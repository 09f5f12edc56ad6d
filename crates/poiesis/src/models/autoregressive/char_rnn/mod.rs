//! The character-level recurrent network.
//!
//! Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015, with the settings of the program of the
//! same name; its cells are those of Hochreiter and Schmidhuber 1997 (LSTM) and Cho et al. 2014, arXiv:1406.1078 (GRU). A text
//! is cut into as many streams as a batch has rows; each step reads the next stretch of every stream and continues from the
//! state that the stretch before left, through which no gradient flows back.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `tokens` | x | `[batch, time]`, numbers below the vocabulary |
//! | `State` | h, c | hidden state and, of an LSTM, cell of each layer, `[batch, width]` each |
//! | `nll` | −log p | nats for each token |
//!
//! Differences from the program: one bias for a layer of LSTM where it has two that are added, windows for validation of their
//! own (see [`TokenLikelihood::window`]), AdamW beside RMSProp, a table of tokens beside one-hot ones. As there, gradients are
//! those of the mean over the batch and the sum over time, which matters for clipping alone.

mod incremental;

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use poiesis_kernels::{categorical_log_prob, embedding, gru};
use serde::{Deserialize, Serialize};

use super::{Dropout, FAMILY, dropout_for, outputs, train_on_text};
use crate::abilities::{Abilities, Autoregressive, IncrementalDecoder, TokenLikelihood};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{Content, DataFacts, DataSpec, MediaKind, TokenShape, TokenStreams, WindowNeeds};
use crate::error::{Error, Result};
use crate::model::{About, Metrics, Model, Paper, Step, recipes};
use crate::nn::{Activation, Init, Initializer, Linear, Lstm, values};
use crate::optim::{OptimizerConfig, OptimizerKind};

/// Tokens of a window of validation, but for images, whose windows they fill.
const WINDOW: usize = 512;

/// The largest vocabulary that is read as vectors of zeros and a one, all of which are held in memory.
const MOST_ONE_HOT: usize = 16_384;

/// Settings of a [`CharRnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CharRnnConfig {
    /// Kind of the layers.
    pub cell: CellKind,
    /// Layers.
    pub layers: usize,
    /// Features of each layer.
    pub width: usize,
    /// Features of a token; 0 for as many as there are tokens, of which one is 1.
    pub embedding: usize,
    /// Tokens of a stretch, through which gradients flow.
    pub context: usize,
    /// Fraction of the values between layers, and before the last, that are set to zero in training.
    pub dropout: f64,
    /// First parameters are uniform on ± this; the bias of forget gates is 1.
    pub init: f64,
    /// Images: levels that a value is cut to, 2 to 256.
    pub levels: usize,
    /// Epochs with the whole learning rate.
    pub decay_after: u64,
    /// Factor on the learning rate at the end of each epoch from then on.
    pub epoch_decay: f64,
}

/// Kind of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// Long short-term memory.
    Lstm,
    /// Gated recurrent unit.
    Gru,
}

impl Default for CharRnnConfig {
    fn default() -> CharRnnConfig {
        CharRnnConfig {
            cell: CellKind::Lstm,
            layers: 2,
            width: 128,
            embedding: 0,
            context: 50,
            dropout: 0.0,
            init: 0.08,
            levels: 256,
            decay_after: 10,
            epoch_decay: 0.97,
        }
    }
}

impl Settings for CharRnnConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["width", "context"]);
        faults.depths(&["layers"]);
        faults.levels_of_bytes("levels");
        faults.dropout("dropout", self.dropout);
    }
}

impl CharRnnConfig {
    /// The factor on the learning rate in epoch `epoch`, counted from 0.
    fn decay(&self, epoch: u64) -> f64 {
        let decays = (epoch + 1).saturating_sub(self.decay_after);
        self.epoch_decay.powi(decays.min(i32::MAX as u64) as i32)
    }
}

/// A recurrent network for tokens of one vocabulary.
#[derive(Module, Debug)]
pub struct CharRnn {
    /// Its parameters.
    pub network: Network,
    #[module(skip)]
    config: CharRnnConfig,
    #[module(skip)]
    shape: TokenShape,
}

/// The parameters of a recurrent network.
#[derive(Module, Debug)]
pub struct Network {
    /// `[vocabulary, embedding]`, where tokens are not one-hot.
    table: Option<Param<Tensor<2>>>,
    layers: Vec<Cell>,
    head: Linear,
    #[module(skip)]
    vocabulary: usize,
}

/// A layer of either kind.
#[derive(Module, Debug)]
enum Cell {
    Lstm(Lstm),
    Gru(Gru),
}

/// What a layer hands on from one token to the next: `[batch, width]` for each of its parts, without gradients.
type State = Vec<Tensor<2>>;

/// Columns in the order of the gates r, z, n.
#[derive(Module, Debug)]
struct Gru {
    w_input: Param<Tensor<2>>,
    w_hidden: Param<Tensor<2>>,
    bias_input: Param<Tensor<1>>,
    bias_hidden: Param<Tensor<1>>,
}

impl Gru {
    fn new(inputs: usize, width: usize, bound: f64, init: &mut Init) -> Gru {
        Gru {
            w_input: init.uniform([inputs, 3 * width], bound),
            w_hidden: init.uniform([width, 3 * width], bound),
            bias_input: init.uniform([3 * width], bound),
            bias_hidden: init.uniform([3 * width], bound),
        }
    }

    fn forward(&self, x: Tensor<3>, state: Option<&State>) -> (Tensor<3>, State) {
        let state = state.map(|parts| parts[0].clone());
        let (w_input, w_hidden) = (self.w_input.val(), self.w_hidden.val());
        let (y, h) = gru(x, w_input, w_hidden, self.bias_input.val(), self.bias_hidden.val(), state);
        (y, vec![constant(h)])
    }
}

/// A tensor without its gradient.
fn constant(x: Tensor<2>) -> Tensor<2> {
    if x.is_autodiff() { x.inner() } else { x }
}

impl Network {
    /// The logits of the token after each, `[batch, time]` to `[batch · time, outputs]`, and the states of all layers behind
    /// the last; `states` are those in front of the first, zeros where there are none.
    fn forward(
        &self,
        tokens: Tensor<2, Int>,
        states: &[State],
        dropout: &mut Dropout,
    ) -> (Tensor<2>, Vec<State>) {
        let [batch, time] = tokens.dims();
        let one_hot = || Tensor::eye(self.vocabulary, &tokens.device());
        let table = self.table.as_ref().map_or_else(one_hot, Param::val);
        let mut h = embedding(table, tokens);
        let mut after = Vec::with_capacity(self.layers.len());
        for (layer, cell) in self.layers.iter().enumerate() {
            let (y, state) = match cell {
                Cell::Lstm(lstm) => {
                    let state = states.get(layer).map(|parts| (parts[0].clone(), parts[1].clone()));
                    let (y, (h, c)) = lstm.forward(h, state);
                    (y, vec![constant(h), constant(c)])
                }
                Cell::Gru(gru) => gru.forward(h, states.get(layer)),
            };
            h = dropout.apply(y);
            after.push(state);
        }
        let width = h.dims()[2];
        (self.head.forward(h.reshape([batch * time, width]), Activation::Identity), after)
    }
}

impl Network {
    /// What each token is to the first layer, `[vocabulary, inputs]` row by row.
    fn rows_of_tokens(&self) -> Vec<f32> {
        let place = |i: usize| if i.is_multiple_of(self.vocabulary + 1) { 1.0 } else { 0.0 };
        let one_hot = || (0..self.vocabulary * self.vocabulary).map(place).collect();
        self.table.as_ref().map_or_else(one_hot, values)
    }
}

impl CharRnn {
    /// log p of each token but the first given those before it in its row and `states`, `[batch, length]` to
    /// `[batch · (length − 1)]`, and the states behind all but the last.
    fn log_probs(
        &self,
        tokens: Tensor<2, Int>,
        states: &[State],
        dropout: &mut Dropout,
    ) -> (Tensor<1>, Vec<State>) {
        let [batch, length] = tokens.dims();
        let (logits, after) = self.network.forward(tokens.clone().narrow(1, 0, length - 1), states, dropout);
        let targets = tokens.narrow(1, 1, length - 1).reshape([batch * (length - 1)]);
        if self.shape.length.is_none() {
            return (categorical_log_prob(logits, targets), after);
        }
        // Where all documents have one length, their beginnings are certain, and the network has no logits for them.
        let certain = targets.clone().greater_equal_elem(self.shape.values as i64);
        let log_probs = categorical_log_prob(logits, targets.mask_fill(certain.clone(), 0));
        (log_probs.mask_fill(certain, 0.0), after)
    }
}

impl TokenLikelihood for CharRnn {
    fn levels(&self) -> usize {
        self.config.levels
    }

    fn window(&self) -> usize {
        self.shape.length.unwrap_or(WINDOW) + 1
    }

    fn log_prob(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [batch, length] = tokens.dims();
        self.log_probs(tokens, &[], &mut Dropout::none()).0.reshape([batch, length - 1])
    }
}

impl Autoregressive for CharRnn {
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
        Box::new(incremental::CharRnnDecoder::new(self, classes))
    }
}

impl CharRnn {
    /// Makes the network for tokens of `shape`.
    pub fn for_tokens(config: &CharRnnConfig, shape: TokenShape, init: &mut Init) -> CharRnn {
        let vocabulary = shape.vocabulary();
        let table = (config.embedding > 0).then(|| init.uniform([vocabulary, config.embedding], config.init));
        let first = if config.embedding > 0 { config.embedding } else { vocabulary };
        let inputs = |layer| if layer == 0 { first } else { config.width };
        let layers = (0..config.layers).map(|layer| match config.cell {
            CellKind::Lstm => Cell::Lstm(Lstm::new(inputs(layer), config.width, config.init, init)),
            CellKind::Gru => Cell::Gru(Gru::new(inputs(layer), config.width, config.init, init)),
        });
        let layers = layers.collect();
        let head = Linear::with_bias(config.width, outputs(shape), Initializer::Uniform(config.init), init);
        let network = Network { table, layers, head, vocabulary };
        CharRnn { network, config: config.clone(), shape }
    }

    /// One step on given tokens from given states; returns the states after it.
    fn update(
        &mut self,
        tokens: Tensor<2, Int>,
        states: &[State],
        dropout: &mut Dropout,
        step: &mut Step<'_>,
    ) -> (Metrics, Vec<State>) {
        let time = tokens.dims()[1] - 1;
        let (log_probs, after) = self.log_probs(tokens, states, dropout);
        let nll = log_probs.mean().neg();
        step.minimize("optimizer", &mut self.network, &(nll.clone() * time as f64));
        (Metrics::new().with("nll", nll), after)
    }
}

impl Model for CharRnn {
    const ABOUT: About = About {
        name: "char-rnn",
        summary: "LSTM or GRU that reads token by token and remembers, with exact probabilities",
        paper: Paper {
            title: "Generating sequences with recurrent neural networks",
            authors: "Graves",
            year: 2013,
            arxiv: "1308.0850",
        },
        media: &[MediaKind::Text, MediaKind::Sound, MediaKind::Images],
        recipes: recipes!("tinyshakespeare", "tinyshakespeare-wide", "shapes"),
        train: || TrainConfig { batch_size: 50, ..train_on_text() },
        optimizer: || OptimizerConfig {
            kind: OptimizerKind::RmsProp,
            learning_rate: 2e-3,
            betas: [0.9, 0.99],
            clip_value: 5.0,
            ..OptimizerConfig::default()
        },
        ..FAMILY
    };

    type Config = CharRnnConfig;
    type Data = TokenStreams;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        let mut choices = vec![
            Choice::new("char-rnn.context", facts.window(100), "longer than the streams of 2015"),
            Choice::new("char-rnn.epoch_decay", 1.0, "the schedule lowers the learning rate"),
            Choice::new("train.batch_size", 32, "many steps in little time"),
            Choice::new("optimizer.kind", "adamw", "faster than RMSProp"),
            Choice::new("optimizer.learning_rate", 0.003, "for AdamW"),
            Choice::new("optimizer.schedule", "cosine", "the length is known"),
            Choice::new("optimizer.warmup_steps", 50, "the first steps are rough"),
            dropout_for("char-rnn", facts),
        ];
        match facts.spec.content {
            Content::Images(_) => {
                let levels = if facts.two_tones { 2 } else { 16 };
                choices.push(Choice::new("char-rnn.levels", levels, facts.toned()));
                choices.push(Choice::new("train.sample_count", 16, "values are drawn one after another"));
            }
            Content::Text(_) => {
                choices.push(Choice::new("char-rnn.width", 256, "twice that of 2015"));
                choices.push(Choice::new("train.sample_count", 1, "one text"));
            }
            _ => choices.push(Choice::new("train.sample_count", 1, "one clip")),
        }
        choices
    }

    fn needs(config: &CharRnnConfig, _spec: &DataSpec) -> Result<WindowNeeds> {
        Ok(WindowNeeds { levels: config.levels, context: config.context })
    }

    fn new(config: &CharRnnConfig, spec: &DataSpec, init: &mut Init) -> Result<CharRnn> {
        let shape = spec.tokens(config.levels);
        if config.embedding == 0 && shape.vocabulary() > MOST_ONE_HOT {
            let reason = format!(
                "a vector of {0} zeros and a one for each of {0} tokens is too much",
                shape.vocabulary()
            );
            return Err(Error::invalid_value(
                "char-rnn.embedding",
                "0",
                &reason,
                "give a width, such as 256",
            ));
        }
        Ok(CharRnn::for_tokens(config, shape, init))
    }

    fn held_values(config: &CharRnnConfig, _spec: &DataSpec) -> Result<f64> {
        // The states of each layer and its gates.
        Ok(config.context as f64 * 4.0 * config.layers as f64 * config.width as f64)
    }

    fn expect_data(&self, data: &TokenStreams) -> Result<(), String> {
        let (layers, width) = (self.network.layers.len(), self.config.width);
        let parts = match self.config.cell {
            CellKind::Lstm => 2,
            CellKind::Gru => 1,
        };
        let fits = |state: &State| state.len() == parts && state.iter().all(|part| part.dims()[1] == width);
        match data.states.is_empty() || (data.states.len() == layers && data.states.iter().all(fits)) {
            true => Ok(()),
            false => Err(format!("`streams` does not have the states of {layers} layers of width {width}")),
        }
    }

    fn train_step(&mut self, data: &mut TokenStreams, step: &mut Step<'_>) -> Metrics {
        let mut dropout = Dropout::of_step(self.config.dropout, step, self.config.layers);
        let tokens = data.windows(step.number);
        step.scale_learning_rate(self.config.decay(data.epoch(step.number)));
        let (metrics, states) = self.update(tokens, &data.states, &mut dropout, step);
        data.states = states;
        metrics
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities::of_tokens(self)
    }
}

#[cfg(test)]
mod tests;
