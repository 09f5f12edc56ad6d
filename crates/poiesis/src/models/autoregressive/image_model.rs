//! What models share that give each number of an image a law by a masked convolutional network: likelihood, laws, samples and
//! training. The networks are in the files of their papers.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_kernels::embedding;

use super::columns::{Columns, PixelReader, all_laws};
use super::pixels::Pixels;
use crate::capability::{Code, ImageLikelihood, Likelihood, Model, Reader, Sample, Scale};
use crate::data::Batches;
use crate::error::{Error, Result};
use crate::generate;
use crate::nn::Weights;
use crate::train::{Optimizer, Session, Terms};

/// A network that gives the logits of all numbers of images, each from earlier numbers alone.
pub trait ImageNetwork: Module {
    /// The network for some images side by side, with what it keeps of them.
    type Cached: Columns;

    /// The logits of images whose numbers are in [-1, 1].
    ///
    /// # Shapes
    ///
    /// `x` is `[batch, height, width, channels]`, `classes` has one for each image, read by a conditional network alone; the
    /// result is `[batch, height, width, channels · logits]`.
    fn logits(&self, x: Tensor<4>, classes: &[u32]) -> Tensor<4>;

    /// Packs the network for one image of each of `classes`; no class counts as class 0.
    fn cached(&self, pixels: &Pixels, classes: &[Option<u32>]) -> Self::Cached;
}

/// A network and what it is a distribution over.
#[derive(Clone, Debug)]
pub struct ImageModel<N> {
    pixels: Pixels,
    classes: usize,
    network: N,
}

impl<N: ImageNetwork> ImageModel<N> {
    /// Puts both together; `classes` is the number of classes the network is conditioned on, 0 for none.
    pub fn new(pixels: Pixels, classes: usize, network: N) -> ImageModel<N> {
        ImageModel { pixels, classes, network }
    }

    /// What it is a distribution over.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The logits of all numbers of images.
    ///
    /// # Shapes
    ///
    /// `images` is `[batch, height, width, channels]` on the scale of the law, `classes` has one for each image, read by a
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

    /// Takes the weights of the network.
    ///
    /// # Errors
    ///
    /// A sentence naming the first array that is missing or has another shape.
    pub fn put(&mut self, weights: &Weights) -> Result<(), String> {
        self.network = weights.put_into("network", self.network.clone())?;
        Ok(())
    }
}

impl<N: ImageNetwork> ImageLikelihood for ImageModel<N> {
    fn scale(&self) -> Scale {
        self.pixels.scale()
    }

    fn log_prob(&self, images: Tensor<4>, classes: &[u32]) -> Vec<f64> {
        let logits = self.logits(images.clone(), classes);
        self.pixels.log_prob(logits, images).into_data().iter::<f64>().collect()
    }
}

impl<N: ImageNetwork + Sync> Code for ImageModel<N> {
    fn alphabet(&self) -> usize {
        self.pixels.levels()
    }

    fn reader(&self, classes: &[Option<u32>]) -> Box<dyn Reader + '_> {
        let columns = |images: Range<usize>| self.network.cached(&self.pixels, &classes[images]);
        Box::new(PixelReader::new(self.pixels, classes.len(), columns))
    }

    fn all_laws(&self, sequences: &[&[u32]], classes: &[Option<u32>]) -> Option<Vec<f32>> {
        let columns = |images: Range<usize>| self.network.cached(&self.pixels, &classes[images]);
        Some(all_laws(self.pixels, sequences, columns))
    }
}

impl<N: ImageNetwork + Sync> Sample for ImageModel<N> {
    /// Images drawn value by value. Of a conditional model, image *i* has class *i* modulo their number.
    fn sample(&self, seed: u64, indices: Range<u64>) -> Tensor<4> {
        let device = &self.network.devices()[0];
        generate::images(self, self.pixels.shape, self.classes, seed, indices, device)
    }
}

impl<N: ImageNetwork + Sync> Model for ImageModel<N> {
    fn sampler(&self) -> Option<&dyn Sample> {
        Some(self)
    }

    fn likelihood(&self) -> Option<Likelihood<'_>> {
        Some(Likelihood::Images(self))
    }

    fn code(&self) -> Option<&dyn Code> {
        Some(self)
    }
}

/// A model in training.
pub(crate) struct Training<N> {
    pub(crate) model: ImageModel<N>,
    pub(crate) optimizer: Optimizer,
    pub(crate) batches: Batches,
}

impl<N: ImageNetwork> Training<N> {
    /// One step on given data.
    pub(crate) fn learn(&mut self, images: Tensor<4>, classes: &[u32], schedule: f64) -> Terms {
        let loss = self.model.loss(images, classes);
        let mut gradients = loss.backward();
        self.model.network = self.optimizer.step(self.model.network.clone(), &mut gradients, schedule);
        Terms::new().with("nll", loss.inner())
    }
}

impl<N: ImageNetwork> Session for Training<N> {
    fn step(&mut self, step: u64, schedule: f64) -> Terms {
        let images = match self.model.pixels.scale() {
            Scale::Binary => self.batches.binarized(step),
            Scale::EightBit => self.batches.images(step),
        };
        self.learn(images, &self.batches.classes(step), schedule)
    }

    fn weights(&self) -> Weights {
        Weights::of("network", &self.model.network)
    }

    fn optimizer_state(&self) -> Weights {
        self.optimizer.state("optimizer")
    }

    fn restore(&mut self, weights: &Weights, optimizer_state: &Weights) -> Result<(), String> {
        self.model.put(weights)?;
        self.optimizer.restore("optimizer", optimizer_state);
        Ok(())
    }
}

/// Refuses a number of features, by its key, that is below the number of channels.
pub(crate) fn check_features(model: &str, sizes: &[(&str, usize)], channels: usize) -> Result<()> {
    let few = sizes.iter().find(|(_, size)| *size < channels);
    few.map_or(Ok(()), |(key, size)| {
        Err(Error::InvalidValue {
            key: format!("{model}.{key}"),
            value: size.to_string(),
            reason: format!("each of {channels} channels needs a feature of its own"),
            remedy: format!("set a larger number with --set {model}.{key}=N"),
        })
    })
}

/// Refuses the side of a kernel, by its key, that is even or has no neighbours.
pub(crate) fn check_kernels(model: &str, sides: &[(&str, usize)]) -> Result<()> {
    let wrong = sides.iter().find(|(_, side)| side % 2 == 0 || *side == 1);
    wrong.map_or(Ok(()), |(key, side)| {
        Err(Error::InvalidValue {
            key: format!("{model}.{key}"),
            value: side.to_string(),
            reason: "a kernel has a centre and neighbours on all sides".into(),
            remedy: format!("choose 3, 5 or 7 with --set {model}.{key}=N"),
        })
    })
}

/// The number of classes a model is conditioned on, of data with `classes` classes; refuses to condition on none.
pub(crate) fn check_classes(model: &str, conditional: bool, classes: usize) -> Result<usize> {
    match (conditional, classes) {
        (true, 0) => Err(Error::InvalidValue {
            key: format!("{model}.conditional"),
            value: "true".into(),
            reason: "the data have no classes".into(),
            remedy: format!("give data with classes, or --set {model}.conditional=false"),
        }),
        (true, classes) => Ok(classes),
        (false, _) => Ok(0),
    }
}

/// The classes of a batch as a tensor, `[batch, 1]`.
pub(crate) fn class_tensor(classes: &[u32], device: &Device) -> Tensor<2, Int> {
    let classes: Vec<i32> = classes.iter().map(|&class| class as i32).collect();
    let count = classes.len();
    Tensor::from_data(TensorData::new(classes, [count, 1]), device)
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
