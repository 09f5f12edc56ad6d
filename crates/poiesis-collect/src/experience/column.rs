//! One array of NumPy, read row by row: a file `.npy`, or such a file in an archive `.npz`. Whatever its header claims, no more than a
//! row is held in memory.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::assemble::Numbers;
use crate::error::{Error, Result};
use crate::regular;
use crate::source::{ArrayHeader, Number, SAVE, read_error};

/// Most numbers of a row.
const MOST_NUMBERS: u64 = 1 << 16;

/// Where an array lies.
#[derive(Clone, Debug)]
pub(super) enum Place {
    File(PathBuf),
    /// An archive and the name of the array in it, without `.npy`.
    Member(PathBuf, String),
}

impl Place {
    /// How the array is called in messages.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Place::File(path) => path.clone(),
            Place::Member(archive, name) => archive.join(format!("{name}.npy")),
        }
    }

    /// Opens it and checks that its header is true of it.
    pub(super) fn open(&self) -> Result<Array> {
        let path = self.path();
        let (mut reader, size) = match self {
            Place::File(path) => open_file(path)?,
            Place::Member(archive, name) => open_member(archive, name)?,
        };
        let header = ArrayHeader::read(&mut reader, &path)?;
        let save = |reason: String, remedy: &str| Err(Error::damaged(&path, reason, remedy));
        let Some(number) = Number::parse(&header.kind) else {
            return save(format!("its values are of type {}", header.kind), "save them as numbers");
        };
        if header.fortran && header.shape.len() > 1 {
            let reason = "its values are in Fortran order".to_owned();
            return save(reason, "save it with numpy.ascontiguousarray");
        }
        let values = header.shape.iter().try_fold(1_u64, |n, &length| n.checked_mul(length as u64));
        let found = size.saturating_sub(header.start);
        let expected = values.and_then(|values| values.checked_mul(number.bytes() as u64));
        if expected != Some(found) {
            let shape = &header.shape;
            return save(
                format!("its header promises an array of {shape:?}, but it holds {found} bytes"),
                SAVE,
            );
        }
        Ok(Array { path, reader, number, kind: header.kind, shape: header.shape })
    }
}

/// An array of which the values are read next.
pub(super) struct Array {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    number: Number,
    kind: String,
    pub(super) shape: Vec<usize>,
}

impl Array {
    /// How many rows there are along the first `axes` axes; all values of it fit in a file, so this does not overflow.
    pub(super) fn rows_along(&self, axes: usize) -> u64 {
        self.shape.iter().take(axes).map(|&length| length as u64).product()
    }

    /// Whether its type has whole numbers only.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.number, Number::Whole(_))
    }

    /// Reads it as rows, each of the numbers along all axes but the first `axes`.
    pub(super) fn rows(self, axes: usize) -> Result<Column> {
        let width = self.shape[axes..].iter().try_fold(1_u64, |n, &length| n.checked_mul(length as u64));
        let Some(width) = width.filter(|width| (1..=MOST_NUMBERS).contains(width)) else {
            return Err(self.wrong(format!("rows of 1 to {MOST_NUMBERS} numbers are read")));
        };
        let rows = self.rows_along(axes);
        let wide = matches!(self.number, Number::Real(_)) && self.number.bytes() == 8;
        let Array { path, reader, number, .. } = self;
        let bytes = vec![0; width as usize * number.bytes()];
        Ok(Column { path, reader, number, wide, bytes, rows })
    }

    /// An error of its shape.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> Error {
        let reason: String = reason.into();
        Error::malformed(
            &self.path,
            format!("it is an array of {:?} of type {}; {reason}", self.shape, self.kind),
        )
    }
}

/// The rows of an array, read from first to last.
pub(super) struct Column {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    number: Number,
    wide: bool,
    /// One row as it is stored.
    bytes: Vec<u8>,
    /// How many there are.
    pub(super) rows: u64,
}

impl Column {
    /// Whether its type has more digits than an f32.
    pub(super) fn is_wide(&self) -> bool {
        self.wide
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Numbers> {
        self.reader.read_exact(&mut self.bytes).map_err(|e| read_error(&self.path, &e))?;
        let values = self.bytes.chunks_exact(self.number.bytes()).map(|bytes| self.number.read(bytes));
        let whole = matches!(self.number, Number::Whole(_));
        Ok(Numbers { values: values.collect(), whole, wide: self.wide })
    }

    /// The same, where each row is one number.
    pub(super) fn single(self) -> Result<Column> {
        match self.bytes.len() / self.number.bytes() {
            1 => Ok(self),
            width => Err(self.wrong(format!("it has {width} numbers for each action, and not one"))),
        }
    }

    /// An error of its content.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::malformed(&self.path, reason)
    }

    /// The first number of the next row.
    pub(super) fn next_number(&mut self) -> Result<f64> {
        Ok(self.next()?.values[0])
    }

    /// Reads on to the end, so that an archive checks its sum over everything.
    pub(super) fn finish(mut self) -> Result<()> {
        io::copy(&mut self.reader, &mut io::sink()).map_err(|e| read_error(&self.path, &e))?;
        Ok(())
    }
}

/// The names of the arrays in an archive, without `.npy`.
pub(super) fn members(archive: &Path) -> Result<Vec<String>> {
    let opened = open_archive(archive)?;
    let names = opened.file_names_raw();
    Ok(names
        .filter_map(|name| String::from_utf8_lossy(name).strip_suffix(".npy").map(str::to_owned))
        .collect())
}

fn open_file(path: &Path) -> Result<(Box<dyn Read + Send>, u64)> {
    let file = regular::open(path).map_err(|e| Error::read(path, e))?;
    let size = file.metadata().map_err(|e| Error::read(path, e))?.len();
    Ok((Box::new(BufReader::with_capacity(1 << 17, file)), size))
}

fn open_archive(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let file = regular::open(path).map_err(|e| Error::read(path, e))?;
    ZipArchive::new(BufReader::new(file)).map_err(|e| Error::damaged(path, e.to_string(), SAVE))
}

/// Several arrays of an archive are read at a time, so each has a file of its own.
fn open_member(path: &Path, name: &str) -> Result<(Box<dyn Read + Send>, u64)> {
    let fail = |reason: String| Error::damaged(path, format!("{name}: {reason}"), SAVE);
    let mut archive = open_archive(path)?;
    let entry = archive.by_name(&format!("{name}.npy")).map_err(|e| fail(e.to_string()))?;
    let (size, packed, crc) = (entry.size(), entry.compressed_size(), entry.crc32());
    let method = entry.compression();
    let start = entry.data_start().ok_or_else(|| fail("it has no beginning".to_owned()))?;
    drop(entry);
    let mut file = archive.into_inner();
    file.seek(SeekFrom::Start(start)).map_err(|e| Error::read(path, e))?;
    let stored = file.take(packed);
    let inner: Box<dyn Read + Send> = match method {
        CompressionMethod::Stored => Box::new(stored),
        CompressionMethod::Deflated => Box::new(DeflateDecoder::new(stored)),
        other => {
            let reason = format!("{name} is compressed by {other}");
            return Err(Error::damaged(path, reason, "save it with numpy.savez_compressed"));
        }
    };
    let checked = Checked { inner: inner.take(size), crc: Crc::new(), expected: crc };
    Ok((Box::new(BufReader::with_capacity(1 << 17, checked)), size))
}

/// Compares the sum over all that was read with that of the archive.
struct Checked<R> {
    inner: R,
    crc: Crc,
    expected: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.crc.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() && self.crc.sum() != self.expected {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its checksum is not that of its content",
            ));
        }
        Ok(read)
    }
}
