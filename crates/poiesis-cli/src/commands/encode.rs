//! `poiesis encode`: images as latents in a file.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::apply::encode::{Encoded, Fit};
use poiesis::apply::latents_file::{LatentsFormat, LatentsOf, description, write};
use poiesis::atomic;
use poiesis_collect::Split;
use serde_json::{Value, json};

use super::discover::{OfData, expect_class};
use super::given_images::expect_existing;
use super::inspect::split;
use super::pictures::positive;
use super::sources::{Images, Inverting, encoded};
use crate::args::OfRun;
use crate::render::{count, exists, failure, in_json, json, number, result, table};

/// How many images are listed.
const LISTED: usize = 20;

/// Encode images as latents and save these
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis encode runs/vae-faces faces/ --out faces.safetensors
  poiesis encode runs/vae-mnist --split test --images 1000 --out test.npy     for NumPy, with test.json beside it
  poiesis encode runs/dcgan-shapes drawing.png --starts 16                    a model without an encoder
  poiesis decode runs/vae-faces faces.safetensors --out again/                back to images

The file has an array [images, values] of 32-bit floats, and the name of each image: in the metadata of safetensors, or \
as JSON beside NumPy's array. Latents are the means that the encoder gives. The latents of a model without an encoder are \
searched by gradients of its decoder, from several starts; this takes seconds for each image. PSNR says how near the \
decoded image is to the image, in dB. |z|/sqrt(d) is about 1 for latents that the prior draws; far from it, the model \
knows nothing like the image.")]
pub(crate) struct Encode {
    #[command(flatten)]
    of: OfRun,
    /// Files, folders or archives of images.
    #[arg(value_name = "IMAGES", required_unless_present = "split")]
    files: Vec<PathBuf>,
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

impl Encode {
    pub(crate) fn run(self) -> Result<()> {
        expect_existing(&self.files)?;
        let trained = self.of.open()?;
        trained.spec.images()?;
        let inversion = self.inverting.of(&trained, self.seed)?;
        let class = expect_class(&trained, self.class.as_deref())?;
        let out = self.out(&trained)?;
        let images = match self.split {
            Some(split) => {
                let view = self.data.open(&trained)?.require(split)?;
                let indices: Vec<usize> = view.spread(self.images.unwrap_or(view.len())).collect();
                Images::of_split(&trained, &view, split, &indices)
            }
            None => Images::of_files(&trained, &self.files, &self.data, class, self.json)?,
        };
        let found = encoded(&trained, &images, inversion.as_ref(), self.json)?;
        match self.json {
            true => json(&report(&trained, &images, &found, inversion.is_some()))?,
            false => result(&render(&images, &found))?,
        }
        let of = LatentsOf::new(&trained, images.names, images.classes);
        write(&out, &found.latents, &of)?;
        if self.json { Ok(()) } else { result(&format!("{}\n", out.display())) }
    }

    /// The file to write; an error if it may not be replaced, or what stands beside it.
    fn out(&self, trained: &Trained) -> Result<PathBuf> {
        let out = match &self.out {
            Some(out) => out.clone(),
            None => crate::render::free(&format!("{}-latents", trained.info.id), "safetensors"),
        };
        if LatentsFormat::of(&out).is_none() {
            let what = format!("{} is not the name of a file of latents", out.display());
            return Err(failure(what, "give one that ends in .safetensors or .npy"));
        }
        for path in [Some(out.clone()), description(&out)].into_iter().flatten() {
            if path.exists() && !self.force {
                return Err(exists(&path, "--out"));
            }
            atomic::expect_writable(&path)?;
        }
        Ok(out)
    }
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
    json!({
        "run": trained.info.id,
        "model": trained.entry.name(),
        "step": trained.step,
        "weights": trained.weights().name(),
        "run_path": in_json(trained.path()),
        "latent_dim": found.latents.dims(),
        "inverted": inverted,
        "images": images.names.iter().zip(&found.fits).map(image).collect::<Vec<_>>(),
    })
}
