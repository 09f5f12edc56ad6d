//! How a source is turned into a data set: the choices a user has.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::card::Kind;
use crate::error::{Error, Result};

/// The choices a user has when a source is collected. `Options::default()` suits most sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Height and width of every prepared image, in pixels. `None` keeps the size of the source, which all images
    /// must then share (built-in shapes are 32x32).
    pub size: Option<(u32, u32)>,
    /// What to do with images of another aspect ratio than `size`.
    pub crop: Crop,
    /// Height, width and channels of one image in arrays (npy, npz) and in files without a header. `None` follows the shape of
    /// the array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<(u32, u32, u8)>,
    /// 1 (grey), 3 (RGB) or 4 (RGBA). `None` follows the first image: grey stays grey, everything else becomes RGB.
    pub channels: Option<u8>,
    /// The colour behind transparent pixels when the channels are 1 or 3.
    pub background: [u8; 3],
    /// The fraction of examples held out as validation split when the source names no splits, in [0, 1).
    pub holdout: f64,
    /// How many examples to make; for built-in data only.
    pub count: Option<usize>,
    /// Seed of the built-in data.
    pub seed: u64,
    /// Fewest and most objects of an image; for `scenes` and scattered images only. `None` is none to two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<(u32, u32)>,
    /// What the tokens of text are. `None` chooses characters when at most 1,024 distinct ones occur and bytes
    /// otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<VocabularyKind>,
    /// How many tokens a BPE vocabulary has at most, the 256 bytes among them. `None` is 4,096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary_size: Option<u32>,
    /// Whether each line of text is a document of its own.
    #[serde(skip_serializing_if = "is_false")]
    pub lines: bool,
    /// The sample rate to which sound is resampled, in Hz. `None` keeps that of the first clip and skips clips with others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Whether the channels of sound are mixed into one. Otherwise clips with another number than the first are
    /// skipped.
    #[serde(skip_serializing_if = "is_false")]
    pub mono: bool,
    /// Whether the class of a file is the part of its name before the first `_`, instead of the folder it is in.
    #[serde(skip_serializing_if = "is_false")]
    pub label_from_name: bool,
    /// A table (CSV in UTF-8) of the images that have a class: the name of a file, or its path in the source, and its class on each line.
    /// Images that it does not name have no class, except held-out ones in folders of classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// Which of the folders that a file is in names its class: 1 is the first below the source. `None` takes the first
    /// below those that all files share, and below splits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_level: Option<u32>,
    /// What the source is taken for. `None` takes it for what most of it is. With [`Kind::Text`], every file counts as text whose
    /// name does not say that it is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The files of a folder, or of an archive given by itself, that are looked at, as patterns like those of
    /// `validation_files`. Without any, all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// The field of a record in `.jsonl` that holds its text. `None` is `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// The columns of tables of points that are read, by their names, in the order of the coordinates. Without any, all are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The environment that experience comes from, for the card, such as `Hopper-v4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// What the actions of experience are. `None` takes whole numbers for choices and others for vectors; where that is not plain,
    /// it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actions: Option<ActionKind>,
    /// Whether each value of an image becomes 0 or 255, with the threshold at half (128 and above are 255); alpha is kept.
    #[serde(skip_serializing_if = "is_false")]
    pub binarize: bool,
    /// Whether the values of an image are inverted, dark for light, before `binarize`; alpha is kept.
    #[serde(skip_serializing_if = "is_false")]
    pub invert: bool,
    /// Files of the validation split, as patterns with `*`, `?` and `[a-z]`: for the name of a file, or for its whole
    /// path inside the source when the pattern has a `/`. Files that match no pattern are for training.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation_files: Vec<String>,
    /// Files of the test split, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test_files: Vec<String>,
    /// The licence of the data, for the card.
    #[serde(skip)]
    pub licence: Option<String>,
    /// The name of the data set, for the card. `None` takes the name of the source.
    #[serde(skip)]
    pub name: Option<String>,
    /// What one file may ask for before it is skipped.
    #[serde(skip)]
    pub limits: Limits,
    /// The size above which a new shard is begun, in bytes.
    #[serde(skip, default = "Options::default_shard_bytes")]
    pub shard_bytes: u64,
}

impl Options {
    fn default_shard_bytes() -> u64 {
        128 << 20
    }

    /// Checks the values that do not depend on the source.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(channels) = self.channels
            && !matches!(channels, 1 | 3 | 4)
        {
            return bad("channels", &channels, "images have 1, 3 or 4", "give 1 (grey), 3 (RGB) or 4 (RGBA)");
        }
        if let Some((height, width)) = self.size
            && !([height, width].iter().all(|length| (1..=MAX_LENGTH).contains(length)))
        {
            let (value, reason) = (format!("{width}x{height}"), "a side is too short or too long");
            return bad("size", &value, reason, "give 1 to 8192 pixels for height and width");
        }
        if let Some((height, width, channels)) = self.shape
            && !([height, width].iter().all(|length| (1..=MAX_LENGTH).contains(length))
                && (1..=4).contains(&channels))
        {
            let (value, reason) = (format!("{height},{width},{channels}"), "no image is like that");
            return bad("shape", &value, reason, "give 1 to 8192 for height and width, and 1 to 4 channels");
        }
        if !(0.0..1.0).contains(&self.holdout) {
            let reason = "it is a part of the examples";
            return bad("holdout", &self.holdout, reason, "give a fraction of at least 0 and below 1");
        }
        if self.count == Some(0) {
            return bad("count", &0, "there must be at least one", "give at least 1");
        }
        if let Some((fewest, most)) = self.objects
            && !(fewest <= most && (1..=MOST_OBJECTS).contains(&most))
        {
            let reason = "an image has no such number of objects";
            return bad(
                "objects",
                &format!("{fewest}..{most}"),
                reason,
                "give fewest and most, such as 0..2, up to 16",
            );
        }
        if let Some(size) = self.vocabulary_size {
            if self.vocabulary != Some(VocabularyKind::Bpe) {
                return Err(Error::SizeWithoutBpe { size });
            }
            if !(257..=MAX_VOCABULARY).contains(&size) {
                let reason = "256 are the bytes, and 1048576 is the most";
                return bad("vocabulary_size", &size, reason, "give 257 to 1048576");
            }
        }
        if let Some(rate) = self.sample_rate
            && !(MIN_RATE..=MAX_RATE).contains(&rate)
        {
            return bad("sample_rate", &rate, "it is too low or too high", "give 1000 to 384000 Hz");
        }
        if self.limits.max_memory < MIN_MEMORY {
            let reason = "nothing can be decoded in so little";
            return bad("max_memory", &self.limits.max_memory, reason, "give at least 16 MiB");
        }
        if self.class_level == Some(0) {
            return bad(
                "class_level",
                &0,
                "levels are counted from 1",
                "give 1 for the folders in the source",
            );
        }
        if self.class_level.is_some() && self.label_from_name {
            let reason = "`label_from_name` takes classes from names of files";
            return bad("class_level", &self.class_level.unwrap_or(0), reason, "leave out one of them");
        }
        if let Some(labels) = &self.labels
            && self.label_from_name
        {
            let reason = "`label_from_name` takes classes from names of files";
            return bad("labels", &labels.display(), reason, "leave out one of them");
        }
        if self.environment.as_deref() == Some("") {
            return bad(
                "environment",
                &"empty",
                "an environment has a name",
                "give a name such as Hopper-v4",
            );
        }
        if self.text_field.as_deref() == Some("") {
            return bad("text_field", &"empty", "a field has a name", "give the name of a field");
        }
        if self.columns.len() == 1 {
            let reason = "a point has two coordinates or more";
            return bad("columns", &self.columns[0], reason, "name two columns or more");
        }
        for (option, patterns) in [
            ("validation_files", &self.validation_files),
            ("test_files", &self.test_files),
            ("include", &self.include),
        ] {
            if let Some(pattern) = patterns.iter().find(|pattern| glob::Pattern::new(pattern).is_err()) {
                let remedy = "write a pattern such as '*_test.wav', '[0-4]*' or 'held-out/*'";
                return bad(option, pattern, "it is not a pattern", remedy);
            }
        }
        Ok(())
    }

    /// Whether one is given that only text has.
    pub(crate) fn are_of_text(&self) -> bool {
        self.lines || self.text_field.is_some() || self.vocabulary.is_some()
    }

    /// Whether one is given that text does not have.
    pub(crate) fn are_of_other_data(&self) -> bool {
        let images = self.size.is_some()
            || self.channels.is_some()
            || self.shape.is_some()
            || self.labels.is_some()
            || self.binarize
            || self.invert
            || self.crop != Crop::default()
            || self.background != Options::default().background;
        let sound = self.sample_rate.is_some() || self.mono;
        let experience = self.environment.is_some() || self.actions.is_some();
        images || sound || experience
    }

    /// Checks the values that only one kind of data has.
    pub(crate) fn check_kind(&self, kind: Kind) -> Result<()> {
        let only: [(&'static str, bool, Kind, &'static str); 4] = [
            ("binarize", self.binarize, Kind::Images, "the source holds no images"),
            ("invert", self.invert, Kind::Images, "the source holds no images"),
            ("text_field", self.text_field.is_some(), Kind::Text, "the source holds no text"),
            ("columns", !self.columns.is_empty(), Kind::Points, "the source holds no tables of points"),
        ];
        let wrong = only.into_iter().find(|(_, given, of, _)| *given && *of != kind);
        match wrong {
            Some((option, .., reason)) => {
                let value = match option {
                    "text_field" => self.text_field.clone().unwrap_or_default(),
                    "columns" => self.columns.join(","),
                    _ => "true".to_owned(),
                };
                bad(option, &value, reason, "leave it out")
            }
            None => Ok(()),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size: None,
            crop: Crop::Center,
            shape: None,
            channels: None,
            background: [255; 3],
            holdout: 0.1,
            count: None,
            seed: 0,
            objects: None,
            vocabulary: None,
            vocabulary_size: None,
            lines: false,
            sample_rate: None,
            mono: false,
            label_from_name: false,
            labels: None,
            class_level: None,
            kind: None,
            include: Vec::new(),
            text_field: None,
            columns: Vec::new(),
            environment: None,
            actions: None,
            binarize: false,
            invert: false,
            validation_files: Vec::new(),
            test_files: Vec::new(),
            licence: None,
            name: None,
            limits: Limits::default(),
            shard_bytes: Self::default_shard_bytes(),
        }
    }
}

/// Least memory for decoding, in bytes.
const MIN_MEMORY: u64 = 16 << 20;
/// Largest height or width of a prepared image.
const MAX_LENGTH: u32 = 8192;
/// Most objects of an image.
pub(crate) const MOST_OBJECTS: u32 = 16;
/// Most tokens of a learned vocabulary.
const MAX_VOCABULARY: u32 = 1 << 20;
/// Sample rates that sound may be resampled to, in Hz.
pub(crate) const MIN_RATE: u32 = 1000;
pub(crate) const MAX_RATE: u32 = 384_000;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn bad(option: &'static str, value: &dyn ToString, reason: &'static str, remedy: &'static str) -> Result<()> {
    Err(Error::BadOption { option, value: value.to_string(), reason, remedy })
}

/// What the tokens of text are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VocabularyKind {
    /// The 256 values of a byte; any text can be written in them.
    Bytes,
    /// The distinct characters of the source.
    Characters,
    /// Frequent sequences of bytes, learned from the train split by byte-pair encoding.
    Bpe,
}

/// What the actions of experience are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// Choices, numbered from 0.
    Discrete,
    /// Vectors of numbers.
    Continuous,
}

/// What to do with an image whose aspect ratio is not that of the wanted size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crop {
    /// Keep the largest centred part that has the wanted aspect ratio.
    #[default]
    Center,
    /// Keep everything: the image is stretched to the wanted size.
    None,
}

/// What one file may ask for before it is skipped, so that a crafted file cannot exhaust the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest size of one file or archive entry after decompression, in bytes.
    pub file_bytes: u64,
    /// Largest number of pixels of one image.
    pub pixels: u64,
    /// Largest height or width of one image, in pixels.
    pub length: u32,
    /// Most memory that decoding may take at a time, in bytes, over all threads. What an example needs is estimated from its
    /// header before it is decoded; one that needs too much is skipped, others wait for room.
    pub max_memory: u64,
}

impl Limits {
    /// The part of the memory that is not for files being read.
    pub(crate) fn for_decoding(&self) -> u64 {
        self.max_memory / 4 * 3
    }

    /// The same limits, with files no larger than the memory for them.
    pub(crate) fn within_memory(self) -> Limits {
        Limits { file_bytes: self.file_bytes.min(self.max_memory / 4), ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 256 << 20, pixels: 128 << 20, length: 65_535, max_memory: 2 << 30 }
    }
}
