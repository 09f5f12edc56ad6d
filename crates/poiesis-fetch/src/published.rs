//! The published data sets, as `published.toml` lists them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::address::part_of;

/// A published data set: where it is to be had, under which licence, and the files it consists of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Its name.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// The folder of its files, below the folder of data sets.
    pub folder: String,
    /// The page of those who published it.
    pub home: String,
    /// Its licence, as they state it.
    pub licence: String,
    /// What to cite.
    pub cite: String,
    /// What follows `train` in a command that trains on it.
    pub train: String,
    /// Addresses that the name of each file is appended to.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Its files.
    #[serde(rename = "file")]
    pub files: Vec<File>,
}

/// A file of a data set, as it is stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its sha256, in hexadecimal.
    pub sha256: String,
    /// Whole addresses of it, or of the archive that it is made of, tried after the mirrors of the set.
    #[serde(default)]
    pub urls: Vec<String>,
    /// The archive that it is made of, where it is not published by itself.
    #[serde(default)]
    pub archive: Option<Archive>,
}

/// An archive of a whole repository, a tar compressed with gzip, of which some members are kept.
///
/// Hosts make such archives when they are asked for, and promise nothing about their bytes. So what is checked is the tar of the
/// members: sorted by name, with owner, mode and time fixed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Its name.
    pub name: String,
    /// About how many bytes it has.
    pub bytes: u64,
    /// The members that are kept, by their paths below the only folder of the archive; what ends with `/` is a folder.
    pub members: Vec<String>,
}

/// How much of a set is in the folder of data sets, by the names and sizes of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A part, or files of other sizes.
    Partly,
    /// All its files.
    There,
}

/// The published sets.
///
/// # Panics
///
/// If `published.toml`, which is compiled in, is not as it should be.
pub fn published() -> &'static [Published] {
    static SETS: LazyLock<Vec<Published>> = LazyLock::new(|| {
        read(include_str!("published.toml")).unwrap_or_else(|error| panic!("published.toml: {error}"))
    });
    &SETS
}

/// The published set of that name.
pub fn find(name: &str) -> Option<&'static Published> {
    published().iter().find(|set| set.name == name)
}

/// Reads a list of sets, written as `published.toml` is.
///
/// # Errors
///
/// Those of TOML, and of keys that are missing or not known.
pub fn read(text: &str) -> Result<Vec<Published>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        set: Vec<Published>,
    }
    toml::from_str::<List>(text).map(|list| list.set)
}

impl Published {
    /// Where a file of it belongs.
    pub fn path(&self, data_dir: &Path, file: &File) -> PathBuf {
        data_dir.join(&self.folder).join(&file.name)
    }

    /// Bytes of all its files, as they are stored.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes that are transferred for it, about, where nothing of it is there.
    pub fn transferred(&self) -> u64 {
        self.files.iter().map(|file| file.archive.as_ref().map_or(file.bytes, |archive| archive.bytes)).sum()
    }

    /// How much of it is in the folder of data sets. Nothing is read but sizes.
    pub fn state(&self, data_dir: &Path) -> State {
        let size = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|file| file.len());
        let found: Vec<Option<u64>> =
            self.files.iter().map(|file| size(&self.path(data_dir, file))).collect();
        if found.iter().zip(&self.files).all(|(found, file)| *found == Some(file.bytes)) {
            return State::There;
        }
        let parts = self.files.iter().flat_map(|file| self.parts(data_dir, file));
        if found.iter().any(Option::is_some) || parts.into_iter().any(|part| part.exists()) {
            State::Partly
        } else {
            State::Absent
        }
    }

    /// The files in which a file of it is gathered: itself, and the archive that it is made of.
    pub(crate) fn parts(&self, data_dir: &Path, file: &File) -> Vec<PathBuf> {
        let path = self.path(data_dir, file);
        let archive = file.archive.as_ref().map(|archive| part_of(&path.with_file_name(&archive.name)));
        [Some(part_of(&path)), archive].into_iter().flatten().collect()
    }
}
