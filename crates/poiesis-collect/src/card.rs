//! `dataset.json`: what a packed data set says about itself. It holds no times and no machine, so the same source
//! and options give the same bytes.

use serde::{Deserialize, Serialize};

use crate::options::Options;
use crate::split::Split;

/// The version of the packed format that this crate writes; it reads this one only.
pub const FORMAT: u32 = 1;

/// What the examples of a data set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// 8-bit images, shape `[height, width, channels]`.
    Images,
    /// Points of the plane, shape `[2]`.
    Points,
}

/// The content of `dataset.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// The version of the packed format, [`FORMAT`].
    pub poiesis_dataset: u32,
    /// The name of the data set.
    pub name: String,
    /// What the examples are.
    pub kind: Kind,
    /// The shape of one example: `[height, width, channels]` for images, `[2]` for points.
    pub shape: Vec<usize>,
    /// The names of the classes, in the order of the labels; empty when there are none.
    pub classes: Vec<String>,
    /// What was varied to make each example; empty unless the data was made by code.
    pub factors: Vec<Factor>,
    /// The splits that exist, in the order train, validation, test.
    pub splits: Vec<SplitCard>,
    /// How the splits came about.
    pub split_by: SplitBy,
    /// blake3 of the content (kind, shape, names, splits, examples, labels, factors) in hexadecimal; the same for
    /// any number of threads and any size of shards.
    pub fingerprint: String,
    /// Mean of each channel over the train split, on a scale of 0 to 1 for images and as it is for points.
    pub channel_mean: Vec<f64>,
    /// Standard deviation (of the population) of each channel over the train split, on the scale of the mean.
    pub channel_std: Vec<f64>,
    /// Examples that equal an earlier one, over all splits.
    pub duplicates: u64,
    /// Of the duplicates, those whose first occurrence is in another split; only a source with splits of its own
    /// can have any.
    pub duplicates_across_splits: u64,
    /// Where the data came from.
    pub sources: Vec<String>,
    /// The licence of the data, as stated by whoever collected it.
    pub licence: Option<String>,
    /// How the examples were prepared.
    pub options: Options,
    /// The filter that brought images to the asked size; `None` when none was asked for.
    #[serde(default)]
    pub resize_filter: Option<String>,
    /// The files that could not be used.
    pub skipped: Skipped,
    /// Remarks for the reader: what was assumed, converted or enlarged.
    pub notes: Vec<String>,
}

impl Card {
    /// Number of examples in a split; 0 when the data set does not have it.
    pub fn count(&self, split: Split) -> usize {
        self.splits.iter().find(|s| s.split == split).map_or(0, |s| s.count)
    }

    /// Number of examples in all splits.
    pub fn total(&self) -> usize {
        self.splits.iter().map(|s| s.count).sum()
    }
}

/// How the splits of a data set came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitBy {
    /// The source named them.
    Source,
    /// The hash of each example's content decided between train and validation.
    Content,
}

/// One split in `dataset.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCard {
    /// Which split this is.
    pub split: Split,
    /// Number of examples.
    pub count: usize,
    /// Number of examples of each class, in the order of [`Card::classes`]; empty without labels.
    pub class_counts: Vec<u64>,
    /// The files that hold the examples, in order.
    pub shards: Vec<ShardCard>,
}

/// One shard in `dataset.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCard {
    /// The name of the file, inside the folder of the data set.
    pub file: String,
    /// Number of examples in it.
    pub count: usize,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A quantity that was varied to make the examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// Its name: `shape`, `size`, `x`, …
    pub name: String,
    /// Its unit: `class`, `image sides`, `degrees`, `turns`.
    pub unit: String,
    /// Smallest value.
    pub low: f32,
    /// Largest value.
    pub high: f32,
    /// Whether only whole numbers occur.
    pub discrete: bool,
}

/// The files of a source that could not be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// How many there were.
    pub count: u64,
    /// The first [`Skipped::LISTED`] of them, in the order of the source.
    pub list: Vec<SkippedFile>,
}

impl Skipped {
    /// How many skipped files are listed by name.
    pub const LISTED: usize = 1000;

    /// Counts a skipped file and lists it while there is room.
    pub(crate) fn push(&mut self, name: String, reason: String) {
        self.count += 1;
        if self.list.len() < Self::LISTED {
            self.list.push(SkippedFile { name, reason });
        }
    }
}

/// A file that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedFile {
    /// Its path inside the source.
    pub name: String,
    /// Why it was skipped.
    pub reason: String,
}
