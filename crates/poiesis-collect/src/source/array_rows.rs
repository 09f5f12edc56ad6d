//! Arrays of NumPy with two axes as tables of points: each row is one.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use super::array::Header;
use super::reals::Number;
use crate::card::Kind;
use crate::error::Error;
use crate::options::Options;
use crate::regular;

/// How every array begins.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";
/// Rows of floating-point numbers of up to so many values are points, and not the pixels of images.
const NARROW: usize = 24;
/// Likewise where they are no square images.
const NOT_SQUARE: usize = 63;

/// Whether the array in `file` is a table of points: where the user says so, or where it cannot be images.
pub(crate) fn is_table(file: &Path, options: &Options) -> bool {
    if options.kind.is_some() || options.shape.is_some() {
        return options.kind == Some(Kind::Points);
    }
    let header =
        regular::open(file).ok().and_then(|file| Header::read(&mut BufReader::new(file), Path::new("")).ok());
    let Some(Header { kind, shape, .. }) = header else { return false };
    let is_real = matches!(Number::parse(&kind), Some(Number::Real(_)));
    let is_narrow = |values: usize| {
        let is_square = values.isqrt().pow(2) == values;
        values <= NARROW || (values <= NOT_SQUARE && !is_square)
    };
    matches!(shape[..], [rows, values] if rows != values && values > 1 && is_narrow(values)) && is_real
}

/// An error about a single file: an array of rows may also be meant as a table, which it can only be by itself.
pub(super) fn or_a_table(error: Error) -> Error {
    match error {
        Error::Malformed { path, reason, remedy, option }
            if option.as_deref() == Some("shape") && has_rows(&path) =>
        {
            let remedy = format!("take it for a table of the `kind` points, or {remedy}");
            Error::Malformed { path, reason, remedy, option }
        }
        other => other,
    }
}

/// Whether a file is an array with two axes.
fn has_rows(file: &Path) -> bool {
    let Ok(opened) = regular::open(file) else { return false };
    Header::read(&mut BufReader::new(opened), file).is_ok_and(|header| header.shape.len() == 2)
}

/// The rows of an array as lines of a table. The error says why it is none.
pub(crate) fn lines(mut reader: Box<dyn BufRead>) -> Result<Box<dyn BufRead>, String> {
    let path = Path::new("the array");
    let header = Header::read(&mut reader, path).map_err(|error| error.to_string())?;
    let [rows, columns] = header.shape[..] else {
        return Err(format!("its shape {:?} is not one of rows and columns", header.shape));
    };
    let Some(number) = Number::parse(&header.kind) else {
        return Err(format!("its values are of type {}, and numbers are read", header.kind));
    };
    if header.fortran {
        reader = Box::new(Cursor::new(transposed(&mut reader, rows, columns, number.bytes())?));
    }
    let lines = Lines { reader, number, columns, left: rows, line: String::new(), given: 0 };
    Ok(Box::new(BufReader::with_capacity(1 << 16, lines)))
}

/// The values of an array whose first axis varies fastest, row by row.
fn transposed(reader: &mut dyn Read, rows: usize, columns: usize, size: usize) -> Result<Vec<u8>, String> {
    let wanted = rows as u128 * columns as u128 * size as u128;
    let mut bytes = Vec::new();
    // What the header claims is not trusted before it is there.
    let limit = u64::try_from(wanted).unwrap_or(u64::MAX);
    reader.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u128 != wanted {
        return Err("it ends early".to_owned());
    }
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (column * rows + row) * size));
    Ok(places.flat_map(|place| bytes[place..place + size].iter().copied()).collect())
}

/// Writes rows as they are asked for.
struct Lines {
    reader: Box<dyn BufRead>,
    number: Number,
    columns: usize,
    /// Rows that have not been read.
    left: usize,
    /// The last row as a line, and how many of its bytes have been given.
    line: String,
    given: usize,
}

impl Lines {
    fn next_line(&mut self) -> io::Result<()> {
        self.line.clear();
        self.given = 0;
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..self.number.bytes()];
        for column in 0..self.columns {
            self.reader.read_exact(bytes).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::other("it ends early"),
                _ => error,
            })?;
            let end = if column + 1 == self.columns { '\n' } else { ',' };
            // Writing to a string cannot fail.
            let _ = write!(self.line, "{:e}{end}", self.number.read(bytes));
        }
        self.left -= 1;
        Ok(())
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.line.len() && self.left > 0 && self.columns > 0 {
            self.next_line()?;
        }
        let left = &self.line.as_bytes()[self.given..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: &Header, values: &[f32]) -> Result<String, String> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let array: Vec<u8> = header.to_bytes().into_iter().chain(bytes).collect();
        let mut text = String::new();
        let read = lines(Box::new(Cursor::new(array)))?.read_to_string(&mut text);
        read.map(|_| text).map_err(|error| error.to_string())
    }

    #[test]
    fn each_row_is_a_line_in_either_order() {
        let header = Header::new("<f4", &[2, 3]);
        let rows = "1e0,-2.5e0,3e0\n4e0,NaN,6e20\n";
        // 6e20 as an f64 has the digits of the f32.
        let shown = rows.replace("6e20", &format!("{:e}", f64::from(6e20_f32)));
        assert_eq!(text(&header, &[1.0, -2.5, 3.0, 4.0, f32::NAN, 6e20]).unwrap(), shown);
        let fortran = Header { fortran: true, ..header.clone() };
        assert_eq!(text(&fortran, &[1.0, 4.0, -2.5, f32::NAN, 3.0, 6e20]).unwrap(), shown);
        assert!(text(&header, &[1.0]).unwrap_err().contains("ends early"));
        assert!(text(&fortran, &[1.0]).unwrap_err().contains("ends early"));
        assert!(text(&Header::new("<f4", &[2, 1, 1]), &[1.0, 2.0]).unwrap_err().contains("rows and columns"));
    }

    #[test]
    fn what_cannot_be_images_is_a_table() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("a.npy");
        let is = |kind: &str, shape: &[usize], options: &Options| {
            std::fs::write(&file, Header::new(kind, shape).to_bytes()).unwrap();
            is_table(&file, options)
        };
        let plain = Options::default();
        for shape in [[2000, 2], [50, 4], [50, 24], [50, 63]] {
            assert!(is("<f4", &shape, &plain) && is("<f8", &shape, &plain), "{shape:?}");
            assert!(!is("|u1", &shape, &plain), "{shape:?}");
        }
        assert!(
            ![[24, 24], [50, 25], [50, 49], [50, 784], [50, 785]]
                .iter()
                .any(|shape| is("<f4", shape, &plain))
        );
        let points = Options { kind: Some(Kind::Points), ..Options::default() };
        assert!(is("|u1", &[50, 784], &points));
        let images = Options { kind: Some(Kind::Images), ..Options::default() };
        let shaped = Options { shape: Some((1, 2, 1)), ..Options::default() };
        assert!(!is("<f4", &[50, 2], &images) && !is("<f4", &[50, 2], &shaped));
    }
}
