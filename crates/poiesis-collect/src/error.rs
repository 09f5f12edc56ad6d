//! What can go wrong while collecting or opening a data set. Every message names the file and the reason; its
//! [`hint`](Error::hint) is the remedy, in terms of the fields of [`Options`](crate::Options).

use std::io;
use std::path::{Path, PathBuf};

use crate::regular::NotAFile;
use crate::split::Split;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a user, a file or the machine did wrong. Programming errors (an index out of range) panic instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing exists at the given path.
    #[error("{path} does not exist")]
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

    /// What is to be read is not a regular file: a FIFO, a device, a socket.
    #[error("{path} is {what}, not a file")]
    NotAFile {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },

    /// A file or folder could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The output folder holds something already.
    #[error("{path} exists and is not empty")]
    OutputExists {
        /// The output folder.
        path: PathBuf,
    },

    /// The output folder is empty, but cannot be replaced by the data set: it is a mount point, or in use.
    #[error("{path} cannot be replaced by the data set: {source}")]
    NotReplaceable {
        /// The output folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// Another process is writing the same output folder.
    #[error("another process is writing {path}")]
    Busy {
        /// The output folder.
        path: PathBuf,
    },

    /// Something that has not been made here has the name under which an output folder is written.
    #[error("{path} is in the way: it is not a data set that was being written")]
    NotOurs {
        /// What is in the way.
        path: PathBuf,
    },

    /// A folder or archive without a single file of a known format.
    #[error("{path} holds no image, text, sound or data file")]
    Empty {
        /// The source.
        path: PathBuf,
    },

    /// A file of a format that is not read.
    #[error("{path} is of no known format")]
    UnknownFormat {
        /// The source.
        path: PathBuf,
    },

    /// A file of a known format that is no data set.
    #[error("{path} cannot be used: {reason}")]
    NoDataSet {
        /// The source.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to give instead.
        remedy: String,
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
        /// The field of [`Options`](crate::Options) with which it could be used, if there is one.
        option: Option<String>,
    },

    /// A data file (IDX, CIFAR, npy, parquet, an archive) that is damaged, or whole and of a kind that is not read.
    #[error("{path} {}: {reason}", verdict(remedy))]
    Malformed {
        /// The data file, with the entry inside it where there is one.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// What can be done about it; empty where nothing is known to help.
        remedy: String,
        /// The field of [`Options`](crate::Options) that does it, if there is one.
        option: Option<String>,
    },

    /// The source is a packed data set already.
    #[error("{path} is a packed data set already")]
    AlreadyPacked {
        /// The folder.
        path: PathBuf,
    },

    /// Two images differ in size and no size was asked for.
    #[error(
        "images differ in size: {first} is {}x{}, {other} is {}x{} (width x height)",
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
    #[error("{first} is grey but {other} is in colour")]
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

    /// Two episodes have observations or actions of different sizes.
    #[error("episodes differ: {first} has {first_sizes}, {other} has {other_sizes}")]
    MixedEpisodes {
        /// The first episode.
        first: String,
        /// Its sizes, in words.
        first_sizes: String,
        /// The first episode with other sizes.
        other: String,
        /// Its sizes, in words.
        other_sizes: String,
    },

    /// Actions that may be choices as well as vectors of numbers.
    #[error("it is not clear what the actions in {path} are: {reason}")]
    UnclearActions {
        /// The source.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// An episode that was to be saved and cannot be.
    #[error("episode {episode} cannot be saved in {path}: {reason}")]
    BadEpisode {
        /// The output folder.
        path: PathBuf,
        /// Which one, counted from 0.
        episode: u64,
        /// What is wrong with it.
        reason: String,
    },

    /// There was no episode to save.
    #[error("there are no episodes to save in {path}")]
    NoEpisodes {
        /// The output folder.
        path: PathBuf,
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
    #[error("{character} at byte {offset} is not among the {size} characters of the vocabulary")]
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
    #[error("data set {name} is of kind {found}, where {wanted} is needed")]
    WrongKind {
        /// The name of the data set.
        name: String,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },

    /// An option whose value cannot be used.
    #[error("`{option}` cannot be {value}: {reason}")]
    BadOption {
        /// The field of [`Options`](crate::Options).
        option: &'static str,
        /// What was given.
        value: String,
        /// Why it cannot be used.
        reason: &'static str,
        /// What to give instead.
        remedy: &'static str,
    },

    /// A table of labels that cannot be used.
    #[error("{}{}: {reason}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Labels {
        /// The table.
        path: PathBuf,
        /// The line, from 1, where it is about one.
        line: Option<u64>,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        remedy: String,
    },

    /// A size for a vocabulary that is not learned.
    #[error("`vocabulary_size` cannot be {size}: only a BPE vocabulary has a size to choose")]
    SizeWithoutBpe {
        /// What was given.
        size: u32,
    },

    /// A folder that is not a packed data set.
    #[error("{path} is not a packed data set: it has no dataset.json")]
    NotADataset {
        /// The folder.
        path: PathBuf,
    },

    /// A packed data set that is damaged.
    #[error("{path} is damaged: {reason}")]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The content of a packed data set is not what it was when it was packed.
    #[error("{path} has changed since it was packed: its fingerprint is {found}, not {expected}")]
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
    /// What can be done about it, where something is known to help; one line, without a full stop. Choices are named by the fields
    /// of [`Options`](crate::Options).
    pub fn hint(&self) -> Option<String> {
        let fixed: &str = match self {
            Error::NotFound { .. } => {
                "give a file, a folder, a packed data set or a built-in one: shapes, rings, grid"
            }
            Error::NotAFile { .. } => "write its output to a file and give that",
            Error::Write { source, .. } => {
                let remedy = io_remedy(source.kind()).filter(|_| source.kind() != io::ErrorKind::NotFound);
                return Some(remedy.unwrap_or("choose another output folder").to_owned());
            }
            Error::OutputExists { .. } => "choose another output folder or remove it first",
            Error::NotReplaceable { .. } => "choose a new folder inside it, such as one called data",
            Error::NotOurs { .. } => "move it elsewhere, or choose another output folder",
            Error::Busy { .. } => "wait for it to end or choose another output folder",
            Error::Empty { .. } | Error::UnknownFormat { .. } => {
                return Some(format!("these are read: {}", crate::FORMATS));
            }
            Error::NothingUsable { option, .. } => return option.as_deref().and_then(remedy_of),
            Error::Malformed { remedy, .. } if remedy.is_empty() => return None,
            Error::Malformed { remedy, .. } | Error::NoDataSet { remedy, .. } => remedy,
            Error::AlreadyPacked { .. } => "use it as it is",
            Error::MixedSizes { .. } => "choose one `size` for all",
            Error::MixedChannels { .. } => "choose 3 `channels` to keep the colours or 1 to drop them",
            Error::MixedColumns { .. } => {
                "give all the same columns in the same order, or collect them apart"
            }
            Error::MixedEpisodes { .. } => "collect them apart: a data set is of one environment",
            Error::UnclearActions { .. } => "say whether the `actions` are discrete or continuous",
            Error::NotPoints { .. } => "keep the columns of numbers alone, or collect text as .txt or .jsonl",
            Error::NotInVocabulary { .. } => "leave it out, or collect with the `vocabulary` of bytes",
            Error::WrongKind { .. } => "choose another data set",
            Error::BadOption { remedy, .. } => remedy,
            Error::Labels { remedy, .. } => remedy,
            Error::SizeWithoutBpe { .. } => "choose the `vocabulary` bpe, or leave the size out",
            Error::NotADataset { .. } => "make one with `collect`",
            Error::Corrupt { .. } => "collect the data set again",
            Error::FingerprintMismatch { .. } => "collect it again",
            Error::Read { source, .. } => return io_remedy(source.kind()).map(str::to_owned),
            Error::Vocabulary { .. }
            | Error::NoSplit { .. }
            | Error::BadEpisode { .. }
            | Error::NoEpisodes { .. } => return None,
        };
        Some(fixed.to_owned())
    }

    /// The field of [`Options`](crate::Options) with which it can be mended, if there is one.
    pub fn option(&self) -> Option<&str> {
        match self {
            Error::MixedSizes { .. } => Some("size"),
            Error::MixedChannels { .. } => Some("channels"),
            Error::NotInVocabulary { .. } | Error::SizeWithoutBpe { .. } => Some("vocabulary"),
            Error::BadOption { option, .. } => Some(option),
            Error::Empty { .. } | Error::UnknownFormat { .. } | Error::NoDataSet { .. } => Some("kind"),
            Error::UnclearActions { .. } => Some("actions"),
            Error::NothingUsable { option, .. } | Error::Malformed { option, .. } => option.as_deref(),
            _ => None,
        }
    }

    /// Wraps a failed read of `path`; a missing file becomes [`Error::NotFound`], and what is no file [`Error::NotAFile`].
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        if let Some(NotAFile { what }) = NotAFile::of(&source) {
            return Error::NotAFile { path: path.to_owned(), what };
        }
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
        Self::damaged(path, reason, "")
    }

    /// A data file at `path` that breaks the rules of its format, and what helps.
    pub(crate) fn damaged(path: &Path, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (path, reason, remedy) = (path.to_owned(), reason.into(), remedy.into());
        Error::Malformed { path, reason, remedy, option: None }
    }

    /// A packed file at `path` that is damaged.
    pub(crate) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Error::Corrupt { path: path.to_owned(), reason: reason.into() }
    }
}

/// What is said of a file: that it is damaged where getting it again is the remedy. Any other may be whole.
fn verdict(remedy: &str) -> &'static str {
    if remedy.ends_with(" it again") { "is damaged" } else { "cannot be used" }
}

/// What can be done where the system refused to read or write a file, if something is known to help: one line, without a full stop.
pub fn io_remedy(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::StorageFull => "free some space on that disk, then run the same command again",
        io::ErrorKind::QuotaExceeded => "free some of your quota, then run the same command again",
        io::ErrorKind::FileTooLarge => "raise the limit on file sizes, or choose another disk",
        io::ErrorKind::PermissionDenied => "check the permissions of the folder, or choose another",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder on a disk that can be written",
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::NotADirectory => "choose another path: one of the folders in this one is a file",
        _ => return None,
    })
}

/// What can be done about a skipped file with an option.
pub(crate) fn remedy_of(option: &str) -> Option<String> {
    let remedy = match option {
        "sample_rate" => "bring all to one `sample_rate`",
        "mono" => "mix all to `mono`",
        "max_memory" => "allow more memory with `max_memory`",
        "text_field" => "name it as the `text_field`",
        "columns" => {
            "put a number in place of each text or date (true, false, yes and no will do), or choose the other `columns`"
        }
        _ => return None,
    };
    Some(remedy.to_owned())
}

#[cfg(test)]
mod tests;
