//! Packed data as tensors: images in batches, text and sound in windows of tokens, all in a computed order.

mod depth;
mod images;
pub mod mu_law;
mod sequence;

use poiesis_collect::{Dataset, Kind, Split, SplitBy, Stream, View, Vocabulary};
use serde::{Deserialize, Serialize};

pub use depth::Depth;
pub use images::{Batches, ImageShape, binarized, images, to_bytes};
pub use sequence::{TokenShape, Tokens, Windows};

use crate::catalogue::Domain;
use crate::error::{Error, Result};

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
    /// Text.
    Text(TextShape),
    /// Sound.
    Sound(SoundShape),
}

/// What a model must know of text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextShape {
    /// What its tokens stand for.
    pub vocabulary: Vocabulary,
    /// Whether there are several documents, each of which then has a beginning; else it is one long text.
    pub documents: bool,
    /// Whether documents are lines.
    pub lines: bool,
}

impl TextShape {
    /// What stands between two documents where they are written one after another.
    pub fn separator(&self) -> &'static [u8] {
        if self.lines { b"\n" } else { b"\n\n" }
    }
}

/// What a model must know of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundShape {
    /// Frames in a second.
    pub sample_rate: u32,
    /// Samples in a frame: 1 mono, 2 stereo.
    pub channels: u16,
}

impl DataSpec {
    /// What `dataset` holds.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for points of the plane, which no model learns.
    pub fn of(dataset: &Dataset) -> Result<DataSpec> {
        let card = dataset.card();
        let content = match (card.kind, &card.text, &card.sound) {
            (Kind::Text, Some(text), _) => Content::Text(TextShape {
                vocabulary: text.vocabulary.clone(),
                documents: card.split_by != SplitBy::Position && card.total() > 1,
                lines: text.lines,
            }),
            (Kind::Sound, _, Some(sound)) => {
                Content::Sound(SoundShape { sample_rate: sound.sample_rate, channels: sound.channels })
            }
            _ => Content::Images(ImageShape::from_slice(&card.shape)?),
        };
        Ok(DataSpec { content, classes: card.classes.len() })
    }

    /// The kind of the data.
    pub fn domain(&self) -> Domain {
        match &self.content {
            Content::Images(_) => Domain::Images,
            Content::Text(_) => Domain::Text,
            Content::Sound(_) => Domain::Sound,
        }
    }

    /// The shape of the images.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the data are not images.
    pub fn images(&self) -> Result<ImageShape> {
        match &self.content {
            Content::Images(shape) => Ok(*shape),
            Content::Text(_) | Content::Sound(_) => Err(Error::InvalidValue {
                key: "data.source".into(),
                value: self.domain().name().into(),
                reason: "this needs images".into(),
                remedy: "give a data set of images, or the run of a model of images".into(),
            }),
        }
    }

    /// The tokens that the examples are read as: characters of text, numbers of an image as one of `levels`, samples of sound
    /// as one of `levels` where a [`Depth`] has so many, else as one of the μ-law's.
    pub fn tokens(&self, levels: usize) -> TokenShape {
        let beginnings = self.classes.max(1);
        match &self.content {
            Content::Images(shape) => TokenShape { values: levels, beginnings, length: Some(shape.dims()) },
            Content::Text(text) => TokenShape {
                values: text.vocabulary.len(),
                beginnings: if text.documents { beginnings } else { 0 },
                length: None,
            },
            Content::Sound(_) => TokenShape { values: Depth::of(levels).levels(), beginnings, length: None },
        }
    }
}

/// The examples of one split.
#[derive(Clone)]
pub enum Examples {
    /// Images.
    Images(View),
    /// Text, or sound.
    Stream(Stream),
}

impl Examples {
    /// The examples of a split of `dataset`, if it has that split.
    pub fn of(dataset: &Dataset, split: Split) -> Option<Examples> {
        dataset.split(split).map(Examples::Images).or_else(|| dataset.stream(split).map(Examples::Stream))
    }

    /// How many there are: images, or tokens of text, or samples of sound.
    pub fn len(&self) -> u64 {
        match self {
            Examples::Images(view) => view.len() as u64,
            Examples::Stream(stream) => stream.len(),
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
    /// [`Error::InvalidValue`] when the examples are not images.
    pub fn images(&self) -> Result<&View> {
        match self {
            Examples::Images(view) => Ok(view),
            Examples::Stream(_) => Err(Error::InvalidValue {
                key: "data.source".into(),
                value: "text or sound".into(),
                reason: "this needs images".into(),
                remedy: "give a data set of images".into(),
            }),
        }
    }

    /// The examples as tokens.
    pub fn tokens(&self, spec: &DataSpec, levels: usize) -> Tokens {
        let shape = spec.tokens(levels);
        match self {
            Examples::Images(view) => Tokens::of_images(view.clone(), shape),
            Examples::Stream(stream) => match spec.content {
                Content::Sound(sound) => Tokens::of_sound(stream.clone(), sound.channels, shape),
                _ => Tokens::of_text(stream.clone(), shape),
            },
        }
    }
}
