//! Whole documents as sequences of values and back, losslessly, for compression.

use serde::{Deserialize, Serialize};

use super::codec::{Codec, Kind, byte_of, level_of};
use super::{Clip, Media};
use crate::data::{SampleFormat, mu_law};
use crate::error::{Error, Result};
use crate::picture::Picture;

/// What collecting removes from a text file, so that models do not see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Framing {
    /// Whether it begins with a byte order mark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mark: bool,
    /// Whether each of its lines ends with CRLF.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crlf: bool,
}

/// U+FEFF in UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

impl Framing {
    pub(crate) fn of(content: &[u8]) -> Framing {
        let count = |byte| content.iter().filter(|&&other| other == byte).count();
        let pairs = content.windows(2).filter(|&pair| pair == b"\r\n").count();
        let crlf = pairs > 0 && [count(b'\r'), count(b'\n')] == [pairs, pairs];
        Framing { mark: content.starts_with(MARK), crlf }
    }

    fn take_off(self, content: &[u8]) -> Vec<u8> {
        let begin = if self.mark { MARK.len() } else { 0 };
        content[begin..].iter().copied().filter(|&byte| !(self.crlf && byte == b'\r')).collect()
    }

    fn put_back(self, text: &[u8]) -> Vec<u8> {
        let mut content = if self.mark { MARK.to_vec() } else { Vec::new() };
        for &byte in text {
            content.extend((self.crlf && byte == b'\n').then_some(b'\r'));
            content.push(byte);
        }
        content
    }
}

/// Values in a stream. A long text or sound is cut into streams that are coded in parallel, which is faster. Each stream
/// begins without context, which costs some bits.
const STREAM: usize = 16_384;
/// Maximum number of streams of a document.
const STREAMS: usize = 64;

/// Cuts a document into streams of almost equal length, without splitting groups of `each` values.
fn streams(values: &[u32], each: usize) -> Vec<Vec<u32>> {
    let count = (values.len() / STREAM).clamp(1, STREAMS);
    let length = values.len().div_ceil(count * each).max(1) * each;
    values.chunks(length).map(<[u32]>::to_vec).collect()
}

/// The 16-bit samples of bytes, low byte first.
fn samples_of(content: &[u8]) -> Vec<i16> {
    content.as_chunks().0.iter().map(|&two| i16::from_le_bytes(two)).collect()
}

impl Codec<'_> {
    /// The bytes of an example in an archive: those of a text; the 8-bit values of an image; 16-bit samples, low byte first.
    /// `name` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::NotOfTheModel`] when an image is of another size.
    pub(crate) fn content(&self, media: &Media, name: &str) -> Result<Vec<u8>> {
        Ok(match media {
            Media::Image(picture) => {
                self.expect_picture(picture, name)?;
                picture.data().to_vec()
            }
            Media::Text(text) => text.clone(),
            Media::Sound(clip) => clip.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
            Media::Point(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
    }

    /// The examples in these bytes: one, or several images.
    pub(crate) fn media_of_content(&self, content: &[u8]) -> Vec<Media> {
        match &self.kind {
            Kind::Image { shape, .. } => {
                let picture =
                    |image: &[u8]| Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
                content.chunks_exact(shape.dims()).map(|image| Media::Image(picture(image))).collect()
            }
            Kind::Text { .. } | Kind::Point { .. } | Kind::Experience => vec![Media::Text(content.to_vec())],
            Kind::Sound { shape, .. } => {
                vec![Media::Sound(Clip { shape: *shape, samples: samples_of(content) })]
            }
        }
    }

    /// The byte order mark and line ends of a text, which a model does not see.
    pub(crate) fn framing(&self, content: &[u8]) -> Framing {
        match self.kind {
            Kind::Text { .. } => Framing::of(content),
            _ => Framing::default(),
        }
    }

    /// The sequences of values of a document. `name` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::NotOfTheModel`] when it has values that the model does not have.
    pub(crate) fn sequences(&self, content: &[u8], framing: Framing, name: &str) -> Result<Vec<Vec<u32>>> {
        let refuse = |reason: String, remedy: &str| Error::NotOfTheModel {
            name: name.to_owned(),
            reason,
            remedy: remedy.to_owned(),
        };
        match &self.kind {
            Kind::Image { shape, levels } => {
                if content.is_empty() || !content.len().is_multiple_of(shape.dims()) {
                    let reason = format!("it has {} bytes, not a number of images", content.len());
                    return Err(refuse(reason, "give images of the model's size"));
                }
                let value = |&byte: &u8| {
                    level_of(byte, *levels).ok_or_else(|| {
                        let reason =
                            format!("it has the value {byte}, and the model has {levels} values only");
                        refuse(reason, "give images of black (0) and white (255) pixels")
                    })
                };
                let image = |image: &[u8]| image.iter().map(value).collect::<Result<Vec<u32>>>();
                content.chunks_exact(shape.dims()).map(image).collect()
            }
            Kind::Text { shape, .. } => {
                let tokens = shape.vocabulary.encode(&framing.take_off(content)).map_err(|error| {
                    refuse(error.to_string(), "train a model on bytes, which can compress every file")
                })?;
                Ok(streams(&tokens, 1))
            }
            Kind::Sound { format, .. } => {
                let values = samples_of(content).into_iter().flat_map(|sample| format.split(sample));
                Ok(streams(&values.collect::<Vec<_>>(), format.values()))
            }
            Kind::Point { .. } | Kind::Experience => Err(refuse(
                "a model of points does not generate value by value".into(),
                "give images, text or sound",
            )),
        }
    }

    /// Whether a document of `bytes` bytes can have so many values, in sequences of these lengths.
    pub(crate) fn can_have(&self, bytes: u64, values: u64, mut lengths: impl Iterator<Item = u32>) -> bool {
        match &self.kind {
            Kind::Image { shape, .. } => {
                bytes == values && values > 0 && lengths.all(|length| length as usize == shape.dims())
            }
            // A token is a byte at least.
            Kind::Text { .. } => values <= bytes,
            Kind::Sound { format, .. } => {
                bytes.is_multiple_of(2) && values == bytes / 2 * format.values() as u64
            }
            Kind::Point { .. } | Kind::Experience => false,
        }
    }

    /// Side information that the values of a document lack, as pairs `(number, how many there could be)`. For a level of the
    /// μ-law it is the sample's position among the samples of that level.
    pub(crate) fn side_values(&self, content: &[u8]) -> Vec<(u32, u32)> {
        match self.kind {
            Kind::Sound { format: SampleFormat::MuLaw, .. } => {
                samples_of(content).into_iter().map(place).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How many samples a value stands for, where this is coded.
    pub(crate) fn side_choices(&self, value: u32) -> Option<u32> {
        match self.kind {
            // A value that is no level comes from a damaged archive, which the checksum detects.
            Kind::Sound { format: SampleFormat::MuLaw, .. } => {
                Some(if (value as usize) < mu_law::LEVELS { many(value) } else { 1 })
            }
            _ => None,
        }
    }

    /// The document with these `values`; `side` has the side information of this and the following documents.
    pub(crate) fn restore(
        &self,
        values: &[u32],
        framing: Framing,
        side: &mut dyn Iterator<Item = u32>,
    ) -> Vec<u8> {
        match &self.kind {
            Kind::Image { levels, .. } => values.iter().map(|&value| byte_of(value, *levels)).collect(),
            Kind::Text { shape, .. } => {
                let vocabulary = &shape.vocabulary;
                let known = values.iter().copied().filter(|&value| (value as usize) < vocabulary.len());
                framing.put_back(&vocabulary.decode(&known.collect::<Vec<_>>()))
            }
            Kind::Sound { format: SampleFormat::Pcm16, .. } => {
                // A value that is no byte comes from a damaged archive, which the checksum detects.
                let byte = |value: u32| value.min(255);
                let sample =
                    |two: &[u32]| SampleFormat::Pcm16.join(&[byte(two[0]), byte(two[1])]).to_le_bytes();
                values.chunks_exact(2).flat_map(sample).collect()
            }
            Kind::Sound { format: SampleFormat::MuLaw, .. } => {
                let sample = |(&level, place): (&u32, u32)| {
                    let first =
                        if (level as usize) < mu_law::LEVELS { *mu_law::samples(level).start() } else { 0 };
                    first.wrapping_add(place as i16).to_le_bytes()
                };
                values.iter().zip(side).flat_map(sample).collect()
            }
            Kind::Point { .. } | Kind::Experience => Vec::new(),
        }
    }
}

/// The position of a sample among those of its level, and how many there are.
fn place(sample: i16) -> (u32, u32) {
    let level = mu_law::level(sample);
    ((i32::from(sample) - i32::from(*mu_law::samples(level).start())) as u32, many(level))
}

fn many(level: u32) -> u32 {
    mu_law::samples(level).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_a_text_is_taken_off_and_put_back() {
        let framing = |mark, crlf| Framing { mark, crlf };
        for (content, expected, text) in [
            ("\u{feff}a\r\nb\r\n", framing(true, true), "a\nb\n"),
            ("a\r\nb\n", framing(false, false), "a\r\nb\n"),
            ("a\r\r\n", framing(false, false), "a\r\r\n"),
            ("\r\n", framing(false, true), "\n"),
            ("\u{feff}", framing(true, false), ""),
            ("", framing(false, false), ""),
        ] {
            let found = Framing::of(content.as_bytes());
            assert_eq!(found, expected, "{content:?}");
            let taken = found.take_off(content.as_bytes());
            assert_eq!(taken, text.as_bytes(), "{content:?}");
            assert_eq!(found.put_back(&taken), content.as_bytes());
        }
    }
}
