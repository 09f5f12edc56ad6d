//! The content of a file of a source as a stream, unpacked where it is compressed with gzip.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;

use super::Payload;

impl Payload {
    /// Opens a file on disk or in memory. The error is a reason for the list of skipped files.
    ///
    /// # Panics
    ///
    /// If it is not a file.
    pub(crate) fn open(self) -> Result<Box<dyn BufRead>, String> {
        let reader: Box<dyn Read> = match self {
            Payload::File(path) => Box::new(File::open(path).map_err(|e| format!("it cannot be read: {e}"))?),
            Payload::Encoded(bytes) => Box::new(Cursor::new(bytes)),
            Payload::Refused(reason) => return Err(reason),
            Payload::Pixels(_) | Payload::Made(..) => unreachable!("only files are opened"),
        };
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        let zipped = reader.fill_buf().is_ok_and(|head| head.starts_with(&[0x1f, 0x8b]));
        Ok(match zipped {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader))),
            false => Box::new(reader),
        })
    }
}
