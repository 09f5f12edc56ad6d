//! `poiesis discover`: what a model learned, as pictures and numbers.

use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use poiesis::Trained;
use poiesis::apply::sample;
use poiesis::discover::{interpolate, neighbors, traverse};
use poiesis::evaluate::{NeighbourStatistics, neighbour_statistics};
use poiesis_collect::{Dataset, Split};
use serde_json::json;

use super::pictures;
use crate::args::{DataDir, OfRun, Out};
use crate::data;
use crate::render::{number, result, table};

/// Held-out images that show how near new images of this kind lie to the training data.
const HELD_OUT: usize = 500;

/// Show what a model learned: walks between samples, what a latent dimension means, whether it copies
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover interpolate runs/vae-shapes --rows 4
  poiesis discover traverse runs/vae-shapes --dims 0,3,7
  poiesis discover neighbors runs/dcgan-shapes --count 16")]
pub(crate) struct Discover {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Interpolate(Interpolate),
    Traverse(Traverse),
    Neighbors(Neighbors),
}

impl Discover {
    pub(crate) fn run(self) -> Result<()> {
        match self.verb {
            Verb::Interpolate(verb) => verb.run(),
            Verb::Traverse(verb) => verb.run(),
            Verb::Neighbors(verb) => verb.run(),
        }
    }
}

/// Walk between samples: smooth changes mean that features were learned, not examples
#[derive(Args, Debug)]
#[command(after_long_help = "Example:
  poiesis discover interpolate runs/dcgan-shapes --rows 8 --steps 12 --seed 3 --out walk.png")]
struct Interpolate {
    #[command(flatten)]
    of: OfRun,
    /// Walks, each between two samples of its own.
    #[arg(long, value_name = "N", default_value = "8", value_parser = pictures::positive)]
    rows: usize,
    /// Images in a walk.
    #[arg(long, value_name = "N", default_value = "10", value_parser = pictures::several)]
    steps: usize,
    /// Seed of the samples.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    out: Out,
}

impl Interpolate {
    fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let decoder = trained.decoder()?;
        let out = self.out.resolve(&trained, "interpolate", "png")?;
        let images = interpolate(decoder, self.seed, self.rows, self.steps);
        let made = json!({
            "verb": "discover interpolate", "seed": self.seed, "rows": self.rows, "steps": self.steps,
        });
        let picture = pictures::grid(&images, trained.spec.images()?, self.steps, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        result(&format!("{}\n", out.display()))
    }
}

/// Move one latent dimension at a time: a row changes in one way when its dimension means one thing
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover traverse runs/vae-shapes                   the dimensions that move the image furthest
  poiesis discover traverse runs/vae-shapes --dims 0,3 --index 5")]
struct Traverse {
    #[command(flatten)]
    of: OfRun,
    /// Dimensions to move, from 0 [default: those that move the image furthest].
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    dims: Vec<usize>,
    /// How many dimensions are shown where none are named.
    #[arg(long, value_name = "N", default_value = "10", value_parser = pictures::positive)]
    rows: usize,
    /// Images in a row.
    #[arg(long, value_name = "N", default_value = "9", value_parser = pictures::several)]
    steps: usize,
    /// Seed of the sample that is moved.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Number of the sample that is moved.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..1 << 40))]
    index: u64,
    #[command(flatten)]
    out: Out,
}

impl Traverse {
    fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let decoder = trained.decoder()?;
        if let Some(dim) = self.dims.iter().find(|&&dim| dim >= decoder.latent_dim()) {
            let last = decoder.latent_dim() - 1;
            bail!("there is no latent dimension {dim}; {} has those from 0 to {last}", trained.info.id);
        }
        let out = self.out.resolve(&trained, "traverse", "png")?;
        let moved = traverse(decoder, self.seed, self.index, &self.dims, self.rows, self.steps);
        let made = json!({
            "verb": "discover traverse", "seed": self.seed, "index": self.index,
            "dims": moved.dims, "values": moved.values, "effects": moved.effects,
        });
        let picture = pictures::grid(&moved.images, trained.spec.images()?, self.steps, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        let rows: Vec<Vec<String>> = moved
            .dims
            .iter()
            .zip(&moved.effects)
            .enumerate()
            .map(|(row, (dim, effect))| vec![(row + 1).to_string(), dim.to_string(), number(*effect)])
            .collect();
        let table = table(&[">ROW", ">DIMENSION", ">MOVES THE IMAGE BY (GREY LEVELS)"], &rows);
        result(&format!("{table}{}\n", out.display()))
    }
}

/// Put each sample beside the training image nearest to it: is the model copying?
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover neighbors runs/dcgan-shapes
  poiesis discover neighbors runs/dcgan-photos --data /new/place/photos --count 32

The picture holds pairs: a sample, then its nearest training image. Distances are root mean square differences
in grey levels of 255. Held-out images, which nobody copied, give the scale.")]
struct Neighbors {
    #[command(flatten)]
    of: OfRun,
    /// Samples to look at.
    #[arg(long, short = 'n', value_name = "N", default_value = "32", value_parser = pictures::positive)]
    count: usize,
    /// Seed of the samples.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    data: OfData,
    #[command(flatten)]
    out: Out,
}

impl Neighbors {
    fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let sampler = trained.sampler()?;
        let out = self.out.resolve(&trained, "neighbors", "png")?;
        let dataset = self.data.open(&trained)?;
        let train = dataset.require(Split::Train)?;
        let dims = trained.spec.images()?.dims();
        let found = neighbors(sampler, &train, self.seed, self.count);
        let made = json!({ "verb": "discover neighbors", "seed": self.seed, "count": self.count });
        let columns = 2 * sample::columns(self.count).div_ceil(2);
        let picture = pictures::grid(&found.images, trained.spec.images()?, columns, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        let rows: Vec<Vec<String>> = found
            .nearest
            .iter()
            .enumerate()
            .map(|(sample, near)| vec![sample.to_string(), near.index.to_string(), number(near.distance)])
            .collect();
        let table = table(&[">SAMPLE", ">NEAREST", ">DISTANCE"], &rows);
        let samples: Vec<u8> =
            found.images.chunks_exact(2 * dims).flat_map(|pair| &pair[..dims]).copied().collect();
        let held_out = dataset.split(Split::Validation).or_else(|| dataset.split(Split::Test));
        let verdict = match held_out {
            Some(view) => {
                let images: Vec<u8> = view.spread(HELD_OUT).flat_map(|i| view.image(i)).copied().collect();
                verdict(&neighbour_statistics(&samples, &images, &train, dims))
            }
            None => "no images were held out, so there is no scale to judge copying by".into(),
        };
        result(&format!("{table}{verdict}\n{}\n", out.display()))
    }
}

/// Whether samples look like copies, in words.
pub(crate) fn verdict(statistics: &NeighbourStatistics) -> String {
    // Of honest samples one in a hundred lies below the line; a few more may by chance.
    let expected = 0.01 * statistics.samples as f64;
    let copied = (statistics.copied * statistics.samples as f64).round();
    let judgement = if copied > expected + 3.0 * expected.sqrt().max(1.0) {
        "these look like copies"
    } else {
        "no sign of copying"
    };
    format!(
        "samples lie {} grey levels from their nearest training image, held-out images {}\n{copied} of {} samples lie \
         nearer than 99 % of the held-out images: {judgement}",
        number(statistics.sample_distance),
        number(statistics.held_out_distance),
        statistics.samples
    )
}

/// The data that a run was trained on, opened again.
#[derive(Args, Clone, Debug)]
pub(crate) struct OfData {
    /// Where the run's data are now, if not where they were.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
}

impl OfData {
    /// Opens the data and checks that they are those of the run.
    pub(crate) fn open(&self, trained: &Trained) -> Result<Dataset> {
        let config = &trained.config.data;
        let source = self.data.as_deref().unwrap_or(&config.source);
        let dataset = data::open_source(source, config, &self.data_dir.data_dir, false)
            .map_err(|error| error.context(gone(trained.path(), self.data.is_none())))?;
        let (expected, found) = (&trained.info.data.fingerprint, &dataset.card().fingerprint);
        if expected != found {
            bail!(
                "the data at {source} are not those that {} was trained on (fingerprint {expected} then, {found} \
                 now); restore them, or say with --data where they are",
                trained.path().display()
            );
        }
        Ok(dataset)
    }
}

fn gone(run: &Path, named: bool) -> String {
    let remedy = if named { "; say with --data where they are now" } else { "" };
    format!("cannot open the data of {}{remedy}", run.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(samples: usize, copied: usize) -> NeighbourStatistics {
        NeighbourStatistics {
            samples,
            held_out: 500,
            searched: 1000,
            sample_distance: 20.0,
            held_out_distance: 25.0,
            copied: copied as f64 / samples as f64,
            variety: 1.0,
        }
    }

    #[test]
    fn one_chance_neighbour_is_no_copy_and_many_are() {
        assert!(verdict(&statistics(32, 1)).ends_with("no sign of copying"));
        assert!(verdict(&statistics(1000, 15)).ends_with("no sign of copying"));
        assert!(verdict(&statistics(32, 8)).ends_with("these look like copies"));
    }
}
