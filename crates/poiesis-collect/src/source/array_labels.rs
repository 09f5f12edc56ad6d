//! Labels that are an array: numbers of any type, one for each example or one 1 among zeros, or text.

use std::io::Read;
use std::path::Path;

use super::array::{Header, read_error};
use super::labels::{Found, Label};
use super::reals::Number;
use crate::error::{Error, Result};
use crate::options::Limits;

/// How one entry of an array of labels is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Number(Number),
    /// Bytes up to the first zeros at the end.
    Bytes(usize),
    /// So many code points of four bytes, likewise.
    Text {
        characters: usize,
        big_endian: bool,
    },
}

impl Entry {
    fn parse(kind: &str) -> Option<Entry> {
        let plain = kind.trim_start_matches(['<', '>', '|', '=']);
        if let Some(length) = plain.strip_prefix('S') {
            return Some(Entry::Bytes(length.parse().ok()?));
        }
        if let Some(length) = plain.strip_prefix('U') {
            return Some(Entry::Text { characters: length.parse().ok()?, big_endian: kind.starts_with('>') });
        }
        Number::parse(kind).map(Entry::Number)
    }

    /// Bytes of an entry.
    fn bytes(self) -> usize {
        match self {
            Entry::Number(number) => number.bytes(),
            Entry::Bytes(length) => length,
            Entry::Text { characters, .. } => characters.saturating_mul(4),
        }
    }

    /// The label in the entries of one example.
    fn label(self, bytes: &[u8]) -> Found {
        match self {
            Entry::Number(Number::Whole(integer)) if bytes.len() == integer.bytes => {
                Label::number(integer.read(bytes))
            }
            Entry::Number(number) => {
                let values: Vec<f64> =
                    bytes.chunks_exact(number.bytes()).map(|bytes| number.read(bytes)).collect();
                Label::list(&values)
            }
            Entry::Bytes(_) => {
                let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                Label::bytes(&bytes[..end])
            }
            Entry::Text { big_endian, .. } => {
                let point = |bytes: &[u8; 4]| match big_endian {
                    true => u32::from_be_bytes(*bytes),
                    false => u32::from_le_bytes(*bytes),
                };
                let points = bytes.as_chunks::<4>().0.iter().map(point);
                let text: Option<String> = points.map(char::from_u32).collect();
                let text = text.ok_or("it is not text")?;
                Label::text(text.trim_end_matches('\0'))
            }
        }
    }
}

/// Reads the labels of so many examples. An array of a type that is none of labels is a reason, not an error.
pub(crate) fn read_labels(
    reader: &mut dyn Read,
    path: &Path,
    examples: usize,
    limits: &Limits,
) -> Result<Result<Vec<Found>, String>> {
    let mut reader = reader;
    let header = Header::read(&mut reader, path)?;
    let (count, each) = match header.shape[..] {
        [n] => (n, 1),
        [n, each] => (n, each),
        _ => (0, 0),
    };
    if count != examples || each == 0 {
        let reason =
            format!("its shape {:?} does not fit the {examples} images of the archive", header.shape);
        return Err(Error::malformed(path, reason));
    }
    let Some(entry) = Entry::parse(&header.kind) else {
        return Ok(Err(format!("are of type {}; numbers and text are read", header.kind)));
    };
    if header.fortran && each > 1 {
        return Ok(Err("are in Fortran order; numpy.ascontiguousarray mends that".to_owned()));
    }
    if each > 1 && !matches!(entry, Entry::Number(_)) {
        return Ok(Err(format!("are {each} texts for each image")));
    }
    let one = entry.bytes().saturating_mul(each);
    let expected = examples.saturating_mul(one) as u64;
    if expected > limits.file_bytes {
        return Err(Error::malformed(path, "it is above the limit of size for one entry"));
    }
    let mut bytes = Vec::new();
    reader.take(expected + 1).read_to_end(&mut bytes).map_err(|e| read_error(path, &e))?;
    if bytes.len() as u64 != expected {
        let reason = format!("its header promises {examples} labels, but it holds another number");
        return Err(Error::malformed(path, reason));
    }
    if one == 0 {
        return Ok(Ok(vec![Ok(None); examples]));
    }
    Ok(Ok(bytes.chunks_exact(one).map(|bytes| entry.label(bytes)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(kind: &str, bytes: &[u8]) -> Found {
        Entry::parse(kind).unwrap().label(bytes)
    }

    fn number(number: u32) -> Found {
        Ok(Some(Label::Number(number)))
    }

    #[test]
    fn labels_of_all_types() {
        assert_eq!(
            [label("<i8", &[7, 0, 0, 0, 0, 0, 0, 0]), label(">u2", &[0, 7])],
            [(); 2].map(|()| number(7))
        );
        assert_eq!([label("|b1", &[1]), label("<f4", &1_f32.to_le_bytes())], [(); 2].map(|()| number(1)));
        assert_eq!(label("<i2", &[0xff, 0xff]), Ok(None));
        // One 1 among zeros, in numbers of three types.
        assert_eq!(label("|u1", &[0, 0, 1, 0]), number(2));
        assert_eq!(label("<f8", &[0.0, 1.0].map(f64::to_le_bytes).concat()), number(1));
        assert!(label("<f4", &[0.3, 0.7].map(f32::to_le_bytes).concat()).unwrap_err().contains("2 values"));
        // Text is filled up with zeros.
        let name = |name: &str| Ok(Some(Label::Name(name.to_owned())));
        assert_eq!(label("|S5", b"cat\0\0"), name("cat"));
        let points = "ca\u{f1}\0".chars().map(u32::from);
        assert_eq!(
            label("<U4", &points.clone().flat_map(u32::to_le_bytes).collect::<Vec<_>>()),
            name("ca\u{f1}")
        );
        assert_eq!(label(">U4", &points.flat_map(u32::to_be_bytes).collect::<Vec<_>>()), name("ca\u{f1}"));
        assert_eq!([label("|S2", b"12"), label("|S2", b"\0\0")], [number(12), Ok(None)]);
        assert_eq!(label("<U1", &[0, 0, 0x11, 0]).unwrap_err(), "it is not text");
        assert!(["|O", "<c8", "<M8[ns]", "U", "|Sx"].iter().all(|kind| Entry::parse(kind).is_none()));
    }
}
