//! A folder of images, with folders inside it as classes and splits.

use std::fs;
use std::path::{Path, PathBuf};

use super::names::{Names, Place, Rules, is_hidden};
use super::{Halt, Item, Payload, Plan, Sink, Source, file_name, source_name};
use crate::decode::is_image_name;
use crate::error::{Error, Result};

pub(crate) struct Folder {
    root: PathBuf,
    rules: Rules,
    plan: Plan,
}

impl Folder {
    /// Looks through a folder; `None` when there is not a single file with the ending of an image in it.
    pub(crate) fn open(root: &Path) -> Result<Option<Folder>> {
        let mut names = Names::default();
        let mut others = 0_u64;
        walk(root, "", &mut Vec::new(), &mut |path, _| {
            match is_image_name(path) {
                true => names.add(path),
                false => others += 1,
            }
            Ok::<(), Error>(())
        })?;
        if names.images == 0 {
            return Ok(None);
        }
        let rules = names.rules();
        let plan = Plan {
            name: source_name(root),
            classes: rules.classes.clone(),
            has_splits: rules.has_splits(),
            total: Some(names.images),
            notes: others_note(others),
            ..Plan::default()
        };
        Ok(Some(Folder { root: root.to_owned(), rules, plan }))
    }
}

impl Source for Folder {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        walk(&self.root, "", &mut Vec::new(), &mut |name, path| {
            if !is_image_name(name) {
                return Ok(());
            }
            let payload = Payload::File(path.to_owned());
            sink.send(placed(&self.rules, name, payload))
        })
    }
}

/// An image with what its path says about it.
pub(crate) fn placed(rules: &Rules, path: &str, payload: Payload) -> Item {
    let name = path.to_owned();
    match rules.place(path) {
        Place::Inside { split, label } => Item { name, split, label, payload },
        Place::Outside => {
            let payload = Payload::Refused("it lies outside the folders of the splits".to_owned());
            Item { name, split: None, label: None, payload }
        }
    }
}

/// What to say about files that are no images.
pub(crate) fn others_note(others: u64) -> Vec<String> {
    match others {
        0 => Vec::new(),
        1 => vec!["1 file of the source is no image and was left alone".to_owned()],
        n => vec![format!("{n} files of the source are no images and were left alone")],
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
