//! `poiesis decompress`: restores the files of an archive.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use poiesis::apply::compress::{Archive, decompress, output_files};
use poiesis::error::in_bytes;

use crate::args::WhichWeights;
use crate::render::{Meter, count, duration, exists, facts, note, result, table};

/// Restore the files of an archive made by compress
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis decompress letter.poi --model runs/transformer-novels
  poiesis decompress digits.poi --model runs/gated-pixelcnn-mnist --out digits/
  poiesis decompress digits.poi --list

Everything is checked before anything is written: the archive's checksum, the model's fingerprint, and the \
checksum of each document.")]
pub(crate) struct Decompress {
    /// The archive.
    archive: PathBuf,
    /// Folder of the run with the model that compressed it [default: the one named in the archive, below runs/].
    #[arg(long, value_name = "RUN")]
    model: Option<PathBuf>,
    #[command(flatten)]
    which: WhichWeights,
    /// Folder to write to.
    #[arg(long, short, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    /// Replace existing files.
    #[arg(long)]
    force: bool,
    /// List the content, without a model.
    #[arg(long)]
    list: bool,
}

impl Decompress {
    pub(crate) fn run(self) -> Result<()> {
        let path = &self.archive;
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let archive = Archive::from_bytes(&bytes).with_context(|| path.display().to_string())?;
        if self.list {
            return list(&archive);
        }
        let run = self.model.clone().unwrap_or_else(|| Path::new("runs").join(&archive.header.run));
        poiesis::device::compute_with(&archive.header.instructions);
        let trained = self.which.open(&run)?;
        let meter = Meter::new("decompressing", "values", None, false);
        let documents = decompress(&trained, &archive, &mut |done, total| meter.at(done, Some(total)))?;
        let seconds = meter.end();
        let files = output_files(&documents, &self.out, &trained.spec)?;
        if let Some(file) = files.iter().find(|file| file.path.exists() && !self.force) {
            return Err(exists(&file.path, "--out"));
        }
        for file in &files {
            file.write()?;
        }
        note(&format!("{} files in {}", count(files.len() as u64), duration(seconds)));
        let shown = files.iter().take(10).map(|file| format!("{}\n", file.path.display()));
        let more = if files.len() > 10 { format!("and {} more\n", files.len() - 10) } else { String::new() };
        result(&format!("{}{more}", shown.collect::<String>()))
    }
}

fn list(archive: &Archive) -> Result<()> {
    let header = &archive.header;
    let weights = if header.averaged { "averaged" } else { "trained" };
    let head = facts(&[
        (
            "model",
            format!("{} of {}, step {}, {weights} weights", header.model, header.run, count(header.step)),
        ),
        ("fingerprint", header.fingerprint.clone()),
        ("instructions", header.instructions.clone()),
    ]);
    let row = |entry: &poiesis::apply::compress::EntryHeader| vec![in_bytes(entry.bytes), entry.name.clone()];
    let rows: Vec<Vec<String>> = header.entries.iter().map(row).collect();
    result(&format!("{head}\n{}", table(&[">SIZE", "NAME"], &rows)))
}
