//! How the Fréchet distance in the features of a network reacts to what can be wrong with images: a network that does not notice
//! that kinds of images are missing measures nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FeatureNetwork, Features, Moments, frechet_distance};
use crate::data::ImageShape;
use crate::fitting::{Rows, k_means};
use crate::rng;

/// Deviation of the noise, in grey levels of 255: 0.05 of the range.
const NOISE: f32 = 12.75;
/// Reach of the blur, whose deviation is one pixel.
const REACH: isize = 3;
/// Kinds of images where there are no classes, and the side of the small images in which they are looked for.
const KINDS: usize = 10;
const SIDE: usize = 8;
/// How often each image comes where they are duplicates.
const COPIES: usize = 4;
/// Dropped kinds are noticed when the distance is this many times that of real images.
const NOTICED: f64 = 1.5;

/// Fréchet distances from real images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Images on each side.
    pub images: usize,
    /// Of other real images: the floor.
    pub floor: f64,
    /// Of those blurred by a Gaussian of one pixel.
    pub blur: f64,
    /// Of those with noise of 0.05 of the range of pixels.
    pub noise: f64,
    /// Of real images without the most frequent kinds.
    pub dropped: f64,
    /// How many kinds were dropped: of ten classes two.
    pub dropped_kinds: usize,
    /// Of a quarter of those images, each four times.
    pub duplicates: f64,
}

impl Sensitivity {
    /// Whether it is noticed that kinds of images are missing.
    pub fn notices_dropped(&self) -> bool {
        self.dropped > NOTICED * self.floor
    }

    /// Measures a network with disjoint sets of real images, concatenated: `real`, as many `others`, and `more`, of which those that
    /// are missing from `others` are taken. `labels` are of `others` and `more`; without them kinds are clusters of small pictures.
    pub(super) fn of(
        network: &dyn FeatureNetwork,
        shape: ImageShape,
        [real, others, more]: [&[u8]; 3],
        labels: Option<&[u32]>,
        seed: u64,
    ) -> Sensitivity {
        let dims = shape.dims();
        let moments = |images: &[u8]| {
            let features = Features::of(network, images, shape, &mut |_| ());
            Moments::of(&features.values, features.dims)
        };
        let real_moments = moments(real);
        let distance = |images: &[u8]| frechet_distance(&moments(images), &real_moments);
        let count = others.len() / dims;
        let all = [others, more].concat();
        let kinds: Vec<usize> = match labels {
            Some(labels) => labels.iter().map(|&label| label as usize).collect(),
            None => looks(&all, shape, seed),
        };
        let gone = frequent(&kinds);
        let kept = all.chunks_exact(dims).zip(&kinds).filter(|(_, kind)| !gone.contains(kind));
        let kept: Vec<u8> = kept.take(count).flat_map(|(image, _)| image).copied().collect();
        let blurred: Vec<u8> = others.chunks_exact(dims).flat_map(|image| blurred(image, shape)).collect();
        let draws = rng::normal(&mut rng::generator(seed, "sensitivity", 0), others.len());
        let noisy =
            |(&pixel, draw): (&u8, f32)| (f32::from(pixel) + NOISE * draw).round().clamp(0.0, 255.0) as u8;
        let noisy: Vec<u8> = others.iter().zip(draws).map(noisy).collect();
        let some = count.div_ceil(COPIES);
        let copies: Vec<u8> =
            (0..count).flat_map(|i| &others[i % some * dims..(i % some + 1) * dims]).copied().collect();
        Sensitivity {
            images: count,
            floor: distance(others),
            blur: distance(&blurred),
            noise: distance(&noisy),
            dropped: if kept.len() > dims { distance(&kept) } else { f64::MAX },
            dropped_kinds: gone.len(),
            duplicates: distance(&copies),
        }
    }
}

/// The most frequent kinds: one of two to seven, two of ten.
fn frequent(kinds: &[usize]) -> Vec<usize> {
    let mut counts = BTreeMap::<usize, usize>::new();
    kinds.iter().for_each(|kind| *counts.entry(*kind).or_default() += 1);
    let mut order: Vec<(usize, usize)> = counts.into_iter().collect();
    order.sort_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
    let gone = ((order.len() + 2) / 5).max(1).min(order.len().saturating_sub(1));
    order.into_iter().take(gone).map(|(kind, _)| kind).collect()
}

/// Kinds of images by how they look from afar.
fn looks(images: &[u8], shape: ImageShape, seed: u64) -> Vec<usize> {
    let small: Vec<f32> = images.chunks_exact(shape.dims()).flat_map(|image| small(image, shape)).collect();
    let small = Rows::new(small, SIDE * SIDE * shape.channels);
    k_means(&small, KINDS.min(small.len()), 3, seed).of_row
}

/// An image of 8×8 pixels, each the mean of a part of the image.
fn small(image: &[u8], shape: ImageShape) -> Vec<f32> {
    let ImageShape { height, width, channels } = shape;
    let part = |at: usize, length: usize| {
        let first = at * length / SIDE;
        first..((at + 1) * length / SIDE).max(first + 1).min(length).max(first + 1)
    };
    let mut values = Vec::with_capacity(SIDE * SIDE * channels);
    for (row, column, channel) in
        (0..SIDE * SIDE * channels).map(|i| (i / (SIDE * channels), i / channels % SIDE, i % channels))
    {
        let (rows, columns) = (part(row, height), part(column, width));
        let count = (rows.len() * columns.len()) as f32;
        let sum: f32 = rows
            .flat_map(|y| columns.clone().map(move |x| (y, x)))
            .map(|(y, x)| f32::from(image[(y * width + x) * channels + channel]))
            .sum();
        values.push(sum / count);
    }
    values
}

/// An image blurred by a Gaussian with a deviation of one pixel; its edge goes on beyond it.
fn blurred(image: &[u8], shape: ImageShape) -> Vec<u8> {
    let ImageShape { height, width, channels } = shape;
    let weight = |offset: isize| (-0.5 * (offset * offset) as f32).exp();
    let total: f32 = (-REACH..=REACH).map(weight).sum();
    let mut values: Vec<f32> = image.iter().map(|&pixel| f32::from(pixel)).collect();
    for along_rows in [true, false] {
        let before = values.clone();
        for (at, value) in values.iter_mut().enumerate() {
            let (y, x, c) = (at / (width * channels), at / channels % width, at % channels);
            let pixel = |offset: isize| {
                let inside =
                    |place: usize, length: usize| place.saturating_add_signed(offset).min(length - 1);
                let (y, x) = if along_rows { (y, inside(x, width)) } else { (inside(y, height), x) };
                weight(offset) * before[(y * width + x) * channels + c]
            };
            *value = (-REACH..=REACH).map(pixel).sum::<f32>() / total;
        }
    }
    values.into_iter().map(|value| value.round().clamp(0.0, 255.0) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_keeps_the_sum_and_spreads_a_point() {
        let shape = ImageShape { height: 9, width: 9, channels: 1 };
        let mut image = vec![0; 81];
        image[4 * 9 + 4] = 255;
        let found = blurred(&image, shape);
        // The density of a normal distribution of two dimensions at its centre and beside it.
        assert!((f64::from(found[40]) - 255.0 / std::f64::consts::TAU).abs() < 1.0, "{}", found[40]);
        assert!((f64::from(found[41]) / f64::from(found[40]) - (-0.5f64).exp()).abs() < 0.02);
        assert_eq!(blurred(&[7; 12], ImageShape { height: 2, width: 2, channels: 3 }), [7; 12]);
    }

    #[test]
    fn the_most_frequent_kinds_are_dropped_and_never_all() {
        assert_eq!(frequent(&[3, 1, 1, 2, 3, 3]), [3]);
        assert_eq!(frequent(&[0; 5]), [0; 0]);
        let ten: Vec<usize> = (0..10).chain([7, 4, 4]).collect();
        assert_eq!(frequent(&ten), [4, 7]);
    }

    /// Sees only how bright an image is.
    struct Brightness;

    impl FeatureNetwork for Brightness {
        fn name(&self) -> &str {
            "brightness"
        }

        fn dims(&self) -> usize {
            1
        }

        fn classes(&self) -> usize {
            0
        }

        fn batch_size(&self) -> usize {
            7
        }

        fn compute(&self, images: &[u8], shape: ImageShape) -> Features {
            let mean = |image: &[u8]| image.iter().map(|&x| f32::from(x)).sum::<f32>() / shape.dims() as f32;
            let values = images.chunks_exact(shape.dims()).map(mean).collect();
            Features { dims: 1, values, classes: 0, logits: Vec::new() }
        }
    }

    #[test]
    fn a_network_that_sees_brightness_notices_missing_bright_images() {
        let shape = ImageShape { height: 8, width: 8, channels: 1 };
        let image = |i: usize, kinds: [u8; 2]| {
            let noise = rng::uniform(&mut rng::generator(0, "test", i as u64), 64);
            noise.into_iter().map(move |u| kinds[usize::from(!i.is_multiple_of(3))] + (40.0 * u) as u8)
        };
        let set =
            |first: usize, kinds| (first..first + 300).flat_map(|i| image(i, kinds)).collect::<Vec<u8>>();
        let labels: Vec<u32> = (0..600_usize).map(|i| u32::from(!i.is_multiple_of(3))).collect();
        let measure = |kinds, labels: Option<&[u32]>| {
            let [a, b, c] = [0, 300, 600].map(|first| set(first, kinds));
            Sensitivity::of(&Brightness, shape, [&a, &b, &c], labels, 0)
        };
        let bright = measure([20, 180], Some(&labels));
        assert!(
            bright.notices_dropped() && bright.dropped_kinds == 1 && bright.dropped > 100.0,
            "{bright:?}"
        );
        assert!(bright.blur < 1.0 && bright.images == 300, "brightness does not change: {bright:?}");
        assert!(measure([20, 180], None).notices_dropped(), "without labels");
        // Kinds that are equally bright.
        assert!(measure([100, 100], Some(&labels)).dropped < 1.0);
        let of = |dropped| Sensitivity { floor: 2.0, dropped, ..Sensitivity::default() };
        assert!(of(3.1).notices_dropped() && !of(2.9).notices_dropped());
    }
}
