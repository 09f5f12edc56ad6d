//! Where examples come from: one file per format. A source looks at everything once to make a plan (classes,
//! splits, how many there are), then sends its examples in a fixed order.

mod amat;
mod archive;
mod array;
mod array_labels;
mod array_rows;
mod braces;
mod cifar;
mod class_table;
mod contents;
mod encoding;
mod folder;
mod gzipped_copies;
mod idx;
mod label_file;
mod labels;
mod layout;
mod left;
mod levels;
mod listing;
mod made;
mod metered;
mod names;
mod npy;
pub(crate) mod parquet;
mod payload;
mod plain_text;
mod raw;
mod reader;
mod reals;
mod several;
mod single;
mod survey;
mod tar;
mod together;
mod tool_folders;
mod webdataset;
mod weights;
mod zip;

use std::collections::{BTreeSet, HashSet};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::builtin::Builtin;
use crate::card::{Factor, Kind, Skipped};
use crate::decode::{is_image, is_image_name};
use crate::error::{Error, Result};
use crate::experience::{Experience, Part, is_wanted};
use crate::options::Options;
use crate::regular;
use crate::split::Split;

pub use array::Header as ArrayHeader;
pub(crate) use array::{SAVE, read_error};
pub(crate) use braces::expand;
use contents::Filter;
pub(crate) use contents::Media;
use left::unread;
use listing::files_of;
pub(crate) use listing::meant_for;
pub(crate) use payload::Payload;
use reader::Packing;
pub(crate) use reals::Number;
use several::Within;
pub(crate) use tool_folders::is_made_by_tool;

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

/// What a source knows before its examples are read.
#[derive(Clone, Debug, Default)]
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
    /// Whether its classes are those of the table that the user gave.
    pub(crate) labelled: bool,
    /// Whether the user can say how large its images are.
    pub(crate) shaped: bool,
    /// Set for data made by code: kind, shape and factors of the examples.
    pub(crate) made: Option<(Kind, Vec<usize>, Vec<Factor>)>,
    /// Most objects of an image whose boxes are known; 0 where no boxes are.
    pub(crate) objects: usize,
    pub(crate) notes: Vec<String>,
    /// Files that are others of the source, packed, and are not read.
    pub(crate) copies: HashSet<String>,
    pub(crate) filter: Filter,
}

impl Plan {
    /// Whether the file at this path in the source is read.
    pub(crate) fn takes(&self, path: &str) -> bool {
        self.filter.includes(path)
            && self.filter.media(path) == Some(self.media)
            && !self.copies.contains(path)
    }

    /// The kind of data that it becomes.
    pub(crate) fn kind(&self) -> Kind {
        self.made.as_ref().map_or(self.media.kind(), |(kind, ..)| *kind)
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
    /// The part of a whole that items come from.
    within: Option<Arc<Within>>,
}

impl Sink {
    const BATCH_ITEMS: usize = 256;
    const BATCH_BYTES: usize = 8 << 20;

    pub(crate) fn new(sender: SyncSender<Vec<Item>>) -> Self {
        Self { sender, batch: Vec::new(), bytes: 0, within: None }
    }

    /// Takes one item; blocks while decoding is behind.
    pub(crate) fn send(&mut self, item: Item) -> Result<(), Halt> {
        self.bytes += item.payload.bytes() as usize;
        let item = match &self.within {
            Some(within) => within.place(item),
            None => item,
        };
        self.batch.push(item);
        if self.batch.len() >= Self::BATCH_ITEMS || self.bytes >= Self::BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Takes the items that `read` sends as those of a part of the whole.
    fn within(
        &mut self,
        within: &Arc<Within>,
        read: impl FnOnce(&mut Sink) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        self.within = Some(Arc::clone(within));
        let result = read(self);
        self.within = None;
        result
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
    // One batch is read while another is decoded, and no more: a batch may be as large as a file may be.
    let (sender, receiver) = sync_channel(0);
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
    label_file::check(options)?;
    let opened = match files_of(source)? {
        Some(files) => listing::open(source, files, options),
        None if source.exists() => open_file(source, options).map_err(array_rows::or_a_table),
        None => match source.to_str().and_then(Builtin::parse) {
            Some(builtin) => made::Made::new(builtin, options).map(|made| Box::new(made) as Box<dyn Source>),
            None => Err(Error::NotFound { path: source.to_owned() }),
        },
    };
    let kind = |kind: Kind| {
        let (option, value) = ("kind", kind.name().to_owned());
        let remedy = match kind {
            Kind::Experience => {
                "call its arrays, columns or fields observations and actions, or leave it out"
            }
            _ => "leave it out, or give another source",
        };
        Err(Error::BadOption { option, value, reason: "the source holds none", remedy })
    };
    let include = |reason, remedy| {
        Err(Error::BadOption { option: "include", value: options.include.join(", "), reason, remedy })
    };
    match (opened, options.kind) {
        (Ok(source), Some(wanted)) if source.plan().kind() != wanted => kind(wanted),
        (Ok(source), _) if !options.include.is_empty() && source.plan().filter.is_open() => {
            include("the source has no files to choose from", "leave it out")
        }
        (Ok(source), _) => {
            options.check_kind(source.plan().kind())?;
            label_file::expect_used(options, source.plan())?;
            Ok(source)
        }
        (Err(Error::Empty { .. }), _) if !options.include.is_empty() => include(
            "no file of the source that is read matches it",
            "give a pattern for names of files, or for paths if it has a /",
        ),
        (Err(error @ Error::NoDataSet { .. }), Some(Kind::Images)) => Err(error),
        (Err(Error::Empty { .. } | Error::UnknownFormat { .. } | Error::NoDataSet { .. }), Some(wanted)) => {
            kind(wanted)
        }
        (Err(error), _) => Err(error),
    }
}

/// A file is recognised by its first bytes, except for raw CIFAR batches.
fn open_file(file: &Path, options: &Options) -> Result<Box<dyn Source>> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cifar::is_batch(file) && options.shape.is_none() {
        return Ok(Box::new(cifar::Cifar::open(file, &[file.to_owned()])?));
    }
    if idx::is_images(file) {
        return Ok(Box::new(idx::Idx::open_one(file, &list(folder)?)?));
    }
    if amat::is_matrix(file) {
        return Ok(Box::new(amat::Amat::open(file, &[file.to_owned()])?));
    }
    let head = head(file)?;
    if head.is_empty() {
        return Err(Error::malformed(file, "it is empty"));
    }
    let name = file_name(file);
    if is_wanted(options)
        && let Some(part) = Part::of_file(file, &name)
    {
        return Ok(Box::new(Experience::open(file, vec![part], options)?));
    }
    if options.kind == Some(Kind::Experience) && has_ending(file, &[".npz"]) {
        Part::expect_readable(file)?;
        return Err(Error::Empty { path: file.to_owned() });
    }
    if options.kind == Some(Kind::Experience) && head.starts_with(b"\x93NUMPY") {
        let remedy = "give the folder that it is in, with observations and actions";
        return Err(Error::damaged(file, "it is a single array", remedy));
    }
    if head.starts_with(b"PAR1") {
        return open_tables(file, &[(&name, file)], options);
    }
    if head.starts_with(array_rows::MAGIC) && array_rows::is_table(file, options) {
        return Ok(Box::new(single::Single::open(file, Media::Points, options)?));
    }
    if head.starts_with(array_rows::MAGIC) {
        return Ok(Box::new(npy::Npy::open_npy(file, options)?));
    }
    if head.starts_with(b"PK") && has_ending(file, &[".npz"]) {
        return Ok(Box::new(npy::Npy::open_npz(file, options)?));
    }
    if head.starts_with(b"PK") {
        return Ok(Box::new(zip::Zip::open(file, options)?));
    }
    if head.get(257..262) == Some(b"ustar") || reader::is_tar(&file_name(file)) {
        return tar::open(file, &[file.to_owned()], None, options);
    }
    if crate::sound::is_sound(&head) {
        return Ok(Box::new(single::Single::open(file, Media::Sound, options)?));
    }
    match Filter::new(options).media(&file_name(file)) {
        Some(media @ (Media::Sound | Media::Text | Media::Points)) => {
            return Ok(Box::new(single::Single::open(file, media, options)?));
        }
        Some(Media::Image | Media::Experience) | None => {}
    }
    if options.shape.is_some() || has_ending(file, &[".bin"]) {
        return Ok(Box::new(raw::Raw::open(file, options)?));
    }
    let path = file.to_owned();
    if is_image_name(&name) || is_image(&head) {
        let reason = "it is a single image, and a data set needs more than one".to_owned();
        return Err(Error::NoDataSet {
            path,
            reason,
            remedy: "give a folder of images, or an archive of them".to_owned(),
        });
    }
    if let Some((reason, remedy)) = unread(&name) {
        return Err(Error::NoDataSet { path, reason, remedy });
    }
    Err(Error::UnknownFormat { path })
}

/// Opens parquet tables, each given by its path in the source and on disk, as what the first of them holds.
fn open_tables(source: &Path, tables: &[(&str, &Path)], options: &Options) -> Result<Box<dyn Source>> {
    let limits = &options.limits;
    if is_wanted(options) {
        let about = parquet::About::of(tables[0].1, limits)?;
        // A table that has images too is one of images.
        if options.kind.is_some() || about.columns.is_err() {
            if let Some(parts) = Part::of_tables(&about, tables.iter().copied()) {
                return Ok(Box::new(Experience::open(source, parts, options)?));
            }
            if options.kind.is_some() {
                return Err(Error::Empty { path: source.to_owned() });
            }
        }
    }
    let paths: Vec<PathBuf> = tables.iter().map(|(_, path)| path.to_path_buf()).collect();
    Ok(Box::new(parquet::Parquet::open(source, &paths, limits)?))
}

/// The first bytes of a file, unpacked where it is compressed.
fn head(file: &Path) -> Result<Vec<u8>> {
    let read = |reader: &mut dyn Read| {
        let mut head = Vec::new();
        // If the beginning cannot be read, the format stays unknown.
        let _ = reader.take(512).read_to_end(&mut head);
        head
    };
    let open = || regular::open(file).map_err(|e| Error::read(file, e));
    let packed = read(&mut open()?);
    let Some(packing) = Packing::of(&packed) else { return Ok(packed) };
    let unpacked = packing.unpack(BufReader::new(open()?)).map(|mut reader| read(&mut reader));
    // A packing that is damaged shows itself where the file is read.
    Ok(unpacked.ok().filter(|head| !head.is_empty()).unwrap_or(packed))
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

/// Largest image of an array, in bytes: as large as a file may be.
const LARGEST_IMAGE: u64 = 256 << 20;

/// Refuses arrays whose images are too large to be held in memory.
pub(crate) fn check_image(bytes: u64, path: &Path) -> Result<()> {
    if bytes <= LARGEST_IMAGE {
        return Ok(());
    }
    let reason = format!("each of its images has {bytes} bytes, above the limit of {LARGEST_IMAGE}");
    Err(Error::malformed(path, reason))
}

/// The last part of a path as text, for names and reports.
pub(crate) fn file_name(path: &Path) -> String {
    encoding::escaped(path.file_name().unwrap_or(path.as_os_str()).as_encoded_bytes())
}

/// A name for the data set: the last part of the path without the endings of data files.
pub(crate) fn source_name(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = file_name(&full);
    while let Some((stem, ending)) = name.rsplit_once('.') {
        let known = [
            "gz", "bz2", "xz", "zst", "tgz", "tbz2", "tbz", "txz", "tzst", "tar", "zip", "npy", "npz",
            "parquet", "bin", "txt", "jsonl", "ndjson", "wav", "w64", "flac", "mp3", "ogg", "oga", "csv",
            "tsv", "amat",
        ];
        if stem.is_empty() || !known.contains(&ending.to_ascii_lowercase().as_str()) {
            break;
        }
        name = stem.to_owned();
    }
    // Several files by one name with braces are called by what comes before these.
    match name.split_once('{') {
        Some((before, _)) if !path.exists() => {
            let before = before.trim_end_matches(|c: char| !c.is_alphanumeric());
            (if before.is_empty() { "files" } else { before }).to_owned()
        }
        _ => name,
    }
}
