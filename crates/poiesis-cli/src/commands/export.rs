//! `poiesis export`: writes a data set out as files.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::config::DataConfig;
use poiesis::error::in_bytes;
use poiesis_collect::{ExportOptions, Kind, Progress, Split, export};
use serde_json::{Value, json};

use super::card::plural;
use super::inspect::split;
use super::pictures::positive;
use crate::args::DataDir;
use crate::render::{Meter, count, failure, in_json, json, note, program, quoted, result};

/// Write a data set out as files: PNG images, texts, WAV sound or CSV points
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis export data/photos photos-again
      every image as PNG, in folders of their splits and classes
  poiesis export mnist digits --split test --count 100
      a hundred of the test images, drawn from all of them
  poiesis export data/voices clips
      sound as WAV files
  poiesis export data/photos out --json

Images become PNG, documents .txt, clips .wav with 16 bits, and points a points.csv; of text, line ends and byte order \
marks are those of the data set. Examples are as they were packed: of the size, colours and sample rate that collect gave \
them. They are in folders called train, validation and test where there are several, and in those in folders of their \
classes, so that collect reads the folder as it was. Names are numbers of the split. Nothing is written over: the folder \
must be new, and appears when it is whole.")]
pub(crate) struct Export {
    /// Packed data set, raw source (folder, archive, data file), built-in name or name below --data-dir.
    data: String,
    /// Folder to create.
    #[arg(value_name = "FOLDER")]
    out: PathBuf,
    /// Write this split only [default: all of them].
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Write at most so many examples of each split, drawn from all of it [default: all].
    #[arg(long, value_name = "N", value_parser = positive)]
    count: Option<usize>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(crate) fn run(self) -> Result<()> {
        let config = DataConfig { source: self.data.clone(), ..DataConfig::default() };
        let dataset = self.data_dir.open(&config, self.json)?;
        let card = dataset.card();
        if card.kind == Kind::Experience {
            return Err(failure(
                format!("{} is experience, which has no files to be written as", card.name),
                "give a data set of images, text, sound or points",
            ));
        }
        let options = ExportOptions { split: self.split, count: self.count };
        let meter = Meter::new("writing", plural(card.kind), None, self.json);
        let progress = |progress: Progress| meter.at(progress.done, progress.total);
        let written = export(&dataset, &self.out, &options, &progress);
        meter.end();
        let written = written?;
        if self.json {
            let splits: serde_json::Map<String, Value> =
                written.splits.iter().map(|(split, number)| (split.to_string(), (*number).into())).collect();
            return json(&json!({
                "data": card.name, "out": in_json(&self.out), "splits": splits, "files": written.files,
                "bytes": written.bytes, "left_out": written.left_out,
            }));
        }
        let splits: Vec<String> = written
            .splits
            .iter()
            .map(|(split, number)| format!("{} {split}", count(*number as u64)))
            .collect();
        let files = if written.files == 1 { "file" } else { "files" };
        result(&format!(
            "{}: {} {files}, {}\n{}: {}\nlicence: {}\n",
            self.out.display(),
            count(written.files),
            in_bytes(written.bytes),
            plural(card.kind),
            splits.join(", "),
            card.licence.as_deref().unwrap_or("not stated")
        ))?;
        written.left_out.iter().for_each(|line| note(&format!("note: {line}")));
        let alpha =
            if card.kind == Kind::Images && card.shape.last() == Some(&4) { " --channels 4" } else { "" };
        let out = quoted(&self.out.display().to_string());
        note(&format!("read it again: {} collect {out} NEW{alpha}", program()));
        Ok(())
    }
}
