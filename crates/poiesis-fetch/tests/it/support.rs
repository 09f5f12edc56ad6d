//! Sets made for tests, and what their files should become.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use poiesis_fetch::{Error, Event, Fault, Fetched, Options, Published, fetch, read};
use sha2::{Digest as _, Sha256};

/// Bytes that do not repeat.
pub(crate) fn bytes(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(next).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A set of files with these contents, at these mirrors.
pub(crate) fn set(mirrors: &[String], files: &[(&str, &[u8])]) -> Published {
    let file = |(name, content): &(&str, &[u8])| {
        format!("[[set.file]]\nname = {name:?}\nbytes = {}\nsha256 = {:?}\n", content.len(), sha256(content))
    };
    let files: String = files.iter().map(file).collect();
    of(&format!("mirrors = {mirrors:?}\n{files}"))
}

/// A set with these further lines.
pub(crate) fn of(lines: &str) -> Published {
    let text = format!(
        "[[set]]\nname = \"tiny\"\ntitle = \"t\"\nfolder = \"tiny\"\nhome = \"h\"\nlicence = \"l\"\ncite = \"c\"\n\
         train = \"m\"\n{lines}"
    );
    read(&text).unwrap().remove(0)
}

/// Options that try again soon. A server of this machine is given time, as others may work on it too.
pub(crate) fn quick() -> Options {
    Options {
        timeout: Duration::from_secs(20),
        retries: 2,
        pause: Duration::from_millis(5),
        ..Options::default()
    }
}

/// Fetches a set without stopping it.
pub(crate) fn run(set: &Published, data: &Path, options: &Options) -> Result<Fetched, Error> {
    fetch(set, data, options, &mut |_| ControlFlow::Continue(()))
}

/// Fetches a set and writes down what happens, progress left out.
pub(crate) fn run_told(
    set: &Published,
    data: &Path,
    options: &Options,
) -> (Result<Fetched, Error>, Vec<String>) {
    let mut told = Vec::new();
    let fetched = fetch(set, data, options, &mut |event| {
        match event {
            Event::AlreadyThere { file } => told.push(format!("there {}", file.name)),
            Event::Begins { file, kept, .. } => told.push(format!("begins {} at {kept}", file.name)),
            Event::Again { fault, .. } => told.push(format!("again: {fault}")),
            Event::Failed { fault, .. } => told.push(format!("failed: {fault}")),
            Event::Unpacking { file } => told.push(format!("unpacking {}", file.name)),
            Event::Done { file, .. } => told.push(format!("done {}", file.name)),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    (fetched, told)
}

/// Fetches a set, and stops as soon as so many bytes of a file are there.
pub(crate) fn stopped(set: &Published, data: &Path, options: &Options, after: u64) -> u64 {
    let ended = fetch(set, data, options, &mut |event| match event {
        Event::Progress { done, .. } if done >= after => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    match ended {
        Err(Error::Stopped { kept, .. }) => kept,
        other => panic!("it was not stopped: {other:?}"),
    }
}

/// The faults of all addresses that were tried.
#[track_caller]
pub(crate) fn faults(result: Result<Fetched, Error>) -> Vec<Fault> {
    match result {
        Err(Error::NoAddress { tried, .. }) => tried.into_iter().map(|tried| tried.fault).collect(),
        other => panic!("it did not fail by its addresses: {other:?}"),
    }
}

/// The names of all files below a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(place) = open.pop() {
        for entry in fs::read_dir(&place).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                names.push(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    names
}

/// A file or folder of the data that Poiesis was developed with; `None`, with a reason printed, where it is not at hand.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(path);
    if !path.exists() {
        eprintln!("passed over: {} is not there", path.display());
        return None;
    }
    Some(path)
}
