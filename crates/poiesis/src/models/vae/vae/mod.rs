//! The variational autoencoder.
//!
//! Kingma and Welling, "Auto-encoding variational Bayes", 2013, arXiv:1312.6114. An encoder q(z|x) and a decoder
//! p(x|z) are trained together on the evidence lower bound log p(x) ≥ E_q log p(x|z) − KL(q(z|x) ‖ p(z)), whose
//! gradient passes through the reparameterised sample z = μ + σ ε.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data, binarised ones in {0, 1}, others in [-1, 1] |
//! | `z`, latents | z | N(0, 1) under the prior, unless that is learned |
//! | `posterior` | q(z given x) | normal with independent dimensions, or what a flow makes of it |
//! | `eps` | ε | noise, N(0, 1) |
//! | bound | −ELBO | nats for each image, lower is better |
//! | `classes` | y | the class of each image, where `conditional` is set |
//!
//! With `conditional`, all distributions but the prior are given the class: q(z|x, y) and p(x|z, y), as in the M2 model of Kingma,
//! Rezende, Mohamed and Welling, "Semi-supervised learning with deep generative models", 2014, arXiv:1406.5298, with all classes
//! known. The one-hot class stands behind z at the decoder's input; in the encoder it stands behind the image in the fully connected
//! body, and behind the features of the image in the convolutional one. The bound is then on log p(x|y). An image without a class has
//! zeros there, and is learned as of no class.
//!
//! The posterior can be made more flexible by planar and radial steps (Rezende and Mohamed 2015, arXiv:1505.05770), and the
//! importance-weighted bound can be trained instead of the ELBO (Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders",
//! 2016, arXiv:1509.00519).
//!
//! The prior can be learned as a mixture of posteriors of pseudo-inputs, the VampPrior (Tomczak and Welling 2017, arXiv:1705.07120), and
//! the total correlation of the latents can be penalised as in FactorVAE (Kim and Mnih 2018, arXiv:1802.05983).
//!
//! Differences from the paper: two hidden layers instead of one where `layers = 2`, Adam instead of Adagrad, and
//! a convolutional body beside the fully connected one. The weight β of the KL term (β-VAE, Higgins et al. 2017) and free
//! bits (Kingma et al. 2016, §C.8) change what is trained, never what is reported as the bound.

mod abilities;
mod config;
mod conv;
mod mlp;
mod posterior;
mod prior;
mod total_correlation;

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};

use super::pixels::{PixelDistribution, likelihood_for};
use crate::abilities::{Abilities, Ability, Likelihood};
use crate::config::{Choice, SampleSchedule, TrainConfig};
use crate::data::{DataFacts, DataSpec, ImageBatches, ImageNeeds, ImageShape, PixelEncoding};
use crate::dist::{Bernoulli, DiscretizedLogistic, Pixels};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::{Init, flatten, with_classes};
use crate::optim::{Optimizer, OptimizerConfig};

pub use config::{Body, VaeConfig};
pub use conv::{ConvDecoder, ConvEncoder};
pub use mlp::Mlp;
pub use posterior::{Drawn, Flow, Posterior};
pub use prior::{LatentPrior, NormalMixture};
pub use total_correlation::{Discriminator, permuted};

/// Values of an image over images, from which [`kl_weight_for`] takes the weight of the KL, and the most that it takes.
const KL_WEIGHT_PER_VALUE: f64 = 6.0;
const LARGEST_KL_WEIGHT: f64 = 100.0;

/// A latent dimension is dead when it tells less about an image than this many nats, on average over a batch.
const DEAD: f64 = 0.01;

/// Decay rates of the moments of Adam for the discriminator (Kim and Mnih 2018, Appendix A).
const DISCRIMINATOR_BETAS: [f64; 2] = [0.5, 0.9];

/// All networks.
#[derive(Module, Debug)]
pub struct Vae {
    /// Images to the posterior's mean, log variance, and parameters of a flow.
    pub encoder: Encoder,
    /// Latents to the parameters of the pixels' distribution.
    pub decoder: Decoder,
    /// With the prior `vamp`, the parameters of its pseudo-inputs, `[count, height, width, channels]`.
    pub pseudo_inputs: Option<Param<Tensor<4>>>,
    /// With `total_correlation`, what estimates it.
    pub discriminator: Option<Discriminator>,
    #[module(skip)]
    config: VaeConfig,
    #[module(skip)]
    shape: ImageShape,
    /// Classes that it is conditioned on; 0 for none.
    #[module(skip)]
    num_classes: usize,
}

/// The encoder of either body.
#[derive(Module, Debug)]
pub enum Encoder {
    /// Fully connected.
    Mlp(Mlp),
    /// Convolutional.
    Conv(ConvEncoder),
}

/// The decoder of either body.
#[derive(Module, Debug)]
pub enum Decoder {
    /// Fully connected.
    Mlp(Mlp),
    /// Convolutional.
    Conv(ConvDecoder),
}

/// The terms of the bound, each averaged over the batch and all draws, in nats.
#[derive(Clone, Debug)]
pub struct VaeLoss {
    /// What is minimised: the bound, but for `kl_weight`, `free_bits` and `total_correlation`; with `importance_samples`, the
    /// importance-weighted one. `[1]`.
    pub objective: Tensor<1>,
    /// −log p(x|z), `[1]`.
    pub reconstruction: Tensor<1>,
    /// KL(q(z|x) ‖ p(z)): of each latent dimension, `[latent_dim]`, where the prior is N(0, 1); of a learned one that of the draws, `[1]`.
    pub kl: Tensor<1>,
    /// How much each latent dimension tells about an image, `[latent_dim]`: its KL, or an estimate where the prior is learned.
    pub information: Tensor<1>,
    /// With `total_correlation`, the total correlation of the latents as the discriminator estimates it, `[1]`.
    pub total_correlation: Option<Tensor<1>>,
    /// The latents, `[importance_samples · batch, latent_dim]`.
    pub z: Tensor<2>,
}

/// What the discriminator of the total correlation learns from beside the latents of a batch: other images.
#[derive(Clone, Debug)]
pub struct OtherImages {
    /// `[batch, height, width, channels]` in the encoding of the likelihood.
    pub x: Tensor<4>,
    /// Their classes, where the model is conditioned on classes.
    pub classes: Vec<Option<u32>>,
    /// Noise of their posteriors, `[batch, latent_dim]`.
    pub eps: Tensor<2>,
    /// How each dimension of their latents is permuted; see [`permuted`].
    pub orders: Tensor<2, Int>,
}

impl Vae {
    /// q(z|x).
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]`, with a class for each where it is conditioned on classes; the mean and the log
    /// variance are `[batch, latent_dim]`.
    pub fn posterior(&self, x: Tensor<4>, classes: &[Option<u32>]) -> Posterior {
        let with_classes = |h| with_classes(h, classes, self.num_classes);
        let parameters = match &self.encoder {
            Encoder::Mlp(mlp) => mlp.forward(with_classes(flatten(x))),
            Encoder::Conv(conv) => conv.forward(x, with_classes),
        };
        Posterior::from_parameters(&parameters, self.config.latent_dim, self.config.flow)
    }

    /// p(x|z), over images flattened row by row.
    ///
    /// # Shapes
    ///
    /// `z` is `[batch, latent_dim]`, with a class for each where it is conditioned on classes; the distribution is over
    /// `[batch, height · width · channels]`.
    pub fn pixels(&self, z: Tensor<2>, classes: &[Option<u32>]) -> Pixels {
        let z = with_classes(z, classes, self.num_classes);
        let parameters = match &self.decoder {
            Decoder::Mlp(mlp) => mlp.forward(z),
            Decoder::Conv(conv) => conv.forward(z),
        };
        match self.config.likelihood {
            PixelDistribution::Bernoulli => Pixels::Bernoulli(Bernoulli { logits: parameters }),
            PixelDistribution::DiscretizedLogistic => {
                let dims = self.shape.dims();
                Pixels::DiscretizedLogistic(DiscretizedLogistic {
                    mean: parameters.clone().narrow(1, 0, dims),
                    // Pixels start a quarter of the range wide; no pixel is narrower than a tenth of a bin.
                    log_scale: (parameters.narrow(1, dims, dims) - 1.4).clamp_min(-7.0),
                })
            }
        }
    }

    /// The bound of images `x` with noise `eps` (Eq. 10), or the importance-weighted one (Burda et al. 2016, Eq. 8).
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` in the encoding of the likelihood, with a class for each where it is conditioned on
    /// classes; `eps` is `[importance_samples · batch, latent_dim]`, the first draw of all images first.
    pub fn loss(&self, x: Tensor<4>, classes: &[Option<u32>], eps: Tensor<2>) -> VaeLoss {
        self.weighted_loss(x, classes, eps, self.config.kl_weight)
    }

    /// The same with another weight of the KL.
    fn weighted_loss(
        &self,
        x: Tensor<4>,
        classes: &[Option<u32>],
        eps: Tensor<2>,
        kl_weight: f64,
    ) -> VaeLoss {
        let samples = self.config.importance_samples;
        let mut posterior = self.posterior(x.clone(), classes);
        let (mut x, mut classes) = (flatten(x), classes.to_vec());
        if samples > 1 {
            (posterior, x) = (posterior.repeated(samples), x.repeat_dim(0, samples));
            classes = classes.repeat(samples);
        }
        let drawn = posterior.draw(eps.clone());
        let z = drawn.z.clone();
        let log_x = self.pixels(z.clone(), &classes).log_prob(x);
        let reconstruction = log_x.clone().mean().neg();
        let mixture = self.mixture();
        let log_p = prior::log_prior(mixture.as_ref(), z.clone());
        let log_ratio = log_p - posterior.log_prob(&drawn, eps.clone());
        let (kl, information) = match mixture {
            None => {
                let kl = posterior.kl(&drawn, eps).mean_dim(0).reshape([self.config.latent_dim]);
                (kl.clone(), kl)
            }
            Some(_) => (log_ratio.clone().mean().neg(), posterior.normal_information()),
        };
        let mut objective = if samples > 1 {
            let log_w = log_x + log_ratio;
            let batch = log_w.dims()[0] / samples;
            log_mean_exp(log_w.reshape([samples, batch])).mean().neg()
        } else if self.config.free_bits > 0.0 {
            let charged = kl.clone().clamp_min(self.config.free_bits);
            reconstruction.clone() + charged.sum() * kl_weight
        } else {
            reconstruction.clone() + kl.clone().sum() * kl_weight
        };
        // Frozen, as only the latents are to become less correlated here (Kim and Mnih 2018, Algorithm 2).
        let frozen = self.discriminator.as_ref().map(|discriminator| discriminator.clone().no_grad());
        let total_correlation = frozen.map(|discriminator| discriminator.logits(z.clone()).mean());
        if let Some(total_correlation) = &total_correlation {
            objective = objective + total_correlation.clone() * self.config.total_correlation;
        }
        VaeLoss { objective, reconstruction, kl, information, total_correlation, z }
    }

    /// The learned prior, if it has one: the posteriors of the pseudo-inputs, which are of no class (Tomczak and Welling 2017, Eq. 9).
    pub fn mixture(&self) -> Option<NormalMixture> {
        let images = prior::pseudo_images(self.pseudo_inputs.as_ref()?.val(), self.encoding());
        let classes = vec![None; images.dims()[0]];
        Some(NormalMixture { components: self.posterior(images, &classes).normal })
    }

    fn encoding(&self) -> PixelEncoding {
        self.config.likelihood.encoding()
    }
}

/// log of the mean over the first axis of exp, `[samples, batch]` to `[1, batch]`, without overflow.
fn log_mean_exp(values: Tensor<2>) -> Tensor<2> {
    let max = values.clone().detach().max_dim(0);
    (values - max.clone()).exp().mean_dim(0).log() + max
}

/// Parameters of each value's distribution.
fn kinds(likelihood: PixelDistribution) -> usize {
    match likelihood {
        PixelDistribution::Bernoulli => 1,
        PixelDistribution::DiscretizedLogistic => 2,
    }
}

impl Vae {
    /// One step of encoder, decoder and prior on given data and noise. Returns the latents too, without gradients.
    fn update(
        &mut self,
        x: Tensor<4>,
        classes: &[Option<u32>],
        eps: Tensor<2>,
        step: &mut Step<'_>,
    ) -> (Metrics, Tensor<2>) {
        let loss = self.weighted_loss(x, classes, eps, self.config.kl_weight_at(step.number));
        step.minimize("adam", self, &loss.objective);

        let (reconstruction, kl) = (loss.reconstruction.inner(), loss.kl.inner());
        let active = loss.information.inner().greater_elem(DEAD).float().sum();
        let mut metrics = Metrics::new()
            .with("bound", reconstruction.clone() + kl.clone().sum())
            .with("reconstruction", reconstruction)
            .with("kl", kl.sum())
            .with("active_dims", active);
        if self.config.importance_samples > 1 {
            metrics = metrics.with("weighted_bound", loss.objective);
        }
        if let Some(total_correlation) = loss.total_correlation {
            metrics = metrics.with("tc", total_correlation);
        }
        (metrics, loss.z.detach())
    }

    /// One step of the discriminator, which learns to tell the latents `z` from those of other images, whose dimensions are permuted (Kim
    /// and Mnih 2018, Algorithm 2). Returns its loss.
    fn update_discriminator(&mut self, z: Tensor<2>, others: OtherImages, step: &mut Step<'_>) -> Tensor<1> {
        let of_others = self.posterior(others.x, &others.classes).draw(others.eps).z.detach();
        let discriminator = self.discriminator.as_mut().expect("total_correlation is above 0");
        let loss = discriminator.loss(z, permuted(of_others, others.orders));
        step.minimize("discriminator", discriminator, &loss);
        loss
    }
}

/// The weight of the KL where images are few for what they hold. The bound itself then lets the posterior remember each of them, and what
/// is drawn from the prior lies between them and looks like none. Measured on 400 faces of 64×64: 1 gives stripes, 70 to 100 faces.
fn kl_weight_for(facts: &DataFacts) -> Option<Choice> {
    let weight = KL_WEIGHT_PER_VALUE * facts.dims() as f64 / facts.len.max(1) as f64;
    let weight = weight.min(LARGEST_KL_WEIGHT).round();
    let reason =
        || format!("{} images are few: drawn images look better, reconstructions lose detail", facts.len);
    (weight > 1.0 && !facts.two_tones).then(|| Choice::new("vae.kl_weight", weight, reason()))
}

impl Model for Vae {
    const ABOUT: About = About {
        name: "vae",
        summary: "variational autoencoder: latents to explore, and a bound on log p(x)",
        paper: Paper {
            title: "Auto-encoding variational Bayes",
            authors: "Kingma, Welling",
            year: 2013,
            arxiv: "1312.6114",
        },
        abilities: &[
            Ability::Sample,
            Ability::Decode,
            Ability::Encode,
            Ability::Likelihood,
            Ability::Compress,
            Ability::Features,
        ],
        recipes: recipes!("shapes", "mnist", "mnist-conv", "fashion-mnist", "emoji64", "cifar10"),
        train: || TrainConfig {
            batch_size: 128,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        },
        old_keys: &[("hidden", &["vae.hidden_dim"])],
        ..About::BASE
    };

    type Config = VaeConfig;
    type Data = ImageBatches;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        let mut choices = vec![
            Choice::new("vae.body", if facts.halves() { "conv" } else { "mlp" }, facts.sized()),
            Choice::new("vae.width", if facts.side() > 40 { 16 } else { 32 }, facts.sized()),
            Choice::new("vae.latent_dim", if facts.two_tones { 32 } else { 64 }, facts.toned()),
            likelihood_for("vae", facts),
            Choice::new("vae.kl_warmup_steps", 1000, "so that no latent is given up early"),
            Choice::new("train.batch_size", 32, "many steps in little time"),
            Choice::new("optimizer.schedule", "cosine", "the length is known"),
            Choice::new("optimizer.warmup_steps", 200, "the first steps are rough"),
            Choice::new("optimizer.learning_rate", 0.0005, "half, so that no seed diverges"),
            Choice::new("optimizer.clip", facts.dims() as f64 / 4.0, "one bad batch does no harm"),
        ];
        choices.extend(kl_weight_for(facts));
        choices
    }

    fn needs(config: &VaeConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: config.likelihood.encoding(), labelled: false })
    }

    fn new(config: &VaeConfig, spec: &DataSpec, init: &mut Init) -> Result<Vae> {
        let (shape, kinds) = (spec.images()?, kinds(config.likelihood));
        let num_classes = spec.classes_for("vae", config.conditional)?;
        let latents = config.latent_dim + num_classes;
        let (encoder, decoder) = match config.body {
            Body::Mlp => (
                Encoder::Mlp(Mlp::new(
                    shape.dims() + num_classes,
                    config.posterior_parameters(),
                    config,
                    init,
                )),
                Decoder::Mlp(Mlp::new(latents, kinds * shape.dims(), config, init)),
            ),
            Body::Conv => (
                Encoder::Conv(ConvEncoder::new(config, num_classes, shape, init)?),
                Decoder::Conv(ConvDecoder::new(config, latents, shape, kinds * shape.channels, init)?),
            ),
        };
        let pseudo_inputs = (config.prior == LatentPrior::Vamp)
            .then(|| prior::new_pseudo_inputs(config.pseudo_inputs, shape, init));
        let discriminator = (config.total_correlation > 0.0)
            .then(|| Discriminator::new(config.latent_dim, &config.discriminator_hidden_dims, init));
        let config = config.clone();
        Ok(Vae { encoder, decoder, pseudo_inputs, discriminator, config, shape, num_classes })
    }

    fn held_values(config: &VaeConfig, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        let features = match config.body {
            Body::Mlp => 2.0 * config.layers as f64 * config.hidden_dim as f64,
            Body::Conv => (shape.height * shape.width / 4) as f64 * config.width as f64 * 2.0,
        };
        Ok(shape.dims() as f64 + features)
    }

    fn optimizers(config: &VaeConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        let mut optimizers = vec![("adam", Optimizer::new(shared))];
        if config.total_correlation > 0.0 {
            let of_discriminator = OptimizerConfig {
                learning_rate: config.discriminator_learning_rate,
                betas: DISCRIMINATOR_BETAS,
                ..shared.clone()
            };
            optimizers.push(("discriminator", Optimizer::new(&of_discriminator)));
        }
        optimizers
    }

    fn initialize(&mut self, data: &mut ImageBatches) {
        let encoding = self.encoding();
        self.pseudo_inputs =
            self.pseudo_inputs.take().map(|noise| prior::first_pseudo_inputs(noise, data, encoding));
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let (batch, dims) = (data.batch_size(), self.config.latent_dim);
        let eps = step.normal("train posterior", [self.config.importance_samples * batch, dims]);
        let conditional = self.config.conditional;
        let classes = |number| if conditional { data.labels(number) } else { Vec::new() };
        let (metrics, z) = self.update(data.images(step.number), &classes(step.number), eps, step);
        if self.discriminator.is_none() {
            return metrics;
        }
        // The batch of the next step, which the encoder has not been trained on since it was drawn last.
        let others = OtherImages {
            x: data.images(step.number + 1),
            classes: classes(step.number + 1),
            eps: step.normal("others posterior", [batch, dims]),
            orders: total_correlation::draw_orders(step, [batch, dims]),
        };
        metrics.with("d_loss", self.update_discriminator(z, others, step))
    }

    fn warnings(config: &VaeConfig) -> Vec<WarningRule> {
        let dims = config.latent_dim as f64;
        let what = format!(
            "fewer than a tenth of the {dims} latent dimensions carry more than {DEAD} nats: the decoder ignores \
             them"
        );
        let remedy = "lower vae.kl_weight, set vae.free_bits=0.05, or lower vae.latent_dim";
        vec![WarningRule::new("latents-dead", what, remedy, move |values| {
            values.get("active_dims").is_some_and(|active| *active < 0.1 * dims)
        })]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities {
            latents: Some(self),
            encoder: Some(self),
            likelihood: Some(Likelihood::Bound(self)),
            bits_back: Some(self),
            features: Some(self),
            ..Abilities::default()
        }
    }
}

#[cfg(test)]
mod tests;
