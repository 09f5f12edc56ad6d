//! What a folder or an archive is taken for, by the names of its files: images, sound, text or points.

use std::collections::BTreeSet;

use glob::{MatchOptions, Pattern};

use super::gzipped_copies::{GzippedCopies, gzipped_note};
use super::names::{Names, Rules};
use super::{Plan, split_of_name};
use crate::decode::is_image_name;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::split::Split;

/// What a file holds, by the ending of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Media {
    #[default]
    Image,
    Sound,
    Text,
    /// Tables of numbers.
    Points,
}

impl Media {
    pub(crate) fn of(name: &str) -> Option<Media> {
        const SOUND: [&str; 3] = ["wav", "wave", "flac"];
        const TEXT: [&str; 4] = ["txt", "text", "jsonl", "ndjson"];
        const POINTS: [&str; 2] = ["csv", "tsv"];
        let known = |name: &str, endings: &[&str]| {
            let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
            endings.iter().any(|known| ending.eq_ignore_ascii_case(known))
        };
        let unzipped = if known(name, &["gz"]) { &name[..name.len() - 3] } else { name };
        match name {
            name if is_image_name(name) => Some(Media::Image),
            name if known(name, &SOUND) => Some(Media::Sound),
            _ if known(unzipped, &TEXT) => Some(Media::Text),
            _ if known(unzipped, &POINTS) => Some(Media::Points),
            _ => None,
        }
    }
}

/// The files of a source, gathered in a first pass over their names.
pub(crate) struct Contents {
    choices: Choices,
    /// The names of images, sound, text and points.
    names: [Names; 4],
    others: u64,
    gzipped: GzippedCopies,
    /// For each pattern, whether a file of that kind of content matches.
    matched: [Vec<bool>; 4],
    /// The splits that files name.
    named_splits: [BTreeSet<Option<Split>>; 4],
}

impl Contents {
    pub(crate) fn new(options: &Options) -> Contents {
        let choices = Choices::new(options);
        let names = [(); 4].map(|()| Names::new(choices.label_from_name));
        let matched = [(); 4].map(|()| vec![false; choices.patterns.len()]);
        Contents {
            choices,
            names,
            others: 0,
            gzipped: GzippedCopies::default(),
            matched,
            named_splits: Default::default(),
        }
    }

    /// Takes note of a file by its path in the source, parts separated by `/`.
    pub(crate) fn add(&mut self, path: &str) {
        let Some(media) = Media::of(path) else {
            self.others += 1;
            return;
        };
        self.names[media as usize].add(path);
        for ((.., pattern), matched) in self.choices.patterns.iter().zip(&mut self.matched[media as usize]) {
            *matched |= matches(pattern, path);
        }
        self.named_splits[media as usize].insert(split_of_name(path));
        if matches!(media, Media::Text | Media::Points) {
            self.gzipped.add(path);
        }
    }

    /// What the source is taken for: images if there is one, else sound, else text, else points.
    pub(crate) fn media(&self) -> Option<Media> {
        let there = |media: &Media| self.names[*media as usize].files > 0;
        [Media::Image, Media::Sound, Media::Text, Media::Points].into_iter().find(there)
    }

    /// Plans with the files of one kind.
    pub(crate) fn plan(mut self, name: String, media: Media) -> Result<(Rules, Plan)> {
        for ((option, _, pattern), matched) in self.choices.patterns.iter().zip(&self.matched[media as usize])
        {
            if !matched {
                return Err(Error::BadOption {
                    option,
                    value: pattern.as_str().to_owned(),
                    reason: "no file of the source matches it",
                    remedy: "give a pattern for names of files, or for paths if it has a /",
                });
            }
        }
        let files: u64 = self.names.iter().map(|names| names.files).sum();
        let names = &mut self.names[media as usize];
        // One novel may be called a test; splits are meant when every file names one.
        let splits = &self.named_splits[media as usize];
        let by_file = matches!(media, Media::Text | Media::Points)
            && splits.len() > 1
            && splits.contains(&Some(Split::Train))
            && !splits.contains(&None);
        let rules = names.rules(by_file, self.choices.splits());
        if self.choices.label_from_name && rules.classes.is_empty() {
            return Err(Error::BadOption {
                option: "label_from_name",
                value: "true".to_owned(),
                reason: "no file name of the source has a `_` after its class",
                remedy: "leave it out, and classes come from folders",
            });
        }
        let copies = self.gzipped.copies_of(media);
        let mut notes = others_note(self.others + files - names.files, media);
        notes.extend(gzipped_note(copies.len() as u64));
        let plan = Plan {
            name,
            media,
            classes: rules.classes.clone(),
            has_splits: rules.has_splits(),
            total: Some(names.files - copies.len() as u64),
            notes,
            copies,
            ..Plan::default()
        };
        Ok((rules, plan))
    }
}

/// What the user says about the names of files.
struct Choices {
    label_from_name: bool,
    /// The option, the split it is for, and the pattern.
    patterns: Vec<(&'static str, Split, Pattern)>,
}

impl Choices {
    fn new(options: &Options) -> Choices {
        let test = options.test_files.iter().map(|text| ("test_files", Split::Test, text));
        let validation =
            options.validation_files.iter().map(|text| ("validation_files", Split::Validation, text));
        let patterns = test.chain(validation).filter_map(|(option, split, text)| {
            // Options::check has refused bad ones.
            Some((option, split, Pattern::new(text).ok()?))
        });
        Choices { label_from_name: options.label_from_name, patterns: patterns.collect() }
    }

    fn splits(&self) -> Vec<(Split, Pattern)> {
        self.patterns.iter().map(|(_, split, pattern)| (*split, pattern.clone())).collect()
    }
}

/// Whether a pattern means the file at this path: its name, or its path where the pattern has a `/`.
pub(crate) fn matches(pattern: &Pattern, path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let of = if pattern.as_str().contains('/') { path } else { name };
    pattern.matches_with(of, MatchOptions::default())
}

/// What to say about files that are left alone.
fn others_note(others: u64, media: Media) -> Vec<String> {
    let (one, many) = match media {
        Media::Image => ("is not an image", "are not images"),
        Media::Sound => ("is not sound", "are not sound"),
        Media::Text => ("is not text", "are not text"),
        Media::Points => ("is not a table of points", "are not tables of points"),
    };
    match others {
        0 => Vec::new(),
        1 => vec![format!("1 file of the source {one} and was left alone")],
        n => vec![format!("{n} files of the source {many} and were left alone")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::names::Place;

    fn plan(options: &Options, paths: &[&str]) -> Result<(Rules, Plan)> {
        let mut contents = Contents::new(options);
        paths.iter().for_each(|path| contents.add(path));
        let media = contents.media().unwrap();
        contents.plan("x".to_owned(), media)
    }

    #[test]
    fn endings_tell_what_a_file_holds() {
        let of = |name| Media::of(name);
        assert_eq!(of("a/b.PNG"), Some(Media::Image));
        assert_eq!([of("a.Wav"), of("x.flac")], [Some(Media::Sound); 2]);
        assert_eq!([of("a.txt"), of("a.jsonl.gz"), of("a.b.TXT.GZ")], [Some(Media::Text); 3]);
        assert_eq!([of("a.csv"), of("b/c.TSV.gz")], [Some(Media::Points); 2]);
        assert_eq!([of("a.gz"), of("wav"), of("a.tar.gz"), of("a.wav.gz"), of("é.é")], [None; 5]);
    }

    #[test]
    fn patterns_choose_splits_by_name_or_by_path() {
        let options = Options {
            test_files: vec!["*_[0-4].wav".to_owned()],
            validation_files: vec!["b/*".to_owned()],
            ..Options::default()
        };
        let (rules, plan) = plan(&options, &["a/x_0.wav", "a/x_10.wav", "b/x_7.wav", "b/x_3.wav"]).unwrap();
        assert!(plan.has_splits);
        let split = |path| match rules.place(path) {
            Place::Inside { split, .. } => split,
            Place::Outside => None,
        };
        assert_eq!(split("a/x_0.wav"), Some(Split::Test));
        assert_eq!(split("./b/x_3.wav"), Some(Split::Test), "the test split comes first");
        assert_eq!(split("b/x_7.wav"), Some(Split::Validation));
        assert_eq!(split("a/x_10.wav"), Some(Split::Train));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_refused() {
        let options = Options { test_files: vec!["z*".to_owned()], ..Options::default() };
        let error = plan(&options, &["a.wav"]).unwrap_err().to_string();
        assert!(error.contains("`test_files` cannot be z*: no file"), "{error}");
    }

    #[test]
    fn names_of_files_give_classes_when_asked() {
        let options = Options { label_from_name: true, ..Options::default() };
        let (rules, planned) =
            plan(&options, &["r/7_jackson_3.wav", "r/0_theo_1.wav", "r/noise.wav"]).unwrap();
        assert_eq!(planned.classes, ["0", "7"]);
        let label = |path| match rules.place(path) {
            Place::Inside { label, .. } => label,
            Place::Outside => None,
        };
        assert_eq!(
            [label("r/7_jackson_3.wav"), label("r/0_x.wav"), label("noise.wav")],
            [Some(1), Some(0), None]
        );
        assert!(plan(&options, &["a.wav", "b.wav"]).is_err());
    }

    #[test]
    fn text_files_are_splits_only_when_each_names_one() {
        let splits = |paths: &[&str]| plan(&Options::default(), paths).unwrap().1.has_splits;
        assert!(splits(&["wiki.train.txt", "wiki.valid.txt", "wiki.test.txt"]));
        assert!(!splits(&["dickens.txt", "the_test_of_time.txt"]));
        assert!(!splits(&["train.txt"]));
    }
}
