//! What the names of folders mean: `train`, `valid`, `test`, … are splits, the folders below them (or at the top) are
//! classes. The same rules hold for folders on disk and inside archives.

use std::collections::BTreeSet;

use crate::split::Split;

/// The folders that hold images, gathered in a first pass over the names of all files.
#[derive(Default)]
pub(crate) struct Names {
    /// Folders as lists of their parts; the empty list is the top.
    folders: BTreeSet<Vec<String>>,
    /// How many images there are.
    pub(crate) images: u64,
}

impl Names {
    /// Takes note of the path of an image, its parts separated by `/`.
    pub(crate) fn add(&mut self, path: &str) {
        self.images += 1;
        if escapes(path) {
            return;
        }
        let folder = folder_of(path);
        if !self.folders.contains(&folder) {
            self.folders.insert(folder);
        }
    }

    /// The rules that all paths together imply.
    pub(crate) fn rules(&self) -> Rules {
        // Folders that hold everything say nothing, be it the name of the set or a lone `train`.
        let depth = common_depth(&self.folders);
        let below: Vec<&[String]> = self.folders.iter().map(|folder| &folder[depth..]).collect();
        let firsts: BTreeSet<&str> = below.iter().filter_map(|f| f.first()).map(String::as_str).collect();
        let splits: BTreeSet<Split> = firsts.iter().filter_map(|name| Split::parse(name)).collect();
        let only_splits = firsts.iter().all(|name| Split::parse(name).is_some());
        // One folder called `train` among others may well be a class; two splits are no coincidence.
        let by_split = splits.len() > 1 && (only_splits || splits.contains(&Split::Train));
        let class_at = depth + usize::from(by_split);
        let inside = |folder: &&Vec<String>| !by_split || split_at(folder, depth).is_some();
        let classes: BTreeSet<&String> =
            self.folders.iter().filter(inside).filter_map(|folder| folder.get(class_at)).collect();
        Rules {
            split_at: by_split.then_some(depth),
            class_at,
            classes: classes.into_iter().cloned().collect(),
        }
    }
}

/// Where split and class stand in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    split_at: Option<usize>,
    class_at: usize,
    /// Names of the classes, sorted.
    pub(crate) classes: Vec<String>,
}

/// What the path of an image says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Inside {
        split: Option<Split>,
        label: Option<u32>,
    },
    /// There are split folders, and the image is in none of them.
    Outside,
}

impl Rules {
    /// Whether paths tell the splits.
    pub(crate) fn has_splits(&self) -> bool {
        self.split_at.is_some()
    }

    /// Reads the path of an image.
    pub(crate) fn place(&self, path: &str) -> Place {
        let folder = folder_of(path);
        let split = self.split_at.and_then(|at| split_at(&folder, at));
        if self.has_splits() && split.is_none() {
            return Place::Outside;
        }
        let class = folder.get(self.class_at);
        let label = class.and_then(|class| self.classes.binary_search(class).ok()).map(|index| index as u32);
        Place::Inside { split, label }
    }
}

/// Whether a path belongs to the housekeeping of some program: hidden files and macOS resource forks.
pub(crate) fn is_hidden(path: &str) -> bool {
    path.split('/').any(|part| part == "__MACOSX" || (part.starts_with('.') && part != "." && part != ".."))
}

/// Whether a path inside an archive points out of it.
pub(crate) fn escapes(path: &str) -> bool {
    let mut chars = path.chars();
    let drive = chars.next().is_some_and(|c| c.is_ascii_alphabetic()) && chars.next() == Some(':');
    drive || path.starts_with(['/', '\\']) || path.split(['/', '\\']).any(|part| part == "..")
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
        names.rules()
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
    fn paths_that_leave_the_archive_are_known() {
        for bad in ["../a.png", "a/../../b.png", "/etc/a.png", "C:/a.png", "a\\..\\b.png"] {
            assert!(escapes(bad), "{bad}");
        }
        assert!(!escapes("a/b..c/d.png"));
        assert!(is_hidden("__MACOSX/a.png") && is_hidden("a/._b.png") && !is_hidden("./a/b.png"));
    }
}
