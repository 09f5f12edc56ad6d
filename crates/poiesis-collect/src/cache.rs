//! The cache into which [`open_or_collect`](crate::open_or_collect) packs raw sources: what lies in it, and removing it. Also what
//! killed processes have left beside an output folder, and what is known of the images or the sound of a source that is not packed yet.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dataset::CARD_FILE;
use crate::error::{Error, Result};
use crate::staging::{self, LOCK_FILE, Staging};

/// What lies in a cache.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// What was packed there, by name.
    pub entries: Vec<Cached>,
    /// What is not a data set of the cache, or has files that are not part of one. It is never removed.
    pub foreign: Vec<PathBuf>,
}

/// Something that was packed into a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// Its folder.
    pub folder: PathBuf,
    /// The name of the data set, without what tells it from others of that name.
    pub name: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// When it was written, where the system knows.
    pub written: Option<SystemTime>,
    /// What it is.
    pub state: CachedState,
}

/// What something in a cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachedState {
    /// A whole data set.
    Whole,
    /// Being written by another process.
    BeingWritten,
    /// Left over from a process that was killed.
    LeftOver,
}

impl CachedState {
    /// The state in a few words.
    pub fn name(self) -> &'static str {
        match self {
            CachedState::Whole => "whole",
            CachedState::BeingWritten => "being written",
            CachedState::LeftOver => "left over",
        }
    }
}

impl Cache {
    /// Lists the cache in `folder`; one that does not exist is empty.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] when the folder cannot be read.
    pub fn open(folder: &Path) -> Result<Cache> {
        let mut cache = Cache::default();
        for path in paths(folder)?.into_iter().filter(|path| source_of_summary(path).is_none()) {
            match entry(&path)? {
                Some(entry) => cache.entries.push(entry),
                None => cache.foreign.push(path),
            }
        }
        Ok(cache)
    }

    /// The size of all that was packed, in bytes.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }
}

impl Cached {
    /// Removes it, with what is kept about the sources of its name. A data set is renamed first, so that it is never opened in
    /// part.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when a process is writing it; [`Error::NotOurs`] when it has files that are not part of a data set;
    /// [`Error::Write`] when it cannot be removed.
    pub fn remove(&self) -> Result<()> {
        let folder = &self.folder;
        let beside = folder.parent().and_then(|cache| paths(cache).ok()).unwrap_or_default();
        for summary in beside.iter().filter(|path| source_of_summary(path) == Some(&self.name)) {
            // One that stays is in nobody's way.
            let _ = fs::remove_file(summary);
        }
        let out = match hidden_name(folder) {
            Some(name) => folder.with_file_name(name),
            None if !is_packed(folder) => return Err(Error::NotOurs { path: folder.clone() }),
            None => {
                let hidden = staging::hidden(folder);
                let renamed = fs::write(folder.join(LOCK_FILE), staging::MARK)
                    .and_then(|()| fs::rename(folder, &hidden));
                renamed.map_err(|e| Error::write(folder, e))?;
                folder.clone()
            }
        };
        // Taking it over and giving it up removes it.
        Staging::begin(&out, false).map(drop)
    }
}

/// How the files end that keep what the images of a source are like.
pub(crate) const OF_IMAGES: &str = ".images.json";
/// The same for its sound.
pub(crate) const OF_SOUND: &str = ".sound.json";

/// The file in the folder `cache` that keeps what the images or the sound of a source are like, by the name that the source has there.
pub(crate) fn summary_file(cache: &Path, name: &str, ending: &str) -> PathBuf {
    cache.join(format!(".{name}{ending}"))
}

/// The name of the data set that such a file is about; `None` for any other path.
fn source_of_summary(path: &Path) -> Option<&str> {
    let name = name_of(path).strip_prefix('.')?;
    let name = name.strip_suffix(OF_IMAGES).or_else(|| name.strip_suffix(OF_SOUND))?;
    let (name, hash) = name.rsplit_once('-')?;
    (is_hash(hash) && fs::symlink_metadata(path).is_ok_and(|found| found.is_file())).then_some(name)
}

/// What was kept in a file; `None` where there is none, or not a whole one.
pub(crate) fn read_summary<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Keeps what was found. Where it cannot be written, it is found again the next time.
pub(crate) fn keep_summary(file: &Path, found: &impl Serialize) {
    let Some((cache, text)) = file.parent().zip(serde_json::to_vec(found).ok()) else { return };
    // A file that is read while it is written is not whole, and then counts for nothing.
    let _ = fs::create_dir_all(cache).and_then(|()| fs::write(file, text));
}

/// Removes what killed processes have left in `folder`, and returns what that was. What is being written, and what was not made here,
/// stays.
pub(crate) fn sweep(folder: &Path) -> Vec<PathBuf> {
    let found = paths(folder).unwrap_or_default();
    let left_over = found.into_iter().filter(|path| hidden_name(path).is_some());
    let entries = left_over.filter_map(|path| entry(&path).ok()?);
    let entries = entries.filter(|entry| entry.state == CachedState::LeftOver);
    // What cannot be removed is in nobody's way.
    entries.filter(|entry| entry.remove().is_ok()).map(|entry| entry.folder).collect()
}

/// What lies at `path`, if it was made here.
fn entry(path: &Path) -> Result<Option<Cached>> {
    let hidden = hidden_name(path);
    let state = match (&hidden, is_packed(path)) {
        (None, true) => CachedState::Whole,
        (Some(_), _) => match staging::is_being_written(path) {
            Some(true) => CachedState::BeingWritten,
            Some(false) => CachedState::LeftOver,
            None => return Ok(None),
        },
        (None, false) => return Ok(None),
    };
    let folder_name = hidden.unwrap_or_else(|| name_of(path).to_owned());
    let name = folder_name.rsplit_once('-').map_or(folder_name.as_str(), |(name, _)| name).to_owned();
    let written = fs::metadata(path).and_then(|found| found.modified()).ok();
    Ok(Some(Cached { folder: path.to_owned(), name, bytes: size(path)?, written, state }))
}

/// Whether a folder is one of the cache's data sets and holds nothing else.
fn is_packed(folder: &Path) -> bool {
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
    let hash = name_of(folder).rsplit_once('-').map_or("", |(_, hash)| hash);
    let is_named = is_hash(hash);
    let is_part = |path: &PathBuf| {
        let name = name_of(path);
        let known =
            name == CARD_FILE || name == LOCK_FILE || path.extension() == Some(OsStr::new("safetensors"));
        known && fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
    };
    let parts = || paths(folder).unwrap_or_default();
    is_folder && is_named && folder.join(CARD_FILE).is_file() && parts().iter().all(is_part)
}

/// Whether this is the end of a name in the cache.
fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The name of the folder that would be written at this hidden one.
fn hidden_name(path: &Path) -> Option<String> {
    Some(name_of(path).strip_prefix('.')?.strip_suffix(".partial")?.to_owned())
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// Everything in a folder, sorted; nothing where it does not exist.
fn paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::read(folder, e)),
    };
    let all: std::io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut all = all.map_err(|e| Error::read(folder, e))?;
    all.sort();
    Ok(all)
}

/// The size of all files below a folder; links are not followed.
fn size(folder: &Path) -> Result<u64> {
    paths(folder)?.iter().try_fold(0, |sum, path| match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(sum + size(path)?),
        Ok(found) => Ok(sum + found.len()),
        // Removed meanwhile.
        Err(_) => Ok(sum),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, collect, open_or_collect};

    fn shapes(count: usize) -> Options {
        Options { count: Some(count), size: Some((8, 8)), ..Options::default() }
    }

    #[test]
    fn a_cache_lists_what_was_packed_and_removes_only_that() {
        let root = tempfile::tempdir().unwrap();
        let cache = root.path().join("cache");
        assert!(Cache::open(&cache).unwrap().entries.is_empty());
        for count in [20, 30] {
            open_or_collect("shapes", &shapes(count), &cache, &|_| ()).unwrap();
        }
        // A folder of the user's with a name like ours, one with a file of theirs in it, and a file.
        let mine = cache.join("photos-0123456789abcdef");
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("a.jpg"), "a").unwrap();
        fs::write(cache.join("notes.txt"), "mine").unwrap();
        let listed = Cache::open(&cache).unwrap();
        assert_eq!(listed.foreign, [cache.join("notes.txt"), mine.clone()]);
        assert_eq!(listed.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["shapes"; 2]);
        let files = |entry: &Cached| paths(&entry.folder).unwrap();
        let sum =
            |entry: &Cached| files(entry).iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
        assert_eq!(listed.bytes(), listed.entries.iter().map(sum).sum::<u64>());

        let [first, second] = &listed.entries[..] else { panic!("{listed:?}") };
        first.remove().unwrap();
        fs::write(second.folder.join("thesis.txt"), "years").unwrap();
        assert!(matches!(second.remove(), Err(Error::NotOurs { .. })));
        assert!(!first.folder.exists() && second.folder.join("thesis.txt").exists() && mine.exists());
        let left = Cache::open(&cache).unwrap();
        assert_eq!((left.entries.len(), left.foreign.len()), (0, 3));
    }

    #[test]
    fn what_a_killed_process_left_is_removed_by_the_next_start_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let left_over = root.path().join(".big.partial");
        fs::create_dir(&left_over).unwrap();
        fs::write(left_over.join(LOCK_FILE), staging::MARK).unwrap();
        fs::write(left_over.join("train-00000.safetensors"), [0; 100]).unwrap();
        let lock = fs::File::options().append(true).open(left_over.join(LOCK_FILE)).unwrap();
        lock.set_modified(SystemTime::now() - std::time::Duration::from_secs(60)).unwrap();
        drop(lock);
        let mine = root.path().join(".mine.partial");
        fs::create_dir(&mine).unwrap();
        fs::write(mine.join("thesis.txt"), "years").unwrap();
        let busy = Staging::begin(&root.path().join("busy"), false).unwrap();

        let states = Cache::open(root.path()).unwrap();
        let named = |entry: &Cached| (entry.name.clone(), entry.state);
        assert_eq!(
            states.entries.iter().map(named).collect::<Vec<_>>(),
            [("big".into(), CachedState::LeftOver), ("busy".into(), CachedState::BeingWritten)]
        );
        let report = collect("shapes".as_ref(), &root.path().join("small"), &shapes(20), &|_| ()).unwrap();
        assert_eq!(report.swept, std::slice::from_ref(&left_over));
        assert!(!left_over.exists() && mine.join("thesis.txt").exists() && busy.folder().exists());
    }
}
