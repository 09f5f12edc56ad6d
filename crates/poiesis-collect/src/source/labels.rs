//! Labels as stored in tables and arrays: numbers, or names of classes.

use std::collections::BTreeSet;

/// Numbers from here on are taken for something else than classes.
const MAX_CLASSES: u64 = 1 << 16;

/// Longest name of a class, in bytes.
const MAX_NAME: usize = 256;

/// A label before the classes are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Number(u32),
    Name(String),
}

/// What a file says of a label: `None` where it says that there is none, and as an error why it cannot be read.
pub(crate) type Found = Result<Option<Label>, String>;

impl Label {
    /// A number; negative ones mean "none".
    pub(crate) fn number(number: i128) -> Found {
        match u64::try_from(number) {
            Err(_) if number < 0 => Ok(None),
            Ok(small) if small < MAX_CLASSES => Ok(Some(Label::Number(small as u32))),
            _ => Err(format!("{number} is too large for a class, of which there may be {MAX_CLASSES}")),
        }
    }

    /// A number that was saved as floating point; NaN means "none".
    pub(crate) fn real(number: f64) -> Found {
        match number {
            n if n.is_nan() => Ok(None),
            n if n.fract() == 0.0 => Label::number(n as i128),
            n => Err(format!("{n} is not a whole number")),
        }
    }

    /// Several numbers for one example: the only one, or the place of the only 1 among zeros.
    pub(crate) fn list(values: &[f64]) -> Found {
        match values {
            [] => Ok(None),
            &[number] => Label::real(number),
            values => {
                let ones = values.iter().filter(|&&value| value == 1.0).count();
                match values.iter().position(|&value| value == 1.0) {
                    Some(class) if ones == 1 && values.iter().all(|&value| value == 0.0 || value == 1.0) => {
                        Label::number(class as i128)
                    }
                    _ => Err(format!("its {} values are not one 1 among zeros", values.len())),
                }
            }
        }
    }

    /// Text: a number if it reads as one.
    pub(crate) fn text(text: &str) -> Found {
        let text = text.trim();
        match text.parse::<i64>() {
            Ok(number) => Label::number(number.into()),
            Err(_) if text.is_empty() => Ok(None),
            Err(_) if text.len() > MAX_NAME => {
                Err(format!("a text of {} bytes is too long for the name of a class", text.len()))
            }
            Err(_) => Ok(Some(Label::Name(text.to_owned()))),
        }
    }

    /// Bytes that should be text.
    pub(crate) fn bytes(bytes: &[u8]) -> Found {
        str::from_utf8(bytes).map_err(|_| "it is not text".to_owned()).and_then(Label::text)
    }
}

/// All labels of a source, gathered in a first pass.
#[derive(Debug, Default)]
pub(crate) struct LabelSurvey {
    /// One more than the largest number.
    numbers: u32,
    names: BTreeSet<String>,
    /// Distinct numbers as text, for the case that names turn up as well.
    numbers_seen: BTreeSet<u32>,
    unread: u64,
    /// The first label that cannot be read, and why not.
    first_unread: Option<String>,
}

impl LabelSurvey {
    /// Takes note of what a file says of the label of `example`.
    pub(crate) fn add_found(&mut self, found: Found, example: impl FnOnce() -> String) {
        match found {
            Ok(label) => label.into_iter().for_each(|label| self.add(label)),
            Err(reason) => {
                self.unread += 1;
                self.first_unread.get_or_insert_with(|| format!("{}: {reason}", example()));
            }
        }
    }

    /// What to say about labels that cannot be read.
    pub(crate) fn note(&self) -> Option<String> {
        let first = self.first_unread.as_ref()?;
        Some(match self.unread {
            1 => format!("1 label cannot be read and was left out, {first}"),
            n => format!("{n} labels cannot be read and were left out; the first, {first}"),
        })
    }

    /// Takes note of a label.
    pub(crate) fn add(&mut self, label: Label) {
        match label {
            Label::Number(number) => {
                self.numbers = self.numbers.max(number + 1);
                self.numbers_seen.insert(number);
            }
            Label::Name(name) => {
                self.names.insert(name);
            }
        }
    }

    /// The classes that the labels imply: `0` up to the largest number, or all names in order when there are any.
    pub(crate) fn classes(self) -> Classes {
        if self.names.is_empty() {
            return Classes { names: (0..self.numbers).map(|n| n.to_string()).collect(), numbered: true };
        }
        let mut names = self.names;
        names.extend(self.numbers_seen.iter().map(u32::to_string));
        Classes { names: names.into_iter().collect(), numbered: false }
    }
}

/// The classes of a source, and how its labels point to them.
#[derive(Clone, Debug)]
pub(crate) struct Classes {
    pub(crate) names: Vec<String>,
    /// Whether numbers are indices; otherwise everything is looked up by name.
    pub(crate) numbered: bool,
}

impl Classes {
    /// The index of a label; `None` when it is not a class.
    pub(crate) fn index(&self, label: Label) -> Option<u32> {
        let name = match label {
            Label::Number(number) if self.numbered => {
                return Some(number).filter(|&n| (n as usize) < self.names.len());
            }
            Label::Number(number) => number.to_string(),
            Label::Name(name) => name,
        };
        // Names given by the source are in its own order, those gathered from labels are sorted.
        let position = match self.numbered {
            true => self.names.iter().position(|known| *known == name),
            false => self.names.binary_search(&name).ok(),
        };
        position.map(|index| index as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(labels: &[Label]) -> Classes {
        let mut survey = LabelSurvey::default();
        labels.iter().cloned().for_each(|label| survey.add(label));
        survey.classes()
    }

    #[test]
    fn numbers_are_indices() {
        let classes = classes(&[Label::Number(2), Label::Number(0)]);
        assert_eq!(classes.names, ["0", "1", "2"]);
        assert_eq!(classes.index(Label::Number(2)), Some(2));
        assert_eq!(classes.index(Label::Number(3)), None);
    }

    #[test]
    fn names_are_sorted_and_numbers_among_them_are_names() {
        let name = |text: &str| Label::Name(text.to_owned());
        let classes = classes(&[name("dog"), Label::Number(7), name("cat")]);
        assert_eq!(classes.names, ["7", "cat", "dog"]);
        assert_eq!(classes.index(name("dog")), Some(2));
        assert_eq!(classes.index(Label::Number(7)), Some(0));
    }

    #[test]
    fn labels_are_read_from_whatever_can_mean_a_class() {
        let number = |n| Ok(Some(Label::Number(n)));
        assert_eq!(
            [Label::text(" 12\n"), Label::real(12.0), Label::bytes(b"12")],
            [(); 3].map(|()| number(12))
        );
        assert_eq!(Label::text("cat "), Ok(Some(Label::Name("cat".to_owned()))));
        assert_eq!([Label::list(&[5.0]), Label::list(&[0.0, 0.0, 1.0, 0.0])], [number(5), number(2)]);
        for none in [Label::text(""), Label::text("-1"), Label::real(f64::NAN), Label::list(&[])] {
            assert_eq!(none, Ok(None));
        }
        for (found, reason) in [
            (Label::text("4000000000"), "4000000000 is too large"),
            (Label::number(65_536), "65536 is too large"),
            (Label::real(f64::INFINITY), "inf is not a whole number"),
            (Label::real(0.5), "0.5 is not a whole number"),
            (Label::list(&[1.0, 1.0, 0.0]), "3 values are not one 1 among zeros"),
            (Label::list(&[1.0, 0.5]), "not one 1"),
            (Label::list(&[0.0; 3]), "not one 1"),
            (Label::bytes(&[0xff]), "it is not text"),
            (Label::text(&"x".repeat(257)), "257 bytes is too long"),
        ] {
            assert!(found.clone().unwrap_err().contains(reason), "{found:?}");
        }
    }

    #[test]
    fn labels_that_cannot_be_read_are_counted_with_the_first() {
        let mut survey = LabelSurvey::default();
        let found = [Label::real(1.0), Label::real(0.5), Label::real(-1.0), Label::real(0.7)];
        for (row, found) in found.into_iter().enumerate() {
            survey.add_found(found, || format!("row {row}"));
        }
        let expected =
            "2 labels cannot be read and were left out; the first, row 1: 0.5 is not a whole number";
        assert_eq!(survey.note().as_deref(), Some(expected));
        assert_eq!(survey.classes().names, ["0", "1"]);
        assert_eq!(LabelSurvey::default().note(), None);
    }
}
