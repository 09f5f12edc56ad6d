//! Tar archives of images, sound or text, plain or compressed, read in place and in order. Several archives make one
//! source. When images come with `.cls` or `.json` files of the same name, they are WebDataset shards.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tar::{Archive, Entries};

use super::archive::read_entry;
use super::contents::{Contents, Media};
use super::encoding::escaped;
use super::folder::placed;
use super::metered::{Meter, Metered};
use super::names::{Rules, is_hidden};
use super::reader::Packing;
use super::webdataset::{Survey, WebDataset, label_in};
use super::{
    FETCH, Halt, Item, Payload, Plan, Sink, Source, cifar, file_name, source_name, split_of, splits_differ,
};
use crate::card::Kind;
use crate::error::{Error, Result};
use crate::options::{Limits, Options};
use crate::regular;

pub(crate) struct Tar {
    shards: Vec<PathBuf>,
    rules: Rules,
    by_shard: bool,
    limits: Limits,
    plan: Plan,
}

/// Looks through archives and finds out what is in them. `notes` are about the archives themselves.
pub(crate) fn open(
    name: &Path,
    shards: &[PathBuf],
    notes: Option<String>,
    options: &Options,
) -> Result<Box<dyn Source>> {
    let limits = &options.limits;
    let mut contents = Contents::new(options);
    let mut surveys = [Media::Image, Media::Sound].map(Survey::of);
    let (mut batches, mut images) = (0, 0);
    for shard in shards {
        each_entry(shard, &mut |entry| {
            contents.add_sized(&entry.path, entry.size);
            if !contents.filter.includes(&entry.path) {
                return Ok(());
            }
            if cifar::is_batch_of(Path::new(&entry.path), entry.size) {
                batches += entry.size;
            } else if Media::of(&entry.path) == Some(Media::Image) {
                images += entry.size;
            }
            let label = label_in(&entry.path, entry.reader);
            surveys.iter_mut().for_each(|survey| survey.add(&entry.path, label.clone()));
            Ok::<(), Error>(())
        })?;
        surveys.iter_mut().for_each(Survey::end_shard);
    }
    let media = contents.media();
    // A picture of the data may lie beside the batches.
    let may_be_images = options.kind.is_none_or(|kind| kind == Kind::Images);
    if batches > images && may_be_images {
        return Ok(Box::new(cifar::Cifar::open_tar(&shards[0])?));
    }
    let Some(media) = media else {
        return Err(Error::Empty { path: name.to_owned() });
    };
    let by_shard = splits_differ(shards);
    let survey = surveys.into_iter().find(|survey| survey.media() == media);
    let unread = survey.as_ref().and_then(Survey::note);
    if let Some(survey) = survey.filter(Survey::is_webdataset) {
        let filter = contents.filter;
        return Ok(Box::new(WebDataset::new(name, shards, by_shard, survey, notes, limits, filter)));
    }
    let (rules, mut plan) = contents.plan(source_name(name), media)?;
    plan.has_splits |= by_shard;
    plan.notes.extend(notes.into_iter().chain(unread));
    Ok(Box::new(Tar { shards: shards.to_vec(), rules, by_shard, limits: *limits, plan }))
}

impl Source for Tar {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn read(&mut self, sink: &mut Sink) -> Result<(), Halt> {
        for shard in &self.shards {
            let split = if self.by_shard { split_of(shard) } else { None };
            each_entry(shard, &mut |mut entry| {
                if !self.plan.takes(&entry.path) {
                    return Ok(());
                }
                let payload = entry.payload(&self.limits);
                let mut item = placed(&self.rules, &entry.path, payload);
                if self.shards.len() > 1 {
                    item.name = format!("{}: {}", file_name(shard), item.name);
                }
                sink.send(Item { split: item.split.or(split), ..item })
            })?;
        }
        Ok(())
    }
}

/// A file inside a tar archive.
pub(crate) struct Entry<'a> {
    pub(crate) path: String,
    pub(crate) size: u64,
    /// Whether it is a link or another thing without content of its own.
    link: bool,
    pub(crate) reader: &'a mut dyn Read,
}

impl Entry<'_> {
    /// The content, within the limits.
    pub(crate) fn payload(&mut self, limits: &Limits) -> Payload {
        if self.link {
            return Payload::Refused("it is a link, not a file".to_owned());
        }
        read_entry(&self.path, self.size, self.reader, limits)
    }
}

/// Calls `visit` for every file of an archive in order, except hidden ones.
pub(crate) fn each_entry<E: From<Error>>(
    path: &Path,
    visit: &mut dyn FnMut(Entry) -> Result<(), E>,
) -> Result<(), E> {
    let file = regular::open(path).map_err(|e| Error::read(path, e))?;
    let end = file.metadata().map_err(|e| Error::read(path, e))?.len();
    let mut file = BufReader::with_capacity(1 << 17, file);
    let meter = Meter::new();
    if let Some(packing) = Packing::of(file.fill_buf().map_err(|e| Error::read(path, e))?) {
        let reader = packing.unpack(file).map_err(|e| broken(path, &e))?;
        let mut archive = Archive::new(Metered::new(BufReader::with_capacity(1 << 17, reader), &meter));
        let entries = archive.entries().map_err(|e| broken(path, &e))?;
        visit_entries(path, entries, u64::MAX, &meter, visit)?;
        // Reading on to the end lets the packing check its sum over everything.
        io::copy(&mut archive.into_inner().into_inner(), &mut io::sink()).map_err(|e| broken(path, &e))?;
        return Ok(());
    }
    let mut archive = Archive::new(Metered::new(file, &meter));
    let entries = archive.entries_with_seek().map_err(|e| broken(path, &e))?;
    visit_entries(path, entries, end, &meter, visit)
}

fn visit_entries<R: Read, E: From<Error>>(
    path: &Path,
    entries: Entries<R>,
    end: u64,
    meter: &Meter,
    visit: &mut dyn FnMut(Entry) -> Result<(), E>,
) -> Result<(), E> {
    for entry in entries {
        let mut entry = entry.map_err(|e| broken(path, &e))?;
        let name = escaped(&entry.path_bytes());
        let kind = entry.header().entry_type();
        // Of a sparse file, the archive holds only what is not empty.
        let stored = if kind.is_gnu_sparse() { entry.header().entry_size() } else { Ok(entry.size()) };
        let stored = stored.map_err(|e| broken(path, &e))?;
        meter.begin(stored);
        if entry.raw_file_position().saturating_add(stored) > end {
            let reason = format!("it ends early, within {name}");
            return Err(Error::damaged(path, reason, FETCH).into());
        }
        let whole = kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse();
        let link = kind.is_symlink() || kind.is_hard_link();
        if is_hidden(&name) || !(whole || link) {
            continue;
        }
        visit(Entry { path: name, size: entry.size(), link, reader: &mut entry })?;
    }
    Ok(())
}

fn broken(path: &Path, error: &io::Error) -> Error {
    Error::damaged(path, error.to_string(), FETCH)
}
