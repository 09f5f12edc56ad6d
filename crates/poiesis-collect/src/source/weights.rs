//! How much there is of each kind of loose files, and which of them a source is taken for.

use std::collections::{HashMap, HashSet};

use super::contents::Media;

/// A text or a table counts once for each of these bytes that it begins.
const TEXT_UNIT: u64 = 64 << 10;

/// What a file takes on disk at least, in bytes.
const BLOCK: u64 = 4 << 10;

/// Names, without their endings, of texts that are about other files. They are read, but do not decide what a source is.
const ABOUT: [&str; 11] = [
    "readme",
    "license",
    "licence",
    "copying",
    "notice",
    "changelog",
    "authors",
    "contributing",
    "citation",
    "requirements",
    "credits",
];

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Weight {
    /// Images and clips, and texts and tables by their length.
    pub(crate) units: u64,
    /// Bytes on disk, in whole blocks.
    pub(crate) disk: u64,
}

impl Weight {
    fn add(&mut self, other: Weight) {
        self.units += other.units;
        self.disk += other.disk;
    }
}

/// The loose files of a source.
#[derive(Default)]
pub(crate) struct Weights {
    weights: [Weight; 4],
    /// Hashes of the names of images and clips without endings.
    names: HashSet<u64>,
    /// Texts and tables by the hashes of such names. One that is called like an image or a clip belongs to it.
    texts: [HashMap<u64, Weight>; 2],
}

impl Weights {
    /// Takes note of a file.
    pub(crate) fn add(&mut self, path: &str, media: Media, bytes: u64) {
        let (_, hash) = stem(path);
        let weight = Weight { units: 1, disk: on_disk(bytes) };
        match media {
            Media::Image | Media::Sound => {
                self.weights[media as usize].add(weight);
                self.names.insert(hash);
            }
            // No name says that a file is experience.
            Media::Experience => {}
            Media::Text | Media::Points => {
                if is_about(path) {
                    return;
                }
                let weight = Weight { units: bytes.div_ceil(TEXT_UNIT).max(1), ..weight };
                self.texts[usize::from(media == Media::Points)].entry(hash).or_default().add(weight);
            }
        }
    }

    /// How much there is of one kind.
    pub(crate) fn of(&self, media: Media) -> Weight {
        let mut sum = self.weights.get(media as usize).copied().unwrap_or_default();
        let texts = match media {
            Media::Image | Media::Sound | Media::Experience => return sum,
            Media::Text => &self.texts[0],
            Media::Points => &self.texts[1],
        };
        let own = texts.iter().filter(|(name, _)| !self.names.contains(name));
        own.for_each(|(_, weight)| sum.add(*weight));
        sum
    }
}

/// Whether a file is about others by its name, such as a README.
pub(crate) fn is_about(path: &str) -> bool {
    let (stem, _) = stem(path);
    ABOUT.iter().any(|about| stem.eq_ignore_ascii_case(about))
}

/// What a file of that many bytes takes on disk, in bytes.
pub(crate) fn on_disk(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).max(1) * BLOCK
}

/// The name of a file without folders and ending, and its hash.
fn stem(path: &str) -> (&str, u64) {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut head = [0; 8];
    head.copy_from_slice(&blake3::hash(stem.as_bytes()).as_bytes()[..8]);
    (stem, u64::from_le_bytes(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_count_by_their_length_unless_they_are_about_others() {
        let mut weights = Weights::default();
        for (path, media, bytes) in [
            ("a/1.png", Media::Image, 10),
            ("a/2.png", Media::Image, 5000),
            ("labels/1.txt", Media::Text, 7),
            ("README.txt", Media::Text, 1 << 20),
            ("list.txt", Media::Text, 0),
            ("long.txt.gz", Media::Text, (64 << 10) + 1),
            ("x.csv", Media::Points, 64 << 10),
        ] {
            weights.add(path, media, bytes);
        }
        assert_eq!(weights.of(Media::Image), Weight { units: 2, disk: 12 << 10 });
        assert_eq!(weights.of(Media::Text), Weight { units: 1 + 2, disk: (4 + 68) << 10 });
        assert_eq!(weights.of(Media::Points), Weight { units: 1, disk: 64 << 10 });
        assert_eq!(weights.of(Media::Sound), Weight::default());
    }
}
