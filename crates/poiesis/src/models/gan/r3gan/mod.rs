//! R3GAN: a GAN without tricks whose training is regularised enough to converge.
//!
//! Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A modern baseline GAN", 2024, arXiv:2501.05441. The
//! relativistic pairing loss lets the discriminator compare a real image with a generated one; penalties on its gradient at both kinds
//! of images (R₁ and R₂) make the game converge locally. The networks are residual, grouped and free of normalisation.
//!
//! | here | meaning |
//! |---|---|
//! | `z`, latents | `[batch, latent_dim]`, N(0, 1) |
//! | `x`, images | `[batch, height, width, channels]` in [-1, 1] |
//! | logit | the discriminator's output; only differences mean something |
//! | `r1`, `r2` | E‖∇D‖² at real and at generated images |
//!
//! Backpropagation through a gradient is not needed: ∇_θ ½‖∇ₓD(x)‖² = ∇_θ (∇ₓD(x) · v) with v = ∇ₓD(x) held fixed, and the derivative of
//! D along v is a pass of v through the same layers without biases, with the slopes of the leaky ReLUs fixed at x.
//!
//! Differences from the paper: γ and β₂ are constant; the penalties are on the gradient at the augmented images; both networks learn from
//! the same generated images in a step; the strength of augmentation follows the data; features double at each halving of the
//! sides up to `max_width`.

mod augment;
mod layers;
mod networks;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub use augment::Augmentation;
pub use networks::{Discriminator, Generator};

use super::softplus;
use crate::abilities::{Abilities, Ability, Features, LatentPart, Latents, Prior, draw_latent};
use crate::config::{Choice, Faults, Settings, TrainConfig};
use crate::data::{DataFacts, DataSpec, ImageBatches, ImageNeeds, PixelEncoding};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::{Init, flatten};
use crate::optim::{Optimizer, OptimizerConfig};
use crate::rng;

/// Most blocks for each size: more than any network has.
const MOST_BLOCKS: i64 = 1000;

/// Settings of an [`R3Gan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct R3GanConfig {
    /// Values in a latent (the paper: 64).
    pub latent_dim: usize,
    /// Features at the size of the image; they double at each halving of the sides.
    pub width: usize,
    /// Most features.
    pub max_width: usize,
    /// Residual blocks for each size (the paper: 2).
    pub blocks: usize,
    /// How many times as many features a block has inside (the paper: 2).
    pub expansion: usize,
    /// Features in a group of the 3×3 convolutions (the paper: 16).
    pub group_width: usize,
    /// γ, the strength of the penalties R₁ and R₂.
    pub gamma: f64,
    /// Steps from one with the penalties to the next, where they count so many times as much (lazy regularisation, Karras et al. 2020,
    /// arXiv:1912.04958); 1 for penalties in every step, as in the paper.
    pub penalty_every: usize,
    /// Learns to generate each class.
    pub conditional: bool,
    /// Values that stand for a class.
    pub class_dim: usize,
    /// Augmentation gets stronger while real images win against generated ones in so many more pairs than not: 0.6 means four pairs of
    /// five; 0 for no augmentation.
    pub augment_target: f64,
    /// Images in which its strength can rise from 0 to 1.
    pub augment_images: usize,
}

impl Default for R3GanConfig {
    fn default() -> R3GanConfig {
        R3GanConfig {
            latent_dim: 64,
            width: 32,
            max_width: 256,
            blocks: 1,
            expansion: 2,
            group_width: 16,
            gamma: 0.5,
            penalty_every: 1,
            conditional: false,
            class_dim: 64,
            augment_target: 0.0,
            augment_images: 100_000,
        }
    }
}

impl R3GanConfig {
    /// Features at a size that is `level` halvings smaller than the image.
    fn features(&self, level: usize) -> usize {
        let doubled =
            u32::try_from(level).ok().and_then(|level| self.width.checked_mul(1_usize.checked_shl(level)?));
        doubled.map_or(self.max_width, |doubled| doubled.min(self.max_width))
    }
}

impl Settings for R3GanConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&[
            "latent_dim",
            "width",
            "max_width",
            "expansion",
            "group_width",
            "penalty_every",
            "class_dim",
            "augment_images",
        ]);
        faults.within(&["blocks"], 1..=MOST_BLOCKS);
        for (key, width) in [("width", self.width), ("max_width", self.max_width)] {
            if self.group_width > 0 && width.saturating_mul(self.expansion) % self.group_width != 0 {
                let reason = format!(
                    "{} times as many features are not groups of {}",
                    self.expansion, self.group_width
                );
                faults.add(key, width, &reason, "give a multiple of the group width");
            }
        }
        if !(self.gamma >= 0.0 && self.gamma.is_finite()) {
            faults.add("gamma", self.gamma, "it is the strength of a penalty", "give 0 or a positive number");
        }
        if !(0.0..1.0).contains(&self.augment_target) {
            let reason = "real images can win at most all pairs";
            faults.add("augment_target", self.augment_target, reason, "give 0 to 0.9");
        }
    }
}

/// Both networks.
#[derive(Module, Debug)]
pub struct R3Gan {
    /// Latents to images.
    pub generator: Generator,
    /// Images to logits.
    pub discriminator: Discriminator,
    /// What changes images on the way to the discriminator.
    pub augmentation: Augmentation,
    #[module(skip)]
    config: R3GanConfig,
    #[module(skip)]
    classes: usize,
}

/// log(1 + exp(−(D(a) − D(b)))), averaged over pairs, in nats: log 2 at chance, small where the first of each pair has the higher logit
/// (Eq. 3). The discriminator wants real above generated images, the generator the reverse.
pub fn relativistic_loss(above: Tensor<1>, below: Tensor<1>) -> Tensor<1> {
    softplus(below - above).mean()
}

/// What one step learns from.
struct Batch {
    real: Tensor<4>,
    z: Tensor<2>,
    /// One for each real image, and also that of the generated one which it is compared with.
    classes: Vec<Option<u32>>,
    /// Random numbers for the augmentation of real, then of generated images.
    augment: Vec<f32>,
}

impl R3Gan {
    fn latent(&self) -> [LatentPart; 1] {
        [LatentPart { name: "z".into(), size: self.config.latent_dim, prior: Prior::Normal }]
    }

    /// One step of the discriminator, then one of the generator, on the same pairs of images.
    fn update(&mut self, batch: Batch, step: &mut Step<'_>) -> Metrics {
        let Batch { real, z, classes, augment } = batch;
        let count = real.dims()[0];
        let (of_real, of_fake) = augment.split_at(augment.len() / 2);
        let real = self.augmentation.apply(real, of_real);
        let fake = self.augmentation.apply(self.generator.forward(z, &classes), of_fake);

        let both = Tensor::cat(vec![real.clone(), fake.clone().detach()], 0);
        let both_classes = classes.repeat(2);
        let halves = |all: Tensor<1>| [all.clone().narrow(0, 0, count), all.narrow(0, count, count)];
        let [real_logits, fake_logits] = halves(self.discriminator.forward(both.clone(), &both_classes));
        let d_loss = relativistic_loss(real_logits.clone(), fake_logits.clone());

        let every = self.config.penalty_every;
        // Counted from 1, as reports are: those of every 20 steps have the penalties too.
        let penalties = (step.number + 1).is_multiple_of(every as u64).then(|| {
            let (gradient, at) = self.discriminator.input_gradient(both, &both_classes);
            halves(self.discriminator.directional_derivative(gradient, &both_classes, &at)).map(Tensor::mean)
        });
        let loss = match penalties.clone() {
            Some([r1, r2]) => d_loss.clone() + (r1 + r2) * (self.config.gamma * every as f64),
            None => d_loss.clone(),
        };
        step.minimize("discriminator", &mut self.discriminator, &loss);

        // A frozen discriminator spares the gradients of its weights.
        let frozen = self.discriminator.clone().no_grad();
        let real_above = frozen.forward(real, &classes).detach();
        let g_loss = relativistic_loss(frozen.forward(fake, &classes), real_above);
        step.minimize("generator", &mut self.generator, &g_loss);

        let pair_accuracy =
            real_logits.inner().greater(fake_logits.inner()).float().mean().into_scalar::<f64>();
        self.augmentation.adapt(2.0 * pair_accuracy - 1.0, count);
        let metrics = Metrics::new().with("d_loss", d_loss).with("g_loss", g_loss);
        let metrics = match penalties {
            Some([r1, r2]) => metrics.with("r1", r1).with("r2", r2),
            None => metrics,
        }
        .with_value("pair_accuracy", pair_accuracy);
        match self.config.augment_target {
            0.0 => metrics,
            _ => metrics.with_value("augment", self.augmentation.probability()),
        }
    }
}

impl Model for R3Gan {
    const ABOUT: About = About {
        name: "r3gan",
        summary: "R3GAN: a modern GAN that converges, also from few images",
        paper: Paper {
            title: "The GAN is dead; long live the GAN! A modern baseline GAN",
            authors: "Huang, Gokaslan, Kuleshov, Tompkin",
            year: 2024,
            arxiv: "2501.05441",
        },
        abilities: &[Ability::Sample, Ability::Decode, Ability::Features],
        recipes: recipes!("shapes", "emoji64", "cifar10", "few-images"),
        train: || TrainConfig { batch_size: 64, ema_decay: 0.999, ..TrainConfig::default() },
        // The paper's, without momentum.
        optimizer: || OptimizerConfig {
            learning_rate: 2e-4,
            betas: [0.0, 0.99],
            ..OptimizerConfig::default()
        },
        ..About::BASE
    };

    type Config = R3GanConfig;
    type Data = ImageBatches;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        let large = facts.side() > 40;
        let mut choices = vec![
            Choice::new("r3gan.width", if large { 8 } else { 16 }, facts.sized()),
            Choice::new("r3gan.max_width", 128, "a small network takes more steps"),
            Choice::new("r3gan.gamma", if large { 1.0 } else { 0.1 }, facts.sized()),
            Choice::new("train.batch_size", 32, "many steps in little time"),
        ];
        if facts.len < 5000 {
            let reason = format!("{} images are few, so they are augmented", facts.len);
            choices.push(Choice::new("r3gan.augment_target", 0.6, reason));
        }
        choices
    }

    fn needs(config: &R3GanConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: PixelEncoding::EightBit, labelled: config.conditional })
    }

    fn new(config: &R3GanConfig, spec: &DataSpec, init: &mut Init) -> Result<R3Gan> {
        let shape = spec.images()?;
        let classes = spec.classes_for("r3gan", config.conditional)?;
        let generator = Generator::new(config, shape, classes, init)?;
        let discriminator = Discriminator::new(config, shape, classes, init)?;
        let augmentation = Augmentation::new(config, init);
        Ok(R3Gan { generator, discriminator, augmentation, config: config.clone(), classes })
    }

    fn held_values(config: &R3GanConfig, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        // Two activations of a block at the size of the image, of a real and of a generated image.
        let values = shape.height as f64 * shape.width as f64 * config.width as f64;
        Ok(values * (4 * config.expansion * config.blocks) as f64)
    }

    fn optimizers(_config: &R3GanConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        vec![("generator", Optimizer::new(shared)), ("discriminator", Optimizer::new(shared))]
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let (count, dim) = (data.batch_size(), self.config.latent_dim);
        let z = draw_latent(&self.latent(), &mut step.generator("train latents"), count);
        let batch = Batch {
            real: data.images(step.number),
            z: step.tensor(z, [count, dim]),
            classes: if self.config.conditional { data.labels(step.number) } else { Vec::new() },
            augment: rng::uniform(&mut step.generator("augment"), 2 * count * augment::DRAWS),
        };
        self.update(batch, step)
    }

    fn warnings(_config: &R3GanConfig) -> Vec<WarningRule> {
        let what = "the discriminator has told real from generated images in all pairs for 20 reports: the generator \
                    learns little from it";
        let remedy = "raise r3gan.gamma, or set r3gan.augment_target to 0.6 for few data";
        vec![WarningRule::new("discriminator-saturated", what, remedy, |values| {
            values.get("pair_accuracy").copied().unwrap_or(0.5) > 0.995
        })]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { latents: Some(self), features: Some(self), ..Abilities::default() }
    }
}

impl Features for R3Gan {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.discriminator.features(images)
    }
}

impl Latents for R3Gan {
    fn parts(&self) -> Vec<LatentPart> {
        self.latent().to_vec()
    }

    fn num_classes(&self) -> usize {
        self.classes
    }

    fn decode(&self, latents: Tensor<2>, classes: &[Option<u32>]) -> Tensor<2> {
        flatten(self.generator.forward(latents, classes))
    }

    fn first_weights(&self) -> Option<Tensor<2>> {
        Some(self.generator.first_weights().narrow(1, 0, self.config.latent_dim))
    }
}

#[cfg(test)]
mod tests;
