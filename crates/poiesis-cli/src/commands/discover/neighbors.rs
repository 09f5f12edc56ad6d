//! `poiesis discover neighbors`.

use anyhow::Result;
use clap::Args;
use poiesis::discover::{Neighbors as Found, neighbors};
use poiesis::evaluate::{NeighbourStatistics, nearest, neighbour_statistics};
use poiesis::picture::columns;
use poiesis_collect::Split;
use serde_json::json;

use super::{OfData, verdict};
use crate::args::{OfRun, Out};
use crate::commands::pictures;
use crate::render::{in_json, json, number, of_run, result, table};

/// Number of held-out images whose distance to the training data is measured for comparison.
const HELD_OUT: usize = 500;

/// Show each sample next to its nearest training image, to see whether the model copies
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover neighbors runs/dcgan-shapes
  poiesis discover neighbors runs/dcgan-photos --data /new/place/photos --count 32

The picture has pairs: a sample, then its nearest training image. Distances are root mean square differences in \
grey levels of 255. The distances of held-out images are shown for comparison.")]
pub(super) struct Neighbors {
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
    /// Print the distances as JSON.
    #[arg(long)]
    json: bool,
}

impl Neighbors {
    pub(super) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let out = self.out.resolve(&trained, "neighbors", "png")?;
        let dataset = self.data.open(&trained)?;
        let train = dataset.require(Split::Train)?;
        let dims = trained.spec.images()?.dims();
        let found = neighbors(&trained, &train, self.seed, self.count)?;
        let made = json!({ "verb": "discover neighbors", "seed": self.seed, "count": self.count });
        let columns = 2 * columns(self.count).div_ceil(2);
        let samples: Vec<u8> =
            found.images.chunks_exact(2 * dims).flat_map(|pair| &pair[..dims]).copied().collect();
        let held_out = dataset.split(Split::Validation).or_else(|| dataset.split(Split::Test));
        let statistics = held_out.map(|view| {
            let images: Vec<u8> = view.spread(HELD_OUT).flat_map(|i| view.image(i)).copied().collect();
            neighbour_statistics(&samples, &nearest(&images, &train, dims), &train, dims)
        });
        // Shown first: the numbers are known even where the picture cannot be written.
        if self.json {
            let verdict = statistics.as_ref().map(NeighbourStatistics::verdict);
            json(&of_run(
                &trained,
                json!({
                    "seed": self.seed, "nearest": found.nearest, "statistics": statistics, "verdict": verdict,
                    "out": in_json(&out),
                }),
            ))?;
        } else {
            result(&shown(&found, statistics.as_ref()))?;
        }
        let picture = pictures::grid(&found.images, trained.spec.images()?, columns, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        if self.json { Ok(()) } else { result(&format!("{}\n", out.display())) }
    }
}

/// The nearest training image of each sample, and what follows from the distances.
fn shown(found: &Found, statistics: Option<&NeighbourStatistics>) -> String {
    let rows: Vec<Vec<String>> = found
        .nearest
        .iter()
        .enumerate()
        .map(|(sample, near)| vec![sample.to_string(), near.index.to_string(), number(near.distance)])
        .collect();
    let verdict = match statistics {
        Some(statistics) => verdict(statistics),
        None => "no images were held out, so there is nothing to compare with".into(),
    };
    format!("{}{verdict}\n", table(&[">SAMPLE", ">NEAREST", ">DISTANCE"], &rows))
}
