//! Examples of every kind: an image, a text, a sound, a point. [`Codec`] converts them to values of a model, and [`files`]
//! reads and writes them.

pub(crate) mod chunks;
mod codec;
pub mod files;
mod json;
mod lossless;
pub mod plane;
mod sheet;

pub use chunks::Chunk;
pub use codec::Codec;
pub(crate) use codec::{byte_of, nearest_level};
pub use lossless::Framing;

use serde::{Deserialize, Serialize};

use crate::data::SoundShape;
use crate::picture::Picture;

/// One example. In JSON an image is a PNG in base64, a text a string (or its bytes, where it is not UTF-8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// An image.
    Image(#[serde(with = "json::picture")] Picture),
    /// A text, as its bytes.
    Text(#[serde(with = "json::text")] Vec<u8>),
    /// A sound.
    Sound(Clip),
    /// A point, as its coordinates.
    Point(Vec<f32>),
}

/// An image of which some pixels are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The image.
    #[serde(with = "json::picture")]
    pub image: Picture,
    /// For each pixel, row by row, whether it is kept.
    pub mask: Vec<bool>,
}

/// A sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clip {
    /// Rate and channels.
    pub shape: SoundShape,
    /// 16-bit samples, with the channels of a frame interleaved.
    pub samples: Vec<i16>,
}

impl Clip {
    /// The mean of the channels of each frame.
    pub fn mono(&self) -> Vec<i16> {
        let channels = i32::from(self.shape.channels);
        let mean =
            |frame: &[i16]| (frame.iter().map(|&sample| i32::from(sample)).sum::<i32>() / channels) as i16;
        self.samples.chunks_exact(usize::from(self.shape.channels)).map(mean).collect()
    }

    /// Clips joined with an eighth of a second of silence between them.
    pub fn joined(clips: &[Clip], shape: SoundShape) -> Clip {
        let pause = vec![0; shape.sample_rate as usize / 8 * usize::from(shape.channels)];
        let samples: Vec<&[i16]> = clips.iter().map(|clip| clip.samples.as_slice()).collect();
        Clip { shape, samples: samples.join(&pause[..]) }
    }
}
