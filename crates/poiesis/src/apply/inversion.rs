//! Inversion of a decoder: the latents that best explain an image, or the known part of one, for models without an encoder and for images
//! that an encoder describes badly.
//!
//! Adam with a falling learning rate minimises the mean squared error of the decoded image plus λ‖z‖² (Lipton and Tripathi 2017,
//! arXiv:1702.04782; Creswell and Bharath 2018, arXiv:1611.05644), from the nearest of many samples and from others drawn at random, as the
//! error has many minima. The mask is that of Yeh et al. 2017, arXiv:1607.07539.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use crate::abilities::{Latents, Prior};
use crate::evaluate::Progress;
use crate::fitting::Rows;

/// Candidates are decoded in batches of this size.
const BATCH: usize = 64;
/// Decay of Adam's mean and mean square of gradients, and what keeps its division finite.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// How latents are searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inversion {
    /// Starts for each image, at least 1: half of them, rounded up, from its nearest candidates and the others at random.
    pub starts: usize,
    /// Steps from each start.
    pub iterations: usize,
    /// Adam's learning rate at first; it falls to 0 as a cosine.
    pub learning_rate: f64,
    /// Samples among which the nearest are looked for.
    pub candidates: usize,
    /// λ, the weight of the mean of z² over the values with a normal prior, beside the mean squared error in [-1, 1].
    pub prior_weight: f64,
    /// Seed of candidates and starts.
    pub seed: u64,
}

impl Default for Inversion {
    fn default() -> Inversion {
        Inversion {
            starts: 8,
            iterations: 300,
            learning_rate: 0.05,
            candidates: 1000,
            prior_weight: 1e-3,
            seed: 0,
        }
    }
}

/// The latents found for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Inverted {
    /// The latents, `[latent_dim]`.
    pub latents: Vec<f32>,
    /// Peak signal-to-noise ratio of the known values, in dB; see [`psnr`].
    pub psnr: f64,
    /// How far they are from the prior; see [`norm`].
    pub norm: Option<f64>,
}

/// Finds the latents that `latents` decodes to something nearest to each row of `images`, with values in [-1, 1] as
/// [`Latents::decode`] gives them.
///
/// `latents` computes on `device`, which has autodiff: see [`Trained::differentiable`](crate::Trained::differentiable). `known` has 1 where a
/// value counts and 0 where it is not known, a row for each image; all count without it. `classes` has one for each image.
///
/// Values with a uniform prior stay in [-1, 1]. The categories of a start are kept, so that its starts try several. What is found for an
/// image depends on the image and the seed alone. `progress` receives the progress.
///
/// # Panics
///
/// When `device` has no autodiff, there are no starts, fewer candidates than starts, not one class or mask for each image, a mask without a
/// known value, or rows of another length than the model's examples.
pub fn invert(
    latents: &dyn Latents,
    device: &Device,
    images: &Rows,
    known: Option<&Rows>,
    classes: &[Option<u32>],
    options: &Inversion,
    progress: &mut dyn FnMut(Progress),
) -> Vec<Inverted> {
    assert!(device.is_autodiff(), "an inversion needs gradients");
    assert!(options.starts > 0 && options.candidates >= options.starts, "{options:?}");
    assert_eq!(images.len(), classes.len(), "one class for each image");
    assert!(known.is_none_or(|known| (known.len(), known.dims()) == (images.len(), images.dims())));
    let mut search = Search { latents, device, options, candidates: BTreeMap::new() };
    let all = vec![1.0; images.dims()];
    let mut of_image = |index: usize| {
        let (done, total) = (index as u64, Some(images.len() as u64));
        progress(Progress { what: "inverting", unit: "images", done, total });
        let known = known.map_or(all.as_slice(), |known| known.row(index));
        search.best(images.row(index), known, classes[index])
    };
    (0..images.len()).map(&mut of_image).collect()
}

/// Peak signal-to-noise ratio in dB of a mean squared error of values in [-1, 1], whose peak is 2; infinite without an error.
pub fn psnr(squared_error: f64) -> f64 {
    10.0 * (4.0 / squared_error).log10()
}

/// ‖z‖/√d over the d values with a normal prior: about 1 for what the prior draws, with a deviation of about 1/√(2d). `None` without such
/// values.
pub fn norm(z: &[f32], priors: &[Prior]) -> Option<f64> {
    let normal = z.iter().zip(priors).filter(|(_, prior)| **prior == Prior::Normal);
    let squares: Vec<f64> = normal.map(|(&z, _)| f64::from(z).powi(2)).collect();
    (!squares.is_empty()).then(|| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt())
}

/// Samples among which the nearest are looked for.
struct Candidates {
    latents: Rows,
    examples: Rows,
}

/// Finds latents of one image after another.
struct Search<'a> {
    latents: &'a dyn Latents,
    device: &'a Device,
    options: &'a Inversion,
    /// Those of each class that was needed.
    candidates: BTreeMap<Option<u32>, Candidates>,
}

impl Search<'_> {
    fn best(&mut self, image: &[f32], known: &[f32], class: Option<u32>) -> Inverted {
        let count: f64 = known.iter().map(|&known| f64::from(known)).sum();
        assert!(count > 0.0, "no value of the image is known");
        let (latents, options) = (self.latents, self.options);
        let starts = self.starts(image, known, class);
        let problem = Problem { latents, device: self.device, image, known, count, class };
        let found = problem.descend(&starts, options);
        let errors = problem.errors(&found);
        let priors = latents.priors();
        let objective = |row: usize| {
            let far = norm(found.row(row), &priors).unwrap_or(0.0);
            errors[row] + options.prior_weight * far.powi(2)
        };
        let better = |a: &usize, b: &usize| objective(*a).total_cmp(&objective(*b));
        let best = (0..found.len()).min_by(better).unwrap_or(0);
        let z = found.row(best).to_vec();
        Inverted { psnr: psnr(errors[best]), norm: norm(&z, &priors), latents: z }
    }

    /// The nearest candidates, then samples that are none.
    fn starts(&mut self, image: &[f32], known: &[f32], class: Option<u32>) -> Rows {
        let Inversion { starts, candidates: count, seed, .. } = *self.options;
        let (latents, device) = (self.latents, self.device);
        let candidates =
            self.candidates.entry(class).or_insert_with(|| draw(latents, seed, count, class, device));
        let distance = |example: &[f32]| {
            let squares = example.iter().zip(image).zip(known);
            squares.map(|((a, b), known)| f64::from(known * (a - b) * (a - b))).sum::<f64>()
        };
        let distances: Vec<f64> = candidates.examples.iter().map(distance).collect();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        let near = starts.div_ceil(2);
        let mut chosen = candidates.latents.select(&order[..near]);
        if near < starts {
            let others = count as u64..(count + starts - near) as u64;
            chosen.extend(&Rows::of_tensor(latents.draw(seed, others, device)));
        }
        chosen
    }
}

fn draw(latents: &dyn Latents, seed: u64, count: usize, class: Option<u32>, device: &Device) -> Candidates {
    let device = device.clone().inner();
    let z = Rows::of_tensor(latents.draw(seed, 0..count as u64, &device));
    let (mut values, mut dims) = (Vec::new(), 1);
    for first in (0..count).step_by(BATCH) {
        let batch: Vec<usize> = (first..count.min(first + BATCH)).collect();
        let given = z.select(&batch);
        let given = TensorData::new(given.iter().flatten().copied().collect(), [batch.len(), z.dims()]);
        // On the device of the model, though no gradients are taken.
        let made =
            latents.decode(Tensor::from_data(given, &device.clone().autodiff()), &vec![class; batch.len()]);
        dims = made.dims()[1];
        values.extend(made.into_data().iter::<f32>());
    }
    Candidates { latents: z, examples: Rows::new(values, dims) }
}

/// One image that is to be explained.
struct Problem<'a> {
    latents: &'a dyn Latents,
    device: &'a Device,
    image: &'a [f32],
    known: &'a [f32],
    /// How many values are known.
    count: f64,
    class: Option<u32>,
}

impl Problem<'_> {
    /// The mean squared error of the known values for each row of latents, `[rows]`.
    fn error(&self, z: Tensor<2>) -> Tensor<1> {
        let rows = z.dims()[0];
        let made = self.latents.decode(z, &vec![self.class; rows]);
        assert_eq!(made.dims()[1], self.image.len(), "an image of another size than the model's");
        let row = |values: &[f32]| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, values.len()]), self.device)
        };
        let error = (made - row(self.image)) * row(self.known);
        (error.square().sum_dim(1) / self.count).reshape([rows])
    }

    fn tensor(&self, z: &Rows) -> Tensor<2> {
        let values = TensorData::new(z.iter().flatten().copied().collect(), [z.len(), z.dims()]);
        Tensor::from_data(values, self.device)
    }

    fn errors(&self, z: &Rows) -> Vec<f64> {
        self.error(self.tensor(z)).into_data().iter::<f64>().collect()
    }

    /// Adam (Kingma and Ba 2015, Algorithm 1) on all starts at once.
    fn descend(&self, starts: &Rows, options: &Inversion) -> Rows {
        let (priors, dims) = (self.latents.priors(), starts.dims());
        let normal = priors.iter().filter(|prior| **prior == Prior::Normal).count().max(1) as f64;
        let pull = 2.0 * options.prior_weight / normal;
        let mut z: Vec<f32> = starts.iter().flatten().copied().collect();
        let (mut means, mut squares) = (vec![0.0_f64; z.len()], vec![0.0_f64; z.len()]);
        for step in 0..options.iterations {
            let place = self.tensor(&Rows::new(z.clone(), dims)).require_grad();
            // The starts do not touch each other, so the gradient of the sum is that of each.
            let Some(gradient) = place.grad(&self.error(place.clone()).sum().backward()) else { break };
            let done = step as f64 / options.iterations as f64;
            let rate = options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            let unbias = BETAS.map(|beta| 1.0 - beta.powi(step as i32 + 1));
            for (at, gradient) in gradient.into_data().iter::<f64>().enumerate() {
                let prior = priors[at % dims];
                let gradient = match prior {
                    Prior::Normal => gradient + pull * f64::from(z[at]),
                    Prior::Uniform | Prior::Learned => gradient,
                    Prior::Categorical => continue,
                };
                means[at] = BETAS[0] * means[at] + (1.0 - BETAS[0]) * gradient;
                squares[at] = BETAS[1] * squares[at] + (1.0 - BETAS[1]) * gradient * gradient;
                let by = rate * (means[at] / unbias[0]) / ((squares[at] / unbias[1]).sqrt() + EPSILON);
                let moved = (f64::from(z[at]) - by) as f32;
                z[at] = if prior == Prior::Uniform { moved.clamp(-1.0, 1.0) } else { moved };
            }
        }
        Rows::new(z, dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::LinearLatents;

    fn run(model: &LinearLatents, images: &Rows, known: Option<&Rows>, options: &Inversion) -> Vec<Inverted> {
        let classes = vec![None; images.len()];
        invert(model, &Device::flex().autodiff(), images, known, &classes, options, &mut |_| ())
    }

    fn samples(model: &LinearLatents, numbers: std::ops::Range<u64>) -> (Rows, Rows) {
        let latents: &dyn Latents = model;
        let z = latents.draw(7, numbers.clone(), &Device::flex());
        let images = latents.decode(z.clone(), &vec![None; (numbers.end - numbers.start) as usize]);
        (Rows::of_tensor(z), Rows::of_tensor(images))
    }

    #[test]
    fn the_latents_of_a_linear_model_are_found_again() {
        let model = LinearLatents::normal(5, 30);
        let (z, images) = samples(&model, 0..3);
        let options =
            Inversion { prior_weight: 0.0, iterations: 400, candidates: 50, ..Inversion::default() };
        let found = run(&model, &images, None, &options);
        for (found, z) in found.iter().zip(z.iter()) {
            assert!(found.psnr > 60.0, "{found:?}");
            let away = found.latents.iter().zip(z).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(away < 1e-2, "{found:?} {z:?}");
            let length = (z.iter().map(|z| z * z).sum::<f32>() / 5.0).sqrt();
            assert!((found.norm.unwrap() - f64::from(length)).abs() < 1e-2);
        }
        // The same, whatever else is inverted with it.
        assert_eq!(run(&model, &images.select(&[2]), None, &options)[0], found[2]);
        let pulled = run(&model, &images, None, &Inversion { prior_weight: 10.0, ..options });
        assert!(pulled.iter().zip(&found).all(|(pulled, found)| pulled.norm < found.norm));
    }

    #[test]
    fn what_is_not_known_does_not_matter() {
        let model = LinearLatents::normal(3, 30);
        let (_, images) = samples(&model, 0..1);
        let known = Rows::new((0..30).map(|at| f32::from(at < 20)).collect(), 30);
        let damaged = |fill: f32| {
            let values = images.row(0).iter().enumerate().map(|(at, &x)| if at < 20 { x } else { fill });
            Rows::new(values.collect(), 30)
        };
        let options = Inversion { prior_weight: 0.0, candidates: 20, ..Inversion::default() };
        let [dark, bright] = [-1.0, 1.0].map(|fill| run(&model, &damaged(fill), Some(&known), &options));
        assert_eq!(dark, bright);
        assert!(dark[0].psnr > 50.0, "{dark:?}");
        let misled = run(&model, &damaged(1.0), None, &options);
        assert!(misled[0].psnr < dark[0].psnr - 20.0, "{misled:?}");
    }

    #[test]
    fn uniform_values_stay_in_their_range_and_categories_are_chosen_among_the_starts() {
        let model = LinearLatents::mixed(24);
        let (z, images) = samples(&model, 0..6);
        // Out of reach: twice the image needs uniform values beyond 1.
        let far = Rows::new(images.iter().flatten().map(|x| 2.0 * x).collect(), 24);
        let options = Inversion { candidates: 60, ..Inversion::default() };
        for found in run(&model, &far, None, &options) {
            assert!(found.latents[1..3].iter().all(|z| z.abs() <= 1.0), "{found:?}");
            let mut category = found.latents[3..].to_vec();
            category.sort_by(f32::total_cmp);
            assert_eq!(category, [0.0, 0.0, 1.0]);
        }
        for (found, z) in run(&model, &images, None, &options).iter().zip(z.iter()) {
            assert_eq!(found.latents[3..], z[3..], "{found:?}");
        }
    }

    #[test]
    fn the_ratio_is_that_of_its_definition() {
        assert!((psnr(0.04) - 20.0).abs() < 1e-12 && psnr(0.0).is_infinite());
        assert_eq!(
            norm(&[3.0, 9.0, 4.0], &[Prior::Normal, Prior::Uniform, Prior::Normal]),
            Some(12.5_f64.sqrt())
        );
        assert_eq!(norm(&[1.0], &[Prior::Categorical]), None);
    }
}
