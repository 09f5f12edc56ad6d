//! The examples of one split.

use poiesis_collect::{Dataset, Episodes, Split, Stream, View};

use super::{Content, DataSpec, Experience, Tokens};
use crate::error::{Error, Result};

/// The examples of one split.
#[derive(Clone)]
pub enum Examples {
    /// Images, or points.
    Images(View),
    /// Text, or sound.
    Stream(Stream),
    /// An environment in which an agent acts, and demonstrations.
    Experience(Experience),
}

impl Examples {
    /// The examples of a split of `dataset`, if it has that split.
    pub fn of(dataset: &Dataset, split: Split) -> Option<Examples> {
        dataset.split(split).map(Examples::Images).or_else(|| dataset.stream(split).map(Examples::Stream))
    }

    /// The number of images, points, tokens of text, samples of sound, or steps of demonstrations.
    pub fn len(&self) -> u64 {
        match self {
            Examples::Images(view) => view.len() as u64,
            Examples::Stream(stream) => stream.len(),
            Examples::Experience(experience) => {
                experience.demonstrations.as_ref().map_or(0, Episodes::transitions)
            }
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
            other => Err(Error::InvalidValue {
                key: "data.source".into(),
                value: other.described().into(),
                reason: "this needs images".into(),
                remedy: "give a data set of images".into(),
            }),
        }
    }

    /// What an agent learns from.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the examples are something else.
    pub fn experience(&self) -> Result<&Experience> {
        match self {
            Examples::Experience(experience) => Ok(experience),
            other => Err(Error::InvalidValue {
                key: "data.source".into(),
                value: other.described().into(),
                reason: "this needs an environment".into(),
                remedy: "give one that `poiesis envs` lists, or a command".into(),
            }),
        }
    }

    fn described(&self) -> &'static str {
        match self {
            Examples::Images(_) => "images or points",
            Examples::Stream(_) => "text or sound",
            Examples::Experience(_) => "experience",
        }
    }

    /// The examples as tokens; see [`DataSpec::tokens`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for points and experience, and [`Error::Data`] for a token that the vocabulary does not have.
    ///
    /// # Panics
    ///
    /// When `spec` is not of these examples.
    pub fn tokens(&self, spec: &DataSpec, levels: usize) -> Result<Tokens> {
        if let Content::Points(_) | Content::Experience(_) = spec.content {
            return Err(Error::invalid_value(
                "data.source",
                spec.media().name(),
                "this model reads tokens",
                "give a data set of images, text or sound",
            ));
        }
        let shape = spec.tokens(levels);
        Ok(match self {
            Examples::Experience(_) => panic!("experience is not read as tokens"),
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
