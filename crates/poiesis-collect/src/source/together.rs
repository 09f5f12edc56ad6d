//! Data files of one format that are read together as one data set, or as the shards of one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::contents::Media;
use super::gzipped_copies::without_gzipped_copies;
use super::several::{Opened, Several};
use super::survey::{DataFile, Group};
use super::{Halt, Plan, Sink, Source, file_name, open_file, source_name, tar};
use crate::error::{Error, Result};
use crate::options::Options;

/// A file of each name: two data sets in two folders are not one.
pub(super) fn one_of_each(source: &Path, files: &[PathBuf]) -> Result<()> {
    let mut places: BTreeMap<String, &Path> = BTreeMap::new();
    for file in files {
        let name = file_name(file).to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name).to_owned();
        let folder = file.parent().unwrap_or(source);
        let other = *places.entry(name).or_insert(folder);
        if other != folder {
            let [one, two] = [other, folder].map(|folder| folder.display());
            let reason = format!("it holds several data sets ({one} and {two})");
            return Err(Error::damaged(source, reason, "give one of them"));
        }
    }
    Ok(())
}

/// Archives in one folder are read one after another as shards; those of several folders are put together.
pub(super) fn open_tars(path: &Path, files: &[DataFile], options: &Options) -> Result<Box<dyn Source>> {
    let mut folders: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        folders.entry(folder).or_default().push(file.path.clone());
    }
    if folders.len() == 1 {
        let (shards, packed) = without_gzipped_copies(folders.into_values().flatten().collect());
        return tar::open(path, &shards, packed, options);
    }
    let mut opened = Vec::new();
    let mut empty = 0;
    for (folder, shards) in folders {
        let (shards, packed) = without_gzipped_copies(shards);
        let part = path.join(folder);
        match tar::open(&part, &shards, packed, options) {
            Ok(source) => {
                let name = Path::new(folder).join("shards").to_string_lossy().into_owned();
                opened.push(Opened { name, path: part.join("shards"), source });
            }
            Err(Error::Empty { .. }) => empty += shards.len() as u64,
            Err(error) => return Err(error),
        }
    }
    together(path, Group::Tars, opened, empty)
}

/// Opens each file by itself.
pub(super) fn open_each(
    path: &Path,
    group: Group,
    files: &[DataFile],
    options: &Options,
) -> Result<Box<dyn Source>> {
    let mut opened = Vec::new();
    let mut empty = 0;
    for file in files {
        match open_file(&file.path, options) {
            Ok(source) => {
                opened.push(Opened { name: file.name.clone(), path: file.path.clone(), source });
            }
            Err(Error::Empty { .. }) => empty += 1,
            Err(error) => return Err(error),
        }
    }
    together(path, group, opened, empty)
}

/// One data set of several files, or of those with the kind that most of them hold. `empty` files hold nothing.
fn together(path: &Path, group: Group, mut opened: Vec<Opened>, empty: u64) -> Result<Box<dyn Source>> {
    let mut counts = [0_u64; 5];
    for file in &opened {
        let plan = file.source.plan();
        counts[plan.media as usize] += plan.total.unwrap_or(0);
    }
    let most = Media::ALL.into_iter().rev().max_by_key(|media| counts[*media as usize]);
    let all = opened.len() as u64 + empty;
    opened.retain(|file| Some(file.source.plan().media) == most);
    let passed = all - opened.len() as u64;
    let source = match opened.len() {
        0 => return Err(Error::Empty { path: path.to_owned() }),
        1 => opened.remove(0).source,
        _ => Box::new(Several::new(source_name(path), opened, group == Group::Arrays)?),
    };
    let mut plan = source.plan().clone();
    let (one, many) = group.words();
    match passed {
        0 => {}
        1 => plan.notes.push(format!("1 {one} holds nothing of that kind and was left alone")),
        n => plan.notes.push(format!("{n} {many} hold nothing of that kind and were left alone")),
    }
    Ok(Box::new(Noted { source, plan }))
}

/// A source with more to say.
pub(super) struct Noted {
    pub(super) source: Box<dyn Source>,
    pub(super) plan: Plan,
}

impl Source for Noted {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        self.source.read(sink)
    }
}
