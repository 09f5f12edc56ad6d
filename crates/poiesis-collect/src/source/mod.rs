//! Where examples come from: one file per format. A source looks at everything once to make a plan (classes,
//! splits, how many there are), then sends its examples in a fixed order.

mod archive;
mod cifar;
mod contents;
mod folder;
mod gzipped_copies;
mod idx;
mod labels;
mod levels;
mod made;
mod names;
mod npy;
mod parquet;
mod reader;
mod single;
mod tar;

mod webdataset;
mod zip;

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use flate2::read::MultiGzDecoder;

use crate::builtin::Builtin;
use crate::card::{Factor, Kind, Skipped};
use crate::dataset;
use crate::error::{Error, Result};
use crate::options::{Limits, Options};
use crate::prepare::Pixels;
use crate::split::Split;

pub(crate) use contents::Media;

/// What helps with a damaged data file that somebody has published.
pub(crate) const FETCH: &str = "fetch it again";

/// One example on its way from a source to a decoding thread.
pub(crate) struct Item {
    /// How it is named in reports.
    pub(crate) name: String,
    /// The split that the source gives it; it counts only when the plan says that the source has splits.
    pub(crate) split: Option<Split>,
    /// An index into the classes of the plan.
    pub(crate) label: Option<u32>,
    pub(crate) payload: Payload,
}

/// The content of an example.
pub(crate) enum Payload {
    /// A file on disk, read by the thread that decodes it.
    File(PathBuf),
    /// A file in memory.
    Encoded(Vec<u8>),
    /// Decoded pixels.
    Pixels(Pixels),
    /// An example that is made by code, by its index.
    Made(Builtin, u64),
    /// Nothing that can be used, and why.
    Refused(String),
}

impl Payload {
    /// Bytes that it holds in memory.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Payload::Encoded(bytes) => bytes.len() as u64,
            Payload::Pixels(pixels) => pixels.bytes.len() as u64,
            Payload::File(_) | Payload::Made(..) | Payload::Refused(_) => 0,
        }
    }

    /// The bytes of its file. The error is a reason for the list of skipped files.
    ///
    /// # Panics
    ///
    /// If it is not a file: pixels and examples made by code have no bytes to decode.
    pub(crate) fn read(self, limits: &Limits) -> std::result::Result<Vec<u8>, String> {
        match self {
            Payload::File(path) => read_file(&path, limits),
            Payload::Encoded(bytes) => Ok(bytes),
            Payload::Refused(reason) => Err(reason),
            Payload::Pixels(_) | Payload::Made(..) => unreachable!("only files are decoded"),
        }
    }
}

/// What a source knows before its examples are read.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The name of the data set, unless the user gives one.
    pub(crate) name: String,
    /// What the examples are, if they are not made by code.
    pub(crate) media: Media,
    /// Names of the classes; labels are indices into them. Without classes there are no labels.
    pub(crate) classes: Vec<String>,
    /// Whether the source has splits of its own, of which one is held out.
    pub(crate) has_splits: bool,
    /// How many examples there are, skipped ones included.
    pub(crate) total: Option<u64>,
    /// Whether it is a single file: what is wrong with it is then an error, and not a file that is skipped.
    pub(crate) single: bool,
    /// Set for data made by code: kind, shape and factors of the examples.
    pub(crate) made: Option<(Kind, Vec<usize>, Vec<Factor>)>,
    pub(crate) notes: Vec<String>,
    /// Files that are others of the source, packed, and are not read.
    pub(crate) copies: HashSet<String>,
}

impl Plan {
    /// Whether the file at this path in the source is read.
    pub(crate) fn takes(&self, path: &str) -> bool {
        Media::of(path) == Some(self.media) && !self.copies.contains(path)
    }

    /// Why no example of the source at `path` could be used. What is wrong with a single file is an error of that file.
    pub(crate) fn nothing_usable(&self, path: &Path, kind: Kind, skipped: Skipped) -> Error {
        let path = path.to_owned();
        match skipped.list.into_iter().next() {
            Some(first) if self.single && skipped.count == 1 => {
                let remedy = first.hint().unwrap_or_default();
                Error::Malformed { path, reason: first.reason, remedy, option: first.option }
            }
            Some(first) => Error::NothingUsable {
                path,
                example: kind.example(),
                count: skipped.count,
                name: first.name,
                reason: first.reason,
                option: first.option,
            },
            None => Error::Empty { path },
        }
    }
}

/// A format that examples are read from.
pub(crate) trait Source: Send {
    fn plan(&self) -> &Plan;

    /// Sends all examples, always in the same order.
    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt>;
}

/// Why reading ended early.
pub(crate) enum Halt {
    /// The receiver has failed and takes no more examples; it reports why.
    Stopped,
    /// The source itself failed.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// Gathers items into batches of bounded size and sends them to be decoded.
pub(crate) struct Sink {
    sender: SyncSender<Vec<Item>>,
    batch: Vec<Item>,
    bytes: usize,
}

impl Sink {
    const BATCH_ITEMS: usize = 256;
    const BATCH_BYTES: usize = 8 << 20;

    pub(crate) fn new(sender: SyncSender<Vec<Item>>) -> Self {
        Self { sender, batch: Vec::new(), bytes: 0 }
    }

    /// Takes one item; blocks while decoding is behind.
    pub(crate) fn send(&mut self, item: Item) -> Result<(), Halt> {
        self.bytes += item.payload.bytes() as usize;
        self.batch.push(item);
        if self.batch.len() >= Self::BATCH_ITEMS || self.bytes >= Self::BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands over what is left.
    pub(crate) fn flush(&mut self) -> Result<(), Halt> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.sender.send(batch).map_err(|_| Halt::Stopped)
    }
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

/// Whether there is anything under that name: something on disk, a range of shards, or built-in data.
pub(crate) fn exists(source: &Path) -> bool {
    source.exists() || !expand(source).is_empty() || source.to_str().and_then(Builtin::parse).is_some()
}

/// Finds out what a source is and makes its plan.
pub(crate) fn open(source: &Path, options: &Options) -> Result<Box<dyn Source>> {
    if source.is_dir() {
        return open_folder(source, options);
    }
    if source.exists() {
        return open_file(source, options);
    }
    let shards = expand(source);
    if !shards.is_empty() {
        return tar::open(source, &shards, None, options);
    }
    match source.to_str().and_then(Builtin::parse) {
        Some(builtin) => Ok(Box::new(made::Made::new(builtin, options)?)),
        None => Err(Error::NotFound { path: source.to_owned() }),
    }
}

/// A folder has files of a format that is recognised by names, or images, or archives of images.
fn open_folder(folder: &Path, options: &Options) -> Result<Box<dyn Source>> {
    if dataset::is_packed(folder) {
        return Err(Error::AlreadyPacked { path: folder.to_owned() });
    }
    let files = list(folder)?;
    if files.iter().any(|file| idx::is_images(file)) {
        return Ok(Box::new(idx::Idx::open(folder, &files)?));
    }
    if files.iter().any(|file| cifar::is_batch(file)) {
        return Ok(Box::new(cifar::Cifar::open(folder, &files)?));
    }
    let found = folder::look(folder, options)?;
    if !found.tables.is_empty() {
        return Ok(Box::new(parquet::Parquet::open(folder, &found.tables, &options.limits)?));
    }
    let media = found.contents.media();
    if let Some(media @ (Media::Image | Media::Sound)) = media {
        return Ok(Box::new(folder::Folder::new(folder, found.contents, media)?));
    }
    let tars: Vec<_> =
        files.iter().filter(|file| has_ending(file, &[".tar", ".tar.gz", ".tgz"])).cloned().collect();
    if !tars.is_empty() {
        let (tars, packed) = gzipped_copies::without_gzipped_copies(tars);
        return tar::open(folder, &tars, packed, options);
    }
    let others: Vec<_> = files.iter().filter(|file| has_ending(file, &[".zip", ".npz", ".npy"])).collect();
    match others[..] {
        // A data file often comes with a text about it, but not the other way round.
        [] => match media {
            Some(media) => Ok(Box::new(folder::Folder::new(folder, found.contents, media)?)),
            None => Err(Error::Empty { path: folder.to_owned() }),
        },
        [file] => open_file(file, options),
        [first, second, ..] => {
            let reason =
                format!("it holds several data files ({}, {}, …)", file_name(first), file_name(second));
            Err(Error::damaged(folder, reason, "give one of them"))
        }
    }
}

/// A file is recognised by its first bytes, except for raw CIFAR batches.
fn open_file(file: &Path, options: &Options) -> Result<Box<dyn Source>> {
    let limits = &options.limits;
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cifar::is_batch(file) {
        return Ok(Box::new(cifar::Cifar::open(file, &[file.to_owned()])?));
    }
    if idx::is_images(file) {
        return Ok(Box::new(idx::Idx::open_one(file, &list(folder)?)?));
    }
    let head = head(file)?;
    if head.is_empty() {
        return Err(Error::malformed(file, "it is empty"));
    }
    if head.starts_with(b"PAR1") {
        return Ok(Box::new(parquet::Parquet::open(file, &[file.to_owned()], limits)?));
    }
    if head.starts_with(b"\x93NUMPY") {
        return Ok(Box::new(npy::Npy::open_npy(file)?));
    }
    if head.starts_with(b"PK") && has_ending(file, &[".npz"]) {
        return Ok(Box::new(npy::Npy::open_npz(file, limits)?));
    }
    if head.starts_with(b"PK") {
        return Ok(Box::new(zip::Zip::open(file, options)?));
    }
    if head.get(257..262) == Some(b"ustar") || has_ending(file, &[".tar", ".tar.gz", ".tgz"]) {
        return tar::open(file, &[file.to_owned()], None, options);
    }
    if head.starts_with(b"RIFF") || head.starts_with(b"fLaC") {
        return Ok(Box::new(single::Single::open(file, Media::Sound, options)?));
    }
    match Media::of(&file_name(file)) {
        Some(media @ (Media::Sound | Media::Text | Media::Points)) => {
            return Ok(Box::new(single::Single::open(file, media, options)?));
        }
        Some(Media::Image) | None => {}
    }
    Err(Error::UnknownFormat { path: file.to_owned() })
}

/// The first bytes of a file, decompressed where gzip shows.
fn head(file: &Path) -> Result<Vec<u8>> {
    let read = |reader: &mut dyn Read| {
        let mut head = Vec::new();
        // If the beginning cannot be read, the format stays unknown.
        let _ = reader.take(512).read_to_end(&mut head);
        head
    };
    let mut opened = File::open(file).map_err(|e| Error::read(file, e))?;
    let head = read(&mut opened);
    if !head.starts_with(&[0x1f, 0x8b]) {
        return Ok(head);
    }
    let zipped = File::open(file).map_err(|e| Error::read(file, e))?;
    Ok(read(&mut MultiGzDecoder::new(zipped)))
}

/// The files that a name with a range of numbers stands for, `name-{000..007}.tar`, those that exist; without a
/// range, none.
pub(crate) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let text = pattern.to_string_lossy();
    let range = || {
        let (before, rest) = text.split_once('{')?;
        let (range, after) = rest.split_once('}')?;
        let (first, last) = range.split_once("..")?;
        let (low, high) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        let width = first.len();
        let files =
            (low..=high.min(low.saturating_add(999_999))).map(|i| format!("{before}{i:0width$}{after}"));
        Some(files.map(PathBuf::from).filter(|file| file.is_file()).collect())
    };
    range().unwrap_or_default()
}

/// Whether a file name has one of the endings, in any case.
fn has_ending(file: &Path, endings: &[&str]) -> bool {
    let name = file_name(file).to_ascii_lowercase();
    endings.iter().any(|ending| name.ends_with(ending))
}

/// The split that is one of the words of a file name.
pub(crate) fn split_of(path: &Path) -> Option<Split> {
    split_of_name(&file_name(path))
}

/// The split that is one of the words in the last part of a path.
pub(crate) fn split_of_name(path: &str) -> Option<Split> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.split(|c: char| !c.is_alphanumeric()).find_map(Split::parse)
}

/// Whether files belong to different splits by their names, one of them for training.
pub(crate) fn splits_differ<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> bool {
    let splits: BTreeSet<_> = files.into_iter().map(|file| split_of(file).unwrap_or(Split::Train)).collect();
    splits.len() > 1
}

/// The files of one folder, sorted by name.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::read(folder, e))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::read(folder, e))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The last part of a path as text, for names and reports.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A name for the data set: the last part of the path without the endings of data files.
pub(crate) fn source_name(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = file_name(&full);
    while let Some((stem, ending)) = name.rsplit_once('.') {
        let known = [
            "gz", "tgz", "tar", "zip", "npy", "npz", "parquet", "bin", "txt", "jsonl", "ndjson", "wav",
            "flac", "csv", "tsv",
        ];
        if stem.is_empty() || !known.contains(&ending.to_ascii_lowercase().as_str()) {
            break;
        }
        name = stem.to_owned();
    }
    name
}

fn read_file(path: &Path, limits: &Limits) -> std::result::Result<Vec<u8>, String> {
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
