//! The folder of checkpoints: listing them and removing old ones.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{COMPLETE, PARTIAL, REMOVED};
use crate::error::{Error, Result};
use crate::run::names;

/// Which checkpoints are kept, besides the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention<'a> {
    /// How many of the newest are kept.
    pub last: usize,
    /// Those whose step is a multiple of this are kept too; 0 for none.
    pub every: u64,
    /// Those of these steps are kept too.
    pub best: &'a [u64],
}

/// What a folder of checkpoints holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Step and folder of every checkpoint that got its `COMPLETE`, oldest first. Their content is not verified yet.
    pub complete: Vec<(u64, PathBuf)>,
    /// Everything that was not used.
    pub findings: Vec<Finding>,
}

/// Something in a folder of checkpoints that was not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file or folder.
    pub path: PathBuf,
    /// Why it was not used.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// Returns the checkpoints below `folder`; none when it does not exist.
///
/// # Errors
/// [`Error::Io`].
pub fn survey(folder: &Path) -> Result<Survey> {
    let mut survey = Survey::default();
    for path in names::in_folder(folder)? {
        match (step_of(&path), reason_to_pass_over(&path)) {
            (Some(step), None) if path.exists() => survey.complete.push((step, path)),
            (_, Some(reason)) => survey.findings.push(Finding { path, reason: reason.to_owned() }),
            (_, None) => {}
        }
    }
    survey.complete.sort();
    Ok(survey)
}

/// Removes the checkpoints below `folder` that `retention` does not keep, and what interrupted writing or removing has
/// left. Returns the removed steps. Only the process that trains in the run may call it.
///
/// A checkpoint is renamed before its files are removed, so that it is never read in part.
///
/// # Errors
/// [`Error::Io`].
pub fn prune(folder: &Path, retention: Retention<'_>) -> Result<Vec<u64>> {
    sweep(folder)?;
    let complete = survey(folder)?.complete;
    let first_kept = complete.len().saturating_sub(retention.last.max(1));
    let mut removed = Vec::new();
    for (step, path) in &complete[..first_kept] {
        let is_marked = retention.every > 0 && step % retention.every == 0;
        if is_marked || retention.best.contains(step) {
            continue;
        }
        let doomed = path.with_file_name(format!("{}{REMOVED}", folder_name(*step)));
        fs::rename(path, &doomed).map_err(Error::io("remove", path))?;
        remove_folder(&doomed)?;
        removed.push(*step);
    }
    Ok(removed)
}

/// Removes what interrupted writing or removing has left below `folder`. Only the process that trains in the run may call it.
///
/// # Errors
/// [`Error::Io`].
pub fn sweep(folder: &Path) -> Result<()> {
    for finding in survey(folder)?.findings {
        let name = finding.path.to_string_lossy();
        if name.ends_with(PARTIAL) || name.ends_with(REMOVED) {
            remove_folder(&finding.path)?;
        }
    }
    Ok(())
}

/// Renames the checkpoints below `folder`, of which no run knows anything, to `step-NNNNNNNNN.old-1` (the first free number), except that
/// of `step`.
///
/// # Errors
/// [`Error::Io`].
pub fn set_aside_all_but(folder: &Path, step: Option<u64>) -> Result<()> {
    for (found, path) in survey(folder)?.complete {
        if Some(found) != step {
            fs::rename(&path, names::aside(&path)).map_err(Error::io("rename", &path))?;
        }
    }
    Ok(())
}

/// Returns the name of the folder for a step: `step-000000123`.
pub fn folder_name(step: u64) -> String {
    format!("step-{step:09}")
}

/// The step in the name of a folder, if that is the name of a checkpoint.
pub(super) fn step_of(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_prefix("step-")?;
    let canonical = digits.len() >= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| canonical)
}

/// Why something in the folder of checkpoints is not a complete checkpoint; `None` when it is, or is something else.
fn reason_to_pass_over(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    if name.ends_with(PARTIAL) {
        Some("was never finished")
    } else if name.ends_with(REMOVED) {
        Some("was being removed")
    } else if name.starts_with("step-") && name.contains(".old-") {
        Some("was set aside")
    } else if step_of(path).is_some() && !path.join(COMPLETE).is_file() && path.exists() {
        Some("has no COMPLETE")
    } else {
        None
    }
}

pub(super) fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
