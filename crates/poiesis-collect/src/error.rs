//! What can go wrong while collecting or opening a data set. Every message names the file, the reason and,
//! where there is one, the remedy.

use std::io;
use std::path::{Path, PathBuf};

use crate::split::Split;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a user, a file or the machine did wrong. Programming errors (an index out of range) panic instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing exists at the given path.
    #[error(
        "{path} does not exist; give a file, a folder, a packed data set or a built-in one (shapes, rings, grid)"
    )]
    NotFound {
        /// The path as it was given.
        path: PathBuf,
    },

    /// A file or folder could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A file or folder could not be written.
    #[error("cannot write {path}: {source}; free some space or choose another output folder")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The output folder holds something already.
    #[error("{path} exists and is not empty; choose another output folder or remove it first")]
    OutputExists {
        /// The output folder.
        path: PathBuf,
    },

    /// Another process is writing the same output folder.
    #[error("another process is writing {path}; wait for it to end or choose another output folder")]
    Busy {
        /// The output folder.
        path: PathBuf,
    },

    /// A folder or archive without a single file of a known format.
    #[error("{path} holds no image, text, sound or data file; these are read: {}", crate::FORMATS)]
    Empty {
        /// The source.
        path: PathBuf,
    },

    /// A file of a format that is not read.
    #[error("{path} is of no known format; these are read: {}", crate::FORMATS)]
    UnknownFormat {
        /// The source.
        path: PathBuf,
    },

    /// Files were found, but none could be used.
    #[error("{path}: none of the {count} {example}s could be used; the first, {name}: {reason}")]
    NothingUsable {
        /// The source.
        path: PathBuf,
        /// The word for one of them: `image`, `document`, `clip`.
        example: &'static str,
        /// How many were tried.
        count: u64,
        /// The first that failed.
        name: String,
        /// Why it failed.
        reason: String,
    },

    /// A data file (IDX, CIFAR, npy, parquet, an archive) that does not hold what its format promises.
    #[error("{path} is damaged or not what it seems: {reason}")]
    Malformed {
        /// The data file, with the entry inside it where there is one.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        reason: String,
    },

    /// The source is a packed data set already.
    #[error("{path} is a packed data set already; use it as it is")]
    AlreadyPacked {
        /// The folder.
        path: PathBuf,
    },

    /// Two images differ in size and no size was asked for.
    #[error(
        "images differ in size: {first} is {}x{}, {other} is {}x{} (width x height); \
         choose one size for all with --size",
        first_size.0, first_size.1, other_size.0, other_size.1
    )]
    MixedSizes {
        /// The first image.
        first: String,
        /// Its width and height.
        first_size: (u32, u32),
        /// The first image of another size.
        other: String,
        /// Its width and height.
        other_size: (u32, u32),
    },

    /// The first image is grey, a later one is in colour, and no number of channels was asked for.
    #[error(
        "{first} is grey but {other} is in colour; choose --channels 3 to keep the colours or --channels 1 to drop them"
    )]
    MixedChannels {
        /// The first image, which is grey.
        first: String,
        /// The first image in colour.
        other: String,
    },

    /// Two tables of points have different columns.
    #[error("tables differ in their columns: {first} has {first_columns}, {other} has {other_columns}")]
    MixedColumns {
        /// The first table.
        first: String,
        /// Its columns, in words.
        first_columns: String,
        /// The first table with other columns.
        other: String,
        /// Its columns, in words.
        other_columns: String,
    },

    /// A table of which most rows are not rows of numbers.
    #[error(
        "{path} holds no points: {count} of its {rows} rows are not numbers; the first, {name}: {reason}"
    )]
    NotPoints {
        /// The source.
        path: PathBuf,
        /// Rows that are not numbers.
        count: u64,
        /// All rows.
        rows: u64,
        /// The first row that is not one of numbers, as file and line.
        name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A character that the vocabulary of a data set lacks.
    #[error(
        "{character} at byte {offset} is not among the {size} characters of the vocabulary; leave it out or collect with --vocabulary bytes"
    )]
    NotInVocabulary {
        /// The character in quotes with its code point, or the byte that is not UTF-8.
        character: String,
        /// Where it begins in the text, in bytes.
        offset: usize,
        /// How many characters there are.
        size: usize,
    },

    /// The vocabulary of text could not be learned.
    #[error("cannot learn a vocabulary from {path}: {reason}")]
    Vocabulary {
        /// The source.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// A stream was asked for where there are single examples, or the other way round.
    #[error("data set {name} is of kind {found}, where {wanted} is needed; choose another data set")]
    WrongKind {
        /// The name of the data set.
        name: String,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },

    /// An option whose value cannot be used.
    #[error("{option} cannot be {value}: {reason}")]
    BadOption {
        /// The option, as it is written on the command line.
        option: &'static str,
        /// What was given.
        value: String,
        /// What may be given.
        reason: &'static str,
    },

    /// A folder that is not a packed data set.
    #[error("{path} is not a packed data set: it has no dataset.json; make one with `collect`")]
    NotADataset {
        /// The folder.
        path: PathBuf,
    },

    /// A packed data set that is damaged.
    #[error("{path} is damaged: {reason}; collect the data set again")]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The content of a packed data set is not what it was when it was packed.
    #[error(
        "{path} has changed since it was packed: its fingerprint is {found}, not {expected}; collect it again"
    )]
    FingerprintMismatch {
        /// The folder.
        path: PathBuf,
        /// The fingerprint in `dataset.json`.
        expected: String,
        /// The fingerprint of the content.
        found: String,
    },

    /// A split that the data set does not have.
    #[error("data set {name} has no {split} split")]
    NoSplit {
        /// The name of the data set.
        name: String,
        /// The split that was asked for.
        split: Split,
    },
}

impl Error {
    /// Wraps a failed read of `path`; a missing file becomes [`Error::NotFound`].
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path: path.to_owned() },
            _ => Error::Read { path: path.to_owned(), source },
        }
    }

    /// Wraps a failed write to `path`.
    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Error::Write { path: path.to_owned(), source }
    }

    /// A data file at `path` that breaks the rules of its format.
    pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Error::Malformed { path: path.to_owned(), reason: reason.into() }
    }

    /// A packed file at `path` that is damaged.
    pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Error::Corrupt { path: path.to_owned(), reason: reason.into() }
    }
}
