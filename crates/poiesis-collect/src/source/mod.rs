//! Where examples come from: one file per format. A source looks at everything once to make a plan (classes,
//! splits, how many there are), then sends its examples in a fixed order.

mod idx;
mod made;

use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

use crate::builtin::Builtin;
use crate::card::{Factor, Kind};
use crate::dataset;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::prepare::Pixels;
use crate::split::Split;

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
    /// Decoded pixels.
    Pixels(Pixels),
    /// An example that is made by code, by its index.
    Made(Builtin, u64),
}

impl Payload {
    /// Bytes that were read for it, for the report of progress.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Payload::Pixels(pixels) => pixels.bytes.len() as u64,
            Payload::Made(..) => 0,
        }
    }
}

/// What a source knows before its examples are read.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The name of the data set, unless the user gives one.
    pub(crate) name: String,
    /// Names of the classes; labels are indices into them. Without classes there are no labels.
    pub(crate) classes: Vec<String>,
    /// Whether the source has splits of its own, of which one is held out.
    pub(crate) has_splits: bool,
    /// How many examples there are, skipped ones included.
    pub(crate) total: Option<u64>,
    /// Set for data made by code: kind, shape and factors of the examples.
    pub(crate) made: Option<(Kind, Vec<usize>, Vec<Factor>)>,
    pub(crate) notes: Vec<String>,
}

/// A format that examples are read from.
pub(crate) trait Source: Send {
    fn plan(&self) -> &Plan;

    /// Sends all examples, always in the same order.
    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt>;
}

/// Why reading ended early.
pub(crate) enum Halt {
    /// Nobody wants more examples: the other side has failed and says why.
    Stopped,
    /// The source itself failed.
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

/// Gathers items into batches of bounded size and hands them to the decoding side.
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

    /// Takes one item; waits while the decoding side is behind.
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

/// Finds out what a source is and makes its plan.
pub(crate) fn open(source: &Path, options: &Options) -> Result<Box<dyn Source>> {
    if !source.exists() {
        return match source.to_str().and_then(Builtin::parse) {
            Some(builtin) => Ok(Box::new(made::Made::new(builtin, options)?)),
            None => Err(Error::NotFound { path: source.to_owned() }),
        };
    }
    if source.is_dir() {
        if dataset::is_packed(source) {
            return Err(Error::AlreadyPacked { path: source.to_owned() });
        }
        let files = list(source)?;
        if files.iter().any(|file| idx::is_images(file)) {
            return Ok(Box::new(idx::Idx::open(source, &files)?));
        }
        return Err(Error::Empty { path: source.to_owned() });
    }
    if idx::is_images(source) {
        let files = list(source.parent().unwrap_or(Path::new(".")))?;
        return Ok(Box::new(idx::Idx::open_one(source, &files)?));
    }
    Err(Error::UnknownFormat { path: source.to_owned() })
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
        let known = ["gz", "tgz", "tar", "zip", "npy", "npz", "parquet", "bin"];
        if stem.is_empty() || !known.contains(&ending.to_ascii_lowercase().as_str()) {
            break;
        }
        name = stem.to_owned();
    }
    name
}
