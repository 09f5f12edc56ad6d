//! What a folder, or a list of files, is taken for: what most of it is.
//!
//! One walk over the whole tree sorts the files, those in subfolders too, into candidates: loose images, sound, text and
//! tables of points; sets of episodes, which are told by the names of arrays, columns and fields; and other data files, which are IDX, CIFAR batches, matrices as text, parquet, tar and zip archives, and arrays of NumPy.
//!
//! - Of the loose files, there is most of what counts most: an image or a clip counts once, a text or a table once for each 64 KiB
//!   it begins. A text that is called like an image or a clip belongs to it, and one called README or LICENSE is about the
//!   others; neither counts.
//! - Between these loose files and the kinds of data files, what takes most on disk is taken, in blocks of 4 KiB.
//! - Files of other names, such as source code, are text if they hold text and outweigh the loose files, in a repository by their number; see
//!   [`Contents::is_outweighed`]. One that is called like a loose file, such as the annotations of a text, belongs to it.
//! - An archive without anything that is read is passed over. So are arrays and tables that hold no images, where the loose files
//!   take at least a tenth of their space.
//!
//! What is left alone is named in the notes. The option `kind` leaves only the candidates that may hold that kind.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::class_table::{CLASS_TABLE, ClassTable};
use super::contents::{Contents, Media};
use super::folder::{File, Files, Folder, Passed};
use super::gzipped_copies::gzipped_note;
use super::left::{Left, Unread, left_alone};
use super::reader::{is_tar, unpacked_name};
use super::together::{Noted, one_of_each, open_each, open_tars};
use super::tool_folders::is_repository;
use super::weights::on_disk;
use super::{Source, amat, cifar, file_name, idx, open_tables, parquet, source_name};
use crate::card::Kind;
use crate::error::{Error, Result};
use crate::experience::{Experience, Part, is_lines, is_wanted};
use crate::options::Options;
use crate::regular::NotAFile;

/// The formats of data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Idx,
    Cifar,
    Matrices,
    Tables,
    Tars,
    Zips,
    Arrays,
}

impl Group {
    /// The format of a file, by its name.
    pub(crate) fn of(name: &str) -> Option<Group> {
        let path = Path::new(name);
        let lower = file_name(path).to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
        if idx::is_images(path) || idx::is_labels(path) {
            return Some(Group::Idx);
        }
        if cifar::is_batch(path) || cifar::is_names(path) {
            return Some(Group::Cifar);
        }
        if amat::is_matrix(path) {
            return Some(Group::Matrices);
        }
        if parquet::is_table(name) {
            return Some(Group::Tables);
        }
        if is_tar(name) {
            return Some(Group::Tars);
        }
        if ends(&[".zip"]) {
            return Some(Group::Zips);
        }
        ends(&[".npy", ".npz"]).then_some(Group::Arrays)
    }

    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Group::Idx => ("IDX file", "IDX files"),
            Group::Cifar => ("file of CIFAR", "files of CIFAR"),
            Group::Matrices => ("matrix as text", "matrices as text"),
            Group::Tables => ("parquet table", "parquet tables"),
            Group::Tars => ("tar archive", "tar archives"),
            Group::Zips => ("zip archive", "zip archives"),
            Group::Arrays => ("file of NumPy arrays", "files of NumPy arrays"),
        }
    }

    /// Whether its files often hold numbers about others, such as features of images.
    fn may_be_other(self) -> bool {
        matches!(self, Group::Tables | Group::Arrays)
    }

    /// Whether it may hold anything but images.
    fn is_archive(self) -> bool {
        matches!(self, Group::Tars | Group::Zips)
    }
}

/// What a source may be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Candidate {
    Loose(Media),
    /// Sets of episodes.
    Experience,
    Data(Group),
}

/// A data file by its path in the source and on disk, with the bytes it takes there.
pub(super) struct DataFile {
    pub(super) name: String,
    pub(super) path: PathBuf,
    disk: u64,
}

/// The files of a source, sorted.
pub(crate) struct Survey {
    contents: Contents,
    data: BTreeMap<Group, Vec<DataFile>>,
    /// Sets of episodes, and the files that they are in.
    episodes: Vec<Part>,
    episode_files: Vec<DataFile>,
    /// Whether it is a repository of source code.
    in_repository: bool,
    /// The folders that tools have made, which were passed over, by their paths in the source.
    tools: Vec<String>,
    /// What was left out, in words.
    notes: Vec<String>,
}

impl Survey {
    /// Looks through all files once. `root` is the folder, if they are those of one.
    pub(crate) fn new(root: Option<&Path>, files: &Files, options: &Options) -> Result<Survey> {
        let table =
            root.filter(|_| options.labels.is_none()).map(ClassTable::of_folder).transpose()?.flatten();
        let has_table = table.is_some();
        let contents = Contents::with_table(options, table);
        let given = options.labels.as_ref().and_then(|labels| labels.canonicalize().ok());
        let mut survey = Survey {
            contents,
            data: BTreeMap::new(),
            episodes: Vec::new(),
            episode_files: Vec::new(),
            in_repository: root.is_some_and(is_repository),
            tools: Vec::new(),
            notes: Vec::new(),
        };
        let mut others = Vec::new();
        let passed = files.each(&mut |File { name, path, other }| {
            if (has_table && name == CLASS_TABLE)
                || given.as_deref().is_some_and(|given| is_same(path, given))
            {
                return Ok(());
            }
            if let Some(NotAFile { what }) = other {
                // It counts as an example that is skipped, with this as the reason.
                match Media::of(name) {
                    Some(_) => survey.contents.add_sized(name, 0),
                    None => others.push(format!("{name} ({what})")),
                }
                return Ok(());
            }
            let bytes = path.metadata().map_or(0, |file| file.len());
            if is_wanted(options) && is_lines(name) && survey.take_lines(name, path, bytes) {
                return Ok(());
            }
            match Group::of(name) {
                Some(group) if survey.contents.includes(name) => {
                    let file =
                        DataFile { name: name.to_owned(), path: path.to_owned(), disk: on_disk(bytes) };
                    survey.data.entry(group).or_default().push(file);
                }
                Some(_) => {}
                None => survey.contents.add_sized(name, bytes),
            }
            Ok::<(), Error>(())
        })?;
        survey.notes = notes(&others, &passed);
        survey.tools = passed.tools;
        if is_wanted(options) {
            survey.take_arrays();
        }
        if has_table && survey.contents.in_table() == 0 {
            // A table of something else, by the same name.
            survey.contents.add_sized(CLASS_TABLE, 0);
        }
        for group in [Group::Idx, Group::Cifar] {
            let found = survey.data.get(&group).is_some_and(|files| is_there(group, files));
            if !found {
                let other = survey.data.remove(&group).map_or(0, |files| files.len() as u64);
                survey.contents.add_others(other);
            }
        }
        Ok(survey)
    }

    /// Files of formats that are not read.
    pub(super) fn unread(&self) -> &Unread {
        &self.contents.unread
    }

    /// Why nothing is found where there are folders that tools have made, and the remedy.
    pub(super) fn only_in_tools(&self) -> Option<(String, String)> {
        let [first, others @ ..] = &self.tools[..] else { return None };
        let reason = match others {
            [] => format!("there is nothing to read outside the folder {first}, which a tool has made"),
            _ => format!("there is nothing to read outside folders that tools have made, such as {first}"),
        };
        Some((reason, "give that folder by itself if it is meant".to_owned()))
    }

    /// Whether files whose names do not say what they are outweigh what the source is taken for: then it is text if they are. Of files
    /// that `include` chooses, they decide where there are no others.
    pub(super) fn is_outweighed(&self, options: &Options) -> bool {
        match self.candidates(None).first() {
            None => true,
            Some(_) if !options.include.is_empty() => false,
            Some((Candidate::Loose(media), _)) => {
                self.contents.is_outweighed(*media, options, self.in_repository)
            }
            Some((Candidate::Experience | Candidate::Data(_), _)) => false,
        }
    }

    /// Adds to what is said of the source.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Takes a file of records as episodes, if it is one.
    fn take_lines(&mut self, name: &str, path: &Path, bytes: u64) -> bool {
        let part = if self.contents.filter.includes(name) { Part::of_file(path, name) } else { None };
        let is_one = part.is_some();
        if is_one && self.contents.includes(name) {
            let (name, path) = (name.to_owned(), path.to_owned());
            self.episode_files.push(DataFile { name, path, disk: on_disk(bytes) });
        }
        self.episodes.extend(part);
        is_one
    }

    /// Takes the sets of episodes out of the arrays.
    fn take_arrays(&mut self) {
        let files = self.data.remove(&Group::Arrays).unwrap_or_default();
        let given: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.path.as_path())).collect();
        let (parts, loose) = Part::of_arrays(&given);
        self.episodes.extend(parts);
        for (at, file) in files.into_iter().enumerate() {
            let part = Part::of_file(&file.path, &file.name);
            if loose.contains(&at) || part.is_some() {
                self.episode_files.push(file);
            } else {
                self.data.entry(Group::Arrays).or_default().push(file);
            }
            self.episodes.extend(part);
        }
        self.episodes.sort_by(|a, b| a.name().cmp(b.name()));
        let names: HashSet<String> = self.episodes.iter().map(|part| part.name().to_owned()).collect();
        let is_copy = |part: &Part| unpacked_name(part.name()).is_some_and(|name| names.contains(&name));
        let copies = self.episodes.extract_if(.., |part| is_copy(part)).count();
        self.notes.extend(gzipped_note(copies as u64));
    }

    /// What the source may be taken for, the likeliest first, each with the bytes it takes on disk.
    fn candidates(&self, kind: Option<Kind>) -> Vec<(Candidate, u64)> {
        let images = kind.is_none_or(|kind| kind == Kind::Images);
        let tables = kind == Some(Kind::Experience);
        let data = self
            .data
            .iter()
            .filter(|(group, _)| images || group.is_archive() || (tables && **group == Group::Tables));
        let mut all: Vec<(Candidate, u64)> = data
            .map(|(group, files)| (Candidate::Data(*group), files.iter().map(|file| file.disk).sum()))
            .collect();
        let mut loose =
            self.contents.ranked().into_iter().map(|(m, weight)| (Candidate::Loose(m), weight.disk));
        if !self.episodes.is_empty() {
            // Of the same size as others, it is the plainer one.
            all.insert(0, (Candidate::Experience, self.episode_files.iter().map(|file| file.disk).sum()));
        }
        all.extend(loose.next());
        all.sort_by_key(|(_, disk)| std::cmp::Reverse(*disk));
        all.extend(loose);
        all
    }

    /// The kind of data to choose for a model that learns `kinds`, those it is meant for first, where the source by itself would
    /// be taken for another: the first if it takes a tenth of the space on disk, else the largest of them. `None` where the source
    /// decides, which it does where it is an archive. `own` is what it would be taken for, where that is not by its files alone.
    pub(crate) fn meant_for(&self, kinds: &[Kind], own: Option<Kind>) -> Option<Kind> {
        let all = self.candidates(None);
        let kind_of = |candidate: Candidate| match candidate {
            Candidate::Loose(media) => Some(media.kind()),
            Candidate::Experience => Some(Kind::Experience),
            Candidate::Data(group) => (!group.is_archive()).then_some(Kind::Images),
        };
        let own = own.or_else(|| kind_of(all.first()?.0))?;
        let disk = |kind: Kind| -> u64 {
            all.iter().filter(|(c, _)| kind_of(*c) == Some(kind)).map(|(_, disk)| disk).sum()
        };
        let first = *kinds.first()?;
        let whole: u64 = all.iter().map(|(_, disk)| disk).sum();
        let wanted = match disk(first) {
            0 if kinds.contains(&own) => own,
            0 => kinds.iter().rev().copied().filter(|kind| disk(*kind) > 0).max_by_key(|kind| disk(*kind))?,
            part if part * 10 >= whole || !kinds.contains(&own) => first,
            _ => own,
        };
        (wanted != own).then_some(wanted)
    }

    /// Opens what most of the source is.
    pub(crate) fn open(mut self, path: &Path, files: Files, options: &Options) -> Result<Box<dyn Source>> {
        // What is in an archive of the folder is not chosen by the names of the folder's files.
        let inner = Options { include: Vec::new(), labels: None, ..options.clone() };
        let candidates = self.candidates(options.kind);
        let loose = candidates.iter().filter(|(candidate, _)| matches!(candidate, Candidate::Loose(_)));
        let loose = loose.map(|(_, disk)| *disk).max().unwrap_or(0);
        let mut passed = Vec::new();
        for (candidate, disk) in candidates {
            let opened = match candidate {
                Candidate::Loose(media) => {
                    let left = self.left(Candidate::Loose(media));
                    passed.extend(self.notes);
                    let name = source_name(path);
                    return Ok(Box::new(Folder::new(name, files, self.contents, media, &left, passed)?));
                }
                Candidate::Experience => {
                    let parts = std::mem::take(&mut self.episodes);
                    Experience::open(path, parts, options).map(|source| Box::new(source) as Box<dyn Source>)
                }
                Candidate::Data(group) => self.open_data(path, group, &inner),
            };
            let may_be_other = matches!(candidate, Candidate::Data(group) if group.may_be_other());
            match opened {
                Err(Error::Empty { .. }) => {}
                Err(Error::Malformed { path, reason, .. }) if may_be_other && loose * 10 >= disk => {
                    passed.push(format!("{} was left alone: {reason}", path.display()));
                }
                Err(error) => return Err(error),
                Ok(source) => {
                    let mut plan = source.plan().clone();
                    plan.notes.extend(left_alone(&self.left(candidate)));
                    plan.notes.extend(self.unread().notes());
                    plan.notes.extend(passed);
                    plan.notes.extend(self.contents.check_include()?);
                    plan.notes.extend(self.notes);
                    plan.filter = self.contents.filter.clone();
                    return Ok(Box::new(Noted { source, plan }));
                }
            }
        }
        self.contents.check_include()?;
        Err(Error::Empty { path: path.to_owned() })
    }

    /// The files that do not belong to a candidate.
    fn left(&self, chosen: Candidate) -> Vec<Left> {
        let data = self.data.iter().filter(|(group, _)| Candidate::Data(**group) != chosen);
        let mut left: Vec<Left> = data
            .map(|(group, files)| {
                let (one, many) = group.words();
                Left { count: files.len() as u64, one, many, chosen_by: true }
            })
            .collect();
        if chosen != Candidate::Experience {
            let (one, many) = Media::Experience.words();
            let count = self.episode_files.len() as u64;
            left.push(Left { count, one, many, chosen_by: true });
        }
        let media = match chosen {
            Candidate::Loose(media) => Some(media),
            Candidate::Experience | Candidate::Data(_) => None,
        };
        left.extend(self.contents.left(media));
        left
    }

    fn open_data(&self, path: &Path, group: Group, options: &Options) -> Result<Box<dyn Source>> {
        let files = &self.data[&group];
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        match group {
            Group::Idx => {
                one_of_each(path, &paths)?;
                Ok(Box::new(idx::Idx::open(path, &paths)?))
            }
            Group::Cifar => {
                one_of_each(path, &paths)?;
                Ok(Box::new(cifar::Cifar::open(path, &paths)?))
            }
            Group::Matrices => {
                one_of_each(path, &paths)?;
                Ok(Box::new(amat::Amat::open(path, &paths)?))
            }
            Group::Tables => {
                let named = files.iter().map(|file| (file.name.as_str(), file.path.as_path()));
                open_tables(path, &named.collect::<Vec<_>>(), options)
            }
            Group::Tars => open_tars(path, files, options),
            Group::Zips | Group::Arrays => open_each(path, group, files, options),
        }
    }
}

/// Whether a path leads to the file at `full`, a path without links.
fn is_same(path: &Path, full: &Path) -> bool {
    path.file_name() == full.file_name() && path.canonicalize().is_ok_and(|found| found == full)
}

/// What to say of `others`, which are no files, and of the folders that were passed over.
fn notes(others: &[String], Passed { again, tools }: &Passed) -> Vec<String> {
    let note = |all: &[String], one: &str, many: &str| match all {
        [] => None,
        [only] => Some(format!("{only} {one} and was left out")),
        [first, ..] => Some(format!("{} {many}, such as {first}, and were left out", all.len())),
    };
    let others = note(others, "is not a file", "in the source are not files");
    let again = note(
        again,
        "is a link to a folder that is read anyway",
        "links lead to folders that are read anyway",
    );
    let tools = match &tools[..] {
        [] => None,
        [only] => Some(format!("the folder {only} was made by a tool and was left out")),
        [first, ..] => {
            Some(format!("{} folders that tools have made, such as {first}, were left out", tools.len()))
        }
    };
    [others, again, tools].into_iter().flatten().collect()
}

/// Whether a group has the files that it takes its name from.
fn is_there(group: Group, files: &[DataFile]) -> bool {
    let mut paths = files.iter().map(|file| file.path.as_path());
    match group {
        Group::Idx => paths.any(idx::is_images),
        _ => cifar::are_batches(paths),
    }
}
