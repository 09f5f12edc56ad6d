//! `poiesis discover neighbors`.

use anyhow::Result;
use clap::Args;
use poiesis::discover::neighbors;
use poiesis::evaluate::{nearest, neighbour_statistics};
use poiesis::picture::columns;
use poiesis_collect::Split;
use serde_json::json;

use super::{OfData, verdict};
use crate::args::{OfRun, Out};
use crate::commands::pictures;
use crate::render::{number, result, table};

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
