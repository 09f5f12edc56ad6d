//! Names in a folder: those that are there, and free ones, so that nothing is replaced: `NAME.EXT`, then `NAME-2.EXT`,
//! `NAME-3.EXT`, … for new files, and `NAME.old-1`, `NAME.old-2`, … for what is set aside.

use std::fs::{self, DirEntry, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Returns the first of `NAME.EXT`, `NAME-2.EXT`, … that does not exist in `folder`.
pub fn free(folder: &Path, name: &str, extension: &str) -> PathBuf {
    first_free(|number| numbered(folder, name, extension, number))
}

/// Returns the first of `NAME.old-1`, `NAME.old-2`, … beside `path` that does not exist, to rename `path` to.
pub(super) fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    first_free(|number| path.with_file_name(format!("{name}.old-{number}")))
}

/// Returns the path of everything directly in `folder`, sorted; nothing when `folder` does not exist.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    let path = |entry: io::Result<DirEntry>| entry.map(|entry| entry.path());
    let mut paths = entries.map(path).collect::<io::Result<Vec<_>>>().map_err(Error::io("read", folder))?;
    paths.sort();
    Ok(paths)
}

/// Writes `bytes` to the first of `NAME.EXT`, `NAME-2.EXT`, … that does not exist in `folder`, and returns its path. Of
/// several processes that do so at once, each gets its own file.
///
/// # Errors
///
/// [`Error::Io`]; a file that was begun is then removed.
pub fn write_free(folder: &Path, name: &str, extension: &str, bytes: &[u8]) -> Result<PathBuf> {
    let mut number = 1;
    loop {
        let path = numbered(folder, name, extension, number);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(bytes).map_err(|error| {
                    // The error of the write is the one to report.
                    let _ = fs::remove_file(&path);
                    Error::io("write", &path)(error)
                })?;
                return Ok(path);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(Error::io("write", &path)(error)),
        }
    }
}

fn first_free(path: impl Fn(u64) -> PathBuf) -> PathBuf {
    let mut number = 1;
    while path(number).exists() {
        number += 1;
    }
    path(number)
}

fn numbered(folder: &Path, name: &str, extension: &str, number: u64) -> PathBuf {
    folder.join(match number {
        1 => format!("{name}.{extension}"),
        number => format!("{name}-{number}.{extension}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let write = |bytes: &[u8]| write_free(folder.path(), "grid", "png", bytes).unwrap();
        assert_eq!(free(folder.path(), "grid", "png"), folder.path().join("grid.png"));
        assert_eq!(write(b"first"), folder.path().join("grid.png"));
        assert_eq!(write(b"second"), folder.path().join("grid-2.png"));
        assert_eq!(free(folder.path(), "grid", "png"), folder.path().join("grid-3.png"));
        assert_eq!(free(folder.path(), "grid", "gif"), folder.path().join("grid.gif"));
        assert_eq!(fs::read(folder.path().join("grid.png")).unwrap(), b"first");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = write_free(Path::new("nowhere"), "a", "json", b"").unwrap_err();
        assert!(error.to_string().contains("a.json"), "{error}");
    }
}
