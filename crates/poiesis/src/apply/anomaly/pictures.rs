//! The oddest images beside what the model expects, with a map of the differences.

use std::f64::consts::LN_2;

use serde::Serialize;

use super::Scorer;
use crate::abilities::{Autoregressive, ImageLikelihood, Likelihood};
use crate::data::{ImageShape, PixelEncoding};
use crate::media::nearest_level;
use crate::picture::{self, Picture, heat};

/// Images beside each other.
const COLUMNS: usize = 8;

/// What is shown below each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// What the decoder makes of its latents, and a map of the differences.
    Reconstruction,
    /// The bits that each pixel costs, given those before it.
    Bits,
    /// The nearest training image in the features of the model, and a map of the differences.
    Neighbour,
}

/// The oddest images in a picture.
#[derive(Clone, Debug)]
pub struct Anomalous {
    /// What is shown below each image.
    pub shown: Shown,
    /// The value of the brightest pixel of a map: the mean difference of its 3×3 neighbourhood in grey levels, or bits.
    pub brightest: f64,
    /// In blocks of up to eight images: a row of images, then a row for each thing that is shown below them. RGB.
    pub picture: Picture,
}

/// Draws images, 8-bit and concatenated, with what the model expects of each. `training` are the images that `scorer` was made with.
///
/// # Panics
///
/// When there are no images, or they are not whole.
pub fn draw(scorer: &Scorer<'_>, pixels: &[u8], training: &[u8]) -> Anomalous {
    let shape = scorer.shape();
    let dims = shape.dims();
    assert!(!pixels.is_empty() && pixels.len().is_multiple_of(dims), "{} bytes for images", pixels.len());
    let exact = scorer.abilities().likelihood.and_then(Likelihood::images);
    let autoregressive = scorer.abilities().autoregressive.filter(|_| exact.is_some());
    let (shown, expected, maps) = match (autoregressive, scorer.reconstruct(pixels)) {
        (Some(model), _) => {
            let encoding = exact.map_or(PixelEncoding::EightBit, ImageLikelihood::encoding);
            let maps = bits(model, &scorer.as_read(pixels, encoding), shape);
            (Shown::Bits, None, maps)
        }
        (None, made) => {
            let shown = if made.is_some() { Shown::Reconstruction } else { Shown::Neighbour };
            let expected: Vec<u8> = match made {
                Some(made) => {
                    made.iter().map(|x| ((x + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8).collect()
                }
                None => scorer
                    .near(pixels)
                    .iter()
                    .flat_map(|near| &training[near.index * dims..(near.index + 1) * dims])
                    .copied()
                    .collect(),
            };
            let images = pixels.chunks(dims).zip(expected.chunks(dims));
            let maps = images.map(|(image, expected)| differences(image, expected, shape)).collect();
            (shown, Some(expected), maps)
        }
    };
    let brightest = maps.iter().flatten().copied().filter(|x| x.is_finite()).fold(0.0, f64::max);
    let map = |values: &Vec<f64>| -> Vec<u8> {
        let strength = |value: &f64| (value / brightest.max(1e-9)).clamp(0.0, 1.0);
        values.iter().flat_map(|value| heat(strength(value))).collect()
    };
    let maps: Vec<Vec<u8>> = maps.iter().map(map).collect();
    let images = colored(pixels, shape);
    let expected = expected.map(|expected| colored(&expected, shape));
    let mut rows: Vec<Vec<&[u8]>> = Vec::new();
    for start in (0..images.len()).step_by(COLUMNS) {
        let end = images.len().min(start + COLUMNS);
        for images in [Some(&images), expected.as_ref(), Some(&maps)].into_iter().flatten() {
            rows.push(images[start..end].iter().map(Vec::as_slice).collect());
        }
    }
    Anomalous { shown, brightest, picture: picture::rows(&rows, shape.height, shape.width, 3) }
}

/// Images as RGB, transparent parts over black.
fn colored(pixels: &[u8], shape: ImageShape) -> Vec<Vec<u8>> {
    let rgb = |image: &[u8]| {
        let picture = Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
        picture.to_rgb([0; 3]).data().to_vec()
    };
    pixels.chunks(shape.dims()).map(rgb).collect()
}

/// The difference of two images at each pixel in grey levels, averaged over the channels and the 3×3 pixels around it.
fn differences(image: &[u8], expected: &[u8], shape: ImageShape) -> Vec<f64> {
    let ImageShape { height, width, channels } = shape;
    let at = |y: usize, x: usize| -> f64 {
        let start = (y * width + x) * channels;
        let pixel = start..start + channels;
        let pairs = image[pixel.clone()].iter().zip(&expected[pixel]);
        pairs.map(|(&a, &b)| f64::from(a.abs_diff(b))).sum::<f64>() / channels as f64
    };
    let around = |place: usize, end: usize| place.saturating_sub(1)..(place + 2).min(end);
    let smooth = |place: usize| {
        let (ys, xs) = (around(place / width, height), around(place % width, width));
        let count = ys.len() * xs.len();
        ys.flat_map(|y| xs.clone().map(move |x| (y, x))).map(|(y, x)| at(y, x)).sum::<f64>() / count as f64
    };
    (0..height * width).map(smooth).collect()
}

/// The bits of each pixel of images given those before it, summed over its channels.
fn bits(model: &dyn Autoregressive, pixels: &[u8], shape: ImageShape) -> Vec<Vec<f64>> {
    let levels = model.num_values();
    let of_image =
        |image: &[u8]| -> Vec<u32> { image.iter().map(|&byte| nearest_level(byte, levels)).collect() };
    let sequences: Vec<Vec<u32>> = pixels.chunks(shape.dims()).map(of_image).collect();
    let mut decoder = model.decoder(&vec![None; sequences.len()]);
    let mut found = vec![vec![0.0; shape.height * shape.width]; sequences.len()];
    for place in 0..shape.dims() {
        let values: Vec<u32> = sequences.iter().map(|sequence| sequence[place]).collect();
        let log_probs = decoder.log_probs();
        for (row, &value) in values.iter().enumerate() {
            found[row][place / shape.channels] -= f64::from(log_probs[row * levels + value as usize]) / LN_2;
        }
        decoder.append(&values);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_averaged_over_what_is_around() {
        let shape = ImageShape { height: 2, width: 3, channels: 1 };
        let found = differences(&[0, 0, 90, 0, 0, 0], &[0; 6], shape);
        assert_eq!(found, [0.0, 15.0, 22.5, 0.0, 15.0, 22.5]);
        let coloured = ImageShape { height: 1, width: 1, channels: 3 };
        assert_eq!(differences(&[10, 20, 30], &[13, 20, 0], coloured), [11.0]);
    }
}
