//! Arrays as NumPy saves them: a header, which is one Python dictionary, then the values.

use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// What helps with a damaged file.
pub(crate) const SAVE: &str = "save it again";

/// The header of an array of NumPy, a file `.npy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type of the values as NumPy writes it, `|u1` or `<i8`.
    pub kind: String,
    /// Whether the first axis varies fastest.
    pub fortran: bool,
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// Where the values begin, in bytes.
    pub start: u64,
}

/// The values of an array begin at a multiple of this, in bytes.
const ALIGNMENT: usize = 64;

impl Header {
    /// The header of an array in C order, whose first axis varies slowest.
    pub fn new(kind: &str, shape: &[usize]) -> Header {
        let header = Header { kind: kind.to_owned(), fortran: false, shape: shape.to_vec(), start: 0 };
        let start = header.to_bytes().len() as u64;
        Header { start, ..header }
    }

    /// The header as NumPy writes it, in version 1.0 of its format. The values follow it, one after another in the order of its type.
    ///
    /// # Panics
    ///
    /// When it is longer than the format allows, which takes thousands of axes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Header { kind, fortran, shape, .. } = self;
        let fortran = if *fortran { "True" } else { "False" };
        let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
        // Python writes a tuple of one element with a comma.
        let comma = if shape.len() == 1 { "," } else { "" };
        let sizes = format!("({}{comma})", sizes.join(", "));
        let mut text = format!("{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {sizes}, }}");
        let before = 10;
        let whole = (before + text.len() + 1).next_multiple_of(ALIGNMENT);
        text.push_str(&" ".repeat(whole - before - text.len() - 1));
        text.push('\n');
        let length = u16::try_from(text.len());
        let length =
            length.unwrap_or_else(|_| panic!("an array of {} axes has too long a header", shape.len()));
        [b"\x93NUMPY\x01\x00", length.to_le_bytes().as_slice(), text.as_bytes()].concat()
    }

    /// Reads the header from the beginning of a file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when it ends early or is not the header of an array.
    pub fn read(reader: &mut impl Read, path: &Path) -> Result<Header> {
        let mut read = |count: usize| {
            let mut bytes = vec![0; count];
            reader.read_exact(&mut bytes).map(|()| bytes).map_err(|e| read_error(path, &e))
        };
        let magic = read(8)?;
        let length_bytes = match (&magic[..6], magic[6]) {
            (b"\x93NUMPY", 1) => 2,
            (b"\x93NUMPY", 2 | 3) => 4,
            _ => return Err(Error::malformed(path, "it does not begin like an array of NumPy")),
        };
        let length =
            read(length_bytes)?.iter().rev().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
        if length > 1 << 16 {
            return Err(Error::malformed(path, format!("its header claims to be {length} bytes long")));
        }
        let text = String::from_utf8_lossy(&read(length)?).into_owned();
        let header = parse_header(&text, (8 + length_bytes + length) as u64);
        header.ok_or_else(|| Error::malformed(path, format!("its header cannot be read: {}", text.trim())))
    }
}

/// Reads the one kind of Python dictionary that NumPy writes:
/// `{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), }`.
fn parse_header(text: &str, start: u64) -> Option<Header> {
    let after = |key: &str| {
        let at = text.find(&format!("'{key}'"))? + key.len() + 2;
        text[at..].trim_start().strip_prefix(':').map(str::trim_start)
    };
    let kind = after("descr")?.strip_prefix('\'')?.split_once('\'')?.0.to_owned();
    let fortran = match after("fortran_order")? {
        value if value.starts_with("False") => false,
        value if value.starts_with("True") => true,
        _ => return None,
    };
    let shape = after("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Option<Vec<usize>> = sizes.map(|size| size.parse().ok()).collect();
    Some(Header { kind, fortran, shape: shape?, start })
}

/// An error of reading an array.
pub(crate) fn read_error(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::damaged(path, "it ends early", SAVE),
        _ => Error::damaged(path, error.to_string(), SAVE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_as_numpy_writes_it() {
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), }          \n";
        let header = parse_header(text, 128).unwrap();
        assert_eq!(
            header,
            Header { kind: "|u1".into(), fortran: false, shape: vec![60_000, 28, 28], start: 128 }
        );
        assert_eq!(
            parse_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 0),
            None
        );
    }

    #[test]
    fn a_header_that_was_written_is_read_again() {
        for shape in [vec![], vec![7], vec![60_000, 28, 28, 1], vec![0, 3]] {
            let header = Header::new("<f4", &shape);
            let bytes = header.to_bytes();
            assert_eq!((bytes.len() % ALIGNMENT, header.start), (0, bytes.len() as u64));
            assert_eq!(Header::read(&mut bytes.as_slice(), Path::new("x.npy")).unwrap(), header);
        }
        // The bytes of `numpy.save` for numpy.zeros(5, "u1"), without the values.
        let expected =
            format!("\u{1}\0v\0{:<117}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }");
        assert_eq!(&Header::new("|u1", &[5]).to_bytes()[6..], expected.as_bytes());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_header_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), tail in ".{0,120}") {
            let _ = Header::read(&mut bytes.as_slice(), Path::new("x.npy"));
            let mut close = b"\x93NUMPY\x01\x00\x78\x00".to_vec();
            close.extend(tail.bytes().chain(std::iter::repeat(b' ')).take(120));
            let _ = Header::read(&mut close.as_slice(), Path::new("x.npy"));
        }
    }
}
