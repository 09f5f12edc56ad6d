//! `poiesis export`: writes a data set out as files.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::config::DataConfig;
use poiesis::error::in_bytes;
use poiesis_collect::{ExportOptions, Kind, Options, Progress, Split, VocabularyKind, export};
use serde_json::{Value, json};

use super::card::plural;
use super::inspect::split;
use super::pictures::positive;
use crate::args::DataDir;
use crate::flags;
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

Images become PNG, documents .txt, clips .wav with 16 bits, and points a points.csv; text keeps the line ends that the \
data set has. Examples are as they were packed: of the size, colours and sample rate that collect gave them. They are in \
folders called train, validation and test where there are several, and in those in folders of their classes, so that \
collect finds the same splits and classes with the flags that are printed at the end. Names are numbers of the split. \
Nothing is written over: the folder must be new, and appears when it is whole.")]
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
        let dataset =
            self.data_dir.open(&config, self.json).map_err(|error| unprepared(error, &self.data))?;
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
        let out = quoted(&self.out.display().to_string());
        let again = format!("{} collect {out} NEW{}", program(), flags_of(&written.collect));
        if self.json {
            let splits: serde_json::Map<String, Value> =
                written.splits.iter().map(|(split, number)| (split.to_string(), (*number).into())).collect();
            return json(&json!({
                "data": card.name, "out": in_json(&self.out), "splits": splits, "files": written.files,
                "bytes": written.bytes, "left_out": written.left_out,
                "collect": again,
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
        note(&format!("read it again: {again}"));
        Ok(())
    }
}

/// The flags of `collect` for the options that a data set written out is collected with.
fn flags_of(options: &Options) -> String {
    let usual = Options::default();
    let vocabulary = options.vocabulary.map(|vocabulary| match vocabulary {
        VocabularyKind::Bytes => "bytes",
        VocabularyKind::Characters => "characters",
        VocabularyKind::Bpe => "bpe",
    });
    let flags = [
        options.size.map(|(height, width)| format!("--size {width}x{height}")),
        options.channels.map(|channels| format!("--channels {channels}")),
        options.lines.then(|| "--lines".to_owned()),
        vocabulary.map(|vocabulary| format!("--vocabulary {vocabulary}")),
        options.vocabulary_size.map(|size| format!("--vocabulary-size {size}")),
        (options.holdout != usual.holdout).then(|| format!("--holdout {}", options.holdout)),
        options.class_level.map(|level| format!("--class-level {level}")),
        options.licence.as_deref().map(|licence| format!("--licence {}", quoted(licence))),
    ];
    flags.into_iter().flatten().map(|flag| format!(" {flag}")).collect()
}

/// An error of raw data that a verb without flags for preparing them cannot open, with the command that does.
pub(super) fn unprepared(error: anyhow::Error, source: &str) -> anyhow::Error {
    let option = match error.downcast_ref() {
        Some(poiesis::Error::Data(reason)) => reason.option(),
        _ => None,
    };
    match option.and_then(flags::of_collect) {
        Some(flag) => {
            let command = format!("{} collect {} OUT {flag}", program(), quoted(source));
            failure(error.to_string(), format!("collect it first: {command}"))
        }
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_that_differ() {
        assert_eq!(flags_of(&Options::default()), "");
        let images = Options { size: Some((20, 30)), channels: Some(3), holdout: 0.0, ..Options::default() };
        assert_eq!(flags_of(&images), " --size 30x20 --channels 3 --holdout 0");
        let text = Options {
            lines: true,
            vocabulary: Some(VocabularyKind::Bpe),
            vocabulary_size: Some(300),
            class_level: Some(2),
            licence: Some("CC BY".to_owned()),
            ..Options::default()
        };
        let expected = " --lines --vocabulary bpe --vocabulary-size 300 --class-level 2 --licence 'CC BY'";
        assert_eq!(flags_of(&text), expected);
    }
}
