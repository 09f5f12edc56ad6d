//! A file on its way: it is written under a name that ends with `.part`, and gets its own when it is whole and right.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// A file on its way, which no other process may write meanwhile.
pub(crate) struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
}

impl Part {
    /// Opens what an earlier call has left under that name, or an empty file; folders that are missing are made.
    pub(crate) fn open(path: &Path) -> Result<Part> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        let file = loop {
            let file = Self::open_once(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: path.to_owned() }),
                // The file system has no locks.
                Err(TryLockError::Error(_)) => break file,
            }
            // The one who had the lock may have renamed the file just now.
            if is_still(&file, path) {
                break file;
            }
        };
        let mut part = Part { path: path.to_owned(), file, hash: Sha256::new(), len: 0 };
        part.read_what_is_there().map_err(Error::io("read", path))?;
        Ok(part)
    }

    fn open_once(path: &Path) -> Result<File> {
        // Opening a FIFO would wait, and a link may lead to a file that is not ours.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "it is there, and is no regular file");
            return Err(Error::Io { path: path.to_owned(), doing: "write", r#source: error });
        }
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false);
        open.open(path).map_err(Error::io("write", path))
    }

    fn read_what_is_there(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = self.file.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.hash.update(&buffer[..read]);
            self.len += read as u64;
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are there.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Removes what is there.
    pub(crate) fn clear(&mut self) -> Result<()> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        cleared.map_err(Error::io("write", &self.path))?;
        (self.hash, self.len) = (Sha256::new(), 0);
        Ok(())
    }

    /// Appends what has come.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(Error::io("write", &self.path))
    }

    /// The sha256 of what is there.
    pub(crate) fn digest(&self) -> String {
        in_hex(self.hash.clone())
    }

    /// Gives the file its name, once it is on the disk. What had that name is replaced.
    pub(crate) fn finish(self, path: &Path) -> Result<()> {
        self.file.sync_all().map_err(Error::io("write", &self.path))?;
        fs::rename(&self.path, path).map_err(Error::io("write", path))?;
        // Where the folder cannot be synced, a power cut may undo the renaming, and the file is fetched again.
        if let Some(folder) = path.parent()
            && let Ok(folder) = File::open(folder)
        {
            let _ = folder.sync_all();
        }
        Ok(())
    }

    /// Removes the file, whole or not.
    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether that path still leads to an open file.
fn is_still(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        (open.dev(), open.ino()) == (there.dev(), there.ino())
    }
    #[cfg(not(unix))]
    {
        open.len() == there.len()
    }
}

/// Removes what is left under that name, unless another process is writing it.
pub(crate) fn sweep(path: &Path) {
    if let Ok(file) = File::open(path)
        && !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    {
        // What cannot be removed does no harm.
        let _ = fs::remove_file(path);
    }
}

/// The sha256 of a file, or `None` where there is none.
pub(crate) fn digest_of(path: &Path) -> Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if read == 0 {
            return Ok(Some(in_hex(hash)));
        }
        hash.update(&buffer[..read]);
    }
}

fn in_hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
