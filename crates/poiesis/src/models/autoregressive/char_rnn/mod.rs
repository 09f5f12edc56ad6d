//! The character-level recurrent network.
//!
//! Karpathy, "The unreasonable effectiveness of recurrent neural networks", 2015, with the settings of the program of the
//! same name; its cells are those of Hochreiter and Schmidhuber 1997 (LSTM) and Cho et al. 2014, arXiv:1406.1078 (GRU). A text
//! is cut into as many streams as a batch has rows; each step reads the next stretch of every stream and goes on from the
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

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use poiesis_kernels::{categorical_log_prob, embedding, gru, lstm};
use serde::{Deserialize, Serialize};

use super::{Dropout, outputs};
use crate::capability::{Capability, Code, Likelihood, Model, Reader, Sample, TokenLikelihood};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{DataSpec, ImageShape, TokenShape, Windows};
use crate::error::{Error, Result};
use crate::generate;
use crate::nn::{Activation, Init, Law, Linear, Weight, Weights, num_parameters, values};
use crate::train::{Optimizer, OptimizerConfig, Rule, Session, Terms};

/// Tokens of a window of validation, but for images, whose windows they fill.
const WINDOW: usize = 512;

mod incremental;

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
    /// Part of the numbers between layers, and before the last, that are set to zero in training.
    pub dropout: f64,
    /// First parameters are uniform on ± this; the bias of forget gates is 1.
    pub init: f64,
    /// Images: levels that a number is cut to, 2 to 256.
    pub levels: usize,
    /// What moves the weights.
    pub optimizer: Mover,
    /// Its step size.
    pub learning_rate: f64,
    /// RMSProp: how much of the second moment a step keeps.
    pub alpha: f64,
    /// AdamW: decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Each number of a gradient is clipped to ± this; 0 leaves them alone.
    pub clip_value: f64,
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

/// What moves the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mover {
    /// RMSProp (Tieleman and Hinton 2012), as the program has it.
    RmsProp,
    /// AdamW (Loshchilov and Hutter 2019).
    AdamW,
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
            optimizer: Mover::RmsProp,
            learning_rate: 2e-3,
            alpha: 0.95,
            weight_decay: 0.0,
            clip_value: 5.0,
            decay_after: 10,
            epoch_decay: 0.97,
        }
    }
}

impl CharRnnConfig {
    /// Makes a network for tokens of `shape`, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a size of zero or a part outside of its range.
    pub fn init(&self, shape: TokenShape, seed: u64, device: &Device) -> Result<CharRnn> {
        self.validate()?;
        let mut init = Init::new(seed, device);
        let vocabulary = shape.vocabulary();
        let table = (self.embedding > 0).then(|| init.uniform([vocabulary, self.embedding], self.init));
        let first = if self.embedding > 0 { self.embedding } else { vocabulary };
        let inputs = |layer| if layer == 0 { first } else { self.width };
        let layers = (0..self.layers).map(|layer| match self.cell {
            CellKind::Lstm => Cell::Lstm(Lstm::new(inputs(layer), self.width, self.init, &mut init)),
            CellKind::Gru => Cell::Gru(Gru::new(inputs(layer), self.width, self.init, &mut init)),
        });
        let layers = layers.collect();
        let head = Linear::with_bias(self.width, outputs(shape), Law::Uniform(self.init), &mut init);
        let network = Network { table, layers, head, vocabulary };
        Ok(CharRnn { config: self.clone(), shape, image: None, network })
    }

    fn validate(&self) -> Result<()> {
        let invalid = |key: &str, value: String, reason: &str, remedy: &str| {
            let key = format!("char-rnn.{key}");
            Err(Error::InvalidValue { key, value, reason: reason.into(), remedy: remedy.into() })
        };
        let sizes = [("layers", self.layers), ("width", self.width), ("context", self.context)];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return invalid(key, "0".into(), "a network needs at least one", "give a positive number");
        }
        if !(2..=256).contains(&self.levels) {
            let levels = self.levels.to_string();
            return invalid("levels", levels, "a number of an image is a byte", "give 2 to 256");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let part = self.dropout.to_string();
            return invalid("dropout", part, "some of the numbers must be left", "give 0 to 0.9");
        }
        Ok(())
    }

    fn optimizer(&self) -> OptimizerConfig {
        let rule = match self.optimizer {
            Mover::RmsProp => Rule::RmsProp { alpha: self.alpha, epsilon: 1e-8, momentum: 0.0 },
            Mover::AdamW => Rule::Adam { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
        };
        OptimizerConfig {
            decoupled_weight_decay: self.weight_decay,
            clip_value: self.clip_value,
            ..OptimizerConfig::new(rule, self.learning_rate)
        }
    }

    /// The factor on the learning rate in epoch `epoch`, counted from 0.
    fn decay(&self, epoch: u64) -> f64 {
        let decays = (epoch + 1).saturating_sub(self.decay_after);
        self.epoch_decay.powi(decays.min(i32::MAX as u64) as i32)
    }
}

/// A recurrent network for tokens of one alphabet.
#[derive(Clone, Debug)]
pub struct CharRnn {
    config: CharRnnConfig,
    shape: TokenShape,
    /// Shape of its images, if it is a model of images.
    image: Option<ImageShape>,
    /// Its parameters.
    pub network: Network,
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

/// Columns in the order of the gates i, f, g, o.
#[derive(Module, Debug)]
struct Lstm {
    w_input: Param<Tensor<2>>,
    w_hidden: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Lstm {
    fn new(inputs: usize, width: usize, bound: f64, init: &mut Init) -> Lstm {
        let w_input = init.uniform([inputs, 4 * width], bound);
        let w_hidden = init.uniform([width, 4 * width], bound);
        let forget = Tensor::ones([width], &init.device().clone().inner());
        let bias = init.uniform::<1>([4 * width], bound).map(|bias| {
            let drawn = bias.clone().inner();
            let (input, rest) = (drawn.clone().narrow(0, 0, width), drawn.narrow(0, 2 * width, 2 * width));
            let start = Tensor::cat(vec![input, forget, rest], 0);
            if bias.is_autodiff() { start.autodiff().require_grad() } else { start }
        });
        Lstm { w_input, w_hidden, bias }
    }

    fn forward(&self, x: Tensor<3>, state: Option<&State>) -> (Tensor<3>, State) {
        let state = state.map(|parts| (parts[0].clone(), parts[1].clone()));
        let (y, (h, c)) = lstm(x, self.w_input.val(), self.w_hidden.val(), self.bias.val(), state);
        (y, vec![constant(h), constant(c)])
    }
}

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
                Cell::Lstm(lstm) => lstm.forward(h, states.get(layer)),
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
        (categorical_log_prob(logits, targets), after)
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

impl Code for CharRnn {
    fn alphabet(&self) -> usize {
        outputs(self.shape)
    }

    fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
        Box::new(incremental::CharRnnReader::new(self, classes))
    }
}

impl Sample for CharRnn {
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

impl Model for CharRnn {
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

/// A recurrent network in training.
struct Training {
    model: CharRnn,
    optimizer: Optimizer,
    windows: Windows,
    /// What the streams have left behind; nothing where they begin.
    states: Vec<State>,
    seed: u64,
}

impl Training {
    fn new(model: CharRnn, windows: Windows, seed: u64) -> Training {
        let optimizer = Optimizer::new(model.config.optimizer());
        Training { model, optimizer, windows, states: Vec::new(), seed }
    }

    /// One step on given tokens.
    fn learn(&mut self, tokens: Tensor<2, Int>, dropout: &mut Dropout, schedule: f64) -> Terms {
        let time = tokens.dims()[1] - 1;
        let (log_probs, after) = self.model.log_probs(tokens, &self.states, dropout);
        let nll = log_probs.mean().neg();
        let mut gradients = (nll.clone() * time as f64).backward();
        self.model.network = self.optimizer.step(self.model.network.clone(), &mut gradients, schedule);
        self.states = after;
        Terms::new().with("nll", nll.inner())
    }
}

impl Session for Training {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        let CharRnnConfig { layers, dropout, .. } = self.model.config;
        let mut dropout = Dropout::of_step(dropout, self.seed, step, layers);
        let (tokens, begins) = self.windows.consecutive(step);
        if begins {
            self.states.clear();
        }
        let epoch = step / self.windows.steps_of_streams();
        self.learn(tokens, &mut dropout, schedule * self.model.config.decay(epoch))
    }

    fn weights(&self) -> Weights {
        Weights::of("network", &self.model.network)
    }

    /// What the optimizer remembers, and the states of the streams.
    fn optimizer_state(&self) -> Weights {
        let mut all = self.optimizer.state("optimizer");
        for (layer, state) in self.states.iter().enumerate() {
            for (part, values) in state.iter().enumerate() {
                let shape = values.dims();
                let values = values.clone().reshape([shape[0] * shape[1]]);
                all.insert(format!("streams.{layer}.{part}"), Weight { shape: shape.to_vec(), values });
            }
        }
        all
    }

    fn restore(&mut self, weights: &Weights, optimizer_state: &Weights) -> Result<(), String> {
        self.model.network = weights.put_into("network", self.model.network.clone())?;
        self.optimizer.restore("optimizer", optimizer_state);
        let part = |layer: usize, part: usize| {
            let weight = optimizer_state.get(&format!("streams.{layer}.{part}"))?;
            Some(weight.values.clone().reshape([weight.shape[0], weight.shape[1]]))
        };
        let state = |layer| (0..).map_while(|index| part(layer, index)).collect::<State>();
        self.states = (0..).map(state).take_while(|state| !state.is_empty()).collect();
        Ok(())
    }
}

/// The recurrent network in the catalogue.
pub struct CharRnnEntry;

impl Entry for CharRnnEntry {
    fn name(&self) -> &'static str {
        "char-rnn"
    }

    fn summary(&self) -> &'static str {
        "LSTM or GRU that reads token by token and remembers, with exact probabilities"
    }

    fn paper(&self) -> Paper {
        Paper {
            title: "Generating sequences with recurrent neural networks",
            authors: "Graves",
            year: 2013,
            arxiv: "1308.0850",
        }
    }

    fn domains(&self) -> &'static [Domain] {
        &[Domain::Text, Domain::Sound, Domain::Images]
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sample, Capability::Likelihood, Capability::Code, Capability::Complete]
    }

    fn recipes(&self) -> &'static [crate::catalogue::Recipe] {
        recipes!("tinyshakespeare", "tinyshakespeare-wide", "shapes")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig {
            batch_size: 50,
            ema_decay: 0.0,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&CharRnnConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: CharRnnConfig = start.config.model()?;
        let windows = start.windows(config.levels, config.context)?;
        let model = config.init(start.spec.tokens(config.levels), start.config.seed, &start.device)?;
        Ok(Box::new(Training::new(model, windows, start.config.seed)))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: CharRnnConfig = config.model()?;
        let mut model = config.init(spec.tokens(config.levels), 0, device)?;
        model.network = weights
            .put_into("network", model.network)
            .map_err(|reason| Error::WeightsMismatch { model: "char-rnn".into(), reason })?;
        model.image = spec.images().ok();
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let config: CharRnnConfig = config.model()?;
        let shape = spec.tokens(config.levels);
        let model = config.init(shape, 0, &Device::flex())?;
        // A layer holds its gates, cells and results.
        let token = shape.vocabulary() + 6 * config.width * config.layers + outputs(shape);
        Ok(Footprint {
            parameters: vec![("network", num_parameters(&model.network))],
            activations: 2 * token * config.context,
        })
    }
}

#[cfg(test)]
mod tests;
