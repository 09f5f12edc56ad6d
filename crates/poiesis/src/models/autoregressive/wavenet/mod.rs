//! WaveNet: sound, one sample at a time.
//!
//! Van den Oord et al., "WaveNet: a generative model for raw audio", 2016, arXiv:1609.03499. A stack of causal convolutions
//! whose dilation doubles from layer to layer sees a long past with few weights: p(x) = ∏ p(x_t | x_1, …, x_{t−1}) (Eq. 1),
//! where x_t is one of the 256 levels of the μ-law (§2.2), or a 16-bit sample, whose distribution is a mixture of discretised logistics
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
//! level of the μ-law and, added to that, its exact value; the means of its mixture are given as steps from the last sample, in
//! units of about their own scale, so that a network need not be exact to 16 bits where its distribution is not narrow.

mod incremental;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_kernels::{
    ConvOptions, Grid, add, categorical_log_prob, conv2d, embedding, fork, gate_halves, linear,
    logistic_mixture_log_prob,
};
use serde::{Deserialize, Serialize};

use super::FAMILY;
use crate::abilities::{Abilities, Autoregressive, IncrementalDecoder, TokenLikelihood};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{
    DataFacts, DataSpec, MediaKind, SampleFormat, TokenShape, TokenWindows, WindowNeeds, mu_law,
};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, recipes};
use crate::nn::{Activation, Init, Initializer, Linear, activate};
use crate::optim::OptimizerConfig;

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
}

impl Default for WaveNetConfig {
    fn default() -> WaveNetConfig {
        WaveNetConfig { stacks: 2, layers: 9, width: 64, skip: 128, context: 4000, levels: 256, mixtures: 10 }
    }
}

impl WaveNetConfig {
    /// Parameters of the distribution of the next token.
    fn outputs(&self, tokens: TokenShape) -> usize {
        match SampleFormat::of(tokens.values) {
            SampleFormat::MuLaw => tokens.vocabulary(),
            SampleFormat::Pcm16 => 1 + tokens.beginnings + 3 * self.mixtures,
        }
    }

    /// How many samples before the next one it can depend on.
    pub fn receptive_field(&self) -> usize {
        1 + self.stacks * ((1 << self.layers) - 1)
    }
}

impl Settings for WaveNetConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["width", "skip", "mixtures"]);
        faults.depths(&["stacks", "layers"]);
        if self.layers > 20 {
            let reason = "the dilation doubles with each layer of a stack";
            faults.add("layers", self.layers, reason, "set at most 20, and more stacks");
        }
        if SampleFormat::of(self.levels).levels() != self.levels {
            let reason = "samples have the levels of the μ-law, or those of 16 bits";
            faults.add("levels", self.levels, reason, "set 256 or 65536");
        }
    }
}

/// The values below 256 that samples are split into, and the beginnings.
fn num_values(tokens: TokenShape) -> usize {
    tokens.values.min(mu_law::LEVELS) + tokens.beginnings
}

/// The network and its vocabulary.
#[derive(Module, Debug)]
pub struct WaveNet {
    /// Its parameters.
    pub network: Network,
    #[module(skip)]
    config: WaveNetConfig,
    #[module(skip)]
    tokens: TokenShape,
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
            dilated: init.weight([1, 2, width, 2 * width], 2 * width, 4 * width, Initializer::FanIn),
            classes: init.constant([1 + tokens.beginnings, 2 * width], 0.0),
            residual: Linear::with_bias(width, width, Initializer::FanIn, init),
            skip: Linear::with_bias(width, config.skip, Initializer::FanIn, init),
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
    /// What tells the distribution of the token after each one.
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

    fn sample_format(&self) -> SampleFormat {
        SampleFormat::of(self.tokens.values)
    }

    /// The entry of the table of embeddings that a token has.
    fn entry(&self, token: u32) -> usize {
        match (self.sample_format(), self.beginning_of(token)) {
            (SampleFormat::MuLaw, _) => token as usize,
            (SampleFormat::Pcm16, Some(class)) => mu_law::LEVELS + class,
            (SampleFormat::Pcm16, None) => {
                mu_law::level(SampleFormat::Pcm16.join(&[token >> 8, token & 255])) as usize
            }
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
        match self.sample_format() {
            SampleFormat::MuLaw => categorical_log_prob(outputs, targets.reshape([rows])),
            SampleFormat::Pcm16 => self.mixture_log_prob(&outputs, before, targets),
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

impl Autoregressive for WaveNet {
    fn num_values(&self) -> usize {
        num_values(self.tokens)
    }

    fn num_classes(&self) -> usize {
        self.tokens.classes()
    }

    fn knows_no_class(&self) -> bool {
        self.tokens.unlabelled
    }

    fn sample_format(&self) -> SampleFormat {
        WaveNet::sample_format(self)
    }

    fn decoder(&self, classes: &[Option<u32>]) -> Box<dyn IncrementalDecoder + '_> {
        Box::new(incremental::WaveNetDecoder::new(self, classes))
    }
}

impl WaveNet {
    /// Makes the network for tokens of a vocabulary.
    pub fn for_tokens(config: &WaveNetConfig, tokens: TokenShape, init: &mut Init) -> WaveNet {
        let exact = SampleFormat::of(tokens.values) == SampleFormat::Pcm16;
        let dilations = (0..config.stacks).flat_map(|_| (0..config.layers).map(|layer| 1 << layer));
        let network = Network {
            embedding: init.normal([num_values(tokens), config.width], 0.0, 1.0),
            // Sound is mostly quiet: a sixteenth of the greatest value counts as one.
            exact: exact.then(|| init.normal([1, config.width], 0.0, 16.0)),
            layers: dilations.map(|dilation| Layer::new(config, tokens, dilation, init)).collect(),
            hidden: Linear::with_bias(config.skip, config.skip, Initializer::FanIn, init),
            output: Linear::with_bias(config.skip, config.outputs(tokens), Initializer::FanIn, init),
        };
        WaveNet { network, config: config.clone(), tokens }
    }

    /// One step on given windows.
    fn update(&mut self, windows: Tensor<2, Int>, step: &mut Step<'_>) -> Metrics {
        let loss = self.loss(windows);
        step.minimize("optimizer", &mut self.network, &loss);
        Metrics::new().with("nll", loss)
    }
}

impl Model for WaveNet {
    const ABOUT: About = About {
        name: "wavenet",
        summary: "dilated causal convolutions: sound, sample by sample, with its exact likelihood",
        paper: Paper {
            title: "WaveNet: a generative model for raw audio",
            authors: "van den Oord, Dieleman, Zen, Simonyan, Vinyals, Graves, Kalchbrenner, Senior, Kavukcuoglu",
            year: 2016,
            arxiv: "1609.03499",
        },
        media: &[MediaKind::Sound],
        recipes: recipes!("fsdd", "fsdd-16bit"),
        train: || TrainConfig {
            steps: 20_000,
            batch_size: 4,
            sample_frames: 10,
            sample_count: 4,
            sample_length: 6000,
            ..(FAMILY.train)()
        },
        optimizer: || OptimizerConfig { clip: 1.0, ..OptimizerConfig::default() },
        ..FAMILY
    };

    type Config = WaveNetConfig;
    type Data = TokenWindows;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        vec![
            Choice::new("wavenet.width", 32, "a small network takes more steps"),
            Choice::new("wavenet.skip", 64, "a small network takes more steps"),
            Choice::new("wavenet.context", facts.window(2000), "short windows make short steps"),
            Choice::new("train.sample_count", 1, "one clip"),
            Choice::new("optimizer.kind", "muon", "faster than Adam here"),
            Choice::new("optimizer.learning_rate", 0.002, "for Muon"),
            Choice::new("optimizer.muon_learning_rate", 0.01, "for Muon"),
            Choice::new("optimizer.schedule", "cosine", "the length is known"),
            Choice::new("optimizer.warmup_steps", 50, "the first steps are rough"),
        ]
    }

    fn needs(config: &WaveNetConfig, _spec: &DataSpec) -> Result<WindowNeeds> {
        Ok(WindowNeeds { levels: config.levels, context: config.context })
    }

    fn new(config: &WaveNetConfig, spec: &DataSpec, init: &mut Init) -> Result<WaveNet> {
        Ok(WaveNet::for_tokens(config, spec.tokens(config.levels), init))
    }

    fn held_values(config: &WaveNetConfig, _spec: &DataSpec) -> Result<f64> {
        // Of each layer its two gates and their product.
        Ok(config.context as f64 * (config.stacks * config.layers) as f64 * 3.0 * config.width as f64)
    }

    fn train_step(&mut self, data: &mut TokenWindows, step: &mut Step<'_>) -> Metrics {
        self.update(data.windows(step.number), step)
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities::of_tokens(self)
    }
}

#[cfg(test)]
mod tests;
