//! The runs in a folder.

use std::path::{Path, PathBuf};

use super::remove::is_left_over;
use super::{Run, RunInfo, State, checkpoint, names};
use crate::error::{Error, Result};

/// One line of `poiesis runs`.
#[derive(Debug, Clone)]
pub struct RunSummary {
    /// The run's folder.
    pub path: PathBuf,
    /// What `run.json` says.
    pub info: RunInfo,
    /// Whether a process is training in it now. A run whose state is [`State::Running`] and that is not in use
    /// was killed.
    pub in_use: bool,
    /// The step of its newest checkpoint.
    pub newest_checkpoint: Option<u64>,
}

/// The runs in a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Every run that can be read, newest first.
    pub runs: Vec<RunSummary>,
    /// The errors of those that cannot.
    pub unreadable: Vec<Error>,
    /// What is left of runs whose removal was interrupted.
    pub left_over: Vec<PathBuf>,
}

/// Returns the runs directly below `root`; a folder that does not exist has none.
///
/// # Errors
/// [`Error::Io`] when `root` cannot be listed.
pub fn list(root: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    for path in names::in_folder(root)?.into_iter().filter(|path| path.is_dir()) {
        if is_left_over(&path) {
            listing.left_over.push(path);
            continue;
        }
        match summary(&path) {
            Ok(summary) => listing.runs.push(summary),
            Err(Error::NotARun { .. }) => {}
            Err(error) => listing.unreadable.push(error),
        }
    }
    listing.runs.sort_by(|a, b| b.info.created.cmp(&a.info.created).then(a.path.cmp(&b.path)));
    Ok(listing)
}

fn summary(path: &Path) -> Result<RunSummary> {
    let run = Run::open(path)?;
    let newest = checkpoint::survey(&run.checkpoints_path())?.complete.last().map(|&(step, _)| step);
    // The lock is only tried where a process may hold it, so that listing runs leaves no lock files behind.
    let in_use = run.info.state == State::Running && run.in_use();
    Ok(RunSummary { path: path.to_owned(), in_use, newest_checkpoint: newest, info: run.info })
}
