//! `poiesis reconstruct`: images above what a model makes of their latents.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::abilities::Likelihood;
use poiesis::apply::inversion::Inversion;
use poiesis::apply::reconstruct::{Nearness, ReconstructOptions, Reconstructed, reconstruct, sheet};
use poiesis::apply::score::ScoreProtocol;
use poiesis::{Error, Trained, picture};
use poiesis_collect::Split;
use serde_json::{Value, json};

use super::discover::{OfData, expect_class};
use super::evaluate::Meters;
use super::given_images::expect_existing;
use super::inspect::split;
use super::pictures::{self, positive};
use super::sources::{Images, Inverting};
use crate::args::{OfRun, Out};
use crate::render::{count, expect_none, json, note, number, of_run, result, table};

/// Images of a split, unless another number is given.
const COUNT: usize = 16;
/// Images that fit into the picture.
const SHOWN: usize = 256;
/// How many images are listed.
const LISTED: usize = 20;

/// Show what a model keeps of images: each above what the decoder makes of its latents
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis reconstruct runs/vae-faces me.png friends/ --out grid.png
      your own images
  poiesis reconstruct runs/vae-mnist
      held-out images of the run's data
  poiesis reconstruct runs/vae-mnist --count 8 --draws 3
      also of latents drawn from the posterior
  poiesis reconstruct runs/dcgan-shapes drawing.png --starts 16
      a model without an encoder: latents are searched
  poiesis reconstruct runs/vae-faces faces/ --json > faces.json
      how near each is, for a program

The picture has the images in a row, as the model reads them, and below each its reconstruction: what the decoder makes of \
the mean latents that the encoder gives. With --draws, rows below show what it makes of latents drawn from the posterior: \
where they differ, the model is not sure. DIFFERENCE is the mean absolute difference of values in grey levels of 0 to 255, \
PSNR the same as a ratio in dB. NATS is -log p of the image or the bound on it, as poiesis score gives it.")]
pub(crate) struct Reconstruct {
    #[command(flatten)]
    of: OfRun,
    /// Files, folders, archives or packed data sets of images [default: held-out images of the run's data].
    #[arg(value_name = "IMAGES")]
    files: Vec<PathBuf>,
    /// Split of the run's own data to take images from [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split, conflicts_with = "files")]
    split: Option<Split>,
    /// Number of images: of the split, evenly spread over it [default: 16], or the first of those that are given [default: all].
    #[arg(long, short = 'n', value_name = "N", value_parser = positive)]
    count: Option<usize>,
    /// Further reconstructions of each image, of latents drawn from the posterior.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u8).range(..=64))]
    draws: u8,
    /// Class that files are encoded as, for a model conditioned on classes: its name or number [default: none].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    #[command(flatten)]
    inverting: Inverting,
    /// Draws for each image of a bound on its likelihood [default: 16].
    #[arg(long, value_name = "N", value_parser = positive)]
    importance_samples: Option<usize>,
    /// Seed of draws, noise and a search.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    data: OfData,
    #[command(flatten)]
    out: Out,
    /// Print how near each reconstruction is as JSON.
    #[arg(long)]
    json: bool,
}

impl Reconstruct {
    pub(crate) fn run(self) -> Result<()> {
        expect_existing(&self.files)?;
        let own = self.files.is_empty();
        expect_none("images of the run's own data", &[("--class", own && self.class.is_some())])?;
        let trained = self.of.open()?;
        let shape = trained.spec.images()?;
        let class = expect_class(&trained, self.class.as_deref())?;
        let bounded = trained.abilities().likelihood.and_then(Likelihood::bound).is_some();
        expect_none(
            &format!("{}, which has no bound on a likelihood", trained.entry.name()),
            &[("--importance-samples", self.importance_samples.is_some() && !bounded)],
        )?;
        let out = self.out.resolve(&trained, "reconstructed", "png")?;
        let usual = ScoreProtocol::default();
        let options = ReconstructOptions {
            // The seed is that of the draws too, so it may be given without a search.
            inversion: self
                .inverting
                .of(&trained, None)?
                .map(|search| Inversion { seed: self.seed, ..search }),
            draws: usize::from(self.draws),
            protocol: ScoreProtocol {
                importance_samples: self.importance_samples.map_or(usual.importance_samples, |n| n as u64),
                seed: self.seed,
            },
        };
        let images = if own { self.held_out(&trained)? } else { self.given(&trained, class)? };
        let mut meters = Meters::new(self.json);
        let made =
            reconstruct(&trained, &images.pixels, &images.classes, &options, &mut |at| meters.show(at))?;
        meters.end();
        // Shown first: what was measured is not lost when the picture cannot be written.
        match self.json {
            true => json(&report(&trained, &images, &made, &options))?,
            false => result(&in_words(&images, &made))?,
        }
        let shown = images.len().min(SHOWN);
        if shown < images.len() {
            note(&format!(
                "note: the picture shows the first {shown} of {} images",
                count(images.len() as u64)
            ));
        }
        let rows: Vec<&[u8]> = [&images.pixels, &made.images]
            .into_iter()
            .chain(&made.draws)
            .map(|row| &row[..shown * shape.dims()])
            .collect();
        let mut parameters = json!({
            "verb": "reconstruct", "seed": self.seed, "draws": self.draws, "images": images.names,
        });
        pictures::name_class(&mut parameters, &trained, class);
        let factor =
            self.out.scale.map_or_else(|| picture::viewing_factor(shape.height, shape.width), usize::from);
        let drawn = sheet(&rows, shape).enlarged(factor);
        drawn.write_png(&out, Some(&pictures::parameters(&trained, parameters)))?;
        if self.json { Ok(()) } else { result(&format!("{}\n", out.display())) }
    }

    /// Some held-out images of the run's data.
    fn held_out(&self, trained: &Trained) -> Result<Images> {
        let dataset = self.data.open(trained)?;
        let (split, view) = match self.split {
            Some(split) => (split, dataset.require(split)?),
            None => {
                let mut held_out = [Split::Test, Split::Validation].into_iter();
                let found = held_out.find_map(|split| Some((split, dataset.split(split)?)));
                found.ok_or_else(|| Error::NothingHeldOut { data: dataset.card().name.clone() })?
            }
        };
        let indices: Vec<usize> = view.spread(self.count.unwrap_or(COUNT)).collect();
        Ok(Images::of_split(trained, &view, split, &indices))
    }

    /// The images that were given.
    fn given(&self, trained: &Trained, class: Option<u32>) -> Result<Images> {
        let images = Images::of_files(trained, &self.files, &self.data, class, self.json)?;
        Ok(match self.count {
            Some(count) => images.truncated(count),
            None => images,
        })
    }
}

/// How near each reconstruction is to its image.
fn in_words(images: &Images, made: &Reconstructed) -> String {
    let with_nats = made.nearness.iter().any(|near| near.nats.is_some());
    let mut header = vec!["IMAGE", ">DIFFERENCE (GREY LEVELS)", ">PSNR (DB)"];
    if with_nats {
        header.push(">NATS");
    }
    let row = |(name, near): (&String, &Nearness)| {
        let mut row = vec![name.clone(), number(near.difference), number(near.fit.psnr)];
        row.extend(near.nats.map(number));
        row
    };
    let rows: Vec<Vec<String>> = images.names.iter().zip(&made.nearness).take(LISTED).map(row).collect();
    let mut text = table(&header, &rows);
    let total = made.nearness.len();
    if total > LISTED {
        text.push_str(&format!("and {} more; --json lists them all\n", count((total - LISTED) as u64)));
    }
    let mean = |value: &dyn Fn(&Nearness) -> f64| made.nearness.iter().map(value).sum::<f64>() / total as f64;
    if total < 2 {
        return text;
    }
    text.push_str(&format!(
        "{} images, on average {} grey levels away",
        count(total as u64),
        number(mean(&|near| near.difference))
    ));
    if with_nats {
        text.push_str(&format!(", {} nats", number(mean(&|near| near.nats.unwrap_or(f64::NAN)))));
    }
    text.push('\n');
    text
}

fn report(trained: &Trained, images: &Images, made: &Reconstructed, options: &ReconstructOptions) -> Value {
    let classes = &trained.info.data.classes;
    let image = |((name, class), near): ((&String, &Option<u32>), &Nearness)| {
        json!({
            "image": name,
            "class": class.and_then(|class| classes.get(class as usize)),
            "difference": near.difference,
            "psnr": near.fit.psnr,
            "norm": near.fit.norm,
            "nats": near.nats,
        })
    };
    of_run(
        trained,
        json!({
            "inverted": options.inversion.is_some(),
            "protocol": options.protocol,
            "draws": options.draws,
            "images": images.names.iter().zip(&images.classes).zip(&made.nearness).map(image).collect::<Vec<_>>(),
        }),
    )
}
