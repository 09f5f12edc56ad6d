//! Tables are read in a process of their own where the program offers one: their library can be made to run without end, to
//! overflow the stack and to take any amount of memory by a small damaged file, and nothing but the end of a process stops that.
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
pub(crate) use wire::{Request, Told};

mod parent;
pub(crate) use parent::Child;

/// How to start the process that reads a table: with these arguments, followed by the path of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The program, which calls [`serve`] when it gets these arguments.
    pub program: PathBuf,
    /// What tells it to do so.
    pub arguments: Vec<OsString>,
    /// The time without a row after which it is ended.
    pub patience: Duration,
}

impl Reader {
    /// A time without a row that no table takes that can be read.
    pub const PATIENCE: Duration = Duration::from_secs(30);
}

static READER: Mutex<Option<Reader>> = Mutex::new(None);

/// Sets how tables are read from now on, for the whole process: with `None`, in this process.
pub fn set_reader(reader: Option<Reader>) {
    *READER.lock().unwrap_or_else(PoisonError::into_inner) = reader;
}

pub(crate) fn reader() -> Option<Reader> {
    READER.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
