//! The sections of a configuration that all models have.

use serde::{Deserialize, Serialize};

use super::Faults;
use crate::error::{Error, Result};

/// Where examples come from and how they are prepared: the `[data]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A packed data set, a raw source, a built-in name (`shapes`) or the name of a known data set (`mnist`). For an agent its
    /// environment: a listed name (`cartpole`) or a command (`python my_env.py`).
    pub source: String,
    /// Height and width that raw images are resized to, in pixels; 0 keeps their size.
    pub size: u32,
    /// What is done with images that are not square: `center` cuts, `none` stretches.
    pub crop: String,
    /// 1 grey, 3 RGB, 4 RGBA; 0 keeps what the source has.
    pub channels: u8,
    /// Colour behind transparent pixels, as `#rrggbb`.
    pub background: String,
    /// Fraction of the examples held out for validation when the source has no splits, in [0, 1).
    pub holdout: f64,
    /// Number of examples of built-in data; 0 for the default of that data.
    pub count: usize,
    /// Fewest and most objects of an image of `scenes`, such as `0..2`; empty for the default of that data.
    pub objects: String,
    /// Tokens of raw text: `bytes`, `characters` or `bpe`; empty for characters where there are few and bytes otherwise.
    pub vocabulary: String,
    /// Maximum size of a `bpe` vocabulary; 0 for 4,096.
    pub vocabulary_size: u32,
    /// What is a document in raw text: `files` (in `.jsonl`, records) or `lines`; empty for the setting of a known data set,
    /// otherwise files.
    pub documents: String,
    /// Sample rate that raw sound is resampled to, in Hz; 0 keeps its own.
    pub sample_rate: u32,
    /// Whether the channels of raw sound are mixed to mono.
    pub mono: bool,
    /// Where the class of a raw file comes from: `folders`, or `names` up to the first `_`; empty for the setting of a known
    /// data set, otherwise folders.
    pub labels: String,
    /// A CSV of the raw images that have a class: a file and its class on each line; all others have none. Empty for classes as `labels`
    /// says.
    pub labels_file: String,
    /// The classes whose examples are used, as comma-separated names or numbers; empty for all. The others are left out of every split.
    pub classes: String,
    /// Which of the folders that a raw file is in names its class: 1 is the first below the source; 0 for the first that not all
    /// files share.
    pub class_level: u32,
    /// What a raw source is taken for: `images`, `text`, `sound`, `points` or `experience`; empty for what most of it is.
    pub media: String,
    /// The files of a raw source that are looked at, as comma-separated patterns; empty for all.
    pub include: String,
    /// The field of a raw record in `.jsonl` that holds its text; empty for `text`.
    pub text_field: String,
    /// Whether the values of raw images become 0 or 255, with the threshold at half.
    pub binarize: bool,
    /// Whether the values of raw images are inverted.
    pub invert: bool,
    /// Files held out for validation, as comma-separated patterns such as `Stevenson*`; empty for the setting of a known
    /// data set.
    pub validation_files: String,
    /// Files held out for testing, likewise.
    pub test_files: String,
    /// Agents: environments that are stepped together.
    #[serde(default = "environments")]
    pub environments: usize,
    /// Agents that imitate: the data set, folder or file with the episodes of an expert; empty for none.
    #[serde(default)]
    pub demonstrations: String,
}

/// How many environments are stepped together by default.
fn environments() -> usize {
    8
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig {
            source: "shapes".into(),
            size: 0,
            crop: "center".into(),
            channels: 0,
            background: "#ffffff".into(),
            holdout: 0.1,
            count: 0,
            objects: String::new(),
            vocabulary: String::new(),
            vocabulary_size: 0,
            documents: String::new(),
            sample_rate: 0,
            mono: false,
            labels: String::new(),
            labels_file: String::new(),
            classes: String::new(),
            class_level: 0,
            media: String::new(),
            include: String::new(),
            text_field: String::new(),
            binarize: false,
            invert: false,
            validation_files: String::new(),
            test_files: String::new(),
            environments: environments(),
            demonstrations: String::new(),
        }
    }
}

impl DataConfig {
    /// Adds the faults of this section.
    pub(super) fn check(&self, faults: &mut Faults) {
        if !(0.0..1.0).contains(&self.holdout) {
            faults.add("holdout", self.holdout, "it is a fraction of the examples", "give 0 to 0.5");
        }
        faults.within(&["size"], 0..=LONGEST_SIDE);
        faults.within(&["count"], 0..=MOST_EXAMPLES_MADE);
        faults.within(&["environments"], 1..=MOST_ENVIRONMENTS);
        let fits = |channels| matches!(channels, 0 | 1 | 3 | 4);
        faults.numbers(
            &["channels"],
            fits,
            "images have 1, 3 or 4",
            "give 1, 3 or 4, or 0 for what the source has",
        );
        let fits = |size| size == 0 || VOCABULARY_SIZES.contains(&size);
        let remedy = "give 257 to 1048576, or 0 for the default";
        faults.numbers(&["vocabulary_size"], fits, "it is out of range", remedy);
        let fits = |rate| rate == 0 || SAMPLE_RATES.contains(&rate);
        let remedy = "give 1000 to 384000 Hz, or 0 for the rate of the source";
        faults.numbers(&["sample_rate"], fits, "it is out of range", remedy);
    }
}

/// How a model is trained: the `[train]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Total number of steps.
    pub steps: u64,
    /// Examples in a batch.
    pub batch_size: usize,
    /// How matrix products round their factors: `f32` not at all, `bf16` to 8 bits of precision, up to twice as fast on
    /// processors with AVX512-BF16.
    pub precision: Precision,
    /// Decay of the moving average of the weights; 0 for no average.
    pub ema_decay: f64,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// How many of the newest checkpoints are kept, beside the best one.
    pub keep_checkpoints: usize,
    /// Training ends early after this many evaluations in a row without a better value of the held-out metric; 0 for never. The model
    /// is evaluated whenever a checkpoint is written.
    #[serde(default)]
    pub patience: u64,
    /// Steps between lines of metrics.
    pub log_every: u64,
    /// When grids of samples are drawn: `linear` or `logarithmic` in the steps.
    pub sample_schedule: SampleSchedule,
    /// How many grids are drawn over the whole run.
    pub sample_frames: u64,
    /// Images in a grid, or number of texts or clips.
    pub sample_count: usize,
    /// Length of the samples of text in tokens and of sound in frames.
    pub sample_length: usize,
}

impl Default for TrainConfig {
    fn default() -> TrainConfig {
        TrainConfig {
            steps: 10_000,
            batch_size: 64,
            precision: Precision::F32,
            ema_decay: 0.999,
            checkpoint_every: 500,
            keep_checkpoints: 3,
            patience: 0,
            log_every: 20,
            sample_schedule: SampleSchedule::Linear,
            sample_frames: 40,
            sample_count: 64,
            sample_length: 1000,
        }
    }
}

impl TrainConfig {
    /// Adds the faults of this section.
    pub(super) fn check(&self, faults: &mut Faults) {
        faults.within(&["batch_size", "keep_checkpoints", "sample_count"], 1..=MOST_EXAMPLES);
        faults.within(&["steps", "checkpoint_every", "log_every"], 1..=MOST_STEPS);
        faults.within(&["patience"], 0..=MOST_PATIENCE);
        faults.within(&["sample_frames"], 0..=MOST_FRAMES);
        faults.within(&["sample_length"], 0..=LONGEST_SAMPLE);
        if !(0.0..1.0).contains(&self.ema_decay) {
            let reason = "it is the decay of a moving average";
            faults.add("ema_decay", self.ema_decay, reason, "give 0 to 0.9999");
        }
    }
}

/// More steps than any run takes, few enough that numbers of steps never overflow.
const MOST_STEPS: i64 = 1_000_000_000_000;

/// More examples than fit into any batch, few enough that their values can be counted.
const MOST_EXAMPLES: i64 = 1 << 32;

/// The longest patience, in evaluations.
const MOST_PATIENCE: i64 = 1_000_000;

/// Most grids of samples in a run, each of which becomes a file.
const MOST_FRAMES: i64 = 1_000_000;

/// Most tokens or frames of a sample.
const LONGEST_SAMPLE: i64 = 100_000_000;

/// The longest side of an image, in pixels, as collecting has it.
const LONGEST_SIDE: i64 = 8192;

/// Most examples of built-in data.
const MOST_EXAMPLES_MADE: i64 = 100_000_000;

/// Most environments that are stepped together.
const MOST_ENVIRONMENTS: i64 = 1 << 16;

/// Sizes of a learned vocabulary, as collecting has them.
const VOCABULARY_SIZES: std::ops::RangeInclusive<i64> = 257..=1 << 20;

/// Sample rates of sound in Hz, as collecting has them.
const SAMPLE_RATES: std::ops::RangeInclusive<i64> = 1000..=384_000;

/// How matrix products round their factors; see [`poiesis_kernels::Precision`]. Weights, gradients and sums are f32 with
/// either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Not at all.
    F32,
    /// To bf16.
    Bf16,
}

impl Precision {
    /// Whether this processor has instructions for it.
    pub fn is_supported(self) -> bool {
        self.of_kernels().is_supported()
    }

    fn of_kernels(self) -> poiesis_kernels::Precision {
        match self {
            Precision::F32 => poiesis_kernels::Precision::F32,
            Precision::Bf16 => poiesis_kernels::Precision::Bf16,
        }
    }

    /// Sets the precision of all operations in this process, which computes on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when the processor has no instructions for it, and for bf16 on a GPU.
    pub fn set(self, device: &str) -> Result<()> {
        if self == Precision::Bf16 && !crate::device::is_cpu(device) {
            let reason = format!("only products on the CPU round their factors, and this is {device}");
            return Err(Error::invalid_value("train.precision", "bf16", &reason, "use f32"));
        }
        if !self.is_supported() {
            let reason = "this processor has no instructions for it (AVX512-BF16)";
            return Err(Error::invalid_value("train.precision", "bf16", reason, "use f32"));
        }
        poiesis_kernels::set_precision(self.of_kernels());
        Ok(())
    }
}

/// When grids of samples are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleSchedule {
    /// Evenly spaced, for a GAN, whose samples change until the end.
    Linear,
    /// Geometrically spaced, for a likelihood model, whose samples change most at the beginning.
    Logarithmic,
}
