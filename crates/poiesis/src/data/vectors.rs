//! Images or points as vectors, for models that know nothing of their shape.

use burn::tensor::Tensor;

use super::{
    Amount, Column, Content, ImageBatches, ImageNeeds, PixelEncoding, PointBatches, Source, SourceOptions,
};
use crate::error::Result;
use crate::nn::flatten;

/// Batches of vectors: flattened images in [-1, 1], or points.
pub enum Vectors {
    /// Of images.
    Images(ImageBatches),
    /// Of points.
    Points(PointBatches),
}

impl Vectors {
    /// Examples in a batch.
    pub fn batch_size(&self) -> usize {
        match self {
            Vectors::Images(images) => images.batch_size(),
            Vectors::Points(points) => points.batch_size(),
        }
    }

    /// The columns of points; none of images.
    pub fn columns(&self) -> &[Column] {
        match self {
            Vectors::Images(_) => &[],
            Vectors::Points(points) => points.columns(),
        }
    }

    /// The examples of step `step`, `[batch, values]`.
    pub fn vectors(&self, step: u64) -> Tensor<2> {
        match self {
            Vectors::Images(images) => flatten(images.images(step)),
            Vectors::Points(points) => points.points(step),
        }
    }
}

impl Source for Vectors {
    type Needs = ();

    fn open((): &(), options: &SourceOptions<'_>) -> Result<Vectors> {
        Ok(match options.spec.content {
            Content::Points(_) => Vectors::Points(PointBatches::open(&(), options)?),
            _ => Vectors::Images(ImageBatches::open(
                &ImageNeeds { encoding: PixelEncoding::EightBit, labelled: false },
                options,
            )?),
        })
    }

    fn amount(&self) -> Amount {
        match self {
            Vectors::Images(images) => images.amount(),
            Vectors::Points(points) => points.amount(),
        }
    }
}
