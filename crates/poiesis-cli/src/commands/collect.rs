//! `poiesis collect`: any source becomes a packed data set.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::error::in_bytes;
use poiesis_collect::{Card, Options, SplitBy, collect};

use crate::args::DataDir;
use crate::data;
use crate::render::{Meter, count, duration, facts, note, program, result, shape};

/// Skipped files that the summary names.
const NAMED: usize = 5;

/// Pack images into a data set that trains fast and remembers where it came from
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis collect photos/ data/photos --size 64
      a folder of images; folders inside it become classes, or splits if called train, valid or test
  poiesis collect emoji.tar.gz data/emoji --size 64 --background '#ffffff' --licence Apache-2.0
      an archive of PNG files, transparent parts laid over white
  poiesis collect mnist data/mnist-packed --data-dir ../shared/data
      a data set looked up by name
  poiesis collect shapes data/shapes --size 32 --count 50000 --seed 1
      data made by code

Reads folders, zip and tar(.gz) of images (PNG, JPEG, WebP, BMP, GIF, TIFF), WebDataset shards, Hugging Face parquet,
IDX, CIFAR binary, npy and npz. A file that cannot be read is skipped, counted and listed.")]
pub(crate) struct Collect {
    /// Folder, archive or data file, built-in data (shapes, rings, grid) or a name below --data-dir.
    source: String,
    /// Folder to make.
    out: PathBuf,
    /// Sides of the prepared images in pixels, N or WIDTHxHEIGHT [default: those of the source].
    #[arg(long, value_name = "N|WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// What to do with images of another shape: cut the centre out, or stretch them.
    #[arg(long, value_name = "HOW", default_value = "center", value_parser = ["center", "none"])]
    crop: String,
    /// Channels of the prepared images: 1 grey, 3 RGB, 4 RGBA [default: those of the first image].
    #[arg(long, value_name = "N")]
    channels: Option<u8>,
    /// Colour that transparent pixels are laid over.
    #[arg(long, value_name = "#RRGGBB", default_value = "#ffffff")]
    background: String,
    /// Part of the images that is held out for validation when the source has no splits.
    #[arg(long, value_name = "PART", default_value = "0.1")]
    holdout: f64,
    /// Name of the data set [default: that of the source].
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Licence of the data, to be kept with them.
    #[arg(long, value_name = "TEXT", visible_alias = "license")]
    licence: Option<String>,
    /// How many examples of built-in data to make.
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Seed of built-in data.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

impl Collect {
    pub(crate) fn run(self) -> Result<()> {
        let source = data::locate(&self.source, &self.data_dir.data_dir)?;
        let options = Options {
            size: self.size,
            crop: data::crop(&self.crop)?,
            channels: self.channels,
            background: data::color(&self.background)?,
            holdout: self.holdout,
            count: self.count,
            seed: self.seed,
            licence: self.licence,
            name: self.name,
            ..Options::default()
        };
        let meter = Meter::new("packing", "images", None, self.json);
        let progress = |progress: poiesis_collect::Progress| {
            meter.at(progress.done + progress.skipped, progress.total);
        };
        let report = collect(Path::new(&source), &self.out, &options, &progress);
        let seconds = meter.end();
        let card = report?.card;
        if self.json {
            return crate::render::json(&serde_json::to_value(&card)?);
        }
        let rate = card.total() as f64 / seconds.max(1e-3);
        note(&format!("packed in {}, {}/s", duration(seconds), count(rate as u64)));
        let out = self.out.display();
        let program = program();
        result(&format!(
            "{}{}what to try next\n  {program} inspect {out} --preview {}-preview.png\n  {program} train dcgan --data {out}\n",
            summary(&card, &self.out),
            skipped(&card, NAMED),
            data::short_name(&self.out.to_string_lossy()),
        ))
    }
}

/// Reads `64` or `64x48` (width first) as height and width.
fn size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=8192).contains(side));
    let (width, height) = text.split_once(['x', '×']).unwrap_or((text, text));
    match (side(height), side(width)) {
        (Some(height), Some(width)) => Ok((height, width)),
        _ => Err("give pixels such as 64, or width and height such as 64x48".into()),
    }
}

/// The facts of a packed data set, as text.
pub(crate) fn summary(card: &Card, folder: &Path) -> String {
    let splits: Vec<String> =
        card.splits.iter().map(|split| format!("{} {}", count(split.count as u64), split.split)).collect();
    let split_by = match card.split_by {
        SplitBy::Source => "as the source has them",
        SplitBy::Content => "validation chosen by content",
        SplitBy::Position => "validation cut from the end",
    };
    let numbers =
        |values: &[f64]| values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" ");
    let duplicates = match (card.duplicates, card.duplicates_across_splits) {
        (0, _) => "none".to_owned(),
        (all, 0) => format!("{}, none across splits", count(all)),
        (all, across) => format!("{}, of which {} across splits", count(all), count(across)),
    };
    let mut all = vec![
        ("name", card.name.clone()),
        ("examples", format!("{}: {} ({split_by})", count(card.total() as u64), splits.join(", "))),
        ("shape", shape(&card.shape)),
        ("mean", numbers(&card.channel_mean)),
        ("deviation", numbers(&card.channel_std)),
        ("duplicates", duplicates),
        (
            "skipped",
            match card.skipped.count {
                0 => "none".into(),
                number => format!("{} files", count(number)),
            },
        ),
        ("source", card.sources.join("\n")),
        ("licence", card.licence.clone().unwrap_or_else(|| "not stated".into())),
        ("on disk", in_bytes(size_on_disk(folder))),
        ("fingerprint", card.fingerprint.clone()),
    ];
    if !card.classes.is_empty() {
        all.insert(3, ("classes", classes(card)));
    }
    if !card.factors.is_empty() {
        let factors: Vec<String> = card
            .factors
            .iter()
            .map(|factor| format!("{} {} to {} {}", factor.name, factor.low, factor.high, factor.unit))
            .collect();
        all.insert(4, ("factors", factors.join("\n")));
    }
    all.extend(card.notes.iter().map(|note| ("note", note.clone())));
    facts(&all)
}

/// The classes with how often they occur in the train split; the first of them where there are many.
fn classes(card: &Card) -> String {
    const SHOWN: usize = 20;
    let train = card.splits.first().map(|split| split.class_counts.as_slice()).unwrap_or_default();
    let mut each: Vec<String> = card
        .classes
        .iter()
        .zip(train)
        .take(SHOWN)
        .map(|(name, &number)| format!("{name} {}", count(number)))
        .collect();
    if card.classes.len() > SHOWN {
        each.push(format!("and {} more", card.classes.len() - SHOWN));
    }
    each.join(", ")
}

/// The first skipped files with their reasons.
pub(crate) fn skipped(card: &Card, shown: usize) -> String {
    let listed = card.skipped.list.iter().take(shown);
    let mut text: String = listed.map(|file| format!("  skipped {}: {}\n", file.name, file.reason)).collect();
    let more = card.skipped.count.saturating_sub(shown as u64);
    if more > 0 {
        text.push_str(&format!("  and {} more, listed in dataset.json\n", count(more)));
    }
    text
}

fn size_on_disk(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_width_first() {
        assert_eq!(size("64"), Ok((64, 64)));
        assert_eq!(size("64x48"), Ok((48, 64)));
        assert!(size("0").is_err() && size("64x").is_err() && size("9000").is_err());
    }
}
