//! The improved GAN: five techniques that make GANs train, each of which can be switched on alone, and a discriminator that
//! classifies images with few labels.
//!
//! Salimans, Goodfellow, Zaremba, Cheung, Radford and Chen, "Improved techniques for training GANs", 2016, arXiv:1606.03498.
//!
//! | here | meaning |
//! |---|---|
//! | `z`, latents | `[batch, latent_dim]`, uniform on [-1, 1] |
//! | `x`, images | `[batch, height, width, channels]` in [-1, 1] |
//! | logits | of the K classes, `[batch, classes]`; that of class K+1, "generated", is fixed at 0 (§5) |
//! | features | what the discriminator computes before its last layer, `[batch, features]` |
//!
//! With K classes, Z(x) = log Σₖ exp lₖ(x) and D(x) = sigmoid(Z(x)) is the probability that x is real; K is 1 where the data have
//! no classes, so that D is that of any GAN.
//!
//! Differences from the paper and its code: samples are drawn with running statistics of the generator's batch normalisation;
//! averages of weights follow the trainer's schedule; images of any size whose sides halve down to 4 to 7 pixels.

mod discriminator;
mod generator;
mod virtual_batch_norm;
mod weight_normed;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use poiesis_kernels::{Activation, activate, normal, uniform};
use serde::{Deserialize, Serialize};

pub use discriminator::{Discriminator, Noise, Outputs, Pass};
pub use generator::Generator;

use crate::abilities::{Abilities, Ability, Classifier, Features, LatentPart, Latents, Prior, draw_latent};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{DataFacts, DataSpec, ImageNeeds, LabelledImages, LabelledNeeds, Labels, PixelEncoding};
use crate::error::{Error, Result};
use crate::model::{About, Draw, Metrics, Model, Paper, Step, WarningRule, draws, recipes};
use crate::nn::{FirstValues, Init, Mode, flatten};
use crate::optim::{Optimizer, OptimizerConfig};

use super::{discriminator_saturated, softplus};

/// Settings of an [`ImprovedGan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImprovedGanConfig {
    /// Kind of both networks: `mlp` (the paper's for MNIST) or `conv` (for 32×32).
    pub body: Body,
    /// Values in a latent.
    pub latent_dim: usize,
    /// `mlp`: units of the generator's hidden layers.
    pub generator_hidden_dims: Vec<usize>,
    /// `mlp`: units of the discriminator's hidden layers.
    pub discriminator_hidden_dims: Vec<usize>,
    /// `conv`: features of the generator next to the image; they double at each halving of the sides.
    pub generator_width: usize,
    /// `conv`: features of the discriminator's first three layers, of which the others have twice as many.
    pub width: usize,
    /// The classifier learns from the labels of the data; without, or without classes, the discriminator has a single logit.
    pub classify: bool,
    /// Labels used, of each class, chosen by the seed; 0 for all.
    pub labels_per_class: usize,
    /// The generator matches the mean features of real images (§3.1), instead of being rated by the discriminator.
    pub feature_matching: bool,
    /// The discriminator compares the images of a batch (§3.2).
    pub minibatch_discrimination: bool,
    /// Ways in which minibatch discrimination compares images.
    pub minibatch_kernels: usize,
    /// Values of an image that each of them compares.
    pub minibatch_dims: usize,
    /// Strength of historical averaging (§3.3); 0 for none.
    pub historical_averaging: f64,
    /// One-sided label smoothing (§3.4): the discriminator's target for real images is 1 minus this; 0 for none.
    pub label_smoothing: f64,
    /// The generator normalises by a reference batch (§3.5), not by the batch.
    pub virtual_batch_norm: bool,
    /// Latents in the reference batch.
    pub virtual_batch_size: usize,
    /// Steps of the generator for each of the discriminator.
    pub generator_steps: usize,
    /// Learning rate of the generator; 0 for that of the discriminator, which is `optimizer.learning_rate`.
    pub generator_learning_rate: f64,
}

/// A kind of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// Fully connected.
    Mlp,
    /// Convolutional.
    Conv,
}

impl Body {
    /// The noise that its discriminator adds or drops values by.
    fn noise(self) -> Draw<2> {
        match self {
            Body::Mlp => normal,
            Body::Conv => uniform,
        }
    }
}

impl Default for ImprovedGanConfig {
    /// The networks and the settings with which the paper classifies MNIST.
    fn default() -> ImprovedGanConfig {
        ImprovedGanConfig {
            body: Body::Mlp,
            latent_dim: 100,
            generator_hidden_dims: vec![500, 500],
            discriminator_hidden_dims: vec![1000, 500, 250, 250, 250],
            generator_width: 128,
            width: 96,
            classify: true,
            labels_per_class: 0,
            feature_matching: true,
            minibatch_discrimination: false,
            minibatch_kernels: 100,
            minibatch_dims: 5,
            historical_averaging: 0.0,
            label_smoothing: 0.0,
            virtual_batch_norm: false,
            virtual_batch_size: 64,
            generator_steps: 1,
            generator_learning_rate: 0.0,
        }
    }
}

impl Settings for ImprovedGanConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&[
            "latent_dim",
            "generator_width",
            "width",
            "minibatch_kernels",
            "minibatch_dims",
            "virtual_batch_size",
            "generator_steps",
        ]);
        faults.positive_each(&["generator_hidden_dims", "discriminator_hidden_dims"]);
        if !(self.historical_averaging >= 0.0 && self.historical_averaging.is_finite()) {
            let reason = "it is the strength of a penalty";
            faults.add(
                "historical_averaging",
                self.historical_averaging,
                reason,
                "give 0 or a positive number",
            );
        }
        if !(self.generator_learning_rate >= 0.0 && self.generator_learning_rate.is_finite()) {
            let (value, reason) = (self.generator_learning_rate, "it cannot be negative");
            faults.add("generator_learning_rate", value, reason, "give 0 or a positive number");
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let reason = "1 minus this is the target for real images";
            faults.add("label_smoothing", self.label_smoothing, reason, "give 0 to 0.5");
        }
    }
}

/// Both networks.
#[derive(Module, Debug)]
pub struct ImprovedGan {
    /// Latents to images.
    pub generator: Generator,
    /// Images to logits of classes.
    pub discriminator: Discriminator,
    #[module(skip)]
    config: ImprovedGanConfig,
}

/// What one step learns from.
pub struct Batch {
    /// Labelled images and their classes, if labels are used.
    pub labelled: Option<(Tensor<4>, Vec<u32>)>,
    /// Images for the discriminator.
    pub real: Tensor<4>,
    /// Other images, whose features the generator matches.
    pub matched: Tensor<4>,
    /// Latents for the discriminator's step, and for each step of the generator.
    pub latents: Vec<Tensor<2>>,
}

/// Z(x) = log Σₖ exp lₖ(x), finite for logits of any size; `[batch, classes]` to `[batch]`.
pub fn log_sum_exp(logits: Tensor<2>) -> Tensor<1> {
    let batch = logits.dims()[0];
    let largest = logits.clone().detach().max_dim(1);
    let sum = (logits - largest.clone()).exp().sum_dim(1);
    (sum.log() + largest).reshape([batch])
}

/// −α log D(x) − (1 − α) log(1 − D(x)) − log(1 − D(G(z))), the discriminator's loss without labels, from Z of real and generated
/// images, in nats (§5 with the sign turned; §3.4 for a target α below 1).
pub fn discriminator_loss(real: Tensor<1>, fake: Tensor<1>, target: f64) -> Tensor<1> {
    softplus(real.clone()).mean() - real.mean() * target + softplus(fake).mean()
}

/// −log p(y|x, y < K+1), the classifier's loss in nats, averaged over the batch (§5).
pub fn classifier_loss(logits: Tensor<2>, classes: Tensor<1, Int>) -> Tensor<1> {
    let batch = logits.dims()[0];
    log_softmax(logits, 1).gather(1, classes.reshape([batch, 1])).mean().neg()
}

/// How far the mean features of generated images are from those of real ones (§3.1): the mean square of the differences, or in the
/// convolutional body, as in the paper's code, the mean of their absolute values.
pub fn feature_matching_loss(body: Body, real: Tensor<2>, fake: Tensor<2>) -> Tensor<1> {
    let difference = real.mean_dim(0) - fake.mean_dim(0);
    match body {
        Body::Mlp => difference.square().mean(),
        Body::Conv => difference.abs().mean(),
    }
}

impl ImprovedGan {
    fn latent(&self) -> [LatentPart; 1] {
        [LatentPart { name: "z".into(), size: self.config.latent_dim, prior: Prior::Uniform }]
    }

    /// The discriminator's loss: supervised and unsupervised, of which each half of the latter counts one half.
    fn discriminator_losses(
        &self,
        batch: &Batch,
        fake: Tensor<4>,
        noise: &mut Noise<'_>,
    ) -> DiscriminatorLosses {
        let pass = &mut Pass::Train(noise);
        let (labelled, real, fake) = match &batch.labelled {
            Some((images, classes)) => {
                let all = [images.clone(), batch.real.clone(), fake];
                let [labelled, real, fake] = self.discriminator.forward(all, pass);
                let device = labelled.logits.device();
                let classes: Vec<i64> = classes.iter().map(|&class| i64::from(class)).collect();
                let count = classes.len();
                let classes = Tensor::from_data(TensorData::new(classes, [count]), &device);
                (Some((labelled.logits, classes)), real, fake)
            }
            None => {
                let [real, fake] = self.discriminator.forward([batch.real.clone(), fake], pass);
                (None, real, fake)
            }
        };
        let (real, fake) = (log_sum_exp(real.logits), log_sum_exp(fake.logits));
        let unsupervised =
            discriminator_loss(real.clone(), fake.clone(), 1.0 - self.config.label_smoothing) * 0.5;
        let label_error = labelled.clone().map(|(logits, classes)| {
            logits.inner().argmax(1).reshape([-1]).not_equal(classes.inner()).float().mean()
        });
        let supervised = labelled.map(|(logits, classes)| classifier_loss(logits, classes));
        DiscriminatorLosses { supervised, unsupervised, label_error, real, fake }
    }

    /// The generator's loss on a batch of its images.
    fn generator_loss(&self, matched: &Tensor<4>, fake: Tensor<4>, noise: &mut Noise<'_>) -> Tensor<1> {
        // A frozen discriminator spares the gradients of its weights.
        let frozen = self.discriminator.clone().no_grad();
        let pass = &mut Pass::Train(noise);
        if self.config.feature_matching {
            let [real, fake] = frozen.forward([matched.clone(), fake], pass);
            return feature_matching_loss(self.config.body, real.features.detach(), fake.features);
        }
        let [fake] = frozen.forward([fake], pass);
        softplus(log_sum_exp(fake.logits).neg()).mean()
    }

    /// One step of the discriminator, then those of the generator, on given data and noise.
    fn update(&mut self, batch: &Batch, noise: &mut Noise<'_>, step: &mut Step<'_>) -> Metrics {
        let fake = self.generator.forward(batch.latents[0].clone(), Mode::Train).detach();
        let losses = self.discriminator_losses(batch, fake, noise);
        let loss = match &losses.supervised {
            Some(supervised) => losses.unsupervised.clone() + supervised.clone(),
            None => losses.unsupervised.clone(),
        };
        step.minimize("discriminator", &mut self.discriminator, &loss);

        let mut g_loss = None;
        for z in &batch.latents[1..] {
            let fake = self.generator.forward(z.clone(), Mode::Train);
            let loss = self.generator_loss(&batch.matched, fake, noise);
            step.minimize("generator", &mut self.generator, &loss);
            g_loss = Some(loss);
        }

        let prob_real = |z: Tensor<1>| activate(z.inner(), Activation::Sigmoid).mean();
        let mut metrics = Metrics::new().with("d_loss", losses.unsupervised);
        if let Some(g_loss) = g_loss {
            metrics = metrics.with("g_loss", g_loss);
        }
        if let (Some(supervised), Some(label_error)) = (losses.supervised, losses.label_error) {
            metrics = metrics.with("class_loss", supervised).with("class_error", label_error);
        }
        metrics.with("d_real", prob_real(losses.real)).with("d_fake", prob_real(losses.fake))
    }

    /// Gives gains and biases of the discriminator their first values, on the images `x` (Salimans and Kingma 2016, §3).
    fn set_first_values(&mut self, x: Tensor<4>, noise: &mut Noise<'_>) {
        let mut found = FirstValues::default();
        self.discriminator.forward([x], &mut Pass::Initialize { noise, found: &mut found });
        self.discriminator = self.discriminator.clone().map(&mut found);
    }
}

/// The discriminator's losses, each `[1]`, with what it says of real and of generated images, `[batch]`.
struct DiscriminatorLosses {
    supervised: Option<Tensor<1>>,
    unsupervised: Tensor<1>,
    /// Fraction of the labelled images of the batch that are taken for another class.
    label_error: Option<Tensor<1>>,
    real: Tensor<1>,
    fake: Tensor<1>,
}

impl Model for ImprovedGan {
    const ABOUT: About = About {
        name: "improved-gan",
        summary: "improved GAN: a classifier from few labels, and five techniques that make GANs train",
        paper: Paper {
            title: "Improved techniques for training GANs",
            authors: "Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen",
            year: 2016,
            arxiv: "1606.03498",
        },
        abilities: &[Ability::Sample, Ability::Decode, Ability::Classify, Ability::Features],
        recipes: recipes!("mnist100", "mnist-samples", "cifar10-4000"),
        // The paper's code tests with averages that follow the weights at a rate of 1e-4.
        train: || TrainConfig { batch_size: 100, ema_decay: 0.9999, ..TrainConfig::default() },
        optimizer: || OptimizerConfig {
            learning_rate: 3e-3,
            betas: [0.5, 0.999],
            ..OptimizerConfig::default()
        },
        ..About::BASE
    };

    type Config = ImprovedGanConfig;
    type Data = LabelledImages;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        vec![
            Choice::new(
                "improved-gan.body",
                if facts.halves() && facts.side() >= 16 { "conv" } else { "mlp" },
                facts.sized(),
            ),
            Choice::new("improved-gan.width", 32, "a small network takes more steps"),
            Choice::new("improved-gan.generator_width", 32, "a small network takes more steps"),
            Choice::new("train.batch_size", 50, "many steps in little time"),
        ]
    }

    fn needs(config: &ImprovedGanConfig, spec: &DataSpec) -> Result<LabelledNeeds> {
        if config.classify && config.labels_per_class > 0 && spec.classes == 0 {
            let count = config.labels_per_class.to_string();
            let remedy =
                "give data with classes, such as a folder for each or a `labels_file`, or 0 for none";
            let key = "improved-gan.labels_per_class";
            return Err(Error::invalid_value(key, &count, "the data have no classes", remedy));
        }
        let labels = match config.labels_per_class {
            _ if !config.classify || spec.classes == 0 => Labels::None,
            0 => Labels::All,
            count => Labels::PerClass(count),
        };
        Ok(LabelledNeeds {
            images: ImageNeeds { encoding: PixelEncoding::EightBit, labelled: false },
            labels,
        })
    }

    fn new(config: &ImprovedGanConfig, spec: &DataSpec, init: &mut Init) -> Result<ImprovedGan> {
        let shape = spec.images()?;
        let classes = if config.classify { spec.classes.max(1) } else { 1 };
        let generator = Generator::new(config, shape, init)?;
        let discriminator = Discriminator::new(config, shape, classes, init)?;
        Ok(ImprovedGan { generator, discriminator, config: config.clone() })
    }

    fn optimizers(config: &ImprovedGanConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        let mut of_generator = shared.clone();
        if config.generator_learning_rate > 0.0 {
            of_generator.learning_rate = config.generator_learning_rate;
        }
        let optimizer = |config_of: &OptimizerConfig| {
            Optimizer::new(config_of).with_historical_averaging(config.historical_averaging)
        };
        vec![("generator", optimizer(&of_generator)), ("discriminator", optimizer(shared))]
    }

    fn initialize(&mut self, data: &mut LabelledImages) {
        let x = data.images(0);
        let mut noise = draws(0, "first values", 0, self.config.body.noise(), &x.device());
        self.set_first_values(x, &mut noise);
    }

    fn train_step(&mut self, data: &mut LabelledImages, step: &mut Step<'_>) -> Metrics {
        let mut generator = step.generator("train latents");
        let shape = [data.batch_size(), self.config.latent_dim];
        let latent = self.latent();
        let mut latents = || step.tensor(draw_latent(&latent, &mut generator, shape[0]), shape);
        let batch = Batch {
            labelled: data.labelled(step.number),
            real: data.images(step.number),
            matched: data.other_images(step.number),
            latents: (0..=self.config.generator_steps).map(|_| latents()).collect(),
        };
        let mut noise = step.draws("noise", self.config.body.noise());
        self.update(&batch, &mut noise, step)
    }

    fn warnings(_config: &ImprovedGanConfig) -> Vec<WarningRule> {
        vec![discriminator_saturated()]
    }

    fn abilities(&self) -> Abilities<'_> {
        let classifier = self.discriminator.classifies().then_some(self as &dyn Classifier);
        Abilities { latents: Some(self), classifier, features: Some(self), ..Abilities::default() }
    }
}

impl Classifier for ImprovedGan {
    fn class_log_probs(&self, images: Tensor<4>) -> Tensor<2> {
        let [outputs] = self.discriminator.forward([images], &mut Pass::Eval);
        log_softmax(outputs.logits, 1)
    }
}

impl Latents for ImprovedGan {
    fn parts(&self) -> Vec<LatentPart> {
        self.latent().to_vec()
    }

    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        flatten(self.generator.forward(latents, Mode::Eval))
    }

    fn first_weights(&self) -> Option<Tensor<2>> {
        Some(self.generator.first_weights())
    }
}

impl Features for ImprovedGan {
    /// Those before the discriminator's last layer, which feature matching compares.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let [outputs] = self.discriminator.forward([images], &mut Pass::Eval);
        outputs.features
    }
}

#[cfg(test)]
mod tests;
