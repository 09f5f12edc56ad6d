//! `poiesis evaluate`: one evaluation for every model, each number with how it was measured.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use poiesis::Trained;
use poiesis::apply::sample;
use poiesis::capability::{self, ImageLikelihood, Likelihood, TokenLikelihood};
use poiesis::data::Examples;
use poiesis::evaluate::{
    Bound, BoundProtocol, ImageNll, NeighbourStatistics, SlicedWasserstein, TokenNll, bound, image_nll,
    neighbour_statistics, sliced_wasserstein, token_nll,
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

A model with a likelihood is measured by it, in nats and in bits: exactly, or by its bound on log p with an
importance-weighted estimate. A model of images is measured by the sliced Wasserstein distance of its
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
    /// Images whose likelihood is measured, evenly spread over the split [default: all].
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
    /// How probable the data are, for a model that says so.
    #[serde(flatten)]
    likelihood: Option<Measured>,
    /// How like the data its images are, for a model of images.
    #[serde(flatten)]
    images: Option<OfImages>,
}

/// A likelihood, of whichever kind the model has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Measured {
    /// A bound on log p(x) of images.
    Bound(Timed<Bound>),
    /// log p(x) of images.
    ImageNll(Timed<ImageNll>),
    /// log p of tokens.
    TokenNll(Timed<TokenNll>),
}

/// How like the data the images of a model are.
#[derive(Debug, Serialize)]
struct OfImages {
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
        let dataset = self.data.open(&trained)?;
        let (split, held_out) = self.held_out(&dataset)?;
        let evaluation = self.evaluate(&trained, &dataset, split, &held_out)?;
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
    fn held_out(&self, dataset: &Dataset) -> Result<(Split, Examples)> {
        let wanted = self.split.map_or(vec![Split::Test, Split::Validation], |split| vec![split]);
        for split in wanted {
            if let Some(examples) = Examples::of(dataset, split) {
                return Ok((split, examples));
            }
        }
        let name = &dataset.card().name;
        match self.split {
            Some(split) => bail!("{name} has no split {split}; give another --split"),
            None => bail!(
                "{name} has nothing held out; collect it again with --holdout 0.1, or give --split train"
            ),
        }
    }

    fn evaluate(
        &self,
        trained: &Trained,
        dataset: &Dataset,
        split: Split,
        held_out: &Examples,
    ) -> Result<Evaluation> {
        let likelihood = trained.likelihood().ok();
        let likelihood = likelihood.map(|model| self.likelihood(trained, model, held_out)).transpose()?;
        let images = match held_out.images() {
            Ok(view) => Some(self.of_images(trained, view, &dataset.require(Split::Train)?)?),
            Err(_) => None,
        };
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
            likelihood,
            images,
        })
    }

    fn of_images(&self, trained: &Trained, held_out: &View, train: &View) -> Result<OfImages> {
        let dims = trained.spec.images()?.dims();
        let samples = self.draw(trained)?;
        let others = bytes(held_out, self.samples);
        let real = bytes(train, self.samples);
        let sliced_wasserstein = working("sliced Wasserstein distance", self.json, || {
            sliced_wasserstein(&samples, &others, &real, dims, self.directions, self.seed)
        });
        let few = &samples[..samples.len().min(NEIGHBOURS * dims)];
        let neighbours = working("nearest neighbours", self.json, || {
            neighbour_statistics(few, &bytes(held_out, NEIGHBOURS), train, dims)
        });
        Ok(OfImages { sliced_wasserstein, neighbours })
    }

    fn likelihood(&self, trained: &Trained, model: Likelihood, examples: &Examples) -> Result<Measured> {
        Ok(match model {
            Likelihood::Bound(model) => Measured::Bound(self.bound(trained, model, examples.images()?)?),
            Likelihood::Images(model) => {
                Measured::ImageNll(self.image_nll(trained, model, examples.images()?)?)
            }
            Likelihood::Tokens(model) => Measured::TokenNll(self.token_nll(trained, model, examples)),
        })
    }

    fn bound(&self, trained: &Trained, model: &dyn capability::Bound, view: &View) -> Result<Timed<Bound>> {
        let images = self.images.unwrap_or(view.len()).min(view.len());
        let protocol = BoundProtocol { images, samples: self.importance_samples as u64, seed: self.seed };
        let shape = trained.spec.images()?;
        let meter = Meter::new("bound", "images", Some(images as u64), self.json);
        let measured = timed(|| {
            let mut progress = |done: usize| meter.at(done as u64, Some(images as u64));
            bound(model, view, shape, protocol, &trained.device, &mut progress)
        });
        meter.end();
        Ok(measured)
    }

    fn image_nll(
        &self,
        trained: &Trained,
        model: &dyn ImageLikelihood,
        view: &View,
    ) -> Result<Timed<ImageNll>> {
        let images = self.images.unwrap_or(view.len()).min(view.len());
        let shape = trained.spec.images()?;
        let meter = Meter::new("likelihood", "images", Some(images as u64), self.json);
        let measured = timed(|| {
            let mut progress = |done: usize| meter.at(done as u64, Some(images as u64));
            image_nll(model, view, shape, images, self.seed, &trained.device, &mut progress)
        });
        meter.end();
        Ok(measured)
    }

    fn token_nll(
        &self,
        trained: &Trained,
        model: &dyn TokenLikelihood,
        examples: &Examples,
    ) -> Timed<TokenNll> {
        let tokens = examples.tokens(&trained.spec, model.levels());
        // For images, as many tokens as the asked number of images has.
        let limit = self.images.map_or(tokens.len(), |images| {
            let images = images.min(tokens.documents());
            if images == 0 { 0 } else { tokens.document(images - 1).end }
        });
        let meter = Meter::new("likelihood", "tokens", Some(limit), self.json);
        let measured = timed(|| {
            let mut progress = |done: u64| meter.at(done, Some(limit));
            token_nll(model, &tokens, limit, &trained.device, &mut progress)
        });
        meter.end();
        measured
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
    view.spread(count).flat_map(|index| view.image(index)).copied().collect()
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
    text.push_str(&match &evaluation.likelihood {
        Some(Measured::Bound(measured)) => render_bound(measured),
        Some(Measured::ImageNll(measured)) => render_image_nll(measured),
        Some(Measured::TokenNll(measured)) => render_token_nll(measured),
        None => format!("\nno likelihood: {} does not say how probable data are\n", trained.entry.name()),
    });
    if let Some(images) = &evaluation.images {
        text.push_str(&render_images(images));
    }
    text
}

fn render_bound(Timed { result: bound, seconds }: &Timed<Bound>) -> String {
    let mut text = format!(
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

fn render_image_nll(Timed { result: nll, seconds }: &Timed<ImageNll>) -> String {
    format!(
        "\nnegative log-likelihood (exact; {} images, {})\n  {:.2} ± {:.2} nats = {:.4} bits/dim\n",
        count(nll.images as u64),
        duration(*seconds),
        nll.nats,
        nll.nats_error,
        nll.bits_per_dim,
    )
}

fn render_token_nll(Timed { result: nll, seconds }: &Timed<TokenNll>) -> String {
    format!(
        "\nnegative log-likelihood (exact; {} tokens in windows of {}, {} apart, {})\n  {:.4} ± {:.4} nats = {:.4} bits \
         for each token\n",
        count(nll.tokens),
        count(nll.window as u64),
        count(nll.stride as u64),
        duration(*seconds),
        nll.nats,
        nll.nats_error,
        nll.nats / std::f64::consts::LN_2,
    )
}

fn render_images(images: &OfImages) -> String {
    let Timed { result: distance, seconds } = &images.sliced_wasserstein;
    let mut text = format!(
        "\nsliced Wasserstein distance, grey levels ({} images a side, {} directions, {})\n  {} samples   {} floor \
         (training images)   {} ceiling (shuffled pixels)\n",
        count(distance.images as u64),
        count(distance.directions as u64),
        duration(*seconds),
        number(distance.distance),
        number(distance.floor),
        number(distance.ceiling),
    );
    let Timed { result: near, seconds } = &images.neighbours;
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
