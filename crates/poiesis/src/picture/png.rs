//! PNG files, with an `iTXt` chunk called "poiesis" that has the parameters of the picture as JSON.

use std::io::{Cursor, Write};
use std::path::Path;

use png::chunk::ChunkType;
use poiesis_collect::regular;
use serde_json::Value;

use super::Picture;
use crate::atomic::AtomicFile;
use crate::error::{Error, Result};

/// A chunk of a PNG file: its type, whether it comes after the pixels, and its content.
pub(crate) type PngChunk<'a> = ([u8; 4], bool, &'a [u8]);

impl Picture {
    /// Writes the picture as a PNG file atomically. The same pixels and parameters give the same bytes.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Picture`]; what was at `path` before is then untouched.
    pub fn write_png(&self, path: &Path, parameters: Option<&Value>) -> Result<()> {
        let bytes = self.to_png(parameters)?;
        let mut file = AtomicFile::create(path)?;
        file.write_all(&bytes).map_err(Error::io("write", path))?;
        file.commit()
    }

    /// Returns the picture as the bytes of a PNG file.
    ///
    /// # Errors
    /// [`Error::Picture`] when a side is beyond what the format allows.
    pub fn to_png(&self, parameters: Option<&Value>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.encode_png(&mut bytes, parameters, &[])
            .map_err(|error| unusable("write", Path::new("PNG"), &error))?;
        Ok(bytes)
    }

    /// Returns the picture as the bytes of a PNG file with more chunks.
    ///
    /// # Errors
    /// [`Error::Picture`] when a side is beyond what the format allows.
    pub(crate) fn to_png_with(&self, chunks: &[PngChunk<'_>]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.encode_png(&mut bytes, None, chunks)
            .map_err(|error| unusable("write", Path::new("PNG"), &error))?;
        Ok(bytes)
    }

    /// Reads a PNG file and the parameters it was made with, if Poiesis made it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Picture`] when it is not a PNG, is damaged or too large to be one of ours.
    pub fn read_png(path: &Path) -> Result<(Self, Option<Value>)> {
        let bytes = regular::read(path).map_err(Error::io("read", path))?;
        Self::from_png(&bytes, path)
    }

    /// Reads the bytes of a PNG file; `path` is for messages. Palettes are expanded, 16 bits are reduced to 8, and grey with
    /// alpha becomes RGBA.
    ///
    /// # Errors
    /// As for [`Picture::read_png`].
    pub fn from_png(bytes: &[u8], path: &Path) -> Result<(Self, Option<Value>)> {
        let fail = |error: png::DecodingError| unusable("read", path, &error);
        let mut decoder =
            png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: MEMORY_LIMIT });
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(fail)?;
        let size = reader.output_buffer_size().filter(|&size| size <= MEMORY_LIMIT);
        let size = size.ok_or_else(|| unusable("read", path, &"it is too large"))?;
        let mut data = vec![0; size];
        let frame = reader.next_frame(&mut data).map_err(fail)?;
        data.truncate(frame.buffer_size());
        reader.finish().map_err(fail)?;
        let parameters = parameters_in(reader.info());
        let (width, height) = (frame.width as usize, frame.height as usize);
        let (channels, data) = match frame.color_type {
            png::ColorType::Grayscale => (1, data),
            png::ColorType::Rgb => (3, data),
            png::ColorType::Rgba => (4, data),
            png::ColorType::GrayscaleAlpha => {
                let rgba = data.chunks_exact(2).flat_map(|pixel| [pixel[0], pixel[0], pixel[0], pixel[1]]);
                (4, rgba.collect())
            }
            png::ColorType::Indexed => return Err(unusable("read", path, &"its palette was not resolved")),
        };
        Ok((Self::new(width, height, channels, data), parameters))
    }

    fn encode_png(
        &self,
        out: &mut Vec<u8>,
        parameters: Option<&Value>,
        chunks: &[PngChunk<'_>],
    ) -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(out, side(self.width), side(self.height));
        encoder.set_color(color_type(self.channels));
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Balanced);
        if let Some(parameters) = parameters {
            encoder.add_itxt_chunk(KEYWORD.to_owned(), parameters.to_string())?;
        }
        let mut writer = encoder.write_header()?;
        for (kind, _, data) in chunks.iter().filter(|(_, after, _)| !after) {
            writer.write_chunk(ChunkType(*kind), data)?;
        }
        writer.write_image_data(&self.data)?;
        for (kind, _, data) in chunks.iter().filter(|(_, after, _)| *after) {
            writer.write_chunk(ChunkType(*kind), data)?;
        }
        writer.finish()
    }
}

const KEYWORD: &str = "poiesis";

/// Far more than any grid needs, but small enough that a malicious header cannot exhaust the memory.
const MEMORY_LIMIT: usize = 1 << 30;

pub(super) fn color_type(channels: usize) -> png::ColorType {
    match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    }
}

/// A side as the format stores it; one out of range becomes 0, which the encoder rejects.
pub(super) fn side(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(0)
}

pub(super) fn unusable(doing: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Picture { path: path.to_owned(), doing, reason: reason.to_string() }
}

/// The parameters in any of the three kinds of text chunk, since other programs may convert one into another.
fn parameters_in(info: &png::Info<'_>) -> Option<Value> {
    let utf8 = info
        .utf8_text
        .iter()
        .filter(|chunk| chunk.keyword == KEYWORD)
        .find_map(|chunk| chunk.get_text().ok());
    let latin1 =
        || info.uncompressed_latin1_text.iter().find(|c| c.keyword == KEYWORD).map(|c| c.text.clone());
    let compressed = || {
        let mut chunks = info.compressed_latin1_text.iter().filter(|chunk| chunk.keyword == KEYWORD);
        chunks.find_map(|chunk| chunk.get_text().ok())
    };
    serde_json::from_str(&utf8.or_else(latin1).or_else(compressed)?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::json;

    fn noise(width: usize, height: usize, channels: usize) -> Picture {
        let data = (0..width * height * channels).map(|i| (i * i * 31 % 251) as u8).collect();
        Picture::new(width, height, channels, data)
    }

    #[test]
    fn pixels_and_parameters_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/grid.png");
        let parameters =
            json!({ "run": "runs/jeux d’été", "step": 1000, "seed": u64::MAX, "model": "dcgan" });
        for channels in [1, 3, 4] {
            let picture = noise(17, 5, channels);
            picture.write_png(&path, Some(&parameters)).unwrap();
            assert_eq!(Picture::read_png(&path).unwrap(), (picture.clone(), Some(parameters.clone())));
            picture.write_png(&path, None).unwrap();
            assert_eq!(Picture::read_png(&path).unwrap(), (picture, None));
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(noise(9, 9, 3).to_png(None).unwrap(), noise(9, 9, 3).to_png(None).unwrap());
    }

    #[test]
    fn pictures_of_other_programs_are_read() {
        let encode = |color, depth, data: &[u8], palette: Option<&[u8]>| {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
            encoder.set_color(color);
            encoder.set_depth(depth);
            if let Some(palette) = palette {
                encoder.set_palette(palette);
            }
            encoder.add_text_chunk("poiesis".into(), r#"{"seed":1}"#.into()).unwrap();
            let mut writer = encoder.write_header().unwrap();
            writer.write_image_data(data).unwrap();
            writer.finish().unwrap();
            Picture::from_png(&bytes, Path::new("other.png")).unwrap()
        };
        use png::{BitDepth, ColorType};
        let (deep, parameters) = encode(ColorType::Grayscale, BitDepth::Sixteen, &[10, 99, 20, 0], None);
        assert_eq!((deep.channels(), deep.data()), (1, [10, 20].as_slice()));
        assert_eq!(parameters, Some(json!({ "seed": 1 })));
        let (alpha, _) = encode(ColorType::GrayscaleAlpha, BitDepth::Eight, &[10, 255, 20, 0], None);
        assert_eq!(alpha.data(), [10, 10, 10, 255, 20, 20, 20, 0]);
        let palette = [0, 0, 0, 1, 2, 3];
        let (indexed, _) = encode(ColorType::Indexed, BitDepth::Eight, &[1, 0], Some(&palette));
        assert_eq!((indexed.channels(), indexed.data()), (3, [1, 2, 3, 0, 0, 0].as_slice()));
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let whole = noise(64, 64, 3).to_png(None).unwrap();
        for bytes in [b"".as_slice(), b"GIF89a", &whole[..20], &whole[..whole.len() / 2]] {
            fs::write(&path, bytes).unwrap();
            let message = Picture::read_png(&path).unwrap_err().to_string();
            assert!(message.contains("a.png"), "{message}");
        }
        assert!(matches!(Picture::read_png(&folder.path().join("b.png")), Err(Error::Io { .. })));
    }
}
