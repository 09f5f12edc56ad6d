//! Whole numbers as pixels: how they are stored in an array, and how those that are not of 0 to 255 become so.

use std::io::{self, Read};

/// Largest value of arrays that are scaled although their values would fit: no image of 256 levels is that dark, and arrays of
/// 0 and 1, or of 16 levels, would come out black.
const DARK: i128 = 16;

/// How one whole number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Integer {
    /// From 1 to 8.
    pub(crate) bytes: usize,
    signed: bool,
    big_endian: bool,
}

impl Integer {
    /// Reads the type as NumPy writes it, `|u1` or `<i8`; `None` where it is not one of whole numbers.
    pub(crate) fn parse(kind: &str) -> Option<Integer> {
        let (big_endian, kind) = match kind.strip_prefix('>') {
            Some(kind) => (true, kind),
            None => (false, kind.trim_start_matches(['<', '|', '='])),
        };
        let (signed, bytes) = match kind {
            "b1" => (false, 1),
            "u1" | "u2" | "u4" | "u8" | "i1" | "i2" | "i4" | "i8" => {
                (kind.starts_with('i'), usize::from(kind.as_bytes()[1] - b'0'))
            }
            _ => return None,
        };
        Some(Integer { bytes, signed, big_endian })
    }

    /// The number in so many bytes.
    pub(crate) fn read(self, bytes: &[u8]) -> i128 {
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        let value = if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) };
        let unused = 64 - 8 * self.bytes as u32;
        if self.signed { i128::from(((value << unused) as i64) >> unused) } else { i128::from(value) }
    }
}

/// The smallest and the largest value of arrays that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    range: Option<(i128, i128)>,
}

impl Levels {
    /// Reads an array to its end, or until it is plain that its values are bytes as they should be.
    pub(crate) fn add(&mut self, integer: Integer, reader: &mut dyn Read) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            // A whole number of values of any width.
            (&mut *reader).take(1 << 16).read_to_end(&mut buffer)?;
            for bytes in buffer.chunks_exact(integer.bytes) {
                let value = integer.read(bytes);
                let (low, high) = self.range.unwrap_or((value, value));
                self.range = Some((low.min(value), high.max(value)));
            }
            let bytes_as_they_are = integer == Integer { bytes: 1, signed: false, big_endian: false }
                && self.range.is_some_and(|(_, high)| high > DARK);
            if buffer.is_empty() || bytes_as_they_are {
                return Ok(());
            }
        }
    }

    /// The values that become 0 and 255; `None` where all are from 0 to 255 already.
    fn scale(self) -> Option<(i128, i128)> {
        let (low, high) = self.range?;
        let low = low.min(0);
        if low == 0 && (high == 0 || (DARK + 1..=255).contains(&high)) {
            return None;
        }
        Some((low, high.max(low + 1)))
    }

    /// What to say about values that are scaled.
    pub(crate) fn note(self) -> Option<String> {
        self.scale().map(|(low, high)| format!("values from {low} to {high} are stored as 0 to 255"))
    }

    /// An image as bytes.
    pub(crate) fn pixels(self, integer: Integer, bytes: Vec<u8>) -> Vec<u8> {
        let scale = self.scale();
        if integer.bytes == 1 && scale.is_none() {
            return bytes;
        }
        let (low, high) = scale.unwrap_or((0, 255));
        let range = high - low;
        let pixel = |bytes: &[u8]| {
            let above = integer.read(bytes) - low;
            ((above * 255 + range / 2) / range).clamp(0, 255) as u8
        };
        bytes.chunks_exact(integer.bytes).map(pixel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str) -> Integer {
        Integer::parse(kind).unwrap()
    }

    #[test]
    fn whole_numbers_of_all_widths() {
        assert_eq!(parse("|u1").read(&[0xff]), 255);
        assert_eq!(parse("|i1").read(&[0xff]), -1);
        assert_eq!(parse("<u8").read(&[2, 1, 0, 0, 0, 0, 0, 0]), 258);
        assert_eq!(parse("<u8").read(&[0xff; 8]), i128::from(u64::MAX));
        assert_eq!(parse("<i4").read(&[0xfe, 0xff, 0xff, 0xff]), -2);
        assert_eq!(parse(">i2").read(&[0xff, 0xfe]), -2);
        assert_eq!(parse(">u2").read(&[1, 2]), 258);
        assert_eq!(parse("|b1").read(&[1]), 1);
        assert!(["<f4", "<c8", "|S1", "<u3", "", "u"].iter().all(|kind| Integer::parse(kind).is_none()));
    }

    fn pixels(kind: &str, values: &[u8]) -> (Vec<u8>, Option<String>) {
        let mut levels = Levels::default();
        levels.add(parse(kind), &mut &values[..]).unwrap();
        (levels.pixels(parse(kind), values.to_vec()), levels.note())
    }

    #[test]
    fn values_are_scaled_by_their_range_and_bytes_are_left() {
        let note = |low: i32, high: i32| Some(format!("values from {low} to {high} are stored as 0 to 255"));
        assert_eq!(pixels("|u1", &[0, 1, 1]), (vec![0, 255, 255], note(0, 1)));
        assert_eq!(pixels("|b1", &[1, 0, 1]), (vec![255, 0, 255], note(0, 1)));
        assert_eq!(pixels("|u1", &[0, 8, 16]), (vec![0, 128, 255], note(0, 16)));
        assert_eq!(pixels("|u1", &[0, 17]), (vec![0, 17], None));
        assert_eq!(pixels("|u1", &[0, 0]), (vec![0, 0], None));
        assert_eq!(pixels("<u2", &[0, 0, 255, 0]), (vec![0, 255], None));
        assert_eq!(pixels("<u2", &[0, 0, 0xff, 0x0f, 0, 8]), (vec![0, 255, 128], note(0, 4095)));
        assert_eq!(pixels("|i1", &[0x80, 0, 0x7f]), (vec![0, 128, 255], note(-128, 127)));
        assert_eq!(pixels("|i1", &[0xff; 2]).0, [0, 0], "a range of nothing is no fault");
    }
}
