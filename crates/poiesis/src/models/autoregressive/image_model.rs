//! What the models of images by masked networks share: likelihood, distributions of single values, and training. The networks are in the
//! files of their papers.

use std::ops::Range;

use burn::module::{Module, ModuleDisplay, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_kernels::embedding;

use super::causal::MaskedConv2d;
use super::columns::{Columns, PixelDecoder, all_log_probs};
use super::pixels::{PixelConfig, Pixels};
use crate::abilities::{Abilities, Autoregressive, ImageLikelihood, IncrementalDecoder};
use crate::config::{Choice, Faults, Settings};
use crate::data::{DataFacts, DataSpec, ImageBatches, ImageNeeds, PixelEncoding};
use crate::error::{Error, Result};
use crate::model::{About, Metrics, Model, Step};
use crate::nn::{Activation, Init, activate};

/// A network that gives the logits of all values of images, each from earlier values alone.
pub trait ImageNetwork: Module + ModuleDisplay + Sync + 'static {
    /// What lists and help say of it.
    const ABOUT: About;

    /// Its section of the configuration.
    type Config: ImageConfig;

    /// The network with what it keeps of several images in parallel.
    type Cached: Columns;

    /// Makes the network for `pixels`, conditioned on `classes` classes or on none.
    fn new(config: &Self::Config, pixels: &Pixels, classes: usize, init: &mut Init) -> Self;

    /// The logits of images whose values are in [-1, 1].
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]`, `classes` has one for each image, read by a conditional network alone; the
    /// result is `[batch, height, width, channels · logits]`.
    fn logits(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4>;

    /// Packs the network for one image of each of `classes`; no class counts as class 0.
    fn cached(&self, pixels: &Pixels, classes: &[Option<u32>]) -> Self::Cached;
}

/// What the configurations of these networks have in common.
pub trait ImageConfig: Settings {
    /// What the pixels are.
    fn pixels(&self) -> &PixelConfig;

    /// Numbers of features by key, of which each channel of an image needs one.
    fn features(&self) -> [(&'static str, usize); 2];

    /// At least so many features of a pixel are held while a step computes its gradients.
    fn held_features(&self) -> f64;
}

/// A network and what it is a distribution over.
#[derive(Module, Debug)]
pub struct ImageModel<N: Module + ModuleDisplay> {
    /// The network.
    pub network: N,
    #[module(skip)]
    pixels: Pixels,
    #[module(skip)]
    classes: usize,
}

impl<N: ImageNetwork> ImageModel<N> {
    /// What it is a distribution over.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The logits of all values of images.
    ///
    /// # Shapes
    ///
    /// `images` is `[batch, height, width, channels]` in the model's encoding, `classes` has one for each image, read by a
    /// conditional model alone; the result is `[batch, height, width, channels · logits]`.
    ///
    /// # Panics
    ///
    /// When a conditional model does not get a class for each image.
    pub fn logits(&self, images: Tensor<4>, classes: &[u32]) -> Tensor<4> {
        self.network.logits(self.pixels.inputs(images), classes)
    }

    /// −log p(x), averaged over the batch, in nats: `[1]`. Shapes as in [`logits`](ImageModel::logits).
    pub fn loss(&self, images: Tensor<4>, classes: &[u32]) -> Tensor<1> {
        self.pixels.log_prob(self.logits(images.clone(), classes), images).mean().neg()
    }

    /// One step on given data.
    pub(crate) fn update(&mut self, images: Tensor<4>, classes: &[u32], step: &mut Step<'_>) -> Metrics {
        let loss = self.loss(images, classes);
        step.minimize("optimizer", &mut self.network, &loss);
        Metrics::new().with("nll", loss)
    }
}

impl<N: ImageNetwork> Model for ImageModel<N> {
    const ABOUT: About = N::ABOUT;

    type Config = N::Config;
    type Data = ImageBatches;

    fn settings_for(facts: &DataFacts) -> Vec<Choice> {
        let distribution = if facts.two_tones { "binary" } else { "softmax" };
        vec![
            Choice::new(&format!("{}.distribution", N::ABOUT.name), distribution, facts.toned()),
            Choice::new("train.batch_size", if facts.dims() > 1024 { 8 } else { 16 }, facts.sized()),
            Choice::new("train.sample_count", 16, "values are drawn one after another"),
        ]
    }

    fn needs(config: &N::Config, _spec: &DataSpec) -> Result<ImageNeeds> {
        let pixels = config.pixels();
        Ok(ImageNeeds { encoding: pixels.distribution.encoding(), labelled: pixels.conditional })
    }

    fn new(config: &N::Config, spec: &DataSpec, init: &mut Init) -> Result<ImageModel<N>> {
        let (name, shape) = (N::ABOUT.name, spec.images()?);
        let pixels = Pixels::new(config.pixels(), shape, name)?;
        let classes = spec.classes_for(name, config.pixels().conditional)?;
        check_features(name, &config.features(), shape.channels)?;
        let network = N::new(config, &pixels, classes, init);
        Ok(ImageModel { network, pixels, classes })
    }

    fn held_values(config: &N::Config, spec: &DataSpec) -> Result<f64> {
        let shape = spec.images()?;
        Ok((shape.height * shape.width) as f64 * config.held_features())
    }

    fn train_step(&mut self, data: &mut ImageBatches, step: &mut Step<'_>) -> Metrics {
        self.update(data.images(step.number), &data.classes(step.number), step)
    }

    fn abilities(&self) -> Abilities<'_> {
        Abilities::of_images(self)
    }
}

impl<N: ImageNetwork> ImageLikelihood for ImageModel<N> {
    fn encoding(&self) -> PixelEncoding {
        self.pixels.encoding()
    }

    fn reads_classes(&self) -> bool {
        self.classes > 0
    }

    fn log_prob(&self, images: Tensor<4>, classes: &[u32]) -> Vec<f64> {
        let logits = self.logits(images.clone(), classes);
        self.pixels.log_prob(logits, images).into_data().iter::<f64>().collect()
    }
}

impl<N: ImageNetwork> Autoregressive for ImageModel<N> {
    fn num_values(&self) -> usize {
        self.pixels.levels()
    }

    fn num_classes(&self) -> usize {
        self.classes
    }

    fn decoder(&self, classes: &[Option<u32>]) -> Box<dyn IncrementalDecoder + '_> {
        let columns = |images: Range<usize>| self.network.cached(&self.pixels, &classes[images]);
        Box::new(PixelDecoder::new(self.pixels, classes.len(), columns))
    }

    fn all_log_probs(&self, sequences: &[&[u32]], classes: &[Option<u32>]) -> Option<Vec<f32>> {
        let columns = |images: Range<usize>| self.network.cached(&self.pixels, &classes[images]);
        Some(all_log_probs(self.pixels, sequences, columns))
    }
}

/// Refuses a number of features, by its key, that is below the number of channels.
fn check_features(model: &str, sizes: &[(&str, usize)], channels: usize) -> Result<()> {
    let few = sizes.iter().find(|(_, size)| *size < channels);
    few.map_or(Ok(()), |(key, size)| {
        Err(Error::InvalidValue {
            key: format!("{model}.{key}"),
            value: size.to_string(),
            reason: format!("each of {channels} channels needs a feature of its own"),
            remedy: format!("set {model}.{key} to a larger number"),
        })
    })
}

/// Adds a fault for each of `first_kernel` and `kernel` that is even or has no neighbours.
pub(crate) fn check_kernels(faults: &mut Faults) {
    let fits = |side| side % 2 == 1 && side > 1;
    let reason = "a kernel has a centre and neighbours on all sides";
    faults.numbers(&["first_kernel", "kernel"], fits, reason, "choose 3, 5 or 7");
}

/// The classes of a batch as a tensor, `[batch, 1]`.
pub(crate) fn class_tensor(classes: &[u32], device: &Device) -> Tensor<2, Int> {
    let classes: Vec<i32> = classes.iter().map(|&class| class as i32).collect();
    let count = classes.len();
    Tensor::from_data(TensorData::new(classes, [count, 1]), device)
}

/// Features of images with the bias of each one's class from a table `[classes, features]`, if there is one.
///
/// # Shapes
///
/// `features` is `[batch, height, width, features]`.
pub(crate) fn with_class(
    features: Tensor<4>,
    table: Option<&Param<Tensor<2>>>,
    classes: &[u32],
) -> Tensor<4> {
    let Some(table) = table else { return features };
    let classes = class_tensor(classes, &features.device());
    features + of_classes(table, &classes)
}

/// The end of all these networks: a ReLU, a 1×1 convolution, a ReLU, and a 1×1 convolution to the logits.
///
/// # Shapes
///
/// `[batch, height, width, features]` to `[batch, height, width, channels · logits]`.
pub(crate) fn head(hidden: &MaskedConv2d, output: &MaskedConv2d, features: Tensor<4>) -> Tensor<4> {
    let h = hidden.forward(activate(features, Activation::Relu), Activation::Relu);
    output.forward(h, Activation::Identity)
}

/// The rows of a table `[classes, features]` for `[batch, 1]` classes: `[batch, 1, 1, features]`.
pub(crate) fn of_classes(table: &Param<Tensor<2>>, classes: &Tensor<2, Int>) -> Tensor<4> {
    embedding(table.val(), classes.clone()).unsqueeze_dim(1)
}

/// The same for images read value by value: `[images, features]`.
pub(crate) fn rows_of_classes(table: &Param<Tensor<2>>, classes: &[Option<u32>]) -> Vec<f32> {
    let [_, features] = table.dims();
    let table: Vec<f32> = table.val().into_data().iter::<f32>().collect();
    let row = |class: &Option<u32>| &table[class.unwrap_or(0) as usize * features..][..features];
    classes.iter().flat_map(row).copied().collect()
}
