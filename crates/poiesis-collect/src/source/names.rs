//! What the names of folders mean: `train`, `valid`, `test`, … are splits, the folders below them (or at the top) are
//! classes. The same rules hold for folders on disk and inside archives.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use glob::Pattern;

use super::class_table::ClassTable;
use super::contents::matches;
use super::label_file::{LabelFile, Named};
use super::split_of_name;
use crate::error::Result;
use crate::split::Split;

/// Where the class of a file comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClassBy {
    /// The first folder that is not shared by all files and is no split.
    #[default]
    Folders,
    /// The folder at this depth below the source, counted from 0.
    Level(usize),
    /// The part of its name before the first `_`.
    Prefix,
    /// A table of files and classes.
    Table(Arc<ClassTable>),
    /// A table of files and classes that the user gave.
    File(Arc<LabelFile>),
}

impl ClassBy {
    /// The class of a file, unless folders tell it.
    fn own<'a>(&'a self, path: &'a str) -> Option<&'a str> {
        match self {
            ClassBy::Folders | ClassBy::Level(_) | ClassBy::File(_) => None,
            ClassBy::Prefix => prefix_of(path),
            ClassBy::Table(table) => table.class_of(path.strip_prefix("./").unwrap_or(path)),
        }
    }
}

/// The folders that hold files of one kind, gathered in a first pass over the names of all files.
#[derive(Default)]
pub(crate) struct Names {
    /// Folders as lists of their parts; the empty list is the top.
    folders: BTreeSet<Vec<String>>,
    /// How many files there are.
    pub(crate) files: u64,
    by: ClassBy,
    /// Classes that do not come from folders, and how many files have one.
    own: BTreeSet<String>,
    pub(crate) owning: u64,
    /// The files that the user's table names.
    named: Named,
}

impl Names {
    /// Begins without files.
    pub(crate) fn new(by: ClassBy) -> Names {
        Names { by, ..Names::default() }
    }

    /// Takes note of the path of a file, its parts separated by `/`.
    pub(crate) fn add(&mut self, path: &str) {
        self.files += 1;
        if escapes(path) {
            return;
        }
        if let ClassBy::File(table) = &self.by {
            self.named.add(table, path);
        }
        if let Some(class) = self.by.own(path) {
            self.owning += 1;
            if !self.own.contains(class) {
                self.own.insert(class.to_owned());
            }
        }
        let folder = folder_of(path);
        if !self.folders.contains(&folder) {
            self.folders.insert(folder);
        }
    }

    /// The class of each file that the user's table names.
    ///
    /// # Errors
    ///
    /// Those of [`Named::classes`].
    pub(crate) fn labels(&self) -> Result<HashMap<String, String>> {
        match &self.by {
            ClassBy::File(table) => self.named.classes(table),
            _ => Ok(HashMap::new()),
        }
    }

    /// The rules that all paths together imply. With `by_file`, the names of files tell their splits where no folders
    /// do; `patterns` come before both.
    pub(crate) fn rules(&self, by_file: bool, patterns: Vec<(Split, Pattern)>) -> Rules {
        // A folder that has everything in it has no meaning, such as one named after the data set or a lone `train`.
        let depth = common_depth(&self.folders);
        let below: Vec<&[String]> = self.folders.iter().map(|folder| &folder[depth..]).collect();
        let firsts: BTreeSet<&str> = below.iter().filter_map(|f| f.first()).map(String::as_str).collect();
        let splits: BTreeSet<Split> = firsts.iter().filter_map(|name| Split::parse(name)).collect();
        let only_splits = firsts.iter().all(|name| Split::parse(name).is_some());
        // One folder called `train` among others may well be a class; two splits are not a coincidence.
        let by_split = splits.len() > 1 && (only_splits || splits.contains(&Split::Train));
        let class_at = depth + usize::from(by_split);
        let inside = |folder: &&Vec<String>| !by_split || split_at(folder, depth).is_some();
        let classes: BTreeSet<&String> =
            self.folders.iter().filter(inside).filter_map(|folder| folder.get(class_at)).collect();
        let (classes, class_at) = match &self.by {
            ClassBy::Level(level) => {
                let classes: BTreeSet<&String> = self.folders.iter().filter_map(|f| f.get(*level)).collect();
                (classes.into_iter().cloned().collect(), ClassAt::Folder(*level))
            }
            by @ (ClassBy::Prefix | ClassBy::Table(_)) if !self.own.is_empty() => {
                (self.own.iter().cloned().collect(), ClassAt::Own(by.clone()))
            }
            ClassBy::File(table) => {
                let names: Vec<String> = match classes.is_empty() {
                    true => table.classes().into_iter().map(str::to_owned).collect(),
                    false => classes.into_iter().cloned().collect(),
                };
                (names, ClassAt::Labels { folder: class_at })
            }
            // With a table of other files, folders are the classes.
            ClassBy::Folders | ClassBy::Table(_) => {
                (classes.into_iter().cloned().collect(), ClassAt::Folder(class_at))
            }
            ClassBy::Prefix => (Vec::new(), ClassAt::Own(ClassBy::Prefix)),
        };
        let split_at = by_split.then_some(depth);
        Rules { split_at, by_file, patterns, class_at, labels: HashMap::new(), classes }
    }
}

/// Where in a path the split and the class are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    split_at: Option<usize>,
    by_file: bool,
    patterns: Vec<(Split, Pattern)>,
    class_at: ClassAt,
    /// The classes of files by their paths, where the user gave a table of them.
    pub(crate) labels: HashMap<String, String>,
    /// Names of the classes, sorted.
    pub(crate) classes: Vec<String>,
}

/// What gives a file its class.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ClassAt {
    /// The part of its path at this depth.
    Folder(usize),
    /// Something other than its folders.
    Own(ClassBy),
    /// The user's table; of a held-out file that it does not name, the part of its path at this depth.
    Labels { folder: usize },
}

/// What the path of a file says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Inside {
        split: Option<Split>,
        label: Option<u32>,
    },
    /// There are split folders, and the file is in none of them.
    Outside,
}

impl Rules {
    /// Whether paths tell the splits.
    pub(crate) fn has_splits(&self) -> bool {
        self.split_at.is_some() || self.by_file || !self.patterns.is_empty()
    }

    /// Reads the path of a file.
    pub(crate) fn place(&self, path: &str) -> Place {
        let folder = folder_of(path);
        let chosen = self.patterns.iter().find(|(_, pattern)| matches(pattern, path));
        let split = match (chosen, self.split_at) {
            (Some((split, _)), _) => Some(*split),
            (None, Some(at)) => match split_at(&folder, at) {
                None => return Place::Outside,
                split => split,
            },
            (None, None) if self.by_file => split_of_name(path),
            (None, None) => (!self.patterns.is_empty()).then_some(Split::Train),
        };
        let in_folder = |at: usize| folder.get(at).map(String::as_str);
        let class = match &self.class_at {
            ClassAt::Folder(at) => in_folder(*at),
            ClassAt::Own(by) => by.own(path),
            ClassAt::Labels { folder } => {
                let held_out = matches!(split, Some(Split::Validation | Split::Test));
                let named = self.labels.get(path).map(String::as_str);
                named.or_else(|| in_folder(*folder).filter(|_| held_out))
            }
        };
        let index = |class: &str| self.classes.binary_search_by(|known| known.as_str().cmp(class)).ok();
        let label = class.and_then(index).map(|index| index as u32);
        Place::Inside { split, label }
    }
}

/// Whether a path is a hidden file or a macOS resource fork.
pub(crate) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part == "__MACOSX" || (part.starts_with('.') && part != "." && part != ".."))
}

/// Whether a path inside an archive points out of it.
pub(crate) fn escapes(path: &str) -> bool {
    let mut chars = path.chars();
    let drive = chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':');
    drive || path.starts_with(['/', '\\']) || path.split(['/', '\\']).any(|part| part == "..")
}

/// The part of a file name before the first `_`.
fn prefix_of(path: &str) -> Option<&str> {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.split_once('_').map(|(prefix, _)| prefix).filter(|prefix| !prefix.is_empty())
}

/// The folders of a path, without the file and without `.`.
fn folder_of(path: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    folder.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect()
}

fn split_at(folder: &[String], at: usize) -> Option<Split> {
    folder.get(at).and_then(|name| Split::parse(name))
}

/// How many leading parts all folders share.
fn common_depth(folders: &BTreeSet<Vec<String>>) -> usize {
    // In sorted order the first and the last differ at least as early as any two.
    let (Some(first), Some(last)) = (folders.first(), folders.last()) else { return 0 };
    first.iter().zip(last).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(paths: &[&str]) -> Rules {
        let mut names = Names::default();
        paths.iter().for_each(|path| names.add(path));
        names.rules(false, Vec::new())
    }

    fn place(split: Option<Split>, label: Option<u32>) -> Place {
        Place::Inside { split, label }
    }

    #[test]
    fn a_flat_folder_has_no_labels() {
        let rules = rules(&["./png/a.png", "png/b.png"]);
        assert_eq!((rules.has_splits(), rules.classes.len()), (false, 0));
        assert_eq!(rules.place("png/b.png"), place(None, None));
    }

    #[test]
    fn class_folders_become_labels_below_any_number_of_common_folders() {
        let rules = rules(&["pets/images/dog/1.png", "pets/images/cat/young/2.png", "pets/images/3.png"]);
        assert_eq!(rules.classes, ["cat", "dog"]);
        assert_eq!(rules.place("pets/images/cat/young/2.png"), place(None, Some(0)));
        assert_eq!(rules.place("pets/images/3.png"), place(None, None));
    }

    #[test]
    fn split_folders_become_splits() {
        let rules = rules(&["x/train/dog/1.png", "x/val/cat/2.png", "x/extra/3.png"]);
        assert_eq!(rules.classes, ["cat", "dog"]);
        assert_eq!(rules.place("x/train/dog/1.png"), place(Some(Split::Train), Some(1)));
        assert_eq!(rules.place("x/val/cat/9.png"), place(Some(Split::Validation), Some(0)));
        assert_eq!(rules.place("x/extra/3.png"), Place::Outside);
    }

    #[test]
    fn a_class_may_be_called_train() {
        let rules = rules(&["train/1.png", "plane/2.png", "ship/3.png"]);
        assert_eq!(
            (rules.has_splits(), &rules.classes[..]),
            (false, &["plane", "ship", "train"].map(String::from)[..])
        );
    }

    #[test]
    fn a_lone_split_folder_says_nothing() {
        let rules = rules(&["train/dog/1.png", "train/cat/2.png"]);
        assert_eq!((rules.has_splits(), rules.classes.len()), (false, 2));
    }

    #[test]
    fn the_folder_of_a_level_is_the_class() {
        let level = |level: usize, paths: &[&str]| {
            let mut names = Names::new(ClassBy::Level(level));
            paths.iter().for_each(|path| names.add(path));
            names.rules(false, Vec::new())
        };
        let paths = ["pets/cat/indoor/1.png", "pets/dog/2.png", "birds/owl/3.png", "4.png"];
        let second = level(1, &paths);
        assert_eq!(second.classes, ["cat", "dog", "owl"]);
        assert_eq!(second.place(paths[2]), place(None, Some(2)));
        assert_eq!(second.place(paths[3]), place(None, None));
        let third = level(2, &paths);
        assert_eq!(
            (&third.classes[..], third.place(paths[1])),
            (&["indoor".to_owned()][..], place(None, None))
        );
        // Splits keep their meaning.
        let split = level(1, &["train/cat/1.png", "test/dog/2.png"]);
        assert_eq!(split.place("test/dog/2.png"), place(Some(Split::Test), Some(1)));
    }

    #[test]
    fn paths_that_leave_the_archive_are_known() {
        for bad in ["../a.png", "a/../../b.png", "/etc/a.png", "C:/a.png", "a\\..\\b.png"] {
            assert!(escapes(bad), "{bad}");
        }
        assert!(!escapes("a/b..c/d.png"));
        assert!(is_hidden("__MACOSX/a.png") && is_hidden("a/._b.png") && !is_hidden("./a/b.png"));
    }
}
