//! Files that are opened for reading must be regular ones: a FIFO would be waited for without end, and a device such as `/dev/zero`
//! has no end.

use std::fmt;
use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// What is not a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFile {
    /// What it is: `a FIFO`, `a device`, `a socket`, `a folder`.
    pub what: &'static str,
}

impl fmt::Display for NotAFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is {}, not a file", self.what)
    }
}

impl std::error::Error for NotAFile {}

impl NotAFile {
    /// What an error of this module says is there instead of a file; `None` for other errors.
    pub fn of(error: &io::Error) -> Option<NotAFile> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// Opens a regular file for reading; links are followed. Never waits, as opening a FIFO would.
///
/// # Errors
///
/// An error with [`NotAFile`] inside for anything else than a regular file, and whatever the system says.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening some devices does something, so what is there is looked at first.
    check(fs::metadata(path)?.file_type())?;
    let file = open_at_once(path)?;
    // What was looked at may have been replaced meanwhile.
    check(file.metadata()?.file_type())?;
    Ok(file)
}

/// The bytes of a regular file.
///
/// # Errors
///
/// Those of [`open`], and of reading.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a regular file.
///
/// # Errors
///
/// Those of [`open`], and of reading; [`ErrorKind::InvalidData`] for what is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Why a file could not be read, for the list of skipped files.
pub(crate) fn reason(error: &io::Error) -> String {
    match NotAFile::of(error) {
        Some(other) => other.to_string(),
        None => format!("it cannot be read: {error}"),
    }
}

/// What something found in a folder is if it is not a regular file.
pub(crate) fn other(found: FileType) -> Option<NotAFile> {
    (!found.is_file()).then(|| NotAFile { what: name_of(found) })
}

fn check(found: FileType) -> io::Result<()> {
    other(found).map_or(Ok(()), |other| Err(io::Error::new(ErrorKind::InvalidInput, other)))
}

#[cfg(unix)]
fn name_of(found: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    match found {
        found if found.is_dir() => "a folder",
        found if found.is_fifo() => "a FIFO",
        found if found.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn name_of(found: FileType) -> &'static str {
    if found.is_dir() { "a folder" } else { "a device" }
}

#[cfg(unix)]
fn open_at_once(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options().read(true).custom_flags(flags.bits() as i32).open(path)
}

#[cfg(not(unix))]
fn open_at_once(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_links_to_them_are_read() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.txt");
        fs::write(&file, "text").unwrap();
        assert_eq!((read(&file).unwrap(), read_to_string(&file).unwrap()), (b"text".to_vec(), "text".into()));
        let error = read(root.path()).unwrap_err();
        assert_eq!(NotAFile::of(&error), Some(NotAFile { what: "a folder" }));
        assert_eq!(read(&root.path().join("b")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_refused_at_once() {
        let root = tempfile::tempdir().unwrap();
        let (fifo, link) = (root.path().join("fifo"), root.path().join("link"));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let socket = root.path().join("socket");
        let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let said = |path: &Path| open(path).unwrap_err().to_string();
        assert_eq!(said(&fifo), "it is a FIFO, not a file");
        assert_eq!(said(&link), "it is a device, not a file");
        assert_eq!(said(&socket), "it is a socket, not a file");
        // Opened without having been looked at, a FIFO is not waited for either.
        assert!(open_at_once(&fifo).is_ok());
    }
}
