//! What a folder or an archive is taken for, by the names of its files: images, sound, text or points.

use std::collections::BTreeSet;
use std::sync::Arc;

use glob::{MatchOptions, Pattern};

use super::class_table::ClassTable;
use super::encoding::{escaped_note, is_escaped};
use super::gzipped_copies::{GzippedCopies, gzipped_note};
use super::label_file::LabelFile;
use super::left::{Left, Unread, left_alone};
use super::names::{ClassBy, Names, Rules};
use super::reader::unpacked_name;
use super::survey::Group;
use super::weights::{Weight, Weights};
use super::{Plan, split_of_name};
use crate::card::Kind;
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
    /// Episodes, which are told by what a file holds and not by its name.
    Experience,
}

impl Media {
    /// Those of loose files; of two that weigh the same, the first is meant.
    pub(crate) const ALL: [Media; 4] = [Media::Image, Media::Sound, Media::Text, Media::Points];

    /// The files of one kind of data.
    pub(crate) fn of_kind(kind: Kind) -> Media {
        match kind {
            Kind::Images => Media::Image,
            Kind::Sound => Media::Sound,
            Kind::Text => Media::Text,
            Kind::Points => Media::Points,
            Kind::Experience => Media::Experience,
        }
    }

    /// The kind of data that they become.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Media::Image => Kind::Images,
            Media::Sound => Kind::Sound,
            Media::Text => Kind::Text,
            Media::Points => Kind::Points,
            Media::Experience => Kind::Experience,
        }
    }

    /// One file and several, in words.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Media::Image => ("image", "images"),
            Media::Sound => ("sound file", "sound files"),
            Media::Text => ("text", "texts"),
            Media::Points => ("table of points", "tables of points"),
            Media::Experience => ("file of experience", "files of experience"),
        }
    }

    pub(crate) fn of(name: &str) -> Option<Media> {
        const SOUND: [&str; 7] = ["wav", "wave", "w64", "flac", "mp3", "ogg", "oga"];
        const TEXT: [&str; 4] = ["txt", "text", "jsonl", "ndjson"];
        const POINTS: [&str; 2] = ["csv", "tsv"];
        let known = |name: &str, endings: &[&str]| {
            let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
            endings.iter().any(|known| ending.eq_ignore_ascii_case(known))
        };
        let unpacked = unpacked_name(name);
        let unzipped = unpacked.as_deref().unwrap_or(name);
        match name {
            name if is_image_name(name) => Some(Media::Image),
            name if known(name, &SOUND) => Some(Media::Sound),
            _ if known(unzipped, &TEXT) => Some(Media::Text),
            _ if known(unzipped, &POINTS) => Some(Media::Points),
            _ => None,
        }
    }
}

/// Which files of a source are read, and as what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Whether everything is text whose name does not say otherwise.
    any_text: bool,
    include: Vec<Pattern>,
}

impl Filter {
    pub(crate) fn new(options: &Options) -> Filter {
        // Options::check has refused bad patterns.
        let include = options.include.iter().filter_map(|text| Pattern::new(text).ok()).collect();
        Filter { any_text: options.kind == Some(Kind::Text), include }
    }

    /// Whether all files are looked at.
    pub(crate) fn is_open(&self) -> bool {
        self.include.is_empty()
    }

    /// Whether a file is looked at.
    pub(crate) fn includes(&self, path: &str) -> bool {
        self.include.is_empty() || self.include.iter().any(|pattern| matches(pattern, path))
    }

    /// What a file is taken for.
    pub(crate) fn media(&self, path: &str) -> Option<Media> {
        match Media::of(path) {
            known @ Some(Media::Image | Media::Sound) => known,
            _ if self.any_text => Group::of(path).is_none().then_some(Media::Text),
            known => known,
        }
    }
}

/// The files of a source, gathered in a first pass over their names.
pub(crate) struct Contents {
    choices: Choices,
    pub(crate) filter: Filter,
    /// What the user says the source is.
    kind: Option<Media>,
    /// The names of images, sound, text and points.
    names: [Names; 4],
    weights: Weights,
    /// How many files are of no kind that is known.
    others: u64,
    /// Files of formats that are not read.
    pub(super) unread: Unread,
    /// Files that no pattern of `include` matches, and whether one matches a file.
    excluded: u64,
    included: bool,
    /// Files whose names are not UTF-8.
    escaped: u64,
    gzipped: GzippedCopies,
    /// For each pattern, whether a file of that kind of content matches.
    matched: [Vec<bool>; 4],
    /// The splits that files name.
    named_splits: [BTreeSet<Option<Split>>; 4],
    table: Option<Arc<ClassTable>>,
    /// The table that the user gave.
    labels: Option<Arc<LabelFile>>,
}

impl Contents {
    pub(crate) fn new(options: &Options) -> Contents {
        Contents::with_table(options, None)
    }

    /// Begins without files; `table` gives their classes where the options name no other way. A table that the options name can be
    /// read, or the source would not be looked through.
    pub(crate) fn with_table(options: &Options, table: Option<ClassTable>) -> Contents {
        let choices = Choices::new(options);
        let table = table.map(Arc::new);
        let labels = options.labels.as_ref().and_then(|path| LabelFile::read(path).ok()).map(Arc::new);
        let by = match &labels {
            Some(labels) => ClassBy::File(Arc::clone(labels)),
            None => class_by(options, table.as_ref()),
        };
        let matched = [(); 4].map(|()| vec![false; choices.patterns.len()]);
        let filter = Filter::new(options);
        Contents {
            choices,
            kind: options.kind.map(Media::of_kind),
            names: [(); 4].map(|()| Names::new(by.clone())),
            weights: Weights::default(),
            others: 0,
            unread: Unread::default(),
            excluded: 0,
            included: false,
            filter,
            escaped: 0,
            gzipped: GzippedCopies::default(),
            matched,
            named_splits: Default::default(),
            table: table.filter(|_| matches!(by, ClassBy::Table(_))),
            labels,
        }
    }

    /// Takes note of a file by its path in the source, parts separated by `/`.
    pub(crate) fn add(&mut self, path: &str) {
        self.add_sized(path, 0);
    }

    /// Takes note of a file whose size is known, in bytes.
    pub(crate) fn add_sized(&mut self, path: &str, bytes: u64) {
        if !self.includes(path) {
            return;
        }
        self.escaped += u64::from(is_escaped(path));
        let Some(media) = self.filter.media(path) else {
            if !self.unread.add(path) {
                self.others += 1;
                self.weights.add_other(path, bytes);
            }
            return;
        };
        self.names[media as usize].add(path);
        self.weights.add(path, media, bytes);
        for ((.., pattern), matched) in self.choices.patterns.iter().zip(&mut self.matched[media as usize]) {
            *matched |= matches(pattern, path);
        }
        self.named_splits[media as usize].insert(split_of_name(path));
        if matches!(media, Media::Text | Media::Points) {
            self.gzipped.add(path);
        }
    }

    /// Whether a file is looked at. Files that are not are counted.
    pub(crate) fn includes(&mut self, path: &str) -> bool {
        let includes = self.filter.includes(path);
        self.included |= includes;
        self.excluded += u64::from(!includes);
        includes
    }

    /// The kinds of loose files that the source may be taken for, the one that most of it is first.
    pub(crate) fn ranked(&self) -> Vec<(Media, Weight)> {
        let there = |media: &Media| {
            self.names[*media as usize].files > 0 && self.kind.is_none_or(|kind| kind == *media)
        };
        let found = Media::ALL.into_iter().filter(there);
        let mut found: Vec<_> = found.map(|media| (media, self.weights.of(media))).collect();
        found.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        found
    }

    /// What the source is taken for: what the user says, or what most of it is.
    pub(crate) fn media(&self) -> Option<Media> {
        self.ranked().first().map(|(media, _)| *media)
    }

    /// The files that are left alone when the source is taken for `media`, or for none of its loose files.
    pub(crate) fn left(&self, media: Option<Media>) -> Vec<Left> {
        let others = Media::ALL.into_iter().filter(|other| Some(*other) != media);
        let mut left: Vec<Left> = others
            .map(|other| {
                let (one, many) = other.words();
                Left { count: self.names[other as usize].files, one, many, chosen_by: true }
            })
            .collect();
        left.push(Left { count: self.others, one: "other file", many: "other files", chosen_by: false });
        left
    }

    /// Refuses patterns of which none matches a file; else says how many files they leave out.
    pub(crate) fn check_include(&self) -> Result<Option<String>> {
        if !self.filter.is_open() && !self.included {
            let patterns: Vec<&str> = self.filter.include.iter().map(Pattern::as_str).collect();
            return Err(no_match("include", &patterns.join(", ")));
        }
        Ok(match self.excluded {
            0 => None,
            1 => Some("1 file matches no pattern of `include` and was left alone".to_owned()),
            n => Some(format!("{n} files match no pattern of `include` and were left alone")),
        })
    }

    /// Plans with the files of one kind.
    pub(crate) fn plan(self, name: String, media: Media) -> Result<(Rules, Plan)> {
        let left = self.left(Some(media));
        self.plan_without(name, media, &left)
    }

    /// Plans with the files of one kind, where all that is left alone is known.
    pub(crate) fn plan_without(mut self, name: String, media: Media, left: &[Left]) -> Result<(Rules, Plan)> {
        let include_note = self.check_include()?;
        for ((option, _, pattern), matched) in self.choices.patterns.iter().zip(&self.matched[media as usize])
        {
            if !matched {
                return Err(no_match(option, pattern.as_str()));
            }
        }
        let names = &mut self.names[media as usize];
        // One novel may be called a test; splits are meant when every file names one.
        let splits = &self.named_splits[media as usize];
        let by_file = matches!(media, Media::Text | Media::Points)
            && splits.len() > 1
            && splits.contains(&Some(Split::Train))
            && !splits.contains(&None);
        let mut rules = names.rules(by_file, self.choices.splits());
        self.choices.check_classes(&rules)?;
        if let Some(labels) = &self.labels {
            rules.labels = names.labels()?;
            labels.expect_classes(&rules.classes)?;
        }
        let filter = self.filter;
        let copies = self.gzipped.copies(|path| filter.media(path) == Some(media));
        let mut notes: Vec<String> = left_alone(left).into_iter().collect();
        notes.extend(self.unread.notes());
        notes.extend(include_note);
        notes.extend(gzipped_note(copies.len() as u64));
        if let Some(table) = self.table.filter(|_| names.owning > 0) {
            notes.extend(table.notes(names.files - names.owning));
        }
        if let Some(labels) = &self.labels {
            let (named, all) = (rules.labels.len(), names.files);
            notes.push(format!("{} gives {named} of {all} images a class", labels.name()));
        }
        notes.extend(escaped_note(self.escaped));
        let plan = Plan {
            name,
            media,
            classes: rules.classes.clone(),
            has_splits: rules.has_splits(),
            total: Some(names.files - copies.len() as u64),
            labelled: self.labels.is_some(),
            notes,
            copies,
            filter,
            ..Plan::default()
        };
        Ok((rules, plan))
    }

    /// Whether files whose names do not say what they are outweigh those of `media`.
    pub(crate) fn is_outweighed(&self, media: Media, options: &Options, in_repository: bool) -> bool {
        self.weights.are_outweighed(media, options.are_of_text(), in_repository)
    }

    /// Counts files that are none of these.
    pub(crate) fn add_others(&mut self, count: u64) {
        self.others += count;
    }

    /// How many files are in the table of classes.
    pub(crate) fn in_table(&self) -> u64 {
        self.table.as_ref().map_or(0, |_| self.names.iter().map(|names| names.owning).sum())
    }
}

/// Where classes come from when the user gave no table; `table` lies beside the files.
fn class_by(options: &Options, table: Option<&Arc<ClassTable>>) -> ClassBy {
    match (options.class_level, options.label_from_name, table) {
        (Some(level), ..) => ClassBy::Level(level.saturating_sub(1) as usize),
        (None, true, _) => ClassBy::Prefix,
        (None, false, Some(table)) => ClassBy::Table(Arc::clone(table)),
        (None, false, None) => ClassBy::Folders,
    }
}

fn no_match(option: &'static str, pattern: &str) -> Error {
    Error::BadOption {
        option,
        value: pattern.to_owned(),
        reason: "no file of the source matches it",
        remedy: "give a pattern for names of files, or for paths if it has a /",
    }
}

/// What the user says about the names of files.
struct Choices {
    label_from_name: bool,
    class_level: Option<u32>,
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
        let patterns = patterns.collect();
        Choices { label_from_name: options.label_from_name, class_level: options.class_level, patterns }
    }

    fn splits(&self) -> Vec<(Split, Pattern)> {
        self.patterns.iter().map(|(_, split, pattern)| (*split, pattern.clone())).collect()
    }

    /// Refuses a way to name classes that names none.
    fn check_classes(&self, rules: &Rules) -> Result<()> {
        if !rules.classes.is_empty() {
            return Ok(());
        }
        let (option, value, reason) = match (self.label_from_name, self.class_level) {
            (true, _) => {
                ("label_from_name", "true".to_owned(), "no file name of the source has a `_` after its class")
            }
            (false, Some(level)) => {
                ("class_level", level.to_string(), "no file of the source is in that many folders")
            }
            (false, None) => return Ok(()),
        };
        Err(Error::BadOption { option, value, reason, remedy: "leave it out, and classes come from folders" })
    }
}

/// Whether a pattern means the file at this path: its name, or its path where the pattern has a `/`.
pub(crate) fn matches(pattern: &Pattern, path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let of = if pattern.as_str().contains('/') { path } else { name };
    pattern.matches_with(of, MatchOptions::default())
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
        assert_eq!([of("a.csv"), of("b/c.TSV.gz"), of("a.csv.zst")], [Some(Media::Points); 3]);
        assert_eq!([of("a.mp3"), of("b/c.OGG"), of("a.w64")], [Some(Media::Sound); 3]);
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
