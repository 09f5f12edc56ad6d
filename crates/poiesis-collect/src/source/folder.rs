//! A folder of images, sound or text, with folders inside it as classes and splits.

use std::fs;
use std::path::{Path, PathBuf};

use super::contents::{Contents, Media};
use super::names::{Place, Rules, is_hidden};
use super::{Halt, Item, Payload, Plan, Sink, Source, file_name, parquet, source_name};
use crate::error::{Error, Result};
use crate::options::Options;

pub(crate) struct Folder {
    root: PathBuf,
    rules: Rules,
    plan: Plan,
}

/// The contents of a folder and its subfolders.
pub(crate) struct Found {
    /// All files but the tables.
    pub(crate) contents: Contents,
    /// Parquet files, in the order of their names.
    pub(crate) tables: Vec<PathBuf>,
}

/// Looks through a folder once.
pub(crate) fn look(root: &Path, options: &Options) -> Result<Found> {
    let mut found = Found { contents: Contents::new(options), tables: Vec::new() };
    walk(root, "", &mut Vec::new(), &mut |name, path| {
        if parquet::is_table(name) {
            found.tables.push(path.to_owned());
        } else {
            found.contents.add(name);
        }
        Ok::<(), Error>(())
    })?;
    Ok(found)
}

impl Folder {
    /// Plans with what was found in a folder.
    pub(crate) fn new(root: &Path, contents: Contents, media: Media) -> Result<Folder> {
        let (rules, plan) = contents.plan(source_name(root), media)?;
        Ok(Folder { root: root.to_owned(), rules, plan })
    }
}

impl Source for Folder {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        walk(&self.root, "", &mut Vec::new(), &mut |name, path| {
            if !self.plan.takes(name) {
                return Ok(());
            }
            let payload = Payload::File(path.to_owned());
            sink.send(placed(&self.rules, name, payload))
        })
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

/// Calls `visit` with the path inside the root (parts separated by `/`) and the path on disk of every file that is
/// not hidden, in the order of their names. Links are followed, unless they lead back to a folder above them.
fn walk<E: From<Error>>(
    folder: &Path,
    inside: &str,
    above: &mut Vec<PathBuf>,
    visit: &mut dyn FnMut(&str, &Path) -> Result<(), E>,
) -> Result<(), E> {
    let real = folder.canonicalize().map_err(|e| Error::read(folder, e))?;
    if above.contains(&real) {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|e| Error::read(folder, e))?;
    let names: std::io::Result<Vec<_>> =
        entries.map(|entry| entry.map(|e| (e.file_name(), e.file_type()))).collect();
    let mut names = names.map_err(|e| Error::read(folder, e))?;
    names.sort_by(|a, b| a.0.cmp(&b.0));
    above.push(real);
    for (name, kind) in names {
        let path = folder.join(&name);
        let name = match inside {
            "" => file_name(&path),
            inside => format!("{inside}/{}", file_name(&path)),
        };
        let linked = kind.as_ref().map_or(true, fs::FileType::is_symlink);
        let is_folder = if linked { path.is_dir() } else { kind.is_ok_and(|kind| kind.is_dir()) };
        if is_hidden(&file_name(&path)) {
            continue;
        }
        if is_folder {
            walk(&path, &name, above, visit)?;
        } else {
            visit(&name, &path)?;
        }
    }
    above.pop();
    Ok(())
}
