//! Examples as values of a model, and back: the one place that knows what each kind of data is to a model.

use super::{Clip, Keep, Media};
use crate::abilities::{Accepts, Autoregressive};
use crate::data::{
    Content, DataSpec, ImageShape, MediaKind, SampleFormat, SoundShape, TextShape, TokenShape,
};
use crate::error::{Error, Result};
use crate::picture::Picture;

/// Tokens of a text when nothing else is said.
const TEXT_LEN: usize = 1000;
/// Seconds of a sound when nothing else is said.
const SOUND_SECONDS: usize = 2;

/// Examples of one kind as the values that a model reads and generates.
pub struct Codec<'a> {
    pub(super) kind: Kind<'a>,
    has_classes: bool,
}

pub(super) enum Kind<'a> {
    /// Images, whose values have so many levels.
    Image { shape: ImageShape, levels: usize },
    /// Text.
    Text { shape: &'a TextShape, tokens: TokenShape },
    /// Sound.
    Sound { shape: SoundShape, format: SampleFormat },
    /// Points of so many coordinates.
    Point { dims: usize },
}

impl<'a> Codec<'a> {
    /// The codec for data of `spec`, for the values of `model` if that generates value by value.
    pub fn new(spec: &'a DataSpec, model: Option<&dyn Autoregressive>) -> Codec<'a> {
        let kind = match &spec.content {
            Content::Images(shape) => {
                Kind::Image { shape: *shape, levels: model.map_or(256, Autoregressive::num_values) }
            }
            Content::Text(shape) => Kind::Text { shape, tokens: spec.tokens(0) },
            Content::Sound(shape) => {
                let format = model.map_or(SampleFormat::MuLaw, Autoregressive::sample_format);
                Kind::Sound { shape: *shape, format }
            }
            Content::Points(shape) => Kind::Point { dims: shape.dims },
        };
        Codec { kind, has_classes: spec.classes > 0 }
    }

    /// The kind of the data.
    pub fn kind(&self) -> MediaKind {
        match self.kind {
            Kind::Image { .. } => MediaKind::Images,
            Kind::Text { .. } => MediaKind::Text,
            Kind::Sound { .. } => MediaKind::Sound,
            Kind::Point { .. } => MediaKind::Points,
        }
    }

    /// How many examples people usually want to see at once.
    pub fn usual_count(&self) -> usize {
        match self.kind {
            Kind::Image { .. } => 64,
            Kind::Text { .. } => 1,
            Kind::Sound { .. } => 4,
            Kind::Point { .. } => 1000,
        }
    }

    /// A length as people give it, tokens of a text or seconds of a sound, as a request counts it: tokens or frames.
    pub fn max_len(&self, length: f64) -> usize {
        match &self.kind {
            Kind::Sound { shape, .. } => (length * f64::from(shape.sample_rate)) as usize,
            _ => length as usize,
        }
    }

    /// What is written between two texts; nothing for other kinds.
    pub fn separator(&self) -> &'static [u8] {
        match &self.kind {
            Kind::Text { shape, .. } => shape.separator(),
            _ => b"",
        }
    }

    /// What a model that generates value by value accepts of a request.
    pub(crate) fn accepts(&self, conditional: bool) -> Accepts {
        let stream = matches!(self.kind, Kind::Text { .. } | Kind::Sound { .. });
        Accepts {
            class: conditional && self.has_classes,
            prompt: stream,
            max_len: stream,
            keep: matches!(self.kind, Kind::Image { .. }),
            temperature: true,
            ..Accepts::default()
        }
    }

    /// The values of an example.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] when a text has characters that are not in the vocabulary; [`Error::NotOfTheModel`] when the example is of
    /// another kind, shape or rate, or an image has values between the levels.
    pub fn values(&self, media: &Media) -> Result<Vec<u32>> {
        match (&self.kind, media) {
            (Kind::Image { levels, .. }, Media::Image(picture)) => {
                self.expect_picture(picture, "the image")?;
                let value = |&byte: &u8| {
                    level_of(byte, *levels).ok_or_else(|| Error::NotOfTheModel {
                        name: "the image".into(),
                        reason: format!(
                            "it holds the value {byte}, and the model knows {levels} values only"
                        ),
                        remedy: "give images of black (0) and white (255) pixels".into(),
                    })
                };
                picture.data().iter().map(value).collect()
            }
            (Kind::Text { shape, .. }, Media::Text(text)) => Ok(shape.vocabulary.encode(text)?),
            (Kind::Sound { shape, format }, Media::Sound(clip)) if clip.shape == *shape => {
                Ok(clip.samples.iter().flat_map(|&sample| format.split(sample)).collect())
            }
            _ => Err(Error::NotOfTheModel {
                name: "the example".into(),
                reason: "it is of another kind or rate".into(),
                remedy: format!("give {} like those that the model was trained on", self.kind().name()),
            }),
        }
    }

    /// The example that was generated as `values`, with the prompt before them and the kept pixels as they were.
    pub(crate) fn media(&self, values: &[u32], prompt: Option<&Media>, keep: Option<&Keep>) -> Media {
        match &self.kind {
            Kind::Image { shape, levels } => {
                let mut bytes: Vec<u8> = values.iter().map(|&value| byte_of(value, *levels)).collect();
                if let Some(Keep { image, mask }) = keep {
                    let kept = |place: &usize| mask[place / shape.channels];
                    (0..bytes.len()).filter(kept).for_each(|place| bytes[place] = image.data()[place]);
                }
                Media::Image(Picture::new(shape.width, shape.height, shape.channels, bytes))
            }
            Kind::Text { shape, .. } => {
                let mut text = match prompt {
                    Some(Media::Text(prompt)) => prompt.clone(),
                    _ => Vec::new(),
                };
                values.iter().for_each(|&value| text.extend(shape.vocabulary.decode(&[value])));
                Media::Text(text)
            }
            Kind::Sound { shape, format } => {
                let mut samples = match prompt {
                    Some(Media::Sound(prompt)) => prompt.samples.clone(),
                    _ => Vec::new(),
                };
                samples.extend(values.chunks_exact(format.values()).map(|values| format.join(values)));
                Media::Sound(Clip { shape: *shape, samples })
            }
            Kind::Point { .. } => Media::Point(values.iter().map(|&value| value as f32).collect()),
        }
    }

    /// The example that a model computed as `values`: an image row by row in [-1, 1], a point as its coordinates.
    ///
    /// # Panics
    ///
    /// When an image or a point has more or fewer values than its shape, or the data are text or sound.
    pub fn media_of(&self, values: &[f32]) -> Media {
        match &self.kind {
            Kind::Image { shape, .. } => {
                let byte = |&x: &f32| ((x + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
                let bytes = values.iter().map(byte).collect();
                Media::Image(Picture::new(shape.width, shape.height, shape.channels, bytes))
            }
            Kind::Point { dims } => {
                assert_eq!(values.len(), *dims, "{} values for a point of {dims}", values.len());
                Media::Point(values.to_vec())
            }
            Kind::Text { .. } | Kind::Sound { .. } => panic!("{} is not continuous", self.kind().name()),
        }
    }

    /// The part that the last of `values` completes, for data that are generated piece by piece.
    pub(crate) fn part(&self, values: &[u32]) -> Option<Media> {
        match &self.kind {
            Kind::Text { shape, .. } => {
                Some(Media::Text(shape.vocabulary.decode(&values[values.len() - 1..])))
            }
            Kind::Sound { shape, format } if values.len().is_multiple_of(format.values()) => {
                let last = format.join(&values[values.len() - format.values()..]);
                Some(Media::Sound(Clip { shape: *shape, samples: vec![last] }))
            }
            _ => None,
        }
    }

    /// Whether `value`, the value number `place` of an example, is not part of it but begins another one.
    pub(crate) fn ends(&self, value: u32, _place: usize) -> bool {
        match &self.kind {
            Kind::Text { tokens, .. } => value as usize >= tokens.values,
            Kind::Sound { .. } => value > 255,
            Kind::Image { .. } | Kind::Point { .. } => false,
        }
    }

    /// What a model reads as value number `place` of an example that has ended while others in parallel have not.
    pub(crate) fn filler(&self, place: usize) -> u32 {
        match &self.kind {
            Kind::Sound { format, .. } => format.split(0)[place % format.values()],
            _ => 0,
        }
    }

    /// How many values are generated at most.
    pub(crate) fn num_values(&self, max_len: Option<usize>) -> usize {
        match &self.kind {
            Kind::Image { shape, .. } => shape.dims(),
            Kind::Text { .. } => max_len.unwrap_or(TEXT_LEN),
            Kind::Sound { shape, format } => {
                let frames = max_len.unwrap_or(SOUND_SECONDS * shape.sample_rate as usize);
                frames * usize::from(shape.channels) * format.values()
            }
            Kind::Point { .. } => 0,
        }
    }

    /// What a model reads before an example that has no prompt: a line break, if it knows one, where it was trained on one long text
    /// and so has no beginning to start from.
    pub(crate) fn start_values(&self) -> Vec<u32> {
        match &self.kind {
            Kind::Text { shape, tokens } if tokens.beginnings == 0 => {
                shape.vocabulary.encode(b"\n").unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// For each value of an image, the value that is kept, read as the nearest level.
    pub(crate) fn kept_values(&self, keep: &Keep) -> Vec<Option<u32>> {
        let Kind::Image { shape, levels } = &self.kind else { return Vec::new() };
        let level = |(place, &byte): (usize, &u8)| {
            keep.mask[place / shape.channels].then(|| nearest_level(byte, *levels))
        };
        keep.image.data().iter().enumerate().map(level).collect()
    }

    /// Refuses a picture that is not of the model's size and channels; `name` is for the message.
    ///
    /// # Errors
    ///
    /// [`Error::NotOfTheModel`].
    pub fn expect_picture(&self, picture: &Picture, name: &str) -> Result<()> {
        let Kind::Image { shape, .. } = &self.kind else { return Ok(()) };
        let size = |width, height, channels| format!("{width}×{height} with {channels} channels");
        let found = [picture.width(), picture.height(), picture.channels()];
        if found == [shape.width, shape.height, shape.channels] {
            return Ok(());
        }
        Err(Error::NotOfTheModel {
            name: name.to_owned(),
            reason: format!("it is {}", size(found[0], found[1], found[2])),
            remedy: format!("give images of {}", size(shape.width, shape.height, shape.channels)),
        })
    }
}

fn nearest_level(byte: u8, levels: usize) -> u32 {
    ((usize::from(byte) * (levels - 1) + 127) / 255) as u32
}

/// The level that a byte stands for, if it is exactly one of `levels`, spread over 0 to 255.
pub(crate) fn level_of(byte: u8, levels: usize) -> Option<u32> {
    let level = nearest_level(byte, levels);
    (byte_of(level, levels) == byte).then_some(level)
}

/// The byte of a level: `levels` of them, spread over 0 to 255.
pub(crate) fn byte_of(level: u32, levels: usize) -> u8 {
    ((level as usize * 255 + (levels - 1) / 2) / (levels - 1)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_a_byte_of_its_own() {
        for levels in 2..=256 {
            for level in 0..levels as u32 {
                assert_eq!(level_of(byte_of(level, levels), levels), Some(level));
            }
            let known = (0..=255).filter(|&byte| level_of(byte, levels).is_some()).count();
            assert_eq!(known, levels);
        }
    }
}
