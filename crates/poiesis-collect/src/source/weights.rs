//! How much there is of each kind of loose files, and which of them a source is taken for.

use std::collections::{HashMap, HashSet};

use super::contents::Media;

/// A text or a table counts once for each of these bytes that it begins.
const TEXT_UNIT: u64 = 64 << 10;

/// Files whose names do not say what they are decide what a source is only where there are more than so many times as many of them as
/// of its texts, and where they take more than so many times their space.
const DOMINANT: u64 = 2;

/// By so much they must outnumber images, clips and tables; these then take at most so many times their space.
const MANY: u64 = 10;

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
    /// Files of no kind that is known, by the hashes of such names and of these up to their first dot. One that is called like any of
    /// the above, such as the annotations of a text (`1.ann` or `1.txt.xml`), belongs to it.
    others: HashMap<[u64; 2], Weight>,
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

    /// Takes note of a file whose name does not say what it is.
    pub(crate) fn add_other(&mut self, path: &str, bytes: u64) {
        let disk = if is_about(path) { 0 } else { on_disk(bytes) };
        let (name, hash) = stem(path);
        let first = name.split('.').next().unwrap_or(name);
        self.others.entry([hash, hash_of(first)]).or_default().add(Weight { units: 1, disk });
    }

    /// Whether files whose names do not say what they are outweigh those of `media`, so that the source is text if they are: texts by
    /// their number and the space on disk, more than twice over; images, clips and tables ten to one by number, if these take at most
    /// ten times as much space. Where text is asked for, by options that only text has, it is enough if there are as many of them as
    /// images, clips and tables; in a repository of source code, if there are more, and images, clips and tables take at most ten
    /// times their space.
    pub(crate) fn are_outweighed(&self, media: Media, is_asked_for: bool, in_repository: bool) -> bool {
        let (own, others) = (self.of(media), self.others());
        let has_space = own.disk <= MANY * others.disk;
        match media {
            _ if in_repository && others.units > own.units && (has_space || media == Media::Text) => true,
            Media::Text => others.units > DOMINANT * own.units && others.disk > DOMINANT * own.disk,
            _ if is_asked_for => others.units >= own.units && others.disk > 0,
            _ => has_space && others.units >= MANY * own.units.max(1),
        }
    }

    /// How much there is of files of no kind that is known, without those that belong to others.
    fn others(&self) -> Weight {
        let is_known =
            |name: &u64| self.names.contains(name) || self.texts.iter().any(|texts| texts.contains_key(name));
        let mut sum = Weight::default();
        let own = self.others.iter().filter(|(names, _)| !names.iter().any(is_known));
        own.for_each(|(_, weight)| sum.add(*weight));
        sum
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
fn is_about(path: &str) -> bool {
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
    (stem, hash_of(stem))
}

fn hash_of(name: &str) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(head)
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

    #[test]
    fn in_a_repository_large_images_are_not_outweighed_by_as_many_annotations() {
        let outweighed = |bytes: u64| {
            let mut weights = Weights::default();
            (0..5).for_each(|i| weights.add(&format!("photos/{i}.jpg"), Media::Image, bytes));
            (0..6).for_each(|i| weights.add_other(&format!("boxes/b{i}.xml"), 2000));
            weights.are_outweighed(Media::Image, false, true)
        };
        assert!(outweighed(20_000) && !outweighed(10 << 20));
    }

    #[test]
    fn other_files_decide_only_where_there_are_far_more_of_them() {
        let outweighed = |others: &[(&str, u64)]| {
            let mut weights = Weights::default();
            for name in ["a", "b"] {
                weights.add(&format!("texts/{name}.txt"), Media::Text, 5000);
            }
            others.iter().for_each(|(path, bytes)| weights.add_other(path, *bytes));
            weights.are_outweighed(Media::Text, false, false)
        };
        let code: Vec<(String, u64)> = (0..5).map(|i| (format!("src/{i}.rs"), 5000)).collect();
        let code: Vec<(&str, u64)> = code.iter().map(|(path, bytes)| (&path[..], *bytes)).collect();
        assert!(outweighed(&code) && !outweighed(&code[1..]), "twice as many are not enough");
        let short: Vec<_> = code.iter().map(|(path, _)| (*path, 9)).collect();
        assert!(!outweighed(&short), "nor if they take little space");
        let annotations = [("a.ann", 90_000), ("a.txt.xml", 90_000), ("x/b.ann", 90_000), ("b.json", 90_000)];
        assert!(!outweighed(&[&annotations[..], &[("annotation.conf", 90_000)]].concat()));
    }
}
