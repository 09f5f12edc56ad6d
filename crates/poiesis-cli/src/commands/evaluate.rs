//! `poiesis evaluate`: measures a model on held-out data, each number with its protocol.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::abilities::Likelihood;
use poiesis::apply::anomaly::AnomalyProtocol;
use poiesis::atomic;
use poiesis::data::MediaKind;
use poiesis::evaluate::{
    Bound, Chosen, Evaluation, ImageNll, METRICS, Measured, ModeCoverage, NeighbourStatistics, ObjectsFound,
    PointNll, Progress, Protocol, SlicedWasserstein, TokenNll, evaluate,
};
use poiesis::generate::can_generate;
use poiesis_collect::Split;

use super::confusion;
use super::discover::{OfData, verdict};
use super::evaluate_agent::{self, OfAgent};
use super::evaluate_anomalies;
use super::evaluate_images;
use super::inspect::split;
use super::pictures::positive;
use crate::args::OfRun;
use crate::render::{Meter, count, duration, expect_none, failure, note, number, result};

/// Measure a trained model on held-out data, or an agent in its environment
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis evaluate runs/dcgan-shapes
  poiesis evaluate runs/vae-mnist --importance-samples 5000
  poiesis evaluate runs/vae-mnist --split validation --images 1000 --json
  poiesis evaluate runs/vae-fashion-mnist --anomalies mnist
  poiesis features mnist && poiesis evaluate runs/dcgan-mnist        with Fréchet distance, precision, recall, …
  poiesis evaluate runs/dcgan-cifar10 --inception-weights pt_inception-2015-12-05-6726825d.pth        FID
  poiesis evaluate runs/gail-hopper --episodes 100                   an agent: its returns

The likelihood is measured in nats and in bits, exactly or as a bound on log p with an importance-weighted \
estimate. A classifier is measured by its errors, by how far its probabilities can be trusted, before and after \
temperature scaling, and by what it takes for what. A model that finds objects is measured by how often it counts \
them right and by how well its boxes fit, where the data have boxes. A model of images is also measured by the sliced Wasserstein distance of its samples to held-out \
images, next to that of training images (the floor) and of images with shuffled pixels (the ceiling), and by how \
close samples are to training images; a picture of the closest ones is saved beside the results. With the feature network \
of the data (poiesis features DATA|RUN) or the weights of Inception there are also the Fréchet and the kernel distance, \
precision and recall, density and coverage, and the Inception score, each beside that of real images. All sets have the same number of images, drawn at random; with --split train \
they are disjoint parts of it. Results are saved in the run as evaluation-STEP.json.

An agent plays 50 episodes with its most probable actions, and the same 50 with drawn ones. Starts depend on the seed alone, so all agents meet the same ones. Its returns stand beside those of random actions and, where it learned from demonstrations or --demos names some, beside the expert's: normalised, random actions are 0 and the expert is 1.

With --anomalies it is measured instead how well each score of `poiesis anomaly` tells these images from held-out ones: \
AUROC with its interval of 95 %, average precision, and the false alarms where 95 % are found, beside controls that need no \
model. Results are saved as anomalies-STEP.json.")]
pub(crate) struct Evaluate {
    #[command(flatten)]
    of: OfRun,
    #[command(flatten)]
    data: OfData,
    /// Split to measure on [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Images whose likelihood, class or objects are measured, spread over the split; with --anomalies, usual images and anomalies
    /// [default: all].
    #[arg(long, value_name = "N", value_parser = positive)]
    images: Option<usize>,
    /// Draws per image for the importance-weighted estimate; 1 leaves it out [default: 16].
    #[arg(long, value_name = "N", value_parser = positive)]
    importance_samples: Option<usize>,
    /// Number of samples to draw from the model [default: 2000].
    #[arg(long, value_name = "N", value_parser = positive)]
    samples: Option<usize>,
    /// Number of random directions of the sliced Wasserstein distance [default: 512].
    #[arg(long, value_name = "N", value_parser = positive)]
    directions: Option<usize>,
    /// Weights of Inception: the .pth of pytorch-fid, or safetensors [default: the feature network of the data, if there is one].
    #[arg(long, value_name = "FILE")]
    inception_weights: Option<PathBuf>,
    /// Measure how well these images are told from held-out ones: a folder, an archive, the name of a data set, or `others` for
    /// the classes that the run's `data.classes` leaves out.
    #[arg(
        long,
        value_name = "FOLDER|DATA",
        conflicts_with_all = [
            "importance_samples", "samples", "directions", "inception_weights", "episodes", "max_steps", "env", "demos"
        ]
    )]
    anomalies: Option<String>,
    #[command(flatten)]
    agent: OfAgent,
    /// Seed of samples, noise, directions and episodes.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Also write the results to this file.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(out) = self.out.as_ref().filter(|out| out.exists()) {
            return Err(failure(format!("{} exists", out.display()), "give another --out"));
        }
        if let Some(out) = &self.out {
            atomic::expect_writable(out)?;
        }
        let trained = self.of.open()?;
        if let Some(what) = &self.anomalies {
            return self.anomalies(&trained, what);
        }
        self.expect_flags_apply(&trained)?;
        if trained.spec.media() == MediaKind::Experience {
            let places = self.data.places()?;
            return self.finish(&trained, &self.agent.measure(&trained, &places, self.seed, self.json)?);
        }
        let dataset = self.data.open(&trained)?;
        let mut meters = Meters::new(self.json);
        let evaluation = evaluate(&trained, &dataset, &self.protocol(), &mut |at| meters.show(at))?;
        meters.end();
        let text = evaluation.to_json()?;
        // Shown first: what was measured is not lost when it cannot be saved.
        result(if self.json { text.clone() } else { render(&evaluation) }.as_str())?;
        if let Some(out) = &self.out {
            atomic::write(out, text.as_bytes())?;
        }
        let kept = evaluation.keep(trained.path())?;
        let confusions = confusion::write_picture(&evaluation, &kept)?;
        let closest = evaluate_images::write_closest(&evaluation, &trained, &kept)?;
        if !self.json {
            note(&format!("kept in {}", kept.display()));
            confusions.iter().for_each(|path| note(&format!("confusions drawn in {}", path.display())));
            closest.iter().for_each(|path| note(&format!("closest training images: {}", path.display())));
            let (given, flags) = (self.data.source(), self.data.flags(&trained));
            let how = evaluate_images::how_to_compare(&evaluation, &trained, given, &flags, &dataset);
            how.iter().for_each(|line| note(line));
        }
        Ok(())
    }

    /// Shows and keeps what was measured of an agent.
    fn finish(&self, trained: &Trained, evaluation: &Evaluation) -> Result<()> {
        let text = evaluation.to_json()?;
        result(if self.json { text.clone() } else { render(evaluation) }.as_str())?;
        if let Some(out) = &self.out {
            atomic::write(out, text.as_bytes())?;
        }
        let kept = evaluation.keep(trained.path())?;
        if !self.json {
            note(&format!("kept in {}", kept.display()));
        }
        Ok(())
    }

    /// Measures how well anomalies are found.
    fn anomalies(&self, trained: &Trained, what: &str) -> Result<()> {
        let protocol = AnomalyProtocol { split: self.split, images: self.images, seed: self.seed };
        let evaluation = evaluate_anomalies::measure(trained, &self.data, what, &protocol, self.json)?;
        let text = evaluation.to_json()?;
        result(if self.json { text.clone() } else { evaluate_anomalies::render(&evaluation) }.as_str())?;
        if let Some(out) = &self.out {
            atomic::write(out, text.as_bytes())?;
        }
        let kept = evaluation.keep(trained.path())?;
        if !self.json {
            note(&format!("kept in {}", kept.display()));
        }
        Ok(())
    }

    /// Refuses flags of what is not measured of the model.
    fn expect_flags_apply(&self, trained: &Trained) -> Result<()> {
        let abilities = trained.abilities();
        let sampled = trained.spec.media() == MediaKind::Images && can_generate(&abilities);
        let with_likelihood = abilities.likelihood.is_some()
            && matches!(trained.spec.media(), MediaKind::Images | MediaKind::Points);
        let with_bound = abilities.likelihood.and_then(Likelihood::bound).is_some();
        let each_image = with_likelihood || abilities.classifier.is_some() || abilities.objects.is_some();
        let is_agent = trained.spec.media() == MediaKind::Experience;
        let of_agents = self.agent.given().map(|(flag, given)| (flag, given && !is_agent));
        let flags = [
            ("--data", self.data.is_given() && is_agent),
            ("--split", self.split.is_some() && is_agent),
            ("--images", self.images.is_some() && !each_image),
            ("--importance-samples", self.importance_samples.is_some() && !with_bound),
            ("--samples", self.samples.is_some() && !sampled),
            ("--directions", self.directions.is_some() && !sampled),
            ("--inception-weights", self.inception_weights.is_some() && !sampled),
        ];
        let flags = [&flags[..], &of_agents].concat();
        expect_none(&format!("{}, a model of {}", trained.entry.name(), trained.spec.media().name()), &flags)
    }

    fn protocol(&self) -> Protocol {
        let usual = Protocol::default();
        Protocol {
            split: self.split,
            images: self.images,
            importance_samples: self.importance_samples.map_or(usual.importance_samples, |n| n as u64),
            samples: self.samples.unwrap_or(usual.samples),
            directions: self.directions.unwrap_or(usual.directions),
            inception_weights: self.inception_weights.clone(),
            seed: self.seed,
            ..usual
        }
    }
}

/// The progress of the current work.
pub(crate) struct Meters {
    now: Option<(&'static str, Meter)>,
    quiet: bool,
}

impl Meters {
    /// Shows none yet, and none at all if `quiet`.
    pub(crate) fn new(quiet: bool) -> Meters {
        Meters { now: None, quiet }
    }

    pub(crate) fn show(&mut self, Progress { what, unit, done, total }: Progress) {
        if self.now.as_ref().is_none_or(|(before, _)| *before != what) {
            self.end();
            let meter = match total {
                Some(_) => Meter::new(what, unit, total, self.quiet),
                None => Meter::working(what, self.quiet),
            };
            self.now = Some((what, meter));
        } else if let Some((_, meter)) = &self.now {
            meter.at(done, total);
        }
    }

    pub(crate) fn end(&mut self) {
        if let Some((_, meter)) = self.now.take() {
            meter.end();
        }
    }
}

fn render(evaluation: &Evaluation) -> String {
    let Evaluation { run, step, weights, data, fingerprint, split, seed, .. } = evaluation;
    let short = fingerprint.get(..12).unwrap_or(fingerprint);
    let on = split.map_or_else(String::new, |split| format!(", on the {split} split of {data} ({short}…)"));
    let mut text = format!("{run}, step {}, {} weights{on}, seed {seed}\n", count(*step), weights.name());
    let has = |metric: &str| evaluation.results.contains_key(metric);
    if !["bound", "image_nll", "point_nll", "token_nll", "return"].into_iter().any(has) {
        text.push_str(&format!("\nno likelihood: {} does not give one\n", evaluation.model));
    }
    for metric in METRICS {
        if let Some(measured) = evaluation.results.get(metric.name) {
            text.push_str(&section(metric.name, measured));
        }
    }
    text
}

/// The result of a metric as text; its values by name for a metric without a text of its own.
fn section(name: &str, measured: &Measured) -> String {
    let took = duration(measured.seconds);
    let words = match name {
        "bound" => measured.read().map(|bound| render_bound(&bound, &took)),
        "image_nll" => measured.read().map(|nll| render_image_nll(&nll, &took)),
        "point_nll" => measured.read().map(|nll| render_point_nll(&nll, &took)),
        "token_nll" => measured.read().map(|nll| render_token_nll(&nll, &took)),
        "mode_coverage" => measured.read().map(|found| render_modes(&found, &took)),
        "classification" => measured.read().map(|found| confusion::render(&found, &took)),
        "objects" => measured.read().map(|found| render_objects(&found, &took)),
        "return" | "sampled_return" => measured.read().map(|returns| evaluate_agent::render(&returns, &took)),
        "sliced_wasserstein" => measured.read().map(|distance| render_distance(&distance, &took)),
        "neighbours" => measured.read().map(|near| render_neighbours(&near, &took)),
        other => evaluate_images::section(other, measured, &took),
    };
    words.unwrap_or_else(|| {
        let values: String =
            measured.values.iter().map(|(key, value)| format!("  {key} {value}\n")).collect();
        format!("\n{name} ({took})\n{values}")
    })
}

/// A standard error after the value that it belongs to: ` ± 0.25`; empty for one example, which has none.
pub(super) fn plus_minus(error: Option<f64>, digits: usize) -> String {
    error.map(|error| format!(" ± {error:.digits$}")).unwrap_or_default()
}

fn render_bound(bound: &Bound, took: &str) -> String {
    let mut text = format!(
        "\nbound (evidence lower bound, negative; {} images, {} draws each, {took})\n  {:.2}{} nats = {:.4} \
         bits/dim  (reconstruction {:.2}, KL {:.2})\n",
        count(bound.protocol.images as u64),
        count(bound.protocol.samples),
        bound.nats,
        plus_minus(bound.nats_error, 2),
        bound.bits_per_dim,
        bound.reconstruction,
        bound.kl,
    );
    if bound.protocol.samples > 1 {
        text.push_str(&format!(
            "  {:.2} nats = {:.4} bits/dim, importance-weighted with {} samples\n",
            bound.weighted_nats,
            bound.weighted_bits_per_dim,
            count(bound.protocol.samples)
        ));
    }
    text
}

fn render_image_nll(nll: &ImageNll, took: &str) -> String {
    format!(
        "\nnegative log-likelihood (exact; {} images, {took})\n  {:.2}{} nats = {:.4} bits/dim\n",
        count(nll.images as u64),
        nll.nats,
        plus_minus(nll.nats_error, 2),
        nll.bits_per_dim,
    )
}

fn render_point_nll(nll: &PointNll, took: &str) -> String {
    format!(
        "\nnegative log-likelihood (exact, of a density; {} points, {took})\n  {:.4}{} nats\n",
        count(nll.points as u64),
        nll.nats,
        plus_minus(nll.nats_error, 4),
    )
}

fn render_token_nll(nll: &TokenNll, took: &str) -> String {
    format!(
        "\nnegative log-likelihood (exact; {} tokens in windows of {}, {} apart, {took})\n  {:.4}{} nats = {:.4} \
         bits per token\n",
        count(nll.tokens),
        count(nll.window as u64),
        count(nll.stride as u64),
        nll.nats,
        plus_minus(nll.nats_error, 4),
        nll.nats / std::f64::consts::LN_2,
    )
}

fn render_modes(found: &ModeCoverage, took: &str) -> String {
    format!(
        "\nmodes ({} samples, {took})\n  {} of {} found   {:.1} % of samples within 3 deviations of one   {:.1} % of held-out points\n",
        count(found.samples as u64),
        count(found.found as u64),
        count(found.modes as u64),
        found.near * 100.0,
        found.near_held_out * 100.0,
    )
}

fn render_objects(found: &ObjectsFound, took: &str) -> String {
    format!(
        "\nobjects ({} images, {took})\n  {:.2}{} % counted right   {:.2} % by always giving the commonest number\n  \
         {:.3} intersection over union of boxes   {:.2} found per image, {:.2} are there\n",
        count(found.images as u64),
        found.count_accuracy * 100.0,
        plus_minus(found.standard_error.map(|error| error * 100.0), 2),
        found.chance * 100.0,
        found.iou,
        found.found,
        found.objects,
    )
}

fn render_distance(distance: &SlicedWasserstein, took: &str) -> String {
    format!(
        "\nsliced Wasserstein distance, grey levels ({} images per set, {}, {} directions, {took})\n  {} samples   {} floor \
         (training images)   {} ceiling (shuffled pixels)\n",
        count(distance.images as u64),
        chosen(distance.chosen),
        count(distance.directions as u64),
        number(distance.distance),
        number(distance.floor),
        number(distance.ceiling),
    )
}

fn render_neighbours(near: &NeighbourStatistics, took: &str) -> String {
    format!(
        "\nnearest training images ({} samples, {} held-out {}, {} searched, {took})\n  {}\n  {:.2} different training \
         images per sample\n",
        count(near.samples as u64),
        count(near.held_out as u64),
        chosen(near.chosen),
        count(near.searched as u64),
        verdict(near).replace('\n', "\n  "),
        near.variety,
    )
}

pub(super) fn chosen(chosen: Chosen) -> &'static str {
    match chosen {
        Chosen::Spread => "evenly spread",
        Chosen::Random => "drawn at random",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_example_has_no_error() {
        let nll = |points, nats_error| {
            let measured = Measured::timed(|| PointNll { points, nats: 2.0, nats_error });
            section("point_nll", &measured)
        };
        assert!(nll(9, Some(0.25)).contains("2.0000 ± 0.2500 nats"), "{}", nll(9, Some(0.25)));
        assert!(nll(1, None).contains("2.0000 nats"), "{}", nll(1, None));
    }

    #[test]
    fn every_metric_has_words_and_a_new_one_shows_its_values() {
        let measured = Measured::timed(|| SlicedWasserstein {
            images: 10,
            chosen: Chosen::Random,
            directions: 32,
            seed: 0,
            distance: 2.5,
            floor: 1.0,
            ceiling: 30.0,
        });
        assert!(section("sliced_wasserstein", &measured).contains("1.000 floor"));
        assert!(section("new", &measured).contains("\n  floor 1.0\n"));
    }
}
