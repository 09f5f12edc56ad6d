//! Packed data as tensors: images in batches, text and sound in windows of tokens, all in a computed order.

mod images;
mod sequence;

use poiesis_collect::{Dataset, Split, View};
use serde::{Deserialize, Serialize};

pub use images::{Batches, ImageShape, binarized, images, to_bytes};
pub use sequence::{TokenShape, Tokens, Windows};

use crate::error::Result;

/// What the examples of a data set are: all that a model must know to be made for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSpec {
    /// Their kind and shape.
    pub content: Content,
    /// How many classes they are labelled with; 0 without labels.
    pub classes: usize,
}

/// The kind of examples, and their shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Images of one size.
    Images(ImageShape),
}

impl DataSpec {
    /// What `dataset` holds.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] for points of the plane, which no model learns.
    pub fn of(dataset: &Dataset) -> Result<DataSpec> {
        let card = dataset.card();
        let content = Content::Images(ImageShape::from_slice(&card.shape)?);
        Ok(DataSpec { content, classes: card.classes.len() })
    }

    /// The shape of the images.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] when the data are not images.
    pub fn images(&self) -> Result<ImageShape> {
        match &self.content {
            Content::Images(shape) => Ok(*shape),
        }
    }

    /// The tokens that the examples are read as; a number of an image is one of `levels`.
    pub fn tokens(&self, levels: usize) -> TokenShape {
        match &self.content {
            Content::Images(shape) => {
                TokenShape { values: levels, beginnings: self.classes.max(1), length: Some(shape.dims()) }
            }
        }
    }
}

/// The examples of one split.
#[derive(Clone)]
pub enum Examples {
    /// Images.
    Images(View),
}

impl Examples {
    /// The examples of a split of `dataset`, if it has that split.
    pub fn of(dataset: &Dataset, split: Split) -> Option<Examples> {
        dataset.split(split).map(Examples::Images)
    }

    /// How many there are: images, or tokens of text, or samples of sound.
    pub fn len(&self) -> u64 {
        match self {
            Examples::Images(view) => view.len() as u64,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The images.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidValue`] when the examples are not images.
    pub fn images(&self) -> Result<&View> {
        match self {
            Examples::Images(view) => Ok(view),
        }
    }

    /// The examples as tokens.
    pub fn tokens(&self, spec: &DataSpec, levels: usize) -> Tokens {
        let shape = spec.tokens(levels);
        match self {
            Examples::Images(view) => Tokens::of_images(view.clone(), shape),
        }
    }
}
