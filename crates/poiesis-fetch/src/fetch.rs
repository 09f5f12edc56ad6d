//! A whole set: what is there is left alone, and what is missing is fetched, file by file.

use std::collections::VecDeque;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::address::{Candidate, candidates};
use crate::archive::repack;
use crate::error::{Error, Fault, Result, Tried};
use crate::event::Event;
use crate::options::Options;
use crate::part::{Part, digest_of, sweep};
use crate::published::{Archive, File, Published};
use crate::transfer::{End, Transfers, Wanted, Watch, tell};

/// The files of a set that is there.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// In the order of the list.
    pub files: Vec<FetchedFile>,
}

/// A file of a set that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedFile {
    /// Where it is.
    pub path: PathBuf,
    /// The address it came from; `None` if it was there already.
    pub from: Option<String>,
}

/// Brings the files of a set into the folder of data sets.
///
/// Files that are there with the published checksum are left alone. The others are written under a name that ends with `.part` until
/// they are whole, have the published checksum, and are on the disk. Where the call ends before that, by an error, by `watch` or by
/// a kill, what has come stays there, and the next call continues. As long as a set is not whole, at least one such file is in its
/// folder, unless none of its files is there.
///
/// `watch` hears of each [`Event`], and ends the call by [`ControlFlow::Break`].
///
/// # Errors
///
/// [`Error::NoAddress`] where no address gave a file; [`Error::OtherContent`] where something else has the name of a file;
/// [`Error::Busy`], [`Error::Io`], [`Error::BadOption`] and [`Error::Stopped`].
pub fn fetch(
    set: &Published,
    data_dir: &Path,
    options: &Options,
    watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Fetched> {
    let mut open = VecDeque::new();
    let fetched = fetch_missing(set, data_dir, options, &mut open, watch);
    if fetched.is_err() {
        tidy(set, data_dir, open);
    }
    fetched
}

/// Fetches what is missing; `open` gets the files that are, and keeps those that are not done.
fn fetch_missing(
    set: &Published,
    data_dir: &Path,
    options: &Options,
    open: &mut VecDeque<Gathered>,
    watch: &mut Watch<'_>,
) -> Result<Fetched> {
    // All are made before the first connection: a disk that cannot be written to is known at once, and a set of which some files are
    // missing can be told from a whole one.
    for index in missing(set, data_dir, options, watch)? {
        open.push_back(Gathered::open(set, data_dir, index, options.again)?);
    }
    let mut fetched: Vec<FetchedFile> =
        set.files.iter().map(|file| FetchedFile { path: set.path(data_dir, file), from: None }).collect();
    let mut transfers = Transfers::new(options);
    let mut preferred = 0;
    while let Some(gathered) = open.front_mut() {
        let file = &set.files[gathered.index];
        let all = candidates(set, file, options.from.as_ref());
        preferred = gathered.bring(set, &all, preferred, &mut transfers, watch)?;
        let address = all[preferred].address.to_string();
        let Some(gathered) = open.pop_front() else { break };
        let (index, kept) = (gathered.index, file.bytes);
        gathered.finish(&fetched[index].path)?;
        let event = Event::Done { file, address: &address };
        if watch(event).is_break() {
            return Err(Error::Stopped { file: file.name.clone(), kept });
        }
        fetched[index].from = Some(address);
    }
    Ok(Fetched { files: fetched })
}

/// The indices of the files that are to be fetched.
fn missing(set: &Published, data_dir: &Path, options: &Options, watch: &mut Watch<'_>) -> Result<Vec<usize>> {
    let mut missing = Vec::new();
    for (index, file) in set.files.iter().enumerate() {
        let path = set.path(data_dir, file);
        let digest = if options.again { None } else { digest_of(&path)? };
        match digest {
            None => missing.push(index),
            Some(digest) if digest == file.sha256 => {
                // A kill may have come between the last two steps.
                set.parts(data_dir, file).iter().for_each(|part| sweep(part));
                if watch(Event::AlreadyThere { file }).is_break() {
                    return Err(Error::Stopped { file: file.name.clone(), kept: file.bytes });
                }
            }
            Some(got) => return Err(Error::OtherContent { path, got, expected: file.sha256.clone() }),
        }
    }
    Ok(missing)
}

/// A file that is being fetched: what there is of it, and of the archive that it is made of.
struct Gathered {
    /// Which file of the set it is.
    index: usize,
    part: Part,
    archive: Option<Part>,
}

impl Gathered {
    fn open(set: &Published, data_dir: &Path, index: usize, again: bool) -> Result<Gathered> {
        let mut parts = Vec::new();
        for path in set.parts(data_dir, &set.files[index]) {
            let mut part = Part::open(&path)?;
            if again {
                part.clear()?;
            }
            parts.push(part);
        }
        let mut parts = parts.into_iter();
        let part = parts.next().unwrap_or_else(|| unreachable!("each file has a part"));
        Ok(Gathered { index, part, archive: parts.next() })
    }

    /// Brings the file from the first address that has it, beginning with the `preferred` one, and returns which that is.
    fn bring(
        &mut self,
        set: &Published,
        all: &[Candidate],
        preferred: usize,
        transfers: &mut Transfers<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<usize> {
        let file = &set.files[self.index];
        let order: Vec<usize> = (0..all.len()).map(|i| (preferred + i) % all.len()).collect();
        let mut tried = Vec::new();
        for (place, &index) in order.iter().enumerate() {
            let address = all[index].address.to_string();
            let fault = match self.bring_from(file, &all[index], transfers, watch) {
                Ok(()) => return Ok(index),
                Err(End::Fault(fault)) => fault,
                Err(End::Error(error)) => return Err(error),
            };
            let next = order.get(place + 1).map(|&next| all[next].address.to_string());
            let event = Event::Failed { file, address: &address, fault: &fault, next: next.as_deref() };
            tell(watch, file, &self.part, event)?;
            tried.push(Tried { address, fault });
        }
        Err(Error::NoAddress { file: format!("{}/{}", set.folder, file.name), tried })
    }

    fn bring_from(
        &mut self,
        file: &File,
        from: &Candidate,
        transfers: &mut Transfers<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<(), End> {
        if let Some(archive) = file.archive.as_ref().filter(|_| from.is_archive) {
            return self.bring_archive(file, archive, from, transfers, watch);
        }
        let (bytes, sha256) = (Some(file.bytes), Some(file.sha256.as_str()));
        let wanted = Wanted { file, bytes, limit: file.bytes, sha256 };
        transfers.bring(wanted, &from.address, &mut self.part, watch)?;
        Ok(())
    }

    /// Brings an archive, and makes the file of its members. One that was continued and has come out wrong is fetched once from its
    /// beginning.
    fn bring_archive(
        &mut self,
        file: &File,
        archive: &Archive,
        from: &Candidate,
        transfers: &mut Transfers<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<(), End> {
        let Some(gathered) = &mut self.archive else { return Err(Fault::NotFound.into()) };
        let wanted = Wanted { file, bytes: None, limit: archive.limit(), sha256: None };
        let mut anew = false;
        loop {
            let came = transfers.bring(wanted, &from.address, gathered, watch)?;
            tell(watch, file, gathered, Event::Unpacking { file })?;
            let repacked = repack(gathered.path(), archive, file.bytes, &mut self.part);
            let fault = match repacked {
                Ok(()) if self.part.digest() == file.sha256 => return Ok(()),
                Ok(()) => Fault::WrongChecksum { got: self.part.digest(), expected: file.sha256.clone() },
                Err(End::Fault(fault)) => fault,
                Err(error) => return Err(error),
            };
            self.part.clear()?;
            gathered.clear()?;
            if !came.resumed || anew {
                return Err(fault.into());
            }
            anew = true;
        }
    }

    fn finish(self, path: &Path) -> Result<()> {
        self.part.finish(path)?;
        self.archive.map_or(Ok(()), Part::remove)
    }
}

impl Archive {
    /// Most bytes that are taken of it: what a host makes anew may grow a little.
    fn limit(&self) -> u64 {
        self.bytes.saturating_mul(2)
    }
}

/// Leaves what can be continued. An empty file stays only as a sign that its file is missing where others of the set are there.
fn tidy(set: &Published, data_dir: &Path, open: impl IntoIterator<Item = Gathered>) {
    let is_begun = set.files.iter().any(|file| set.path(data_dir, file).exists());
    for Gathered { index, part, archive } in open {
        let is_sign = is_begun && !set.path(data_dir, &set.files[index]).exists();
        // What cannot be removed does no harm.
        if part.len() == 0 && !is_sign {
            let _ = part.remove();
        }
        if let Some(archive) = archive.filter(|archive| archive.len() == 0) {
            let _ = archive.remove();
        }
    }
    // Only if it is empty.
    let _ = fs::remove_dir(data_dir.join(&set.folder));
}
