//! Images as points of the plane: principal components of their latents or features, and t-SNE, which keeps neighbours together.

use poiesis_collect::{Dataset, Split};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::held_out;
use super::represent::{Report, each_batch};
use crate::abilities::Ability;
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::fitting::clusters::squared_distance;
use crate::fitting::{Pca, Rows, Standardizer, T_SNE_STEPS, t_sne};
use crate::nn::flatten;
use crate::trained::Trained;

/// Fewest images that make a map.
const FEWEST: usize = 10;
/// Largest number of principal components that t-SNE sees.
const COMPONENTS: usize = 50;
/// No feature is stretched more than if it varied this part of what the most variable one does.
const LEAST_VARIATION: f64 = 0.1;
/// Neighbours that are counted.
const NEIGHBORS: usize = 10;

/// What of an image is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Represented {
    /// The latents that the model encodes it as.
    Latents,
    /// The model's features of it, standardised.
    Features,
}

/// What is mapped and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EmbedOptions {
    /// What of an image is mapped; latents where the model has an encoder, else features.
    pub of: Option<Represented>,
    /// How many images, evenly spread over the split.
    pub images: usize,
    /// The split; test if there is one, else validation.
    pub split: Option<Split>,
    /// About how many neighbours each image has for t-SNE; at most a third of the images.
    pub perplexity: f64,
}

/// Points of the plane.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Map {
    /// The coordinates of each image.
    pub points: Vec<[f32; 2]>,
    /// The part of the ten nearest images, by what is mapped, that are among the ten nearest on the map.
    pub neighbors_kept: f64,
}

/// Maps of images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Embedded {
    /// The split.
    pub split: Split,
    /// What of an image is mapped.
    pub of: Represented,
    /// Values of it.
    pub dims: usize,
    /// The numbers of the images in the split.
    pub indices: Vec<usize>,
    /// Their labels.
    pub labels: Vec<Option<u32>>,
    /// Their first two principal components.
    pub pca: Map,
    /// The part of the variance along these two.
    pub variance: f64,
    /// t-SNE.
    pub tsne: Map,
    /// The perplexity that was used.
    pub perplexity: f64,
    /// The part of ten neighbours that a random map keeps.
    pub neighbors_by_chance: f64,
    /// The images, 8-bit, one after another.
    #[serde(skip)]
    pub images: Vec<u8>,
}

/// Maps images of the run's data; `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model has neither an encoder nor features, or not what was asked for; [`Error::InvalidValue`] for
/// a model of other data than images and for too few images; [`Error::NothingHeldOut`].
pub fn embed(
    trained: &Trained,
    dataset: &Dataset,
    options: &EmbedOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Embedded> {
    let (shape, abilities) = (trained.spec.images()?, trained.abilities());
    let usual = if abilities.encoder.is_some() { Represented::Latents } else { Represented::Features };
    let of = options.of.unwrap_or(usual);
    if options.of.is_none() && abilities.encoder.is_none() && abilities.features.is_none() {
        return Err(trained.cannot(Ability::Features));
    }
    let (split, view) = held_out(dataset, options.split)?;
    let indices: Vec<usize> = view.spread(options.images).collect();
    if indices.len() < FEWEST {
        let value = indices.len().to_string();
        let reason = "so few images make no map";
        return Err(Error::invalid_value("images", &value, reason, &format!("give at least {FEWEST}")));
    }
    let mut report = Report::new("encoding", "images", indices.len(), progress);
    let device = &trained.device;
    let rows = match of {
        Represented::Latents => {
            let encoder = trained.encoder()?;
            each_batch(&view, &indices, shape, device, &mut report, |images, classes| {
                encoder.encode(flatten(images), classes)
            })
        }
        Represented::Features => {
            let features = trained.features()?;
            let rows = each_batch(&view, &indices, shape, device, &mut report, |images, _| {
                features.features(images)
            });
            Standardizer::of(&rows).gentle(LEAST_VARIATION).apply(&rows)
        }
    };
    progress(Progress::working("finding components"));
    let components = Pca::fit(&rows, COMPONENTS);
    let reduced = components.project(&rows);
    let plane = first_two(&reduced);
    let explained: f64 = components.variances.iter().take(2).sum();
    let most = (indices.len() - 1) as f64 / 3.0;
    let perplexity = options.perplexity.min(most.floor());
    let map = t_sne(&reduced, &plane, perplexity, &mut |done| {
        let total = Some(T_SNE_STEPS as u64);
        progress(Progress { what: "mapping neighbours", unit: "steps", done: done as u64, total });
    });
    progress(Progress::working("counting neighbours"));
    let near = nearest(&rows);
    let map_of = |points: &Rows| Map {
        points: points.iter().map(|point| [point[0], point[1]]).collect(),
        neighbors_kept: kept(&near, &nearest(points)),
    };
    Ok(Embedded {
        split,
        of,
        dims: rows.dims(),
        labels: indices.iter().map(|&index| view.label(index)).collect(),
        images: indices.iter().flat_map(|&index| view.image(index)).copied().collect(),
        pca: map_of(&plane),
        variance: explained / components.total_variance.max(f64::MIN_POSITIVE),
        tsne: map_of(&map),
        perplexity,
        neighbors_by_chance: NEIGHBORS.min(indices.len() - 1) as f64 / (indices.len() - 1) as f64,
        indices,
    })
}

/// The first two values of each row; the second is 0 where there is one.
fn first_two(rows: &Rows) -> Rows {
    let point = |row: &[f32]| [row[0], row.get(1).copied().unwrap_or(0.0)];
    Rows::new(rows.iter().flat_map(point).collect(), 2)
}

/// The nearest other rows of each, sorted by number.
fn nearest(rows: &Rows) -> Vec<Vec<usize>> {
    let of_row = |at: usize| {
        let distance = |other: usize| squared_distance(rows.row(at), rows.row(other));
        let mut others: Vec<(f64, usize)> =
            (0..rows.len()).filter(|&other| other != at).map(|other| (distance(other), other)).collect();
        others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut near: Vec<usize> = others.into_iter().take(NEIGHBORS).map(|(_, other)| other).collect();
        near.sort_unstable();
        near
    };
    (0..rows.len()).into_par_iter().map(of_row).collect()
}

/// The part of the neighbours that are the same.
fn kept(before: &[Vec<usize>], after: &[Vec<usize>]) -> f64 {
    let same = |(before, after): (&Vec<usize>, &Vec<usize>)| {
        before.iter().filter(|other| after.binary_search(other).is_ok()).count()
    };
    let all: usize = before.iter().map(Vec::len).sum();
    before.iter().zip(after).map(same).sum::<usize>() as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng;

    #[test]
    fn neighbours_are_kept_by_what_keeps_distances_and_not_by_chance() {
        let noise = rng::normal(&mut rng::generator(1, "test", 0), 600);
        let rows = Rows::new(noise[..400].to_vec(), 2);
        let near = nearest(&rows);
        assert!(near.iter().enumerate().all(|(at, near)| near.len() == 10 && !near.contains(&at)));
        let turned = Rows::new(rows.iter().flat_map(|p| [3.0 * p[1], -3.0 * p[0]]).collect(), 2);
        assert_eq!(kept(&near, &nearest(&turned)), 1.0);
        let other = Rows::new(noise[200..].to_vec(), 2);
        let by_chance = kept(&near, &nearest(&other));
        assert!((by_chance - 10.0 / 199.0).abs() < 0.03, "{by_chance}");
        assert_eq!(first_two(&Rows::new(vec![1.0, 2.0], 1)).row(1), [2.0, 0.0]);
    }
}
