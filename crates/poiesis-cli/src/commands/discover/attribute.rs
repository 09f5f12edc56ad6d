//! `poiesis discover attribute`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::apply::attribute::{self as found, Along, Leakage, Spread};
use poiesis::apply::edit::{Render, edit};
use poiesis::apply::inversion::Inversion;
use poiesis::discover::{FEWEST_IMAGES, attribute};
use poiesis::fitting::Rows;
use poiesis_collect::{Dataset, Split};
use serde_json::json;

use super::OfData;
use crate::args::{OfRun, Out};
use crate::commands::inspect::split;
use crate::commands::pictures;
use crate::commands::sources::{Images, Inverting, encoded};
use crate::render::{count, counted, exists, failure, json, number, result, table};

/// Images of a set, unless another number is given: with an encoder, and with a search for each.
const ENCODED: usize = 1000;
const SEARCHED: usize = 40;
/// Other classes of the data for which leakage is measured, unless they are named.
const OTHERS: usize = 20;
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
the file moves three images of each set from -2 to 2. A name that is a file or folder is that, else a class of the data.

The second table says what an edit changes besides. For each of --other, or each other class of the data, a probe tells its \
images from all others. LOGIT is how much an amount of 1 changes the logit of that probe, and SHARE is the same as a part of \
the way from the other images to its own: 0 is an edit that leaves it alone.")]
pub(super) struct Attribute {
    #[command(flatten)]
    of: OfRun,
    /// Images with the attribute: a file, folder or archive, or a class of the run's data. Can be given several times.
    #[arg(long, value_name = "FOLDER|CLASS", required = true)]
    with: Vec<String>,
    /// Images without the attribute, likewise.
    #[arg(long, value_name = "FOLDER|CLASS", required = true)]
    without: Vec<String>,
    /// Images of something else that edits should leave alone, likewise; what they change of it is measured [default: where a
    /// set is a class and the model has an encoder, the other classes, up to 20].
    #[arg(long, value_name = "FOLDER|CLASS")]
    other: Vec<String>,
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
                let what = format!("{} has {}", names.join(", "), counted(images.len() as u64, "image"));
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
        let others = self.others(&trained, at_most, inversion.as_ref(), &mut dataset)?;
        let sets = [(with.as_str(), with_latents), (without.as_str(), without_latents)];
        let found = attribute(&trained, sets[0], sets[1], &others.latents, self.seed.unwrap_or(0))?;
        match self.json {
            true => json(&json!({ "run": trained.info.id, "found": found, "left_out": others.left_out }))?,
            false => result(&(render(&found) + &render_leakage(&found.leakage, &others.left_out)))?,
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

    /// The latents of the images that edits should leave alone.
    fn others(
        &self,
        trained: &Trained,
        at_most: usize,
        inversion: Option<&Inversion>,
        dataset: &mut Option<Dataset>,
    ) -> Result<Others> {
        let of_sets: Vec<&String> = self.with.iter().chain(&self.without).collect();
        if let Some(name) = self.other.iter().find(|name| of_sets.contains(name)) {
            let hint = "give --other what is in neither of the two sets";
            return Err(failure(format!("{name} is in --with or --without already"), hint));
        }
        let is_class = |name: &&String| !Path::new(name).exists();
        let all: Vec<String> = if !self.other.is_empty() {
            self.other.clone()
        } else if inversion.is_none() && of_sets.iter().any(is_class) {
            let taken: Vec<u32> =
                of_sets.iter().filter(|name| is_class(name)).flat_map(|name| trained.class(name)).collect();
            let classes = trained.info.data.classes.iter().zip(0..);
            classes.filter(|(_, class)| !taken.contains(class)).map(|(name, _)| name.clone()).collect()
        } else {
            Vec::new()
        };
        let mut others = Others::default();
        for (at, name) in all.into_iter().enumerate() {
            if self.other.is_empty() && at >= OTHERS {
                others.left_out.push(name);
                continue;
            }
            let images = self.set(trained, std::slice::from_ref(&name), at_most, dataset)?;
            if self.other.is_empty() && images.len() < FEWEST_IMAGES {
                others.left_out.push(name);
                continue;
            }
            if images.len() < FEWEST_IMAGES {
                let what = format!("{name} has {}", counted(images.len() as u64, "image"));
                return Err(failure(what, format!("give at least {FEWEST_IMAGES} of each --other")));
            }
            let found = encoded(trained, &images, inversion, self.json)?;
            others.latents.push((name, found.latents));
        }
        Ok(others)
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

/// Images that edits should leave alone.
#[derive(Default)]
struct Others {
    /// The name and the latents of each class or folder.
    latents: Vec<(String, Rows)>,
    /// Classes of the data for which nothing was measured: they are too many, or have too few images.
    left_out: Vec<String>,
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

/// What an amount of 1 changes besides; nothing where there were no other images.
fn render_leakage(leakage: &[Leakage], left_out: &[String]) -> String {
    if leakage.is_empty() {
        return String::new();
    }
    let row = |of: &Leakage| {
        vec![
            of.name.clone(),
            count(of.images as u64),
            format!("{:.1} ± {:.1} %", 100.0 * of.accuracy, 100.0 * of.standard_error),
            number(of.logistic.cosine),
            number(of.logistic.logit),
            number(of.logistic.share),
            number(of.means.logit),
            number(of.means.share),
        ]
    };
    let header = [
        "OTHER",
        ">IMAGES",
        ">PROBE ACCURACY",
        ">COSINE",
        ">LOGIT",
        ">SHARE",
        ">LOGIT (MEANS)",
        ">SHARE (MEANS)",
    ];
    let rows: Vec<Vec<String>> = leakage.iter().map(row).collect();
    let mut text = format!("what an amount of 1 changes besides\n{}", table(&header, &rows));
    if !left_out.is_empty() {
        let why = format!("more than {OTHERS} classes, or fewer than {FEWEST_IMAGES} images");
        text.push_str(&format!("not measured ({why}): {}\n", left_out.join(", ")));
    }
    text
}
