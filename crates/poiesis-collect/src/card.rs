//! `dataset.json`: what a packed data set says about itself. It holds no times and no machine, so the same source
//! and options give the same bytes.

use serde::{Deserialize, Serialize};

use crate::error::remedy_of;
use crate::experience::ExperienceCard;
use crate::options::Options;
use crate::split::Split;
use crate::vocabulary::Vocabulary;

/// The version of the packed format that this crate writes; it reads this one only.
pub const FORMAT: u32 = 1;

/// What the examples of a data set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// 8-bit images, shape `[height, width, channels]`.
    Images,
    /// Points of a space of any number of dimensions, shape `[dimensions]`.
    Points,
    /// Text as a stream of tokens, shape `[]`: all documents of a split one after another.
    Text,
    /// Sound as a stream of 16-bit samples, shape `[channels]`: all clips of a split one after another.
    Sound,
    /// Episodes of an agent in an environment, shape `[numbers of an observation]`.
    Experience,
}

impl Kind {
    /// Whether the data are a stream, which [`Dataset::stream`](crate::Dataset::stream) reads. Experience is episodes, which
    /// [`Dataset::episodes`](crate::Dataset::episodes) reads; the others are examples of one shape, which
    /// [`Dataset::split`](crate::Dataset::split) reads.
    pub fn is_stream(self) -> bool {
        matches!(self, Kind::Text | Kind::Sound)
    }

    /// Whether examples differ in length, so that a card counts their elements too: tokens, frames or transitions.
    pub(crate) fn has_elements(self) -> bool {
        self.is_stream() || self == Kind::Experience
    }

    /// Its name: `images`, `points`, `text`, `sound`, `experience`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Images => "images",
            Kind::Points => "points",
            Kind::Text => "text",
            Kind::Sound => "sound",
            Kind::Experience => "experience",
        }
    }

    /// The word for one example: `image`, `point`, `document`, `clip`, `episode`.
    pub fn example(self) -> &'static str {
        match self {
            Kind::Images => "image",
            Kind::Points => "point",
            Kind::Text => "document",
            Kind::Sound => "clip",
            Kind::Experience => "episode",
        }
    }
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
    /// The shape of one example: `[height, width, channels]` for images, `[dimensions]` for points; of one element of a stream:
    /// `[]` for text, `[channels]` for sound. For experience, `[numbers of an observation]`.
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
    /// Mean of each channel over the train split, on a scale of 0 to 1 for images, with 1 as full scale for sound, as it
    /// is for points, and for the numbers of an observation in experience; empty for text.
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
    /// The licence of the data, as stated by the person who collected it.
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
    /// What only text has; present exactly when the kind is [`Kind::Text`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextCard>,
    /// What only sound has; present exactly when the kind is [`Kind::Sound`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<SoundCard>,
    /// What only points from files have; points made by code have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<PointsCard>,
    /// What only experience has; present exactly when the kind is [`Kind::Experience`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experience: Option<ExperienceCard>,
    /// Most objects of an image, where a box around each is stored; see [`View::boxes`](crate::View::boxes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<usize>,
}

impl Card {
    /// Number of examples (documents, clips, episodes) in a split; 0 when the data set does not have it.
    pub fn count(&self, split: Split) -> usize {
        self.splits.iter().find(|s| s.split == split).map_or(0, |s| s.count)
    }

    /// Number of elements in a split: tokens, frames of sound, or transitions of experience; 0 when there are none.
    pub fn elements(&self, split: Split) -> u64 {
        self.splits.iter().find(|s| s.split == split).map_or(0, |s| s.elements)
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
    /// A single document was cut in two: its beginning is for training, its end for validation.
    Position,
}

/// What only text has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextCard {
    /// What the tokens stand for.
    pub vocabulary: Vocabulary,
    /// Whether each line of the source is a document; otherwise each file or record is.
    pub lines: bool,
}

/// What only sound has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoundCard {
    /// Frames in a second, the same for all clips.
    pub sample_rate: u32,
    /// Samples in a frame: 1 mono, 2 stereo.
    pub channels: u16,
    /// Clips in which three or more samples in a row of one channel are at full scale: the recording was too loud.
    pub clipped: u64,
    /// Clips without a sample beyond a thousandth of full scale (-60 dB).
    pub silent: u64,
    /// Samples beyond full scale, in floating-point files or after resampling, which were brought to it.
    pub limited: u64,
}

/// What only points from files have. Mean and standard deviation of each column are in [`Card::channel_mean`] and
/// [`Card::channel_std`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointsCard {
    /// The names of the columns, one a dimension; empty when the source does not name them.
    pub columns: Vec<String>,
    /// Smallest value of each column over all splits.
    pub low: Vec<f32>,
    /// Largest value of each column over all splits.
    pub high: Vec<f32>,
}

/// One split in `dataset.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitCard {
    /// Which split this is.
    pub split: Split,
    /// Number of examples (documents, clips, episodes).
    pub count: usize,
    /// Number of elements: tokens, frames of sound, or transitions of experience. 0, and not written, for other kinds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub elements: u64,
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
    /// Number of examples in it; in a stream, those that begin in it.
    pub count: usize,
    /// Number of elements in it, as for a split. 0, and not written, for other kinds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub elements: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
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
    pub(crate) fn push(&mut self, name: String, reason: impl Into<Reason>) {
        self.count += 1;
        if self.list.len() < Self::LISTED {
            let Reason { text, option } = reason.into();
            self.list.push(SkippedFile { name, reason: text, option: option.map(str::to_owned) });
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
    /// The field of [`Options`] with which it could be used, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub option: Option<String>,
}

impl SkippedFile {
    /// What can be done to use it, where something is known to help.
    pub fn hint(&self) -> Option<String> {
        self.option.as_deref().and_then(remedy_of)
    }
}

/// Why a file cannot be used, and the option with which it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) text: String,
    pub(crate) option: Option<&'static str>,
}

impl Reason {
    /// A reason that an option does away with.
    pub(crate) fn mended_by(option: &'static str, text: String) -> Reason {
        Reason { text, option: Some(option) }
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Reason {
        text.to_owned().into()
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Reason {
        Reason { text, option: None }
    }
}
