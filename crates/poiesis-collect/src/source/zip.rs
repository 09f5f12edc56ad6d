//! A zip archive of images, read in place; the folders inside it mean what folders on disk mean.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::archive::read_entry;
use super::folder::{others_note, placed};
use super::names::{Names, Rules, is_hidden};
use super::{Halt, Payload, Plan, Sink, Source, source_name};
use crate::decode::is_image_name;
use crate::error::{Error, Result};
use crate::options::Limits;

pub(crate) struct Zip {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
    rules: Rules,
    limits: Limits,
    plan: Plan,
}

impl Zip {
    /// Reads the directory of the archive.
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Zip> {
        let file = File::open(path).map_err(|e| Error::read(path, e))?;
        let archive = ZipArchive::new(BufReader::new(file))
            .map_err(|e| Error::malformed(path, format!("{e}; fetch the archive again")))?;
        let mut names = Names::default();
        let mut others = 0;
        for name in archive.file_names_raw().map(String::from_utf8_lossy) {
            if is_hidden(&name) || name.ends_with('/') {
                continue;
            }
            match is_image_name(&name) {
                true => names.add(&name),
                false => others += 1,
            }
        }
        if names.images == 0 {
            return Err(Error::Empty { path: path.to_owned() });
        }
        let rules = names.rules();
        let plan = Plan {
            name: source_name(path),
            classes: rules.classes.clone(),
            has_splits: rules.has_splits(),
            total: Some(names.images),
            notes: others_note(others),
            ..Plan::default()
        };
        Ok(Zip { path: path.to_owned(), archive, rules, limits: *limits, plan })
    }
}

impl Source for Zip {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for index in 0..self.archive.len() {
            let raw = self.archive.by_index_raw(index);
            let raw =
                raw.map_err(|e| Error::malformed(&self.path, format!("{e}; fetch the archive again")))?;
            let name = String::from_utf8_lossy(raw.name_raw()).into_owned();
            let folder = raw.is_dir();
            drop(raw);
            if folder || is_hidden(&name) || !is_image_name(&name) {
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
