//! The dialect of a table of numbers, detected from its first lines.

use std::borrow::Cow;

use super::fields::{Decimal, Separator, Splitter, flag, number};
use super::in_words;
use super::lines::Line;
use super::table::{SHOWN, column, shown};
use crate::card::Reason;

/// Most columns that a point may have.
const MOST_COLUMNS: usize = 4096;

/// Most columns that a message names.
const NAMED: usize = 5;

/// What tables have in place of a missing number, in any case.
const MISSING: [&str; 5] = ["NA", "N/A", "null", "?", "-"];

/// Which columns of a table are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice<'a> {
    /// All.
    All,
    /// Those of these names, in this order; a table that does not name them is refused.
    Named(&'a [String]),
    /// Those of these names, in this order, where the table names its columns, otherwise all.
    NamedIfAny(&'a [String]),
}

/// How a table is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) separator: Separator,
    pub(super) decimal: Decimal,
    /// Fields of a row.
    pub(super) fields: usize,
    /// The places of those that are read, in the order of the coordinates of a point.
    pub(super) columns: Vec<usize>,
    /// Whether the first line names the columns.
    pub(super) header: bool,
    /// The names of all columns, if there are as many as columns.
    pub(super) all_names: Vec<String>,
}

/// The fields of the first lines by one separator; a line that cannot be divided has none.
type Table = Vec<Vec<String>>;

impl Dialect {
    /// Detects the dialect from the first lines, none of which is empty or a comment. The error says why this is not a table of
    /// points.
    pub(super) fn of(lines: &[Line], choice: Choice<'_>) -> Result<Dialect, Reason> {
        let readings = Separator::ALL.into_iter().flat_map(|separator| {
            let table = table(lines, separator);
            decimals(separator).iter().map(move |&decimal| (separator, decimal, table.clone()))
        });
        // Of equal readings the first is taken.
        let score = |decimal: Decimal, table: &[Vec<String>]| {
            let numbers = |row: &Vec<String>| row.iter().filter(|f| value(f, decimal).is_some()).count();
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
        let Some((separator, decimal, table)) = best else { return Err("it has no rows".into()) };
        let decimal = if without_decimals(separator, &table) { Decimal::Either } else { decimal };
        let (names, rows) = header(&table, decimal);
        let fields = usual_length(rows).unwrap_or(names.len());
        if fields < 2 {
            return Err("it has a single column, and a point has two coordinates or more".into());
        }
        let header = !names.is_empty();
        let all_names = if names.len() == fields { names } else { Vec::new() };
        let columns = chosen(fields, &all_names, choice)?;
        if columns.len() > MOST_COLUMNS {
            return Err(format!("it has {} columns; up to {MOST_COLUMNS} are read", columns.len()).into());
        }
        numbers_in(rows, &columns, &all_names, decimal)?;
        Ok(Dialect { separator, decimal, fields, columns, header, all_names })
    }

    /// The names of the columns that are read; none where the table names none.
    pub(super) fn names(&self) -> Vec<String> {
        match self.all_names.is_empty() {
            true => Vec::new(),
            false => self.columns.iter().map(|&at| self.all_names[at].clone()).collect(),
        }
    }

    /// The names of the columns that are not read.
    pub(super) fn left_out(&self) -> Vec<String> {
        let names = self.all_names.iter().enumerate();
        names.filter(|(at, _)| !self.columns.contains(at)).map(|(_, name)| name.clone()).collect()
    }

    /// The dialect in words, for the notes of a data set.
    pub(super) fn describe(&self) -> String {
        let decimal = if self.decimal == Decimal::Comma { " and decimals by a comma" } else { "" };
        let names = match (self.header, self.all_names.is_empty()) {
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

/// A number, or a word for yes or no.
pub(super) fn value(field: &str, decimal: Decimal) -> Option<f64> {
    number(field, decimal).or_else(|| flag(field))
}

/// Whether a field is a common word or sign for a missing number. NaN is none of them: it is read as a number.
pub(super) fn is_missing(field: &str) -> bool {
    field.is_empty() || MISSING.iter().any(|word| field.eq_ignore_ascii_case(word))
}

/// The names of the columns, none if the first row has a number, and the rows of numbers.
fn header(table: &[Vec<String>], decimal: Decimal) -> (Vec<String>, &[Vec<String>]) {
    let is_flag = |field: &String| flag(field).is_some();
    match table.split_first() {
        Some((first, rows))
            if first.iter().all(|field| number(field, decimal).is_none())
                && first.iter().any(|field| !field.is_empty())
                // Columns may be called yes and no; if all are, and the next row has such words too, they are values.
                && !(first.iter().all(is_flag) && rows.first().is_some_and(|row| row.iter().any(is_flag))) =>
        {
            (first.clone(), rows)
        }
        _ => (Vec::new(), table),
    }
}

/// The places of the columns that are read.
fn chosen(fields: usize, names: &[String], choice: Choice<'_>) -> Result<Vec<usize>, Reason> {
    let wanted = match choice {
        Choice::All => return Ok((0..fields).collect()),
        Choice::NamedIfAny(wanted) if names.is_empty() || wanted.is_empty() => {
            return Ok((0..fields).collect());
        }
        Choice::Named(wanted) | Choice::NamedIfAny(wanted) => wanted,
    };
    if names.is_empty() {
        return Err(format!("no line names its {fields} columns, so none can be chosen by name").into());
    }
    let mut places = Vec::with_capacity(wanted.len());
    for name in wanted {
        // Of equal names the first that is left.
        let at = (0..fields).find(|at| names[*at] == *name && !places.contains(at));
        let missing = || format!("it has no column `{name}`, but {}", in_words(fields, names));
        places.push(at.ok_or_else(missing)?);
    }
    Ok(places)
}

/// The most frequent number of fields; of equally frequent ones the largest.
fn usual_length(rows: &[Vec<String>]) -> Option<usize> {
    let count = |length: usize| rows.iter().filter(|row| row.len() == length).count();
    rows.iter().map(Vec::len).max_by_key(|&length| (count(length), length))
}

/// Refuses columns that are mostly not numbers. Fields that stand for a missing number do not count: their rows are skipped later.
fn numbers_in(
    rows: &[Vec<String>],
    columns: &[usize],
    names: &[String],
    decimal: Decimal,
) -> Result<(), Reason> {
    let other = |at: usize| {
        let fields = || rows.iter().filter_map(move |row| row.get(at)).filter(|field| !is_missing(field));
        let others = || fields().filter(|field| value(field, decimal).is_none());
        (2 * others().count() > fields().count()).then(|| {
            let example = others().next().map(|field| shown(field, SHOWN)).unwrap_or_default();
            format!("{} (`{example}`)", column(at, names))
        })
    };
    let found: Vec<String> = columns.iter().filter_map(|&at| other(at)).collect();
    if found.is_empty() {
        return Ok(());
    }
    if found.len() == columns.len() {
        return Err(format!("none of its columns holds numbers: {}", some_of(&found)).into());
    }
    Err(Reason::mended_by("columns", format!("most values are not numbers in {}", some_of(&found))))
}

/// The first of these names: `a, b, …`.
fn some_of(names: &[String]) -> String {
    let more = if names.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(NAMED)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(text: &str) -> Result<Dialect, String> {
        chosen_of(text, Choice::All)
    }

    fn chosen_of(text: &str, choice: Choice<'_>) -> Result<Dialect, String> {
        let line = |(at, line): (usize, &str)| Line {
            number: at as u64 + 1,
            bytes: line.as_bytes().to_vec(),
            cut: false,
        };
        let lines: Vec<Line> = text.lines().enumerate().map(line).collect();
        Dialect::of(&lines, choice).map_err(|reason| reason.text)
    }

    fn found(text: &str) -> (Separator, Decimal, usize, Vec<String>) {
        let Dialect { separator, decimal, fields, all_names, .. } = dialect(text).unwrap();
        (separator, decimal, fields, all_names)
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
        assert_eq!((short.fields, short.all_names.len(), short.header), (3, 0, true));
        assert!(short.describe().contains("another number"), "{}", short.describe());
    }

    #[test]
    fn what_is_no_table_of_points_is_refused() {
        assert!(dialect("x\n1\n2").unwrap_err().contains("single column"));
        assert_eq!(
            dialect("id,text,day\n1,good film,2024-01-01\n2,bad film,2024-01-02\nx,,").unwrap_err(),
            "most values are not numbers in column 2 (text) (`good film`), column 3 (day) (`2024-01-01`)"
        );
        assert!(dialect("a b\nc d").unwrap_err().contains("none of its columns holds numbers"));
        let wide = vec!["1"; 4097].join(",");
        assert!(dialect(&wide).unwrap_err().contains("4097 columns"));
        let wide = vec!["1"; 4096].join(",");
        assert_eq!(dialect(&wide).unwrap().fields, 4096);
    }

    #[test]
    fn columns_are_chosen_by_name() {
        let text = "x,name,y,x\n1,ann,2,3\n4,bob,5,6";
        let named = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let found = chosen_of(text, Choice::Named(&named(&["y", "x", "x"]))).unwrap();
        assert_eq!((&found.columns[..], found.names()), (&[2, 0, 3][..], named(&["y", "x", "x"])));
        assert_eq!(found.left_out(), ["name"]);
        let missing = chosen_of(text, Choice::NamedIfAny(&named(&["x", "z"]))).unwrap_err();
        assert_eq!(missing, "it has no column `z`, but 4 columns (x, name, y, x)");
        let plain = "1,2\n3,4";
        assert!(chosen_of(plain, Choice::Named(&named(&["x", "y"]))).unwrap_err().contains("no line names"));
        let any = chosen_of(plain, Choice::NamedIfAny(&named(&["x", "y"]))).unwrap();
        assert_eq!((&any.columns[..], any.names().len()), (&[0, 1][..], 0));
    }

    #[test]
    fn flags_are_values_and_no_names() {
        assert_eq!(found("x,is new\n1,true\n2,no").3, ["x", "is new"]);
        assert_eq!(found("yes,no\n1,2\n3,4").3, ["yes", "no"]);
        assert_eq!(found("true,no\nfalse,yes").3, Vec::<String>::new());
        assert_eq!(found("No,age,smoker\n1,34,yes\n2,41,no").3, ["No", "age", "smoker"]);
    }

    #[test]
    fn fields_for_missing_numbers_do_not_make_a_column_one_of_words() {
        for missing in ["", "NA", "n/a", "NULL", "?", "-", "nan"] {
            let text = format!("x,y\n{missing},1\n{missing},2\n{missing},3\n4,5");
            assert_eq!(found(&text).3, ["x", "y"], "{missing}");
        }
        let text = "x,y\n1,NA\n2,NA\n3,good\n4,bad\n5,6";
        assert_eq!(dialect(text).unwrap_err(), "most values are not numbers in column 2 (y) (`good`)");
    }
}
