//! How `poiesis evaluate` shows what it measures in features of images, and the picture of samples beside training images.

use std::path::{Path, PathBuf};

use anyhow::Result;
use poiesis::Trained;
use poiesis::evaluate::{
    ClassCoverage, DensityCoverage, Evaluation, FrechetDistance, InceptionScore, KernelDistance, Measured,
    Memorisation, PrecisionRecall,
};
use poiesis::features::ENOUGH_IMAGES;
use poiesis_collect::{Dataset, Split};
use serde_json::json;

use super::evaluate::chosen;
use super::pictures;
use crate::render::{count, number, program, quoted};

/// Columns of the picture: pairs of a sample and a training image.
const COLUMNS: usize = 8;
/// Images for each feature below which a Fréchet distance is noticeably too large.
const ENOUGH: usize = 10;

/// The result of a metric as text; `None` for another metric.
pub(super) fn section(name: &str, measured: &Measured, took: &str) -> Option<String> {
    match name {
        "frechet_distance" => measured.read().map(|found| frechet(&found, took)),
        "kernel_distance" => measured.read().map(|found| kernel(&found, took)),
        "inception_score" => measured.read().map(|found| score(&found, took)),
        "class_coverage" => measured.read().map(|found| classes(&found, took)),
        "precision_recall" => measured.read().map(|found| precision(&found, took)),
        "density_coverage" => measured.read().map(|found| density(&found, took)),
        "memorisation" => measured.read().map(|found| memorisation(&found, took)),
        _ => None,
    }
}

fn frechet(found: &FrechetDistance, took: &str) -> String {
    let mut text = format!(
        "\n{} (Fréchet distance; {} images per set, {}, {} features, {took})\n  {} samples   {} floor (training images)\n",
        found.name,
        count(found.images as u64),
        chosen(found.chosen),
        count(found.dims as u64),
        number(found.distance),
        number(found.floor),
    );
    if found.images < ENOUGH * found.dims {
        text.push_str(
            "  both are too large, as always with so few images: compare equal numbers of images only\n",
        );
    }
    text
}

fn kernel(found: &KernelDistance, took: &str) -> String {
    let subsets = match found.subsets {
        1 => "all of them at once".to_owned(),
        subsets => format!("{subsets} subsets of {}", count(found.subset as u64)),
    };
    let value = |value: f64, deviation: Option<f64>| match deviation {
        Some(deviation) => format!("{value:.5} ± {deviation:.5}"),
        None => format!("{value:.5}"),
    };
    format!(
        "\n{} (kernel distance; {} images per set, {}, {subsets}, {took})\n  {} samples   {} floor (training images)\n",
        found.name,
        count(found.images as u64),
        chosen(found.chosen),
        value(found.distance, found.deviation),
        value(found.floor, found.floor_deviation),
    )
}

fn score(found: &InceptionScore, took: &str) -> String {
    format!(
        "\n{} (Inception score; {} images in {} parts, {} classes, {took})\n  {:.3} ± {:.3} samples   {:.3} held-out images\n",
        found.name,
        count(found.images as u64),
        found.splits,
        count(found.classes as u64),
        found.score,
        found.deviation,
        found.score_of_data,
    )
}

fn classes(found: &ClassCoverage, took: &str) -> String {
    format!(
        "\nclasses found ({} images per set, classified by {}, {took})\n  {} of {} in samples   {} in held-out images\n  {:.4} nats \
         from the frequencies of training images   {:.4} of held-out images\n",
        count(found.images as u64),
        found.features,
        count(found.found as u64),
        count(found.classes as u64),
        count(found.found_in_data as u64),
        found.kl,
        found.kl_of_data,
    )
}

fn precision(found: &PrecisionRecall, took: &str) -> String {
    format!(
        "\n{} (precision and recall; {} images per set, {}, {} neighbours, {took})\n  {:.3} precision, {:.3} recall of samples   {:.3}, {:.3} of \
         training images\n",
        found.name,
        count(found.images as u64),
        chosen(found.chosen),
        found.neighbours,
        found.precision,
        found.recall,
        found.precision_of_data,
        found.recall_of_data,
    )
}

fn density(found: &DensityCoverage, took: &str) -> String {
    format!(
        "\n{} (density and coverage; {} images per set, {}, {} neighbours, {took})\n  {:.3} density, {:.3} coverage of samples   {:.3}, {:.3} of \
         training images   {:.3} coverage expected of a perfect model\n",
        found.name,
        count(found.images as u64),
        chosen(found.chosen),
        found.neighbours,
        found.density,
        found.coverage,
        found.density_of_data,
        found.coverage_of_data,
        found.expected_coverage,
    )
}

fn memorisation(found: &Memorisation, took: &str) -> String {
    let copying = match found.copying {
        Some(z) => format!(
            "{z:.1} over {} of 3 cells; far below 0 means closer than held-out images",
            found.copying_cells
        ),
        None => "not measured: there are too few images".to_owned(),
    };
    format!(
        "\nmemorisation ({} samples, {} held-out {}, {} searched, {took})\n  distance to training ÷ held-out images  {:.3} \
         for samples   {:.3} for held-out images\n  authentic  {:.1} % of samples   {:.1} % of held-out images\n  C_T  \
         {copying}\n",
        count(found.samples as u64),
        count(found.held_out as u64),
        chosen(found.chosen),
        count(found.searched as u64),
        found.distance_ratio,
        found.distance_ratio_of_data,
        found.authentic * 100.0,
        found.authentic_of_data * 100.0,
    )
}

/// Writes the samples that are closest to training images beside these, next to the file of the results, unless it is there; returns
/// where.
pub(super) fn write_closest(
    evaluation: &Evaluation,
    trained: &Trained,
    results: &Path,
) -> Result<Option<PathBuf>> {
    if evaluation.closest.is_empty() {
        return Ok(None);
    }
    let path = pictures::beside(results, "closest");
    if !path.exists() {
        let made =
            json!({ "verb": "evaluate", "seed": evaluation.seed, "pairs": "sample, nearest training image" });
        let picture = pictures::grid(&evaluation.closest, trained.spec.images()?, COLUMNS, None);
        picture.write_png(&path, Some(&pictures::parameters(trained, made)))?;
    }
    Ok(Some(path))
}

/// How to make the feature network of the data, where images were measured without one, or that these are too few for one. `given` is what
/// --data names, and `flags` find the data of the run.
pub(super) fn how_to_compare(
    evaluation: &Evaluation,
    trained: &Trained,
    given: Option<&str>,
    flags: &str,
    dataset: &Dataset,
) -> Option<String> {
    let has = |metric: &str| evaluation.results.contains_key(metric);
    let lacks = has("sliced_wasserstein") && !has("frechet_distance");
    let images = dataset.card().count(Split::Train);
    lacks.then(|| {
        if images < ENOUGH_IMAGES {
            return format!(
                "for Fréchet distance, precision and recall, give the weights of Inception with --inception-weights FILE: a feature \
                 network of the data seldom succeeds with fewer than {} training images, and there are {}",
                count(ENOUGH_IMAGES as u64),
                count(images as u64)
            );
        }
        let (data, flags) = match given {
            // The run knows how its data are prepared.
            None => (trained.path().display().to_string(), flags),
            Some(packed) if Dataset::open(Path::new(packed)).is_ok() => (packed.to_owned(), ""),
            Some(_) => (dataset.folder().display().to_string(), ""),
        };
        let (program, data) = (program(), quoted(&data));
        format!("for Fréchet distance, precision and recall, first: {program} features {data}{flags}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_of_few_images_says_that_it_is_too_large() {
        let found = |images| FrechetDistance {
            name: "FD[x-01234567]".into(),
            features: "x-01234567".into(),
            dims: 64,
            images,
            chosen: poiesis::evaluate::Chosen::Random,
            seed: 0,
            distance: 12.5,
            floor: 0.25,
        };
        let text = |images| section("frechet_distance", &Measured::timed(|| found(images)), "1.0 s").unwrap();
        assert!(text(639).contains("too large") && !text(640).contains("too large"));
        assert!(text(640).starts_with("\nFD[x-01234567] (Fréchet distance; 640 images"), "{}", text(640));
        assert!(section("other", &Measured::timed(|| found(1)), "").is_none());
    }
}
