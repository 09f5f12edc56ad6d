//! `poiesis discover`: shows what a model has learned.

use anyhow::Result;
use clap::{Args, Subcommand};
use poiesis::Trained;
use poiesis::data::Places;
use poiesis::discover::{interpolate, neighbors, traverse};
use poiesis::evaluate::{NeighbourStatistics, nearest, neighbour_statistics};
use poiesis::picture::columns;
use poiesis_collect::{Dataset, Split};
use serde_json::json;

use super::pictures;
use crate::args::{DataDir, OfRun, Out, class_of};
use crate::render::{expect_none, failure, number, result, table};

/// Number of held-out images whose distance to the training data is measured for comparison.
const HELD_OUT: usize = 500;

/// Show what a model has learned: interpolations, latent traversals, nearest training images
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

/// Interpolate between samples: smooth changes mean that the model has learned features, not examples
#[derive(Args, Debug)]
#[command(after_long_help = "Example:
  poiesis discover interpolate runs/dcgan-shapes --rows 8 --steps 12 --seed 3 --out path.png")]
struct Interpolate {
    #[command(flatten)]
    of: OfRun,
    /// Number of interpolations, each between two samples.
    #[arg(long, value_name = "N", default_value = "8", value_parser = pictures::positive)]
    rows: usize,
    /// Images per interpolation.
    #[arg(long, value_name = "N", default_value = "10", value_parser = pictures::several)]
    steps: usize,
    /// Seed of the samples.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Class of all images, for a model conditioned on classes: its name or number [default: each in turn, one per row].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    out: Out,
}

impl Interpolate {
    fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let latents = trained.latents()?;
        let class = expect_class(&trained, self.class.as_deref())?;
        let out = self.out.resolve(&trained, "interpolate", "png")?;
        let images = interpolate(latents, self.seed, self.rows, self.steps, class, &trained.device);
        let mut made = json!({
            "verb": "discover interpolate", "seed": self.seed, "rows": self.rows, "steps": self.steps,
        });
        pictures::name_class(&mut made, &trained, class);
        let picture = pictures::grid(&images, trained.spec.images()?, self.steps, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        result(&format!("{}\n", out.display()))
    }
}

/// Change one latent dimension at a time, one per row, to see what it means
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover traverse runs/vae-shapes                   the dimensions that change the image most
  poiesis discover traverse runs/vae-shapes --dims 0,3 --index 5")]
struct Traverse {
    #[command(flatten)]
    of: OfRun,
    /// Dimensions to change, counted from 0 [default: those that change the image most].
    #[arg(long, value_name = "N,N,…", value_delimiter = ',')]
    dims: Vec<usize>,
    /// Number of dimensions to show without --dims.
    #[arg(long, value_name = "N", default_value = "10", value_parser = pictures::positive, conflicts_with = "dims")]
    rows: usize,
    /// Images per row.
    #[arg(long, value_name = "N", default_value = "9", value_parser = pictures::several)]
    steps: usize,
    /// Seed of the sample.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Number of the sample.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..1 << 40))]
    index: u64,
    /// Class of all images, for a model conditioned on classes: its name or number [default: that of the sample].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    out: Out,
}

impl Traverse {
    fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let latents = trained.latents()?;
        if let Some(dim) = self.dims.iter().find(|&&dim| dim >= latents.latent_dim()) {
            let last = latents.latent_dim() - 1;
            let what = format!("{} has no latent dimension {dim}", trained.info.id);
            return Err(failure(what, format!("give --dims from 0 to {last}")));
        }
        let class = expect_class(&trained, self.class.as_deref())?;
        let out = self.out.resolve(&trained, "traverse", "png")?;
        let (dims, device) = (&self.dims, &trained.device);
        let moved = traverse(latents, self.seed, self.index, dims, self.rows, self.steps, class, device);
        let mut made = json!({
            "verb": "discover traverse", "seed": self.seed, "index": self.index,
            "dims": moved.dims, "values": moved.values, "effects": moved.effects,
        });
        pictures::name_class(&mut made, &trained, class);
        let rows: Vec<Vec<String>> = moved
            .dims
            .iter()
            .zip(&moved.effects)
            .enumerate()
            .map(|(row, (dim, effect))| vec![(row + 1).to_string(), dim.to_string(), number(*effect)])
            .collect();
        // Shown first: what was measured is not lost when the picture cannot be saved.
        result(&table(&[">ROW", ">DIMENSION", ">MOVES THE IMAGE BY (GREY LEVELS)"], &rows))?;
        let picture = pictures::grid(&moved.images, trained.spec.images()?, self.steps, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        result(&format!("{}\n", out.display()))
    }
}

/// Show each sample next to its nearest training image, to see whether the model copies
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover neighbors runs/dcgan-shapes
  poiesis discover neighbors runs/dcgan-photos --data /new/place/photos --count 32

The picture has pairs: a sample, then its nearest training image. Distances are root mean square differences in \
grey levels of 255. The distances of held-out images are shown for comparison.")]
struct Neighbors {
    #[command(flatten)]
    of: OfRun,
    /// Number of samples.
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
        let out = self.out.resolve(&trained, "neighbors", "png")?;
        let dataset = self.data.open(&trained)?;
        let train = dataset.require(Split::Train)?;
        let dims = trained.spec.images()?.dims();
        let found = neighbors(&trained, &train, self.seed, self.count)?;
        let made = json!({ "verb": "discover neighbors", "seed": self.seed, "count": self.count });
        let columns = 2 * columns(self.count).div_ceil(2);
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
                verdict(&neighbour_statistics(&samples, &nearest(&images, &train, dims), &train, dims))
            }
            None => "no images were held out, so there is nothing to compare with".into(),
        };
        // Shown first, likewise.
        result(&format!("{table}{verdict}\n"))?;
        let picture = pictures::grid(&found.images, trained.spec.images()?, columns, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        result(&format!("{}\n", out.display()))
    }
}

/// The class that was asked for; refused for a model that is not conditioned on classes.
fn expect_class(trained: &Trained, class: Option<&str>) -> Result<Option<u32>> {
    let name = trained.entry.name();
    expect_none(
        &format!("{}, a {name} that is not conditioned on classes", trained.info.id),
        &[("--class", class.is_some() && trained.num_classes() == 0)],
    )?;
    class_of(trained, class)
}

/// The verdict on copying, in words.
pub(crate) fn verdict(statistics: &NeighbourStatistics) -> String {
    format!(
        "samples are {} grey levels from their nearest training image, held-out images {}\n{} of {} samples are closer \
         than 99 % of the held-out images: {}",
        number(statistics.sample_distance),
        number(statistics.held_out_distance),
        statistics.near(),
        statistics.samples,
        statistics.verdict()
    )
}

/// The data that a run was trained on.
#[derive(Args, Clone, Debug)]
pub(crate) struct OfData {
    /// Where the run's data are now, if they have moved.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
}

impl OfData {
    /// Whether it says where the data are.
    pub(crate) fn is_given(&self) -> bool {
        self.data.is_some()
    }

    /// Where it says that the data are.
    pub(crate) fn source(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// The folders for data on this machine.
    pub(crate) fn places(&self) -> Result<Places> {
        self.data_dir.places()
    }

    /// Opens the data and checks that they are those of the run.
    pub(crate) fn open(&self, trained: &Trained) -> Result<Dataset> {
        self.data_dir.of_run(trained, self.data.as_deref())
    }
}
