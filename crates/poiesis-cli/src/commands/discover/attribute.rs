//! `poiesis discover attribute`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::apply::attribute::{self as found, Along, Spread};
use poiesis::apply::edit::{Render, edit};
use poiesis::discover::{FEWEST_IMAGES, attribute};
use poiesis::fitting::Rows;
use poiesis_collect::{Dataset, Split};
use serde_json::json;

use super::OfData;
use crate::args::{OfRun, Out};
use crate::commands::inspect::split;
use crate::commands::pictures;
use crate::commands::sources::{Images, Inverting, encoded};
use crate::render::{count, exists, failure, json, number, result, table};

/// Images of a set, unless another number is given: with an encoder, and with a search for each.
const ENCODED: usize = 1000;
const SEARCHED: usize = 40;
/// Images of each set in the picture, and the amounts by which they are moved.
const SHOWN: usize = 3;
const AMOUNTS: [f64; 9] = [-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0];

/// Find the direction of latents for an attribute, from images with it and images without it
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover attribute runs/vae-faces --with smiling/ --without serious/ --out smile.json
  poiesis discover attribute runs/vae-mnist --with 7 --without 1 --out seven.json        classes of the data
  poiesis edit runs/vae-faces me.png --along smile.json                                  use it

Both sets are encoded, and a logistic regression of the latents gives the direction; the difference of the means of both \
sets is kept beside it. ACCURACY is the part of the images on the right side of the border, of images that were not used \
for the fit, as the mean of both sets; 50 % is chance. A direction with 60 % or less means nothing and is not saved. An \
amount of 1 is the way from the mean of the images without the attribute to the mean of those with it. The picture beside \
the file moves three images of each set from -2 to 2. A name that is a file or folder is that, else a class of the data.")]
pub(super) struct Attribute {
    #[command(flatten)]
    of: OfRun,
    /// Images with the attribute: a file, folder or archive, or a class of the run's data. Can be given several times.
    #[arg(long, value_name = "FOLDER|CLASS", required = true)]
    with: Vec<String>,
    /// Images without the attribute, likewise.
    #[arg(long, value_name = "FOLDER|CLASS", required = true)]
    without: Vec<String>,
    /// Images of each folder or class, at most [default: 1000, or 40 where the latents of each are searched].
    #[arg(long, value_name = "N", value_parser = pictures::positive)]
    images: Option<usize>,
    /// Split that the images of classes come from.
    #[arg(long, value_name = "SPLIT", value_parser = split, default_value = "train")]
    split: Split,
    #[command(flatten)]
    inverting: Inverting,
    /// Seed of the choice of held-out images, and of a search [default: 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    data: OfData,
    /// File to write, which ends in .json; a picture of the effect is written beside it.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Replace the files if they exist.
    #[arg(long)]
    force: bool,
    /// Print the results, with the directions, as JSON.
    #[arg(long)]
    json: bool,
}

impl Attribute {
    pub(super) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        let shape = trained.spec.images()?;
        // The seed also chooses held-out images, so it is no setting of a search alone.
        let mut inversion = self.inverting.of(&trained, None)?;
        if let Some(inversion) = &mut inversion {
            inversion.seed = self.seed.unwrap_or(0);
        }
        let picture = self.out.with_extension("png");
        self.expect_free(&trained, &picture)?;
        let at_most = self.images.unwrap_or(if inversion.is_some() { SEARCHED } else { ENCODED });
        let mut dataset = None;
        let mut sets = Vec::new();
        for names in [&self.with, &self.without] {
            let images = self.set(&trained, names, at_most, &mut dataset)?;
            if images.len() < FEWEST_IMAGES {
                let what = format!("{} has {} images", names.join(", "), images.len());
                return Err(failure(
                    what,
                    format!("give at least {FEWEST_IMAGES} with and without the attribute"),
                ));
            }
            let found = encoded(&trained, &images, inversion.as_ref(), self.json)?;
            sets.push((names.join(", "), images, found.latents));
        }
        let [(with, with_images, with_latents), (without, without_images, without_latents)] = sets.as_slice()
        else {
            return Ok(());
        };
        let found =
            attribute(&trained, (with, with_latents), (without, without_latents), self.seed.unwrap_or(0))?;
        match self.json {
            true => json(&json!({ "run": trained.info.id, "found": found }))?,
            false => result(&render(&found))?,
        }
        found.save(&self.out)?;
        let mut strip = Vec::new();
        for (images, latents) in [(without_images, without_latents), (with_images, with_latents)] {
            let (images, latents) = (images.clone().truncated(SHOWN), first(latents, SHOWN));
            let (classes, along, device) = (&images.classes, &found.logistic, &trained.device);
            let model = trained.latents()?;
            strip.extend(edit(
                model,
                &images.pixels,
                &latents,
                classes,
                along,
                &AMOUNTS,
                Render::Difference,
                device,
            ));
        }
        let made = json!({
            "verb": "discover attribute", "with": with, "without": without, "amounts": AMOUNTS,
            "accuracy": found.logistic.accuracy,
        });
        let strip = pictures::grid(&strip, shape, AMOUNTS.len(), None);
        strip.write_png(&picture, Some(&pictures::parameters(&trained, made)))?;
        if self.json {
            return Ok(());
        }
        result(&format!("{}\n{}\n", self.out.display(), picture.display()))
    }

    /// Refuses a file of another ending, and to replace the file or the picture.
    fn expect_free(&self, trained: &Trained, picture: &Path) -> Result<()> {
        let out = |path: &Path| Out { out: Some(path.to_owned()), force: self.force, scale: None };
        out(&self.out).resolve(trained, "attribute", "json")?;
        if picture.exists() && !self.force {
            return Err(exists(picture, "--out"));
        }
        Ok(())
    }

    /// The images of folders and classes, at most so many of each.
    fn set(
        &self,
        trained: &Trained,
        names: &[String],
        at_most: usize,
        dataset: &mut Option<Dataset>,
    ) -> Result<Images> {
        let mut all = Images::default();
        for name in names {
            let path = PathBuf::from(name);
            let images = if path.exists() {
                Images::of_files(trained, &[path], &self.data, None, self.json)?.truncated(at_most)
            } else {
                let Ok(class) = trained.class(name) else {
                    let known = trained.info.data.classes.join(", ");
                    let classes = if known.is_empty() { String::new() } else { format!(": {known}") };
                    let hint = format!("give a folder of images, or a class of the run's data{classes}");
                    return Err(failure(format!("{name} is neither a file or folder nor a class"), hint));
                };
                let opened = match dataset.take() {
                    Some(opened) => opened,
                    None => self.data.open(trained)?,
                };
                let images = Images::of_class(trained, &opened, self.split, class, at_most)?;
                *dataset = Some(opened);
                images
            };
            all.names.extend(images.names);
            all.pixels.extend(images.pixels);
            all.classes.extend(images.classes);
        }
        Ok(all)
    }
}

/// The first rows.
fn first(rows: &Rows, count: usize) -> Rows {
    rows.select(&(0..rows.len().min(count)).collect::<Vec<_>>())
}

fn render(found: &found::Attribute) -> String {
    let row = |name: &str, along: &Along| {
        let percent = |part: f64| format!("{:.1}", 100.0 * part);
        let spread = |of: &Spread| format!("{} ± {}", number(of.mean), number(of.deviation));
        vec![
            name.to_owned(),
            format!("{} ± {} %", percent(along.accuracy), percent(along.standard_error)),
            number(along.unit),
            spread(&along.with),
            spread(&along.without),
        ]
    };
    let rows = [row("logistic", &found.logistic), row("means", &found.means)];
    let mut text = format!(
        "{} images of {}, {} of {}\n",
        count(found.images[0] as u64),
        found.with,
        count(found.images[1] as u64),
        found.without
    );
    text.push_str(&table(&["DIRECTION", ">ACCURACY (HELD OUT)", ">UNIT", ">WITH", ">WITHOUT"], &rows));
    let both = found.logistic.direction.iter().zip(&found.means.direction);
    let cosine: f64 = both.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    text.push_str(&format!("cosine of both directions {}\n", number(cosine)));
    text
}
