//! `poiesis sample`: new images from a trained model.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use poiesis::Trained;
use poiesis::apply::sample;
use poiesis::picture::Picture;
use serde_json::{Value, json};

use super::pictures;
use crate::args::{OfRun, Out};
use crate::render::{Meter, count, note, result};

/// Images drawn between two looks at the clock.
const PIECE: usize = 64;

/// Draw new images from a trained model
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis sample runs/dcgan-shapes
  poiesis sample runs/dcgan-shapes --count 16 --seed 7 --out grid.png
  poiesis sample runs/dcgan-shapes --count 10000 --out samples/      a folder of single files

Image i of a seed is the same whatever --count is. The PNG holds what it was made with; --no-metadata leaves it out.")]
pub(crate) struct Sample {
    #[command(flatten)]
    of: OfRun,
    /// How many images.
    #[arg(long, short = 'n', value_name = "N", default_value = "64", value_parser = pictures::positive)]
    count: usize,
    /// Seed of the sequence they come from.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Number of the first image in that sequence.
    #[arg(long, value_name = "N", default_value = "0", value_parser = clap::value_parser!(u64).range(..1 << 40))]
    first: u64,
    /// Columns of the grid [default: as many as rows].
    #[arg(long, value_name = "N", value_parser = pictures::positive)]
    columns: Option<usize>,
    /// Leave out of the PNG what it was made with.
    #[arg(long)]
    no_metadata: bool,
    #[command(flatten)]
    out: Out,
}

impl Sample {
    pub(crate) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        trained.sampler()?;
        match &self.out.out {
            Some(folder) if folder.extension().is_none() || folder.is_dir() => self.folder(&trained, folder),
            _ => self.grid(&trained),
        }
    }

    fn grid(&self, trained: &Trained) -> Result<()> {
        let out = self.out.resolve(trained, &format!("samples-seed{}", self.seed))?;
        let mut images = Vec::new();
        self.draw(trained, |_, piece| {
            images.extend_from_slice(piece);
            Ok(())
        })?;
        let columns = self.columns.unwrap_or_else(|| sample::columns(self.count));
        let picture = pictures::grid(&images, trained.spec.images()?, columns, self.out.scale);
        picture.write_png(&out, self.note(trained, self.first, self.count).as_ref())?;
        result(&format!("{}\n", out.display()))
    }

    fn folder(&self, trained: &Trained, folder: &Path) -> Result<()> {
        let occupied = folder.exists()
            && fs::read_dir(folder)
                .with_context(|| format!("cannot read {}", folder.display()))?
                .next()
                .is_some();
        if occupied && !self.out.force {
            bail!("{} is not empty; give another --out, or --force to write into it", folder.display());
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let shape = trained.spec.images()?;
        self.draw(trained, |index, piece| {
            for (number, image) in (index..).zip(piece.chunks_exact(shape.dims())) {
                let picture = Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
                let path = folder.join(format!("{number:06}.png"));
                let picture = picture.enlarged(self.out.scale.map_or(1, usize::from));
                picture.write_png(&path, self.note(trained, number, 1).as_ref())?;
            }
            Ok(())
        })?;
        note(&format!("{} images of {}", count(self.count as u64), trained.info.id));
        result(&format!("{}\n", folder.display()))
    }

    /// Draws the images piece by piece, each handed over with the number of its first.
    fn draw(&self, trained: &Trained, mut take: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let sampler = trained.sampler()?;
        let meter = Meter::new("sampling", "images", Some(self.count as u64), false);
        for done in (0..self.count).step_by(PIECE) {
            let first = self.first + done as u64;
            take(first, &sample::images(sampler, self.seed, first, PIECE.min(self.count - done)))?;
            meter.at((done + PIECE).min(self.count) as u64, Some(self.count as u64));
        }
        meter.end();
        Ok(())
    }

    /// What a picture of `count` images from number `first` says of itself.
    fn note(&self, trained: &Trained, first: u64, count: usize) -> Option<Value> {
        let made = json!({ "verb": "sample", "seed": self.seed, "first": first, "count": count });
        (!self.no_metadata).then(|| pictures::parameters(trained, made))
    }
}

impl Out {
    /// The file to write, which is told if it may not be replaced.
    pub(crate) fn resolve(&self, trained: &Trained, what: &str) -> Result<PathBuf> {
        let Some(out) = &self.out else {
            return Ok(crate::render::free(&format!("{}-{what}", trained.info.id), "png"));
        };
        if !out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
            bail!("{} is not the name of a PNG file; give one that ends in .png", out.display());
        }
        if out.exists() && !self.force {
            bail!("{} exists; give another --out, or --force to replace it", out.display());
        }
        Ok(out.clone())
    }
}
