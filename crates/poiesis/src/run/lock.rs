//! The lock that keeps two processes from training in the same run.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};

const LOCK: &str = "lock";

/// How often the lock is tried, and how long after another time: about a second in all.
const ATTEMPTS: u32 = 25;
const PAUSE: Duration = Duration::from_millis(40);

/// The right to train in a run; see [`Run::lock`].
#[derive(Debug)]
pub struct Lock {
    // Closing the file releases the lock.
    file: File,
}

impl Lock {
    /// Whether the lock is still that of the run in `folder`: it is not once the folder is removed, or another one is in its place.
    pub fn is_of(&self, folder: &Path) -> bool {
        let (Ok(held), Ok(there)) = (self.file.metadata(), fs::metadata(folder.join(LOCK))) else {
            return false;
        };
        same_file(&held, &there) && folder.join("run.json").is_file()
    }

    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        // Opening a FIFO would wait without end.
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::Malformed { path, reason: "it is not a file".to_owned() });
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("write", &path))?;
        // A process that only checks whether the run is in use holds the lock for an instant, and so does one that is just being
        // started by a process that has trained in it.
        for attempt in 0..ATTEMPTS {
            match file.try_lock() {
                Ok(()) => return Ok(Self { file }),
                Err(TryLockError::WouldBlock) if attempt + 1 < ATTEMPTS => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
        }
        Err(Error::RunInUse { run: folder.to_owned() })
    }
}

#[cfg(unix)]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Elsewhere a file that is open cannot be replaced.
#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}
