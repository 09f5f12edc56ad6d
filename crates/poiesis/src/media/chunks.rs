//! What a file holds besides pixels or samples, such as colour profiles, texts, EXIF and markers, so that compression loses nothing.
//! PNG and WAV files are both sequences of chunks.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Media, files};
use crate::data::DataSpec;
use crate::error::{Error, Result};
use crate::picture::Picture;

/// A chunk of a PNG or WAV file that is not its pixels or samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The four bytes of its type.
    #[serde(with = "hex")]
    pub kind: [u8; 4],
    /// Whether it comes after the pixels or samples.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after: bool,
    /// Its content.
    #[serde(with = "hex")]
    pub data: Vec<u8>,
}

/// Bytes as hexadecimal digits.
mod hex {
    use super::*;
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(
        bytes: &impl AsRef<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub(super) fn deserialize<'de, B: TryFrom<Vec<u8>>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<B, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |pair: &[u8]| {
            let digits = std::str::from_utf8(pair).ok().filter(|_| pair.len() == 2)?;
            u8::from_str_radix(digits, 16).ok()
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| {
            D::Error::custom("a chunk is not in hexadecimal digits, or its type is not four bytes")
        })
    }
}

/// The chunks in `bytes`, the file that `media` was read from; `path` is for messages.
///
/// # Errors
///
/// [`Error::NotOfTheModel`] when the file holds something that could not be given back.
pub(crate) fn of_file(bytes: &[u8], media: &Media, spec: &DataSpec, path: &Path) -> Result<Vec<Chunk>> {
    match media {
        Media::Image(_) => of_png(bytes, path),
        Media::Sound(_) => {
            let chunks = of_wav(bytes, &files::to_bytes(media, spec, path)?);
            if to_bytes(media, &chunks, spec, path)? != bytes {
                return Err(lossy(path, "its header is not one that could be written again"));
            }
            Ok(chunks)
        }
        Media::Text(_) | Media::Point(_) => Ok(Vec::new()),
    }
}

/// The bytes of a file with this example and `chunks`; `path` is for messages.
///
/// # Errors
///
/// [`Error::Picture`] and [`Error::Sound`] when the format cannot hold it.
pub(crate) fn to_bytes(media: &Media, chunks: &[Chunk], spec: &DataSpec, path: &Path) -> Result<Vec<u8>> {
    match media {
        Media::Image(picture) => png_with(picture, chunks),
        Media::Sound(_) => Ok(wav_with(&files::to_bytes(media, spec, path)?, chunks)),
        Media::Text(_) | Media::Point(_) => files::to_bytes(media, spec, path),
    }
}

fn lossy(path: &Path, reason: &str) -> Error {
    Error::NotOfTheModel {
        name: path.display().to_string(),
        reason: format!("{reason}, so it would not come back unchanged"),
        remedy: "convert it to a plain file of the model's form first, or leave it out".into(),
    }
}

/// The chunks of a PNG file besides the image itself.
fn of_png(bytes: &[u8], path: &Path) -> Result<Vec<Chunk>> {
    const SIGNATURE: usize = 8;
    const BIT_DEPTH: usize = 8;
    const COLOR_TYPE: usize = 9;
    const PALETTE: u8 = 3;
    let (mut chunks, mut header, mut after) = (Vec::new(), [0; 13], false);
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    while let Some((kind, data, next)) = png_chunk(rest) {
        rest = next;
        match kind {
            b"IHDR" => header = data.try_into().unwrap_or(header),
            b"IDAT" => after = true,
            // What they say is in the pixels.
            b"PLTE" | b"tRNS" => {}
            b"IEND" => break,
            b"acTL" | b"fcTL" | b"fdAT" => return Err(lossy(path, "it is an animation")),
            b"bKGD" | b"hIST" if header[COLOR_TYPE] == PALETTE => {
                return Err(lossy(path, "its palette has a background or a histogram"));
            }
            _ => chunks.push(Chunk { kind: *kind, after, data: data.to_vec() }),
        }
    }
    if header[BIT_DEPTH] == 16 {
        return Err(lossy(path, "it has 16 bits a channel, and the model knows 8"));
    }
    if !rest.is_empty() {
        return Err(lossy(path, "it has bytes after its end"));
    }
    Ok(chunks)
}

fn png_with(picture: &Picture, chunks: &[Chunk]) -> Result<Vec<u8>> {
    let chunks = chunks.iter().map(|chunk| (chunk.kind, chunk.after, chunk.data.as_slice()));
    picture.to_png_with(&chunks.collect::<Vec<_>>())
}

/// The type and the content of the next chunk of a PNG file, and what follows it.
fn png_chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (data, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (_crc, rest) = rest.split_first_chunk::<4>()?;
    Some((kind, data, rest))
}

/// Bytes before the first chunk of a WAV file: `RIFF`, the length, `WAVE`.
const RIFF: usize = 12;

/// The chunks of a WAV file besides the samples; its format too if that is not as in `plain`, the file that would be written.
fn of_wav(bytes: &[u8], plain: &[u8]) -> Vec<Chunk> {
    let format = wav_chunks(plain).into_iter().find(|(kind, _)| kind == b"fmt ");
    let mut after = false;
    let mut chunks = Vec::new();
    for (kind, data) in wav_chunks(bytes) {
        let is_plain = format.is_some_and(|format| format == (kind, data));
        if &kind == b"data" {
            after = true;
        } else if !is_plain {
            chunks.push(Chunk { kind, after, data: data.to_vec() });
        }
    }
    chunks
}

/// The types and contents of the chunks of a WAV file, as far as they are whole.
fn wav_chunks(bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut rest = bytes.get(RIFF..).unwrap_or_default();
    let mut chunks = Vec::new();
    while let Some((kind, after_kind)) = rest.split_first_chunk::<4>()
        && let Some((length, body)) = after_kind.split_first_chunk::<4>()
        && let Some((data, next)) = body.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        chunks.push((*kind, data));
        // Chunks begin at even places.
        rest = next.get(data.len() % 2..).unwrap_or_default();
    }
    chunks
}

/// The WAV file `plain` with more chunks, in their order around the samples.
fn wav_with(plain: &[u8], chunks: &[Chunk]) -> Vec<u8> {
    if chunks.is_empty() {
        return plain.to_vec();
    }
    let own_format = chunks.iter().any(|chunk| &chunk.kind == b"fmt ");
    let around = |after| chunks.iter().filter(move |chunk| chunk.after == after);
    let mut bytes = plain[..RIFF].to_vec();
    for (kind, data) in wav_chunks(plain) {
        if &kind == b"data" {
            around(false).for_each(|chunk| push(&mut bytes, &chunk.kind, &chunk.data));
        }
        if &kind != b"fmt " || !own_format {
            push(&mut bytes, &kind, data);
        }
    }
    around(true).for_each(|chunk| push(&mut bytes, &chunk.kind, &chunk.data));
    let length = (bytes.len() - 8) as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: &[u8], data: &[u8]) {
    bytes.extend(kind);
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes.extend((data.len() % 2 == 1).then_some(0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Content, SoundShape};
    use crate::media::Clip;

    fn chunk(kind: &[u8; 4], after: bool, data: &[u8]) -> Chunk {
        Chunk { kind: *kind, after, data: data.to_vec() }
    }

    /// What a file of these bytes holds besides `media`.
    fn found(media: &Media, bytes: &[u8]) -> Result<Vec<Chunk>> {
        of_file(bytes, media, &spec(), Path::new("file"))
    }

    const SHAPE: SoundShape = SoundShape { sample_rate: 8000, channels: 1 };

    fn spec() -> DataSpec {
        DataSpec { content: Content::Sound(SHAPE), classes: 0, unlabelled: false }
    }

    fn clip() -> Media {
        Media::Sound(Clip { shape: SHAPE, samples: vec![1, -2, 3] })
    }

    #[test]
    fn chunks_of_a_wav_file_come_back_byte_for_byte() {
        let path = Path::new("a.wav");
        let chunks = [chunk(b"LIST", false, b"odd"), chunk(b"id3 ", true, b"even")];
        let bytes = to_bytes(&clip(), &chunks, &spec(), path).unwrap();
        assert_eq!(found(&clip(), &bytes).unwrap(), chunks);
        assert!(found(&clip(), &to_bytes(&clip(), &[], &spec(), path).unwrap()).unwrap().is_empty());
        let extensible = [chunk(b"fmt ", false, &[0xfe; 40])];
        let bytes = to_bytes(&clip(), &extensible, &spec(), path).unwrap();
        assert_eq!(found(&clip(), &bytes).unwrap(), extensible);
    }

    #[test]
    fn a_wav_file_that_would_change_is_refused() {
        let mut bytes = to_bytes(&clip(), &[], &spec(), Path::new("a.wav")).unwrap();
        bytes.extend(b"rest");
        let message = found(&clip(), &bytes).unwrap_err().to_string();
        assert!(message.contains("would not come back"), "{message}");
    }

    #[test]
    fn chunks_of_a_png_file_come_back() {
        let picture = Picture::new(2, 1, 1, vec![7, 8]);
        let chunks = [chunk(b"gAMA", false, &45_455u32.to_be_bytes()), chunk(b"tEXt", true, b"Title\0Seven")];
        let bytes = png_with(&picture, &chunks).unwrap();
        let (read, _) = Picture::from_png(&bytes, Path::new("a.png")).unwrap();
        assert_eq!(read, picture);
        assert_eq!(found(&Media::Image(picture), &bytes).unwrap(), chunks);
    }

    #[test]
    fn a_png_file_that_would_change_is_refused() {
        let picture = Picture::new(2, 1, 1, vec![7, 8]);
        let animated = png_with(&picture, &[chunk(b"acTL", false, &[0, 0, 0, 1, 0, 0, 0, 0])]).unwrap();
        let mut deep = Vec::new();
        let mut encoder = png::Encoder::new(&mut deep, 2, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Sixteen);
        encoder.write_header().unwrap().write_image_data(&[7, 1, 8, 2]).unwrap();
        let mut longer = picture.to_png(None).unwrap();
        longer.push(0);
        for (bytes, reason) in [(animated, "animation"), (deep, "16 bits"), (longer, "after its end")] {
            let message = found(&Media::Image(picture.clone()), &bytes).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn chunks_are_text_in_json() {
        let chunk = chunk(b"tEXt", true, &[0, 255, 16]);
        let json = serde_json::to_string(&chunk).unwrap();
        assert_eq!(json, r#"{"kind":"74455874","after":true,"data":"00ff10"}"#);
        assert_eq!(serde_json::from_str::<Chunk>(&json).unwrap(), chunk);
        for wrong in [
            r#"{"kind":"7","data":""}"#,
            r#"{"kind":"7455","data":""}"#,
            r#"{"kind":"74455874","data":"zz"}"#,
        ] {
            assert!(serde_json::from_str::<Chunk>(wrong).is_err(), "{wrong}");
        }
    }
}
