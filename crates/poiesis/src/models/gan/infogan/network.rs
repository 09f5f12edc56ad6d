//! The networks of InfoGAN: transposed convolutions from latents to images, and convolutions from images to the logit and the
//! codes (Appendix C).

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use super::InfoGanConfig;
use crate::data::ImageShape;
use crate::error::{Error, Result};
use crate::nn::{
    Activation, BatchNorm, Conv2d, ConvTranspose2d, Init, Initializer, Linear, Mode, SquareKernel, activate,
};

/// All weights start from N(0, 0.02²), and so do the deviations of γ from 1.
const STD: f64 = 0.02;
const WEIGHTS: Initializer = Initializer::Normal(STD);
/// Kernels are 4×4, and double or halve the sides.
const KERNEL: SquareKernel = SquareKernel { size: 4, stride: 2 };
/// Added to variances in batch normalisation.
const EPSILON: f64 = 1e-5;

/// A layer and the normalisation behind it.
#[derive(Module, Debug)]
struct Normed<L: Module + ModuleDisplay> {
    layer: L,
    norm: BatchNorm,
}

impl<L: Module + ModuleDisplay> Normed<L> {
    fn new(layer: L, features: usize, init: &mut Init) -> Normed<L> {
        Normed { layer, norm: BatchNorm::new(features, STD, EPSILON, init) }
    }
}

fn normed_linear(inputs: usize, outputs: usize, init: &mut Init) -> Normed<Linear> {
    Normed::new(Linear::new(inputs, outputs, WEIGHTS, init), outputs, init)
}

impl Normed<Linear> {
    fn forward(&self, x: Tensor<2>, activation: Activation, mode: Mode) -> Tensor<2> {
        self.norm.forward(self.layer.forward(x, Activation::Identity), activation, mode)
    }
}

/// The sides of the smallest map, after `halvings`.
fn base(shape: ImageShape, key: &str, halvings: usize) -> Result<[usize; 2]> {
    let sides = [shape.height, shape.width];
    let unit = u32::try_from(halvings).ok().and_then(|halvings| 1_usize.checked_shl(halvings));
    match unit.filter(|unit| sides.iter().all(|side| side % unit == 0 && side / unit > 0)) {
        Some(unit) => Ok(sides.map(|side| side / unit)),
        None => {
            let value = format!("{halvings} widths for images of {}×{}", shape.height, shape.width);
            let reason = "each halves both sides";
            Err(Error::invalid_value(&format!("infogan.{key}"), &value, reason, "give fewer widths"))
        }
    }
}

/// Turns latents into images.
#[derive(Module, Debug)]
pub struct Generator {
    hidden: Option<Normed<Linear>>,
    project: Linear,
    project_norm: BatchNorm,
    up: Vec<Normed<ConvTranspose2d>>,
    output: ConvTranspose2d,
    #[module(skip)]
    base: [usize; 3],
}

impl Generator {
    pub(super) fn new(config: &InfoGanConfig, shape: ImageShape, init: &mut Init) -> Result<Generator> {
        let widths = &config.generator_widths;
        let [height, width] = base(shape, "generator_widths", widths.len())?;
        let hidden =
            (config.hidden_dim > 0).then(|| normed_linear(config.latent_dim(), config.hidden_dim, init));
        let inputs = if config.hidden_dim > 0 { config.hidden_dim } else { config.latent_dim() };
        let (deepest, last) = (widths[0], widths[widths.len() - 1]);
        let project = Linear::new(inputs, height * width * deepest, WEIGHTS, init);
        let project_norm = BatchNorm::new(deepest, STD, EPSILON, init);
        let up = widths.windows(2).map(|pair| {
            let layer = ConvTranspose2d::new([pair[0], pair[1]], KERNEL, WEIGHTS, init);
            Normed::new(layer, pair[1], init)
        });
        let up = up.collect();
        let output = ConvTranspose2d::new([last, shape.channels], KERNEL, WEIGHTS, init).with_bias(init);
        Ok(Generator { hidden, project, project_norm, up, output, base: [height, width, deepest] })
    }

    /// The weights of the first layer, scaled; see [`crate::abilities::Latents::first_weights`].
    pub(super) fn first_weights(&self) -> Tensor<2> {
        match &self.hidden {
            Some(hidden) => hidden.layer.scaled_rows(hidden.norm.scale()),
            None => self.project.scaled_rows(self.project_norm.scale()),
        }
    }

    /// # Shapes
    ///
    /// `[batch, latent_dim]` to `[batch, height, width, channels]` in [-1, 1].
    pub fn forward(&self, z: Tensor<2>, mode: Mode) -> Tensor<4> {
        let relu = Activation::Relu;
        let h = match &self.hidden {
            Some(hidden) => hidden.forward(z, relu, mode),
            None => z,
        };
        let [height, width, features] = self.base;
        let h = self.project.forward(h, Activation::Identity);
        let h = h.reshape([-1, height as i64, width as i64, features as i64]);
        let h = self.project_norm.forward(h, relu, mode);
        let h = self.up.iter().fold(h, |h, up| up.norm.forward(up.layer.forward(h), relu, mode));
        activate(self.output.forward(h), Activation::Tanh)
    }
}

/// Tells data from the generator's images, and reads the codes with the same features.
#[derive(Module, Debug)]
pub struct Discriminator {
    input: Conv2d,
    down: Vec<Normed<Conv2d>>,
    hidden: Option<Normed<Linear>>,
    output: Linear,
    q_hidden: Normed<Linear>,
    q_output: Linear,
    leak: f64,
    #[module(skip)]
    config: InfoGanConfig,
}

/// What the discriminator says of a batch.
pub struct Outputs {
    /// The logits of "real", `[batch]`.
    pub logits: Tensor<1>,
    /// Q(c|x).
    pub codes: Codes,
}

/// Q(c|x), with every code independent of the others.
pub struct Codes {
    /// The logits of each categorical code, `[batch, categories]`.
    pub categorical: Vec<Tensor<2>>,
    /// Means and logarithms of deviations of the continuous codes, each `[batch, codes]`; `None` without any.
    pub continuous: Option<(Tensor<2>, Tensor<2>)>,
}

impl Discriminator {
    pub(super) fn new(config: &InfoGanConfig, shape: ImageShape, init: &mut Init) -> Result<Discriminator> {
        let widths = &config.discriminator_widths;
        let [height, width] = base(shape, "discriminator_widths", widths.len())?;
        let input = Conv2d::new([shape.channels, widths[0]], KERNEL, WEIGHTS, init).with_bias(init);
        let down = widths
            .windows(2)
            .map(|pair| Normed::new(Conv2d::new([pair[0], pair[1]], KERNEL, WEIGHTS, init), pair[1], init));
        let down = down.collect();
        let flat = height * width * widths[widths.len() - 1];
        let hidden = (config.hidden_dim > 0).then(|| normed_linear(flat, config.hidden_dim, init));
        let features = if config.hidden_dim > 0 { config.hidden_dim } else { flat };
        let output = Linear::with_bias(features, 1, WEIGHTS, init);
        let q_hidden = normed_linear(features, config.q_dim, init);
        let parameters = if config.learned_deviation { 2 } else { 1 };
        let outputs = config.categorical.iter().sum::<usize>() + parameters * config.continuous;
        // A model without codes, a plain GAN, still has a layer of one value here, which nothing reads.
        let q_output = Linear::with_bias(config.q_dim, outputs.max(1), WEIGHTS, init);
        Ok(Discriminator {
            input,
            down,
            hidden,
            output,
            q_hidden,
            q_output,
            leak: config.leak,
            config: config.clone(),
        })
    }

    /// The features that the logit and Q are read from, `[batch, features]`.
    pub(super) fn features(&self, x: Tensor<4>, mode: Mode) -> Tensor<2> {
        let leaky = self.leaky();
        let h = activate(self.input.forward(x), leaky);
        let h = self.down.iter().fold(h, |h, down| down.norm.forward(down.layer.forward(h), leaky, mode));
        let [batch, height, width, channels] = h.dims();
        let h = h.reshape([batch, height * width * channels]);
        match &self.hidden {
            Some(hidden) => hidden.forward(h, leaky, mode),
            None => h,
        }
    }

    fn leaky(&self) -> Activation {
        Activation::LeakyRelu(self.leak as f32)
    }

    /// # Shapes
    ///
    /// `[batch, height, width, channels]` to logits and the distribution of the codes.
    pub fn forward(&self, x: Tensor<4>, mode: Mode) -> Outputs {
        let (batch, h) = (x.dims()[0], self.features(x, mode));
        let logits = self.output.forward(h.clone(), Activation::Identity).reshape([batch]);
        let q = self.q_output.forward(self.q_hidden.forward(h, self.leaky(), mode), Activation::Identity);
        Outputs { logits, codes: self.codes(&q) }
    }

    /// Cuts Q's outputs into the parameters of each code.
    fn codes(&self, q: &Tensor<2>) -> Codes {
        let mut at = 0;
        let mut next = |size: usize| {
            at += size;
            q.clone().narrow(1, at - size, size)
        };
        let categorical = self.config.categorical.iter().map(|&size| next(size)).collect();
        let count = self.config.continuous;
        let continuous = (count > 0).then(|| {
            let mean = next(count);
            let log_deviation = if self.config.learned_deviation { next(count) } else { mean.zeros_like() };
            (mean, log_deviation)
        });
        Codes { categorical, continuous }
    }
}
