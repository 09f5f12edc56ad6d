//! `poiesis encode`: images as latents or features in a file, and points as latents.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use poiesis::Trained;
use poiesis::apply::encode::{Encoded, Fit, encode_points, features};
use poiesis::apply::latents_file::{EncodedAs, LatentsFormat, LatentsOf, description, write};
use poiesis::atomic;
use poiesis::data::MediaKind;
use poiesis::fitting::Rows;
use poiesis::media::Media;
use poiesis_collect::Split;
use serde_json::{Value, json};

use super::classify::{field, tell_skipped};
use super::discover::{OfData, expect_class};
use super::evaluate::Meters;
use super::given_examples::{Given, read};
use super::given_images::expect_existing;
use super::inspect::split;
use super::pictures::positive;
use super::sources::{Images, Inverting, encoded};
use crate::args::OfRun;
use crate::render::{count, exists, expect_none, failure, json, number, of_run, result, table};

/// How many images are listed.
const LISTED: usize = 20;

/// Encode images as latents or features, or points as latents, and save these
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis encode runs/vae-faces faces/ --out faces.safetensors
      your own images
  poiesis encode runs/vae-mnist --split test --images 1000 --out test.npy
      for NumPy, with test.csv and test.json beside it
  poiesis encode runs/dcgan-shapes drawing.png --starts 16
      a model without an encoder: latents are searched
  poiesis encode runs/dcgan-photos photos/ --of features --out photos.npy
      what the network sees in them
  poiesis decode runs/vae-faces faces.safetensors --out again/
      latents back to images
  poiesis encode runs/realnvp-people people.csv --out latents.npy
      the rows of a table, by a model of points that has an encoder

The file has an array [images, values] of 32-bit floats, and the name of each image: in the metadata of safetensors; beside \
NumPy's array as CSV, a line for each row, and as JSON, which decode reads. Latents are the means that the encoder gives. \
The latents of a model without an encoder are searched by gradients of its decoder, from several starts; this takes \
seconds for each image. PSNR says how near the decoded image is to the image, in dB. |z|/sqrt(d) is about 1 for latents \
that the prior draws; far from it, the model knows nothing like the image. Features are those that the ability `features` \
gives; they cannot be decoded.")]
pub(crate) struct Encode {
    #[command(flatten)]
    run: OfRun,
    /// Files, folders, archives or packed data sets of images; tables for a model of points.
    #[arg(value_name = "IMAGES", required_unless_present = "split")]
    files: Vec<PathBuf>,
    /// What images are encoded as.
    #[arg(long, value_name = "WHAT", value_enum, default_value = "latents")]
    of: What,
    /// Encode images of this split of the run's own data.
    #[arg(long, value_name = "SPLIT", value_parser = split, conflicts_with = "files")]
    split: Option<Split>,
    /// Number of images, evenly spread over the split [default: all].
    #[arg(long, value_name = "N", value_parser = positive, requires = "split")]
    images: Option<usize>,
    /// Class that files are encoded as, for a model conditioned on classes: its name or number [default: none].
    #[arg(long, value_name = "CLASS", conflicts_with = "split")]
    class: Option<String>,
    #[command(flatten)]
    inverting: Inverting,
    /// Seed of a search [default: 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    data: OfData,
    /// File to write, .safetensors or .npy [default: a new .safetensors in the current folder, named after the run].
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Print how well each image is encoded as JSON.
    #[arg(long)]
    json: bool,
}

/// What images are encoded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Latents, which the model can decode
    Latents,
    /// Features, which its network computes
    Features,
}

impl Encode {
    pub(crate) fn run(self) -> Result<()> {
        expect_existing(&self.files)?;
        let trained = self.run.open()?;
        if trained.spec.media() == MediaKind::Points && self.of == What::Latents {
            return self.points(&trained);
        }
        trained.spec.images()?;
        if self.of == What::Features {
            return self.features(&trained);
        }
        let inversion = self.inverting.of(&trained, self.seed)?;
        let class = expect_class(&trained, self.class.as_deref())?;
        let out = self.out(&trained)?;
        let images = self.gather(&trained, class)?;
        let found = encoded(&trained, &images, inversion.as_ref(), self.json)?;
        match self.json {
            true => json(&report(&trained, &images, &found, inversion.is_some()))?,
            false => result(&render(&images, &found))?,
        }
        let fits = Some(found.fits.as_slice());
        self.save(&trained, &out, images, &found.latents, fits, EncodedAs::Latents)
    }

    /// Saves the latents of points.
    fn points(&self, trained: &Trained) -> Result<()> {
        trained.encoder()?;
        let searching = self.inverting.given();
        expect_none("points", &[&searching[..], &[("--seed", self.seed.is_some())]].concat())?;
        let class = expect_class(trained, self.class.as_deref())?;
        let out = self.out(trained)?;
        let given = match self.split {
            Some(split) => Given::of_dataset(trained, &self.data.open(trained)?, Some(split), self.images)?,
            None => read(&self.files, trained, &self.data, None, None, None, self.json)?,
        };
        tell_skipped(&given.skipped);
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for example in given.examples {
            if let Media::Point(point) = example.media {
                names.push(example.name);
                values.extend(point);
            }
        }
        if names.is_empty() {
            return Err(failure("there is no point to encode", "give a table of points, or another --split"));
        }
        let points = Rows::new(values, trained.spec.points()?.dims);
        let classes = vec![class; names.len()];
        let mut meters = Meters::new(self.json);
        let latents = encode_points(trained, &points, &classes, &mut |at| meters.show(at))?;
        meters.end();
        let (all, dims) = (count(names.len() as u64), latents.dims());
        match self.json {
            true => {
                let points: Vec<Value> = names.iter().map(|name| json!({ "point": name })).collect();
                json(&of_run(trained, json!({ "latent_dim": dims, "points": points })))?;
            }
            false => result(&format!("{all} points as latents of {dims} values\n"))?,
        }
        let rows = Images { names, pixels: Vec::new(), classes };
        self.save(trained, &out, rows, &latents, None, EncodedAs::Latents)
    }

    /// Saves the features of the images.
    fn features(&self, trained: &Trained) -> Result<()> {
        trained.features()?;
        let searching = self.inverting.given();
        let flags = [("--class", self.class.is_some()), ("--seed", self.seed.is_some())];
        expect_none("features", &[&searching[..], &flags].concat())?;
        let out = self.out(trained)?;
        let images = self.gather(trained, None)?;
        let mut meters = Meters::new(self.json);
        let found = features(trained, &images.pixels, &mut |at| meters.show(at))?;
        meters.end();
        match self.json {
            true => json(&features_report(trained, &images, &found))?,
            false => {
                let (images, values) = (count(images.len() as u64), count(found.dims() as u64));
                result(&format!("{images} images as features of {values} values\n"))?;
            }
        }
        self.save(trained, &out, images, &found, None, EncodedAs::Features)
    }

    /// The images to encode.
    fn gather(&self, trained: &Trained, class: Option<u32>) -> Result<Images> {
        let Some(split) = self.split else {
            return Images::of_files(trained, &self.files, &self.data, class, self.json);
        };
        let view = self.data.open(trained)?.require(split)?;
        let indices: Vec<usize> = view.spread(self.images.unwrap_or(view.len())).collect();
        Ok(Images::of_split(trained, &view, split, &indices))
    }

    /// Writes the file, and what stands beside it.
    fn save(
        &self,
        trained: &Trained,
        out: &Path,
        images: Images,
        rows: &Rows,
        fits: Option<&[Fit]>,
        encoded_as: EncodedAs,
    ) -> Result<()> {
        if let Some(path) = names_of(out) {
            atomic::write(&path, csv_of(trained, &images, fits).as_bytes())?;
        }
        let of = LatentsOf { encoded_as, ..LatentsOf::new(trained, images.names, images.classes) };
        write(out, rows, &of)?;
        if self.json { Ok(()) } else { result(&format!("{}\n", out.display())) }
    }

    /// The file to write; an error if it may not be replaced, or what stands beside it.
    fn out(&self, trained: &Trained) -> Result<PathBuf> {
        let out = match &self.out {
            Some(out) => out.clone(),
            None => {
                let what = if self.of == What::Features { "features" } else { "latents" };
                crate::render::free(&format!("{}-{what}", trained.info.id), "safetensors")
            }
        };
        if LatentsFormat::of(&out).is_none() {
            let what = format!("{} is neither safetensors nor an array of NumPy", out.display());
            return Err(failure(what, "give one that ends in .safetensors or .npy"));
        }
        // With --split these are read.
        let source = PathBuf::from(self.data.source().unwrap_or(&trained.config.data.source));
        for path in [Some(out.clone()), description(&out), names_of(&out)].into_iter().flatten() {
            expect_other(&path, self.files.iter().chain([&source]))?;
            if path.exists() && !self.force {
                return Err(exists(&path, "--out"));
            }
            atomic::expect_writable(&path)?;
        }
        Ok(out)
    }
}

/// An error if the file to write is one that is read, which not even `--force` may replace.
fn expect_other<'a>(path: &Path, mut read: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
    let Ok(written) = path.canonicalize() else { return Ok(()) };
    match read.any(|read| read.canonicalize().is_ok_and(|read| read == written)) {
        true => Err(failure(
            format!("{} would be replaced, and it holds the data to encode", path.display()),
            "give --out another name; beside a .npy, a .csv and a .json of the same name are written",
        )),
        false => Ok(()),
    }
}

/// The file with the names of the images, beside an array of NumPy.
fn names_of(out: &Path) -> Option<PathBuf> {
    (LatentsFormat::of(out) == Some(LatentsFormat::Npy)).then(|| out.with_extension("csv"))
}

/// A line for each row of the array: its number, the name and class of the image, and how well its latents describe it.
fn csv_of(trained: &Trained, images: &Images, fits: Option<&[Fit]>) -> String {
    let mut text = format!("row,name,class{}\n", if fits.is_some() { ",psnr,norm" } else { "" });
    for (row, (name, class)) in images.names.iter().zip(&images.classes).enumerate() {
        let class = class.and_then(|class| trained.info.data.classes.get(class as usize));
        let class = class.map(|class| field(class)).unwrap_or_default();
        text.push_str(&format!("{row},{},{class}", field(name)));
        if let Some(Fit { psnr, norm }) = fits.map(|fits| fits[row]) {
            text.push_str(&format!(",{psnr},{}", norm.map(|norm| norm.to_string()).unwrap_or_default()));
        }
        text.push('\n');
    }
    text
}

/// How well images are encoded.
pub(super) fn render(images: &Images, found: &Encoded) -> String {
    let rows: Vec<Vec<String>> = images
        .names
        .iter()
        .zip(&found.fits)
        .take(LISTED)
        .map(|(name, Fit { psnr, norm })| {
            vec![name.clone(), number(*psnr), norm.map_or_else(|| "-".into(), number)]
        })
        .collect();
    let mut text = table(&["IMAGE", ">PSNR (DB)", ">|z|/sqrt(d)"], &rows);
    let total = found.fits.len();
    if total > LISTED {
        text.push_str(&format!("and {} more; --json lists them all\n", count((total - LISTED) as u64)));
    }
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let psnr = mean(found.fits.iter().map(|fit| fit.psnr).collect());
    let norms: Vec<f64> = found.fits.iter().filter_map(|fit| fit.norm).collect();
    let norm =
        if norms.is_empty() { String::new() } else { format!(", |z|/sqrt(d) {}", number(mean(norms))) };
    text.push_str(&format!(
        "{} images as latents of {} values, on average PSNR {} dB{norm}\n",
        count(total as u64),
        found.latents.dims(),
        number(psnr)
    ));
    text
}

fn report(trained: &Trained, images: &Images, found: &Encoded, inverted: bool) -> Value {
    let image = |(name, fit): (&String, &Fit)| json!({ "image": name, "psnr": fit.psnr, "norm": fit.norm });
    of_run(
        trained,
        json!({
            "latent_dim": found.latents.dims(),
            "inverted": inverted,
            "images": images.names.iter().zip(&found.fits).map(image).collect::<Vec<_>>(),
        }),
    )
}

fn features_report(trained: &Trained, images: &Images, found: &Rows) -> Value {
    of_run(
        trained,
        json!({
            "features": found.dims(),
            "images": images.names.iter().map(|name| json!({ "image": name })).collect::<Vec<_>>(),
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_are_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let table = root.path().join("people.csv");
        std::fs::write(&table, "age,height\n34,1.8\n").unwrap();
        let by_another_way = root.path().join(".").join("people.npy");
        let names = names_of(&by_another_way).unwrap();
        let error = expect_other(&names, [&table].into_iter()).unwrap_err();
        assert!(error.to_string().contains("holds the data to encode"), "{error}");
        let other = names_of(&root.path().join("latents.npy")).unwrap();
        assert!(expect_other(&other, [&table].into_iter()).is_ok());
        std::fs::write(&other, "").unwrap();
        assert!(expect_other(&other, [&table].into_iter()).is_ok(), "a file that is not read");
    }
}
