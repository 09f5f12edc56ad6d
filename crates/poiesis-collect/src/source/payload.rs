//! The content of an example on its way from a source to a decoding thread.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::builtin::Builtin;
use crate::experience::Found;
use crate::options::Limits;
use crate::prepare::Pixels;
use crate::regular;

/// The content of an example.
pub(crate) enum Payload {
    /// A file on disk, read by the thread that decodes it.
    File(PathBuf),
    /// A file in memory.
    Encoded(Vec<u8>),
    /// Decoded pixels.
    Pixels(Pixels),
    /// An example that is made by code, by its index.
    Made(Builtin, u64),
    /// Prepared pixels with the box of each object: left, top, width and height as fractions of the sides.
    Scene(Vec<u8>, Vec<[f32; 4]>),
    /// An episode that was read, or part of one.
    Episode(Box<Found>),
    /// Nothing that can be used, and why.
    Refused(String),
}

impl Payload {
    /// Bytes that it holds in memory.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Payload::Encoded(bytes) => bytes.len() as u64,
            Payload::Pixels(pixels) => pixels.bytes.len() as u64,
            Payload::Scene(pixels, _) => pixels.len() as u64,
            Payload::Episode(found) => found.bytes(),
            Payload::File(_) | Payload::Made(..) | Payload::Refused(_) => 0,
        }
    }

    /// Bytes that reading its file takes; none where it is in memory already.
    pub(crate) fn bytes_to_read(&self) -> u64 {
        match self {
            Payload::File(path) => std::fs::metadata(path).map_or(0, |file| file.len()),
            Payload::Encoded(_)
            | Payload::Pixels(_)
            | Payload::Made(..)
            | Payload::Scene(..)
            | Payload::Episode(_)
            | Payload::Refused(_) => 0,
        }
    }

    /// The bytes of its file. The error is a reason for the list of skipped files.
    ///
    /// # Panics
    ///
    /// If it is not a file: pixels and examples made by code have no bytes to decode.
    pub(crate) fn read(self, limits: &Limits) -> Result<Vec<u8>, String> {
        match self {
            Payload::File(path) => read_file(&path, limits),
            Payload::Encoded(bytes) => Ok(bytes),
            Payload::Refused(reason) => Err(reason),
            Payload::Pixels(_) | Payload::Made(..) | Payload::Scene(..) | Payload::Episode(_) => {
                unreachable!("only files are decoded")
            }
        }
    }
}

fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, String> {
    let read = || {
        let file = regular::open(path)?;
        let size = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(size.min(limits.file_bytes) as usize);
        file.take(limits.file_bytes + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e: std::io::Error| regular::reason(&e))?;
    if bytes.len() as u64 > limits.file_bytes {
        return Err(format!("it has more bytes than the limit of {}", limits.file_bytes));
    }
    Ok(bytes)
}
