//! A reader of a tar archive that bounds what its library reads into memory: long names, attributes and lists of blocks.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

/// Bytes that the names and attributes of one file may take in an archive.
const MOST: u64 = 1 << 20;
/// A file ends at a multiple of so many bytes.
const BLOCK: u64 = 512;

/// What may be read until the next file begins.
#[derive(Clone)]
pub(crate) struct Meter(Rc<Cell<u64>>);

impl Meter {
    pub(crate) fn new() -> Meter {
        Meter(Rc::new(Cell::new(MOST)))
    }

    /// A file of so many bytes begins: it may be read or passed over, and what describes the next one.
    pub(crate) fn begin(&self, bytes: u64) {
        self.0.set(bytes.saturating_add(BLOCK + MOST));
    }
}

pub(crate) struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R> Metered<R> {
    pub(crate) fn new(inner: R, meter: &Meter) -> Metered<R> {
        Metered { inner, meter: meter.clone() }
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    fn used(&self, bytes: u64) {
        self.meter.0.set(self.meter.0.get().saturating_sub(bytes));
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.meter.0.get() == 0 {
            let reason = format!("the name and the attributes of a file take more than {MOST} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let read = self.inner.read(buffer)?;
        self.used(read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let SeekFrom::Current(bytes) = to {
            self.used(u64::try_from(bytes).unwrap_or(0));
        }
        self.inner.seek(to)
    }
}
