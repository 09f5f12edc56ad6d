//! Files that appear whole: written under a temporary name in the same folder, synced, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Writes `bytes` to `path` so that a reader, or the next process after a kill, sees the old file or the new one.
///
/// # Errors
/// [`Error::Io`] naming `path`; what was there before is untouched.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.commit()
}

/// Like [`write`], in a folder that must exist: a run that was moved or removed does not come back with a single file.
///
/// # Errors
/// [`Error::Io`] naming `path`.
pub fn write_in_folder(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create_in_folder(path)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.commit()
}

/// Finds out whether a file can be written at `path`, before the work of which it will be the result. Nothing is left: of folders that
/// do not exist yet, the one in which the first would be made must be writable.
///
/// # Errors
/// [`Error::Io`] naming `path` or its folder.
pub fn expect_writable(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Error::io("write", path)(io::ErrorKind::IsADirectory.into()));
    }
    let mut folder = path.parent().unwrap_or(path);
    while !folder.exists()
        && let Some(parent) = folder.parent()
    {
        folder = parent;
    }
    AtomicFile::create(&folder.join(path.file_name().unwrap_or_default())).map(drop)
}

/// Removes the temporary files that killed processes have left in `folder`. Only the process that writes there may call it.
///
/// # Errors
/// [`Error::Io`].
pub fn sweep(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        if is_file && is_temporary(&name) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a name is `.NAME.PROCESS-COUNT.tmp`.
pub(crate) fn is_temporary(name: &str) -> bool {
    let numbers = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")).and_then(|name| {
        let (_, numbers) = name.rsplit_once('.')?;
        numbers.split_once('-')
    });
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(process, count)| digits(process) && digits(count))
}

/// A file being written. It gets its name on [`AtomicFile::commit`], and is removed when it is dropped before that.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
}

impl AtomicFile {
    /// Opens an empty temporary file in the folder of `target`, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be made or written.
    pub fn create(target: &Path) -> Result<Self> {
        let folder = folder_of(target);
        fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        Self::create_in_folder(target)
    }

    /// Opens an empty temporary file in the folder of `target`, which must exist.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder is not there or cannot be written.
    pub fn create_in_folder(target: &Path) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = folder_of(target);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let temporary = folder.join(format!(".{name}.{}-{count}.tmp", process::id()));
            // Never something that is there: it may be a link to a file that is not ours.
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok(Self { target: target.to_owned(), temporary, file: Some(file) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("write", target)(error)),
            }
        }
    }

    /// Syncs the file to the disk and gives it its name, replacing what was there.
    ///
    /// # Errors
    /// [`Error::Io`] naming the target, which is then as it was before.
    pub fn commit(mut self) -> Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(Error::io("write", &self.target))?;
        }
        fs::rename(&self.temporary, &self.target).map_err(Error::io("write", &self.target))?;
        self.temporary.clear();
        sync_folder(folder_of(&self.target))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), File::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            self.file = None;
            // If the temporary file cannot be removed, nothing more can be done.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Syncs `folder`, so that files made, renamed or removed in it stay so after a power cut, where the system supports it.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync", folder))?;
    }
    Ok(())
}

/// The parent folder of a path; the current one for a bare file name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_gone_does_not_come_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run/run.json");
        assert!(matches!(write_in_folder(&path, b"{}"), Err(Error::Io { .. })));
        assert!(!root.path().join("run").exists());
        write(&path, b"{}").unwrap();
        write_in_folder(&path, b"[]").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"[]");
    }

    #[test]
    fn a_file_has_its_name_only_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/run.json");
        write(&path, b"old").unwrap();

        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "the temporary file is gone");

        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/grid.png");
        expect_writable(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "old").unwrap();
        expect_writable(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let refused = |path: &Path| expect_writable(path).unwrap_err().to_string();
        assert!(refused(folder.path()).contains("directory"));
        assert!(refused(&path.join("grid.png")).contains("grid.png"));
        if cfg!(target_os = "linux") {
            assert!(refused(Path::new("/proc/grid.png")).starts_with("cannot write /proc/grid.png"));
        }
    }

    #[test]
    fn what_a_kill_left_is_swept_away_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let names = [".run.json.17-0.tmp", "run.json", ".hidden", "notes.tmp", ".mine.tmp"];
        names.iter().for_each(|name| fs::write(folder.path().join(name), "").unwrap());
        fs::create_dir(folder.path().join(".folder.1-2.tmp")).unwrap();
        sweep(folder.path()).unwrap();
        let left = |name: &&str| folder.path().join(name).exists();
        assert_eq!(names.iter().filter(|name| left(name)).count(), 4);
        assert!(folder.path().join(".folder.1-2.tmp").exists());
        assert!(!folder.path().join(names[0]).exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, path) = (folder.path().join("mine"), folder.path().join("run.json"));
        fs::write(&mine, "years").unwrap();
        // Whatever other tests count meanwhile, one of these names is next.
        for count in 0..2000 {
            let name = format!(".run.json.{}-{count}.tmp", process::id());
            std::os::unix::fs::symlink(&mine, folder.path().join(name)).unwrap();
        }
        write(&path, b"new").unwrap();
        assert_eq!(
            [fs::read(&mine).unwrap(), fs::read(&path).unwrap()],
            [b"years".to_vec(), b"new".to_vec()]
        );
    }

    #[test]
    fn a_file_in_the_way_of_a_folder_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runs");
        fs::write(&file, "").unwrap();
        let message = write(&file.join("a.json"), b"").unwrap_err().to_string();
        assert!(message.contains(file.to_str().unwrap()), "{message}");
    }
}
