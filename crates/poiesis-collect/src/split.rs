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
        let mut head = [0; 8];
        head.copy_from_slice(&hash[..8]);
        // 53 bits fill the mantissa of an f64 exactly, so the comparison has no rounding of its own.
        let unit = (u64::from_le_bytes(head) >> 11) as f64 / (1_u64 << 53) as f64;
        if unit < holdout { Split::Validation } else { Split::Train }
    }

    /// Position in [`Split::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
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
    fn content_decides_the_split_in_the_asked_proportion() {
        let hashes = (0..10_000_u32).map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes());
        let held = hashes.filter(|h| Split::by_content(h, 0.1) == Split::Validation).count();
        assert!((900..1100).contains(&held), "{held} of 10000 held out");
        assert_eq!(Split::by_content(&[0; 32], 0.0), Split::Train);
        assert_eq!(Split::by_content(&[255; 32], 0.999), Split::Train);
    }
}
