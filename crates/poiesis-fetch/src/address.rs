//! Where a file may be had: on the web, or in a folder of this machine.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::published::{File, Published};

/// A place that has the files of sets, in place of the published addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An address that names of files are appended to; it ends with `/`.
    Web(String),
}

impl Place {
    /// Reads an `https://`, `http://` or `file://` address, or the path of a folder.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`] for another scheme and for a `file://` address with a host.
    pub fn parse(text: &str) -> Result<Place> {
        let bad = |reason: &str| {
            Err(Error::BadOption { option: "from", value: text.to_owned(), reason: reason.to_owned() })
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { bad("it is empty") } else { Ok(Place::Folder(text.into())) };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" if rest.is_empty() || rest.starts_with('/') => bad("it names no host"),
            "http" | "https" => Ok(Place::Web(format!("{}/", text.trim_end_matches('/')))),
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                if path.starts_with('/') {
                    Ok(Place::Folder(unescaped(path).into()))
                } else {
                    bad("the path of a file:// address begins with a third slash")
                }
            }
            _ => bad("there is no such kind of address"),
        }
    }

    /// What has that path in the place.
    fn join(&self, path: &str) -> Address {
        match self {
            Place::Folder(folder) => Address::File(folder.join(path)),
            Place::Web(base) => Address::Web(format!("{base}{path}")),
        }
    }
}

/// A path in which `%20` stands for a space.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where one file may be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Web(String),
    File(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Web(address) => f.write_str(address),
            Address::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An address, and whether the file itself is there or the archive that it is made of.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) address: Address,
    pub(crate) is_archive: bool,
}

/// Where a file of a set is looked for, in this order.
///
/// A place that the user names may be a folder of data sets, in which the file has its own folder, or hold the files themselves, and in
/// the end the archive from which the file is made.
pub(crate) fn candidates(set: &Published, file: &File, from: Option<&Place>) -> Vec<Candidate> {
    let is_archive = file.archive.is_some();
    let Some(place) = from else {
        let mirrors = set.mirrors.iter().map(|mirror| format!("{mirror}{}", file.name));
        let all = mirrors.chain(file.urls.iter().cloned());
        return all.map(|address| Candidate { address: Address::Web(address), is_archive }).collect();
    };
    let own = [format!("{}/{}", set.folder, file.name), file.name.clone()];
    let own = own.map(|path| Candidate { address: place.join(&path), is_archive: false });
    let archive = file
        .archive
        .as_ref()
        .map(|archive| Candidate { address: place.join(&archive.name), is_archive: true });
    own.into_iter().chain(archive).collect()
}

/// The name of a file while it is not whole.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}
