//! Coding of images by a model with latents: bits-back with asymmetric numeral systems (Townsend, Bird and Barber 2019, arXiv:1901.04866).
//!
//! Images are pushed to one stack (`stack`). For each, latents z are popped under the posterior q(z|x), then x is pushed under p(x|z) and z
//! under the prior p(z). Popping takes bits that were on the stack already, so that an image takes
//! −log p(x|z) − log p(z) + log q(z|x) on average: the negative evidence lower bound. They come back when the image is decoded: z is popped
//! under the prior, x under p(x|z), and z is pushed back under q(z|x). Images are chained: the bits that one takes are those of the images
//! before it. Only the first needs initial bits, which are random.
//!
//! Latents are rounded to buckets of equal mass under the prior (`buckets`), fine enough to change nothing that can be measured. Each image
//! is computed alone, so that both ways compute the same numbers.

use std::f64::consts::LN_2;

use burn::tensor::{Device, Tensor, TensorData};

use super::buckets::{self, BUCKETS, Buckets, Normal};
use super::levels::Levels;
use super::stack::Stack;
use crate::abilities::BitsBack;
use crate::data::ImageShape;
use crate::dist::DiagonalNormal;
use crate::nn::flatten;

/// Images as code words.
#[derive(Clone, Debug, PartialEq)]
pub struct CodedImages {
    /// The whole stack, with its initial bits.
    pub words: Vec<u32>,
    /// How many words the initial bits are.
    pub initial: u64,
    /// The negative evidence lower bound of all images with the latents that were coded, in bits. The model's distributions are taken
    /// before they are rounded. What the words take without the initial ones is close to this.
    pub bits: f64,
}

/// Codes `images`, each as its levels row by row, of classes `classes`; `progress` receives the number of values done.
///
/// `None` when the model gives something that is not a number, as one with broken weights does.
///
/// # Panics
///
/// When there is not one class for each image, an image has another size than `shape`, or a level is not one of the model's.
pub fn encode(
    model: &dyn BitsBack,
    shape: ImageShape,
    images: &[Vec<u32>],
    classes: &[Option<u32>],
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Option<CodedImages> {
    assert_eq!(images.len(), classes.len(), "{} classes for {} images", classes.len(), images.len());
    let coder = Coder { model, shape, device };
    let (mut stack, mut bits, mut done) = (Stack::begin(), 0.0, 0);
    // The last image is decoded first.
    for (image, &class) in images.iter().zip(classes).rev() {
        bits += coder.push(&mut stack, image, class)? / LN_2;
        done += image.len();
        progress(done);
    }
    Some(CodedImages { initial: stack.drawn(), words: stack.into_words(), bits })
}

/// Decodes images of classes `classes` that [`encode`] coded with `initial` words of initial bits; `progress` receives the number of values
/// done.
///
/// `None` when the words end early or something else than the initial bits is left: they are damaged, or were made with another model;
/// also where [`encode`] gives `None`.
pub fn decode(
    model: &dyn BitsBack,
    shape: ImageShape,
    classes: &[Option<u32>],
    (words, initial): (&[u32], u64),
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Option<Vec<Vec<u32>>> {
    let coder = Coder { model, shape, device };
    let mut stack = Stack::from_words(words)?;
    let (mut images, mut done) = (Vec::new(), 0);
    for &class in classes {
        let image = coder.pop(&mut stack, class)?;
        done += image.len();
        images.push(image);
        progress(done);
    }
    stack.is_initial(initial).then_some(images)
}

struct Coder<'a> {
    model: &'a dyn BitsBack,
    shape: ImageShape,
    device: &'a Device,
}

impl Coder<'_> {
    /// Pushes an image; returns −log p(x|z) − log p(z) + log q(z|x).
    fn push(&self, stack: &mut Stack, image: &[u32], class: Option<u32>) -> Option<f64> {
        let (mut chosen, mut log_ratio) = (Vec::new(), 0.0);
        self.infer(image, class, &mut |posterior| {
            let bucket = BUCKETS.at(posterior, stack.place(buckets::PRECISION));
            stack.pop(BUCKETS.interval(posterior, bucket))?;
            log_ratio += posterior.log_ratio(f64::from(BUCKETS.value(bucket)));
            chosen.push(bucket);
            Some(bucket)
        })?;
        let pixels = self.model.pixels(self.latents(&chosen), &[class]);
        let log_prob = pixels.log_prob(flatten(self.tensor(image))).into_scalar::<f32>();
        let levels = Levels::of(pixels)?;
        for (at, &level) in image.iter().enumerate().rev() {
            stack.push(levels.interval(at, level));
        }
        chosen.iter().rev().for_each(|&bucket| stack.push(Buckets::prior(bucket)));
        Some(log_ratio - f64::from(log_prob))
    }

    /// Pops an image.
    fn pop(&self, stack: &mut Stack, class: Option<u32>) -> Option<Vec<u32>> {
        let bucket = |_| {
            let bucket = stack.place(Buckets::PRIOR);
            stack.pop(Buckets::prior(bucket)).map(|()| bucket)
        };
        let chosen: Vec<u32> = (0..self.model.latent_dim()).map(bucket).collect::<Option<_>>()?;
        let levels = Levels::of(self.model.pixels(self.latents(&chosen), &[class]))?;
        let level = |at| {
            let (level, interval) = levels.find(at, |precision| stack.place(precision));
            stack.pop(interval).map(|()| level)
        };
        let image: Vec<u32> = (0..levels.len()).map(level).collect::<Option<_>>()?;
        let (mut next, mut intervals) = (chosen.iter(), Vec::new());
        self.infer(&image, class, &mut |posterior| {
            let &bucket = next.next()?;
            intervals.push(BUCKETS.interval(posterior, bucket));
            Some(bucket)
        })?;
        for interval in intervals.into_iter().rev() {
            // Only damaged words have a latent that the posterior does not have.
            if interval.width == 0 {
                return None;
            }
            stack.push(interval);
        }
        Some(image)
    }

    /// Infers the latents of an image; `choose` gives the bucket of each from its posterior. `None` where it gives that, or a posterior is no
    /// distribution.
    fn infer(
        &self,
        image: &[u32],
        class: Option<u32>,
        choose: &mut dyn FnMut(Normal) -> Option<u32>,
    ) -> Option<()> {
        let mut sound = true;
        let mut draw = |posterior: DiagonalNormal| {
            let shape = posterior.mean.dims();
            let (means, log_vars) = (posterior.mean.into_data(), posterior.log_var.into_data());
            let choose = |(mean, log_var)| {
                let bucket = Normal::new(mean, log_var).filter(|_| sound).and_then(&mut *choose);
                sound = bucket.is_some();
                bucket.map_or(0.0, |bucket| BUCKETS.value(bucket))
            };
            let values = means.iter::<f32>().zip(log_vars.iter::<f32>()).map(choose).collect();
            Tensor::from_data(TensorData::new(values, shape), self.device)
        };
        self.model.infer(self.tensor(image), &[class], &mut draw);
        sound.then_some(())
    }

    /// An image as the model reads it, a batch of one.
    fn tensor(&self, image: &[u32]) -> Tensor<4> {
        let ImageShape { height, width, channels } = self.shape;
        let encoding = self.model.encoding();
        let values = image.iter().map(|&level| encoding.value(level)).collect();
        Tensor::from_data(TensorData::new(values, [1, height, width, channels]), self.device)
    }

    /// Latents, `[1, latent_dim]`.
    fn latents(&self, chosen: &[u32]) -> Tensor<2> {
        let values = chosen.iter().map(|&bucket| BUCKETS.value(bucket)).collect();
        Tensor::from_data(TensorData::new(values, [1, chosen.len()]), self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::PixelEncoding;
    use crate::dist::{Bernoulli, Pixels};
    use crate::rng;

    const SHAPE: ImageShape = ImageShape { height: 2, width: 3, channels: 1 };

    /// The logit of each pixel is three times the latent; the posterior is shifted by the sum of the pixels.
    struct Line {
        spread: f32,
    }

    impl BitsBack for Line {
        fn encoding(&self) -> PixelEncoding {
            PixelEncoding::Binary
        }

        fn latent_dim(&self) -> usize {
            1
        }

        fn infer(
            &self,
            images: Tensor<4>,
            _: &[Option<u32>],
            draw: &mut dyn FnMut(DiagonalNormal) -> Tensor<2>,
        ) {
            let mean = flatten(images).sum_dim(1) * 0.5 - 1.5;
            let log_var = mean.zeros_like() + self.spread;
            draw(DiagonalNormal { mean, log_var });
        }

        fn pixels(&self, latents: Tensor<2>, _: &[Option<u32>]) -> Pixels {
            Pixels::Bernoulli(Bernoulli { logits: (latents * 3.0).repeat_dim(1, SHAPE.dims()) })
        }
    }

    /// Images whose pixels are mostly equal.
    fn images(count: usize) -> Vec<Vec<u32>> {
        let mut generator = rng::generator(0, "test", 0);
        let mut image = |_| {
            let z = f64::from(rng::normal(&mut generator, 1)[0]);
            let p = 1.0 / (1.0 + (-3.0 * z).exp());
            (0..SHAPE.dims()).map(|_| u32::from(rng::unit_f64(&mut generator) < p)).collect()
        };
        (0..count).map(&mut image).collect()
    }

    /// E_q [log q(z|x) − log p(z) − log p(x|z)] in bits, summed over a grid of z.
    fn bound(image: &[u32], spread: f64) -> f64 {
        let ones = f64::from(image.iter().sum::<u32>());
        let (mean, deviation) = (0.5 * ones - 1.5, (0.5 * spread).exp());
        let term = |i: i32| {
            let t = f64::from(i) * 0.01;
            let z = mean + deviation * t;
            let log_p = |sign: f64| -(-3.0 * sign * z).exp().ln_1p();
            let log_x = ones * log_p(1.0) + (SHAPE.dims() as f64 - ones) * log_p(-1.0);
            let weight = (-0.5 * t * t).exp() * 0.01 / std::f64::consts::TAU.sqrt();
            weight * (0.5 * (z * z - t * t) - deviation.ln() - log_x)
        };
        (-800..=800).map(term).sum::<f64>() / LN_2
    }

    #[test]
    fn images_come_back_and_take_the_bound_in_closed_form() {
        let (images, classes, device) = (images(4000), vec![None; 4000], Device::flex());
        for spread in [-2.0, 0.0, -9.0] {
            let model = Line { spread };
            let coded = encode(&model, SHAPE, &images, &classes, &device, &mut |_| ()).unwrap();
            let words = (coded.words.as_slice(), coded.initial);
            let decoded = decode(&model, SHAPE, &classes, words, &device, &mut |_| ());
            assert!(decoded.as_ref() == Some(&images));
            let expected: f64 = images.iter().map(|image| bound(image, f64::from(spread))).sum();
            let taken = 32.0 * (coded.words.len() as f64 - coded.initial as f64);
            // One draw of z for each image, of a few bits more or less.
            for found in [taken, coded.bits] {
                assert!(
                    (found / expected - 1.0).abs() < 0.03,
                    "spread {spread}: {found} bits for {expected}"
                );
            }
            assert!(
                (taken / coded.bits - 1.0).abs() < 0.005,
                "spread {spread}: {taken} bits for {}",
                coded.bits
            );
        }
    }

    #[test]
    fn damaged_words_are_noticed() {
        let (model, device) = (Line { spread: -2.0 }, Device::flex());
        let (images, classes) = (images(40), vec![None; 40]);
        let coded = encode(&model, SHAPE, &images, &classes, &device, &mut |_| ()).unwrap();
        let decode =
            |words: &[u32], initial| decode(&model, SHAPE, &classes, (words, initial), &device, &mut |_| ());
        assert_eq!(decode(&coded.words, coded.initial), Some(images));
        for place in 0..coded.words.len() {
            let mut words = coded.words.clone();
            words[place] ^= 1 << 9;
            assert_eq!(decode(&words, coded.initial), None, "word {place}");
        }
        assert_eq!(decode(&coded.words[1..], coded.initial), None);
        for initial in [0, coded.initial + 1, u64::MAX] {
            assert_eq!(decode(&coded.words, initial), None);
        }
        assert_eq!(decode(&[], 0), None);
    }

    #[test]
    fn what_is_no_distribution_codes_nothing() {
        let (model, device) = (Line { spread: f32::NAN }, Device::flex());
        assert!(encode(&model, SHAPE, &images(2), &[None; 2], &device, &mut |_| ()).is_none());
        let words = (&[1, 2, 3, 4, 5, 6, 7][..], 1);
        assert!(decode(&model, SHAPE, &[None], words, &device, &mut |_| ()).is_none());
    }
}
