//! Collects a source into a folder: finds out what the source holds and hands it to the collector for images, text, sound,
//! points or experience. A thread reads the source, all cores decode and prepare, and the results are written in the order of the source.
//! Only a few batches are in memory at any time.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::builtin::Builtin;
use crate::cache;
use crate::card::{Card, Kind};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::experience::collect_experience;
use crate::images::collect_images;
use crate::options::Options;
use crate::pack::Collected;
use crate::points::collect_points;
use crate::progress::Progress;
use crate::sound::collect_sound;
use crate::source::{self, Media, Plan, Source};
use crate::staging::Staging;
use crate::stored_card::is_packed;
use crate::text::collect_text;

/// The result of collecting.
#[derive(Clone, Debug)]
pub struct Report {
    /// The content of `dataset.json`.
    pub card: Card,
    /// The folder of the data set.
    pub folder: PathBuf,
    /// Counts at the end.
    pub progress: Progress,
    /// Folders beside the output that killed processes had left, and that were removed.
    pub swept: Vec<PathBuf>,
}

/// Packs a source (or a built-in data set, by its name) into the new folder `out`.
///
/// The folder appears under its name only when it is whole; until then the data is in a hidden folder next to it.
/// The result depends on the source and the options alone, not on the number of threads. `progress` is called
/// from the calling thread after every few hundred examples.
///
/// # Errors
///
/// See [`Error`]. A single image that cannot be used is not an error: it is skipped, counted and listed in the card.
pub fn collect(
    source: &Path,
    out: &Path,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    collect_into(source, out, false, options, progress)
}

/// Opens whatever holds data: a packed folder is opened in place; any other source, or a built-in name, is packed
/// into the folder `cache` first, unless it is there already from an earlier time. What is on disk comes before a
/// built-in name.
///
/// A source in the cache is known again by its path, the sizes and times of its files, and the options.
///
/// # Errors
///
/// Those of [`collect`] and of [`Dataset::open`].
pub fn open_or_collect(
    source: &str,
    options: &Options,
    cache: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Dataset> {
    let path = Path::new(source);
    if path.is_dir() && is_packed(path) {
        return Dataset::open(path);
    }
    options.check()?;
    let folder = cache.join(cache_name(path, options)?);
    if !folder.exists() {
        match collect_into(path, &folder, true, options, progress) {
            // Another process has packed the same meanwhile.
            Ok(_) | Err(Error::OutputExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Dataset::open(&folder)
}

fn collect_into(
    path: &Path,
    out: &Path,
    wait: bool,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    options.check()?;
    let options = &Options { limits: options.limits.within_memory(), ..options.clone() };
    // Checked before the output is touched.
    if !source::exists(path) {
        return Err(Error::NotFound { path: path.to_owned() });
    }
    let output = Output::begin(out, wait)?;
    let mut source = source::open(path, options)?;
    let is_built_in = !path.exists() && path.to_str().is_some_and(|name| Builtin::parse(name).is_some());
    expect_applicable(options, source.plan(), is_built_in)?;
    if let (Some((height, width, channels)), false) = (options.shape, source.plan().shaped) {
        return Err(Error::BadOption {
            option: "shape",
            value: format!("{height},{width},{channels}"),
            reason: "the source is neither an array nor a file without a header",
            remedy: "leave it out",
        });
    }
    collect_source(path, &mut *source, output, options, progress)
}

/// A new data set that is being written.
pub(crate) struct Output {
    folder: PathBuf,
    staging: Staging,
    swept: Vec<PathBuf>,
}

impl Output {
    /// Where to write.
    pub(crate) fn staging_folder(&self) -> &Path {
        self.staging.folder()
    }

    /// Completes a data set that was written without a source.
    pub(crate) fn complete(self, card: Card, progress: Progress) -> Result<Report> {
        let Output { folder, staging, swept } = self;
        staging.commit()?;
        Ok(Report { card, folder, progress, swept })
    }

    /// Begins to write the new folder `out`, after removing what killed processes have left beside it; `wait` as in
    /// [`Staging::begin`].
    pub(crate) fn begin(out: &Path, wait: bool) -> Result<Output> {
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let swept = cache::sweep(parent);
        Ok(Output { folder: out.to_owned(), staging: Staging::begin(out, wait)?, swept })
    }
}

/// Packs an open source, which the card calls `path`, and gives the folder its name.
pub(crate) fn collect_source(
    path: &Path,
    source: &mut dyn Source,
    output: Output,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Report> {
    let collect = match source.plan().media {
        Media::Image => collect_images,
        Media::Text => collect_text,
        Media::Sound => collect_sound,
        Media::Points => collect_points,
        Media::Experience => collect_experience,
    };
    let Output { folder, staging, swept } = output;
    let mut moved = None;
    let (card, progress) = loop {
        match collect(path, source, staging.folder(), options, moved, progress)? {
            Collected::Done(card, progress) => break (*card, progress),
            Collected::Again(other) => {
                staging.begin_again()?;
                moved = Some(other);
            }
        }
    };
    staging.commit()?;
    Ok(Report { card, folder, progress, swept })
}

/// The kind of data to choose for a model that learns `kinds`, those it is meant for first, where `source` is a folder that would
/// be taken for another kind otherwise; `None` where it need not be chosen, or where it is chosen already.
///
/// The first of `kinds` is chosen if at least a tenth of the folder is of it, measured on disk; else the source decides, if what it is
/// taken for is among `kinds`; else the largest of them.
///
/// # Errors
///
/// [`Error::Read`] for a folder that cannot be read.
pub fn meant_for(source: &str, kinds: &[Kind], options: &Options) -> Result<Option<Kind>> {
    let path = Path::new(source);
    if options.kind.is_some() || (path.is_dir() && is_packed(path)) {
        return Ok(None);
    }
    options.check()?;
    source::meant_for(path, kinds, options)
}

/// Whether there is anything under that name that can be collected: a file or folder, files that a name with braces stands for
/// (`shard-{000..007}.tar`), or built-in data.
pub fn is_source(name: &str) -> bool {
    source::exists(Path::new(name))
}

/// Refuses options that would do nothing for examples of this kind.
fn expect_applicable(options: &Options, plan: &Plan, is_built_in: bool) -> Result<()> {
    let (media, usual) = (plan.media, Options::default());
    let (images, text, sound) = (media == Media::Image, media == Media::Text, media == Media::Sound);
    let experience = media == Media::Experience;
    let of_images = "only images have it";
    let of_text = "only text has it";
    let of_sound = "only sound has it";
    let of_experience = "only experience has it";
    let by_episode = "whole episodes are held out, or sets in files and folders called train and test";
    let given: [(&'static str, bool, &'static str); 16] = [
        ("size", options.size.is_some() && !images, of_images),
        ("channels", options.channels.is_some() && !images, of_images),
        ("crop", options.crop != usual.crop && !images, of_images),
        ("background", options.background != usual.background && !images, of_images),
        ("labels", options.labels.is_some() && !images, "only images are labelled by a table"),
        ("vocabulary", options.vocabulary.is_some() && !text, of_text),
        ("lines", options.lines && !text, of_text),
        ("sample_rate", options.sample_rate.is_some() && !sound, of_sound),
        ("mono", options.mono && !sound, of_sound),
        ("environment", options.environment.is_some() && !experience, of_experience),
        ("validation_files", !options.validation_files.is_empty() && experience, by_episode),
        ("test_files", !options.test_files.is_empty() && experience, by_episode),
        ("actions", options.actions.is_some() && !experience, of_experience),
        ("count", options.count.is_some() && !is_built_in, "only built-in data can be made in any number"),
        ("objects", options.objects.is_some() && plan.objects == 0, "only scenes have objects to count"),
        ("seed", options.seed != usual.seed && !is_built_in, "only built-in data are drawn by chance"),
    ];
    match given.into_iter().find(|(_, refused, _)| *refused) {
        Some((option, _, reason)) => {
            let value = "given for these data".to_owned();
            Err(Error::BadOption { option, value, reason, remedy: "leave it out" })
        }
        None => Ok(()),
    }
}

/// Raised whenever built-in data change or sources are read differently, so that the cache of an older build is not used.
const REVISION: u32 = 7;

/// The folder in the cache for a source: its name, then a hash of all that decides the result.
pub(crate) fn cache_name(path: &Path, options: &Options) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let versions =
        [env!("CARGO_PKG_VERSION").to_owned(), crate::card::FORMAT.to_string(), REVISION.to_string()];
    part(versions.join(" ").as_bytes());
    part(&serde_json::to_vec(options).expect("options are plain values"));
    part(format!("{:?} {:?} {:?}", options.name, options.licence, options.limits).as_bytes());
    let files = if path.exists() { vec![path.to_owned()] } else { source::expand(path) };
    for file in files.iter().chain(&options.labels) {
        let full = file.canonicalize().map_err(|e| Error::read(file, e))?;
        for (file, bytes, time) in stamps(&full, &mut HashSet::new())? {
            part(file.as_os_str().as_encoded_bytes());
            part(&bytes.to_le_bytes());
            part(&time.to_le_bytes());
        }
    }
    let name = match path.to_str().and_then(Builtin::parse) {
        Some(builtin) if files.is_empty() => builtin.name().to_owned(),
        _ if files.is_empty() => return Err(Error::NotFound { path: path.to_owned() }),
        _ => source::source_name(path),
    };
    Ok(format!("{name}-{}", &hasher.finalize().to_hex()[..16]))
}

/// Path, size and time of change (nanoseconds) of a file, or of all files below a folder, in a fixed order. No folder is looked
/// at twice, however many links lead to it.
fn stamps(path: &Path, seen: &mut HashSet<PathBuf>) -> Result<Vec<(PathBuf, u64, u128)>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // A link that leads nowhere is skipped when it is read.
        Err(e) if e.kind() == ErrorKind::NotFound && path.is_symlink() => return Ok(Vec::new()),
        Err(e) => return Err(Error::read(path, e)),
    };
    if metadata.is_dir() {
        // What the walk of a source passes over does not change what is packed.
        let is_passed = !seen.is_empty() && source::is_made_by_tool(path);
        if is_passed || !seen.insert(path.canonicalize().map_err(|e| Error::read(path, e))?) {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(path).map_err(|e| Error::read(path, e))?;
        let paths: std::io::Result<Vec<_>> = entries.map(|entry| entry.map(|e| e.path())).collect();
        let mut paths = paths.map_err(|e| Error::read(path, e))?;
        paths.sort();
        return paths.iter().try_fold(Vec::new(), |mut all, path| {
            all.extend(stamps(path, seen)?);
            Ok(all)
        });
    }
    let time =
        metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |t| t.as_nanos());
    Ok(vec![(path.to_owned(), metadata.len(), time)])
}
