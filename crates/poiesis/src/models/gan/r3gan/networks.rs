//! The generator and the discriminator, mirror images of each other (§3.4).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use poiesis_kernels::{Activation, downsample, upsample};

use super::R3GanConfig;
use super::layers::{Pass, PreActivations, Stage, change};
use crate::data::ImageShape;
use crate::error::Result;
use crate::nn::{Init, Initializer, Linear, one_hot};

/// Keeps the deviation of its input.
const WEIGHTS: Initializer = Initializer::FanInNormal(1.0);

/// Turns latents into images.
#[derive(Module, Debug)]
pub struct Generator {
    class: Option<Linear>,
    project: Linear,
    /// What each feature looks like at the smallest size, `[height, width, features]`.
    basis: Param<Tensor<3>>,
    stages: Vec<GeneratorStage>,
    output: Linear,
}

#[derive(Module, Debug)]
struct GeneratorStage {
    change: Option<Linear>,
    stage: Stage,
}

impl Generator {
    pub(super) fn new(
        config: &R3GanConfig,
        shape: ImageShape,
        classes: usize,
        init: &mut Init,
    ) -> Result<Generator> {
        let (halvings, [height, width]) = shape.halvings()?;
        let deepest = config.features(halvings);
        let class = (classes > 0).then(|| Linear::new(classes, config.class_dim, WEIGHTS, init));
        let inputs = config.latent_dim + class.as_ref().map_or(0, |_| config.class_dim);
        let project = Linear::new(inputs, deepest, WEIGHTS, init);
        let basis = init.normal([height, width, deepest], 0.0, 1.0);
        let stage = |level| {
            let (inputs, outputs) = (config.features(halvings.min(level + 1)), config.features(level));
            let change = change([inputs, outputs], init);
            GeneratorStage { change, stage: Stage::new(outputs, config, halvings + 1, init) }
        };
        let stages = (0..=halvings).rev().map(stage).collect();
        let output = Linear::new(config.features(0), shape.channels, WEIGHTS, init);
        Ok(Generator { class, project, basis, stages, output })
    }

    /// # Shapes
    ///
    /// `[batch, latent_dim]`, and where it is conditioned on classes one for each, to `[batch, height, width, channels]`, most of it in
    /// [-1, 1].
    pub fn forward(&self, z: Tensor<2>, classes: &[Option<u32>]) -> Tensor<4> {
        let z = match &self.class {
            Some(class) => Tensor::cat(vec![z.clone(), vectors(class, classes, &z.device())], 1),
            None => z,
        };
        let features = self.project.forward(z, Activation::Identity);
        let [batch, width] = features.dims();
        let h = features.reshape([batch, 1, 1, width]) * self.basis.val().unsqueeze::<4>();
        let pass = &mut Pass::Values;
        let h = self.stages.iter().enumerate().fold(h, |h, (i, GeneratorStage { change, stage })| {
            let h = match change {
                Some(change) => change.forward(h, Activation::Identity),
                None => h,
            };
            stage.forward(if i > 0 { upsample(h) } else { h }, pass)
        });
        self.output.forward(h, Activation::Identity)
    }

    /// How the first map depends on its input, `[features, inputs]`: a row for each feature, as long as all its pixels together.
    pub(super) fn first_weights(&self) -> Tensor<2> {
        let [height, width, features] = self.basis.dims();
        let length = self.basis.val().square().reshape([height * width, features]).sum_dim(0).sqrt();
        self.project.scaled_rows(length.reshape([features]))
    }
}

/// The learned vector of each class, `[batch, class_dim]`.
fn vectors(class: &Linear, classes: &[Option<u32>], device: &Device) -> Tensor<2> {
    let [count, _] = class.weight().dims();
    class.forward(one_hot(classes, count, device), Activation::Identity)
}

/// Tells data from the generator's images.
#[derive(Module, Debug)]
pub struct Discriminator {
    input: Linear,
    stages: Vec<DiscriminatorStage>,
    /// How the pixels of each feature of the smallest size are weighed, `[height, width, features]`.
    basis: Param<Tensor<3>>,
    output: Linear,
    class: Option<Linear>,
}

#[derive(Module, Debug)]
struct DiscriminatorStage {
    stage: Stage,
    change: Option<Linear>,
}

impl Discriminator {
    pub(super) fn new(
        config: &R3GanConfig,
        shape: ImageShape,
        classes: usize,
        init: &mut Init,
    ) -> Result<Discriminator> {
        let (halvings, [height, width]) = shape.halvings()?;
        let input = Linear::new(shape.channels, config.features(0), WEIGHTS, init);
        let stage = |level| {
            let (inputs, outputs) = (config.features(level), config.features(halvings.min(level + 1)));
            let stage = Stage::new(inputs, config, halvings + 1, init);
            DiscriminatorStage { stage, change: change([inputs, outputs], init) }
        };
        let stages = (0..=halvings).map(stage).collect();
        let deepest = config.features(halvings);
        let basis = init.normal([height, width, deepest], 0.0, 1.0 / ((height * width) as f64).sqrt());
        let outputs = if classes > 0 { config.class_dim } else { 1 };
        let output = Linear::new(deepest, outputs, WEIGHTS, init);
        let projection = Initializer::FanInNormal(1.0 / (config.class_dim as f64).sqrt());
        let class = (classes > 0).then(|| Linear::new(classes, config.class_dim, projection, init));
        Ok(Discriminator { input, stages, basis, output, class })
    }

    /// # Shapes
    ///
    /// `[batch, height, width, channels]`, and where it is conditioned on classes one for each, to the logit of "real", `[batch]`. Only
    /// differences of logits mean something.
    pub fn forward(&self, x: Tensor<4>, classes: &[Option<u32>]) -> Tensor<1> {
        self.pass(x, classes, &mut Pass::Values)
    }

    /// What is computed of each image before the last layer, `[batch, features]`.
    pub fn features(&self, x: Tensor<4>) -> Tensor<2> {
        self.body(x, &mut Pass::Values)
    }

    /// ∇ₓD(x) of each image, and what goes into the activations there.
    pub(super) fn input_gradient(
        &self,
        x: Tensor<4>,
        classes: &[Option<u32>],
    ) -> (Tensor<4>, PreActivations) {
        let frozen = self.clone().no_grad();
        let x = x.inner().autodiff().require_grad();
        let mut kept = PreActivations::new();
        let logits = frozen.pass(x.clone(), classes, &mut Pass::Keep(&mut kept));
        let gradients = logits.sum().backward();
        match x.grad(&gradients) {
            Some(gradient) => (gradient.autodiff(), kept),
            None => panic!("the logits do not depend on the images"),
        }
    }

    /// ∇ₓD(x) · v of each image, `[batch]`, as a function of the weights, by what goes into the activations at x.
    pub(super) fn directional_derivative(
        &self,
        v: Tensor<4>,
        classes: &[Option<u32>],
        at: &PreActivations,
    ) -> Tensor<1> {
        self.pass(v, classes, &mut Pass::Tangent(at.iter()))
    }

    fn pass(&self, x: Tensor<4>, classes: &[Option<u32>], pass: &mut Pass<'_>) -> Tensor<1> {
        let features = self.body(x, pass);
        let batch = features.dims()[0];
        let output = self.output.forward(features, Activation::Identity);
        match &self.class {
            // The projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637).
            Some(class) => {
                let vectors = vectors(class, classes, &output.device());
                (output * vectors).sum_dim(1).reshape([batch])
            }
            None => output.reshape([batch]),
        }
    }

    fn body(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<2> {
        let h = self.input.forward(x, Activation::Identity);
        let last = self.stages.len() - 1;
        let h = self.stages.iter().enumerate().fold(h, |h, (i, DiscriminatorStage { stage, change })| {
            let h = stage.forward(h, pass);
            let h = if i < last { downsample(h) } else { h };
            match change {
                Some(change) => change.forward(h, Activation::Identity),
                None => h,
            }
        });
        let [batch, height, width, features] = h.dims();
        let weighed = h * self.basis.val().unsqueeze::<4>();
        weighed.reshape([batch, height * width, features]).sum_dim(1).reshape([batch, features])
    }
}
