//! The dialect of a table of numbers, detected from its first lines.

use std::borrow::Cow;

use super::fields::{Decimal, Separator, Splitter, number};
use super::lines::Line;

/// Most columns that a point may have.
const MOST_COLUMNS: usize = 4096;

/// How a table is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) separator: Separator,
    pub(super) decimal: Decimal,
    pub(super) columns: usize,
    /// Whether the first line names the columns.
    pub(super) header: bool,
    /// The names, if there are as many as columns.
    pub(super) names: Vec<String>,
}

/// The fields of the first lines by one separator; a line that cannot be divided has none.
type Table = Vec<Vec<String>>;

impl Dialect {
    /// Detects the dialect from the first lines, none of which is empty or a comment. The error says why this is not a table of
    /// points.
    pub(super) fn of(lines: &[Line]) -> Result<Dialect, String> {
        let readings = Separator::ALL.into_iter().flat_map(|separator| {
            let table = table(lines, separator);
            decimals(separator).iter().map(move |&decimal| (separator, decimal, table.clone()))
        });
        // Of equal readings the first is taken.
        let score = |decimal: Decimal, table: &[Vec<String>]| {
            let numbers = |row: &Vec<String>| row.iter().filter(|f| number(f, decimal).is_some()).count();
            let wide = table.iter().filter(|row| row.len() > 1);
            let whole = wide.clone().filter(|row| numbers(row) == row.len()).count();
            (whole, wide.clone().map(numbers).sum::<usize>(), wide.count())
        };
        let mut best = None;
        let mut most = None;
        for (separator, decimal, table) in readings {
            let score = Some(score(decimal, &table));
            if score > most {
                most = score;
                best = Some((separator, decimal, table));
            }
        }
        let Some((separator, decimal, table)) = best else { return Err("it has no rows".to_owned()) };
        let decimal = if without_decimals(separator, &table) { Decimal::Either } else { decimal };
        let (names, rows) = header(&table, decimal);
        let columns = usual_length(rows).unwrap_or(names.len());
        if columns < 2 {
            return Err("it has a single column, and a point has two coordinates or more".to_owned());
        }
        if columns > MOST_COLUMNS {
            return Err(format!("it has {columns} columns; up to {MOST_COLUMNS} are read"));
        }
        mostly_numbers(rows, decimal)?;
        let header = !names.is_empty();
        let names = if names.len() == columns { names } else { Vec::new() };
        Ok(Dialect { separator, decimal, columns, header, names })
    }

    /// The dialect in words, for the notes of a data set.
    pub(super) fn describe(&self) -> String {
        let decimal = if self.decimal == Decimal::Comma { " and decimals by a comma" } else { "" };
        let names = match (self.header, self.names.is_empty()) {
            (false, _) => "no line names them",
            (true, false) => "the first line names them",
            (true, true) => "the first line names another number of them, so its names are not kept",
        };
        format!("columns are separated by {}{decimal}; {names}", self.separator.name())
    }
}

fn table(lines: &[Line], separator: Separator) -> Table {
    let mut splitter = Splitter::new(separator);
    let fields = |line: &Line| {
        let fields = splitter.split(&line.bytes).unwrap_or_default();
        fields.into_iter().map(Cow::into_owned).collect()
    };
    lines.iter().map(fields).collect()
}

/// The decimal marks that there may be: a comma only where it does not separate columns.
fn decimals(separator: Separator) -> &'static [Decimal] {
    match separator {
        Separator::Comma => &[Decimal::Point],
        _ => &[Decimal::Point, Decimal::Comma],
    }
}

/// Whether the decimal mark is still unknown.
fn without_decimals(separator: Separator, table: &[Vec<String>]) -> bool {
    let whole = |field: &String| number(field, Decimal::Either).is_none() || !field.contains(['.', ',']);
    separator != Separator::Comma && table.iter().flatten().all(whole)
}

/// The names of the columns, none if the first row has a number, and the rows of numbers.
fn header(table: &[Vec<String>], decimal: Decimal) -> (Vec<String>, &[Vec<String>]) {
    match table.split_first() {
        Some((first, rows))
            if first.iter().all(|field| number(field, decimal).is_none())
                && first.iter().any(|field| !field.is_empty()) =>
        {
            (first.clone(), rows)
        }
        _ => (Vec::new(), table),
    }
}

/// The most frequent number of fields; of equally frequent ones the largest.
fn usual_length(rows: &[Vec<String>]) -> Option<usize> {
    let count = |length: usize| rows.iter().filter(|row| row.len() == length).count();
    rows.iter().map(Vec::len).max_by_key(|&length| (count(length), length))
}

/// Refuses what is mostly not numbers. An empty field may stand for a missing number.
fn mostly_numbers(rows: &[Vec<String>], decimal: Decimal) -> Result<(), String> {
    let fields = rows.iter().flatten().filter(|field| !field.is_empty());
    let all = fields.clone().count();
    let others = fields.filter(|field| number(field, decimal).is_none()).count();
    if others * 2 > all {
        return Err(format!("{others} of its first {all} fields are not numbers"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(text: &str) -> Result<Dialect, String> {
        let line = |(at, line): (usize, &str)| Line {
            number: at as u64 + 1,
            bytes: line.as_bytes().to_vec(),
            cut: false,
        };
        Dialect::of(&text.lines().enumerate().map(line).collect::<Vec<_>>())
    }

    fn found(text: &str) -> (Separator, Decimal, usize, Vec<String>) {
        let Dialect { separator, decimal, columns, names, .. } = dialect(text).unwrap();
        (separator, decimal, columns, names)
    }

    #[test]
    fn separators_and_decimal_marks_are_found_out() {
        let none = Vec::new;
        assert_eq!(found("1.5,2\n3,4.5"), (Separator::Comma, Decimal::Point, 2, none()));
        assert_eq!(found("1, 2, 3\n4, 5, 6"), (Separator::Comma, Decimal::Point, 3, none()));
        assert_eq!(found("1,5;2\n3;4,5"), (Separator::Semicolon, Decimal::Comma, 2, none()));
        assert_eq!(found("1.5;2\n3;4.5"), (Separator::Semicolon, Decimal::Point, 2, none()));
        assert_eq!(found("1;2\n3;4"), (Separator::Semicolon, Decimal::Either, 2, none()));
        assert_eq!(found("1.5\t2\n3\t4"), (Separator::Tab, Decimal::Point, 2, none()));
        assert_eq!(found("1,5\t2\n3\t4"), (Separator::Tab, Decimal::Comma, 2, none()));
        assert_eq!(found(" 1.5   2 3\n  4 5\t6"), (Separator::Spaces, Decimal::Point, 3, none()));
        assert_eq!(found("1.5,2,\n3,4,"), (Separator::Comma, Decimal::Point, 2, none()));
    }

    #[test]
    fn the_first_line_names_the_columns_if_it_has_no_number() {
        assert_eq!(found("x,\"y, in m\"\n1,2\n3,4").3, ["x", "y, in m"]);
        assert_eq!(found("x;y\n1,5;2,5").3, ["x", "y"]);
        assert_eq!(found("x,1\n1,2\n3,4").3, Vec::<String>::new(), "a row that is not one of numbers");
        let short = dialect("x,y\n1,2,3\n4,5,6").unwrap();
        assert_eq!((short.columns, short.names.len(), short.header), (3, 0, true));
        assert!(short.describe().contains("another number"), "{}", short.describe());
    }

    #[test]
    fn what_is_no_table_of_points_is_refused() {
        assert!(dialect("x\n1\n2").unwrap_err().contains("single column"));
        assert!(
            dialect("id,text\n1,good film\n2,bad film\nx,").unwrap_err().contains("3 of its first 5 fields")
        );
        let wide = vec!["1"; 4097].join(",");
        assert!(dialect(&wide).unwrap_err().contains("4097 columns"));
        let wide = vec!["1"; 4096].join(",");
        assert_eq!(dialect(&wide).unwrap().columns, 4096);
    }
}
