//! The content of a file of a source as a stream, unpacked where it is compressed with gzip, bzip2, xz or zstd.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::{Payload, array_rows};
use crate::regular;

/// The endings of names of compressed files.
const PACKED: [&str; 4] = ["gz", "bz2", "xz", "zst"];
/// The endings that stand for `.tar` and one of those.
const TARS: [&str; 5] = ["tgz", "tbz2", "tbz", "txz", "tzst"];

/// Most memory that unpacking xz may ask for, in KiB: four times what the highest level of `xz` does.
const XZ_MEMORY: u32 = 256 << 10;

/// The name of a compressed file as it was before; `None` if it is not compressed.
pub(crate) fn unpacked_name(name: &str) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    let is = |known: &&str| ending.eq_ignore_ascii_case(known);
    match PACKED.iter().any(is) {
        true => Some(stem.to_owned()),
        false => TARS.iter().any(is).then(|| format!("{stem}.tar")),
    }
}

/// Whether a file name is that of a tar archive, compressed or not.
pub(crate) fn is_tar(name: &str) -> bool {
    unpacked_name(name).unwrap_or_else(|| name.to_owned()).to_ascii_lowercase().ends_with(".tar")
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Packing {
    /// By the first bytes of a file.
    pub(crate) fn of(head: &[u8]) -> Option<Packing> {
        let bzip2 = |head: &[u8]| {
            head.starts_with(b"BZh")
                && head.get(4..10).is_some_and(|block| block == b"\x31\x41\x59\x26\x53\x59")
        };
        match head {
            [0x1f, 0x8b, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
            head if bzip2(head) => Some(Packing::Bzip2),
            _ => None,
        }
    }

    /// What a file of this kind holds. Several files one after another, as parallel programs write them, are read as one.
    pub(crate) fn unpack<'a>(self, reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Packing::Gzip => Box::new(MultiGzDecoder::new(reader)),
            Packing::Bzip2 => Box::new(MultiBzDecoder::new(reader)),
            Packing::Xz => Box::new(XzReader::new_mem_limit(reader, true, XZ_MEMORY)),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
        })
    }
}

impl Payload {
    /// Opens a file on disk or in memory. The error is a reason for the list of skipped files.
    ///
    /// # Panics
    ///
    /// If it is not a file.
    pub(crate) fn open(self) -> Result<Box<dyn BufRead>, String> {
        let reader: Box<dyn Read> = match self {
            Payload::File(path) => Box::new(regular::open(&path).map_err(|e| regular::reason(&e))?),
            Payload::Encoded(bytes) => Box::new(Cursor::new(bytes)),
            Payload::Refused(reason) => return Err(reason),
            Payload::Pixels(_) | Payload::Made(..) | Payload::Scene(..) | Payload::Episode(_) => {
                unreachable!("only files are opened")
            }
        };
        let mut reader = BufReader::with_capacity(1 << 16, reader);
        // What cannot be read shows itself where it is read.
        let packing = reader.fill_buf().ok().and_then(Packing::of);
        let mut reader: Box<dyn BufRead> = match packing {
            Some(packing) => {
                let reader = packing.unpack(reader).map_err(|e| format!("it cannot be unpacked: {e}"))?;
                Box::new(BufReader::with_capacity(1 << 16, reader))
            }
            None => Box::new(reader),
        };
        let is_array = reader.fill_buf().is_ok_and(|head| head.starts_with(array_rows::MAGIC));
        if is_array { array_rows::lines(reader) } else { Ok(reader) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_their_packing() {
        for (name, unpacked) in [
            ("a.txt.gz", Some("a.txt")),
            ("a.b.XZ", Some("a.b")),
            ("a.tbz2", Some("a.tar")),
            ("a.TZST", Some("a.tar")),
            ("a.tar", None),
            ("gz", None),
        ] {
            assert_eq!(unpacked_name(name).as_deref(), unpacked, "{name}");
        }
        assert!(["a.tar", "a.tgz", "A.TAR.XZ", "a.tar.zst"].iter().all(|name| is_tar(name)));
        assert!(["a.zip", "a.gz", "tar"].iter().all(|name| !is_tar(name)));
    }

    #[test]
    fn first_bytes_tell_the_packing() {
        assert_eq!(Packing::of(b"BZh91AY&SY"), Some(Packing::Bzip2));
        assert_eq!(Packing::of(b"\x28\xb5\x2f\xfd"), Some(Packing::Zstd));
        assert!(
            [&b"BZh9 is text"[..], b"\xfd7zXY", b"", b"\x1f"].iter().all(|head| Packing::of(head).is_none())
        );
    }
}
