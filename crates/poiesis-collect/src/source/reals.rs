//! Floating-point numbers as pixels: how they are stored in an array, and which range is meant by them.

use std::io::{self, Read};

use super::levels::{Integer, Levels};

/// Largest value of arrays that are not of 0 to 255: no image of 256 levels is that dark.
const DARK: f64 = 16.0;

/// How one floating-point number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Real {
    /// 2, 4 or 8.
    bytes: usize,
    big_endian: bool,
}

impl Real {
    /// Reads the type as NumPy writes it, `<f4`; `None` where it is not a floating-point one.
    fn parse(kind: &str) -> Option<Real> {
        let (big_endian, kind) = match kind.strip_prefix('>') {
            Some(kind) => (true, kind),
            None => (false, kind.trim_start_matches(['<', '|', '='])),
        };
        let bytes = match kind {
            "f2" => 2,
            "f4" => 4,
            "f8" => 8,
            _ => return None,
        };
        Some(Real { bytes, big_endian })
    }

    fn read(self, bytes: &[u8]) -> f64 {
        let add = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        let bits = if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) };
        match self.bytes {
            2 => half(bits as u16),
            4 => f64::from(f32::from_bits(bits as u32)),
            _ => f64::from_bits(bits),
        }
    }
}

/// A number of 16 bits: a sign, five bits of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
    let size = match exponent {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Floating-point numbers of four bytes, the lowest first.
pub(crate) const F32: Number = Number::Real(Real { bytes: 4, big_endian: false });

/// How one number is stored, of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Whole(Integer),
    Real(Real),
}

impl Number {
    /// Reads the type as NumPy writes it; `None` where it is not one of numbers.
    pub(crate) fn parse(kind: &str) -> Option<Number> {
        Integer::parse(kind).map(Number::Whole).or_else(|| Real::parse(kind).map(Number::Real))
    }

    /// Bytes of one number, from 1 to 8.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Number::Whole(integer) => integer.bytes,
            Number::Real(real) => real.bytes,
        }
    }

    /// The number in so many bytes. Whole numbers beyond 2^53 are rounded.
    pub(crate) fn read(self, bytes: &[u8]) -> f64 {
        match self {
            Number::Whole(integer) => integer.read(bytes) as f64,
            Number::Real(real) => real.read(bytes),
        }
    }
}

/// The smallest and the largest value of arrays that belong together; whole numbers and others have ranges of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ranges {
    levels: Levels,
    /// Of the finite values.
    reals: Option<(f64, f64)>,
}

impl Ranges {
    /// Reads an array as far as it takes to know its range.
    pub(crate) fn add(&mut self, number: Number, reader: &mut dyn Read) -> io::Result<()> {
        let real = match number {
            Number::Whole(integer) => return self.levels.add(integer, reader),
            Number::Real(real) => real,
        };
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            // A whole number of values of any width.
            (&mut *reader).take(1 << 16).read_to_end(&mut buffer)?;
            if buffer.is_empty() {
                return Ok(());
            }
            let values = buffer.chunks_exact(real.bytes).map(|bytes| real.read(bytes));
            for value in values.filter(|value| value.is_finite()) {
                let (low, high) = self.reals.unwrap_or((value, value));
                self.reals = Some((low.min(value), high.max(value)));
            }
        }
    }

    /// The values that become 0 and 255.
    fn meant(self) -> (f64, f64) {
        match self.reals {
            None => (0.0, 1.0),
            Some((low, high)) if low >= 0.0 && high <= 1.0 => (0.0, 1.0),
            Some((low, high)) if low >= -1.0 && high <= 1.0 => (-1.0, 1.0),
            Some((low, high)) if low >= 0.0 && high > DARK && high <= 255.0 => (0.0, 255.0),
            Some((low, high)) => (low.min(0.0), high.max(0.0)),
        }
    }

    /// What to say about values that are not stored as they are.
    pub(crate) fn notes(self) -> impl Iterator<Item = String> {
        let reals = self.reals.map(|(low, high)| {
            let (from, to) = self.meant();
            let [low, high, from, to] = [low, high, from, to].map(|value| value as f32);
            format!(
                "the values are from {low} to {high}; they were taken for a scale of {from} to {to} and are stored as 0 to 255"
            )
        });
        self.levels.note().into_iter().chain(reals)
    }

    /// An image as bytes. The error is a reason for the list of skipped files.
    pub(crate) fn pixels(self, number: Number, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let real = match number {
            Number::Whole(integer) => return Ok(self.levels.pixels(integer, bytes)),
            Number::Real(real) => real,
        };
        let (from, to) = self.meant();
        let pixel = |bytes: &[u8]| {
            let value = real.read(bytes);
            // The conversion saturates.
            let scaled = ((value - from) / (to - from) * 255.0).round() as u8;
            if value.is_finite() { Ok(scaled) } else { Err(format!("one of its values is {value}")) }
        };
        bytes.chunks_exact(real.bytes).map(pixel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_widths() {
        let read = |kind: &str, bytes: &[u8]| Number::parse(kind).unwrap().read(bytes);
        assert_eq!([read("<f4", &0.75_f32.to_le_bytes()), read(">f4", &0.75_f32.to_be_bytes())], [0.75; 2]);
        assert_eq!(read("<f8", &(-0.1_f64).to_le_bytes()), -0.1);
        assert_eq!(
            [0x3c00, 0x3555, 0xc000, 0x0001, 0x7c00].map(half),
            [1.0, 1365.0 / 4096.0, -2.0, 2_f64.powi(-24), f64::INFINITY]
        );
        assert!(half(0x7e00).is_nan());
        assert_eq!(read("<i2", &[0xfe, 0xff]), -2.0);
        assert!(["<c8", "|O", "<U3", "f3", ""].iter().all(|kind| Number::parse(kind).is_none()));
    }

    fn pixels(values: &[f32]) -> (Result<Vec<u8>, String>, Option<String>) {
        let (number, bytes) =
            (Number::parse("<f4").unwrap(), values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        let mut ranges = Ranges::default();
        ranges.add(number, &mut &bytes[..]).unwrap();
        (ranges.pixels(number, bytes), ranges.notes().next())
    }

    #[test]
    fn the_values_tell_which_scale_is_meant() {
        for (values, bytes, scale) in [
            ([0.1, 0.5, 0.8], [26, 128, 204], "a scale of 0 to 1 "),
            ([-1.0, 0.0, 0.5], [0, 128, 191], "a scale of -1 to 1 "),
            ([0.4, 99.6, 255.0], [0, 100, 255], "a scale of 0 to 255 "),
            ([0.0, 1.0, 4.0], [0, 64, 255], "a scale of 0 to 4 "),
            ([-3.0, 0.0, 2.0], [0, 153, 255], "a scale of -3 to 2 "),
            ([0.0, 510.0, 1020.0], [0, 128, 255], "a scale of 0 to 1020 "),
            ([0.0; 3], [0; 3], "a scale of 0 to 1 "),
        ] {
            let (found, note) = pixels(&values);
            assert_eq!(found.unwrap(), bytes, "{values:?}");
            assert!(note.as_ref().unwrap().contains(scale), "{note:?}");
        }
        assert_eq!(pixels(&[0.5, f32::NAN, 1.0]).0.unwrap_err(), "one of its values is NaN");
        assert!(pixels(&[f32::INFINITY]).0.is_err());
    }
}
