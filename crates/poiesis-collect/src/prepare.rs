//! One image at a time: from decoded pixels to the size and channels of the data set.

use std::cell::RefCell;

use fast_image_resize::images::TypedImage;
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use crate::options::Crop;

/// A decoded image: 8 bits a channel, row by row, channels last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha (not premultiplied).
    pub(crate) channels: u8,
    pub(crate) bytes: Vec<u8>,
}

/// What every image of the data set becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: u8,
    pub(crate) crop: Crop,
    pub(crate) background: [u8; 3],
}

impl Target {
    /// The shape of a prepared image, `[height, width, channels]`.
    pub(crate) fn shape(&self) -> Vec<usize> {
        vec![self.height as usize, self.width as usize, self.channels as usize]
    }
}

/// The name of the filter that resizes: the cubic of Catmull and Rom, widened when an image shrinks. Its overshoot at
/// hard edges is small, and it is the "bicubic" that measures of image quality are usually computed with.
pub(crate) const FILTER: &str = "catmull-rom";

/// Brings an image to the target: transparent pixels over the background (unless alpha is kept), cropped, resized
/// with the antialiasing filter [`FILTER`], then converted to the wanted channels.
pub(crate) fn prepare(mut image: Pixels, target: &Target) -> Vec<u8> {
    if target.channels == 4 {
        image = with_alpha(image);
    } else if matches!(image.channels, 2 | 4) {
        // Blending with a constant colour and resizing commute, and three channels are cheaper than four.
        image = over_background(&image, target.background);
    }
    if (image.width, image.height) != (target.width, target.height) {
        image = resize(image, target);
    }
    match (image.channels, target.channels) {
        (1, 3) => image.bytes.iter().flat_map(|&v| [v; 3]).collect(),
        (3, 1) => image.bytes.chunks_exact(3).map(|p| luma(p[0], p[1], p[2])).collect(),
        _ => image.bytes,
    }
}

/// Brightness of a colour by ITU-R BT.601, as in JPEG.
pub(crate) fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) + 500) / 1000) as u8
}

fn with_alpha(image: Pixels) -> Pixels {
    let bytes = match image.channels {
        1 => image.bytes.iter().flat_map(|&v| [v, v, v, 255]).collect(),
        2 => image.bytes.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect(),
        3 => image.bytes.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 255]).collect(),
        _ => image.bytes,
    };
    Pixels { channels: 4, bytes, ..image }
}

/// Removes the alpha channel. Grey over a grey background stays grey.
pub(crate) fn over_background(image: &Pixels, background: [u8; 3]) -> Pixels {
    let [r, g, b] = background;
    let (channels, bytes) = match image.channels {
        2 if r == g && g == b => (1, image.bytes.chunks_exact(2).map(|p| mix(p[0], r, p[1])).collect()),
        2 => {
            let pixels = image.bytes.chunks_exact(2);
            (3, pixels.flat_map(|p| [mix(p[0], r, p[1]), mix(p[0], g, p[1]), mix(p[0], b, p[1])]).collect())
        }
        _ => {
            let mut bytes = vec![0; image.bytes.len() / 4 * 3];
            for (out, p) in bytes.chunks_exact_mut(3).zip(image.bytes.chunks_exact(4)) {
                // Most pixels are wholly opaque or wholly transparent.
                match p[3] {
                    255 => out.copy_from_slice(&p[..3]),
                    0 => out.copy_from_slice(&background),
                    a => out.copy_from_slice(&[mix(p[0], r, a), mix(p[1], g, a), mix(p[2], b, a)]),
                }
            }
            (3, bytes)
        }
    };
    Pixels { width: image.width, height: image.height, channels, bytes }
}

/// `alpha` of `front` over `back`, rounded to nearest.
fn mix(front: u8, back: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(front) * alpha + u32::from(back) * (255 - alpha) + 128;
    // Division by 255 without a division, exact for sums of two products of bytes.
    ((sum + (sum >> 8)) >> 8) as u8
}

fn resize(image: Pixels, target: &Target) -> Pixels {
    let (width, height, channels) = (target.width, target.height, image.channels);
    let bytes = match image.channels {
        1 => resize_as::<U8>(image, target),
        3 => resize_as::<U8x3>(image, target),
        _ => resize_as::<U8x4>(image, target),
    };
    Pixels { width, height, channels, bytes }
}

/// Resizes an image of one kind of pixels. Naming the kind here spares the compiler those of 16 and 32 bits, which would be
/// most of what is compiled for this crate.
///
/// For the same reason, both images are of one type, though the first is only read.
fn resize_as<P: PixelTrait>(mut image: Pixels, target: &Target) -> Vec<u8> {
    thread_local! {
        // A resizer keeps its buffers, so each thread has one for all of its images.
        static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
    }
    let mut options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
        .use_alpha(image.channels == 4);
    if target.crop == Crop::Center {
        options = options.fit_into_destination(None);
    }
    let mut bytes = vec![0; target.width as usize * target.height as usize * usize::from(image.channels)];
    let source = TypedImage::<P>::from_buffer(image.width, image.height, &mut image.bytes);
    let source = source.expect("the pixels of an image fill its width and height");
    let resized = TypedImage::<P>::from_buffer(target.width, target.height, &mut bytes);
    let mut resized = resized.expect("the pixels of an image fill its width and height");
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize_typed(&source, &mut resized, &options))
        .expect("the part to resize lies within the image");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixing_is_exact_for_all_bytes() {
        for front in 0..=255_u8 {
            for alpha in 0..=255_u8 {
                for back in [0, 1, 77, 128, 254, 255] {
                    let exact =
                        f64::from(front) * f64::from(alpha) + f64::from(back) * f64::from(255 - alpha);
                    assert_eq!(mix(front, back, alpha), (exact / 255.0).round() as u8);
                }
            }
        }
    }
}
