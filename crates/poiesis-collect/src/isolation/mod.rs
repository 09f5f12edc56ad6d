//! Tables are read in a separate process where the program offers one: a small damaged file can make their library run without end,
//! overflow the stack or take any amount of memory, and only the end of a process stops that.
//!
//! The program calls [`set_reader`] once with a way to start itself, and [`serve`] when it was started in that way. Without that,
//! tables are read in this process.

mod child;
mod wire;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub use child::serve;
pub(crate) use wire::{Reply, Request};

mod parent;
pub(crate) use parent::Child;

/// How to start the process that reads a table: with these arguments, followed by the path of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The program, which calls [`serve`] when it gets these arguments.
    pub program: PathBuf,
    /// The arguments with which it does so.
    pub arguments: Vec<OsString>,
    /// How long it may take for a row before it is ended.
    pub timeout: Duration,
}

impl Reader {
    /// More than any readable table needs for a row.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
}

static READER: Mutex<Option<Reader>> = Mutex::new(None);

/// Sets how tables are read from now on, for the whole process: with `None`, in this process.
pub fn set_reader(reader: Option<Reader>) {
    *READER.lock().unwrap_or_else(PoisonError::into_inner) = reader;
}

pub(crate) fn reader() -> Option<Reader> {
    READER.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
