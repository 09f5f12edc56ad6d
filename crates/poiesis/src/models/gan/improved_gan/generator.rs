//! The generator: a fully connected and a convolutional body, each with batch normalisation or virtual batch normalisation.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use poiesis_kernels::ConvTransposeOptions;
use poiesis_kernels::{Activation, activate, conv_transpose2d, linear};

use super::virtual_batch_norm::Norm;
use super::{Body, ImprovedGanConfig};
use crate::data::ImageShape;
use crate::error::Result;
use crate::nn::{ConvTranspose2d, Init, Initializer, Linear, Mode, SquareKernel, flatten, weight_norm};

/// Weights of the convolutional body start from N(0, 0.05²).
const WEIGHTS: Initializer = Initializer::Normal(0.05);
/// Kernels are 5×5 and double the sides.
const KERNEL: SquareKernel = SquareKernel { size: 5, stride: 2 };

/// Turns latents into images.
#[derive(Module, Debug)]
pub struct Generator {
    body: BodyLayers,
    /// Latents of the reference batch of virtual batch normalisation, `[references, latent_dim]`.
    reference: Option<Param<Tensor<2>>>,
    #[module(skip)]
    shape: ImageShape,
}

#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a generator has one")]
enum BodyLayers {
    Mlp(MlpBody),
    Conv(ConvBody),
}

impl Generator {
    pub(super) fn new(config: &ImprovedGanConfig, shape: ImageShape, init: &mut Init) -> Result<Generator> {
        let body = match config.body {
            Body::Mlp => BodyLayers::Mlp(MlpBody::new(config, shape.dims(), init)),
            Body::Conv => BodyLayers::Conv(ConvBody::new(config, shape, init)?),
        };
        let references = [config.virtual_batch_size, config.latent_dim];
        // Uniform on [-1, 1], as the latents are.
        let reference = config.virtual_batch_norm.then(|| init.uniform(references, 1.0));
        Ok(Generator { body, reference, shape })
    }

    /// The weights of the first layer, scaled; see [`crate::abilities::Latents::first_weights`].
    pub(super) fn first_weights(&self) -> Tensor<2> {
        let reference = self.reference.as_ref().map(|reference| reference.val().detach());
        match &self.body {
            BodyLayers::Mlp(MlpBody { hidden, direction, gain, .. }) => match hidden.first() {
                Some(first) => first.scaled_rows(reference),
                None => weight_norm(direction.val(), gain.val()).transpose(),
            },
            BodyLayers::Conv(body) => body.project.scaled_rows(reference),
        }
    }

    /// # Shapes
    ///
    /// `[batch, latent_dim]` to `[batch, height, width, channels]` in [-1, 1].
    pub fn forward(&self, z: Tensor<2>, mode: Mode) -> Tensor<4> {
        let batch = z.dims()[0];
        // The reference batch goes through the network before the batch.
        let reference = self.reference.as_ref().map(|reference| reference.val().detach());
        let references = reference.as_ref().map_or(0, |reference| reference.dims()[0]);
        let z = match reference {
            Some(reference) => Tensor::cat(vec![reference, z], 0),
            None => z,
        };
        let images = match &self.body {
            BodyLayers::Mlp(body) => body.forward(z, references, mode),
            BodyLayers::Conv(body) => flatten(body.forward(z, references, mode)),
        };
        let ImageShape { height, width, channels } = self.shape;
        images.narrow(0, references, batch).reshape([batch, height, width, channels])
    }
}

/// Fully connected layers, normalised, with softplus; then values in (0, 1) from a weight-normalised layer.
#[derive(Module, Debug)]
struct MlpBody {
    hidden: Vec<Hidden<Linear>>,
    direction: Param<Tensor<2>>,
    gain: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

/// A layer and the normalisation behind it.
#[derive(Module, Debug)]
struct Hidden<L: Module + burn::module::ModuleDisplay> {
    layer: L,
    norm: Norm,
}

impl Hidden<Linear> {
    /// The layer's weights by rows, each multiplied by the scale of its normalisation; `reference` has the latents of the reference batch.
    fn scaled_rows(&self, reference: Option<Tensor<2>>) -> Tensor<2> {
        let reference = reference.map(|latents| self.layer.forward(latents, Activation::Identity));
        self.layer.scaled_rows(self.norm.scale(reference))
    }
}

impl MlpBody {
    fn new(config: &ImprovedGanConfig, values: usize, init: &mut Init) -> MlpBody {
        let widths = &config.generator_hidden_dims;
        let inputs = std::iter::once(config.latent_dim).chain(widths.iter().copied());
        let hidden = inputs.zip(widths).map(|(inputs, &outputs)| Hidden {
            layer: Linear::new(inputs, outputs, Initializer::Glorot, init),
            // A gain lets the pixels saturate: the generator then stops learning.
            norm: Norm::new(outputs, 0.0, config.virtual_batch_norm, init).with_fixed_gain(),
        });
        let hidden = hidden.collect();
        let last = widths.last().copied().unwrap_or(config.latent_dim);
        MlpBody {
            hidden,
            direction: init.weight([last, values], last, values, Initializer::Glorot),
            gain: init.constant([values], 1.0),
            bias: init.constant([values], 0.0),
        }
    }

    fn forward(&self, z: Tensor<2>, references: usize, mode: Mode) -> Tensor<2> {
        let h = self.hidden.iter().fold(z, |h, Hidden { layer, norm }| {
            let h = layer.forward(h, Activation::Identity);
            let [rows, features] = h.dims();
            norm.forward(h.reshape([rows, 1, features]), Activation::Softplus, references, mode)
                .reshape([rows, features])
        });
        let weight = weight_norm(self.direction.val(), self.gain.val());
        linear(h, weight, Some(self.bias.val()), Activation::Sigmoid) * 2.0 - 1.0
    }
}

/// A linear layer to a small map, then transposed convolutions that double the sides and halve the features; the last is
/// weight-normalised.
#[derive(Module, Debug)]
struct ConvBody {
    project: Hidden<Linear>,
    up: Vec<Hidden<ConvTranspose2d>>,
    direction: Param<Tensor<4>>,
    gain: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    base: [usize; 3],
}

impl ConvBody {
    fn new(config: &ImprovedGanConfig, shape: ImageShape, init: &mut Init) -> Result<ConvBody> {
        let (halvings, [height, width]) = shape.halvings()?;
        let features = |level: usize| config.generator_width << level;
        let deepest = features(halvings - 1);
        // γ starts from N(1, 0.02²).
        let norm = |features, init: &mut Init| Norm::new(features, 0.02, config.virtual_batch_norm, init);
        let layer = Linear::new(config.latent_dim, height * width * deepest, WEIGHTS, init);
        let project = Hidden { layer, norm: norm(deepest, init) };
        let up = (1..halvings).rev().map(|level| {
            let (inputs, outputs) = (features(level), features(level - 1));
            let layer = ConvTranspose2d::new([inputs, outputs], KERNEL, WEIGHTS, init);
            Hidden { layer, norm: norm(outputs, init) }
        });
        let up = up.collect();
        let kernel = [KERNEL.size, KERNEL.size, config.generator_width, shape.channels];
        Ok(ConvBody {
            project,
            up,
            direction: init.normal(kernel, 0.0, 0.05),
            gain: init.constant([shape.channels], 1.0),
            bias: init.constant([shape.channels], 0.0),
            base: [height, width, deepest],
        })
    }

    fn forward(&self, z: Tensor<2>, references: usize, mode: Mode) -> Tensor<4> {
        let normed = |norm: &Norm, h: Tensor<4>| {
            let [rows, height, width, features] = h.dims();
            let h = h.reshape([rows, height * width, features]);
            norm.forward(h, Activation::Relu, references, mode).reshape([rows, height, width, features])
        };
        let [height, width, features] = self.base;
        let h = self.project.layer.forward(z, Activation::Identity);
        let rows = h.dims()[0];
        let h = normed(&self.project.norm, h.reshape([rows, height, width, features]));
        let h = self.up.iter().fold(h, |h, Hidden { layer, norm }| normed(norm, layer.forward(h)));
        let weight = weight_norm(self.direction.val(), self.gain.val());
        let options = ConvTransposeOptions {
            stride: [KERNEL.stride; 2],
            padding: [[2; 2]; 2],
            output_padding: [1; 2],
            ..ConvTransposeOptions::default()
        };
        activate(conv_transpose2d(h, weight, Some(self.bias.val()), &options), Activation::Tanh)
    }
}
