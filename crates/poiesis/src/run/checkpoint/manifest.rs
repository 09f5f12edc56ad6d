//! `COMPLETE`: the size and checksum of every file of a checkpoint.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;

use poiesis_collect::regular;
use serde::{Deserialize, Serialize};

use super::COMPLETE;
use crate::error::{Error, Result};

/// The content of `COMPLETE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) files: BTreeMap<String, Record>,
}

/// Size and checksum of a file when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) size: u64,
    pub(super) blake3: String,
}

impl Manifest {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(COMPLETE);
        let bytes = match regular::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(folder, "it has no COMPLETE".to_owned()));
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| damaged(folder, format!("COMPLETE cannot be read, {error}")))
    }

    /// Reads one of the files and checks it against its record.
    pub(super) fn verified(&self, folder: &Path, name: &str) -> Result<Vec<u8>> {
        let Some(record) = self.files.get(name) else {
            return Err(damaged(folder, format!("COMPLETE does not list {name}")));
        };
        let path = folder.join(name);
        let file = match regular::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(folder, format!("{name} is missing")));
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        // A file of another length, which may be any, is not read at all.
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        if length != record.size {
            return Err(damaged(folder, format!("{name} has {length} bytes and had {}", record.size)));
        }
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        if blake3::hash(&bytes).to_hex().as_str() != record.blake3 {
            return Err(damaged(folder, format!("the content of {name} has changed")));
        }
        Ok(bytes)
    }
}

pub(super) fn damaged(path: &Path, reason: String) -> Error {
    Error::CheckpointDamaged { path: path.to_owned(), reason, older: None }
}
