//! Opens the data that a configuration names: names are looked up, and raw sources are packed into a cache.

use std::path::{Path, PathBuf};

use poiesis_collect::{Crop, Dataset, Kind, Options, Progress, VocabularyKind, meant_for, open_or_collect};
use serde::{Deserialize, Serialize};

use super::known::{self, Reading, patterns};
use super::locate::by_name;
pub use super::locate::{locate, locate_demonstrations};
use super::{MediaKind, classes};
use crate::config::DataConfig;
use crate::error::{Error, Result};

/// The folders for data on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// The folder in which data sets are looked up by name.
    pub data_dir: PathBuf,
    /// The folder into which raw sources are packed.
    pub cache: PathBuf,
}

/// Opens the data set that `config` names, packing it into the cache first where it is not packed yet. `progress`
/// receives the progress of packing.
///
/// # Errors
///
/// Those of [`locate`] and [`options`]; [`Error::Data`] when the source cannot be read or packed; [`Error::InvalidValue`] for labels of
/// what is packed already, and those of [`classes::only`].
pub fn open(config: &DataConfig, places: &Places, progress: &(dyn Fn(Progress) + Sync)) -> Result<Dataset> {
    let options = options(config)?;
    let source = locate(&config.source, &places.data_dir)?;
    if !config.labels_file.is_empty() && Dataset::open(Path::new(&source)).is_ok() {
        let reason = format!("{source} is packed already, without the names of its files");
        let remedy = "give the images themselves, or collect them with the labels";
        return Err(invalid("labels_file", &config.labels_file, &reason, remedy));
    }
    let dataset = open_or_collect(&source, &options, &places.cache, progress)?;
    if config.classes.is_empty() { Ok(dataset) } else { classes::only(&dataset, &config.classes) }
}

/// How the raw source of a configuration is prepared.
///
/// # Errors
///
/// [`Error::InvalidValue`] with the key whose value cannot be read.
pub fn options(config: &DataConfig) -> Result<Options> {
    let reading = reading(&config.source);
    let unless_given = |given: &str, known: &str| patterns(if given.is_empty() { known } else { given });
    Ok(Options {
        size: (config.size > 0).then_some((config.size, config.size)),
        crop: crop(&config.crop)?,
        channels: (config.channels > 0).then_some(config.channels),
        background: color(&config.background)?,
        holdout: config.holdout,
        count: (config.count > 0).then_some(config.count),
        objects: objects(&config.objects)?,
        vocabulary: vocabulary(&config.vocabulary)?,
        vocabulary_size: (config.vocabulary_size > 0).then_some(config.vocabulary_size),
        lines: choice("documents", &config.documents, ["files", "lines"], reading.lines)?,
        sample_rate: (config.sample_rate > 0).then_some(config.sample_rate),
        mono: config.mono,
        label_from_name: choice("labels", &config.labels, ["folders", "names"], reading.label_from_name)?,
        labels: (!config.labels_file.is_empty()).then(|| config.labels_file.clone().into()),
        class_level: (config.class_level > 0).then_some(config.class_level),
        kind: kind(&config.media)?,
        include: patterns(&config.include),
        text_field: Some(config.text_field.clone()).filter(|field| !field.is_empty()),
        binarize: config.binarize,
        invert: config.invert,
        validation_files: unless_given(&config.validation_files, reading.validation_files),
        test_files: unless_given(&config.test_files, reading.test_files),
        ..Options::default()
    })
}

/// The files that are text by their names.
const TEXT_FILES: &str = "*.txt, *.text, *.jsonl, *.ndjson, *.txt.gz, *.text.gz, *.jsonl.gz, *.ndjson.gz";

/// Chooses the kind of data for a model that learns `media`, those it is meant for first, where the source is a folder that would be
/// taken for another kind and the configuration chooses none. Says what it has chosen.
///
/// # Errors
///
/// Those of [`locate`] and [`options`]; [`Error::Data`] when the source cannot be read.
pub fn choose_kind(
    config: &mut DataConfig,
    media: &[MediaKind],
    places: &Places,
) -> Result<Option<&'static str>> {
    let kinds: Vec<Kind> = media.iter().map(|media| kind_of(*media)).collect();
    let source = locate(&config.source, &places.data_dir)?;
    let Some(kind) = meant_for(&source, &kinds, &options(config)?)? else { return Ok(None) };
    config.media = kind.name().to_owned();
    // By itself the kind makes text of every file that can be read as text.
    if kind == Kind::Text && config.include.is_empty() {
        config.include = TEXT_FILES.to_owned();
    }
    Ok(Some(kind.name()))
}

/// The kind of data that can be collected.
fn kind_of(media: MediaKind) -> Kind {
    match media {
        MediaKind::Images => Kind::Images,
        MediaKind::Text => Kind::Text,
        MediaKind::Sound => Kind::Sound,
        MediaKind::Points => Kind::Points,
        MediaKind::Experience => Kind::Experience,
    }
}

/// How the source with that name is read: a known data set as its entry says, anything else by default.
pub fn reading(source: &str) -> Reading {
    by_name(source).map(|known| known.reading).unwrap_or_default()
}

/// The shape that prepared images will have, `[height, width, channels]`, where that is known without reading them.
pub fn expected_shape(config: &DataConfig, data_dir: &Path) -> Option<[usize; 3]> {
    let source = locate(&config.source, data_dir).ok();
    if let Some(dataset) = source.as_deref().and_then(|source| Dataset::open(Path::new(source)).ok()) {
        return dataset.card().shape.clone().try_into().ok();
    }
    let own = match config.source.as_str() {
        "shapes" | "scenes" => Some([32, 32, 3]),
        name => known::find(name).and_then(|known| known.shape),
    };
    let size = usize::try_from(config.size).ok().filter(|&size| size > 0);
    let channels = Some(usize::from(config.channels)).filter(|&channels| channels > 0);
    let [height, width, own_channels] = own.map_or([None; 3], |own| own.map(Some));
    Some([size.or(height)?, size.or(width)?, channels.or(own_channels)?])
}

/// A source as it is saved in a run, so that the run finds its data from any folder: absolute paths, names unchanged.
pub fn lasting(source: &str) -> String {
    match Path::new(source).canonicalize() {
        Ok(full) => full.to_string_lossy().into_owned(),
        Err(_) => source.to_owned(),
    }
}

/// The last part of a source without archive extensions, to name runs after; of `.` and the like, that of the folder they stand for.
pub fn short_name(source: &str) -> String {
    const ENDINGS: [&str; 14] = [
        ".gz", ".tgz", ".tar", ".zip", ".parquet", ".npy", ".npz", ".txt", ".jsonl", ".ndjson", ".wav",
        ".flac", ".csv", ".tsv",
    ];
    let path = Path::new(source);
    let full = if path.file_name().is_none() { path.canonicalize().ok() } else { None };
    let name = full.as_deref().unwrap_or(path).file_name();
    let name = name.map_or_else(|| source.to_owned(), |name| name.to_string_lossy().into_owned());
    let mut short = name.as_str();
    while let Some(stem) = ENDINGS.iter().find_map(|ending| short.strip_suffix(ending)) {
        short = stem;
    }
    short.to_owned()
}

/// Reads `center` or `none`.
///
/// # Errors
///
/// [`Error::InvalidValue`] for anything else.
pub fn crop(text: &str) -> Result<Crop> {
    match text {
        "center" => Ok(Crop::Center),
        "none" => Ok(Crop::None),
        _ => Err(invalid("crop", text, "there is no such option", "give center (crop) or none (stretch)")),
    }
}

/// Reads a colour written as `#rrggbb`.
///
/// # Errors
///
/// [`Error::InvalidValue`] for anything else.
pub fn color(text: &str) -> Result<[u8; 3]> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let number = (digits.len() == 6).then(|| u32::from_str_radix(digits, 16).ok()).flatten();
    match number {
        Some(number) => Ok([(number >> 16) as u8, (number >> 8) as u8, number as u8]),
        None => {
            Err(invalid("background", text, "it is not a colour", "write #rrggbb, such as #ffffff for white"))
        }
    }
}

/// Reads fewest and most objects of an image, such as `0..2`, or their number; an empty text keeps the default.
///
/// # Errors
///
/// [`Error::InvalidValue`] for anything else.
pub fn objects(text: &str) -> Result<Option<(u32, u32)>> {
    if text.is_empty() {
        return Ok(None);
    }
    let (fewest, most) = text.split_once("..").unwrap_or((text, text));
    match (fewest.trim().parse(), most.trim().parse()) {
        (Ok(fewest), Ok(most)) => Ok(Some((fewest, most))),
        _ => Err(invalid("objects", text, "it is no range", "give fewest and most, such as 0..2")),
    }
}

/// Reads the name of a vocabulary; with an empty name the text decides.
///
/// # Errors
///
/// [`Error::InvalidValue`] for an unknown name.
pub fn vocabulary(text: &str) -> Result<Option<VocabularyKind>> {
    match text {
        "" => Ok(None),
        "bytes" => Ok(Some(VocabularyKind::Bytes)),
        "characters" => Ok(Some(VocabularyKind::Characters)),
        "bpe" => Ok(Some(VocabularyKind::Bpe)),
        _ => Err(invalid("vocabulary", text, "there is no such vocabulary", "give bytes, characters or bpe")),
    }
}

/// Reads the name of a kind of data; with an empty name the source decides.
///
/// # Errors
///
/// [`Error::InvalidValue`] for an unknown name.
pub fn kind(text: &str) -> Result<Option<Kind>> {
    const REMEDY: &str = "give images, text, sound, points or experience";
    match text {
        "" => Ok(None),
        "images" => Ok(Some(Kind::Images)),
        "text" => Ok(Some(Kind::Text)),
        "sound" => Ok(Some(Kind::Sound)),
        "points" => Ok(Some(Kind::Points)),
        "experience" => Ok(Some(Kind::Experience)),
        _ => Err(invalid("media", text, "there is no such kind", REMEDY)),
    }
}

/// Reads a choice between two names; an empty text keeps the default.
fn choice(key: &str, text: &str, [no, yes]: [&str; 2], unless_given: bool) -> Result<bool> {
    match text {
        "" => Ok(unless_given),
        text if text == no => Ok(false),
        text if text == yes => Ok(true),
        _ => Err(invalid(key, text, "there is no such choice", &format!("give {no} or {yes}"))),
    }
}

pub(super) fn invalid(key: &str, value: &str, reason: &str, remedy: &str) -> Error {
    Error::InvalidValue {
        key: format!("data.{key}"),
        value: value.into(),
        reason: reason.into(),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_read_with_and_without_a_hash() {
        assert_eq!(color("#ff8000").unwrap(), [255, 128, 0]);
        assert_eq!(color("0000ff").unwrap(), [0, 0, 255]);
        assert!(color("#fff").is_err() && color("#gggggg").is_err() && color("ééé").is_err());
    }

    #[test]
    fn numbers_of_objects_are_ranges_or_numbers() {
        let read = ["", "0..2", "1 .. 3", "2"].map(|text| objects(text).unwrap());
        assert_eq!(read, [None, Some((0, 2)), Some((1, 3)), Some((2, 2))]);
        assert!(["..", "a..2", "0..=2", "-1..2"].iter().all(|text| objects(text).is_err()));
    }

    #[test]
    fn known_data_sets_are_read_as_they_are_meant() {
        let options = |source: &str, config: DataConfig| {
            options(&DataConfig { source: source.into(), ..config }).unwrap()
        };
        let fsdd = options("fsdd", DataConfig::default());
        assert!(fsdd.label_from_name && !fsdd.lines);
        assert_eq!(fsdd.test_files, ["*_[0-4].wav"]);
        assert!(options("names", DataConfig::default()).lines);
        let config = DataConfig {
            documents: "files".into(),
            test_files: "a*, b*".into(),
            vocabulary: "bpe".into(),
            ..DataConfig::default()
        };
        let names = options("names", config);
        assert!(!names.lines && names.vocabulary == Some(VocabularyKind::Bpe));
        assert_eq!(names.test_files, ["a*", "b*"]);
        // What images are packed into does not depend on any of this.
        assert_eq!(options("mnist", DataConfig::default()), Options::default());
        let bad = DataConfig { labels: "nmes".into(), ..DataConfig::default() };
        assert!(super::options(&bad).is_err());
    }

    #[test]
    fn the_kind_follows_from_the_model_where_the_folder_has_it() {
        let root = tempfile::tempdir().unwrap();
        for i in 0..3 {
            std::fs::write(root.path().join(format!("{i}.png")), [0; 9000]).unwrap();
        }
        std::fs::write(root.path().join("book.txt"), [b'a'; 9000]).unwrap();
        let places = Places { data_dir: root.path().into(), cache: root.path().join("cache") };
        let source = root.path().to_string_lossy().into_owned();
        let chosen = |media: &[MediaKind], kind: &str| {
            let mut config =
                DataConfig { source: source.clone(), media: kind.into(), ..DataConfig::default() };
            let chosen = choose_kind(&mut config, media, &places).unwrap();
            (chosen, config.media, config.include)
        };
        let text = &[MediaKind::Text, MediaKind::Sound, MediaKind::Images][..];
        assert_eq!(chosen(text, ""), (Some("text"), "text".into(), TEXT_FILES.into()));
        assert_eq!(chosen(text, "images"), (None, "images".into(), String::new()));
        assert_eq!(chosen(&[MediaKind::Images], "").0, None);
        assert_eq!(chosen(&[MediaKind::Sound], "").0, None, "there is none");
        // A list beside many pictures is not what most of the folder is.
        std::fs::write(root.path().join("big.png"), vec![0; 1 << 20]).unwrap();
        assert_eq!(chosen(text, "").0, None);
        let packed = Places { data_dir: "nowhere".into(), ..places.clone() };
        let mut shapes = DataConfig::default();
        assert_eq!(choose_kind(&mut shapes, text, &packed).unwrap(), None);
    }

    #[test]
    fn kinds_have_names() {
        assert_eq!((kind("").unwrap(), kind("sound").unwrap()), (None, Some(Kind::Sound)));
        assert_eq!(kind("experience").unwrap(), Some(Kind::Experience));
        assert!(kind("film").is_err());
    }

    #[test]
    fn names_of_runs_lose_the_endings_of_archives() {
        assert_eq!(short_name("a/photos.tar.gz"), "photos");
        assert_eq!(short_name("photos/"), "photos");
        assert_eq!(short_name("shapes"), "shapes");
        let here = std::env::current_dir().unwrap();
        assert_eq!(short_name("."), here.file_name().unwrap().to_string_lossy());
        assert_eq!(short_name(".."), here.parent().unwrap().file_name().unwrap().to_string_lossy());
    }

    #[test]
    fn shapes_are_known_before_the_data_are_read() {
        let shape = |source: &str, size, channels| {
            let config = DataConfig { source: source.into(), size, channels, ..DataConfig::default() };
            expected_shape(&config, Path::new("nowhere"))
        };
        assert_eq!(shape("shapes", 0, 0), Some([32, 32, 3]));
        assert_eq!(shape("noto-emoji", 64, 4), Some([64, 64, 4]));
        assert_eq!(shape("photos", 64, 0), None);
        assert_eq!(shape("photos", 64, 3), Some([64, 64, 3]));
    }

    #[test]
    fn data_are_packed_once_into_the_cache() {
        let root = tempfile::tempdir().unwrap();
        let places = Places { data_dir: root.path().into(), cache: root.path().join("cache") };
        let config = DataConfig { count: 20, size: 8, ..DataConfig::default() };
        let told = std::sync::atomic::AtomicU64::new(0);
        let open = || open(&config, &places, &|at| told.store(at.done, std::sync::atomic::Ordering::Relaxed));
        let first = open().unwrap();
        assert_eq!(told.swap(0, std::sync::atomic::Ordering::Relaxed), 20);
        assert_eq!(open().unwrap().card().fingerprint, first.card().fingerprint);
        assert_eq!(told.into_inner(), 0, "the second time it lies in the cache");
    }
}
