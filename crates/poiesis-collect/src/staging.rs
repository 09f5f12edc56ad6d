//! Atomic output: a data set is written into a hidden folder next to its final place and renamed once it is whole.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory, NotFound};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};

/// The file that is locked as long as the folder is written.
pub(crate) const LOCK_FILE: &str = "lock";

/// The content of the lock, which tells a folder made here from one of the user's.
pub(crate) const MARK: &[u8] = b"poiesis is writing a data set here\n";

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
        let out = &behind_link(out);
        out.file_name().ok_or_else(|| {
            Error::write(
                out,
                io::Error::new(io::ErrorKind::InvalidInput, "it is not the name of a new folder"),
            )
        })?;
        let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|e| Error::write(parent, e))?;
        let folder = hidden(out);
        let path = folder.join(LOCK_FILE);
        expect_replaceable(out, &folder)?;
        loop {
            refuse_existing(out)?;
            make(&folder)?;
            let Some(lock) = open_lock(&folder)? else { continue };
            if wait {
                lock.lock().map_err(|e| Error::write(&path, e))?;
            } else {
                lock.try_lock().map_err(|e| match e {
                    TryLockError::WouldBlock => Error::Busy { path: out.to_owned() },
                    TryLockError::Error(e) => Error::write(&path, e),
                })?;
            }
            // The process that held the lock may have renamed or removed the folder in the meantime.
            if is_at(&lock, &path) {
                let staging = Staging { out: out.to_owned(), folder, lock: Some(lock) };
                refuse_existing(out)?;
                staging.clear().map_err(|e| Error::write(&staging.folder, e))?;
                return Ok(staging);
            }
        }
    }

    /// Where to write.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the finished folder its final name.
    pub(crate) fn commit(mut self) -> Result<()> {
        let finish = || {
            if self.out.exists() {
                fs::remove_dir(&self.out)?;
            }
            // The lock goes last: a hidden folder always has one.
            fs::rename(&self.folder, &self.out)?;
            fs::remove_file(self.out.join(LOCK_FILE))?;
            // The new name itself is only safe once the parent folder is.
            let parent = self.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(parent).and_then(|folder| folder.sync_all()).or(Ok(()))
        };
        finish().map_err(|e: io::Error| Error::write(&self.out, e))?;
        self.lock = None;
        Ok(())
    }

    /// Removes what was written, to begin again.
    pub(crate) fn begin_again(&self) -> Result<()> {
        self.clear().map_err(|e| Error::write(&self.folder, e))
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

/// The hidden folder in which `out` is written.
pub(crate) fn hidden(out: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(out.file_name().unwrap_or_default());
    name.push(".partial");
    out.with_file_name(name)
}

/// How long a new folder is left alone: the process that made it may be about to lock it.
const NEW: Duration = Duration::from_secs(10);

/// Whether a process is writing the hidden folder `folder`; `None` if it was not made here.
pub(crate) fn is_being_written(folder: &Path) -> Option<bool> {
    let lock = open_lock(folder).ok()??;
    let age = lock.metadata().and_then(|found| found.modified()).ok().and_then(|made| made.elapsed().ok());
    let is_new = age.is_none_or(|age| age < NEW);
    Some(is_new || matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Makes the hidden folder with its lock in it, in one step, if there is nothing of that name or an empty folder.
fn make(folder: &Path) -> Result<()> {
    let is_taken = match fs::symlink_metadata(folder) {
        Ok(found) => {
            !found.is_dir() || fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
        }
        Err(_) => false,
    };
    if is_taken {
        return Ok(());
    }
    let new = unused(folder);
    let fail = |e| Error::write(folder.parent().unwrap_or(folder), e);
    fs::create_dir(&new).map_err(fail)?;
    let made = fs::write(new.join(LOCK_FILE), MARK).and_then(|()| fs::rename(&new, folder));
    if made.is_err() {
        // This folder was made just now, by this process.
        let _ = fs::remove_dir_all(&new);
    }
    match made {
        // Another process was faster.
        Err(e) if matches!(e.kind(), DirectoryNotEmpty | AlreadyExists | NotADirectory) => Ok(()),
        made => made.map_err(fail),
    }
}

/// A name next to the hidden folder that no other process uses.
fn unused(folder: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = folder.as_os_str().to_owned();
        name.push(format!(".{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        if fs::symlink_metadata(&name).is_err() {
            return name.into();
        }
    }
}

/// Opens the lock of the hidden folder; `None` if another process has removed it. A folder, link or file of that name that was not
/// made here is an error, and is not touched.
fn open_lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join(LOCK_FILE);
    let not_ours = || Error::NotOurs { path: folder.to_owned() };
    let Ok(found) = fs::symlink_metadata(folder) else { return Ok(None) };
    let is_lock = |lock: fs::Metadata| lock.is_file() && lock.len() == MARK.len() as u64;
    if !found.is_dir() || !fs::symlink_metadata(&path).is_ok_and(is_lock) {
        // A folder of ours has its lock as long as it has its name.
        let is_unchanged = fs::symlink_metadata(folder).is_ok_and(|now| same_file(&found, &now));
        return if is_unchanged { Err(not_ours()) } else { Ok(None) };
    }
    // For writing, which some systems require for a lock, without changing the content.
    let mut file = match File::options().read(true).append(true).open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == NotFound => return Ok(None),
        Err(e) => return Err(Error::write(&path, e)),
    };
    let mut content = Vec::new();
    file.read_to_end(&mut content).map_err(|e| Error::write(&path, e))?;
    if content == MARK { Ok(Some(file)) } else { Err(not_ours()) }
}

/// Whether an open file is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(found)) => same_file(&file, &found),
        _ => false,
    }
}

#[cfg(unix)]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_file(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // Nothing more can be done about what cannot be removed; the next run tries again. The folder is renamed before its lock
            // is removed, so that a hidden folder always has one.
            let removed = unused(&self.folder);
            let _ = self.clear();
            let _ = fs::rename(&self.folder, &removed).and_then(|()| fs::remove_dir_all(&removed));
        }
    }
}

/// The folder that a link leads to; any other path as it is. The data set is then made next to it, on the same disk.
fn behind_link(out: &Path) -> PathBuf {
    let is_link = fs::symlink_metadata(out).is_ok_and(|found| found.is_symlink());
    if is_link { out.canonicalize().unwrap_or_else(|_| out.to_owned()) } else { out.to_owned() }
}

/// Whether the finished folder will be able to take the place of an empty one is found out before the work, by giving that one
/// another name for a moment.
fn expect_replaceable(out: &Path, hidden: &Path) -> Result<()> {
    if !fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none()) {
        return Ok(());
    }
    let elsewhere = unused(hidden);
    let moved = fs::rename(out, &elsewhere).and_then(|()| fs::rename(&elsewhere, out));
    match moved {
        // Another process has done its work meanwhile.
        Err(e) if e.kind() == NotFound => Ok(()),
        moved => moved.map_err(|source| Error::NotReplaceable { path: out.to_owned(), source }),
    }
}

/// An output folder may exist only when it is empty.
fn refuse_existing(out: &Path) -> Result<()> {
    let empty = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        // Whether a file is in the way, or there is nothing yet.
        Err(e) if matches!(e.kind(), NotFound | NotADirectory) => out.symlink_metadata().is_err(),
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

    #[cfg(unix)]
    #[test]
    fn behind_a_link_to_an_empty_folder_the_data_set_takes_its_place() {
        let (root, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (out, real) = (root.path().join("set"), disk.path().join("real"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &out).unwrap();
        let staging = Staging::begin(&out, false).unwrap();
        assert_eq!(staging.folder().parent(), disk.path().canonicalize().ok().as_deref());
        fs::write(staging.folder().join("a"), "a").unwrap();
        staging.commit().unwrap();
        assert_eq!(fs::read(out.join("a")).unwrap(), b"a");
        assert!(out.is_symlink() && fs::read_dir(root.path()).unwrap().count() == 1);
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
        assert!(matches!(Staging::begin(&out, false), Err(Error::OutputExists { .. })));
        // A folder that other things are in is not replaced, and one that leads nowhere neither.
        fs::remove_dir_all(&real).unwrap();
        assert!(matches!(Staging::begin(&out, false), Err(Error::OutputExists { .. })));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_mount_point_is_refused_before_the_work() {
        // Tests cannot make one; most machines have an empty one.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        for place in places.filter(|place| place.file_name().is_some()) {
            if fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none()) {
                let error = Staging::begin(place, false).err().unwrap();
                assert!(matches!(error, Error::NotReplaceable { .. } | Error::Write { .. }), "{error}");
            }
        }
        let error = Staging::begin(Path::new("/proc/set"), false).err().unwrap();
        assert!(error.to_string().starts_with("cannot write /proc:"), "{error}");
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

    #[test]
    fn of_many_writers_that_wait_one_writes_and_the_others_find_it_done() {
        let root = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let out = root.path().join(format!("set{round}"));
            let write = |gives_up: bool| match Staging::begin(&out, true) {
                Ok(staging) if gives_up => drop(staging),
                Ok(staging) => {
                    fs::write(staging.folder().join("a"), "a").unwrap();
                    staging.commit().unwrap();
                }
                Err(Error::OutputExists { .. }) => {}
                Err(error) => panic!("{error}"),
            };
            std::thread::scope(|scope| {
                (0..8).for_each(|i| _ = scope.spawn(move || write(i < 4)));
            });
            assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
            assert!(!root.path().join(format!(".set{round}.partial")).exists());
        }
        let hidden = |name: &str| name.starts_with('.');
        let names = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.into_iter().any(|name| hidden(&name.to_string_lossy())), "nothing is left behind");
    }
}
