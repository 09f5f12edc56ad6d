//! WaveNet: sound, one sample at a time.
//!
//! Van den Oord et al., "WaveNet: a generative model for raw audio", 2016, arXiv:1609.03499. A stack of causal convolutions
//! whose dilation doubles from layer to layer sees a long past with few weights: p(x) = ∏ p(x_t | x_1, …, x_{t−1}) (Eq. 1),
//! where x_t is one of the 256 levels of the μ-law (§2.2), or a 16-bit sample, whose law is a mixture of discretised logistics
//! (van den Oord et al. 2018, "Parallel WaveNet", arXiv:1711.10433, §2.1; Salimans et al. 2017, arXiv:1701.05517, §2.1).
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `tokens` | x | levels of samples, and the tokens that begin clips |
//! | `dilated` | W_f, W_g | filter and gate of a layer, side by side |
//! | `classes` | V_f h, V_g h | what the class of the clip adds to them |
//! | `residual`, `skip` | | 1×1 convolutions after the gate (Fig. 4) |
//! | `mixture` | π, μ, s | logits, steps and log-scales of a 16-bit sample; μ = x_{t−1} + σ(log s) · step |
//!
//! Differences from the paper: the first causal convolution is a table of embeddings, which a convolution of one-hot
//! vectors is; a clip begins with a token of its class, the classes of Eq. 3 are read from the last beginning that a
//! window holds (none is known before it), and a model can end a clip by beginning another. A 16-bit sample enters by its
//! level of the μ-law and, added to that, its exact value; the means of its mixture are told as steps from the last sample, in
//! units of about their own scale, so that a network need not be exact to 16 bits where its law is not narrow.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_kernels::{
    ConvOptions, Grid, add, categorical_log_prob, conv2d, embedding, fork, gate_halves, linear,
    logistic_mixture_log_prob,
};
use serde::{Deserialize, Serialize};

use super::Rule;
use crate::capability::{Capability, Code, Likelihood, Model, Reader, TokenLikelihood};
use crate::catalogue::{Domain, Entry, Footprint, Paper, Start, recipes};
use crate::config::{RunConfig, SampleSchedule, TrainConfig};
use crate::data::{DataSpec, Depth, TokenShape, Windows, mu_law};
use crate::error::{Error, Result};
use crate::nn::{Activation, Init, Law, Linear, Weights, activate, num_parameters};
use crate::train::{Optimizer, Session, Terms};

mod incremental;

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
    /// Levels of a sample: 256, those of the μ-law, or 65,536, all of 16 bits.
    pub levels: usize,
    /// 65,536 levels: logistic distributions in the mixture.
    pub mixtures: usize,
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
            levels: 256,
            mixtures: 10,
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
        let sizes = [
            ("stacks", self.stacks),
            ("layers", self.layers),
            ("width", self.width),
            ("skip", self.skip),
            ("mixtures", self.mixtures),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(invalid(key, 0, "a network needs at least one", "set a positive number"));
        }
        if self.layers > 20 {
            let reason = "the dilation doubles with each layer of a stack";
            return Err(invalid("layers", self.layers, reason, "set at most 20, and more stacks"));
        }
        if Depth::of(self.levels).levels() != self.levels {
            let reason = "samples have the levels of the μ-law, or those of 16 bits";
            return Err(invalid("levels", self.levels, reason, "set 256 or 65536"));
        }
        let exact = Depth::of(tokens.values) == Depth::Bits16;
        let mut init = Init::new(seed, device);
        let dilations = (0..self.stacks).flat_map(|_| (0..self.layers).map(|layer| 1 << layer));
        let network = Network {
            embedding: init.normal([alphabet(tokens), self.width], 0.0, 1.0),
            // Sound is mostly quiet: a sixteenth of the greatest value counts as one.
            exact: exact.then(|| init.normal([1, self.width], 0.0, 16.0)),
            layers: dilations.map(|dilation| Layer::new(self, tokens, dilation, &mut init)).collect(),
            hidden: Linear::with_bias(self.skip, self.skip, Law::FanIn, &mut init),
            output: Linear::with_bias(self.skip, self.outputs(tokens), Law::FanIn, &mut init),
        };
        Ok(WaveNet { config: self.clone(), tokens, network })
    }

    /// Numbers that tell the law of the next token.
    fn outputs(&self, tokens: TokenShape) -> usize {
        match Depth::of(tokens.values) {
            Depth::MuLaw => tokens.vocabulary(),
            Depth::Bits16 => 1 + tokens.beginnings + 3 * self.mixtures,
        }
    }

    /// How many samples before the next one it can depend on.
    pub fn receptive_field(&self) -> usize {
        1 + self.stacks * ((1 << self.layers) - 1)
    }

    fn optimizer(&self) -> Optimizer {
        self.optimizer.optimizer(self.learning_rate, self.muon_learning_rate, self.clip_norm)
    }
}

/// The values below 256 that samples are split into, and the beginnings.
fn alphabet(tokens: TokenShape) -> usize {
    tokens.values.min(mu_law::LEVELS) + tokens.beginnings
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
    /// `[levels of the μ-law + beginnings, width]`.
    embedding: Param<Tensor<2>>,
    /// `[1, width]`: what the exact value of a 16-bit sample adds.
    exact: Option<Param<Tensor<2>>>,
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
        let [seen, x] = fork(x);
        let filters = conv2d(seen, self.dilated.val(), None, &options);
        let added = embedding(self.classes.val(), classes).reshape(filters.dims());
        let [skipped, z] = fork(gate_halves(add(filters, added), Activation::Tanh, Activation::Sigmoid));
        let skip = self.skip.forward(skipped, Activation::Identity);
        (add(x, self.residual.forward(z, Activation::Identity)), skip)
    }
}

impl WaveNet {
    /// What tells the law of the token after each one.
    ///
    /// # Shapes
    ///
    /// `tokens` is `[batch, time]`. Of levels of the μ-law the result is their logits and those of the beginnings, `[batch, time,
    /// vocabulary]`; of 16-bit samples the logits of a sample and of each beginning, then logits, steps and log-scales of the
    /// sample's mixture, `[batch, time, 1 + beginnings + 3 · mixtures]`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [batch, time] = tokens.dims();
        let device = tokens.device();
        let values: Vec<u32> = tokens.into_data().iter::<u32>().collect();
        let classes: Vec<i32> = values.chunks_exact(time.max(1)).flat_map(|row| self.classes(row)).collect();
        let classes = Tensor::from_data(TensorData::new(classes, [batch, time]), &device);
        let entries: Vec<i32> = values.iter().map(|&token| self.entry(token) as i32).collect();
        let entries = Tensor::from_data(TensorData::new(entries, [batch, time]), &device);
        let x = embedding(self.network.embedding.val(), entries);
        let mut x = x.reshape([batch, 1, time, self.config.width]);
        if let Some(exact) = &self.network.exact {
            let exact = linear(self.samples(&values, &device), exact.val(), None, Activation::Identity);
            x = add(x, exact.reshape([batch, 1, time, self.config.width]));
        }
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
        let outputs = self.network.output.forward(hidden, Activation::Identity);
        let width = outputs.dims()[3];
        outputs.reshape([batch, time, width])
    }

    fn depth(&self) -> Depth {
        Depth::of(self.tokens.values)
    }

    /// The entry of the table of embeddings that a token has.
    fn entry(&self, token: u32) -> usize {
        match (self.depth(), self.beginning_of(token)) {
            (Depth::MuLaw, _) => token as usize,
            (Depth::Bits16, Some(class)) => mu_law::LEVELS + class,
            (Depth::Bits16, None) => mu_law::level(Depth::Bits16.join(&[token >> 8, token & 255])) as usize,
        }
    }

    /// The value of a 16-bit sample in [-1, 1], 0 for a beginning.
    fn sample_value(&self, token: u32) -> f32 {
        match self.beginning_of(token) {
            Some(_) => 0.0,
            None => Grid::Bits16.value(token as f32),
        }
    }

    /// The values of several tokens, `[tokens, 1]`.
    fn samples(&self, tokens: &[u32], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = tokens.iter().map(|&token| self.sample_value(token)).collect();
        Tensor::from_data(TensorData::new(values, [tokens.len(), 1]), device)
    }

    /// For each token of a row, one more than the class of the last beginning up to it, and 0 where there is none yet.
    fn classes(&self, row: &[u32]) -> Vec<i32> {
        let mut class = 0;
        let known = |&token: &u32| {
            class = self.class_of(token).unwrap_or(class);
            class
        };
        row.iter().map(known).collect()
    }

    /// The entry of the classes' table that a token leads to, if it is a beginning.
    fn class_of(&self, token: u32) -> Option<i32> {
        self.beginning_of(token).map(|class| 1 + class as i32)
    }

    /// The class that a token begins, if it is a beginning.
    fn beginning_of(&self, token: u32) -> Option<usize> {
        (token as usize).checked_sub(self.tokens.values)
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
        let (before, targets) = (tokens.clone().narrow(1, 0, length - 1), tokens.narrow(1, 1, length - 1));
        let outputs = self.forward(before.clone());
        let (rows, columns) = (batch * (length - 1), outputs.dims()[2]);
        let outputs = outputs.reshape([rows, columns]);
        match self.depth() {
            Depth::MuLaw => categorical_log_prob(outputs, targets.reshape([rows])),
            Depth::Bits16 => self.mixture_log_prob(&outputs, before, targets),
        }
    }

    /// log p of 16-bit samples and of beginnings: first which of them comes, then, of a sample, the mixture.
    fn mixture_log_prob(
        &self,
        outputs: &Tensor<2>,
        before: Tensor<2, Int>,
        targets: Tensor<2, Int>,
    ) -> Tensor<1> {
        let device = targets.device();
        let [before, targets] =
            [before, targets].map(|tokens| tokens.into_data().iter().collect::<Vec<u32>>());
        let (rows, kinds) = (targets.len(), 1 + self.tokens.beginnings);
        let kind: Vec<i32> = targets.iter().map(|&token| self.class_of(token).unwrap_or(0)).collect();
        let is_sample: Vec<f32> = kind.iter().map(|&kind| if kind == 0 { 1.0 } else { 0.0 }).collect();
        let kind = Tensor::from_data(TensorData::new(kind, [rows]), &device);
        let is_sample = Tensor::<1>::from_data(TensorData::new(is_sample, [rows]), &device);
        let log_kind = categorical_log_prob(outputs.clone().narrow(1, 0, kinds), kind);
        let block = |number: usize| {
            let mixtures = self.config.mixtures;
            outputs.clone().narrow(1, kinds + number * mixtures, mixtures)
        };
        let scale = activate(block(2), Activation::Sigmoid);
        let mean = scale * block(1) + self.samples(&before, &device);
        let mixture = Tensor::cat(vec![block(0), mean, block(2)], 1);
        let log_sample = logistic_mixture_log_prob(mixture, self.samples(&targets, &device), Grid::Bits16);
        log_kind + log_sample * is_sample
    }
}

impl TokenLikelihood for WaveNet {
    fn levels(&self) -> usize {
        self.config.levels
    }

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
        alphabet(self.tokens)
    }

    fn depth(&self) -> Depth {
        WaveNet::depth(self)
    }

    fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
        Box::new(incremental::WaveNetReader::new(self, classes))
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
        recipes!("fsdd", "fsdd-16bit")
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
        let windows = start.windows(config.levels, config.context)?;
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
        let mut model = config.init(spec.tokens(config.levels), 0, device)?;
        model.network = weights
            .put_into("network", model.network)
            .map_err(|reason| Error::WeightsMismatch { model: "wavenet".into(), reason })?;
        Ok(Box::new(model))
    }

    fn footprint(&self, config: &RunConfig, spec: &DataSpec) -> Result<Footprint> {
        let config: WaveNetConfig = config.model()?;
        let tokens = spec.tokens(config.levels);
        let model = config.init(tokens, 0, &Device::flex())?;
        // A layer keeps its input, both filters before and after the classes, the gate and two sums.
        let layer = 8 * config.width + 2 * config.skip;
        let each = config.stacks * config.layers * layer + 4 * config.skip + 2 * config.outputs(tokens);
        Ok(Footprint {
            parameters: vec![("network", num_parameters(&model.network))],
            activations: 2 * config.context * each,
        })
    }
}

#[cfg(test)]
mod tests;
