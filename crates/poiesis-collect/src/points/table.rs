//! Reads the rows of one table: a file whose lines are points.

use std::io::BufRead;

use super::dialect::{Choice, Dialect, is_missing, value};
use super::fields::{Splitter, number};
use super::lines::{Line, Lines};
use crate::card::Reason;

/// The most lines, and bytes of them, from which the dialect is detected.
const LOOKED_AT: usize = 200;
const LOOKED_AT_BYTES: usize = 1 << 20;
/// Characters of a field that a message shows.
pub(super) const SHOWN: usize = 40;

/// A table that is being read.
pub(super) struct Table<'a> {
    pub(super) dialect: Dialect,
    lines: Lines<'a>,
    /// First lines that have not been read as rows yet.
    first: std::vec::IntoIter<Line>,
    splitter: Splitter,
    /// Values that were rounded because they have more digits than an f32 keeps.
    pub(super) rounded: u64,
    /// Words for yes and no that were read as 1 and 0.
    pub(super) flags: u64,
}

/// A row with the number of its line, and the bytes of the line.
pub(super) type Numbered = (u64, usize, Row);

/// A row, read.
pub(super) enum Row {
    /// Its coordinates.
    Point(Vec<f32>),
    /// Its fields are numbers, but not all are finite.
    Missing(String),
    /// It is not a row of numbers.
    Other(String),
}

impl<'a> Table<'a> {
    /// Opens a table; `None` if it has no rows. The error says why it is not a table of points, or why it cannot be read.
    pub(super) fn open(reader: &'a mut dyn BufRead, choice: Choice<'_>) -> Result<Option<Table<'a>>, Reason> {
        let mut lines = Lines::new(reader);
        let (mut first, mut bytes) = (Vec::new(), 0);
        while first.len() < LOOKED_AT && bytes < LOOKED_AT_BYTES {
            let Some(line) = next_row(&mut lines).map_err(|e| unreadable(&e))? else { break };
            bytes += line.bytes.len();
            first.push(line);
        }
        match first.first() {
            None => return Ok(None),
            Some(line) if line.bytes.starts_with(b"\xff\xfe") || line.bytes.starts_with(b"\xfe\xff") => {
                return Err("it looks like UTF-16, and UTF-8 is read".into());
            }
            Some(_) => {}
        }
        let dialect = Dialect::of(&first, choice)?;
        let mut first = first.into_iter();
        if dialect.header {
            first.next();
        }
        let splitter = Splitter::new(dialect.separator);
        Ok(Some(Table { dialect, lines, first, splitter, rounded: 0, flags: 0 }))
    }

    /// The next row; `None` at the end. The error says in which line and why reading ended early.
    pub(super) fn next(&mut self) -> Result<Option<Numbered>, (u64, String)> {
        let line = match self.first.next() {
            Some(line) => line,
            None => match next_row(&mut self.lines) {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(error) => return Err((self.lines.number() + 1, unreadable(&error))),
            },
        };
        Ok(Some((line.number, line.bytes.len() + 1, self.row(&line))))
    }

    fn row(&mut self, line: &Line) -> Row {
        if line.cut {
            return Row::Other(format!("the line has more than {} bytes", line.bytes.len()));
        }
        let fields = match self.splitter.split(&line.bytes) {
            Ok(fields) => fields,
            Err(reason) => return Row::Other(reason),
        };
        let Dialect { fields: count, ref columns, decimal, all_names: ref names, .. } = self.dialect;
        // A missing last value looks like a separator after the last column.
        let ends_early = fields.len() + 1 == count && ends_empty(&line.bytes);
        if fields.len() != count && !ends_early {
            return Row::Other(format!("it has {} fields, and there are {count} columns", fields.len()));
        }
        let mut point = Vec::with_capacity(columns.len());
        let (mut rounded, mut flags) = (0, 0);
        let mut missing = None;
        for &at in columns {
            let field = fields.get(at).map_or("", |field| &**field);
            let here = || column(at, names);
            if field.is_empty() {
                missing.get_or_insert_with(|| format!("{} is empty", here()));
                continue;
            }
            if is_missing(field) {
                missing.get_or_insert_with(|| format!("{} is `{field}`", here()));
                continue;
            }
            let Some(value) = value(field, decimal) else {
                return Row::Other(format!("`{}` in {} is not a number", shown(field, SHOWN), here()));
            };
            flags += u64::from(number(field, decimal).is_none());
            let stored = value as f32;
            if !value.is_finite() {
                missing.get_or_insert_with(|| format!("{} is {value}", here()));
            } else if stored.is_infinite() {
                missing.get_or_insert_with(|| format!("{field} in {} is beyond what an f32 holds", here()));
            }
            rounded += u64::from(loses_digits(value, stored));
            point.push(stored);
        }
        match missing {
            Some(reason) => Row::Missing(reason),
            None => {
                self.rounded += rounded;
                self.flags += flags;
                Row::Point(point)
            }
        }
    }
}

/// The next line that is neither empty nor a comment.
fn next_row(lines: &mut Lines) -> std::io::Result<Option<Line>> {
    while let Some(line) = lines.next()? {
        let text = line.bytes.trim_ascii_start();
        if !text.is_empty() && text[0] != b'#' {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// Whether nothing stands after the last separator of a line.
fn ends_empty(line: &[u8]) -> bool {
    line.iter().rev().find(|byte| **byte != b' ').is_some_and(|byte| matches!(byte, b',' | b';' | b'\t'))
}

/// The first characters of a field for a message.
pub(super) fn shown(field: &str, characters: usize) -> String {
    field.chars().take(characters).flat_map(char::escape_debug).collect()
}

/// How a column is called in a message: by its number from 1, and its name.
pub(super) fn column(at: usize, names: &[String]) -> String {
    match names.get(at) {
        Some(name) => format!("column {} ({name})", at + 1),
        None => format!("column {}", at + 1),
    }
}

fn unreadable(error: &std::io::Error) -> String {
    format!("it cannot be read: {error}")
}

/// Whether an f32 is written with other digits than the number it was made from, as 0.1 is not and 16777217 is.
fn loses_digits(value: f64, stored: f32) -> bool {
    value.is_finite()
        && stored.is_finite()
        && f64::from(stored) != value
        && stored.to_string().parse::<f64>().ok() != Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> (Vec<Result<Vec<f32>, String>>, u64) {
        let mut reader = text.as_bytes();
        let mut table = Table::open(&mut reader, Choice::All).unwrap().unwrap();
        let mut rows = Vec::new();
        while let Some((number, _, row)) = table.next().unwrap() {
            rows.push(match row {
                Row::Point(point) => Ok(point),
                Row::Missing(reason) => Err(format!("{number} missing: {reason}")),
                Row::Other(reason) => Err(format!("{number} other: {reason}")),
            });
        }
        (rows, table.rounded)
    }

    #[test]
    fn each_fault_is_named_and_good_rows_are_kept() {
        let text =
            "# a comment\n\nx,y\n1,2\n3,abc\n4\n5,6,7\nnan,1\n1,-inf\n8,\n,9\n1e39,0\n\"1\n\"2\",3e0\n\n";
        let expected = [
            Ok(vec![1.0, 2.0]),
            Err("5 other: `abc` in column 2 (y) is not a number"),
            Err("6 other: it has 1 fields, and there are 2 columns"),
            Err("7 other: it has 3 fields, and there are 2 columns"),
            Err("8 missing: column 1 (x) is NaN"),
            Err("9 missing: column 2 (y) is -inf"),
            Err("10 missing: column 2 (y) is empty"),
            Err("11 missing: column 1 (x) is empty"),
            Err("12 missing: 1e39 in column 1 (x) is beyond what an f32 holds"),
            Err("13 other: a quote is not closed"),
            Ok(vec![2.0, 3.0]),
        ];
        assert_eq!(rows(text).0, expected.map(|row| row.map_err(str::to_owned)));
    }

    #[test]
    fn a_word_for_a_missing_number_is_no_fault_of_the_table() {
        let expected = [
            Err("2 missing: column 2 (y) is `NA`"),
            Err("3 missing: column 1 (x) is `?`"),
            Err("4 other: `a` in column 1 (x) is not a number"),
            Ok(vec![1.0, 2.0]),
        ];
        assert_eq!(rows("x,y\n1,NA\n?,null\na,-\n1,2").0, expected.map(|row| row.map_err(str::to_owned)));
    }

    #[test]
    fn columns_that_are_not_read_may_hold_anything() {
        let text = "x,name,y\n1,ann,2\n3,,4\n5,bob,\nyes,cy,FALSE\n";
        let names = ["y", "x"].map(str::to_owned);
        let mut reader = text.as_bytes();
        let mut table = Table::open(&mut reader, Choice::Named(&names)).unwrap().unwrap();
        let mut rows = Vec::new();
        while let Some((_, _, row)) = table.next().unwrap() {
            rows.push(match row {
                Row::Point(point) => Ok(point),
                Row::Missing(reason) | Row::Other(reason) => Err(reason),
            });
        }
        let missing = Err("column 3 (y) is empty".to_owned());
        assert_eq!(rows, [Ok(vec![2.0, 1.0]), Ok(vec![4.0, 3.0]), missing, Ok(vec![0.0, 1.0])]);
        assert_eq!(table.flags, 2);
    }

    #[test]
    fn digits_that_are_lost_are_counted() {
        assert_eq!(rows("0.1,0.2\n1,2.5e-3").1, 0);
        assert_eq!(rows("16777217,16777216\n0.123456789,1e-50").1, 3);
        assert_eq!(rows("0.10000000149011612,1\n3,4").1, 0, "an f32 written as an f64");
        assert_eq!(rows("16777217,nan\n1,2").1, 0, "a row that is skipped");
    }

    #[test]
    fn there_may_be_no_row() {
        for text in ["", "\n\n", "# only\n#comments"] {
            assert!(Table::open(&mut text.as_bytes(), Choice::All).unwrap().is_none());
        }
        let refused = Table::open(&mut &b"\xff\xfe1\0,\0"[..], Choice::All).err().unwrap();
        assert!(refused.text.contains("UTF-16"));
        assert_eq!(rows("\u{feff}1;2\r\n3;4").0, [Ok(vec![1.0, 2.0]), Ok(vec![3.0, 4.0])]);
    }
}
