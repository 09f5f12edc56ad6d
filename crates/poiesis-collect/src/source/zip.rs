//! A zip archive of images, sound or text, read in place; the folders inside it mean what folders on disk mean.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::archive::read_entry;
use super::contents::Contents;
use super::encoding::CodePage;
use super::folder::placed;
use super::names::{Rules, is_hidden};
use super::{FETCH, Halt, Payload, Plan, Sink, Source, source_name};
use crate::error::{Error, Result};
use crate::options::{Limits, Options};
use crate::regular;

pub(crate) struct Zip {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
    rules: Rules,
    /// Of the names that are not UTF-8.
    page: CodePage,
    limits: Limits,
    plan: Plan,
}

impl Zip {
    /// Reads the directory of the archive.
    pub(crate) fn open(path: &Path, options: &Options) -> Result<Zip> {
        let file = regular::open(path).map_err(|e| Error::read(path, e))?;
        let archive =
            ZipArchive::new(BufReader::new(file)).map_err(|e| Error::damaged(path, e.to_string(), FETCH))?;
        let page = CodePage::of(archive.file_names_raw());
        let mut contents = Contents::new(options);
        let (mut backslashes, mut decoded) = (0_u64, 0_u64);
        for raw in archive.file_names_raw() {
            let name = path_of(raw, page);
            if !is_hidden(&name.path) && !name.path.ends_with('/') {
                contents.add(&name.path);
                backslashes += u64::from(name.backslashes);
                decoded += u64::from(str::from_utf8(raw).is_err());
            }
        }
        let Some(media) = contents.media() else {
            return Err(Error::Empty { path: path.to_owned() });
        };
        let (rules, mut plan) = contents.plan(source_name(path), media)?;
        if backslashes > 0 {
            plan.notes.push(format!(
                "{backslashes} names in the archive have \\ between folders, which was read as /"
            ));
        }
        plan.notes.extend(page.note(decoded));
        if archive.has_duplicate_names() {
            plan.notes.push("the archive names some files twice, of which the last are read".to_owned());
        }
        Ok(Zip { path: path.to_owned(), archive, rules, page, limits: options.limits, plan })
    }
}

impl Source for Zip {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for index in 0..self.archive.len() {
            let raw = self.archive.by_index_raw(index);
            let raw = raw.map_err(|e| Error::damaged(&self.path, e.to_string(), FETCH))?;
            let name = path_of(raw.name_raw(), self.page).path;
            let folder = raw.is_dir() || name.ends_with('/');
            drop(raw);
            if folder || is_hidden(&name) || !self.plan.takes(&name) {
                continue;
            }
            let payload = match self.archive.by_index(index) {
                Ok(entry) if entry.is_symlink() => Payload::Refused("it is a link, not a file".to_owned()),
                Ok(mut entry) => read_entry(&name, entry.size(), &mut entry, &self.limits),
                Err(error) => Payload::Refused(error.to_string()),
            };
            sink.send(placed(&self.rules, &name, payload))?;
        }
        Ok(())
    }
}

/// The name of an entry as a path with parts separated by `/`.
struct EntryName {
    path: String,
    backslashes: bool,
}

/// Some programs write `\` between folders, against the format.
fn path_of(name: &[u8], page: CodePage) -> EntryName {
    let name = page.decode(name);
    EntryName { path: name.replace('\\', "/"), backslashes: name.contains('\\') }
}
