//! Attend, infer, repeat (AIR): a scene is a number of objects, found one after another.
//!
//! Eslami, Heess, Weber, Tassa, Szepesvari, Kavukcuoglu and Hinton, "Attend, infer, repeat: fast scene understanding with generative
//! models", 2016, arXiv:1603.08575. A recurrent network says whether there is another object, where it is and what it is; the object is
//! drawn from what it is and put where it is.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | scenes in [0, 1], `[batch, height, width, channels]` |
//! | `presence` | z_pres | 1 where there is an object, then 0 for this and all later ones |
//! | `place` | z_where | size, column and row of an object, N(0, 1) under the prior |
//! | `what` | z_what | what an object is, N(0, 1) under the prior |
//! | `canvas` | y | the sum of the objects; a pixel is N(y, `deviation`²) |
//! | bound | −ELBO | nats for each image, of densities of pixels in [0, 1], lower is better |
//!
//! The gradient passes through z_where and z_what by their noise. That of z_pres is estimated by likelihood ratios, where only the costs
//! that depend on it count, less a baseline (§2.2; NVIL, Mnih and Gregor 2014, arXiv:1402.0030).
//!
//! Differences from the paper: the baseline is a layer on the inference network's state, and the mean over the other images of the
//! batch is subtracted too; the divergence of z_pres from its prior is computed in closed form; z_where has the prior N(0, 1), and
//! settings say what sizes and places that means; Adam instead of RMSProp; a found object is reported by the box of what it draws.

mod abilities;
mod network;
mod transformer;

use std::f64::consts::TAU;

use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, softplus};
use serde::{Deserialize, Serialize};

pub use network::{Network, Perceptron};
pub use transformer::Window;

use crate::abilities::{Abilities, Ability};
use crate::config::{Faults, SampleSchedule, Settings, TrainConfig};
use crate::data::{DataSpec, ImageBatches, ImageNeeds, ImageShape, PixelEncoding};
use crate::dist::DiagonalNormal;
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::{Init, flatten};
use crate::optim::{Optimizer, OptimizerConfig};
use network::WHERE;

/// No objects are found when there are fewer than this in an image, averaged over a batch.
const NONE: f64 = 0.02;

/// Settings of an [`Air`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirConfig {
    /// N: most objects of a scene (§3.1: 3).
    pub max_objects: usize,
    /// Features of the recurrent network (256).
    pub width: usize,
    /// Values in z_what (50).
    pub what_dim: usize,
    /// Side of an object in pixels before it is scaled (20).
    pub object_size: usize,
    /// Hidden units of the networks that read and draw an object (200).
    pub hidden_dim: usize,
    /// Side of an object as a part of the image's where z_where is 0: the median under the prior.
    pub side: f64,
    /// Standard deviation of the logarithm of an object's side under the prior.
    pub side_deviation: f64,
    /// Standard deviation of an object's centre under the prior, in halves of the image's sides.
    pub place_deviation: f64,
    /// Probability of another object under the prior, given those before it.
    pub presence: f64,
    /// The same in the first step of training; it becomes `presence` linearly, which keeps objects in use until they are learned.
    pub first_presence: f64,
    /// Steps until the prior of training is that of the model; 0 for none.
    pub presence_steps: u64,
    /// Standard deviation of a pixel around what is drawn (0.3).
    pub deviation: f64,
    /// Learning rate of the baseline (§3.1: 1e-3, ten times that of the others).
    pub baseline_learning_rate: f64,
}

impl Default for AirConfig {
    fn default() -> AirConfig {
        AirConfig {
            max_objects: 3,
            width: 256,
            what_dim: 50,
            object_size: 20,
            hidden_dim: 200,
            side: 0.4,
            side_deviation: 0.2,
            place_deviation: 0.5,
            presence: 0.5,
            first_presence: 0.99,
            presence_steps: 1000,
            deviation: 0.3,
            baseline_learning_rate: 1e-3,
        }
    }
}

impl AirConfig {
    /// The probability of another object under the prior of step `step`.
    fn presence_at(&self, step: u64) -> f64 {
        if self.presence_steps == 0 {
            return self.presence;
        }
        let part = (step as f64 / self.presence_steps as f64).min(1.0);
        self.first_presence + (self.presence - self.first_presence) * part
    }
}

impl Settings for AirConfig {
    fn check(&self, faults: &mut Faults) {
        faults.within(&["max_objects"], 1..=20);
        faults.positive(&["width", "what_dim", "object_size", "hidden_dim"]);
        for (key, probability) in [("presence", self.presence), ("first_presence", self.first_presence)] {
            if !(probability > 0.0 && probability < 1.0) {
                faults.add(
                    key,
                    probability,
                    "it is a probability, and both outcomes must be possible",
                    "give 0.01 to 0.99",
                );
            }
        }
        for (key, value) in [
            ("side", self.side),
            ("side_deviation", self.side_deviation),
            ("place_deviation", self.place_deviation),
            ("deviation", self.deviation),
            ("baseline_learning_rate", self.baseline_learning_rate),
        ] {
            if !(value.is_finite() && value > 0.0) {
                faults.add(key, value, "it must be finite and positive", "give a positive number");
            }
        }
    }
}

/// All networks.
#[derive(Module, Debug)]
pub struct Air {
    /// Inference and objects.
    pub network: Network,
    /// States of the inference network to what an object's presence will cost.
    pub baseline: Perceptron,
    #[module(skip)]
    config: AirConfig,
    #[module(skip)]
    shape: ImageShape,
}

/// The noise of an inference.
#[derive(Clone, Debug)]
pub struct Noise {
    /// Uniform on [0, 1), `[batch, max_objects]`: an object is there where it is below the probability.
    pub presence: Tensor<2>,
    /// N(0, 1), `[batch, max_objects · 3]`.
    pub place: Tensor<2>,
    /// N(0, 1), `[batch, max_objects · what_dim]`.
    pub what: Tensor<2>,
}

/// One step of the inference, for each image of a batch.
#[derive(Clone, Debug)]
pub struct Attended {
    /// The inference network's state, `[batch, width]`.
    pub state: Tensor<2>,
    /// Whether there was an object at the step before, `[batch]`, without gradient.
    pub before: Tensor<1>,
    /// z_pres, `[batch]`, without gradient.
    pub presence: Tensor<1>,
    /// The logit of q(z_pres = 1 given that there was one before), `[batch]`.
    pub logit: Tensor<1>,
    /// q(z_where).
    pub place: DiagonalNormal,
    /// z_where, `[batch, 3]`.
    pub drawn_place: Tensor<2>,
    /// q(z_what).
    pub what: DiagonalNormal,
}

impl Attended {
    /// log q(z_pres), `[batch]`.
    fn log_q(&self) -> Tensor<1> {
        let absent = self.presence.clone().neg() + 1.0;
        let log_prob = |logit: Tensor<1>| softplus(logit.neg(), 1.0).neg();
        self.presence.clone() * log_prob(self.logit.clone()) + absent * log_prob(self.logit.clone().neg())
    }

    /// KL of q(z_pres) from the prior, in which there is an object with probability `presence`, `[batch]`.
    fn kl_of_presence(&self, presence: f64) -> Tensor<1> {
        let q = sigmoid(self.logit.clone());
        // log q − log(1 − q) is the logit.
        let entropy_term = q.clone() * self.logit.clone() - softplus(self.logit.clone(), 1.0);
        entropy_term - q.clone() * presence.ln() - (q.neg() + 1.0) * (1.0 - presence).ln()
    }

    /// KL of q(z_where) and q(z_what) from their priors, `[batch]`.
    fn kl_of_object(&self) -> Tensor<1> {
        let batch = self.presence.dims()[0];
        let kl = |q: &DiagonalNormal| q.kl_to_standard().sum_dim(1).reshape([batch]);
        kl(&self.place) + kl(&self.what)
    }
}

/// What is minimised, and what it is made of, averaged over the batch, in nats. `[1]` each.
#[derive(Clone, Debug)]
pub struct AirLoss {
    /// Its gradient is that of the bound; its value means nothing.
    pub objective: Tensor<1>,
    /// Squared error of the baseline.
    pub baseline: Tensor<1>,
    /// −log p(x|z).
    pub reconstruction: Tensor<1>,
    /// KL of all latents of the objects that are there.
    pub kl: Tensor<1>,
    /// Objects in a scene.
    pub objects: Tensor<1>,
}

impl Air {
    /// The window that z_where, `[batch, 3]`, stands for.
    pub fn window(&self, place: &Tensor<2>) -> Window {
        let AirConfig { side, side_deviation, place_deviation, .. } = self.config;
        let value = |i| place.clone().narrow(1, i, 1);
        Window {
            scale: (value(0) * side_deviation).exp() * side,
            x: value(1) * place_deviation,
            y: value(2) * place_deviation,
        }
    }

    /// Objects at their places on black, `[batch, 3]` and `[batch, what_dim]` to `[batch, height, width, channels]`.
    fn draw_alone(&self, place: &Tensor<2>, what: Tensor<2>) -> Tensor<4> {
        let ImageShape { height, width, channels } = self.shape;
        let objects = self.network.draw(what, self.config.object_size, channels);
        self.window(place).write(objects, [height, width])
    }

    /// What objects add to the canvas, `[batch, height, width, channels]`: nothing where `presence`, `[batch]`, is 0.
    fn add(&self, place: &Tensor<2>, what: Tensor<2>, presence: &Tensor<1>) -> Tensor<4> {
        let batch = presence.dims()[0];
        self.draw_alone(place, what) * presence.clone().reshape([batch, 1, 1, 1])
    }

    /// Finds the objects of scenes one after another; also what they make together, `[batch, height, width, channels]`.
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` in [0, 1].
    pub fn infer(&self, x: &Tensor<4>, noise: &Noise) -> (Vec<Attended>, Tensor<4>) {
        let (batch, device) = (x.dims()[0], x.device());
        let AirConfig { max_objects, width, what_dim, object_size, .. } = self.config;
        let zeros = |dims| Tensor::<2>::zeros([batch, dims], &device);
        let mut state = (zeros(width), zeros(width));
        let mut known = zeros(1 + WHERE + what_dim);
        let mut before = Tensor::ones([batch], &device);
        let mut canvas = Tensor::zeros(x.dims(), &device);
        let mut found = Vec::with_capacity(max_objects);
        for i in 0..max_objects {
            state = self.network.next(x.clone(), known, state);
            let (logit, place) = self.network.place(state.0.clone());
            let uniform = noise.presence.clone().narrow(1, i, 1).reshape([batch]);
            let presence = before.clone() * uniform.lower(sigmoid(logit.clone()).detach()).float();
            let drawn_place = place.sample(noise.place.clone().narrow(1, i * WHERE, WHERE));
            let what = self.network.read(self.window(&drawn_place).read(x.clone(), object_size));
            let drawn_what = what.sample(noise.what.clone().narrow(1, i * what_dim, what_dim));
            canvas = canvas + self.add(&drawn_place, drawn_what.clone(), &presence);
            let column = presence.clone().reshape([batch, 1]);
            known = Tensor::cat(vec![column, drawn_place.clone(), drawn_what], 1);
            let hidden = state.0.clone();
            found.push(Attended {
                state: hidden,
                before,
                presence: presence.clone(),
                logit,
                place,
                drawn_place,
                what,
            });
            before = presence;
        }
        (found, canvas)
    }

    /// −log p(x|z) of scenes given what was drawn, `[batch]`.
    fn misfit(&self, x: Tensor<4>, canvas: Tensor<4>) -> Tensor<1> {
        let (batch, dims) = (x.dims()[0], self.shape.dims() as f64);
        let variance = self.config.deviation.powi(2);
        let squared = flatten(x - canvas).square().sum_dim(1).reshape([batch]);
        squared / (2.0 * variance) + 0.5 * dims * (TAU * variance).ln()
    }

    /// The bound of scenes with given noise, where another object has prior probability `presence`, with the estimate of its gradient.
    pub fn loss(&self, x: &Tensor<4>, noise: &Noise, presence: f64) -> AirLoss {
        let (found, canvas) = self.infer(x, noise);
        let reconstruction = self.misfit(x.clone(), canvas);
        // From the last step to the first: what is still to come depends on z_pres, what was before does not.
        let mut cost = reconstruction.clone();
        let (mut estimate, mut baseline) = (cost.zeros_like(), cost.zeros_like());
        for step in found.iter().rev() {
            cost = cost + step.presence.clone() * step.kl_of_object();
            let decided = cost.clone().detach();
            let guess = self.baseline.forward(step.state.clone().detach()).reshape([-1]);
            let error = decided.clone() - mean_where(&step.before, &decided) - guess.clone();
            baseline = baseline + step.before.clone() * error.square();
            let advantage = less_the_others(&step.before, decided - guess.detach());
            estimate = estimate + step.before.clone() * step.log_q() * advantage;
            cost = cost + step.before.clone() * step.kl_of_presence(presence);
        }
        let objects = found.iter().map(|step| step.presence.clone()).reduce(|a, b| a + b);
        AirLoss {
            objective: (cost.clone() + estimate).mean(),
            baseline: baseline.mean(),
            kl: (cost - reconstruction.clone()).mean(),
            reconstruction: reconstruction.mean(),
            objects: objects.expect("there is a step").mean(),
        }
    }
}

/// The mean of the values of the images where `chosen` is 1, `[1]`; 0 where there are none.
fn mean_where(chosen: &Tensor<1>, values: &Tensor<1>) -> Tensor<1> {
    (chosen.clone() * values.clone()).sum() / chosen.clone().sum().clamp_min(1.0)
}

/// The value of each image less the mean of the values of the others where `chosen` is 1. This mean does not depend on what was drawn
/// for the image itself, so the estimate keeps its expectation.
fn less_the_others(chosen: &Tensor<1>, values: Tensor<1>) -> Tensor<1> {
    let own = chosen.clone() * values.clone();
    let others = (own.clone().sum() - own) / (chosen.clone().sum() - chosen.clone()).clamp_min(1.0);
    values - others
}

impl Air {
    /// One step on given scenes and noise, under the prior of the step.
    fn update(&mut self, x: &Tensor<4>, noise: &Noise, step: &mut Step<'_>) -> Metrics {
        let loss = self.loss(x, noise, self.config.presence_at(step.number));
        step.minimize("optimizer", &mut self.network, &loss.objective);
        step.minimize("baseline", &mut self.baseline, &loss.baseline);
        Metrics::new()
            .with("bound", loss.reconstruction.clone() + loss.kl.clone())
            .with("reconstruction", loss.reconstruction)
            .with("kl", loss.kl)
            .with("objects", loss.objects)
            .with("baseline_error", loss.baseline)
    }

    /// The noise of a step.
    fn draw_noise(&self, batch: usize, step: &Step<'_>) -> Noise {
        let AirConfig { max_objects, what_dim, .. } = self.config;
        Noise {
            presence: step.uniform("train presence", [batch, max_objects]),
            place: step.normal("train place", [batch, max_objects * WHERE]),
            what: step.normal("train what", [batch, max_objects * what_dim]),
        }
    }
}

impl Model for Air {
    const ABOUT: About = About {
        name: "air",
        summary: "attend, infer, repeat: counts and places the objects of a scene",
        paper: Paper {
            title: "Attend, infer, repeat: fast scene understanding with generative models",
            authors: "Eslami, Heess, Weber, Tassa, Szepesvari, Kavukcuoglu, Hinton",
            year: 2016,
            arxiv: "1603.08575",
        },
        abilities: &[Ability::Sample, Ability::Steps, Ability::Objects],
        recipes: recipes!("scenes", "digits"),
        train: || TrainConfig {
            batch_size: 64,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        },
        optimizer: || OptimizerConfig { learning_rate: 3e-4, ..OptimizerConfig::default() },
        ..About::BASE
    };

    type Config = AirConfig;
    type Data = ImageBatches;

    fn needs(_config: &AirConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: PixelEncoding::EightBit, labelled: false })
    }

    fn new(config: &AirConfig, spec: &DataSpec, init: &mut Init) -> Result<Air> {
        let shape = spec.images()?;
        let network = Network::new(config, shape, init);
        let baseline = Perceptron::new(config.width, config.hidden_dim, 1, init);
        Ok(Air { network, baseline, config: config.clone(), shape })
    }

    fn held_values(config: &AirConfig, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        let object = 4 * config.object_size.pow(2) * shape.channels;
        Ok(config.max_objects as f64 * (3 * shape.dims() + object + 8 * config.width) as f64)
    }

    fn optimizers(config: &AirConfig, shared: &OptimizerConfig) -> Vec<(&'static str, Optimizer)> {
        let of_baseline = OptimizerConfig { learning_rate: config.baseline_learning_rate, ..shared.clone() };
        vec![("optimizer", Optimizer::new(shared)), ("baseline", Optimizer::new(&of_baseline))]
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let x = (data.images(step.number) + 1.0) * 0.5;
        let noise = self.draw_noise(data.batch_size(), step);
        self.update(&x, &noise, step)
    }

    fn warnings(_config: &AirConfig) -> Vec<WarningRule> {
        let what = "hardly any object is found: the canvas stays empty";
        let remedy = "raise air.presence_steps, or lower air.deviation or optimizer.learning_rate";
        vec![WarningRule::new("no-objects", what, remedy, |values| {
            values.get("objects").is_some_and(|objects| *objects < NONE)
        })]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities { sampler: Some(self), steps: Some(self), objects: Some(self), ..Abilities::default() }
    }
}

#[cfg(test)]
mod tests;
