//! The Inception network in whose features image quality is measured in papers: Inception v3 (Szegedy et al. 2015, arXiv:1512.00567)
//! as TensorFlow released it on 2015-12-05, in the form of its port to PyTorch (`pytorch-fid`).
//!
//! It differs from the Inception v3 of torchvision: it has 1,008 logits, its mean pooling does not count the padding, and the last
//! block has maximum pooling in its pooling branch. Images are resized to 299×299 by bilinear interpolation without smoothing, with
//! pixels as areas, and scaled to [-1, 1]. Grey images are read as colour, transparent ones over white.

mod layers;
#[cfg(test)]
mod tests;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use layers::{Layer, forward};
use poiesis_kernels::{Activation, linear};

use super::weights::Weights;
use super::{FeatureNetwork, Features};
use crate::data::ImageShape;
use crate::error::Result;

/// The name of the network with the published weights.
pub(super) const PUBLISHED: &str = "inception";

/// How the SHA-256 of the published weights begins, as the name of their file says: `pt_inception-2015-12-05-6726825d.pth`.
const PUBLISHED_SHA256: &str = "6726825d";

/// Height and width of the images that the network reads.
const SIDE: usize = 299;
/// Features, and logits of classes.
const DIMS: usize = 2048;
const CLASSES: usize = 1008;
/// Images that are computed at once: the largest features of one take 11 MB.
const BATCH: usize = 16;

/// The Inception network.
pub struct Inception {
    name: String,
    layers: Vec<Layer>,
    /// `[features, classes]`. The logits have no bias: those of the Inception score have none (Salimans et al. 2016).
    output: Tensor<2>,
    device: Device,
}

impl Inception {
    /// Makes the network with the weights of a file: a checkpoint of PyTorch, or safetensors with the same names. Arrays that the
    /// network does not have are not used. It is called `inception` only with the published weights, otherwise after the file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io); [`Error::Weights`](crate::Error::Weights) when the file is not of these formats, or an array is
    /// missing, has another shape or is not finite.
    pub fn open(path: &Path, device: &Device) -> Result<Inception> {
        let weights = Weights::read(path)?;
        let name = match weights.sha256.starts_with(PUBLISHED_SHA256) {
            true => PUBLISHED.to_owned(),
            false => {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                format!("{}-{}", crate::error::escaped(&stem), &weights.sha256[..8])
            }
        };
        Inception::with(weights, name, device)
    }

    fn with(mut weights: Weights, name: String, device: &Device) -> Result<Inception> {
        let layers = layers::network(&mut weights, device)?;
        let output = weights.take("fc.weight", &[CLASSES, DIMS])?;
        let output = Tensor::<2>::from_data(TensorData::new(output, [CLASSES, DIMS]), device).transpose();
        Ok(Inception { name, layers, output, device: device.clone() })
    }
}

impl FeatureNetwork for Inception {
    fn name(&self) -> &str {
        &self.name
    }

    fn dims(&self) -> usize {
        DIMS
    }

    fn classes(&self) -> usize {
        CLASSES
    }

    fn batch_size(&self) -> usize {
        BATCH
    }

    fn compute(&self, images: &[u8], shape: ImageShape) -> Features {
        let resized: Vec<f32> =
            images.chunks_exact(shape.dims()).flat_map(|image| resized(image, shape)).collect();
        let count = images.len() / shape.dims();
        let x = Tensor::from_data(TensorData::new(resized, [count, SIDE, SIDE, 3]), &self.device);
        let h = forward(&self.layers, x);
        let [_, height, width, dims] = h.dims();
        let features = h.reshape([count, height * width, dims]).mean_dim(1).reshape([count, dims]);
        let logits = linear(features.clone(), self.output.clone(), None, Activation::Identity);
        let values = |x: Tensor<2>| x.into_data().iter::<f32>().collect();
        Features { dims: DIMS, values: values(features), classes: CLASSES, logits: values(logits) }
    }
}

/// An image as the network reads it: `[299, 299, 3]` in [-1, 1].
fn resized(image: &[u8], shape: ImageShape) -> Vec<f32> {
    let ImageShape { height, width, channels } = shape;
    let colours: Vec<[f32; 3]> = image.chunks_exact(channels).map(colour).collect();
    let [rows, columns] = [height, width].map(positions);
    let mut values = Vec::with_capacity(SIDE * SIDE * 3);
    for (top, bottom, down) in &rows {
        for (left, right, across) in &columns {
            let corner = |row: usize, column: usize, c: usize| colours[row * width + column][c];
            for c in 0..3 {
                let above = corner(*top, *left, c) * (1.0 - across) + corner(*top, *right, c) * across;
                let below = corner(*bottom, *left, c) * (1.0 - across) + corner(*bottom, *right, c) * across;
                values.push(2.0 * (above * (1.0 - down) + below * down) - 1.0);
            }
        }
    }
    values
}

/// A pixel as red, green and blue in [0, 1].
fn colour(pixel: &[u8]) -> [f32; 3] {
    let unit = |value: u8| f32::from(value) / 255.0;
    match *pixel {
        [grey] => [unit(grey); 3],
        [red, green, blue, alpha] => {
            let alpha = unit(alpha);
            [red, green, blue].map(|value| unit(value) * alpha + (1.0 - alpha))
        }
        _ => std::array::from_fn(|c| unit(pixel[c])),
    }
}

/// For each pixel of a side of 299 the two pixels of a side of `length` that it lies between, and how far it is from the first.
fn positions(length: usize) -> Vec<(usize, usize, f32)> {
    let scale = length as f32 / SIDE as f32;
    let position = |at: usize| {
        let place = ((at as f32 + 0.5) * scale - 0.5).max(0.0);
        let first = (place as usize).min(length - 1);
        (first, (first + 1).min(length - 1), place - first as f32)
    };
    (0..SIDE).map(position).collect()
}
