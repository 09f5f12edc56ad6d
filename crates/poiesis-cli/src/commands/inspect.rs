//! `poiesis inspect`: what a data set holds.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use poiesis::picture::Picture;
use poiesis_collect::{Dataset, Split, preview};

use super::collect::{skipped, summary};
use crate::args::DataDir;
use crate::data;
use crate::render::{json, note, program, result};

/// Examples in a preview.
const PREVIEWED: usize = 64;
/// Skipped files that are named.
const NAMED: usize = 20;

/// Show what a data set holds
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis inspect data/photos
  poiesis inspect data/photos --preview photos.png --split validation
  poiesis inspect mnist --data-dir ../shared/data      a raw source, packed into the cache first
  poiesis inspect data/photos --verify        read all of it and compare its fingerprint")]
pub(crate) struct Inspect {
    /// Packed data set, raw source (folder, archive, data file), built-in name or name below --data-dir.
    data: String,
    /// Print dataset.json.
    #[arg(long)]
    json: bool,
    /// Write a grid of examples.
    #[arg(long, value_name = "FILE")]
    preview: Option<PathBuf>,
    /// Split that the preview shows.
    #[arg(long, value_name = "SPLIT", default_value = "train", value_parser = split)]
    split: Split,
    /// Replace the preview if it exists.
    #[arg(long)]
    force: bool,
    /// Read everything and check that nothing has changed since it was packed.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    data_dir: DataDir,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<()> {
        let dataset = data::open_any(&self.data, &self.data_dir.data_dir, self.json)?;
        let (card, folder) = (dataset.card(), dataset.folder());
        if self.json {
            json(&serde_json::to_value(card)?)?;
        } else {
            result(&format!("{}{}", summary(card, folder), skipped(card, NAMED)))?;
        }
        if self.verify {
            dataset.verify()?;
            note("verified: the fingerprint is that of the content");
        }
        match &self.preview {
            Some(file) => self.write_preview(&dataset, file),
            None => {
                let name = data::short_name(&self.data);
                note(&format!("see it: {} inspect {} --preview {name}-preview.png", program(), self.data));
                Ok(())
            }
        }
    }

    fn write_preview(&self, dataset: &Dataset, file: &Path) -> Result<()> {
        if file.exists() && !self.force {
            bail!("{} exists; give another --preview, or --force to replace it", file.display());
        }
        let drawn = preview(dataset, self.split, PREVIEWED)?;
        let picture = Picture::new(drawn.width as usize, drawn.height as usize, 3, drawn.pixels);
        picture.write_png(file, None)?;
        note(&format!("preview: {}", file.display()));
        Ok(())
    }
}

/// Reads the name of a split.
pub(crate) fn split(text: &str) -> Result<Split, String> {
    Split::parse(text).ok_or_else(|| "give train, validation or test".into())
}
