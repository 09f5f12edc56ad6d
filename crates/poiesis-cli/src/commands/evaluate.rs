//! `poiesis evaluate`: one evaluation for every model, each number with how it was measured.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use poiesis::Trained;
use poiesis::apply::sample;
use poiesis::evaluate::{
    Bound, BoundProtocol, NeighbourStatistics, SlicedWasserstein, bound, neighbour_statistics,
    sliced_wasserstein,
};
use poiesis::run::Machine;
use poiesis_collect::{Dataset, Split, View};
use serde::Serialize;

use super::discover::{OfData, verdict};
use super::inspect::split;
use super::pictures::{positive, weights};
use crate::args::OfRun;
use crate::render::{Meter, count, duration, note, number, result};

/// Images on each side whose nearest neighbours are searched.
const NEIGHBOURS: usize = 1000;
/// Samples drawn at a time.
const PIECE: usize = 64;

/// Measure a trained model on held-out data
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis evaluate runs/dcgan-shapes
  poiesis evaluate runs/vae-mnist --importance-samples 5000
  poiesis evaluate runs/vae-mnist --split validation --images 1000 --json

A model with a likelihood is measured by its bound on log p: in nats for each image and in bits for each of its
numbers, with an importance-weighted estimate. Every model is measured by the sliced Wasserstein distance of its
samples from held-out images, beside that of training images (the floor) and of images with shuffled pixels (the
ceiling), and by how near samples lie to training images. Results are kept in the run as evaluation-STEP.json.")]
pub(crate) struct Evaluate {
    #[command(flatten)]
    of: OfRun,
    #[command(flatten)]
    data: OfData,
    /// Split to measure on [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Images whose likelihood is measured [default: all of the split].
    #[arg(long, value_name = "N", value_parser = positive)]
    images: Option<usize>,
    /// Draws for each image in the importance-weighted estimate; 1 leaves it out.
    #[arg(long, value_name = "N", default_value = "16", value_parser = positive)]
    importance_samples: usize,
    /// Samples drawn from the model.
    #[arg(long, value_name = "N", default_value = "2000", value_parser = positive)]
    samples: usize,
    /// Random directions of the sliced Wasserstein distance.
    #[arg(long, value_name = "N", default_value = "512", value_parser = positive)]
    directions: usize,
    /// Seed of samples, noise and directions.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Write the results to this file too.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

/// All that was measured, and on what.
#[derive(Debug, Serialize)]
struct Evaluation {
    run: String,
    model: &'static str,
    step: u64,
    weights: &'static str,
    data: String,
    fingerprint: String,
    split: Split,
    seed: u64,
    version: &'static str,
    machine: Machine,
    bound: Option<Timed<Bound>>,
    sliced_wasserstein: Timed<SlicedWasserstein>,
    neighbours: Timed<NeighbourStatistics>,
}

/// A result with the seconds it took.
#[derive(Debug, Serialize)]
struct Timed<T> {
    #[serde(flatten)]
    result: T,
    seconds: f64,
}

/// Measures how long `work` takes.
fn timed<T>(work: impl FnOnce() -> T) -> Timed<T> {
    let began = Instant::now();
    let result = work();
    Timed { result, seconds: began.elapsed().as_secs_f64() }
}

impl Evaluate {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(out) = self.out.as_ref().filter(|out| out.exists()) {
            bail!("{} exists; give another --out", out.display());
        }
        let trained = self.of.open()?;
        trained.sampler()?;
        let dataset = self.data.open(&trained)?;
        let (split, view) = self.held_out(&dataset)?;
        let evaluation = self.evaluate(&trained, &dataset, split, &view)?;
        let mut text = serde_json::to_string_pretty(&evaluation)?;
        text.push('\n');
        let kept = keep(&trained, &text)?;
        if let Some(out) = &self.out {
            std::fs::write(out, &text).with_context(|| format!("cannot write {}", out.display()))?;
        }
        if self.json {
            return result(&text);
        }
        result(&render(&evaluation, &trained))?;
        note(&format!("kept in {}", kept.display()));
        Ok(())
    }

    /// The split that is measured on.
    fn held_out(&self, dataset: &Dataset) -> Result<(Split, View)> {
        if let Some(split) = self.split {
            return Ok((split, dataset.require(split)?));
        }
        for split in [Split::Test, Split::Validation] {
            if let Some(view) = dataset.split(split) {
                return Ok((split, view));
            }
        }
        let name = &dataset.card().name;
        bail!("{name} has no held-out images; collect it again with --holdout 0.1, or give --split train")
    }

    fn evaluate(
        &self,
        trained: &Trained,
        dataset: &Dataset,
        split: Split,
        view: &View,
    ) -> Result<Evaluation> {
        let dims = trained.shape.dims();
        let train = dataset.require(Split::Train)?;
        let bound = trained.likelihood().ok().map(|_| self.bound(trained, view)).transpose()?;
        let samples = self.draw(trained)?;
        let held_out = bytes(view, self.samples);
        let real = bytes(&train, self.samples);
        let sliced_wasserstein = working("sliced Wasserstein distance", self.json, || {
            sliced_wasserstein(&samples, &held_out, &real, dims, self.directions, self.seed)
        });
        let few = |images: &[u8]| images[..images.len().min(NEIGHBOURS * dims)].to_vec();
        let neighbours = working("nearest neighbours", self.json, || {
            neighbour_statistics(&few(&samples), &few(&held_out), &train, dims)
        });
        Ok(Evaluation {
            run: trained.info.id.clone(),
            model: trained.entry.name(),
            step: trained.step,
            weights: weights(trained),
            data: dataset.card().name.clone(),
            fingerprint: dataset.card().fingerprint.clone(),
            split,
            seed: self.seed,
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::this(),
            bound,
            sliced_wasserstein,
            neighbours,
        })
    }

    fn bound(&self, trained: &Trained, view: &View) -> Result<Timed<Bound>> {
        let images = self.images.unwrap_or(view.len()).min(view.len());
        let protocol = BoundProtocol { images, samples: self.importance_samples as u64, seed: self.seed };
        let meter = Meter::new("bound", "images", Some(images as u64), self.json);
        let likelihood = trained.likelihood()?;
        let measured = timed(|| {
            let mut progress = |done: usize| meter.at(done as u64, Some(images as u64));
            bound(likelihood, view, trained.shape, protocol, &trained.device, &mut progress)
        });
        meter.end();
        Ok(measured)
    }

    fn draw(&self, trained: &Trained) -> Result<Vec<u8>> {
        let sampler = trained.sampler()?;
        let meter = Meter::new("sampling", "images", Some(self.samples as u64), self.json);
        let mut images = Vec::new();
        for done in (0..self.samples).step_by(PIECE) {
            let number = PIECE.min(self.samples - done);
            images.extend(sample::images(sampler, self.seed, done as u64, number));
            meter.at((done + number) as u64, Some(self.samples as u64));
        }
        meter.end();
        Ok(images)
    }
}

/// Does work that cannot say how far it is.
fn working<T>(what: &str, quiet: bool, work: impl FnOnce() -> T) -> Timed<T> {
    let meter = Meter::working(what, quiet);
    let done = timed(work);
    meter.end();
    done
}

/// The first `count` images of a split.
fn bytes(view: &View, count: usize) -> Vec<u8> {
    (0..count.min(view.len())).flat_map(|index| view.image(index)).copied().collect()
}

/// Writes the results into the run, under the first name that is free.
fn keep(trained: &Trained, text: &str) -> Result<PathBuf> {
    let folder: &Path = trained.path();
    let name = |number: usize| match number {
        1 => format!("evaluation-{:09}.json", trained.step),
        number => format!("evaluation-{:09}-{number}.json", trained.step),
    };
    for number in 1.. {
        let path = folder.join(name(number));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())
                    .with_context(|| format!("cannot write {}", path.display()))?;
                return Ok(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
        }
    }
    bail!("there is no free name for the results in {}", folder.display())
}

fn render(evaluation: &Evaluation, trained: &Trained) -> String {
    let Evaluation { run, step, weights, data, fingerprint, split, seed, .. } = evaluation;
    let mut text = format!(
        "{run}, step {}, {weights} weights, on the {split} split of {data} ({}…), seed {seed}\n",
        count(*step),
        fingerprint.get(..12).unwrap_or(fingerprint)
    );
    if let Some(Timed { result: bound, seconds }) = &evaluation.bound {
        text.push_str(&format!(
            "\nbound (evidence lower bound, negative; {} images, {} draws each, {})\n  {:.2} ± {:.2} nats = {:.4} \
             bits/dim  (reconstruction {:.2}, KL {:.2})\n",
            count(bound.protocol.images as u64),
            count(bound.protocol.samples),
            duration(*seconds),
            bound.nats,
            bound.nats_error,
            bound.bits_per_dim,
            bound.reconstruction,
            bound.kl,
        ));
        if bound.protocol.samples > 1 {
            text.push_str(&format!(
                "  {:.2} nats = {:.4} bits/dim, importance-weighted with {} samples\n",
                bound.weighted_nats,
                bound.weighted_bits_per_dim,
                count(bound.protocol.samples)
            ));
        }
    } else {
        text.push_str(&format!("\nno bound: {} has no likelihood\n", trained.entry.name()));
    }
    let Timed { result: distance, seconds } = &evaluation.sliced_wasserstein;
    text.push_str(&format!(
        "\nsliced Wasserstein distance, grey levels ({} images a side, {} directions, {})\n  {} samples   {} floor \
         (training images)   {} ceiling (shuffled pixels)\n",
        count(distance.images as u64),
        count(distance.directions as u64),
        duration(*seconds),
        number(distance.distance),
        number(distance.floor),
        number(distance.ceiling),
    ));
    let Timed { result: near, seconds } = &evaluation.neighbours;
    text.push_str(&format!(
        "\nnearest training images ({} samples, {} held-out, {} searched, {})\n  {}\n  {:.2} different training images \
         for each sample\n",
        count(near.samples as u64),
        count(near.held_out as u64),
        count(near.searched as u64),
        duration(*seconds),
        verdict(near).replace('\n', "\n  "),
        near.variety,
    ));
    text
}
