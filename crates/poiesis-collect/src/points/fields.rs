//! From a line to its fields, and from a field to a number.

use std::borrow::Cow;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

/// What stands between two columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Separator {
    Tab,
    Semicolon,
    Comma,
    /// One or more spaces or tabs.
    Spaces,
}

impl Separator {
    /// All of them, the least ambiguous first.
    pub(super) const ALL: [Separator; 4] =
        [Separator::Tab, Separator::Semicolon, Separator::Comma, Separator::Spaces];

    fn byte(self) -> u8 {
        match self {
            Separator::Tab => b'\t',
            Separator::Semicolon => b';',
            Separator::Comma => b',',
            Separator::Spaces => b' ',
        }
    }

    /// Several of them, in words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Separator::Tab => "tabs",
            Separator::Semicolon => "semicolons",
            Separator::Comma => "commas",
            Separator::Spaces => "spaces",
        }
    }
}

/// Divides lines into fields. Each line is read for itself: no number goes over the end of a line, so a quote that is not closed
/// spoils one row and not the rest of the file.
pub(crate) struct Splitter {
    reader: Reader,
    separator: Separator,
    input: Vec<u8>,
    output: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    pub(crate) fn new(separator: Separator) -> Splitter {
        let reader = ReaderBuilder::new().delimiter(separator.byte()).build();
        Splitter { reader, separator, input: Vec::new(), output: Vec::new(), ends: Vec::new() }
    }

    /// The fields of a line without the quotes and spaces around them. Where the last field is empty it does not count: many
    /// programs write a separator after the last column.
    pub(crate) fn split(&mut self, line: &[u8]) -> Result<Vec<Cow<'_, str>>, String> {
        self.input.clear();
        self.input.extend(line);
        self.input.push(b'\n');
        self.output.resize(self.input.len(), 0);
        self.ends.resize(self.input.len(), 0);
        self.reader.reset();
        let (result, _, _, count) = self.reader.read_record(&self.input, &mut self.output, &mut self.ends);
        if !matches!(result, ReadRecordResult::Record) {
            return Err("a quote is not closed".to_owned());
        }
        let mut fields = Vec::with_capacity(count);
        let mut start = 0;
        for &end in &self.ends[..count] {
            let field = &self.output[start..end];
            start = end;
            match (self.separator, std::str::from_utf8(field)) {
                (Separator::Spaces, Ok(field)) => fields.extend(field.split_whitespace().map(Cow::Borrowed)),
                (_, Ok(field)) => fields.push(Cow::Borrowed(bare(field))),
                (_, Err(_)) => fields.push(String::from_utf8_lossy(field)),
            }
        }
        if fields.len() > 1 && fields.last().is_some_and(|field| field.is_empty()) {
            fields.pop();
        }
        Ok(fields)
    }
}

/// A field without the spaces around it, and without the quotes of one that has spaces before them.
fn bare(field: &str) -> &str {
    let field = field.trim();
    let inside = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
    inside.map_or(field, str::trim)
}

/// The mark before the decimals of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decimal {
    Point,
    Comma,
    /// No number of those that were looked at has decimals.
    Either,
}

/// Reads a number, NaN and infinities among them.
pub(super) fn number(field: &str, decimal: Decimal) -> Option<f64> {
    let with_point = || field.parse().ok();
    let with_comma = || {
        let Some((whole, decimals)) = field.split_once(',') else {
            return if field.contains('.') { None } else { field.parse().ok() };
        };
        let digit = decimals.starts_with(|c: char| c.is_ascii_digit());
        if digit && !whole.contains('.') && !decimals.contains('.') {
            format!("{whole}.{decimals}").parse().ok()
        } else {
            None
        }
    };
    match decimal {
        Decimal::Point => with_point(),
        Decimal::Comma => with_comma(),
        Decimal::Either => with_point().or_else(with_comma),
    }
}

/// What a word says that stands for yes or no: `true` and `yes` are 1, `false` and `no` are 0, in any case.
pub(super) fn flag(field: &str) -> Option<f64> {
    let is = |words: [&str; 2]| words.iter().any(|word| field.eq_ignore_ascii_case(word));
    match (is(["true", "yes"]), is(["false", "no"])) {
        (true, _) => Some(1.0),
        (_, true) => Some(0.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(separator: Separator, line: &str) -> Vec<String> {
        let mut splitter = Splitter::new(separator);
        splitter.split(line.as_bytes()).unwrap().into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn fields_lose_quotes_and_spaces() {
        assert_eq!(split(Separator::Comma, r#" 1 ,"2", "3" ,"a ""b"", c","#), ["1", "2", "3", r#"a "b", c"#]);
        assert_eq!(split(Separator::Spaces, "  1\t 2   -3e4 "), ["1", "2", "-3e4"]);
        assert_eq!(split(Separator::Semicolon, "1,5;;2"), ["1,5", "", "2"]);
        assert_eq!(split(Separator::Tab, "1\t2"), ["1", "2"]);
        let mut splitter = Splitter::new(Separator::Comma);
        assert!(splitter.split(b"1,\"2").is_err());
        assert_eq!(
            splitter.split(b"3,4").unwrap(),
            ["3", "4"],
            "the next line is read as if nothing had been"
        );
    }

    #[test]
    fn words_for_yes_and_no_are_flags() {
        let found = ["true", "FALSE", "Yes", "no", "y", "1", ""].map(flag);
        assert_eq!(found, [Some(1.0), Some(0.0), Some(1.0), Some(0.0), None, None, None]);
    }

    #[test]
    fn numbers_have_one_decimal_mark() {
        assert_eq!(number("-1.5e3", Decimal::Point), Some(-1500.0));
        assert_eq!(number("-1,5E3", Decimal::Comma), Some(-1500.0));
        assert_eq!([number("7", Decimal::Comma), number("1,5", Decimal::Either)], [Some(7.0), Some(1.5)]);
        for (field, decimal) in [
            ("1,5", Decimal::Point),
            ("1.5", Decimal::Comma),
            ("1.234,5", Decimal::Comma),
            ("1,234.5", Decimal::Either),
            ("1,", Decimal::Comma),
            ("", Decimal::Either),
            ("0x10", Decimal::Point),
            ("12 kg", Decimal::Point),
        ] {
            assert_eq!(number(field, decimal), None, "{field} {decimal:?}");
        }
        assert!(number("NaN", Decimal::Point).is_some_and(f64::is_nan));
    }
}
