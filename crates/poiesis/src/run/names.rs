//! Names for new files, so that nothing is replaced: `NAME.EXT`, then `NAME-2.EXT`, `NAME-3.EXT`, …

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Returns the first of `NAME.EXT`, `NAME-2.EXT`, … that does not exist in `folder`.
pub fn free(folder: &Path, name: &str, extension: &str) -> PathBuf {
    let mut number = 1;
    loop {
        let path = numbered(folder, name, extension, number);
        if !path.exists() {
            return path;
        }
        number += 1;
    }
}

/// Writes `bytes` to the first of `NAME.EXT`, `NAME-2.EXT`, … that does not exist in `folder`, and returns its path. Of
/// processes that do so at once, each gets a file of its own.
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
                    // The failed write is what the user must hear of.
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
