//! A folder of images, sound, text or points, or a list of such files, with folders inside it as classes and splits.

use std::collections::HashSet;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use super::contents::{Contents, Media};
use super::left::Left;
use super::names::{Place, Rules, is_hidden};
use super::tool_folders::is_made_by_tool;
use super::{Halt, Item, Payload, Plan, Sink, Source, file_name};
use crate::error::{Error, Result};
use crate::regular::{self, NotAFile};

pub(crate) struct Folder {
    files: Files,
    rules: Rules,
    plan: Plan,
}

/// The files of a source on disk.
#[derive(Clone)]
pub(crate) enum Files {
    /// All below a folder.
    Below(PathBuf),
    /// Those that were listed, and all below folders among them, each with its path in the source.
    Listed(Vec<(String, PathBuf)>),
}

impl Files {
    /// Calls `visit` for everything that is neither hidden nor a folder, always in the same order. Links are followed, but no folder
    /// is read twice, and those that tools have made are not read: returned are the folders that were passed over.
    pub(crate) fn each<E: From<Error>>(
        &self,
        visit: &mut dyn FnMut(File) -> Result<(), E>,
    ) -> Result<Passed, E> {
        let files = match self {
            Files::Below(root) => return walk(root, "", visit),
            Files::Listed(files) => files,
        };
        let mut passed = Passed::default();
        for (name, path) in files {
            if path.is_dir() {
                let Passed { again, tools } = walk(path, name, visit)?;
                passed.again.extend(again);
                passed.tools.extend(tools);
            } else {
                let other = fs::metadata(path).ok().and_then(|found| regular::other(found.file_type()));
                visit(File { name, path, other })?;
            }
        }
        Ok(passed)
    }
}

impl Folder {
    /// Plans with what was found among the files; `left` of them are left alone, and `notes` say why some are.
    pub(crate) fn new(
        name: String,
        files: Files,
        contents: Contents,
        media: Media,
        left: &[Left],
        notes: Vec<String>,
    ) -> Result<Folder> {
        let (rules, mut plan) = contents.plan_without(name, media, left)?;
        plan.notes.extend(notes);
        Ok(Folder { files, rules, plan })
    }
}

impl Source for Folder {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        self.files.each(&mut |file| {
            if !self.plan.takes(file.name) {
                return Ok(());
            }
            let payload = match file.other {
                None => Payload::File(file.path.to_owned()),
                Some(other) => Payload::Refused(other.to_string()),
            };
            sink.send(placed(&self.rules, file.name, payload))
        })?;
        Ok(())
    }
}

/// A file with what its path says about it.
pub(crate) fn placed(rules: &Rules, path: &str, payload: Payload) -> Item {
    let name = path.to_owned();
    match rules.place(path) {
        Place::Inside { split, label } => Item { name, split, label, payload },
        Place::Outside => {
            let payload = Payload::Refused("it is outside the folders of the splits".to_owned());
            Item { name, split: None, label: None, payload }
        }
    }
}

/// The folders that a walk has passed over, by their paths in the source.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Links to folders that are read at another place.
    pub(crate) again: Vec<String>,
    /// Folders that tools have made.
    pub(crate) tools: Vec<String>,
}

/// What a walk finds that is not a folder.
pub(crate) struct File<'a> {
    /// Its path in the source, parts separated by `/`.
    pub(crate) name: &'a str,
    /// Its path on disk.
    pub(crate) path: &'a Path,
    /// What it is if it is not a file.
    pub(crate) other: Option<NotAFile>,
}

/// The walk of [`Files::each`] below one folder, whose path in the source is `inside`.
fn walk<E: From<Error>>(
    root: &Path,
    inside: &str,
    visit: &mut dyn FnMut(File) -> Result<(), E>,
) -> Result<Passed, E> {
    let real = root.canonicalize().map_err(|e| Error::read(root, e))?;
    let mut walk = Walk { root: real, visited: HashSet::new(), passed: Passed::default(), visit };
    walk.folder(root, inside, false)?;
    Ok(walk.passed)
}

struct Walk<'a, E> {
    root: PathBuf,
    /// The folders that were read, without links in their paths.
    visited: HashSet<PathBuf>,
    passed: Passed,
    visit: &'a mut dyn FnMut(File) -> Result<(), E>,
}

impl<E: From<Error>> Walk<'_, E> {
    fn folder(&mut self, folder: &Path, inside: &str, linked: bool) -> Result<(), E> {
        let real = folder.canonicalize().map_err(|e| Error::read(folder, e))?;
        if (linked && self.is_read_anyway(&real)) || !self.visited.insert(real) {
            self.passed.again.push(inside.to_owned());
            return Ok(());
        }
        let entries = fs::read_dir(folder).map_err(|e| Error::read(folder, e))?;
        let names: std::io::Result<Vec<_>> =
            entries.map(|entry| entry.map(|e| (e.file_name(), e.file_type()))).collect();
        let mut names = names.map_err(|e| Error::read(folder, e))?;
        names.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, kind) in names {
            let path = folder.join(&name);
            let name = file_name(&path);
            if is_hidden(&name) {
                continue;
            }
            let name = if inside.is_empty() { name } else { format!("{inside}/{name}") };
            let linked = kind.as_ref().map_or(true, FileType::is_symlink);
            // A link that leads nowhere is a file that cannot be read.
            let kind = if linked { fs::metadata(&path).map(|found| found.file_type()) } else { kind }.ok();
            let is_folder = kind.is_some_and(|kind| kind.is_dir());
            if is_folder && is_made_by_tool(&path) {
                self.passed.tools.push(name);
            } else if is_folder {
                self.folder(&path, &name, linked)?;
            } else {
                (self.visit)(File { name: &name, path: &path, other: kind.and_then(regular::other) })?;
            }
        }
        Ok(())
    }

    /// Whether a folder without links in its path is below the root, neither hidden nor in a folder that a tool has made.
    fn is_read_anyway(&self, real: &Path) -> bool {
        let mut above = real.ancestors().take_while(|folder| **folder != *self.root);
        real.strip_prefix(&self.root).is_ok_and(|inside| !is_hidden(&inside.to_string_lossy()))
            && !above.any(is_made_by_tool)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_folder_is_read_twice_however_many_links_lead_to_it() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        // Thirty folders, each with two links to the next: 2^30 paths to the last.
        for i in 0..30 {
            let folder = outside.path().join(i.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("a.png"), "").unwrap();
            let next = outside.path().join((i + 1).to_string());
            symlink(&next, folder.join("left")).unwrap();
            symlink(&next, folder.join("right")).unwrap();
        }
        fs::create_dir(root.path().join("cats")).unwrap();
        fs::write(root.path().join("cats/b.png"), "").unwrap();
        symlink(outside.path().join("0"), root.path().join("all")).unwrap();
        symlink(root.path().join("cats"), root.path().join("a-link")).unwrap();
        symlink("..", root.path().join("cats/up")).unwrap();
        let mut names = Vec::new();
        let again = walk(root.path(), "", &mut |file| {
            names.push(file.name.to_owned());
            Ok::<(), Error>(())
        });
        // The last two links of the thirty lead nowhere.
        assert_eq!(names.len(), 30 + 2 + 1);
        assert_eq!((names[0].as_str(), names[32].as_str()), ("all/a.png", "cats/b.png"));
        let again = again.unwrap().again;
        assert_eq!(again.len(), 29 + 2);
        assert!(["a-link", "all/right", "cats/up"].iter().all(|name| again.iter().any(|a| a == name)));
    }
}
