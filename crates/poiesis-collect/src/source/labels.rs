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

impl Label {
    /// A number, or `None` for one that cannot be a class (negative ones often mean "none").
    pub(crate) fn number(number: i64) -> Option<Label> {
        u64::try_from(number).ok().filter(|&n| n < MAX_CLASSES).map(|n| Label::Number(n as u32))
    }

    /// Text: a number if it reads as one.
    pub(crate) fn text(text: &str) -> Option<Label> {
        let text = text.trim();
        match text.parse::<i64>() {
            Ok(number) => Label::number(number),
            Err(_) if text.is_empty() || text.len() > MAX_NAME => None,
            Err(_) => Some(Label::Name(text.to_owned())),
        }
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
}

impl LabelSurvey {
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
    fn text_and_numbers_out_of_range() {
        assert_eq!(Label::text(" 12\n"), Some(Label::Number(12)));
        assert_eq!(Label::text("cat "), Some(Label::Name("cat".to_owned())));
        for none in ["", "-1", "4000000000"] {
            assert_eq!(Label::text(none), None, "{none:?}");
        }
    }
}
