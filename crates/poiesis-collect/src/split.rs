//! The parts of a data set: train, validation, test. Where a source names none, an example's content decides.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What models learn from.
    Train,
    /// What choices are made on.
    Validation,
    /// What final numbers are reported on.
    Test,
}

impl Split {
    /// All splits, in the order in which they are stored.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The name of the split, as written in `dataset.json` and in file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    /// The split that a folder or file name stands for: `train`, `training`, `validation`, `valid`, `val`, `dev`,
    /// `test`, `testing` or `t10k`, in any case.
    pub fn parse(name: &str) -> Option<Split> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Split::Train),
            "validation" | "valid" | "val" | "dev" => Some(Split::Validation),
            "test" | "testing" | "t10k" => Some(Split::Test),
            _ => None,
        }
    }

    /// Chooses train or validation from the hash of an example's content, so that equal examples always land in
    /// the same split whatever their order and number. `holdout` is the fraction for validation, in [0, 1).
    pub(crate) fn by_content(hash: &[u8; 32], holdout: f64) -> Split {
        // 53 bits fill the mantissa of an f64 exactly, so the comparison has no rounding of its own.
        let unit = (head(hash) >> 11) as f64 / (1_u64 << 53) as f64;
        if unit < holdout { Split::Validation } else { Split::Train }
    }

    /// Position in [`Split::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// The number that decides about an example with that hash: those with the smallest are held out.
fn head(hash: &[u8; 32]) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(head)
}

/// A hash in the order in which examples are held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(u64, [u8; 32]);

impl Order {
    pub(crate) fn of(hash: &[u8; 32]) -> Order {
        Order(head(hash), *hash)
    }
}

/// An example that is moved to a split which would be empty without it, with all that equal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    hash: [u8; 32],
    to: Split,
}

/// Divides examples into train and validation by their content.
#[derive(Debug)]
pub(crate) struct ByContent {
    holdout: f64,
    moved: Option<Moved>,
    lowest: Option<Order>,
    highest: Option<Order>,
}

impl ByContent {
    /// `moved` is what [`missing`](ByContent::missing) said after an earlier pass over the same examples.
    pub(crate) fn new(holdout: f64, moved: Option<Moved>) -> ByContent {
        ByContent { holdout, moved, lowest: None, highest: None }
    }

    /// The split of the example with that hash.
    pub(crate) fn split(&mut self, hash: &[u8; 32]) -> Split {
        let order = Order::of(hash);
        self.lowest = Some(self.lowest.map_or(order, |lowest| lowest.min(order)));
        self.highest = Some(self.highest.map_or(order, |highest| highest.max(order)));
        match self.moved {
            Some(moved) if moved.hash == *hash => moved.to,
            _ => Split::by_content(hash, self.holdout),
        }
    }

    /// What must be moved so that neither split is empty, where examples are to be held out and two of them differ.
    pub(crate) fn missing(&self) -> Option<Moved> {
        let (Order(_, lowest), Order(_, highest)) = (self.lowest?, self.highest?);
        if self.moved.is_some() || self.holdout == 0.0 || lowest == highest {
            return None;
        }
        let split = |hash| Split::by_content(hash, self.holdout);
        match (split(&lowest), split(&highest)) {
            (Split::Train, _) => Some(Moved { hash: lowest, to: Split::Validation }),
            (_, Split::Validation) => Some(Moved { hash: highest, to: Split::Train }),
            _ => None,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for split in Split::ALL {
            assert_eq!(Split::parse(split.as_str()), Some(split));
            assert_eq!(Split::ALL[split.index()], split);
        }
        assert_eq!(Split::parse("VALID"), Some(Split::Validation));
        assert_eq!(Split::parse("cats"), None);
    }

    #[test]
    fn neither_split_is_empty_where_two_examples_differ() {
        for count in 2..12_u32 {
            for holdout in [1e-9, 0.1, 0.5, 0.999_999_999] {
                let hashes: Vec<[u8; 32]> =
                    (0..count).map(|i| *blake3::hash(&(i * 7 + count).to_le_bytes()).as_bytes()).collect();
                let held = |moved| {
                    let mut by_content = ByContent::new(holdout, moved);
                    let splits: Vec<Split> = hashes.iter().map(|hash| by_content.split(hash)).collect();
                    (splits.iter().filter(|split| **split == Split::Validation).count(), by_content.missing())
                };
                let (before, missing) = held(None);
                assert_eq!(missing.is_some(), before == 0 || before == hashes.len());
                let (after, still) = held(missing);
                assert!(after > 0 && after < hashes.len() && still.is_none(), "{after} of {count}");
                assert!(before.abs_diff(after) <= 1, "no more than one is moved");
            }
        }
        let mut alone = ByContent::new(0.1, None);
        assert_eq!((alone.split(&[255; 32]), alone.split(&[255; 32])), (Split::Train, Split::Train));
        assert_eq!(alone.missing(), None);
        let mut nothing_held = ByContent::new(0.0, None);
        [[1; 32], [2; 32]].iter().for_each(|hash| _ = nothing_held.split(hash));
        assert_eq!(nothing_held.missing(), None);
    }

    #[test]
    fn content_decides_the_split_in_the_asked_proportion() {
        let hashes = (0..10_000_u32).map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes());
        let held = hashes.filter(|h| Split::by_content(h, 0.1) == Split::Validation).count();
        assert!((900..1100).contains(&held), "{held} of 10000 held out");
        assert_eq!(Split::by_content(&[0; 32], 0.0), Split::Train);
        assert_eq!(Split::by_content(&[255; 32], 0.999), Split::Train);
    }
}
