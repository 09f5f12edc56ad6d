//! The GAN: two fully connected networks, of which one learns to make examples and the other to tell them from data.
//!
//! Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville and Bengio, "Generative adversarial nets", 2014,
//! arXiv:1406.2661. It learns images, and points on the plane, where the game can be watched.
//!
//! | here | meaning |
//! |---|---|
//! | `z`, latents | `[batch, latent_dim]` |
//! | `x`, examples | `[batch, values]`: flattened images in [-1, 1], or points in the units of the data |
//! | logit | the discriminator's output before the sigmoid: high means real |
//!
//! Differences from the paper: Adam instead of stochastic gradient descent with momentum, unless `optimizer.kind = "sgd"`; leaky
//! ReLU in the discriminator unless `maxout_pieces` is above 1; minibatch discrimination and standardised columns of points on demand.

use burn::module::Module;
use burn::tensor::Tensor;
use poiesis_kernels::{Activation, activate, uniform};
use serde::{Deserialize, Serialize};

use crate::abilities::{Abilities, Ability, Critic, LatentPart, Latents, Prior, draw_latent};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{Content, DataFacts, DataSpec, MediaKind, Vectors};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::{Init, Initializer, Linear, Standardize, dropout};
use crate::optim::{Optimizer, OptimizerConfig};

use super::minibatch::MinibatchLayer;
use super::{discriminator_saturated, softplus};

/// The slope of the discriminator's leaky ReLU below zero.
const LEAK: f32 = 0.2;

/// Values of an example that each kernel of minibatch discrimination compares.
const MINIBATCH_DIMS: usize = 5;

/// Points of more columns get larger networks.
const MANY_COLUMNS: usize = 32;

/// Fewer points get smaller batches, of which an epoch then has more.
const FEW_POINTS: u64 = 1000;

/// Settings of a [`Gan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GanConfig {
    /// Values in a latent.
    pub latent_dim: usize,
    /// Distribution of the latents: `uniform` on [-1, 1] or `normal`.
    pub prior: Prior,
    /// Units of the generator's hidden layers.
    pub generator_hidden_dims: Vec<usize>,
    /// Units of the discriminator's hidden layers.
    pub discriminator_hidden_dims: Vec<usize>,
    /// Linear functions of which each of the discriminator's hidden units takes the largest (maxout); 1 for leaky ReLU.
    pub maxout_pieces: usize,
    /// Fraction of the discriminator's hidden values that are dropped, in [0, 1).
    pub dropout: f64,
    /// The game: `non-saturating`, `saturating` or `least-squares`.
    pub loss: Loss,
    /// Steps of the discriminator for each of the generator (k of Algorithm 1).
    pub discriminator_steps: usize,
    /// Ways in which the discriminator compares the examples of a batch (minibatch discrimination, Salimans et al. 2016, §3.2); 0 for
    /// none.
    #[serde(default)]
    pub minibatch_kernels: usize,
    /// Points: whether the networks see each column with mean 0 and deviation 1 over the training points. Samples are in the units of
    /// the data either way. A run that starts from another's weights keeps mean and deviation of that run.
    #[serde(default)]
    pub standardize: bool,
}

/// What the players minimise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// The generator minimises −log D(G(z)) (§3).
    NonSaturating,
    /// The generator minimises log(1 − D(G(z))) (Eq. 1), the game of the theory.
    Saturating,
    /// The logit is drawn to 1 for data and 0 for generated examples (Mao et al. 2016, arXiv:1611.04076, Eq. 9).
    LeastSquares,
}

impl Default for GanConfig {
    fn default() -> GanConfig {
        GanConfig {
            latent_dim: 100,
            prior: Prior::Uniform,
            generator_hidden_dims: vec![512, 512],
            discriminator_hidden_dims: vec![512, 256],
            maxout_pieces: 1,
            dropout: 0.0,
            loss: Loss::NonSaturating,
            discriminator_steps: 1,
            minibatch_kernels: 0,
            standardize: false,
        }
    }
}

impl Settings for GanConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["latent_dim", "maxout_pieces", "discriminator_steps"]);
        faults.positive_each(&["generator_hidden_dims", "discriminator_hidden_dims"]);
        faults.dropout("dropout", self.dropout);
    }
}

/// Both networks.
#[derive(Module, Debug)]
pub struct Gan {
    /// Latents to examples.
    pub generator: Generator,
    /// Examples to logits.
    pub discriminator: Discriminator,
    /// Between the units of points and those of the networks.
    standardize: Option<Standardize>,
    #[module(skip)]
    config: GanConfig,
}

/// Turns latents into examples: ReLU layers, then values in [-1, 1] for images and any values for points.
#[derive(Module, Debug)]
pub struct Generator {
    hidden: Vec<Linear>,
    output: Linear,
    bounded: bool,
}

impl Generator {
    fn new(config: &GanConfig, values: usize, bounded: bool, init: &mut Init) -> Generator {
        let widths = &config.generator_hidden_dims;
        let hidden = layers(config.latent_dim, widths, 1, init);
        let last = widths.last().copied().unwrap_or(config.latent_dim);
        Generator { hidden, output: Linear::with_bias(last, values, Initializer::Glorot, init), bounded }
    }

    /// `[batch, latent_dim]` to `[batch, values]`.
    pub fn forward(&self, z: Tensor<2>) -> Tensor<2> {
        let h = self.hidden.iter().fold(z, |h, layer| layer.forward(h, Activation::Relu));
        self.output.forward(h, if self.bounded { Activation::Tanh } else { Activation::Identity })
    }
}

/// Tells data from generated examples.
#[derive(Module, Debug)]
pub struct Discriminator {
    hidden: Vec<Linear>,
    minibatch: Option<MinibatchLayer>,
    output: Linear,
    pieces: usize,
    dropout: f64,
}

/// Draws uniform noise on [0, 1) of this shape, for dropout.
type Noise<'a> = dyn FnMut([usize; 2]) -> Tensor<2> + 'a;

impl Discriminator {
    fn new(config: &GanConfig, values: usize, init: &mut Init) -> Discriminator {
        let GanConfig { discriminator_hidden_dims: widths, maxout_pieces: pieces, dropout, .. } = config;
        let hidden = layers(values, widths, *pieces, init);
        let last = widths.last().copied().unwrap_or(values);
        let kernels = config.minibatch_kernels;
        let minibatch = (kernels > 0).then(|| MinibatchLayer::new(last, kernels, MINIBATCH_DIMS, init));
        let output = Linear::with_bias(last + kernels, 1, Initializer::Glorot, init);
        Discriminator { hidden, minibatch, output, pieces: *pieces, dropout: *dropout }
    }

    /// `[batch, values]` to the logit of "real", `[batch]`; without noise nothing is dropped.
    pub fn forward(&self, x: Tensor<2>, noise: Option<&mut Noise<'_>>) -> Tensor<1> {
        let batch = x.dims()[0];
        let h = self.features(x, noise);
        let h = match &self.minibatch {
            Some(layer) => layer.forward(h, &[batch]),
            None => h,
        };
        self.output.forward(h, Activation::Identity).reshape([batch])
    }

    /// The same for examples each of which is a batch of its own.
    fn forward_alone(&self, x: Tensor<2>) -> Tensor<1> {
        let batch = x.dims()[0];
        let h = self.features(x, None);
        let h = match &self.minibatch {
            Some(layer) => layer.forward_alone(h),
            None => h,
        };
        self.output.forward(h, Activation::Identity).reshape([batch])
    }

    fn features(&self, x: Tensor<2>, mut noise: Option<&mut Noise<'_>>) -> Tensor<2> {
        self.hidden.iter().fold(x, |h, layer| {
            let h = self.activate(layer, h);
            match &mut noise {
                Some(noise) if self.dropout > 0.0 => {
                    let noise = noise(h.dims());
                    dropout(h, noise, self.dropout)
                }
                _ => h,
            }
        })
    }

    /// A hidden layer: leaky ReLU, or the largest of several linear functions (Goodfellow et al. 2013, arXiv:1302.4389).
    fn activate(&self, layer: &Linear, h: Tensor<2>) -> Tensor<2> {
        if self.pieces == 1 {
            return layer.forward(h, Activation::LeakyRelu(LEAK));
        }
        let h = layer.forward(h, Activation::Identity);
        let [batch, all] = h.dims();
        let units = all / self.pieces;
        h.reshape([batch, units, self.pieces]).max_dim(2).reshape([batch, units])
    }
}

/// Fully connected layers of these widths, each unit with `pieces` linear functions.
fn layers(inputs: usize, widths: &[usize], pieces: usize, init: &mut Init) -> Vec<Linear> {
    let inputs = std::iter::once(inputs).chain(widths.iter().copied());
    let layer = |(inputs, &units)| Linear::with_bias(inputs, units * pieces, Initializer::Glorot, init);
    inputs.zip(widths).map(layer).collect()
}

impl Loss {
    /// The discriminator's loss from its logits, averaged over each batch: −log D(x) − log(1 − D(G(z))) in nats, or the least
    /// squares.
    pub fn of_discriminator(self, real: Tensor<1>, fake: Tensor<1>) -> Tensor<1> {
        match self {
            Loss::NonSaturating | Loss::Saturating => softplus(real.neg()).mean() + softplus(fake).mean(),
            Loss::LeastSquares => ((real - 1.0).square().mean() + fake.square().mean()) * 0.5,
        }
    }

    /// The generator's loss, averaged over the batch.
    pub fn of_generator(self, fake: Tensor<1>) -> Tensor<1> {
        match self {
            Loss::NonSaturating => softplus(fake.neg()).mean(),
            // log(1 − D) = −softplus(logit).
            Loss::Saturating => softplus(fake).mean().neg(),
            Loss::LeastSquares => (fake - 1.0).square().mean() * 0.5,
        }
    }

    /// D(x), the probability of "real" that a logit stands for; with least squares the target itself, cut to [0, 1].
    pub fn prob_real(self, logits: Tensor<1>) -> Tensor<1> {
        match self {
            Loss::NonSaturating | Loss::Saturating => activate(logits, Activation::Sigmoid),
            Loss::LeastSquares => logits.clamp(0.0, 1.0),
        }
    }
}

impl Gan {
    /// G(z), in the units of the data: `[batch, latent_dim]` to `[batch, values]`.
    fn generate(&self, z: Tensor<2>) -> Tensor<2> {
        let x = self.generator.forward(z);
        match &self.standardize {
            Some(map) => map.inverse(x),
            None => x,
        }
    }

    /// G(z) as the discriminator sees it. In the units of the data, digits would be lost where a mean is far larger than its deviation,
    /// such as that of years.
    fn generate_seen(&self, z: Tensor<2>) -> Tensor<2> {
        let x = self.generator.forward(z);
        match &self.standardize {
            // What the generator makes of a column of one value is no difference from data.
            Some(map) => map.without_constants(x),
            None => x,
        }
    }

    /// Examples, `[batch, values]`, as the discriminator sees them.
    fn seen(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.standardize {
            Some(map) => map.forward(x),
            None => x,
        }
    }

    fn latent(&self) -> [LatentPart; 1] {
        [LatentPart { name: "z".into(), size: self.config.latent_dim, prior: self.config.prior }]
    }

    /// The steps of the discriminator, each on its examples and latents, then one of the generator on the last latents
    /// (Algorithm 1).
    fn update(
        &mut self,
        real: Vec<Tensor<2>>,
        latents: &[Tensor<2>],
        noise: &mut Noise<'_>,
        step: &mut Step<'_>,
    ) -> Metrics {
        let loss = self.config.loss;
        let mut metrics = Metrics::new();
        for (x, z) in real.into_iter().zip(latents) {
            let fake = self.generate_seen(z.clone()).detach();
            let real_logits = self.discriminator.forward(self.seen(x), Some(noise));
            let fake_logits = self.discriminator.forward(fake, Some(noise));
            let d_loss = loss.of_discriminator(real_logits.clone(), fake_logits.clone());
            step.minimize("discriminator", &mut self.discriminator, &d_loss);
            let prob_real = |logits: Tensor<1>| loss.prob_real(logits.inner()).mean();
            metrics = Metrics::new()
                .with("d_loss", d_loss)
                .with("d_real", prob_real(real_logits))
                .with("d_fake", prob_real(fake_logits));
        }
        let z = latents[latents.len() - 1].clone();
        // A frozen discriminator spares the gradients of its weights.
        let frozen = self.discriminator.clone().no_grad();
        let g_loss = loss.of_generator(frozen.forward(self.generate_seen(z), Some(noise)));
        step.minimize("generator", &mut self.generator, &g_loss);
        metrics.with("g_loss", g_loss)
    }
}

impl Model for Gan {
    const ABOUT: About = About {
        name: "gan",
        summary: "the first GAN: two fully connected networks, on images or on the plane",
        paper: Paper {
            title: "Generative adversarial nets",
            authors: "Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio",
            year: 2014,
            arxiv: "1406.2661",
        },
        media: &[MediaKind::Images, MediaKind::Points],
        abilities: &[Ability::Sample, Ability::Decode],
        recipes: recipes!("rings", "grid", "mnist"),
        train: || TrainConfig { batch_size: 100, ..TrainConfig::default() },
        optimizer: || OptimizerConfig {
            learning_rate: 2e-4,
            betas: [0.5, 0.999],
            ..OptimizerConfig::default()
        },
        ..About::BASE
    };

    type Config = GanConfig;
    type Data = Vectors;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        let Content::Points(shape) = &facts.spec.content else { return Vec::new() };
        let sized = format!("points of {} columns", shape.dims);
        let units = vec![if shape.dims > MANY_COLUMNS { 256_i64 } else { 128 }; 2];
        let batch = if facts.len < FEW_POINTS { 32 } else { 64 };
        vec![
            Choice::new("gan.standardize", true, "columns differ in units"),
            Choice::new("gan.latent_dim", shape.dims.clamp(8, 64) as i64, sized.clone()),
            Choice::new("gan.prior", "normal", "points have no fixed range"),
            Choice::new("gan.generator_hidden_dims", units.clone(), sized.clone()),
            Choice::new("gan.discriminator_hidden_dims", units, sized),
            Choice::new("train.batch_size", batch, "many steps in little time"),
            Choice::new("optimizer.learning_rate", 5e-4, "small networks train well at a higher rate"),
        ]
    }

    fn needs(_config: &GanConfig, _spec: &DataSpec) -> Result<()> {
        Ok(())
    }

    fn new(config: &GanConfig, spec: &DataSpec, init: &mut Init) -> Result<Gan> {
        let (values, bounded) = match &spec.content {
            Content::Points(shape) => (shape.dims, false),
            _ => (spec.images()?.dims(), true),
        };
        let generator = Generator::new(config, values, bounded, init);
        let discriminator = Discriminator::new(config, values, init);
        let standardize = (config.standardize && !bounded).then(|| Standardize::new(values, init));
        Ok(Gan { generator, discriminator, standardize, config: config.clone() })
    }

    fn initialize(&mut self, data: &mut Vectors) {
        if let Some(map) = &mut self.standardize {
            let (mean, std): (Vec<f64>, Vec<f64>) =
                data.columns().iter().map(|column| (column.mean, column.std)).unzip();
            map.set(&mean, &std);
        }
    }

    /// A column of one value in the data of an earlier run has that value in all samples, whatever is learned.
    fn expect_data(&self, data: &Vectors) -> Result<(), String> {
        let Some(map) = &self.standardize else { return Ok(()) };
        let mut columns = data.columns().iter().zip(map.constants());
        let other = columns.find_map(|(column, constant)| {
            let value = constant?;
            (column.std > 0.0 || column.mean as f32 != value).then_some((&column.name, value))
        });
        match other {
            None => Ok(()),
            Some((name, value)) => {
                Err(format!("`{name}` is {value} in all of its samples, and has other values in these data"))
            }
        }
    }

    fn optimizers(_config: &GanConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        vec![("generator", Optimizer::new(shared)), ("discriminator", Optimizer::new(shared))]
    }

    fn train_step(&mut self, data: &mut Vectors, step: &mut Step<'_>) -> Metrics {
        let GanConfig { discriminator_steps: rounds, latent_dim, .. } = self.config;
        let real = (0..rounds as u64).map(|round| data.vectors(step.number * rounds as u64 + round));
        let (mut generator, latent) = (step.generator("train latents"), self.latent());
        let shape = [data.batch_size(), latent_dim];
        let latents = (0..rounds).map(|_| step.tensor(draw_latent(&latent, &mut generator, shape[0]), shape));
        let (real, latents) = (real.collect(), latents.collect::<Vec<_>>());
        let mut noise = step.draws("dropout", uniform);
        self.update(real, &latents, &mut noise, step)
    }

    fn warnings(_config: &GanConfig) -> Vec<WarningRule> {
        vec![discriminator_saturated()]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { latents: Some(self), critic: Some(self), ..Abilities::default() }
    }
}

impl Critic for Gan {
    fn prob_real(&self, points: Tensor<2>) -> Tensor<1> {
        self.config.loss.prob_real(self.discriminator.forward_alone(self.seen(points)))
    }
}

impl Latents for Gan {
    fn parts(&self) -> Vec<LatentPart> {
        self.latent().to_vec()
    }

    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        self.generate(latents)
    }

    fn first_weights(&self) -> Option<Tensor<2>> {
        let Generator { hidden, output, .. } = &self.generator;
        Some(hidden.first().unwrap_or(output).weight().transpose())
    }
}

#[cfg(test)]
mod tests;
