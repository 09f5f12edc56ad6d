//! Takes noise out of images by what a model has learned: a first form, which was not trained for it.
//!
//! A model that encodes and decodes gives a reconstruction r from the mean latents of the noisy image y. It lacks what latents do not keep,
//! so each pixel becomes w y + (1 − w) r, with the weight w that is best (in mean square error) for training images to which the same noise
//! was added. A model with exact conditionals goes through the pixels in order: the probabilities that it gives to the next value, given
//! what it took the ones before it for, are multiplied by the likelihood of the noisy value, and their mean is taken. It does not see the
//! pixels that come later.

use burn::tensor::Device;

use super::anomaly::{autoencoder, flat};
use crate::abilities::{Ability, Autoregressive, Encoder, Latents};
use crate::data::ImageShape;
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::media::byte_of;
use crate::rng;
use crate::trained::Trained;

/// Images in a batch.
const BATCH: usize = 50;
/// Training images that the weights are fitted to, at most.
pub const FITTED: usize = 1000;
/// The weight of a pixel is drawn to the one of all pixels as if by so many images.
const SHRINKAGE: f64 = 20.0;

/// Takes noise out of images of one model.
pub struct Denoiser<'a> {
    way: Way<'a>,
    shape: ImageShape,
    device: &'a Device,
    sigma: f64,
    class: Option<u32>,
}

enum Way<'a> {
    Latents { encoder: &'a dyn Encoder, latents: &'a dyn Latents, weights: Vec<f64> },
    Values(&'a dyn Autoregressive),
}

impl<'a> Denoiser<'a> {
    /// Prepares for normal noise of deviation `sigma`, as a part of the full range of a pixel. `training` gives training images, 8-bit and
    /// concatenated, where they are needed: a model that encodes gets its weights from them, with noise of `seed`. `class` is that of the
    /// images, for a model that is conditioned on classes.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] for a model that neither encodes and decodes nor is autoregressive; [`Error::InvalidValue`] for an
    /// invertible one, for a deviation that is not above 0 and at most 1, and for an autoregressive model of classes without a class; the
    /// errors of `training`.
    pub fn new(
        trained: &'a Trained,
        sigma: f64,
        class: Option<u32>,
        training: impl FnOnce() -> Result<Vec<u8>>,
        seed: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Denoiser<'a>> {
        if !(sigma > 0.0 && sigma <= 1.0) {
            let reason = "it is a part of the full range of a pixel";
            return Err(Error::invalid_value("noise", &sigma.to_string(), reason, "give 0.01 to 1"));
        }
        let (abilities, shape) = (trained.abilities(), trained.spec.images()?);
        let (name, device) = (trained.entry.name(), &trained.device);
        if let Some(model) = abilities.autoregressive {
            if model.num_classes() > 0 && class.is_none() {
                let reason = format!("{name} is conditioned on classes here");
                return Err(Error::invalid_value("class", "none", &reason, "give that of the images"));
            }
            return Ok(Denoiser { way: Way::Values(model), shape, device, sigma, class });
        }
        let Some((encoder, latents)) = autoencoder(&abilities, shape) else {
            if abilities.encoder.is_some() && abilities.latents.is_some() {
                let reason = "it is invertible, so it reconstructs the noise too";
                let remedy = "give a run of an autoregressive model, or of one with few latents";
                return Err(Error::invalid_value("model", name, reason, remedy));
            }
            return Err(trained.cannot(Ability::Encode));
        };
        let way = Way::Latents { encoder, latents, weights: Vec::new() };
        let mut denoiser = Denoiser { way, shape, device, sigma, class };
        let weights = denoiser.fitted_weights(&training()?, seed, progress);
        if let Way::Latents { weights: kept, .. } = &mut denoiser.way {
            *kept = weights;
        }
        Ok(denoiser)
    }

    /// How it is done, in a few words.
    pub fn method(&self) -> &'static str {
        match self.way {
            Way::Latents { .. } => "reconstruction from the mean latents, mixed with the noisy image",
            Way::Values(_) => "pixel by pixel, given those before it",
        }
    }

    /// The mean weight of the noisy image, where it is mixed with a reconstruction.
    pub fn weight(&self) -> Option<f64> {
        match &self.way {
            Way::Latents { weights, .. } => Some(weights.iter().sum::<f64>() / weights.len() as f64),
            Way::Values(_) => None,
        }
    }

    /// Noisy images without their noise; both 8-bit, concatenated.
    ///
    /// # Panics
    ///
    /// When the pixels do not make whole images.
    pub fn denoise(&self, noisy: &[u8], progress: &mut dyn FnMut(Progress)) -> Vec<u8> {
        let dims = self.shape.dims();
        assert!(noisy.len().is_multiple_of(dims), "{} bytes for images of {dims}", noisy.len());
        let total = Some((noisy.len() / dims) as u64);
        let mut clean = Vec::with_capacity(noisy.len());
        for batch in noisy.chunks(BATCH * dims) {
            match &self.way {
                Way::Latents { encoder, latents, weights } => {
                    let made = self.reconstruct(*encoder, *latents, batch);
                    let values = batch.iter().zip(made).zip(weights.iter().cycle());
                    clean.extend(values.map(|((&y, r), w)| to_byte(w * f64::from(y) + (1.0 - w) * r)));
                }
                Way::Values(model) => clean.extend(self.value_by_value(*model, batch)),
            }
            progress(Progress {
                what: "denoising",
                unit: "images",
                done: (clean.len() / dims) as u64,
                total,
            });
        }
        clean
    }

    /// Reconstructions in grey levels of 0 to 255.
    fn reconstruct(&self, encoder: &dyn Encoder, latents: &dyn Latents, pixels: &[u8]) -> Vec<f64> {
        let x = flat(pixels, self.shape, self.device);
        let classes = vec![self.class; x.dims()[0]];
        let made = latents.decode(encoder.encode(x, &classes), &classes);
        made.into_data().iter::<f64>().map(|x| ((x + 1.0) * 127.5).clamp(0.0, 255.0)).collect()
    }

    /// The weight of the noisy value at each place: the least squares of x − w y − (1 − w) r over training images x, within [0, 1].
    fn fitted_weights(&self, training: &[u8], seed: u64, progress: &mut dyn FnMut(Progress)) -> Vec<f64> {
        let Way::Latents { encoder, latents, .. } = &self.way else { return Vec::new() };
        let dims = self.shape.dims();
        let (mut both, mut own) = (vec![0.0; dims], vec![0.0; dims]);
        let total = Some((training.len() / dims) as u64);
        let mut done = 0;
        for batch in training.chunks(BATCH * dims) {
            let noisy = add_noise(batch, self.shape, self.sigma, seed, done);
            let made = self.reconstruct(*encoder, *latents, &noisy);
            for (place, ((&x, &y), r)) in batch.iter().zip(&noisy).zip(made).enumerate() {
                let (of_x, of_y) = (f64::from(x) - r, f64::from(y) - r);
                both[place % dims] += of_x * of_y;
                own[place % dims] += of_y * of_y;
            }
            done += (batch.len() / dims) as u64;
            progress(Progress { what: "fitting to training images", unit: "images", done, total });
        }
        let mean = |sums: &[f64]| sums.iter().sum::<f64>() / dims as f64 / (done as f64).max(1.0);
        let (both_of_all, own_of_all) = (SHRINKAGE * mean(&both), SHRINKAGE * mean(&own));
        let weight = |(both, own): (&f64, &f64)| {
            ((both + both_of_all) / (own + own_of_all).max(1e-12)).clamp(0.0, 1.0)
        };
        both.iter().zip(&own).map(weight).collect()
    }

    /// The mean of each value given its noisy one and what those before it were taken for: the likeliest.
    fn value_by_value(&self, model: &dyn Autoregressive, noisy: &[u8]) -> Vec<u8> {
        let (dims, levels) = (self.shape.dims(), model.num_values());
        let rows = noisy.len() / dims;
        let bytes: Vec<f64> = (0..levels).map(|level| f64::from(byte_of(level as u32, levels))).collect();
        let mut decoder = model.decoder(&vec![self.class; rows]);
        let mut clean = vec![0; noisy.len()];
        for place in 0..dims {
            let log_probs = decoder.log_probs();
            let mut taken = Vec::with_capacity(rows);
            for row in 0..rows {
                let seen = f64::from(noisy[row * dims + place]);
                let log_prior = &log_probs[row * levels..(row + 1) * levels];
                let (mean, likeliest) = posterior(log_prior, &bytes, seen, 255.0 * self.sigma);
                clean[row * dims + place] = to_byte(mean);
                taken.push(likeliest as u32);
            }
            decoder.append(&taken);
        }
        clean
    }
}

/// The mean and the likeliest level of a value that was seen with normal noise; `log_prior` are the log_probs of `levels`.
fn posterior(log_prior: &[f32], levels: &[f64], seen: f64, sigma: f64) -> (f64, usize) {
    let log_probs: Vec<f64> = log_prior
        .iter()
        .zip(levels)
        .map(|(&prior, level)| f64::from(prior) - 0.5 * ((seen - level) / sigma).powi(2))
        .collect();
    let likeliest = crate::evaluate::likeliest(&log_probs);
    let (mut sum, mut mean) = (0.0, 0.0);
    for (log_prob, level) in log_probs.iter().zip(levels) {
        let weight = (log_prob - log_probs[likeliest]).exp();
        sum += weight;
        mean += weight * level;
    }
    (mean / sum, likeliest)
}

fn to_byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Images with normal noise of deviation `sigma`, as a part of the full range, rounded and cut off as files are. The noise of image *i* depends
/// on the seed and on `first` + *i* alone. 8-bit, concatenated.
pub fn add_noise(pixels: &[u8], shape: ImageShape, sigma: f64, seed: u64, first: u64) -> Vec<u8> {
    let noisy = |(i, image): (usize, &[u8])| {
        let noise = rng::normal(&mut rng::generator(seed, "noise", first + i as u64), image.len());
        let value =
            |(&pixel, noise): (&u8, f32)| to_byte(f64::from(pixel) + 255.0 * sigma * f64::from(noise));
        image.iter().zip(noise).map(value).collect::<Vec<u8>>()
    };
    pixels.chunks(shape.dims()).enumerate().flat_map(noisy).collect()
}

/// An image whose values are the medians of the 3×3 around them, in each channel; fewer at the edges, where the lower of two middle values is
/// taken. The baseline for denoising.
pub fn median(image: &[u8], shape: ImageShape) -> Vec<u8> {
    let ImageShape { height, width, channels } = shape;
    let around = |place: usize, end: usize| place.saturating_sub(1)..(place + 2).min(end);
    let value = |place: usize| {
        let (pixel, channel) = (place / channels, place % channels);
        let (ys, xs) = (around(pixel / width, height), around(pixel % width, width));
        let mut near: Vec<u8> = ys
            .flat_map(|y| xs.clone().map(move |x| (y * width + x) * channels + channel))
            .map(|place| image[place])
            .collect();
        near.sort_unstable();
        near[(near.len() - 1) / 2]
    };
    (0..shape.dims()).map(value).collect()
}

/// Peak signal-to-noise ratio of an image in decibels: 10 log₁₀(255² / mean square error); infinite for equal images.
///
/// # Panics
///
/// When they have different numbers of values, or none.
pub fn psnr(image: &[u8], clean: &[u8]) -> f64 {
    assert!(!image.is_empty() && image.len() == clean.len(), "{} and {} values", image.len(), clean.len());
    let squares: f64 = image.iter().zip(clean).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * image.len() as f64 / squares).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { height: 3, width: 3, channels: 1 };

    #[test]
    fn a_pixel_is_drawn_to_what_is_likely() {
        // Two levels with odds of 4 to 1 for the dark one: seen half-way, the mean is 0.2 of the way.
        let prior = [0.8_f32.ln(), 0.2_f32.ln()];
        let (mean, likeliest) = posterior(&prior, &[0.0, 255.0], 127.5, 50.0);
        assert!((mean - 51.0).abs() < 1e-3 && likeliest == 0, "{mean}");
        // A value that is seen clearly counts more than the prior.
        let (mean, likeliest) = posterior(&prior, &[0.0, 255.0], 250.0, 30.0);
        assert!(mean > 254.0 && likeliest == 1, "{mean}");
        // Normal prior and noise of the same deviation meet in the middle.
        let levels: Vec<f64> = (0..256).map(f64::from).collect();
        let normal: Vec<f32> =
            levels.iter().map(|x| (-0.5 * ((x - 100.0) / 20.0_f64).powi(2)) as f32).collect();
        assert!((posterior(&normal, &levels, 140.0, 20.0).0 - 120.0).abs() < 0.01);
    }

    #[test]
    fn single_bad_pixels_are_no_medians() {
        let mut image = vec![10; 9];
        image[4] = 255;
        assert_eq!(median(&image, SHAPE), vec![10; 9]);
        let ramp: Vec<u8> = (0..9).collect();
        assert_eq!(median(&ramp, SHAPE)[4], 4);
        assert_eq!(median(&ramp, SHAPE)[0], 1);
        let two = ImageShape { channels: 3, width: 1, ..SHAPE };
        assert_eq!(median(&ramp, two)[3..6], [3, 4, 5]);
    }

    #[test]
    fn decibels_are_those_of_the_definition() {
        assert!((psnr(&[0, 255], &[0, 0]) - 10.0 * 2.0_f64.log10()).abs() < 1e-12);
        assert_eq!(psnr(&[7], &[7]), f64::INFINITY);
    }

    #[test]
    fn noise_has_its_deviation_and_depends_on_the_number_of_the_image() {
        let shape = ImageShape { height: 100, width: 100, channels: 1 };
        let grey = vec![128; 20_000];
        let noisy = add_noise(&grey, shape, 0.1, 3, 0);
        let deviation = (noisy.iter().map(|&x| (f64::from(x) - 128.0).powi(2)).sum::<f64>() / 2e4).sqrt();
        assert!((deviation / 25.5 - 1.0).abs() < 0.03, "{deviation}");
        assert_eq!(add_noise(&grey[..10_000], shape, 0.1, 3, 1), noisy[10_000..]);
        assert_ne!(noisy[..10_000], noisy[10_000..]);
    }
}
