//! From what stands after `--data` to an opened data set: names are looked up, raw sources packed into a cache.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use poiesis::config::DataConfig;
use poiesis_collect::{Crop, Dataset, Options, VocabularyKind, builtin, open_or_collect};

use crate::render::Meter;

/// A published data set that is known by name.
pub(crate) struct Known {
    /// Its name.
    pub(crate) name: &'static str,
    /// Shape of its images, if it has any: height, width, channels.
    pub(crate) shape: Option<[usize; 3]>,
    /// Where it lies below `--data-dir`: a folder or a file.
    place: &'static str,
    /// What lies there.
    files: &'static str,
    /// How its own splits, classes and documents are read.
    reading: Reading,
}

/// How a known data set is read.
#[derive(Clone, Copy, Default)]
struct Reading {
    lines: bool,
    label_from_name: bool,
    validation_files: Option<&'static str>,
    test_files: Option<&'static str>,
}

const PLAIN: Reading =
    Reading { lines: false, label_from_name: false, validation_files: None, test_files: None };

/// The data sets that recipes name.
pub(crate) const KNOWN: [Known; 9] = [
    Known {
        name: "mnist",
        shape: Some([28, 28, 1]),
        place: "mnist",
        files: "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and the two t10k files",
        reading: PLAIN,
    },
    Known {
        name: "fashion-mnist",
        shape: Some([28, 28, 1]),
        place: "fashion-mnist",
        files: "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and the two t10k files",
        reading: PLAIN,
    },
    Known {
        name: "binarized-mnist",
        shape: Some([28, 28, 1]),
        place: "binarized-mnist",
        files: "binarized-train-images-idx3-ubyte.gz and those of valid and test",
        reading: PLAIN,
    },
    Known {
        name: "noto-emoji",
        shape: Some([72, 72, 3]),
        place: "noto-emoji",
        files: "the PNG files, or one archive of them",
        reading: PLAIN,
    },
    Known {
        name: "cifar10",
        shape: Some([32, 32, 3]),
        place: "cifar10",
        files: "data_batch_1.bin to data_batch_5.bin and test_batch.bin (the published binary version)",
        reading: PLAIN,
    },
    // Its single document is cut after 90 %, as is usual.
    Known {
        name: "tinyshakespeare",
        shape: None,
        place: "text/tinyshakespeare.txt",
        files: "the text of char-rnn",
        reading: PLAIN,
    },
    Known {
        name: "names",
        shape: None,
        place: "text/names.txt",
        files: "the list of makemore, a name a line",
        reading: Reading { lines: true, ..PLAIN },
    },
    // No author is in two splits.
    Known {
        name: "novels",
        shape: None,
        place: "text/novels.tar.gz",
        files: "an archive of novels, AUTHOR_TITLE_YEAR.txt",
        reading: Reading { validation_files: Some("Stevenson*"), test_files: Some("Doyle*"), ..PLAIN },
    },
    // The published split: the first five recordings of each digit by each speaker are the test.
    Known {
        name: "fsdd",
        shape: None,
        place: "fsdd",
        files: "the recordings DIGIT_SPEAKER_INDEX.wav, or an archive of them",
        reading: Reading { label_from_name: true, test_files: Some("*_[0-4].wav"), ..PLAIN },
    },
];

/// The known data set that a name means, unless something of that name lies where the user is.
fn known(source: &str) -> Option<&'static Known> {
    let other = Path::new(source).exists() || builtin(source).is_some();
    KNOWN.iter().find(|known| known.name == source && !other)
}

/// Turns what the user wrote into what `poiesis_collect` opens: a path or a built-in name.
///
/// What lies at that path comes first, then built-in data, then a folder of that name in `data_dir`.
pub(crate) fn locate(source: &str, data_dir: &Path) -> Result<String> {
    if source.is_empty() {
        bail!("--data is empty; give a folder, a file, a built-in data set or the name of a known one");
    }
    if Path::new(source).exists() || builtin(source).is_some() {
        return Ok(source.to_owned());
    }
    let is_name = Path::new(source).components().count() == 1;
    let mut folder = data_dir.join(source);
    let known = known(source);
    if let Some(known) = known
        && !folder.exists()
    {
        folder = data_dir.join(known.place);
    }
    if is_name && folder.exists() {
        if source == "cifar10" {
            return binary_version(&folder);
        }
        return Ok(folder.to_string_lossy().into_owned());
    }
    if let Some(known) = known {
        bail!(
            "there is no data set `{source}` at {}; put {} there, or say with --data-dir where it is",
            folder.display(),
            known.files
        );
    }
    let names: Vec<&str> =
        ["shapes", "rings", "grid"].into_iter().chain(KNOWN.map(|known| known.name)).collect();
    match poiesis::error::nearest(source, &names) {
        Some(near) => bail!("there is no data at `{source}`; did you mean `{near}`?"),
        None => bail!(
            "there is no data at `{source}`; give a folder, a file, or one of the names {}",
            names.join(", ")
        ),
    }
}

/// CIFAR-10 is published in several forms, of which its folder must hold the binary one.
fn binary_version(folder: &Path) -> Result<String> {
    let below = folder.join("cifar-10-batches-bin");
    for place in [folder, &below] {
        let packed = place.join("dataset.json").exists();
        if packed || place.join("data_batch_1.bin").exists() || place.join("data_batch_1.bin.gz").exists() {
            return Ok(place.to_string_lossy().into_owned());
        }
    }
    bail!("{} holds no data_batch_1.bin; put the binary version of CIFAR-10 there", folder.display())
}

/// A path as it is written into a run, so that the run finds its data from any folder; names stay names.
pub(crate) fn lasting(source: &str) -> String {
    match Path::new(source).canonicalize() {
        Ok(full) => full.to_string_lossy().into_owned(),
        Err(_) => source.to_owned(),
    }
}

/// The flags that find a run's data again: none for a path or built-in data, which need no help.
pub(crate) fn flags(source: &str, data_dir: &Path) -> String {
    if Path::new(source).exists() || builtin(source).is_some() || data_dir == Path::new("data") {
        return String::new();
    }
    format!(" --data-dir {}", data_dir.display())
}

/// The last part of a source without the endings of archives: a name for runs made from it.
pub(crate) fn short_name(source: &str) -> String {
    let path = Path::new(source);
    let name = path.file_name().map_or_else(|| source.to_owned(), |name| name.to_string_lossy().into_owned());
    let endings = [
        ".gz", ".tgz", ".tar", ".zip", ".parquet", ".npy", ".npz", ".txt", ".jsonl", ".ndjson", ".wav",
        ".flac",
    ];
    let mut short = name.as_str();
    while let Some(stem) = endings.iter().find_map(|ending| short.strip_suffix(ending)) {
        short = stem;
    }
    short.to_owned()
}

/// Opens the data set that a configuration names, packing it into the cache where it is not packed yet.
pub(crate) fn open(config: &DataConfig, data_dir: &Path, quiet: bool) -> Result<Dataset> {
    open_source(&config.source, config, data_dir, quiet)
}

/// Opens `source`, prepared as a configuration says.
pub(crate) fn open_source(
    source: &str,
    config: &DataConfig,
    data_dir: &Path,
    quiet: bool,
) -> Result<Dataset> {
    let options = options(source, config)?;
    let source = locate(source, data_dir)?;
    let meter = Meter::new(&format!("packing {}", short_name(&source)), "examples", None, quiet);
    let progress = |progress: poiesis_collect::Progress| meter.at(progress.done, progress.total);
    let dataset = open_or_collect(&source, &options, &cache()?, &progress);
    meter.end();
    Ok(dataset?)
}

/// Opens whatever a person calls data, raw sources prepared as they come.
pub(crate) fn open_any(source: &str, data_dir: &Path, quiet: bool) -> Result<Dataset> {
    open_source(source, &DataConfig::default(), data_dir, quiet)
}

/// How a raw source is prepared.
pub(crate) fn options(source: &str, config: &DataConfig) -> Result<Options> {
    let reading = reading(source);
    Ok(Options {
        size: (config.size > 0).then_some((config.size, config.size)),
        crop: crop(&config.crop)?,
        channels: (config.channels > 0).then_some(config.channels),
        background: color(&config.background)?,
        holdout: config.holdout,
        count: (config.count > 0).then_some(config.count),
        vocabulary: vocabulary(&config.vocabulary)?,
        vocabulary_size: (config.vocabulary_size > 0).then_some(config.vocabulary_size),
        lines: choice("documents", &config.documents, ["files", "lines"], reading.lines)?,
        sample_rate: (config.sample_rate > 0).then_some(config.sample_rate),
        mono: config.mono,
        label_from_name: choice("labels", &config.labels, ["folders", "names"], reading.label_from_name)?,
        validation_files: patterns(&config.validation_files, reading.validation_files),
        test_files: patterns(&config.test_files, reading.test_files),
        ..Options::default()
    })
}

fn reading(source: &str) -> Reading {
    known(source).map_or(PLAIN, |known| known.reading)
}

/// Options with what is known of a data set by its name.
pub(crate) fn known_options(source: &str) -> Options {
    let Reading { lines, label_from_name, validation_files, test_files } = reading(source);
    let (validation_files, test_files) = (patterns("", validation_files), patterns("", test_files));
    Options { lines, label_from_name, validation_files, test_files, ..Options::default() }
}

/// Reads which of two is chosen; nothing leaves it as it is.
fn choice(key: &str, text: &str, [no, yes]: [&str; 2], unless_given: bool) -> Result<bool> {
    match text {
        "" => Ok(unless_given),
        text if text == no => Ok(false),
        text if text == yes => Ok(true),
        _ => bail!("`{key}` cannot be {text}; give {no} or {yes}"),
    }
}

/// Reads patterns with commas between them.
fn patterns(text: &str, unless_given: Option<&str>) -> Vec<String> {
    let text = if text.is_empty() { unless_given.unwrap_or_default() } else { text };
    text.split(',').map(|pattern| pattern.trim().to_owned()).filter(|pattern| !pattern.is_empty()).collect()
}

/// Reads the name of a vocabulary; nothing leaves the choice to the text.
pub(crate) fn vocabulary(text: &str) -> Result<Option<VocabularyKind>> {
    match text {
        "" => Ok(None),
        "bytes" => Ok(Some(VocabularyKind::Bytes)),
        "characters" => Ok(Some(VocabularyKind::Characters)),
        "bpe" => Ok(Some(VocabularyKind::Bpe)),
        _ => bail!("`vocabulary` cannot be {text}; give bytes, characters or bpe"),
    }
}

/// The shape that prepared images will have, where that is known without reading them.
pub(crate) fn expected_shape(config: &DataConfig, data_dir: &Path) -> Option<[usize; 3]> {
    let source = locate(&config.source, data_dir).ok();
    if let Some(dataset) = source.as_deref().and_then(|source| Dataset::open(Path::new(source)).ok()) {
        return dataset.card().shape.clone().try_into().ok();
    }
    let own = match config.source.as_str() {
        "shapes" => Some([32, 32, 3]),
        name => KNOWN.iter().find(|known| known.name == name).and_then(|known| known.shape),
    };
    let side = usize::try_from(config.size).ok().filter(|&side| side > 0);
    let channels = Some(usize::from(config.channels)).filter(|&channels| channels > 0);
    let [height, width, own_channels] = own.map_or([None; 3], |own| own.map(Some));
    Some([side.or(height)?, side.or(width)?, channels.or(own_channels)?])
}

/// Where raw sources are packed: `POIESIS_CACHE`, or the folder for caches of this system.
fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("POIESIS_CACHE").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    match directories::ProjectDirs::from("", "", "poiesis") {
        Some(folders) => Ok(folders.cache_dir().join("data")),
        None => bail!("this system names no folder for caches; set POIESIS_CACHE to one"),
    }
}

/// Reads `center` or `none`.
pub(crate) fn crop(text: &str) -> Result<Crop> {
    match text {
        "center" => Ok(Crop::Center),
        "none" => Ok(Crop::None),
        _ => bail!("`crop` cannot be {text}; give center (cut) or none (stretch)"),
    }
}

/// Reads a colour written as `#rrggbb`.
pub(crate) fn color(text: &str) -> Result<[u8; 3]> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    let number = (digits.len() == 6).then(|| u32::from_str_radix(digits, 16).ok()).flatten();
    match number {
        Some(number) => Ok([(number >> 16) as u8, (number >> 8) as u8, number as u8]),
        None => bail!("`background` cannot be {text}; write it as #rrggbb, such as #ffffff for white"),
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
    fn a_misspelt_name_is_told_the_right_one() {
        let error = locate("mnits", Path::new("nowhere")).unwrap_err().to_string();
        assert!(error.contains("`mnist`"), "{error}");
        let error = locate("mnist", Path::new("nowhere")).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }

    #[test]
    fn known_data_sets_are_read_as_they_are_meant() {
        let options = |source: &str, config: DataConfig| options(source, &config).unwrap();
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
        let novels = options("names", config);
        assert!(!novels.lines && novels.vocabulary == Some(VocabularyKind::Bpe));
        assert_eq!(novels.test_files, ["a*", "b*"]);
        // What images are packed into does not depend on any of this.
        assert_eq!(options("mnist", DataConfig::default()), Options::default());
        let bad = DataConfig { labels: "nmes".into(), ..DataConfig::default() };
        assert!(super::options("x", &bad).is_err());
    }

    #[test]
    fn only_names_need_the_folder_of_data_sets() {
        assert_eq!(flags("mnist", Path::new("/my/sets")), " --data-dir /my/sets");
        assert_eq!(flags("mnist", Path::new("data")), "");
        assert_eq!(flags("shapes", Path::new("/my/sets")), "");
        assert_eq!(flags("/", Path::new("/my/sets")), "");
    }

    #[test]
    fn names_of_runs_lose_the_endings_of_archives() {
        assert_eq!(short_name("a/photos.tar.gz"), "photos");
        assert_eq!(short_name("photos/"), "photos");
        assert_eq!(short_name("shapes"), "shapes");
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
}
