//! Directions of latents along which samples change most: factors of the first weights in closed form (Shen and Zhou 2020, "SeFa",
//! arXiv:2007.06600), and principal components of the samples' features (Härkönen et al. 2020, "GANSpace", arXiv:2004.02546).

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::represent::Report;
use super::{class_of, decode_as, latent};
use crate::abilities::{Features, Latents, Prior};
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::fitting::{Pca, Rows, symmetric_eigen};
use crate::trained::Trained;

/// Samples that the effect of a direction is averaged over.
const MEASURED: u64 = 8;
/// At least so many directions are measured, to see whether their effects fall.
const RANKED: usize = 16;
/// Latents are decoded in batches of this size.
const BATCH: usize = 64;
/// A spectrum is flat where its largest eigenvalue is not this much above that of random weights.
const ABOVE_RANDOM: f64 = 1.1;

/// How directions are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectionMethod {
    /// Eigenvectors of AᵀA, A being the weights of the first layer: the directions that move its outputs most.
    Sefa,
    /// Principal components of features of samples (of pixels where the model has none), mapped back to latents by least squares.
    Pca,
}

impl DirectionMethod {
    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            DirectionMethod::Sefa => "sefa",
            DirectionMethod::Pca => "pca",
        }
    }
}

/// How directions are found and shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DirectionOptions {
    /// How they are found.
    pub method: DirectionMethod,
    /// How many to show.
    pub rows: usize,
    /// Images along each, at least 2.
    pub steps: usize,
    /// How far each goes to both sides, in units of the latents.
    pub range: f64,
    /// Seed of the samples.
    pub seed: u64,
    /// Number of the sample that is moved.
    pub index: u64,
    /// `pca`: samples whose features are used.
    pub samples: usize,
}

/// A direction of unit length in the latents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Direction {
    /// The direction, `[latent_dim]`; 0 in categorical parts.
    pub vector: Vec<f32>,
    /// The eigenvalue: of AᵀA, or of the covariance of features.
    pub eigenvalue: f64,
    /// How much a step of 1 changes samples: root mean square difference in grey levels.
    pub change: f64,
    /// `pca`: the fraction of the component's variance that a linear function of the latents explains.
    pub linear: Option<f64>,
}

/// Directions and what they do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Directions {
    /// The directions by falling eigenvalue.
    pub directions: Vec<Direction>,
    /// Spearman's rank correlation of eigenvalues and changes, over the first directions.
    pub rank_correlation: f64,
    /// The largest eigenvalue over the mean of all.
    pub spread: f64,
    /// `sefa`: what the spread of random weights of this shape would be.
    pub random_spread: Option<f64>,
    /// 8-bit images, a row for each direction.
    #[serde(skip)]
    pub images: Vec<u8>,
}

impl Directions {
    /// Whether the first layer stretches all directions about alike, as random or orthogonal weights do: then the directions mean
    /// nothing.
    pub fn is_flat(&self) -> bool {
        self.random_spread.is_some_and(|random| self.spread <= ABOVE_RANDOM * random)
    }
}

/// Finds directions of a model's latents and moves a sample along each; `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model does not decode latents; [`Error::InvalidValue`] when the latents do not go through an affine
/// layer first (`sefa`), for latents without continuous values, and for a model of other data than images.
///
/// # Panics
///
/// When `steps` is below 2 or `rows` is 0.
pub fn directions(
    trained: &Trained,
    options: &DirectionOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Directions> {
    assert!(options.steps >= 2 && options.rows > 0, "a direction has two ends");
    let latents = trained.latents()?;
    trained.spec.images()?;
    let continuous = continuous_values(latents);
    if continuous.is_empty() {
        let reason = "the latents have only categories";
        return Err(Error::invalid_value("method", options.method.name(), reason, "use a traversal"));
    }
    let (mut found, random_spread) = match options.method {
        DirectionMethod::Sefa => {
            let weights = latents.first_weights().ok_or_else(|| {
                let reason = "the latents of this model do not go through an affine layer first";
                Error::invalid_value("method", "sefa", reason, "choose the method `pca`")
            })?;
            let outputs = weights.dims()[0] as f64;
            let edge = (1.0 + (continuous.len() as f64 / outputs).sqrt()).powi(2);
            (of_weights(&Rows::of_tensor(weights), &continuous), Some(edge))
        }
        DirectionMethod::Pca => (of_samples(trained, latents, &continuous, options, progress)?, None),
    };
    let mean = found.iter().map(|direction| direction.eigenvalue).sum::<f64>() / found.len() as f64;
    let spread = found[0].eigenvalue / mean.max(f64::MIN_POSITIVE);
    found.truncate(options.rows.max(RANKED));
    measure(latents, &mut found, options.seed, &trained.device, progress);
    let [eigenvalues, changes] = [|d: &Direction| d.eigenvalue, |d: &Direction| d.change]
        .map(|of| found.iter().map(of).collect::<Vec<_>>());
    let rank_correlation = rank_correlation(&eigenvalues, &changes);
    found.truncate(options.rows);
    let base = latent(latents, options.seed, options.index, &trained.device);
    let place = |step: usize| options.range * (2.0 * step as f64 / (options.steps - 1) as f64 - 1.0);
    let row = |d: &Direction| {
        (0..options.steps).map(|step| moved(&base, &d.vector, place(step))).collect::<Vec<_>>()
    };
    let all: Vec<Vec<f32>> = found.iter().flat_map(row).collect();
    let class = class_of(latents, None, options.index);
    let images = decode_as(latents, &all, &vec![class; all.len()], &trained.device);
    Ok(Directions { directions: found, rank_correlation, spread, random_spread, images })
}

/// The numbers of the latent values that are not of a categorical part.
fn continuous_values(latents: &dyn Latents) -> Vec<usize> {
    let priors = latents.priors().into_iter().enumerate();
    priors.filter(|(_, prior)| *prior != Prior::Categorical).map(|(value, _)| value).collect()
}

/// Eigenvectors of AᵀA in the continuous values.
fn of_weights(weights: &Rows, continuous: &[usize]) -> Vec<Direction> {
    let dims = continuous.len();
    let mut products = vec![0.0; dims * dims];
    for row in weights.iter() {
        for (i, products) in products.chunks_mut(dims).enumerate() {
            let own = f64::from(row[continuous[i]]);
            // Only values up to the diagonal are read.
            for (product, &other) in products[..=i].iter_mut().zip(continuous) {
                *product += own * f64::from(row[other]);
            }
        }
    }
    let eigen = symmetric_eigen(&products, dims);
    let direction = |(eigenvalue, vector): (f64, Vec<f64>)| {
        let mut whole = vec![0.0; weights.dims()];
        continuous.iter().zip(vector).for_each(|(&at, value)| whole[at] = value as f32);
        Direction { vector: whole, eigenvalue, change: 0.0, linear: None }
    };
    eigen.values.into_iter().zip(eigen.vectors).map(direction).collect()
}

/// Principal components of the features of samples, mapped back to latents.
fn of_samples(
    trained: &Trained,
    latents: &dyn Latents,
    continuous: &[usize],
    options: &DirectionOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Direction>> {
    let (device, shape) = (&trained.device, trained.spec.images()?);
    let model = trained.abilities().features;
    let mut report = Report::new("sampling", "images", options.samples, progress);
    let z = Rows::of_tensor(latents.draw(options.seed, 0..options.samples as u64, device));
    let (mut values, mut dims) = (Vec::new(), 1);
    for first in (0..options.samples).step_by(BATCH) {
        let batch: Vec<usize> = (first..options.samples.min(first + BATCH)).collect();
        let data =
            TensorData::new(z.select(&batch).iter().flatten().copied().collect(), [batch.len(), z.dims()]);
        let classes: Vec<_> = batch.iter().map(|&index| class_of(latents, None, index as u64)).collect();
        let samples = latents.decode(Tensor::from_data(data, device), &classes);
        let features = described(model, samples, [batch.len(), shape.height, shape.width, shape.channels]);
        dims = features.dims()[1];
        values.extend(features.into_data().iter::<f32>());
        report.add(batch.len());
    }
    progress(Progress::working("finding components"));
    let features = Rows::new(values, dims);
    let pca = Pca::fit(&features, options.rows.max(RANKED).min(continuous.len()));
    let coordinates = pca.project(&features);
    Ok(mapped_back(&z, &coordinates, &pca.variances, continuous))
}

fn described(model: Option<&dyn Features>, samples: Tensor<2>, shape: [usize; 4]) -> Tensor<2> {
    match model {
        Some(model) => model.features(samples.reshape(shape)),
        None => samples,
    }
}

/// For each coordinate the direction of latents that goes with it: the least squares of latents on coordinates, which do not correlate with
/// each other.
fn mapped_back(z: &Rows, coordinates: &Rows, variances: &[f64], continuous: &[usize]) -> Vec<Direction> {
    let means = z.means();
    let spreads = z.variances(&means);
    let count = z.len() as f64;
    let direction = |(component, &eigenvalue): (usize, &f64)| {
        let mut with = vec![0.0; z.dims()];
        for (z, coordinates) in z.iter().zip(coordinates.iter()) {
            let c = f64::from(coordinates[component]) / count;
            continuous.iter().for_each(|&value| with[value] += (f64::from(z[value]) - means[value]) * c);
        }
        let length = with.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        let parts =
            continuous.iter().map(|&value| with[value].powi(2) / spreads[value].max(f64::MIN_POSITIVE));
        // So much is explained by chance.
        let chance = continuous.len() as f64 / count;
        let linear = (parts.sum::<f64>() / eigenvalue.max(f64::MIN_POSITIVE) - chance).clamp(0.0, 1.0);
        let vector = with.iter().map(|value| (value / length) as f32).collect();
        Direction { vector, eigenvalue, change: 0.0, linear: Some(linear) }
    };
    variances.iter().enumerate().map(direction).collect()
}

/// `latent` after `step` steps in a direction.
fn moved(latent: &[f32], direction: &[f32], step: f64) -> Vec<f32> {
    latent.iter().zip(direction).map(|(&z, &d)| (f64::from(z) + step * f64::from(d)) as f32).collect()
}

/// Measures how much a step of 1 in each direction changes samples.
fn measure(
    latents: &dyn Latents,
    found: &mut [Direction],
    seed: u64,
    device: &Device,
    progress: &mut dyn FnMut(Progress),
) {
    let mut report = Report::new("measuring directions", "directions", found.len(), progress);
    let bases: Vec<Vec<f32>> = (0..MEASURED).map(|index| latent(latents, seed, index, device)).collect();
    let classes: Vec<_> = (0..MEASURED).flat_map(|index| [class_of(latents, None, index); 2]).collect();
    for direction in found {
        let ends = bases.iter().flat_map(|base| [-0.5, 0.5].map(|step| moved(base, &direction.vector, step)));
        let ends = decode_as(latents, &ends.collect::<Vec<_>>(), &classes, device);
        let size = ends.len() / (2 * bases.len());
        let change = |pair: &[u8]| {
            let (low, high) = pair.split_at(size);
            let squares = low.iter().zip(high).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
            (squares.sum::<f64>() / size as f64).sqrt()
        };
        direction.change = ends.chunks_exact(2 * size).map(change).sum::<f64>() / bases.len() as f64;
        report.add(1);
    }
}

/// Spearman's rank correlation; 0 where one of both does not vary.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    if scale > 0.0 { product(&a, &b) / scale } else { 0.0 }
}

/// The rank of each value; equal ones share their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let equal = values.iter().filter(|other| *other == value).count() as f64;
        below + (equal - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_of_a_matrix_made_by_hand_are_found() {
        // A = U diag(3, 2, ½) Vᵀ with V a turn by 30° in the first two values; the value in the middle is a category and left out.
        let (sine, cosine) = (0.5_f32, 0.75_f32.sqrt());
        let row = |scale: f32, v: [f32; 3]| [v[0] * scale, 7.0, v[1] * scale, v[2] * scale];
        let rows = [row(3.0, [cosine, sine, 0.0]), row(2.0, [-sine, cosine, 0.0]), row(0.5, [0.0, 0.0, 1.0])];
        let found = of_weights(&Rows::new(rows.concat(), 4), &[0, 2, 3]);
        let eigenvalues: Vec<f64> = found.iter().map(|direction| direction.eigenvalue).collect();
        assert!(
            eigenvalues.iter().zip([9.0, 4.0, 0.25]).all(|(a, b)| (a - b).abs() < 1e-5),
            "{eigenvalues:?}"
        );
        let near = |a: &[f32], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(&found[0].vector, [cosine, 0.0, sine, 0.0]), "{found:?}");
        assert!(near(&found[1].vector, [-sine, 0.0, cosine, 0.0]), "{found:?}");
    }

    #[test]
    fn components_are_mapped_back_to_the_latents_that_move_them() {
        // Features are a linear map of latents: f = (4 z₁, z₀ + z₂, noise without z).
        let (count, draw) =
            (4000, |purpose| crate::rng::normal(&mut crate::rng::generator(1, purpose, 0), 12_000));
        let (z, noise) = (Rows::new(draw("z"), 3), draw("noise"));
        let feature = |(i, z): (usize, &[f32])| [4.0 * z[1], z[0] + z[2], 0.5 * noise[i]];
        let features = Rows::new(z.iter().enumerate().flat_map(feature).collect(), 3);
        let pca = Pca::fit(&features, 3);
        let found = mapped_back(&z, &pca.project(&features), &pca.variances, &[0, 1, 2]);
        assert_eq!(found.len(), 3);
        assert!(found[0].vector[1].abs() > 0.995 && found[0].linear.unwrap() > 0.97, "{found:?}");
        let half = 0.5_f32.sqrt();
        assert!(
            (found[1].vector[0].abs() - half).abs() < 0.03 && found[1].vector[1].abs() < 0.05,
            "{found:?}"
        );
        assert!(found[2].linear.unwrap() < 0.02, "noise is no function of latents: {found:?} {count}");
    }

    #[test]
    fn ranks_correlate_whatever_the_scale() {
        assert!((rank_correlation(&[1.0, 2.0, 30.0], &[0.1, 5.0, 6.0]) - 1.0).abs() < 1e-12);
        assert!((rank_correlation(&[1.0, 2.0, 3.0], &[9.0, 4.0, 1.0]) + 1.0).abs() < 1e-12);
        assert_eq!(ranks(&[5.0, 1.0, 5.0]), [1.5, 0.0, 1.5]);
        assert_eq!(rank_correlation(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
    }

    #[test]
    fn random_weights_are_flat_and_planted_ones_are_not() {
        let spread = |planted: f32| {
            let mut weights = crate::rng::normal(&mut crate::rng::generator(2, "weights", 0), 400 * 20);
            weights.chunks_mut(20).for_each(|row| row[3] *= planted);
            let found = of_weights(&Rows::new(weights, 20), &(0..20).collect::<Vec<_>>());
            let mean = found.iter().map(|direction| direction.eigenvalue).sum::<f64>() / 20.0;
            let random_spread = Some((1.0 + (20.0_f64 / 400.0).sqrt()).powi(2));
            let spread = found[0].eigenvalue / mean;
            Directions { directions: found, rank_correlation: 0.0, spread, random_spread, images: Vec::new() }
        };
        assert!(spread(1.0).is_flat());
        assert!(!spread(3.0).is_flat());
    }
}
