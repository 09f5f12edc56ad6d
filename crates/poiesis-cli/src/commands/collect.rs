//! `poiesis collect`: packs a source into a data set.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::catalogue;
use poiesis::data::{DataFacts, DataSpec, Examples, fitting_side, open};
use poiesis::model::Entry;
use poiesis::train::MINUTES;
use poiesis_collect::{ActionKind, Card, Dataset, Kind, Limits, Options, Progress, Report, Split, collect};

use super::card::{plural, skipped, summary};
use super::prepare::prepare;
use crate::args::DataDir;
use crate::render::{Meter, count, duration, failure, note, program, quoted, result};
use crate::{data, flags};

/// How many skipped files the summary names.
const NAMED: usize = 5;
/// Examples from which a speed is told.
const TIMED: u64 = 100;

/// Pack images, text, sound or experience into a data set for training
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis collect photos/ data/photos
      a folder of images; folders inside it become classes, or splits if called train, valid or test
  poiesis collect emoji.tar.gz data/emoji --size 64 --background '#ffffff' --licence Apache-2.0
      an archive of PNG files, with white behind transparent parts
  poiesis collect mnist data/mnist-packed
      a data set looked up by name; `poiesis fetch mnist` downloads it
  poiesis collect shapes data/shapes --size 32 --count 50000 --seed 1
      data made by code
  poiesis collect book.txt data/book --vocabulary bpe --vocabulary-size 2048
      a text whose last tenth is held out, with tokens learned by byte-pair encoding
  poiesis collect novels.tar.gz data/novels --validation-files 'Stevenson*' --test-files 'Doyle*'
      texts, some of them held out by name
  poiesis collect names.txt data/names --lines
      each line is a document
  poiesis collect recordings/ data/voices --sample-rate 16000 --mono
      sound, resampled to one rate; folders become classes
  poiesis collect src/ data/code --include '*.rs'
      text in files of other names, and of those only some
  poiesis collect 'shards/{000..007}.tar' data/shards
      several files as one data set, numbered, or listed as {a,b}
  poiesis collect mnist data/stacked --stack
      three digits as red, green and blue: 1,000 modes, of which evaluate counts those that a model finds
  poiesis collect mnist data/digits --scatter --size 50 --objects 0..2
      none to two digits on each image, with the box of each: how many there are is the class
  poiesis collect measurements.csv data/measurements
      points: each row of numbers is one, and the first line may name the columns
  poiesis collect people.csv data/people --columns age,height,smoker
      some of its columns: those with text or dates cannot be learned
  poiesis collect demos/hopper data/hopper --env Hopper-v4
      episodes of an expert: observations.npy, actions.npy and rewards.npy

A folder is taken for what most of it is, and what is left alone is noted; --kind and --include choose. Folders that \
tools have made, such as target and node_modules, are left out. A labels.csv \
(file, class) in the folder gives the classes; --labels takes those of another file, and is strict.

Images (PNG, JPEG, WebP, BMP, GIF, TIFF), sound (WAV with 8 to 32 bits or floating point, RF64, Wave64, FLAC, MP3, \
Ogg Vorbis), text (.txt, or .jsonl with a `text`; UTF-8) and points (.csv or .tsv of numbers, where true, false, yes and no count as 1 and 0, or .npy of rows and columns) in folders, zip and tar; \
experience as observations and actions in npy, npz, parquet and .jsonl; WebDataset shards, Hugging Face parquet, IDX, CIFAR binary, .amat, npy and npz images, .bin with --shape. Archives, text and \
points may be compressed with gzip, bzip2, xz or zstd. A file or a row that cannot be read is skipped, counted and \
listed.")]
pub(crate) struct Collect {
    /// Folder, archive or data file, built-in data (shapes, scenes, rings, grid) or a name below --data-dir.
    source: String,
    /// Folder to create.
    out: PathBuf,
    /// Size of the prepared images in pixels, N or WIDTHxHEIGHT [default: that of the source where all images have it and it is at
    /// most 64, else a smaller one that is chosen].
    #[arg(long, value_name = "N|WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// What to do with images of another aspect ratio: crop the centre, or stretch them (none) [default: center, or none where most
    /// images are strips].
    #[arg(long, value_name = "HOW", value_parser = ["center", "none"])]
    crop: Option<String>,
    /// Height, width and channels of one image, for arrays (npy, npz) that do not show them and for files without a header.
    #[arg(long, value_name = "H,W,C", value_parser = parts)]
    shape: Option<(u32, u32, u8)>,
    /// Channels of the prepared images: 1 grey, 3 RGB, 4 RGBA [default: 1 where at least 95 of 100 images have no colour, else 3].
    #[arg(long, value_name = "N")]
    channels: Option<u8>,
    /// Background colour behind transparent pixels [default: #ffffff, or #000000 where nothing would be left on white].
    #[arg(long, value_name = "#RRGGBB", value_parser = color)]
    background: Option<[u8; 3]>,
    /// Fraction of the examples held out for validation when the source has no splits; the end of a single text or clip.
    #[arg(long, value_name = "PART", default_value = "0.1")]
    holdout: f64,
    /// Files to hold out for validation: a pattern with *, ? and [a-z] for their names, or for their paths if it has a /; can
    /// be given several times.
    #[arg(long, value_name = "PATTERN")]
    validation_files: Vec<String>,
    /// Files to hold out for testing, likewise; all others are for training.
    #[arg(long, value_name = "PATTERN")]
    test_files: Vec<String>,
    /// Take the class of a file from its name, up to the first `_`, instead of from its folder.
    #[arg(long)]
    label_from_name: bool,
    /// CSV of the images that have a class: a file and its class on each line, in UTF-8; all others have none, except held-out ones in
    /// folders of classes.
    #[arg(long, value_name = "FILE", conflicts_with = "label_from_name")]
    labels: Option<PathBuf>,
    /// Which folder is the class, counted from the source: 1 is the first below it [default: the first that not all files share].
    #[arg(long, value_name = "N", conflicts_with = "label_from_name")]
    class_level: Option<u32>,
    /// What to take the source for: images, text (every file that is text), sound, points or experience [default: what most of it is].
    #[arg(long, value_name = "KIND", value_parser = ["images", "text", "sound", "points", "experience"], hide_possible_values = true)]
    kind: Option<String>,
    /// Files of the source to look at: a pattern as for --validation-files; can be given several times [default: all].
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Field of each record of .jsonl that holds its text [default: text].
    #[arg(long, value_name = "NAME")]
    text_field: Option<String>,
    /// Columns of tables of points to read, by their names and in this order [default: all].
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    columns: Vec<String>,
    /// Environment that experience comes from, saved with it, such as Hopper-v4.
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// What the actions of experience are, where it cannot be told from their type: discrete (numbers of choices) or continuous.
    #[arg(long, value_name = "KIND", value_parser = ["discrete", "continuous"], hide_possible_values = true)]
    actions: Option<String>,
    /// Make each value of an image 0 or 255, with the threshold at half.
    #[arg(long)]
    binarize: bool,
    /// Invert the values of images, dark for light.
    #[arg(long)]
    invert: bool,
    /// Tokens of text: the 256 bytes, the characters that occur, or sequences of bytes learned by byte-pair encoding
    /// [default: characters if there are at most 1,024, otherwise bytes].
    #[arg(long, value_name = "KIND", value_parser = ["bytes", "characters", "bpe"])]
    vocabulary: Option<String>,
    /// Maximum size of a learned vocabulary [default: 4096].
    #[arg(long, value_name = "N")]
    vocabulary_size: Option<u32>,
    /// Treat each line of text as a document, not each file.
    #[arg(long)]
    lines: bool,
    /// Resample sound to this rate [default: that of most clips].
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1000..=384_000))]
    sample_rate: Option<u32>,
    /// Mix sound to mono; chosen where at least half of the clips are mono and others are not.
    #[arg(long)]
    mono: bool,
    /// Name of the data set [default: that of the source].
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Licence of the data, saved with them.
    #[arg(long, value_name = "TEXT", visible_alias = "license")]
    licence: Option<String>,
    /// Stack three grey images, drawn by chance, as the red, green and blue of one: digits become numbers of 1,000 classes.
    #[arg(long)]
    stack: bool,
    /// Scatter images, drawn by chance, over larger black ones of --size [default: twice theirs]: scenes with the box of each object.
    #[arg(long, conflicts_with = "stack")]
    scatter: bool,
    /// Fewest and most objects of an image of scenes, or of --scatter, such as 0..2 or 3 [default: 0..2].
    #[arg(long, value_name = "N|FEWEST..MOST", value_parser = objects)]
    objects: Option<(u32, u32)>,
    /// Number of examples of built-in data, or of training images that --stack or --scatter makes [default: that of the source].
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Seed of built-in data, of --stack and of --scatter.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Most memory that decoding may take at a time, over all threads, such as 500MB or 4GiB; what needs more is skipped.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = memory)]
    max_memory: u64,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

impl Collect {
    pub(crate) fn run(self) -> Result<()> {
        let source = open::locate(&self.source, &self.data_dir.data_dir)?;
        let known = open::reading(&self.source).options();
        let given = |given: Vec<String>, known| if given.is_empty() { known } else { given };
        let usual = Options::default();
        let mut options = Options {
            size: self.size,
            crop: self.crop.as_deref().map_or(Ok(usual.crop), open::crop)?,
            shape: self.shape,
            channels: self.channels,
            background: self.background.unwrap_or(usual.background),
            holdout: self.holdout,
            count: self.count,
            seed: self.seed,
            objects: self.objects,
            validation_files: given(self.validation_files, known.validation_files),
            test_files: given(self.test_files, known.test_files),
            label_from_name: self.label_from_name || (known.label_from_name && self.class_level.is_none()),
            labels: self.labels,
            class_level: self.class_level,
            kind: open::kind(self.kind.as_deref().unwrap_or_default())?,
            include: self.include,
            text_field: self.text_field,
            columns: self.columns,
            environment: self.env,
            actions: self.actions.as_deref().map(actions),
            binarize: self.binarize,
            invert: self.invert,
            vocabulary: open::vocabulary(self.vocabulary.as_deref().unwrap_or_default())?,
            vocabulary_size: self.vocabulary_size,
            lines: self.lines || known.lines,
            sample_rate: self.sample_rate,
            mono: self.mono,
            licence: self.licence,
            name: self.name,
            limits: Limits { max_memory: self.max_memory, ..Limits::default() },
            ..usual
        };
        if !self.stack && !self.scatter {
            let given = [("data.crop", self.crop.is_some()), ("data.background", self.background.is_some())];
            prepare(&self.source, &source, &mut options, &given, self.json)?;
        }
        let meter = Meter::new("packing", "examples", None, self.json);
        let progress = |progress: Progress| {
            meter.at(progress.done + progress.skipped, progress.total);
        };
        let made = match (self.stack, self.scatter) {
            (true, _) => Some(data::Made::Stacked),
            (_, true) => Some(data::Made::Scattered),
            _ => None,
        };
        let report = match made {
            None => collect(Path::new(&source), &self.out, &options, &progress),
            Some(made) => data::made_of(made, &source, &data::cache()?, &self.out, &options, &progress),
        };
        let seconds = meter.end();
        let Report { card, swept, .. } = report.map_err(told)?;
        for left_over in &swept {
            note(&format!("removed {}, left over from a process that was killed", left_over.display()));
        }
        if self.json {
            return crate::render::json(&serde_json::to_value(&card)?);
        }
        note(&packed_in(card.total() as u64, card.kind, seconds));
        let next = Next::of(&card, &self.out)?;
        result(&format!("{}{}{}", summary(&card, &self.out), skipped(&card, NAMED), next.text))?;
        if let Some(line) = next.too_little {
            note(&format!("note: {line}"));
        }
        Ok(())
    }
}

/// How long packing took, and how fast it was where there was enough to tell.
fn packed_in(examples: u64, kind: Kind, seconds: f64) -> String {
    let rate = examples as f64 / seconds.max(1e-3);
    let speed = match rate >= 1.0 && examples >= TIMED {
        true => format!(", {} {}/s", count(rate as u64), plural(kind)),
        false => String::new(),
    };
    let time = if seconds < 0.05 { "less than 0.1 s".to_owned() } else { duration(seconds) };
    format!("packed in {time}{speed}")
}

/// What to do with data that were just packed.
struct Next {
    /// Commands: first to look at them, then to train on them. Each of them works.
    text: String,
    /// That there is too little to learn from, where that is so.
    too_little: Option<String>,
}

impl Next {
    fn of(card: &Card, out: &Path) -> Result<Next> {
        let program = program();
        let name = open::short_name(&out.to_string_lossy());
        let place = quoted(&out.display().to_string());
        let mut text = match card.kind {
            Kind::Text => format!("what to try next\n  {program} inspect {place}\n"),
            _ => format!(
                "what to try next\n  {program} inspect {place} --preview {}\n",
                quoted(&format!("{name}-preview.png"))
            ),
        };
        if card.kind == Kind::Experience {
            let about = card.experience.as_ref();
            text.push_str(&match about.and_then(|about| about.environment.as_deref()) {
                Some(environment) => {
                    format!("  {program} train bc --env {} --demos {place}\n", quoted(environment))
                }
                None => format!(
                    "  {program} train bc --env ENV --demos {place}   # ENV is the environment they are from\n"
                ),
            });
            return Ok(Next { text, too_little: None });
        }
        let dataset = Dataset::open(out)?;
        let Some(train) = Examples::of(&dataset, Split::Train) else {
            return Ok(Next { text, too_little: None });
        };
        let facts = DataFacts::of(&DataSpec::of(&dataset)?, &train);
        text.push_str(&trainings(card, &facts, &place)?);
        Ok(Next { text, too_little: facts.too_little() })
    }
}

/// Commands that train on packed data, each checked with the model that it names.
fn trainings(card: &Card, facts: &DataFacts, place: &str) -> Result<String> {
    let program = program();
    let air = catalogue::find("air")?;
    if card.objects.is_some() && catalogue::can_learn(air, facts) {
        return Ok(format!("  {program} train air --data {place}\n"));
    }
    let models = catalogue::to_begin_with(facts);
    let width = models.iter().map(|entry| entry.name().len()).max().unwrap_or(0);
    let mut text = String::new();
    for entry in &models {
        let (model, gap) = (entry.name(), " ".repeat(width - entry.name().len()));
        let summary = entry.about().summary;
        text.push_str(&format!("  {program} train {model} --data {place}{gap}   # {summary}\n"));
    }
    if let Some(key) = conditional(card, &models, facts) {
        let note = "draws from the class that `sample --class` names";
        let (model, _) = key.split_once('.').unwrap_or((&key, ""));
        text.push_str(&format!("  {program} train {model} --data {place} --set {key}=true   # {note}\n"));
    }
    if !models.is_empty() {
        text.push_str(&format!(
            "each takes {} minutes or less: settings and steps are chosen for the data and this machine\n",
            MINUTES.ceil()
        ));
    }
    if facts.spec.images().is_ok() && !facts.halves() {
        text.push_str(&format!(
            "most models of images need sides that can be halved down to 4 to 7 pixels: collect with --size {} for them\n",
            fitting_side(facts.side())
        ));
    }
    Ok(text)
}

/// The setting that conditions the first of these models that has one on the classes of the data, where each training image has a class
/// and each class an image.
fn conditional(card: &Card, models: &[&dyn Entry], facts: &DataFacts) -> Option<String> {
    let train = card.splits.first().filter(|train| train.class_counts.len() > 1)?;
    let all_known = train.class_counts.iter().sum::<u64>() == train.count as u64;
    if !all_known || train.class_counts.contains(&0) {
        return None;
    }
    models
        .iter()
        .find(|entry| catalogue::can_learn_classes(**entry, facts))
        .and_then(|entry| catalogue::conditional_key(*entry))
}

/// An error with the flags of this command that mend it.
pub(super) fn told(error: poiesis_collect::Error) -> anyhow::Error {
    match flags::collect_hint(&error) {
        Some(hint) => failure(error.to_string(), hint),
        None => error.into(),
    }
}

/// Reads a kind of actions, whose names the arguments have checked.
fn actions(text: &str) -> ActionKind {
    if text == "discrete" { ActionKind::Discrete } else { ActionKind::Continuous }
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

/// Reads `0..2` or `3`.
fn objects(text: &str) -> Result<(u32, u32), String> {
    let read = open::objects(text).ok().flatten();
    read.ok_or_else(|| "give fewest and most such as 0..2, or a number such as 3".into())
}

/// Reads `2GiB`, `500MB` or a number of bytes.
fn memory(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let known = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, unit) = known.unwrap_or((text, 1));
    let bytes = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| "give a size such as 500MB or 4GiB".into())
}

/// Reads `28,28,1`, height first.
fn parts(text: &str) -> Result<(u32, u32, u8), String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let read = match parts[..] {
        [height, width] => Some((height.parse(), width.parse(), Ok(1))),
        [height, width, channels] => Some((height.parse(), width.parse(), channels.parse())),
        _ => None,
    };
    match read {
        Some((Ok(height), Ok(width), Ok(channels))) => Ok((height, width, channels)),
        _ => Err("give height, width and channels such as 28,28,1".into()),
    }
}

/// Reads `#rrggbb`.
fn color(text: &str) -> Result<[u8; 3], String> {
    open::color(text).map_err(|error| error.hint().unwrap_or_default())
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

    #[test]
    fn a_speed_is_told_where_there_was_enough() {
        assert_eq!(packed_in(1, Kind::Text, 0.3), "packed in 0.3 s");
        assert_eq!(packed_in(3, Kind::Images, 0.01), "packed in less than 0.1 s");
        assert_eq!(packed_in(5000, Kind::Images, 2.0), "packed in 2.0 s, 2,500 examples/s");
    }

    #[test]
    fn memory_has_a_unit_or_is_in_bytes() {
        let read = ["2GiB", "500MB", "1 KiB", "7", "3B"].map(|text| memory(text).unwrap());
        assert_eq!(read, [2 << 30, 500_000_000, 1024, 7, 3]);
        assert!(["", "GiB", "-1MB", "2TB", "99999999999GiB"].iter().all(|text| memory(text).is_err()));
    }

    #[test]
    fn shapes_are_read_height_first() {
        assert_eq!([parts("28,20,3"), parts("28, 20")], [Ok((28, 20, 3)), Ok((28, 20, 1))]);
        assert!(parts("28").is_err() && parts("28x20").is_err() && parts("1,2,3,4").is_err());
    }
}
