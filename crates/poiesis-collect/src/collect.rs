//! The way of the data: a thread reads the source, all cores decode and prepare, and the results are written in
//! the order of the source. Only a few batches are in memory at any time.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;

use crate::builtin::Builtin;
use crate::card::{Card, Kind, Skipped, SplitBy};
use crate::dataset::{self, Dataset};
use crate::decode::decode;
use crate::error::{Error, Result};
use crate::options::{Limits, Options};
use crate::pack::{About, Packer, Row};
use crate::prepare::{Pixels, Target, prepare};
use crate::shard::Layout;
use crate::sound::collect_sound;
use crate::source::{self, Halt, Item, Media, Payload, Plan, Sink, Source};
use crate::split::Split;
use crate::staging::Staging;
use crate::text::collect_text;

/// How far collecting has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Examples written.
    pub done: u64,
    /// Files skipped.
    pub skipped: u64,
    /// Bytes of the source that were decoded.
    pub bytes: u64,
    /// How many examples there are, skipped ones included, when that is known before the end.
    pub total: Option<u64>,
}

/// What came of collecting.
#[derive(Clone, Debug)]
pub struct Report {
    /// The content of `dataset.json`.
    pub card: Card,
    /// Where the data set lies.
    pub folder: PathBuf,
    /// Counts at the end.
    pub progress: Progress,
}

/// Packs a source (or a built-in data set, by its name) into the new folder `out`.
///
/// The folder appears under its name only when it is whole; until then the data lies in a hidden folder beside it.
/// The result depends on the source and the options alone, not on the number of threads. `progress` is called
/// from the calling thread after every few hundred examples.
///
/// # Errors
///
/// See [`Error`]. A single image that cannot be used is no error: it is skipped, counted and listed in the card.
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
    if path.is_dir() && dataset::is_packed(path) {
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
    // The least that can be said before the output is touched.
    if !source::exists(path) {
        return Err(Error::NotFound { path: path.to_owned() });
    }
    let staging = Staging::begin(out, wait)?;
    let mut source = source::open(path, options)?;
    let (card, progress) = match source.plan().media {
        Media::Image => {
            let collector = Collector::new(path, staging.folder(), source.plan(), options, progress);
            each_batch(&mut *source, |batches| collector.run(batches))?
        }
        Media::Text => collect_text(path, &mut *source, staging.folder(), options, progress)?,
        Media::Sound => collect_sound(path, &mut *source, staging.folder(), options, progress)?,
    };
    staging.commit()?;
    Ok(Report { card, folder: out.to_owned(), progress })
}

/// Reads a source on a thread of its own, from its beginning to its end, while `take` takes its batches on this one.
pub(crate) fn each_batch<T>(
    source: &mut dyn Source,
    take: impl FnOnce(&Receiver<Vec<Item>>) -> Result<T>,
) -> Result<T> {
    let (sender, receiver) = sync_channel(2);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut sink = Sink::new(sender);
            source.read(&mut sink).and_then(|()| sink.flush())
        });
        let taken = take(&receiver);
        drop(receiver);
        match reader.join() {
            Ok(Err(Halt::Failed(error))) => Err(error),
            Ok(_) => taken,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The decoding and writing side.
struct Collector<'a> {
    path: &'a Path,
    folder: &'a Path,
    options: &'a Options,
    report: &'a (dyn Fn(Progress) + Sync),
    about: About,
    split_by: SplitBy,
    /// Kind, shape and factors are known before the first example only for data made by code.
    format: Option<Format>,
    packer: Option<Packer>,
    progress: Progress,
    enlarged: u64,
}

/// What all examples become, and the first of them, which decided.
struct Format {
    layout: Layout,
    target: Option<Target>,
    first: String,
}

/// An item after decoding.
struct Decoded {
    name: String,
    /// Bytes that were read for it.
    bytes: u64,
    outcome: Outcome,
}

/// What became of one item.
enum Outcome {
    Ready(Row, Size),
    Skipped(String),
    Fatal(Error),
}

impl Outcome {
    /// Adds what the source said about the example.
    fn with(self, split: Option<Split>, label: Option<u32>) -> Outcome {
        match self {
            Outcome::Ready(row, size) => Outcome::Ready(Row { split, label, ..row }, size),
            other => other,
        }
    }
}

/// How a prepared image relates to its original.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    Enlarged,
    Other,
}

impl<'a> Collector<'a> {
    fn new(
        path: &'a Path,
        folder: &'a Path,
        plan: &Plan,
        options: &'a Options,
        report: &'a (dyn Fn(Progress) + Sync),
    ) -> Self {
        let labelled = !plan.classes.is_empty();
        let format = plan.made.as_ref().map(|(kind, shape, factors)| Format {
            layout: Layout { kind: *kind, shape: shape.clone(), labelled, factors: factors.len() },
            target: None,
            first: plan.name.clone(),
        });
        let about = About {
            name: options.name.clone().unwrap_or_else(|| plan.name.clone()),
            classes: plan.classes.clone(),
            factors: plan.made.as_ref().map(|(_, _, factors)| factors.clone()).unwrap_or_default(),
            sources: vec![path.display().to_string()],
            skipped: Skipped::default(),
            notes: plan.notes.clone(),
        };
        let split_by = if plan.has_splits { SplitBy::Source } else { SplitBy::Content };
        let progress = Progress { total: plan.total, ..Progress::default() };
        Self { path, folder, options, report, about, split_by, format, packer: None, progress, enlarged: 0 }
    }

    /// Takes batches until the reader is done, then completes the data set.
    fn run(mut self, batches: &Receiver<Vec<Item>>) -> Result<(Card, Progress)> {
        for batch in batches {
            let mut items = batch.into_iter().peekable();
            // The first image that can be decoded decides the format; until then, one at a time.
            while self.format.is_none() && items.peek().is_some() {
                let first = items.next().map(|item| self.first(item));
                self.take(first)?;
            }
            let items: Vec<_> = items.collect();
            let mut items = items.into_iter();
            while items.len() > 0 {
                let chunk: Vec<_> = items.by_ref().take(self.chunk_rows()).collect();
                let outcomes: Vec<_> = chunk.into_par_iter().map(|item| self.decode(item)).collect();
                self.take(outcomes)?;
            }
        }
        self.finish()
    }

    /// How many examples are prepared at a time: as many as 32 MiB hold, and enough to keep all cores busy.
    fn chunk_rows(&self) -> usize {
        let example = self.format.as_ref().map_or(1, |format| format.layout.example_bytes());
        ((32 << 20) / example).max(2 * rayon::current_num_threads())
    }

    /// Decodes an item before the format is known and lets it decide.
    fn first(&mut self, item: Item) -> Decoded {
        let Item { name, split, label, payload } = item;
        let (bytes, pixels) = decode_payload(payload, &self.options.limits);
        let pixels = match pixels {
            Ok(pixels) => pixels,
            Err(reason) => return Decoded { name, bytes, outcome: Outcome::Skipped(reason) },
        };
        let (height, width) = self.options.size.unwrap_or((pixels.height, pixels.width));
        let channels = self.options.channels.unwrap_or(if pixels.channels == 1 { 1 } else { 3 });
        let Options { crop, background, .. } = *self.options;
        let target = Target { width, height, channels, crop, background };
        let labelled = !self.about.classes.is_empty();
        let layout = Layout { kind: Kind::Images, shape: target.shape(), labelled, factors: 0 };
        let format = Format { layout, target: Some(target), first: name.clone() };
        let outcome = image_outcome(pixels, &name, &format, &target, self.options).with(split, label);
        self.format = Some(format);
        Decoded { name, bytes, outcome }
    }

    /// Decodes and prepares one item; called by many threads.
    fn decode(&self, item: Item) -> Decoded {
        let format = self.format.as_ref().expect("the format is known after the first image");
        let Item { name, split, label, payload } = item;
        if let Payload::Made(builtin, index) = payload {
            let outcome = made_outcome(builtin, index, &format.layout, self.options);
            return Decoded { name, bytes: 0, outcome };
        }
        let (bytes, pixels) = decode_payload(payload, &self.options.limits);
        let outcome = match (pixels, &format.target) {
            (Ok(pixels), Some(target)) => {
                image_outcome(pixels, &name, format, target, self.options).with(split, label)
            }
            (Ok(_), None) => unreachable!("built-in data sends no images to decode"),
            (Err(reason), _) => Outcome::Skipped(reason),
        };
        Decoded { name, bytes, outcome }
    }

    /// Writes what was prepared, in order.
    fn take(&mut self, decoded: impl IntoIterator<Item = Decoded>) -> Result<()> {
        for Decoded { name, bytes, outcome } in decoded {
            self.progress.bytes += bytes;
            match outcome {
                Outcome::Ready(row, size) => {
                    self.packer()?.push(&row)?;
                    self.progress.done += 1;
                    self.enlarged += u64::from(size == Size::Enlarged);
                }
                Outcome::Skipped(reason) => {
                    self.progress.skipped += 1;
                    self.about.skipped.push(name, reason);
                }
                Outcome::Fatal(error) => return Err(error),
            }
        }
        (self.report)(self.progress);
        Ok(())
    }

    fn packer(&mut self) -> Result<&mut Packer> {
        if self.packer.is_none() {
            let layout = self.format.as_ref().expect("an example has a format").layout.clone();
            let classes = self.about.classes.len();
            self.packer = Some(Packer::new(self.folder, layout, classes, self.split_by, self.options)?);
        }
        Ok(self.packer.as_mut().expect("it was just made"))
    }

    fn finish(mut self) -> Result<(Card, Progress)> {
        let Some(packer) = self.packer else {
            return Err(match self.about.skipped.list.into_iter().next() {
                Some(first) => Error::NothingUsable {
                    path: self.path.to_owned(),
                    example: "image",
                    count: self.about.skipped.count,
                    name: first.name,
                    reason: first.reason,
                },
                None => Error::Empty { path: self.path.to_owned() },
            });
        };
        if self.enlarged > 0 {
            let note = format!("{} images were smaller than the asked size and were enlarged", self.enlarged);
            self.about.notes.push(note);
        }
        Ok((packer.finish(self.about)?, self.progress))
    }
}

/// The pixels of an item, with the number of bytes they were read from.
fn decode_payload(payload: Payload, limits: &Limits) -> (u64, Result<Pixels, String>) {
    let bytes = payload.bytes();
    match payload {
        Payload::Pixels(pixels) => (bytes, Ok(pixels)),
        Payload::Encoded(encoded) => (bytes, decode(&encoded, limits)),
        Payload::Refused(reason) => (bytes, Err(reason)),
        Payload::File(path) => match read_file(&path, limits) {
            Ok(encoded) => (encoded.len() as u64, decode(&encoded, limits)),
            Err(reason) => (0, Err(reason)),
        },
        Payload::Made(..) => unreachable!("data made by code is not decoded"),
    }
}

pub(crate) fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, String> {
    let read = || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(size.min(limits.file_bytes) as usize);
        file.take(limits.file_bytes + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e: std::io::Error| format!("it cannot be read: {e}"))?;
    if bytes.len() as u64 > limits.file_bytes {
        return Err(format!("it has more bytes than the limit of {}", limits.file_bytes));
    }
    Ok(bytes)
}

fn made_outcome(builtin: Builtin, index: u64, layout: &Layout, options: &Options) -> Outcome {
    let made = builtin.make(index, options);
    let row = Row::new(layout, made.example);
    Outcome::Ready(Row { label: Some(made.label), factors: made.factors, ..row }, Size::Other)
}

fn image_outcome(pixels: Pixels, name: &str, format: &Format, target: &Target, options: &Options) -> Outcome {
    if options.size.is_none() && (pixels.width, pixels.height) != (target.width, target.height) {
        return Outcome::Fatal(Error::MixedSizes {
            first: format.first.clone(),
            first_size: (target.width, target.height),
            other: name.to_owned(),
            other_size: (pixels.width, pixels.height),
        });
    }
    if options.channels.is_none() && target.channels == 1 && pixels.channels > 2 {
        return Outcome::Fatal(Error::MixedChannels { first: format.first.clone(), other: name.to_owned() });
    }
    let enlarged = pixels.width < target.width || pixels.height < target.height;
    let size = if enlarged { Size::Enlarged } else { Size::Other };
    Outcome::Ready(Row::new(&format.layout, prepare(pixels, target)), size)
}

/// Raised whenever built-in data change, so that what an older build has put into the cache is not taken for them.
const REVISION: u32 = 2;

/// The folder in the cache for a source: its name, then a hash of all that decides the result.
fn cache_name(path: &Path, options: &Options) -> Result<String> {
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
    for file in &files {
        let full = file.canonicalize().map_err(|e| Error::read(file, e))?;
        for (file, bytes, time) in stamps(&full)? {
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

/// Path, size and time of change (nanoseconds) of a file, or of all files below a folder, in a fixed order.
fn stamps(path: &Path) -> Result<Vec<(PathBuf, u64, u128)>> {
    let metadata = fs::metadata(path).map_err(|e| Error::read(path, e))?;
    if metadata.is_dir() {
        let entries = fs::read_dir(path).map_err(|e| Error::read(path, e))?;
        let paths: std::io::Result<Vec<_>> = entries.map(|entry| entry.map(|e| e.path())).collect();
        let mut paths = paths.map_err(|e| Error::read(path, e))?;
        paths.sort();
        return paths.iter().try_fold(Vec::new(), |mut all, path| {
            all.extend(stamps(path)?);
            Ok(all)
        });
    }
    let time =
        metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |t| t.as_nanos());
    Ok(vec![(path.to_owned(), metadata.len(), time)])
}
