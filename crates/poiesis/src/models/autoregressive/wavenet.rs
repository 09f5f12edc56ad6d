//! WaveNet: sound, one sample at a time.
//!
//! Van den Oord et al., "WaveNet: a generative model for raw audio", 2016, arXiv:1609.03499. A stack of causal convolutions
//! whose dilation doubles from layer to layer sees a long past with few weights: p(x) = ∏ p(x_t | x_1, …, x_{t−1}) (Eq. 1),
//! where x_t is one of the 256 levels of the μ-law (§2.2).
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `tokens` | x | levels of samples, and the tokens that begin clips |
//! | `dilated` | W_f, W_g | filter and gate of a layer, side by side |
//! | `classes` | V_f h, V_g h | what the class of the clip adds to them |
//! | `residual`, `skip` | | 1×1 convolutions after the gate (Fig. 4) |
//!
//! Differences from the paper: the first causal convolution is a table of embeddings, which a convolution of one-hot
//! vectors is; a clip begins with a token of its class, the classes of Eq. 3 are read from the last beginning that a
//! window holds (none is known before it), and a model can end a clip by beginning another.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_kernels::{ConvOptions, add, categorical_log_prob, conv2d, embedding, gate_halves};
use serde::{Deserialize, Serialize};

use super::Rule;
use crate::capability::{Capability, Code, Likelihood, Model, Reader, TokenLikelihood};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{DataSpec, TokenShape, Windows};
use crate::error::{Error, Result};
use crate::nn::{Activation, Init, Law, Linear, Weights, activate, num_parameters};
use crate::train::{Optimizer, Session, Terms};

mod reader;

/// Settings of a [`WaveNet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaveNetConfig {
    /// How often the dilations 1, 2, 4, … are gone through.
    pub stacks: usize,
    /// Layers of a stack; the last has a dilation of 2^(layers − 1).
    pub layers: usize,
    /// Features between layers.
    pub width: usize,
    /// Features of the sum of all layers, from which the level is told.
    pub skip: usize,
    /// Samples of a training window.
    pub context: usize,
    /// Rule of the optimizer: `adam`, `rmsprop` or `muon`.
    pub optimizer: Rule,
    /// Step size.
    pub learning_rate: f64,
    /// `muon`: step size of the kernels it is for.
    pub muon_learning_rate: f64,
    /// Norm that gradients are scaled down to; 0 leaves them alone. Those that Muon takes are not counted.
    pub clip_norm: f64,
}

impl Default for WaveNetConfig {
    fn default() -> WaveNetConfig {
        WaveNetConfig {
            stacks: 2,
            layers: 9,
            width: 64,
            skip: 128,
            context: 4000,
            optimizer: Rule::Adam,
            learning_rate: 1e-3,
            muon_learning_rate: 0.02,
            clip_norm: 1.0,
        }
    }
}

impl WaveNetConfig {
    /// Makes a network for an alphabet, with first weights drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a size of zero, or dilations beyond all sound.
    pub fn init(&self, tokens: TokenShape, seed: u64, device: &Device) -> Result<WaveNet> {
        let invalid = |key: &str, value: usize, reason: &str, remedy: &str| Error::InvalidValue {
            key: format!("wavenet.{key}"),
            value: value.to_string(),
            reason: reason.into(),
            remedy: remedy.into(),
        };
        let sizes =
            [("stacks", self.stacks), ("layers", self.layers), ("width", self.width), ("skip", self.skip)];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(invalid(key, 0, "a network needs at least one", "set a positive number"));
        }
        if self.layers > 20 {
            let reason = "the dilation doubles with each layer of a stack";
            return Err(invalid("layers", self.layers, reason, "set at most 20, and more stacks"));
        }
        let mut init = Init::new(seed, device);
        let vocabulary = tokens.vocabulary();
        let dilations = (0..self.stacks).flat_map(|_| (0..self.layers).map(|layer| 1 << layer));
        let network = Network {
            embedding: init.normal([vocabulary, self.width], 0.0, 1.0),
            layers: dilations.map(|dilation| Layer::new(self, tokens, dilation, &mut init)).collect(),
            hidden: Linear::with_bias(self.skip, self.skip, Law::FanIn, &mut init),
            output: Linear::with_bias(self.skip, vocabulary, Law::FanIn, &mut init),
        };
        Ok(WaveNet { config: self.clone(), tokens, network })
    }

    /// How many samples before the next one it can depend on.
    pub fn receptive_field(&self) -> usize {
        1 + self.stacks * ((1 << self.layers) - 1)
    }

    fn optimizer(&self) -> Optimizer {
        self.optimizer.optimizer(self.learning_rate, self.muon_learning_rate, self.clip_norm)
    }
}

/// The network and its alphabet.
#[derive(Clone, Debug)]
pub struct WaveNet {
    config: WaveNetConfig,
    tokens: TokenShape,
    /// Its parameters.
    pub network: Network,
}

/// The parameters of a [`WaveNet`].
#[derive(Module, Debug)]
pub struct Network {
    /// `[vocabulary, width]`.
    embedding: Param<Tensor<2>>,
    layers: Vec<Layer>,
    hidden: Linear,
    output: Linear,
}

/// A layer: z = tanh(W_f ∗ x + V_f h) ⊙ σ(W_g ∗ x + V_g h) (Eq. 3), then residual and skip (Fig. 4).
#[derive(Module, Debug)]
struct Layer {
    /// `[1, 2, width, 2 · width]`: the past, then the present; filter, then gate.
    dilated: Param<Tensor<4>>,
    /// `[1 + beginnings, 2 · width]`: what each class adds; the first where none is known.
    classes: Param<Tensor<2>>,
    residual: Linear,
    skip: Linear,
    #[module(skip)]
    dilation: usize,
}

impl Layer {
    fn new(config: &WaveNetConfig, tokens: TokenShape, dilation: usize, init: &mut Init) -> Layer {
        let width = config.width;
        Layer {
            dilated: init.weight([1, 2, width, 2 * width], 2 * width, 4 * width, Law::FanIn),
            classes: init.constant([1 + tokens.beginnings, 2 * width], 0.0),
            residual: Linear::with_bias(width, width, Law::FanIn, init),
            skip: Linear::with_bias(width, config.skip, Law::FanIn, init),
            dilation,
        }
    }

    /// The next layer's input and this one's part of the sum, from `x [batch, 1, time, width]` and the classes
    /// `[batch, time]`.
    fn forward(&self, x: Tensor<4>, classes: Tensor<2, Int>) -> (Tensor<4>, Tensor<4>) {
        let options = ConvOptions {
            padding: [[0, 0], [self.dilation, 0]],
            dilation: [1, self.dilation],
            ..ConvOptions::default()
        };
        let filters = conv2d(x.clone(), self.dilated.val(), None, &options);
        let added = embedding(self.classes.val(), classes).reshape(filters.dims());
        let z = gate_halves(add(filters, added), Activation::Tanh, Activation::Sigmoid);
        let skip = self.skip.forward(z.clone(), Activation::Identity);
        (add(x, self.residual.forward(z, Activation::Identity)), skip)
    }
}

impl WaveNet {
    /// Logits of the token after each one.
    ///
    /// # Shapes
    ///
    /// `tokens` is `[batch, time]`, the result `[batch, time, vocabulary]`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [batch, time] = tokens.dims();
        let classes = self.classes(&tokens);
        let x = embedding(self.network.embedding.val(), tokens);
        let mut x = x.reshape([batch, 1, time, self.config.width]);
        let mut sum: Option<Tensor<4>> = None;
        for layer in &self.network.layers {
            let (next, skip) = layer.forward(x, classes.clone());
            x = next;
            sum = Some(match sum {
                Some(sum) => add(sum, skip),
                None => skip,
            });
        }
        let sum = sum.expect("there is at least one layer");
        let hidden = self.network.hidden.forward(activate(sum, Activation::Relu), Activation::Relu);
        let logits = self.network.output.forward(hidden, Activation::Identity);
        logits.reshape([batch, time, self.tokens.vocabulary()])
    }

    /// For each token, one more than the class of the last beginning up to it, and 0 where its row has none yet.
    fn classes(&self, tokens: &Tensor<2, Int>) -> Tensor<2, Int> {
        let [batch, time] = tokens.dims();
        let values: Vec<i32> = tokens.to_data().iter::<i32>().collect();
        let mut classes = Vec::with_capacity(values.len());
        for row in values.chunks_exact(time.max(1)) {
            let mut class = 0;
            for &token in row {
                if let Some(begun) = self.class_of(token as u32) {
                    class = begun;
                }
                classes.push(class);
            }
        }
        Tensor::from_data(TensorData::new(classes, [batch, time]), &tokens.device())
    }

    /// The entry of the classes' table that a token leads to, if it is a beginning.
    fn class_of(&self, token: u32) -> Option<i32> {
        (token as usize).checked_sub(self.tokens.values).map(|class| 1 + class as i32)
    }

    /// −log p of the tokens after the first of each window, averaged, `[1]`, in nats for each token.
    ///
    /// # Shapes
    ///
    /// `windows` is `[batch, context + 1]`.
    pub fn loss(&self, windows: Tensor<2, Int>) -> Tensor<1> {
        self.token_log_prob(windows).mean().neg()
    }

    /// log p of each token but the first, `[batch · (length − 1)]`.
    fn token_log_prob(&self, tokens: Tensor<2, Int>) -> Tensor<1> {
        let [batch, length] = tokens.dims();
        let logits = self.forward(tokens.clone().narrow(1, 0, length - 1));
        let rows = batch * (length - 1);
        let targets = tokens.narrow(1, 1, length - 1).reshape([rows]);
        categorical_log_prob(logits.reshape([rows, self.tokens.vocabulary()]), targets)
    }
}

impl TokenLikelihood for WaveNet {
    fn window(&self) -> usize {
        self.config.context + 1
    }

    fn log_prob(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let [batch, length] = tokens.dims();
        self.token_log_prob(tokens).reshape([batch, length - 1])
    }
}

impl Code for WaveNet {
    fn alphabet(&self) -> usize {
        self.tokens.vocabulary()
    }

    fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
        Box::new(reader::WaveNetReader::new(self, classes))
    }
}

impl Model for WaveNet {
    fn likelihood(&self) -> Option<Likelihood<'_>> {
        Some(Likelihood::Tokens(self))
    }

    fn code(&self) -> Option<&dyn Code> {
        Some(self)
    }
}

/// A WaveNet in training.
struct Training {
    model: WaveNet,
    optimizer: Optimizer,
    windows: Windows,
}

impl Training {
    /// One step on given windows.
    fn learn(&mut self, windows: Tensor<2, Int>, schedule: f64) -> Terms {
        let loss = self.model.loss(windows);
        let mut gradients = loss.backward();
        self.model.network = self.optimizer.step(self.model.network.clone(), &mut gradients, schedule);
        Terms::new().with("nll", loss.inner())
    }
}

impl Session for Training {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        self.learn(self.windows.random(step), schedule)
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

/// WaveNet in the catalogue.
pub struct WaveNetEntry;

impl Entry for WaveNetEntry {
    fn name(&self) -> &'static str {
        "wavenet"
    }

    fn summary(&self) -> &'static str {
        "dilated causal convolutions: sound, sample by sample, with its exact likelihood"
    }

    fn paper(&self) -> Paper {
        Paper {
            title: "WaveNet: a generative model for raw audio",
            authors: "van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior, Kavukcuoglu",
            year: 2016,
            arxiv: "1609.03499",
        }
    }

    fn domains(&self) -> &'static [Domain] {
        &[Domain::Sound]
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sample, Capability::Likelihood, Capability::Code, Capability::Complete]
    }

    fn recipes(&self) -> &'static [crate::catalogue::Recipe] {
        recipes!("wavenet": "fsdd")
    }

    fn train_defaults(&self) -> TrainConfig {
        TrainConfig {
            steps: 20_000,
            batch_size: 4,
            sample_schedule: SampleSchedule::Logarithmic,
            sample_frames: 10,
            sample_count: 4,
            sample_length: 6000,
            ..TrainConfig::default()
        }
    }

    fn model_defaults(&self) -> Result<toml::Table> {
        crate::config::to_table(&WaveNetConfig::default())
    }

    fn start(&self, start: Start) -> Result<Box<dyn Session>> {
        let config: WaveNetConfig = start.config.model()?;
        let windows = start.windows(0, config.context)?;
        let model = config.init(windows.shape(), start.config.seed, &start.device)?;
        Ok(Box::new(Training { optimizer: config.optimizer(), model, windows }))
    }

    fn load(
        &self,
        config: &RunConfig,
        spec: &DataSpec,
        weights: &Weights,
        device: &Device,
    ) -> Result<Box<dyn Model>> {
        let config: WaveNetConfig = config.model()?;
        let mut model = config.init(spec.tokens(0), 0, device)?;
        model.network = weights
            .put_into("network", model.network)
            .map_err(|reason| Error::WeightsMismatch { model: "wavenet".into(), reason })?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let config: WaveNetConfig = config.model()?;
        let tokens = spec.tokens(0);
        let model = config.init(tokens, 0, &Device::flex())?;
        // A layer keeps its input, both filters before and after the classes, the gate and two sums.
        let layer = 8 * config.width + 2 * config.skip;
        let each = config.stacks * config.layers * layer + 4 * config.skip + 2 * tokens.vocabulary();
        Ok(Footprint {
            parameters: vec![("network", num_parameters(&model.network))],
            activations: 2 * config.context * each,
        })
    }
}

#[cfg(test)]
mod tests;
