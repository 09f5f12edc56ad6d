//! Files next to their own compressed copies: `a.txt` and `a.txt.gz`, `b.tar` and `b.txz`. Each is read once.

use std::collections::HashSet;
use std::path::PathBuf;

use super::reader::unpacked_name;

/// The files without the compressed copies of others, and a note on these. Of two compressed copies the first is kept.
pub(crate) fn without_gzipped_copies(files: Vec<PathBuf>) -> (Vec<PathBuf>, Option<String>) {
    let count = files.len();
    let plain_name = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).and_then(unpacked_name);
        name.map(|name| file.with_file_name(name))
    };
    let mut names: HashSet<PathBuf> =
        files.iter().filter(|file| plain_name(file).is_none()).cloned().collect();
    let kept: Vec<PathBuf> =
        files.into_iter().filter(|file| plain_name(file).is_none_or(|name| names.insert(name))).collect();
    let note = gzipped_note((count - kept.len()) as u64);
    (kept, note)
}

/// Finds the compressed copies among the files of a source, in a first pass over their names.
#[derive(Default)]
pub(crate) struct GzippedCopies {
    /// Hashes of the names of files that are not compressed: a source may have millions.
    plain: HashSet<u64>,
    packed: Vec<String>,
}

impl GzippedCopies {
    /// Adds a file.
    pub(crate) fn add(&mut self, path: &str) {
        match unpacked_name(path) {
            Some(_) => self.packed.push(path.to_owned()),
            None => _ = self.plain.insert(hash(path)),
        }
    }

    /// The files, among those that are read, that are compressed copies of others.
    pub(crate) fn copies(self, read: impl Fn(&str) -> bool) -> HashSet<String> {
        let is_copy =
            |path: &String| unpacked_name(path).is_some_and(|name| self.plain.contains(&hash(&name)));
        self.packed.into_iter().filter(|path| read(path)).filter(is_copy).collect()
    }
}

fn hash(path: &str) -> u64 {
    let mut head = [0; 8];
    head.copy_from_slice(&blake3::hash(path.as_bytes()).as_bytes()[..8]);
    u64::from_le_bytes(head)
}

/// The note on compressed copies.
pub(crate) fn gzipped_note(count: u64) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 file is a compressed copy of another and is not read twice".to_owned()),
        n => Some(format!("{n} files are compressed copies of others and are not read twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_and_its_own_archive_are_one() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let files = ["a/x.gz", "a/x", "b/x", "c.tar", "c.TGZ", "c.tar.xz", "d.tar.gz", "d.tgz", "e.txt.gz"];
        let (kept, note) = without_gzipped_copies(paths(&files));
        assert_eq!(kept, paths(&["a/x", "b/x", "c.tar", "d.tar.gz", "e.txt.gz"]));
        assert_eq!(note.as_deref(), Some("4 files are compressed copies of others and are not read twice"));
        assert_eq!(without_gzipped_copies(paths(&["a.gz", "b"])), (paths(&["a.gz", "b"]), None));
        let mut copies = GzippedCopies::default();
        ["a.txt.gz", "b/a.txt", "b/a.txt.gz", "c.csv"].iter().for_each(|path| copies.add(path));
        assert_eq!(copies.copies(|path| path.contains(".txt")), HashSet::from(["b/a.txt.gz".to_owned()]));
    }
}
