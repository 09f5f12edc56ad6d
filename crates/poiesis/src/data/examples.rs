//! The examples of one split.

use poiesis_collect::{Dataset, Split, Stream, View};

use super::{Content, DataSpec, Tokens};
use crate::error::{Error, Result};

/// The examples of one split.
#[derive(Clone)]
pub enum Examples {
    /// Images, or points.
    Images(View),
    /// Text, or sound.
    Stream(Stream),
}

impl Examples {
    /// The examples of a split of `dataset`, if it has that split.
    pub fn of(dataset: &Dataset, split: Split) -> Option<Examples> {
        dataset.split(split).map(Examples::Images).or_else(|| dataset.stream(split).map(Examples::Stream))
    }

    /// The number of images, points, tokens of text, or samples of sound.
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

    /// The examples as tokens; see [`DataSpec::tokens`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for points, and [`Error::Data`] for a token that the vocabulary does not have.
    pub fn tokens(&self, spec: &DataSpec, levels: usize) -> Result<Tokens> {
        if let Content::Points(_) = spec.content {
            return Err(Error::invalid_value(
                "data.source",
                "points",
                "this model reads tokens",
                "give a data set of images, text or sound",
            ));
        }
        let shape = spec.tokens(levels);
        Ok(match self {
            Examples::Images(view) => Tokens::of_images(view.clone(), shape),
            Examples::Stream(stream) => match spec.content {
                Content::Sound(sound) => Tokens::of_sound(stream.clone(), sound.channels, shape),
                _ => {
                    stream.check_tokens(shape.values)?;
                    Tokens::of_text(stream.clone(), shape)
                }
            },
        })
    }
}
