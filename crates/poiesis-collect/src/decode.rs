//! From the bytes of an image file to pixels: PNG, JPEG, WebP, BMP, GIF (the first frame) and TIFF, recognised by
//! their first bytes. 16-bit and floating-point channels are rounded to 8 bits; EXIF orientation is applied;
//! colour profiles are ignored.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::card::Reason;
use crate::caught::caught;
use crate::memory::{Memory, Share};
use crate::options::Limits;
use crate::prepare::Pixels;

/// The endings of file names that are taken for images.
const ENDINGS: [&str; 10] = ["png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "gif", "tif", "tiff"];

/// Whether a file name has the ending of an image.
pub(crate) fn is_image_name(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// Whether a file begins like an image of a format that is read. BMP, which two letters begin, is told by its name alone.
pub(crate) fn is_image(start: &[u8]) -> bool {
    use ImageFormat::{Gif, Jpeg, Png, Tiff, WebP};
    matches!(image::guess_format(start), Ok(Png | Jpeg | WebP | Gif | Tiff))
}

/// A decoded image with the memory that it, and all that is made of it, may take.
pub(crate) struct Decoded<'a> {
    pub(crate) pixels: Pixels,
    pub(crate) share: Share<'a>,
}

/// Decodes an image file. The error is a reason for the list of skipped files.
pub(crate) fn decode<'a>(bytes: &[u8], limits: &Limits, memory: &'a Memory) -> Result<Decoded<'a>, Reason> {
    // A malformed file on which the decoder panics must not stop the collection.
    caught(|| decode_any(bytes, limits, memory))
        .unwrap_or_else(|| Err("its decoder gave up on it".to_owned().into()))
}

fn decode_any<'a>(bytes: &[u8], limits: &Limits, memory: &'a Memory) -> Result<Decoded<'a>, Reason> {
    if bytes.is_empty() {
        return Err("the file is empty".to_owned().into());
    }
    let format = image::guess_format(bytes).map_err(|_| "it does not begin like an image".to_owned())?;
    let (image, share) = match format {
        ImageFormat::Jpeg => decode_jpeg(bytes, limits, memory)?,
        ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp | ImageFormat::Gif | ImageFormat::Tiff => {
            decode_other(bytes, format, limits, memory)?
        }
        other => return Err(format!("{other:?} images are not read").into()),
    };
    Ok(Decoded { pixels: to_pixels(image), share })
}

/// What the header of an image file says of the image, once it is decoded and turned upright.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// 1 to 4, as those of [`Pixels`].
    pub(crate) channels: u8,
}

/// Reads the header from the beginning of an image file, or from all of it; `None` where there is no whole header, or the image is
/// larger than what is read.
pub(crate) fn header(start: &[u8], limits: &Limits) -> Option<Header> {
    let header = caught(|| header_of(start)).flatten()?;
    check_size(header.width, header.height, limits).ok().map(|()| header)
}

fn header_of(start: &[u8]) -> Option<Header> {
    let (width, height, channels, orientation) = match image::guess_format(start).ok()? {
        ImageFormat::Jpeg => {
            let mut decoder = JpegDecoder::new_with_options(ZCursor::new(start), lenient());
            decoder.decode_headers().ok()?;
            let (info, grey) = (decoder.info()?, decoder.input_colorspace() == Some(ColorSpace::Luma));
            let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
            (u32::from(info.width), u32::from(info.height), if grey { 1 } else { 3 }, orientation)
        }
        format => {
            let mut decoder = ImageReader::with_format(Cursor::new(start), format).into_decoder().ok()?;
            let (width, height) = decoder.dimensions();
            (width, height, channels_of(decoder.color_type()), decoder.orientation().ok())
        }
    };
    let (width, height) = match orientation {
        Some(
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH,
        ) => (height, width),
        _ => (width, height),
    };
    Some(Header { width, height, channels })
}

/// The channels that [`to_pixels`] makes of a kind of pixels.
fn channels_of(color: ColorType) -> u8 {
    match color {
        ColorType::L8 | ColorType::L16 => 1,
        ColorType::La8 | ColorType::La16 => 2,
        other if other.has_alpha() => 4,
        _ => 3,
    }
}

/// Options with which odd headers are harmless.
fn lenient() -> DecoderOptions {
    DecoderOptions::default()
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .set_strict_mode(false)
        .jpeg_set_out_colorspace(ColorSpace::RGB)
}

/// Bytes that decoding an image takes, and preparing it for the data set: its pixels, once more where it is turned, a copy with
/// four channels, and what the decoder needs for itself.
fn need(pixels: u64, decoded: u64, orientation: Orientation, decoder: u64) -> u64 {
    let turned = if orientation == Orientation::NoTransforms { 0 } else { decoded };
    let all = [decoded, turned, pixels.saturating_mul(4), decoder, 1 << 20];
    all.into_iter().fold(0, u64::saturating_add)
}

/// JPEG goes to its decoder directly: one reading of the headers instead of three, and a file that ends early is
/// refused instead of being filled up with grey.
fn decode_jpeg<'a>(
    bytes: &[u8],
    limits: &Limits,
    memory: &'a Memory,
) -> Result<(DynamicImage, Share<'a>), Reason> {
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), lenient());
    decoder.decode_headers().map_err(|e| jpeg_reason(&e))?;
    let info = decoder.info().ok_or("it has no header")?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(width, height, limits)?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let colours = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    // Odd headers are harmless; missing or broken pixels are not.
    decoder.set_options(lenient().set_strict_mode(true).jpeg_set_out_colorspace(colours));
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let size = u64::from(width) * u64::from(height);
    // The coefficients of a progressive file are kept, two bytes each, until all of it has been read.
    let kept = if info.sof.is_sequential_dct() { 0 } else { 2 * size * u64::from(info.components) };
    let share = memory.decoding.take(need(size, size * if grey { 1 } else { 3 }, orientation, kept))?;
    let pixels = decoder.decode().map_err(|e| jpeg_reason(&e))?;
    let image = match grey {
        true => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let mut image = image.ok_or("its decoder returned too few pixels")?;
    image.apply_orientation(orientation);
    Ok((image, share))
}

fn jpeg_reason(error: &DecodeErrors) -> String {
    match error {
        // All bytes are in memory: the only failure of reading them is their end.
        DecodeErrors::IoErrors(_)
        | DecodeErrors::ExhaustedData
        | DecodeErrors::FormatStatic("Premature end of buffer") => "the file ends early".to_owned(),
        other => format!("{other:?}").trim().to_owned(),
    }
}

fn decode_other<'a>(
    bytes: &[u8],
    format: ImageFormat,
    limits: &Limits,
    memory: &'a Memory,
) -> Result<(DynamicImage, Share<'a>), Reason> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut allowed = image::Limits::default();
    allowed.max_image_width = Some(limits.length);
    allowed.max_image_height = Some(limits.length);
    // Eight bytes a pixel are RGBA of 16 bits; decoders need a little more for themselves.
    allowed.max_alloc = Some(limits.pixels.saturating_mul(8).saturating_add(16 << 20));
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(|e| reason(&e))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, limits)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (size, decoded) = (u64::from(width) * u64::from(height), decoder.total_bytes());
    let own = match format {
        // Planes of colour, or the frame before it is put on its canvas.
        ImageFormat::WebP | ImageFormat::Gif => 4 * size,
        // A strip may be the whole image.
        ImageFormat::Tiff => decoded,
        _ => 0,
    };
    let share = memory.decoding.take(need(size, decoded, orientation, own))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| reason(&e))?;
    image.apply_orientation(orientation);
    Ok((image, share))
}

fn reason(error: &image::ImageError) -> String {
    match error {
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file ends early".to_owned()
        }
        other => other.to_string(),
    }
}

fn check_size(width: u32, height: u32, limits: &Limits) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("it is {width}x{height}, without a pixel"));
    }
    if width.max(height) > limits.length || u64::from(width) * u64::from(height) > limits.pixels {
        let Limits { length, pixels, .. } = limits;
        return Err(format!(
            "it is {width}x{height}, above the limit of {length} in height or width and of {pixels} pixels"
        ));
    }
    Ok(())
}

/// Any kind of decoded image as 8-bit pixels.
fn to_pixels(image: DynamicImage) -> Pixels {
    let (width, height) = (image.width(), image.height());
    let (channels, bytes) = match image {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageRgba8(image) => (4, image.into_raw()),
        DynamicImage::ImageLuma16(image) => (1, rounded(&image)),
        DynamicImage::ImageLumaA16(image) => (2, rounded(&image)),
        DynamicImage::ImageRgb16(image) => (3, rounded(&image)),
        DynamicImage::ImageRgba16(image) => (4, rounded(&image)),
        other if other.color().has_alpha() => (4, other.into_rgba8().into_raw()),
        other => (3, other.into_rgb8().into_raw()),
    };
    Pixels { width, height, channels, bytes }
}

/// 16-bit values to the nearest of 8 bits.
fn rounded(values: &[u16]) -> Vec<u8> {
    values.iter().map(|&v| ((u32::from(v) * 255 + 32_767) / 65_535) as u8).collect()
}
