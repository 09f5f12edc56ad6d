//! Packed images as tensors: shapes, batches in a computed order, and the two encodings of pixels.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::{Amount, Source, SourceOptions};
use crate::error::{Error, Result};
use crate::rng;

/// Height, width and number of channels of every image in a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 grey, 3 RGB, 4 RGBA.
    pub channels: usize,
}

impl ImageShape {
    /// Reads `[height, width, channels]`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the data are not images.
    pub fn from_slice(shape: &[usize]) -> Result<ImageShape> {
        match *shape {
            [height, width, channels] => Ok(ImageShape { height, width, channels }),
            _ => Err(Error::InvalidValue {
                key: "data.source".into(),
                value: format!("examples of shape {shape:?}"),
                reason: "this model learns images".into(),
                remedy: "give a data set of images".into(),
            }),
        }
    }

    /// Values in one image.
    pub fn dims(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// How often both sides can be halved until the shorter has 4 to 7 pixels, and the resulting sides.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when a side becomes odd before that or the image is smaller than 8 pixels.
    pub fn halvings(&self) -> Result<(usize, [usize; 2])> {
        let (mut count, mut sides) = (0, [self.height, self.width]);
        while sides[0].min(sides[1]) >= 8 {
            if sides.iter().any(|side| side % 2 == 1) {
                break;
            }
            sides = sides.map(|side| side / 2);
            count += 1;
        }
        if count > 0 && (4..8).contains(&sides[0].min(sides[1])) {
            return Ok((count, sides));
        }
        Err(Error::InvalidValue {
            key: "data.size".into(),
            value: format!("{}×{}", self.height, self.width),
            reason: "a convolutional network halves both sides until the shorter has 4 to 7 pixels".into(),
            remedy: "choose sides such as 28, 32, 48, 64, 96 or 128".into(),
        })
    }
}

/// The training examples in the order of their use: epochs are keyed permutations, computed and not stored, so
/// the batch of step *n* is known without having seen the steps before it.
#[derive(Clone)]
pub struct ImageBatches {
    view: View,
    shape: ImageShape,
    encoding: PixelEncoding,
    batch_size: usize,
    seed: u64,
    device: Device,
    /// The examples that are used; all of them when `None`.
    only: Option<Vec<usize>>,
}

impl ImageBatches {
    /// Prepares batches of `batch_size` images of `view` on `device`, their pixels encoded as `encoding` says.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when there are no images.
    pub fn new(
        view: View,
        shape: ImageShape,
        encoding: PixelEncoding,
        batch_size: usize,
        seed: u64,
        device: &Device,
    ) -> Result<ImageBatches> {
        if view.is_empty() {
            return Err(Error::InvalidValue {
                key: "data.source".into(),
                value: "no training examples".into(),
                reason: "a model needs examples to train on".into(),
                remedy: "give a data set with a train split".into(),
            });
        }
        Ok(ImageBatches { view, shape, encoding, batch_size, seed, device: device.clone(), only: None })
    }

    /// Batches of these examples alone.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when there are none.
    pub fn only(self, examples: Vec<usize>) -> Result<ImageBatches> {
        if examples.is_empty() {
            return Err(Error::InvalidValue {
                key: "data.source".into(),
                value: "no labelled training examples".into(),
                reason: "a classifier learns from labels".into(),
                remedy: "give a data set with classes".into(),
            });
        }
        Ok(ImageBatches { only: Some(examples), ..self })
    }

    /// Examples in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Which examples step `step` uses.
    pub fn indices(&self, step: u64) -> Vec<usize> {
        let len = self.only.as_ref().map_or(self.view.len(), Vec::len) as u64;
        let first = step * self.batch_size as u64;
        (first..first + self.batch_size as u64)
            .map(|place| rng::permute(self.seed, place / len, place % len, len) as usize)
            .map(|place| self.only.as_ref().map_or(place, |only| only[place]))
            .collect()
    }

    /// The images of step `step`, `[batch, height, width, channels]`: in [-1, 1], or binarised at random to {0, 1}.
    pub fn images(&self, step: u64) -> Tensor<4> {
        let indices = self.indices(step);
        match self.encoding {
            PixelEncoding::EightBit => images(&self.view, &indices, self.shape, &self.device),
            PixelEncoding::Binary => {
                let mut generator = rng::generator(self.seed, "binarize", step);
                let thresholds = rng::uniform(&mut generator, self.batch_size * self.shape.dims());
                binarized(&self.view, &indices, self.shape, &thresholds, &self.device)
            }
        }
    }

    /// The classes of the images of step `step`, `None` for an image without one.
    pub fn labels(&self, step: u64) -> Vec<Option<u32>> {
        self.indices(step).into_iter().map(|index| self.view.label(index)).collect()
    }

    /// The classes of the images of step `step`, for a model whose images all have one ([`ImageNeeds::labelled`]) or that reads none;
    /// 0 for an image without one.
    pub fn classes(&self, step: u64) -> Vec<u32> {
        self.labels(step).into_iter().map(|label| label.unwrap_or(0)).collect()
    }
}

impl Source for ImageBatches {
    type Needs = ImageNeeds;

    fn open(needs: &ImageNeeds, options: &SourceOptions<'_>) -> Result<ImageBatches> {
        let SourceOptions { batch_size, seed, device, .. } = *options;
        let view = options.examples.images()?.clone();
        let without = (0..view.len()).filter(|&index| needs.labelled && view.label(index).is_none()).count();
        if without > 0 {
            return Err(Error::InvalidValue {
                key: "data.source".into(),
                value: format!("{without} of {} training images without a class", view.len()),
                reason: "this model is conditioned on classes and learns from images that have one".into(),
                remedy: "give each a class, or set `conditional` to false".into(),
            });
        }
        ImageBatches::new(view, options.spec.images()?, needs.encoding, batch_size, seed, device)
    }

    fn amount(&self) -> Amount {
        Amount { count: self.batch_size as u64, unit: "images" }
    }
}

/// What a model of images needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNeeds {
    /// How it reads pixels.
    pub encoding: PixelEncoding,
    /// Whether it takes no image without a class, as [`ImageBatches::classes`] gives it.
    pub labelled: bool,
}

/// How a model reads pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PixelEncoding {
    /// Binarised: {0, 1}.
    Binary,
    /// 256 levels, spread over [-1, 1].
    EightBit,
}

impl PixelEncoding {
    /// How many levels a value has.
    pub fn levels(self) -> usize {
        match self {
            PixelEncoding::Binary => 2,
            PixelEncoding::EightBit => 256,
        }
    }

    /// A level, below [`levels`](PixelEncoding::levels), as the model reads it.
    pub fn value(self, level: u32) -> f32 {
        match self {
            PixelEncoding::Binary => level as f32,
            PixelEncoding::EightBit => to_unit(level as u8),
        }
    }
}

/// Gathers images as networks read them: `[indices, height, width, channels]` in [-1, 1].
pub fn images(view: &View, indices: &[usize], shape: ImageShape, device: &Device) -> Tensor<4> {
    let values = indices.iter().flat_map(|&index| view.image(index)).map(|&pixel| to_unit(pixel)).collect();
    to_tensor(values, indices.len(), shape, device)
}

/// Gathers images and binarises them: a pixel is 1 where its brightness in [0, 1] exceeds its threshold, so
/// uniform `thresholds` in [0, 1) make it 1 with a probability equal to its brightness (dynamic binarisation).
///
/// # Panics
///
/// When there is not one threshold for each pixel.
pub fn binarized(
    view: &View,
    indices: &[usize],
    shape: ImageShape,
    thresholds: &[f32],
    device: &Device,
) -> Tensor<4> {
    let wanted = indices.len() * shape.dims();
    assert_eq!(thresholds.len(), wanted, "{} thresholds for {wanted} pixels", thresholds.len());
    let pixels = indices.iter().flat_map(|&index| view.image(index));
    let values = pixels.zip(thresholds).map(|(&pixel, &t)| f32::from(f32::from(pixel) / 255.0 > t)).collect();
    to_tensor(values, indices.len(), shape, device)
}

/// The 8-bit images of a tensor in [-1, 1], concatenated, each row by row; values outside are clipped.
pub fn to_bytes<const D: usize>(images: Tensor<D>) -> Vec<u8> {
    let byte = |x: f32| ((x + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
    images.into_data().iter::<f32>().map(byte).collect()
}

fn to_unit(pixel: u8) -> f32 {
    f32::from(pixel) / 127.5 - 1.0
}

fn to_tensor(values: Vec<f32>, count: usize, shape: ImageShape, device: &Device) -> Tensor<4> {
    let dims = [count, shape.height, shape.width, shape.channels];
    Tensor::from_data(TensorData::new(values, dims), device)
}

#[cfg(test)]
mod tests {
    use poiesis_collect::Split;

    use super::super::{DataSpec, Examples};
    use super::*;
    use crate::testing::labelled_images;

    fn shape(height: usize, width: usize) -> ImageShape {
        ImageShape { height, width, channels: 1 }
    }

    #[test]
    fn images_without_a_class_are_told_apart_and_can_be_refused() {
        let (_folder, dataset) = labelled_images(4, "0.png,a\n3.png,b\n");
        let (examples, spec) =
            (Examples::of(&dataset, Split::Train).unwrap(), DataSpec::of(&dataset).unwrap());
        let device = Device::flex();
        let open = |labelled| {
            let needs = ImageNeeds { encoding: PixelEncoding::EightBit, labelled };
            let options =
                SourceOptions { examples: &examples, spec: &spec, batch_size: 4, seed: 1, device: &device };
            ImageBatches::open(&needs, &options)
        };
        let batches = open(false).unwrap();
        let labels = [Some(0), None, None, Some(1)];
        let expected: Vec<Option<u32>> = batches.indices(0).into_iter().map(|index| labels[index]).collect();
        assert_eq!(batches.labels(0), expected);
        let refused = open(true).err().unwrap().to_string();
        assert!(refused.contains("2 of 4 training images without a class"), "{refused}");
    }

    #[test]
    fn sides_halve_down_to_four_to_seven_pixels() {
        assert_eq!(shape(64, 64).halvings().unwrap(), (4, [4, 4]));
        assert_eq!(shape(28, 28).halvings().unwrap(), (2, [7, 7]));
        assert_eq!(shape(32, 64).halvings().unwrap(), (3, [4, 8]));
        assert_eq!(shape(48, 48).halvings().unwrap(), (3, [6, 6]));
        assert!(shape(72, 72).halvings().is_err());
        assert!(shape(4, 4).halvings().is_err());
    }
}
