//! DRAW: an image is written on a canvas glimpse by glimpse.
//!
//! Gregor, Danihelka, Graves, Rezende and Wierstra, "DRAW: a recurrent neural network for image generation", 2015, arXiv:1502.04623.
//! A variational autoencoder whose encoder and decoder are recurrent: at each glimpse the encoder reads a patch of the image and of
//! what the canvas lacks, and the decoder adds a patch to the canvas. Both choose by attention where their patch is.
//!
//! | here | symbol | meaning |
//! |---|---|---|
//! | `x`, images | x | data in {0, 1}, `[batch, height, width, channels]` |
//! | `canvas` | c_t | logits of the pixels after glimpse t; those of the image are c_T |
//! | `latents` | z_1 … z_T | those of all glimpses one after another, N(0, 1) under the prior |
//! | `posteriors` | Q(Z_t given h_t^enc) | of each glimpse, normal with independent dimensions |
//! | `eps` | | noise of the latents, N(0, 1) |
//! | bound | L^x + L^z | −ELBO, nats for each image, lower is better |
//!
//! Differences from the paper: a read patch has x and the error x̂ side by side in each pixel instead of one after the other; gates have
//! no connections from the cells; filters are normalised by a softmax, which is the same and defined everywhere.

mod attention;

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

pub use attention::Filters;

use crate::abilities::{
    Abilities, Ability, BitsBack, Bound, Draws, Encoder, Features, LatentPart, Latents, Likelihood,
    LogWeights, Prior, Steps,
};
use crate::config::{Choice, Faults, SampleSchedule, Settings, TrainConfig};
use crate::data::{DataFacts, DataSpec, ImageBatches, ImageNeeds, ImageShape, PixelEncoding};
use crate::dist::{Bernoulli, DiagonalNormal, Pixels, standard_normal_log_prob};
use crate::error::Result;
use crate::model::{About, Metrics, Model, Paper, Step, WarningRule, recipes};
use crate::nn::{Activation, Init, Initializer, Linear, Lstm, LstmState, flatten};
use crate::optim::OptimizerConfig;
use crate::rng;

/// Glimpses do nothing when their KL divergence, averaged over a batch, stays below this many nats.
const IDLE: f64 = 0.01;

/// Settings of a [`Draw`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawConfig {
    /// T: glimpses in which an image is written (Table 3: 64 for MNIST).
    pub glimpses: usize,
    /// Features of each LSTM (Table 3: 256).
    pub width: usize,
    /// Values in the latents of one glimpse (Table 3: 100).
    pub latent_dim: usize,
    /// Whether patches are read and written; otherwise each glimpse reads and writes the whole image (§3.1).
    pub attention: bool,
    /// `attention`: side of a patch that is read, in filters (Table 3: 2).
    pub read_size: usize,
    /// `attention`: side of a patch that is written (Table 3: 5).
    pub write_size: usize,
}

impl Default for DrawConfig {
    /// Those of the paper for MNIST, but for fewer glimpses.
    fn default() -> DrawConfig {
        DrawConfig { glimpses: 32, width: 256, latent_dim: 100, attention: true, read_size: 2, write_size: 5 }
    }
}

impl Settings for DrawConfig {
    fn check(&self, faults: &mut Faults) {
        faults.positive(&["width", "latent_dim"]);
        faults.depths(&["glimpses"]);
        faults.within(&["read_size", "write_size"], 2..=1000);
    }
}

/// The networks.
#[derive(Module, Debug)]
pub struct Draw {
    /// RNN^enc.
    pub encoder: Lstm,
    /// RNN^dec.
    pub decoder: Lstm,
    /// Encoder states to the posterior's means and log σ.
    posterior: Linear,
    /// Decoder states to the parameters of the filters that read, with attention.
    read_attention: Option<Linear>,
    /// Decoder states to those of the filters that write.
    write_attention: Option<Linear>,
    /// Decoder states to the patch that is written, the whole image without attention.
    patch: Linear,
    /// h_0^enc, `[width]`.
    first_encoder: Param<Tensor<1>>,
    /// h_0^dec, `[width]`.
    first_decoder: Param<Tensor<1>>,
    /// c_0, `[height · width · channels]`.
    first_canvas: Param<Tensor<1>>,
    #[module(skip)]
    config: DrawConfig,
    #[module(skip)]
    shape: ImageShape,
}

/// What was inferred from images.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// c_T, `[batch, height, width, channels]`.
    pub canvas: Tensor<4>,
    /// Q(Z_t|h_t^enc) of each glimpse, over `[batch, latent_dim]`.
    pub posteriors: Vec<DiagonalNormal>,
    /// The latents that were drawn, `[batch, glimpses · latent_dim]`.
    pub latents: Tensor<2>,
    /// h_T^enc, `[batch, width]`.
    pub state: Tensor<2>,
}

/// The terms of the bound, each averaged over the batch, in nats.
#[derive(Clone, Debug)]
pub struct DrawLoss {
    /// L^x = −log D(x|c_T) (Eq. 9), `[1]`.
    pub reconstruction: Tensor<1>,
    /// L^z (Eq. 10) of each glimpse, `[glimpses]`.
    pub kl: Tensor<1>,
}

impl Draw {
    /// Q(Z_t|h_t^enc) (Eq. 1, 2).
    fn posterior(&self, state: Tensor<2>) -> DiagonalNormal {
        let dim = self.config.latent_dim;
        let parameters = self.posterior.forward(state, Activation::Identity);
        let log_deviation = parameters.clone().narrow(1, dim, dim);
        DiagonalNormal { mean: parameters.narrow(1, 0, dim), log_var: log_deviation * 2.0 }
    }

    /// The filters that `layer` makes from decoder states (Eq. 21).
    fn filters(&self, layer: &Linear, state: Tensor<2>, size: usize) -> Filters {
        let parameters = layer.forward(state, Activation::Identity);
        Filters::new(&parameters, size, [self.shape.height, self.shape.width])
    }

    /// read(x, x̂, h^dec) (Eq. 17, 27), `[batch, values]`.
    fn read(&self, x: Tensor<4>, error: Tensor<4>, state: Tensor<2>) -> Tensor<2> {
        let both = Tensor::cat(vec![x, error], 3);
        match &self.read_attention {
            Some(layer) => flatten(self.filters(layer, state, self.config.read_size).read(both)),
            None => flatten(both),
        }
    }

    /// write(h^dec) (Eq. 18, 28, 29), `[batch, height, width, channels]`.
    fn write(&self, state: Tensor<2>) -> Tensor<4> {
        let ImageShape { height, width, channels } = self.shape;
        let patch = self.patch.forward(state.clone(), Activation::Identity);
        match &self.write_attention {
            Some(layer) => {
                let size = self.config.write_size;
                let patch = patch.reshape([-1, size as i64, size as i64, channels as i64]);
                self.filters(layer, state, size).write(patch)
            }
            None => patch.reshape([-1, height as i64, width as i64, channels as i64]),
        }
    }

    /// c_0 and the decoder's state before the first glimpse.
    fn begin(&self, batch: usize) -> (Tensor<4>, LstmState) {
        let ImageShape { height, width, channels } = self.shape;
        let canvas = self.first_canvas.val().reshape([1, height, width, channels]);
        (canvas.repeat_dim(0, batch), first_state(&self.first_decoder, batch))
    }

    /// Adds what the decoder writes for latents `z` of a glimpse, `[batch, latent_dim]` (Eq. 7, 8).
    fn add_glimpse(&self, z: Tensor<2>, (canvas, decoder): (Tensor<4>, LstmState)) -> (Tensor<4>, LstmState) {
        let decoder = self.decoder.step(z, decoder);
        (canvas + self.write(decoder.0.clone()), decoder)
    }

    /// The values of `all`, `[batch, glimpses · latent_dim]`, for glimpse `t`.
    fn of_glimpse(&self, all: &Tensor<2>, t: usize) -> Tensor<2> {
        all.clone().narrow(1, t * self.config.latent_dim, self.config.latent_dim)
    }

    /// Reads images and writes them, glimpse by glimpse, with noise `eps` (Eq. 3 to 8).
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]` in {0, 1}, or the probability of 1; `eps` is `[batch, glimpses · latent_dim]`.
    pub fn infer(&self, x: &Tensor<4>, eps: &Tensor<2>) -> Inferred {
        self.infer_with(x, &mut |t, posterior| posterior.sample(self.of_glimpse(eps, t))) // (6)
    }

    /// The same with latents that `draw` gives for the number of a glimpse and its posterior.
    fn infer_with(
        &self,
        x: &Tensor<4>,
        draw: &mut dyn FnMut(usize, &DiagonalNormal) -> Tensor<2>,
    ) -> Inferred {
        let batch = x.dims()[0];
        let mut encoder = first_state(&self.first_encoder, batch);
        let (mut canvas, mut decoder) = self.begin(batch);
        let (mut posteriors, mut latents) = (Vec::new(), Vec::new());
        for t in 0..self.config.glimpses {
            let error = x.clone() - sigmoid(canvas.clone()); // (3)
            let before = decoder.0.clone();
            let glimpse = self.read(x.clone(), error, before.clone()); // (4)
            encoder = self.encoder.step(Tensor::cat(vec![glimpse, before], 1), encoder); // (5)
            let posterior = self.posterior(encoder.0.clone());
            let z = draw(t, &posterior);
            (canvas, decoder) = self.add_glimpse(z.clone(), (canvas, decoder));
            posteriors.push(posterior);
            latents.push(z);
        }
        Inferred { canvas, posteriors, latents: Tensor::cat(latents, 1), state: encoder.0 }
    }

    /// c_T, written from latents `[batch, glimpses · latent_dim]`.
    fn last_canvas(&self, latents: &Tensor<2>) -> Tensor<4> {
        let begin = self.begin(latents.dims()[0]);
        let write = |now, t| self.add_glimpse(self.of_glimpse(latents, t), now);
        (0..self.config.glimpses).fold(begin, write).0
    }

    /// The canvas after each glimpse, written from latents `[batch, glimpses · latent_dim]` (Eq. 13 to 15).
    pub fn canvases(&self, latents: &Tensor<2>) -> Vec<Tensor<4>> {
        let mut now = self.begin(latents.dims()[0]);
        let write = |t| {
            now = self.add_glimpse(self.of_glimpse(latents, t), now.clone());
            now.0.clone()
        };
        (0..self.config.glimpses).map(write).collect()
    }

    /// The bound of images with noise `eps` (Eq. 9 to 12); shapes as in [`infer`](Draw::infer).
    pub fn loss(&self, x: Tensor<4>, eps: &Tensor<2>) -> DrawLoss {
        let inferred = self.infer(&x, eps);
        let reconstruction = pixels(inferred.canvas).log_prob(flatten(x)).mean().neg();
        let kl = |q: &DiagonalNormal| q.kl_to_standard().sum_dim(1).mean();
        DrawLoss { reconstruction, kl: Tensor::cat(inferred.posteriors.iter().map(kl).collect(), 0) }
    }
}

/// A learned hidden state for each of a batch, and empty cells.
fn first_state(hidden: &Param<Tensor<1>>, batch: usize) -> LstmState {
    let width = hidden.dims()[0];
    let hidden = hidden.val().reshape([1, width]).repeat_dim(0, batch);
    let cell = Tensor::zeros([batch, width], &hidden.device());
    (hidden, cell)
}

/// D(X|c).
fn pixels(canvas: Tensor<4>) -> Bernoulli {
    Bernoulli { logits: flatten(canvas) }
}

/// The expected images of canvases, in [-1, 1].
fn expected(canvas: Tensor<4>) -> Tensor<2> {
    pixels(canvas).mean() * 2.0 - 1.0
}

impl Latents for Draw {
    fn parts(&self) -> Vec<LatentPart> {
        let part =
            |t| LatentPart { name: format!("z{t}"), size: self.config.latent_dim, prior: Prior::Normal };
        (1..=self.config.glimpses).map(part).collect()
    }

    /// The expected images of latents.
    fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        expected(self.last_canvas(&latents))
    }
}

impl Steps for Draw {
    /// The expected images after each glimpse.
    fn steps(&self, draws: &Draws<'_>) -> Vec<Tensor<2>> {
        self.canvases(&draws.latents(self)).into_iter().map(expected).collect()
    }
}

impl Draw {
    /// What is inferred from images in [-1, 1] without noise.
    fn infer_means(&self, images: Tensor<4>) -> Inferred {
        let none = [images.dims()[0], self.config.glimpses * self.config.latent_dim];
        let none = Tensor::zeros(none, &images.device());
        self.infer(&((images + 1.0) * 0.5), &none)
    }
}

impl Encoder for Draw {
    /// The means of the posteriors, each given the means of the glimpses before it.
    fn encode(&self, values: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
        let ImageShape { height, width, channels } = self.shape;
        let batch = values.dims()[0];
        self.infer_means(values.reshape([batch, height, width, channels])).latents
    }
}

impl Features for Draw {
    /// The encoder's state after the last glimpse.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.infer_means(images).state
    }
}

impl Bound for Draw {
    fn encoding(&self) -> PixelEncoding {
        PixelEncoding::Binary
    }

    /// As the posterior of a glimpse depends on the latents before it, `kl` is that of the first draw.
    fn log_weights(
        &self,
        images: Tensor<4>,
        _classes: &[Option<u32>],
        seed: u64,
        indices: &[u64],
        samples: Range<u64>,
    ) -> LogWeights {
        let [batch, dims] = [images.dims()[0], self.config.glimpses * self.config.latent_dim];
        let mut weights =
            LogWeights { log_w: vec![Vec::new(); batch], reconstruction: Vec::new(), kl: Vec::new() };
        for draw in samples {
            let noise =
                |&index| rng::normal(&mut rng::generator(seed, "posterior", index << 24 | draw), dims);
            let eps = TensorData::new(indices.iter().flat_map(noise).collect(), [batch, dims]);
            let Inferred { canvas, posteriors, latents, .. } =
                self.infer(&images, &Tensor::from_data(eps, &images.device()));
            let log_x = pixels(canvas).log_prob(flatten(images.clone()));
            let of_glimpses = posteriors.iter().enumerate();
            let log_q = of_glimpses.map(|(t, q)| q.log_prob(self.of_glimpse(&latents, t))).reduce(sum);
            let log_q = log_q.expect("there is a glimpse");
            let log_w = to_f64(log_x.clone() + standard_normal_log_prob(latents) - log_q);
            weights.log_w.iter_mut().zip(log_w).for_each(|(all, w)| all.push(w));
            if weights.kl.is_empty() {
                let kl = posteriors.iter().map(|q| q.kl_to_standard().sum_dim(1).reshape([batch]));
                weights.kl = to_f64(kl.reduce(sum).expect("there is a glimpse"));
                weights.reconstruction = to_f64(log_x);
            }
        }
        weights
    }
}

/// The parts are the latents of the glimpses.
impl BitsBack for Draw {
    fn encoding(&self) -> PixelEncoding {
        PixelEncoding::Binary
    }

    fn latent_dim(&self) -> usize {
        self.config.glimpses * self.config.latent_dim
    }

    fn infer(
        &self,
        images: Tensor<4>,
        _classes: &[Option<u32>],
        draw: &mut dyn FnMut(DiagonalNormal) -> Tensor<2>,
    ) {
        self.infer_with(&images, &mut |_, posterior| draw(posterior.clone()));
    }

    fn pixels(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Pixels {
        Pixels::Bernoulli(pixels(self.last_canvas(&latents)))
    }
}

fn sum(a: Tensor<1>, b: Tensor<1>) -> Tensor<1> {
    a + b
}

fn to_f64(values: Tensor<1>) -> Vec<f64> {
    values.into_data().iter::<f64>().collect()
}

impl Draw {
    /// One step on given images and noise.
    fn update(&mut self, x: Tensor<4>, eps: &Tensor<2>, step: &mut Step<'_>) -> Metrics {
        let DrawLoss { reconstruction, kl } = self.loss(x, eps);
        let bound = reconstruction.clone() + kl.clone().sum();
        step.minimize("optimizer", self, &bound);

        let kl = kl.inner();
        let active = kl.clone().greater_elem(IDLE).float().sum();
        Metrics::new()
            .with("bound", bound)
            .with("reconstruction", reconstruction)
            .with("kl", kl.sum())
            .with("active_glimpses", active)
    }
}

impl Model for Draw {
    const ABOUT: About = About {
        name: "draw",
        summary: "DRAW: writes an image glimpse by glimpse, with attention",
        paper: Paper {
            title: "DRAW: a recurrent neural network for image generation",
            authors: "Gregor, Danihelka, Graves, Rezende, Wierstra",
            year: 2015,
            arxiv: "1502.04623",
        },
        abilities: &[
            Ability::Sample,
            Ability::Steps,
            Ability::Decode,
            Ability::Encode,
            Ability::Likelihood,
            Ability::Compress,
            Ability::Features,
        ],
        recipes: recipes!("shapes", "binarized-mnist"),
        train: || TrainConfig {
            batch_size: 64,
            sample_schedule: SampleSchedule::Logarithmic,
            ..TrainConfig::default()
        },
        optimizer: || OptimizerConfig { learning_rate: 1e-3, clip: 50.0, ..OptimizerConfig::default() },
        ..About::BASE
    };

    type Config = DrawConfig;
    type Data = ImageBatches;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        vec![
            Choice::new("draw.glimpses", 16, "each takes as long as a network"),
            Choice::new("draw.write_size", if facts.side() > 40 { 9 } else { 5 }, facts.sized()),
            Choice::new("train.batch_size", 32, "many steps in little time"),
        ]
    }

    fn needs(_config: &DrawConfig, _spec: &DataSpec) -> Result<ImageNeeds> {
        Ok(ImageNeeds { encoding: PixelEncoding::Binary, labelled: false })
    }

    fn new(config: &DrawConfig, spec: &DataSpec, init: &mut Init) -> Result<Draw> {
        let shape = spec.images()?;
        let DrawConfig { width, latent_dim, attention, read_size, write_size, .. } = *config;
        let patch = |size: usize| if attention { size * size * shape.channels } else { shape.dims() };
        let linear = |outputs, init: &mut Init| Linear::with_bias(width, outputs, Initializer::FanIn, init);
        let bound = 1.0 / (width as f64).sqrt();
        Ok(Draw {
            encoder: Lstm::new(2 * patch(read_size) + width, width, bound, init),
            decoder: Lstm::new(latent_dim, width, bound, init),
            posterior: linear(2 * latent_dim, init),
            read_attention: attention.then(|| linear(attention::PARAMETERS, init)),
            write_attention: attention.then(|| linear(attention::PARAMETERS, init)),
            patch: linear(patch(write_size), init),
            first_encoder: init.constant([width], 0.0),
            first_decoder: init.constant([width], 0.0),
            first_canvas: init.constant([shape.dims()], 0.0),
            config: config.clone(),
            shape,
        })
    }

    fn held_values(config: &DrawConfig, spec: &DataSpec) -> Result<f64> {
        // Gates and states of both LSTMs; the canvas, its error and what is read.
        let held = 12 * config.width + 4 * spec.images()?.dims();
        Ok(config.glimpses as f64 * held as f64)
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        let dims = self.config.glimpses * self.config.latent_dim;
        let eps = step.normal("train posterior", [data.batch_size(), dims]);
        self.update(data.images(step.number), &eps, step)
    }

    fn warnings(config: &DrawConfig) -> Vec<WarningRule> {
        let glimpses = config.glimpses as f64;
        let what = format!(
            "fewer than a tenth of the {glimpses} glimpses carry more than {IDLE} nats: the decoder ignores its \
             latents"
        );
        let remedy = "lower optimizer.learning_rate or optimizer.clip, or train further";
        vec![WarningRule::new("glimpses-idle", what, remedy, move |values| {
            values.get("active_glimpses").is_some_and(|active| *active < 0.1 * glimpses)
        })]
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities {
            latents: Some(self),
            steps: Some(self),
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
