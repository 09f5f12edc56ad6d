//! Atomic output: a data set is written into a hidden folder next to its final place and renamed once it is whole.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use crate::error::{Error, Result};

const LOCK_FILE: &str = "lock";

/// The content of the lock, which tells a folder made here from one of the user's.
const MARK: &[u8] = b"poiesis is writing a data set here\n";

/// A folder being written. Dropping it without [`Staging::commit`] removes what was written.
pub(crate) struct Staging {
    out: PathBuf,
    folder: PathBuf,
    lock: Option<File>,
}

impl Staging {
    /// Begins to write `out`. With `wait`, another process that writes the same folder is waited for.
    ///
    /// What a killed process left behind is removed: the lock on it went with the process.
    pub(crate) fn begin(out: &Path, wait: bool) -> Result<Staging> {
        let name = out.file_name().ok_or_else(|| {
            Error::write(
                out,
                io::Error::new(io::ErrorKind::InvalidInput, "it is not the name of a new folder"),
            )
        })?;
        refuse_existing(out)?;
        let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|e| Error::write(parent, e))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".partial");
        let folder = parent.join(hidden);
        let lock = lock_of(&folder)?;
        let path = folder.join(LOCK_FILE);
        if wait {
            lock.lock().map_err(|e| Error::write(&path, e))?;
        } else {
            lock.try_lock().map_err(|e| match e {
                TryLockError::WouldBlock => Error::Busy { path: out.to_owned() },
                TryLockError::Error(e) => Error::write(&path, e),
            })?;
        }
        let staging = Staging { out: out.to_owned(), folder, lock: Some(lock) };
        // Who was waited for may have finished the very folder that was to be written.
        refuse_existing(out)?;
        staging.clear().map_err(|e| Error::write(&staging.folder, e))?;
        Ok(staging)
    }

    /// Where to write.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the finished folder its final name.
    pub(crate) fn commit(mut self) -> Result<()> {
        let finish = || {
            fs::remove_file(self.folder.join(LOCK_FILE))?;
            if self.out.exists() {
                fs::remove_dir(&self.out)?;
            }
            fs::rename(&self.folder, &self.out)?;
            // The new name itself is only safe once the parent folder is.
            let parent = self.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(parent).and_then(|folder| folder.sync_all()).or(Ok(()))
        };
        finish().map_err(|e: io::Error| Error::write(&self.out, e))?;
        self.lock = None;
        Ok(())
    }

    /// Removes everything but the lock.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != LOCK_FILE {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Opens the lock of the hidden folder, which is made if it is not there. A folder, link or file of that name that has not been made
/// here is never touched.
fn lock_of(folder: &Path) -> Result<File> {
    make(folder)?;
    let lock = folder.join(LOCK_FILE);
    let is_own = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir())
        && fs::symlink_metadata(&lock).is_ok_and(|found| found.is_file() && found.len() == MARK.len() as u64)
        && fs::read(&lock).is_ok_and(|content| content == MARK);
    if !is_own {
        return Err(Error::NotOurs { path: folder.to_owned() });
    }
    // For writing, as some systems want for a lock, without changing what is there.
    File::options().read(true).append(true).open(&lock).map_err(|e| Error::write(&lock, e))
}

/// Makes the hidden folder with its lock in it, both at once, unless something of that name is there.
fn make(folder: &Path) -> Result<()> {
    let mut new = folder.as_os_str().to_owned();
    new.push(format!(".{}", process::id()));
    let new = PathBuf::from(new);
    let fail = |e| Error::write(&new, e);
    if fs::symlink_metadata(folder).is_ok() {
        return Ok(());
    }
    fs::create_dir(&new).map_err(fail)?;
    let made = fs::write(new.join(LOCK_FILE), MARK).and_then(|()| fs::rename(&new, folder));
    if let Err(e) = made {
        // Both were made just now.
        let _ = fs::remove_file(new.join(LOCK_FILE));
        let _ = fs::remove_dir(&new);
        // Another process may have been faster.
        if fs::symlink_metadata(folder).is_err() {
            return Err(fail(e));
        }
    }
    Ok(())
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // Nothing more can be done about what cannot be removed; the next run tries again.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// An output folder may exist only when it is empty.
fn refuse_existing(out: &Path) -> Result<()> {
    let empty = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        // Whether a file is in the way, or there is nothing yet.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            out.symlink_metadata().is_err()
        }
        Err(e) => return Err(Error::write(out, e)),
    };
    if empty { Ok(()) } else { Err(Error::OutputExists { path: out.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_folder_leaves_nothing_and_a_committed_one_appears_whole() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("set");
        let staging = Staging::begin(&out, false).unwrap();
        fs::write(staging.folder().join("a"), "a").unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);

        let staging = Staging::begin(&out, false).unwrap();
        fs::write(staging.folder().join("a"), "a").unwrap();
        staging.commit().unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
        assert!(matches!(Staging::begin(&out, false), Err(Error::OutputExists { .. })));
    }

    #[test]
    fn what_is_not_ours_is_never_touched() {
        let root = tempfile::tempdir().unwrap();
        let (out, hidden) = (root.path().join("set"), root.path().join(".set.partial"));
        let mine = root.path().join("mine");
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("thesis.txt"), "years").unwrap();

        let refused =
            || matches!(Staging::begin(&out, false), Err(Error::NotOurs { path }) if path == hidden);
        fs::create_dir(&hidden).unwrap();
        fs::write(hidden.join("notes.txt"), "also mine").unwrap();
        assert!(refused(), "a folder");
        fs::write(hidden.join(LOCK_FILE), "a lock of somebody else").unwrap();
        assert!(refused(), "a folder with a lock");
        assert_eq!(fs::read(hidden.join("notes.txt")).unwrap(), b"also mine");
        fs::remove_dir_all(&hidden).unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&mine, &hidden).unwrap();
            assert!(refused(), "a link to a folder");
            fs::remove_file(&hidden).unwrap();
            let staging = Staging::begin(&out, false).unwrap();
            fs::remove_file(hidden.join(LOCK_FILE)).unwrap();
            drop(staging);
            fs::create_dir(&hidden).unwrap();
            fs::write(mine.join("lock"), MARK).unwrap();
            std::os::unix::fs::symlink(mine.join("lock"), hidden.join(LOCK_FILE)).unwrap();
            assert!(refused(), "a lock that is a link");
        }
        assert_eq!(fs::read(mine.join("thesis.txt")).unwrap(), b"years");
    }

    #[test]
    fn two_writers_of_one_folder_are_told_apart_and_leftovers_are_cleared() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("set");
        let first = Staging::begin(&out, false).unwrap();
        assert!(matches!(Staging::begin(&out, false), Err(Error::Busy { .. })));
        let folder = first.folder().to_owned();
        drop(first);
        // A killed process leaves its files but not its lock.
        fs::create_dir_all(folder.join("inner")).unwrap();
        fs::write(folder.join(LOCK_FILE), MARK).unwrap();
        fs::write(folder.join("train-00000.safetensors"), "half").unwrap();
        let second = Staging::begin(&out, false).unwrap();
        assert_eq!(fs::read_dir(second.folder()).unwrap().count(), 1);
    }
}
