//! Completes images by a model with latents: latents whose images agree with the known pixels.
//!
//! A completion is a draw from the posterior of the latents given the known pixels, by randomised maximum a posteriori (Bardsley et al. 2014,
//! without the correction by weights): a latent z₀ is drawn from the prior, and the known pixels get noise ε; then
//! ‖g(z) − x − ε‖² / 2s² over the known pixels + ‖z − z₀‖² / 2 is minimised. For a linear decoder that is exact. For a network it is an
//! approximation, which still gives several completions that differ where the known pixels leave them free.

use burn::tensor::{Device, Tensor, TensorData};

use crate::abilities::{Abilities, Encoder, LatentPart, Latents, Prior};
use crate::data::{ImageShape, to_bytes};
use crate::error::{Error, Result};
use crate::picture::Picture;
use crate::rng;
use crate::trained::Trained;

/// How far known pixels may be from those of a completion, in [-1, 1]: 25 grey levels.
const NOISE: f64 = 0.2;
/// Steps of the optimizer, and its first learning rate, which falls to 0 as a cosine.
const STEPS: usize = 200;
const LEARNING_RATE: f64 = 0.1;
/// Adam's decays.
const BETAS: [f64; 2] = [0.9, 0.99];
/// Latents drawn for each completion without an encoder, of which the best is the start.
const CANDIDATES: u64 = 64;
/// How often an encoder sees the image with its own completion.
const ROUNDS: usize = 3;
/// Completions are computed in batches of this size, the last one included, so that the bytes of one do not depend on their number.
const GROUP: u64 = 8;

/// What is completed.
#[derive(Clone, Debug)]
pub struct Infill<'a> {
    /// The image.
    pub image: &'a Picture,
    /// Whether each pixel is known, row by row.
    pub known: &'a [bool],
    /// Its class, for a model that is conditioned on classes; each in turn if not given.
    pub class: Option<u32>,
    /// Seed of the completions; number *i* depends on it and on *i* alone.
    pub seed: u64,
    /// How many.
    pub count: u64,
}

/// Completes an image by the latents of `trained`. Known pixels are those of the image, byte by byte. `on_step` receives the steps done and
/// the steps in all.
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model without latents; [`Error::InvalidValue`] for a model of other data than images, and for one whose
/// prior is learned; those of loading the model once more, for its gradients.
///
/// # Panics
///
/// When the image or the mask is of another size than the model's images.
pub fn infill(
    trained: &Trained,
    infill: &Infill<'_>,
    on_step: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Picture>> {
    let shape = trained.spec.images()?;
    if trained.latents()?.priors().contains(&Prior::Learned) {
        let (name, remedy) = (trained.entry.name(), "give the run of a model whose prior is normal");
        let reason = "its prior is learned, and a completion is a draw by a normal or uniform one";
        return Err(Error::invalid_value("model", name, reason, remedy));
    }
    let device = trained.device.clone().autodiff();
    let model = trained.differentiable()?;
    completions(&model.abilities(), shape, &device, infill, on_step).ok_or_else(|| {
        let (name, remedy) = (trained.entry.name(), "give a run of another model");
        Error::invalid_value("model", name, "its decoder has no gradients", remedy)
    })
}

/// The completions; `None` where the decoder gives no gradients. The model and `device` are with autodiff.
fn completions(
    abilities: &Abilities<'_>,
    shape: ImageShape,
    device: &Device,
    infill: &Infill<'_>,
    on_step: &mut dyn FnMut(usize, usize),
) -> Option<Vec<Picture>> {
    let Infill { image, known, class, seed, count } = *infill;
    let ImageShape { height, width, channels } = shape;
    let found = [image.height(), image.width(), image.channels()];
    assert_eq!(found, [height, width, channels], "an image of another shape");
    assert_eq!(known.len(), height * width, "pixels of the image and of the mask");
    let latents = abilities.latents?;
    let classes = latents.num_classes() as u64;
    let problem = Problem {
        latents,
        // Categories are not on a line that gradients can follow.
        encoder: abilities.encoder.filter(|_| latents.priors().iter().all(|&prior| prior == Prior::Normal)),
        target: image.data().iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect(),
        known: (0..shape.dims()).map(|place| f32::from(known[place / channels])).collect(),
        device,
    };
    let groups = count.div_ceil(GROUP);
    let mut pictures = Vec::new();
    for group in 0..groups {
        let numbers: Vec<u64> = (group * GROUP..(group + 1) * GROUP).collect();
        let in_turn = |number: &u64| class.or_else(|| (classes > 0).then(|| (number % classes) as u32));
        let of_group: Vec<Option<u32>> = numbers.iter().map(in_turn).collect();
        let mut step = |done| on_step(group as usize * STEPS + done, groups as usize * STEPS);
        let made = problem.solve(seed, &numbers, &of_group, &mut step)?;
        for bytes in to_bytes(made).chunks(shape.dims()) {
            let mut bytes = bytes.to_vec();
            let kept = |place: &usize| known[place / channels];
            (0..bytes.len()).filter(kept).for_each(|place| bytes[place] = image.data()[place]);
            pictures.push(Picture::new(width, height, channels, bytes));
        }
    }
    pictures.truncate(count as usize);
    Some(pictures)
}

/// Known values of an image, and a model of it.
struct Problem<'a> {
    latents: &'a dyn Latents,
    encoder: Option<&'a dyn Encoder>,
    /// The image in [-1, 1].
    target: Vec<f32>,
    /// 1 where a value is known, else 0.
    known: Vec<f32>,
    device: &'a Device,
}

impl Problem<'_> {
    /// One image for each number, `[numbers, values]`.
    fn solve(
        &self,
        seed: u64,
        numbers: &[u64],
        classes: &[Option<u32>],
        on_step: &mut dyn FnMut(usize),
    ) -> Option<Tensor<2>> {
        let (count, dims) = (numbers.len(), self.target.len());
        let prior = self.latents.draw(seed, numbers[0]..numbers[0] + count as u64, self.device).inner();
        let noise = numbers
            .iter()
            .flat_map(|&number| rng::normal(&mut rng::generator(seed, "completion noise", number), dims));
        let target: Vec<f32> =
            self.target.iter().cycle().zip(noise).map(|(&x, noise)| x + NOISE as f32 * noise).collect();
        let target = self.rows(target, count);
        let known = self.rows(self.known.repeat(count), count);
        let (start, prior) = match self.encoder {
            Some(encoder) => (self.encoded(encoder, count, classes), prior),
            None => self.best_drawn(seed, numbers, classes, prior),
        };
        let parts = self.latents.parts();
        let weights = self.latent_rows(&parts, count, |prior| match prior {
            // Its variance is 1/3.
            Prior::Uniform => 3.0,
            Prior::Normal | Prior::Learned => 1.0,
            Prior::Categorical => 0.0,
        });
        let free = self.latent_rows(&parts, count, |prior| f32::from(prior != Prior::Categorical));
        let bounded = self.latent_rows(&parts, count, |prior| f32::from(prior == Prior::Uniform));
        let is_bounded = parts.iter().any(|part| part.prior == Prior::Uniform);
        let (mut z, mut first, mut second) = (start, None::<Tensor<2>>, None::<Tensor<2>>);
        for step in 0..STEPS {
            let at = z.clone().autodiff().require_grad();
            let made = self.latents.decode(at.clone(), classes);
            let missed = (made - target.clone().autodiff()) * known.clone().autodiff();
            let away = at.clone() - prior.clone().autodiff();
            let loss = missed.square().sum() * (0.5 / (NOISE * NOISE))
                + (away.square() * weights.clone().autodiff()).sum() * 0.5;
            let gradients = loss.backward();
            let gradient = at.grad(&gradients)? * free.clone();
            let average = |before: Option<Tensor<2>>, now: Tensor<2>, beta: f64| match before {
                Some(before) => before * beta + now * (1.0 - beta),
                None => now * (1.0 - beta),
            };
            let mean = average(first.take(), gradient.clone(), BETAS[0]);
            let squares = average(second.take(), gradient.square(), BETAS[1]);
            let correct = |beta: f64| 1.0 - beta.powi(step as i32 + 1);
            let rate =
                LEARNING_RATE * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / STEPS as f64).cos());
            let scale = (squares.clone() / correct(BETAS[1])).sqrt() + 1e-8;
            z = z - mean.clone() / correct(BETAS[0]) / scale * rate;
            if is_bounded {
                let inside = z.clone().clamp(-1.0, 1.0);
                z = z.clone() + (inside - z) * bounded.clone();
            }
            (first, second) = (Some(mean), Some(squares));
            on_step(step + 1);
        }
        Some(self.decode(z, classes))
    }

    /// The images of latents, without autodiff.
    fn decode(&self, z: Tensor<2>, classes: &[Option<u32>]) -> Tensor<2> {
        self.latents.decode(z.autodiff(), classes).inner()
    }

    /// The latents that an encoder gives the image, whose unknown values are first the mean of the known ones and then what the decoder
    /// makes of them.
    fn encoded(&self, encoder: &dyn Encoder, count: usize, classes: &[Option<u32>]) -> Tensor<2> {
        let sum: f32 = self.target.iter().zip(&self.known).map(|(x, known)| x * known).sum();
        let mean = sum / self.known.iter().sum::<f32>().max(1.0);
        let filled = self.target.iter().zip(&self.known).map(|(x, known)| x * known + mean * (1.0 - known));
        let target = self.rows(self.target.repeat(count), count);
        let known = self.rows(self.known.repeat(count), count);
        let mut x = self.rows(filled.collect::<Vec<f32>>().repeat(count), count);
        let mut z = encoder.encode(x.autodiff(), classes).inner();
        for _ in 0..ROUNDS {
            let made = self.decode(z, classes).clamp(-1.0, 1.0);
            x = made.clone() + (target.clone() - made) * known.clone();
            z = encoder.encode(x.autodiff(), classes).inner();
        }
        z
    }

    /// Of latents drawn from the prior for each number, the one whose image is nearest to the known values. Categories stay as they were
    /// drawn, so these latents are also what the completion may not go far from in those parts.
    fn best_drawn(
        &self,
        seed: u64,
        numbers: &[u64],
        classes: &[Option<u32>],
        prior: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let dims = self.target.len();
        let (mut rows, width) = (Vec::new(), prior.dims()[1]);
        for (&number, &class) in numbers.iter().zip(classes) {
            // Numbers of their own, far from those of samples.
            let first = (1 << 39) + number * CANDIDATES;
            let drawn = self.latents.draw(seed, first..first + CANDIDATES, self.device).inner();
            let made = self.decode(drawn.clone(), &vec![class; CANDIDATES as usize]);
            let made: Vec<f32> = made.into_data().iter::<f32>().collect();
            let distance = |made: &[f32]| -> f32 {
                let values = made.iter().zip(&self.target).zip(&self.known);
                values.map(|((a, b), known)| known * (a - b) * (a - b)).sum()
            };
            let distances: Vec<f32> = made.chunks(dims).map(distance).collect();
            let best = (0..distances.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b]));
            let drawn: Vec<f32> = drawn.into_data().iter::<f32>().collect();
            let best = best.unwrap_or(0);
            rows.extend_from_slice(&drawn[best * width..(best + 1) * width]);
        }
        (self.rows(rows, numbers.len()), prior)
    }

    /// A value for each value of the latents by its prior, the same in all of `count` rows.
    fn latent_rows(&self, parts: &[LatentPart], count: usize, of: impl Fn(Prior) -> f32) -> Tensor<2> {
        let row: Vec<f32> =
            parts.iter().flat_map(|part| std::iter::repeat_n(of(part.prior), part.size)).collect();
        self.rows(row.repeat(count), count)
    }

    /// Values in `count` rows, without autodiff.
    fn rows(&self, values: Vec<f32>, count: usize) -> Tensor<2> {
        let width = values.len() / count;
        let tensor: Tensor<2> = Tensor::from_data(TensorData::new(values, [count, width]), self.device);
        tensor.inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { height: 2, width: 2, channels: 1 };

    /// x = A z for two latents and four pixels.
    struct Linear {
        prior: Prior,
        encodes: bool,
    }

    const A: [[f32; 4]; 2] = [[0.3, 0.2, 0.1, -0.2], [0.0, 0.2, -0.3, 0.3]];

    impl Latents for Linear {
        fn parts(&self) -> Vec<LatentPart> {
            vec![LatentPart { name: "z".into(), size: 2, prior: self.prior }]
        }

        fn decode(&self, latents: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
            let weights = Tensor::from_data(TensorData::new(A.concat(), [2, 4]), &latents.device());
            latents.matmul(weights)
        }
    }

    impl Encoder for Linear {
        fn encode(&self, values: Tensor<2>, _classes: &[Option<u32>]) -> Tensor<2> {
            values.slice([0..8, 0..2])
        }
    }

    fn complete(model: &Linear, known: &[bool], seed: u64, count: u64) -> Vec<Vec<u8>> {
        let abilities = Abilities {
            latents: Some(model),
            encoder: if model.encodes { Some(model) } else { None },
            ..Abilities::default()
        };
        let device = Device::flex().autodiff();
        let image = Picture::new(2, 2, 1, vec![200, 160, 7, 90]);
        let infill = Infill { image: &image, known, class: None, seed, count };
        let found = completions(&abilities, SHAPE, &device, &infill, &mut |_, _| ()).unwrap();
        found.iter().map(|picture| picture.data().to_vec()).collect()
    }

    #[test]
    fn completions_of_a_linear_model_are_draws_from_its_posterior() {
        // Known are the first two pixels; the posterior of the others is a normal distribution with
        // Σ = (I + Aₖ Aₖᵀ / s²)⁻¹ and mean A Σ Aₖ x / s².
        let target = [200.0 / 127.5 - 1.0, 160.0 / 127.5 - 1.0];
        let s2 = NOISE * NOISE;
        let a = |i: usize, j: usize| f64::from(A[i][j]);
        let precision =
            |i: usize, j: usize| f64::from(i == j) + (0..2).map(|k| a(i, k) * a(j, k)).sum::<f64>() / s2;
        let determinant = precision(0, 0) * precision(1, 1) - precision(0, 1) * precision(1, 0);
        let sigma = [
            [precision(1, 1) / determinant, -precision(0, 1) / determinant],
            [-precision(1, 0) / determinant, precision(0, 0) / determinant],
        ];
        let pull = |i: usize| (0..2).map(|k| a(i, k) * target[k]).sum::<f64>() / s2;
        let z = [0, 1].map(|i| sigma[i][0] * pull(0) + sigma[i][1] * pull(1));
        let model = Linear { prior: Prior::Normal, encodes: true };
        let found = complete(&model, &[true, true, false, false], 5, 1200);
        for pixel in [2, 3] {
            let mean = a(0, pixel) * z[0] + a(1, pixel) * z[1];
            let variance: f64 = (0..2)
                .flat_map(|i| (0..2).map(move |j| (i, j)))
                .map(|(i, j)| a(i, pixel) * sigma[i][j] * a(j, pixel))
                .sum();
            let values: Vec<f64> = found.iter().map(|image| f64::from(image[pixel]) / 127.5 - 1.0).collect();
            let found_mean = values.iter().sum::<f64>() / values.len() as f64;
            let found_variance =
                values.iter().map(|x| (x - found_mean).powi(2)).sum::<f64>() / values.len() as f64;
            // Four standard errors of 1,200 draws.
            assert!((found_mean - mean).abs() < 4.0 * (variance / 1200.0).sqrt(), "{found_mean} {mean}");
            assert!((found_variance / variance - 1.0).abs() < 0.17, "{found_variance} {variance}");
        }
    }

    #[test]
    fn known_pixels_stay_and_a_completion_depends_on_its_number_alone() {
        for (prior, encodes) in [
            (Prior::Normal, true),
            (Prior::Normal, false),
            (Prior::Uniform, false),
            (Prior::Categorical, false),
        ] {
            let model = Linear { prior, encodes };
            let known = [true, false, true, false];
            let three = complete(&model, &known, 3, 3);
            assert!(three.iter().all(|image| (image[0], image[2]) == (200, 7)), "{three:?}");
            assert_eq!(complete(&model, &known, 3, 10)[..3], three);
            if prior != Prior::Categorical {
                assert_ne!(three[0], three[1]);
                assert_ne!(complete(&model, &known, 4, 3), three);
            }
        }
        let all = complete(&Linear { prior: Prior::Normal, encodes: true }, &[true; 4], 0, 1);
        assert_eq!(all, [vec![200, 160, 7, 90]]);
    }

    #[test]
    fn a_uniform_latent_stays_within_its_bounds() {
        let model = Linear { prior: Prior::Uniform, encodes: false };
        for image in complete(&model, &[true, true, false, false], 1, 8) {
            // |x₃| ≤ 0.1 + 0.3 of the bounded latents.
            assert!((f64::from(image[2]) / 127.5 - 1.0).abs() <= 0.4 + 0.005, "{image:?}");
        }
    }
}
