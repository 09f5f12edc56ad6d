//! How errors are made, and told with more of what is known.

use std::io;
use std::path::Path;

use super::{Error, nearest};

impl Error {
    /// Returns a closure for `map_err` that adds what was being done to which path.
    pub fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { path: path.to_owned(), doing, source }
    }

    /// The error for weights that do not fit, of the checkpoint in the folder `path`; any other error as it is.
    pub(crate) fn of_checkpoint(self, path: &Path) -> Self {
        match self {
            Self::WeightsMismatch { model, reason } => {
                Self::CheckpointMismatch { path: path.to_owned(), model, reason }
            }
            other => other,
        }
    }

    /// The error for classes that are missing, with the name of the data; any other error as it is.
    pub(crate) fn of_data(self, name: &str) -> Self {
        match self {
            Self::NoClasses { key, .. } => Self::NoClasses { key, data: Some(name.to_owned()) },
            other => other,
        }
    }

    /// The error for a file of a run that holds what `self` says is wrong.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Io { .. } => self,
            other => Self::Malformed { path: path.to_owned(), reason: other.to_string() },
        }
    }

    /// Returns the error for a value of a configuration key that cannot be used.
    pub fn invalid_value(key: &str, value: &str, reason: &str, remedy: &str) -> Self {
        Self::InvalidValue {
            key: key.into(),
            value: value.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// Returns the error for a name that is not among `known`, with the nearest of them.
    pub fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        Self::UnknownName {
            kind,
            name: name.to_owned(),
            nearest: nearest(name, &known).map(str::to_owned),
            known: known.into_iter().map(str::to_owned).collect(),
        }
    }
}
