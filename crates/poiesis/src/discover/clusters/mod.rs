//! Clusters of images in the features of a model, with exemplars, and how well they agree with known classes.

mod geometry;

use poiesis_collect::{Dataset, Split, View};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::geometry::Geometry;
use super::held_out;
use super::represent::{Report, each_batch};
use crate::abilities::Prior;
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::fitting::clusters::two_nearest;
use crate::fitting::{Contingency, Mixture, Pca, Rows, Standardizer, k_means, likeliest};
use crate::nn::flatten;
use crate::rng;
use crate::trained::Trained;

/// Largest number of principal components of the features.
const COMPONENTS: usize = 50;
/// Attempts of k-means.
const RESTARTS: u64 = 10;
/// Clusters where neither their number nor classes are given.
const USUAL: usize = 10;
/// Largest number of components of a mixture that is tried.
const MOST: usize = 20;
/// No value is stretched more than if it varied this part of what the most variable one does.
const LEAST_VARIATION: f64 = 0.1;
/// Pairs of resampled sets whose clusters are compared.
const PAIRS: u64 = 10;

/// What images are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterMethod {
    /// k-means on features.
    Kmeans,
    /// A mixture of normal distributions with diagonal covariances on features; their number by the Bayesian information criterion.
    Gmm,
    /// The model's own categorical code, as its encoder reads it from the image.
    Code,
}

/// How images are divided into clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterOptions {
    /// What they are divided by.
    pub method: ClusterMethod,
    /// How many clusters; `None` takes the number of classes, else ten, or what the criterion chooses.
    pub clusters: Option<usize>,
    /// Images, evenly spread over the split.
    pub images: usize,
    /// The split; `None` takes the test split if there is one, else the validation split.
    pub split: Option<Split>,
    /// Exemplars of each kind but the first in the picture.
    pub exemplars: usize,
    /// Seed of first centres and resampling.
    pub seed: u64,
}

/// A cluster and images that stand for it, by their numbers in the split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// How many images it has.
    pub size: usize,
    /// The class that it is matched with, and how many of its images are of that class.
    pub class: Option<(u32, usize)>,
    /// The image with the smallest mean distance from the others.
    pub medoid: Option<usize>,
    /// Images where the cluster is densest, the densest first.
    pub typical: Vec<usize>,
    /// Images that are almost as near to another cluster, the nearest first.
    pub border: Vec<usize>,
    /// Images farthest from the centre, the farthest first.
    pub outliers: Vec<usize>,
}

/// How well clusters agree with known classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassAgreement {
    /// Images with a class.
    pub images: usize,
    /// The fraction of them outside the best one-to-one matching of clusters and classes.
    pub error: f64,
    /// Normalised mutual information, over the mean of both entropies.
    pub nmi: f64,
    /// Adjusted Rand index.
    pub ari: f64,
    /// How many images of each cluster (row) are of each class (column).
    pub counts: Vec<Vec<u64>>,
}

/// Clusters of images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageClusters {
    /// The split.
    pub split: Split,
    /// How many images were divided.
    pub images: usize,
    /// Values of the features, and the principal components of them that distances are measured in.
    pub features: [usize; 2],
    /// The clusters, the largest first; those of a code in its order.
    pub clusters: Vec<Cluster>,
    /// Agreement with the classes, where they are known.
    pub classes: Option<ClassAgreement>,
    /// Mean silhouette (Rousseeuw 1987), −1 to 1: how much nearer images are to their own cluster than to the next one.
    pub silhouette: Option<f64>,
    /// Mean adjusted Rand index of the clusters of resampled sets; 1 for clusters that do not depend on the choice of images. `None` for a
    /// code.
    pub stability: Option<f64>,
    /// The Bayesian information criterion of each number of components that was tried; the lowest was chosen.
    pub criterion: Vec<(usize, f64)>,
    /// 8-bit images with `columns` in each row: for each cluster its medoid, then typical ones, border and outliers. Empty places are black.
    #[serde(skip)]
    pub picture: Vec<u8>,
    /// Images in a row.
    #[serde(skip)]
    pub columns: usize,
}

/// Divides held-out images into clusters by a model's features or its code; `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model has no features, or for `code` no encoder; [`Error::InvalidValue`] when its latents have no
/// categorical part, or there are fewer images than clusters; [`Error::NothingHeldOut`] and [`Error::Data`] when the split is not there.
pub fn clusters(
    trained: &Trained,
    dataset: &Dataset,
    options: &ClusterOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<ImageClusters> {
    let (shape, model) = (trained.spec.images()?, trained.features()?);
    let code = (options.method == ClusterMethod::Code).then(|| Code::of(trained)).transpose()?;
    let (split, view) = held_out(dataset, options.split)?;
    let indices: Vec<usize> = view.spread(options.images).collect();
    let labels: Vec<Option<u32>> = indices.iter().map(|&index| view.label(index)).collect();
    let asked = options.clusters.unwrap_or(USUAL.min(indices.len())).max(1);
    if asked > indices.len() {
        let reason = format!("there are {} images", indices.len());
        return Err(Error::invalid_value(
            "clusters",
            &asked.to_string(),
            &reason,
            "give fewer clusters, or more images",
        ));
    }
    let mut report = Report::new("reading features", "images", indices.len(), progress);
    let features = each_batch(&view, &indices, shape, &trained.device, &mut report, |x, _| model.features(x));
    let by_code = match &code {
        Some(code) => {
            let mut report = Report::new("reading codes", "images", indices.len(), progress);
            Some(code.read(trained, &view, &indices, &mut report)?)
        }
        None => None,
    };
    progress(Progress::working("dividing images"));
    let standard = Standardizer::of(&features).gentle(LEAST_VARIATION).apply(&features);
    let points = Pca::fit(&standard, COMPONENTS).project(&standard);
    let classes = dataset.card().classes.len();
    let count = options.clusters.or((classes > 1 && labels.iter().any(Option::is_some)).then_some(classes));
    let mut criterion = Vec::new();
    let (of_image, count) = match (by_code, code) {
        (Some(of_image), Some(code)) => (of_image, code.categories),
        _ => divide(&points, options, count, &mut criterion),
    };
    let (of_image, count) =
        if options.method == ClusterMethod::Code { (of_image, count) } else { by_size(of_image, count) };
    let geometry = Geometry { points: &points, of_image: &of_image };
    let mut found: Vec<Cluster> =
        (0..count).map(|cluster| geometry.exemplars(cluster, options.exemplars)).collect();
    let agreement = agreement(&of_image, &labels, &mut found);
    let stability = (options.method != ClusterMethod::Code).then(|| {
        progress(Progress::working("resampling"));
        stability(&points, options, count)
    });
    let silhouette = geometry.silhouette();
    let (picture, columns) = picture(&mut found, &view, &indices, options.exemplars, shape.dims());
    Ok(ImageClusters {
        split,
        images: indices.len(),
        features: [features.dims(), points.dims()],
        clusters: found,
        classes: agreement,
        silhouette,
        stability,
        criterion,
        picture,
        columns,
    })
}

/// A categorical part of latents.
struct Code {
    first: usize,
    categories: usize,
}

impl Code {
    /// The first one of a model's latents.
    fn of(trained: &Trained) -> Result<Code> {
        trained.encoder()?;
        let mut first = 0;
        for part in trained.latents()?.parts() {
            if part.prior == Prior::Categorical {
                return Ok(Code { first, categories: part.size });
            }
            first += part.size;
        }
        let reason = "the latents of this model have no categorical part";
        Err(Error::invalid_value("method", "code", reason, "choose the method `kmeans` or `gmm`"))
    }

    /// The likeliest category of each image.
    fn read(
        &self,
        trained: &Trained,
        view: &View,
        indices: &[usize],
        report: &mut Report<'_>,
    ) -> Result<Vec<usize>> {
        let (encoder, shape) = (trained.encoder()?, trained.spec.images()?);
        let latents = each_batch(view, indices, shape, &trained.device, report, |x, classes| {
            encoder.encode(flatten(x), classes)
        });
        let category = |row: &[f32]| {
            let probs = &row[self.first..self.first + self.categories];
            likeliest(&probs.iter().map(|&prob| f64::from(prob)).collect::<Vec<_>>())
        };
        Ok(latents.iter().map(category).collect())
    }
}

/// The cluster of each point by k-means or a mixture, and how many clusters there are.
fn divide(
    points: &Rows,
    options: &ClusterOptions,
    count: Option<usize>,
    criterion: &mut Vec<(usize, f64)>,
) -> (Vec<usize>, usize) {
    if options.method == ClusterMethod::Gmm && options.clusters.is_none() {
        let most = MOST.min(points.len() / 2).max(1);
        let fits: Vec<Mixture> =
            (1..=most).into_par_iter().map(|k| Mixture::fit(points, k, options.seed)).collect();
        criterion.extend(fits.iter().map(|fit| (fit.weights.len(), fit.bic(points.len()))));
        let best = fits.iter().min_by(|a, b| a.bic(points.len()).total_cmp(&b.bic(points.len())));
        return best.map_or((vec![0; points.len()], 1), |best| (best.assign(points), best.weights.len()));
    }
    let count = count.unwrap_or(USUAL).min(points.len());
    (assigned(points, points, options.method, count, RESTARTS, options.seed), count)
}

/// The cluster of each of `points`, for clusters of `rows`.
fn assigned(
    rows: &Rows,
    points: &Rows,
    method: ClusterMethod,
    count: usize,
    restarts: u64,
    seed: u64,
) -> Vec<usize> {
    match method {
        ClusterMethod::Gmm => Mixture::fit(rows, count, seed).assign(points),
        ClusterMethod::Kmeans | ClusterMethod::Code => {
            let centres = k_means(rows, count, restarts, seed).centres;
            points.iter().map(|row| two_nearest(row, &centres)[0].0).collect()
        }
    }
}

/// Numbers clusters by falling size, and leaves empty ones out.
fn by_size(of_image: Vec<usize>, count: usize) -> (Vec<usize>, usize) {
    let mut sizes = vec![0; count];
    of_image.iter().for_each(|&cluster| sizes[cluster] += 1);
    let mut order: Vec<usize> = (0..count).filter(|&cluster| sizes[cluster] > 0).collect();
    order.sort_by(|&a, &b| sizes[b].cmp(&sizes[a]));
    let mut place = vec![0; count];
    order.iter().enumerate().for_each(|(at, &cluster)| place[cluster] = at);
    (of_image.into_iter().map(|cluster| place[cluster]).collect(), order.len())
}

/// The mean adjusted Rand index between the clusters of pairs of resampled sets.
fn stability(points: &Rows, options: &ClusterOptions, count: usize) -> f64 {
    let resampled = |number: u64| {
        let mut generator = rng::generator(options.seed, "resampled", number);
        let chosen: Vec<usize> =
            (0..points.len()).map(|_| rng::below(&mut generator, points.len() as u64) as usize).collect();
        assigned(&points.select(&chosen), points, options.method, count, 1, options.seed ^ number)
    };
    let pair = |pair: u64| Contingency::of(&resampled(2 * pair), &resampled(2 * pair + 1)).ari();
    let all: Vec<f64> = (0..PAIRS).into_par_iter().map(pair).collect();
    all.iter().sum::<f64>() / PAIRS as f64
}

/// The agreement of clusters with the labels there are; each cluster receives the class it is matched with.
fn agreement(of_image: &[usize], labels: &[Option<u32>], found: &mut [Cluster]) -> Option<ClassAgreement> {
    let labelled =
        of_image.iter().zip(labels).filter_map(|(&cluster, label)| Some((cluster, (*label)? as usize)));
    let (clusters, classes): (Vec<usize>, Vec<usize>) = labelled.unzip();
    if classes.is_empty() {
        return None;
    }
    let counts = Contingency::of(&clusters, &classes);
    let (error, matching) = counts.matching_error();
    for ((cluster, class), counts) in found.iter_mut().zip(matching).zip(&counts.0) {
        // A class that none of its images has is only what the matching left over.
        let matched = class.map(|class| (class as u32, counts[class] as usize));
        cluster.class = matched.filter(|&(_, count)| count > 0);
    }
    Some(ClassAgreement {
        images: classes.len(),
        error,
        nmi: counts.nmi(),
        ari: counts.ari(),
        counts: counts.0,
    })
}

/// Turns places among the chosen images into numbers in the split, and lays the exemplars out in rows.
fn picture(
    found: &mut [Cluster],
    view: &View,
    indices: &[usize],
    exemplars: usize,
    dims: usize,
) -> (Vec<u8>, usize) {
    let columns = 1 + 3 * exemplars;
    let mut picture = vec![0; found.len() * columns * dims];
    for (cluster, row) in found.iter_mut().zip(picture.chunks_mut(columns * dims)) {
        let Cluster { medoid, typical, border, outliers, .. } = cluster;
        *medoid = medoid.map(|at| indices[at]);
        let mut places: Vec<(usize, usize)> = medoid.iter().map(|&index| (0, index)).collect();
        for (kind, all) in [typical, border, outliers].into_iter().enumerate() {
            all.iter_mut().for_each(|at| *at = indices[*at]);
            places.extend(all.iter().enumerate().map(|(i, &index)| (1 + kind * exemplars + i, index)));
        }
        for (column, index) in places {
            row[column * dims..(column + 1) * dims].copy_from_slice(view.image(index));
        }
    }
    (picture, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_numbered_by_size_and_matched_with_classes() {
        let (of_image, count) = by_size(vec![3, 1, 1, 3, 1, 0], 4);
        assert_eq!((of_image.clone(), count), (vec![1, 0, 0, 1, 0, 2], 3));
        let cluster =
            Cluster { size: 0, class: None, medoid: None, typical: vec![], border: vec![], outliers: vec![] };
        let mut found = vec![cluster; 3];
        let labels = [Some(0), Some(2), Some(2), None, Some(1), Some(1)];
        let agreement = agreement(&of_image, &labels, &mut found).unwrap();
        assert_eq!((agreement.images, agreement.error), (5, 0.19999999999999996));
        assert_eq!(
            found.iter().map(|c| c.class).collect::<Vec<_>>(),
            [Some((2, 2)), Some((0, 1)), Some((1, 1))]
        );
    }

    #[test]
    fn planted_clusters_are_stable_and_noise_is_not() {
        let options = ClusterOptions {
            method: ClusterMethod::Kmeans,
            clusters: None,
            images: 0,
            split: None,
            exemplars: 1,
            seed: 0,
        };
        let noise = rng::normal(&mut rng::generator(7, "test", 0), 2 * 200);
        let apart =
            noise.chunks(2).enumerate().flat_map(|(i, p)| [p[0] + 20.0 * (i % 3) as f32, p[1]]).collect();
        assert!(stability(&Rows::new(apart, 2), &options, 3) > 0.99);
        assert!(stability(&Rows::new(noise, 2), &options, 5) < 0.8);
    }
}
