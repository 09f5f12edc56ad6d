//! Reading checkpoints, each file checked against `COMPLETE`.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use safetensors::{Dtype, SafeTensors};

use super::folder::step_of;
use super::manifest::{Manifest, damaged};
use super::{Array, Arrays, Checkpoint, Finding, Part, STATE, State, Survey, survey};
use crate::atomic::folder_of;
use crate::error::{Error, Result};

/// How many consecutive listings must show no checkpoint before it is an error.
const LISTINGS: u32 = 10;

/// A checkpoint that was found and read.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// What was read.
    pub content: T,
    /// The checkpoint's folder.
    pub path: PathBuf,
    /// What was skipped while looking for it.
    pub findings: Vec<Finding>,
}

/// Reads and verifies the checkpoint in the folder `path`.
///
/// # Errors
/// [`Error::CheckpointDamaged`] when a file is missing or differs from its record, [`Error::Io`].
pub fn read(path: &Path) -> Result<Checkpoint> {
    let manifest = Manifest::read(path)?;
    let [model, ema, train] = Part::ALL.map(|part| read_arrays(path, &manifest, part));
    Ok(Checkpoint { model: model?, ema: ema?, train: train?, state: read_state(path, &manifest)? })
}

/// Reads and verifies one file of arrays, and the state, of the checkpoint in the folder `path`.
///
/// # Errors
/// As for [`read`].
pub fn read_part(path: &Path, part: Part) -> Result<(State, Arrays)> {
    let manifest = Manifest::read(path)?;
    Ok((read_state(path, &manifest)?, read_arrays(path, &manifest, part)?))
}

/// Checks the numbers of a part of the checkpoint in the folder `path`: training saves no weights that are not finite, and nothing that
/// is no number.
///
/// # Errors
/// [`Error::CheckpointDamaged`] naming the file and the array, with the newest intact checkpoint before it.
pub fn expect_numbers(path: &Path, part: Part, arrays: &Arrays) -> Result<()> {
    let usable = |value: &f32| value.is_finite() || (part == Part::Train && !value.is_nan());
    let Some((name, _)) = arrays.iter().find(|(_, array)| !array.data.iter().all(usable)) else {
        return Ok(());
    };
    let earlier = |(step, _): &(u64, PathBuf)| step_of(path).is_some_and(|own| *step < own);
    let complete = survey(folder_of(path)).map(|survey| survey.complete).unwrap_or_default();
    let older = complete.into_iter().filter(earlier).rev().find(|(_, path)| read(path).is_ok());
    let file = part.file_name();
    Err(Error::CheckpointDamaged {
        path: path.to_owned(),
        reason: format!("`{name}` in {file} has a value that is not a finite number"),
        older: older.map(|(_, path)| path),
    })
}

/// Reads the newest complete checkpoint below `folder`.
///
/// # Errors
/// [`Error::NoCheckpoint`] when there is none; [`Error::CheckpointDamaged`] when the newest complete one is damaged, with
/// the newest intact one before it; [`Error::Io`].
pub fn newest(folder: &Path) -> Result<Found<Checkpoint>> {
    newest_with(folder, read)
}

/// Reads one file of arrays, and the state, of the newest complete checkpoint below `folder`.
///
/// # Errors
/// As for [`newest`].
pub fn newest_part(folder: &Path, part: Part) -> Result<Found<(State, Arrays)>> {
    newest_with(folder, |path| read_part(path, part))
}

/// Reads the state of the newest complete checkpoint below `folder`, and none of its arrays.
///
/// # Errors
/// As for [`newest`].
pub fn newest_state(folder: &Path) -> Result<Found<State>> {
    newest_with(folder, |path| read_state(path, &Manifest::read(path)?))
}

fn read_arrays(folder: &Path, manifest: &Manifest, part: Part) -> Result<Arrays> {
    let name = part.file_name();
    let bytes = manifest.verified(folder, &name)?;
    let unreadable = |reason: String| damaged(folder, format!("{name} cannot be read, {reason}"));
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let mut arrays = Arrays::new();
    for (name, view) in tensors.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(unreadable(format!("`{name}` is {:?} and should be F32", view.dtype())));
        }
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        arrays.insert(name.to_owned(), Array { shape: view.shape().to_vec(), data: values.collect() });
    }
    Ok(arrays)
}

fn read_state(folder: &Path, manifest: &Manifest) -> Result<State> {
    let bytes = manifest.verified(folder, STATE)?;
    let state: State = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(folder, format!("{STATE} cannot be read, {error}")))?;
    let named = step_of(folder).unwrap_or(state.step);
    if named != state.step {
        return Err(damaged(folder, format!("{STATE} is of step {}", state.step)));
    }
    Ok(state)
}

fn newest_with<T>(folder: &Path, read: impl Fn(&Path) -> Result<T>) -> Result<Found<T>> {
    let mut empty = 0;
    loop {
        let Survey { complete, findings } = survey(folder)?;
        let Some(((_, path), older)) = complete.split_last() else {
            // A listing made while a checkpoint is added and an older one removed may show neither, so look again.
            empty += 1;
            if empty < LISTINGS && folder.exists() {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            return Err(Error::NoCheckpoint { run: folder_of(folder).to_owned() });
        };
        match read(path) {
            Ok(content) => return Ok(Found { content, path: path.clone(), findings }),
            // The training process has written a newer one and removed this one.
            Err(_) if !path.exists() => {}
            Err(Error::CheckpointDamaged { path, reason, .. }) => {
                // All parts of the older one must be intact, since resuming needs all of them.
                let older = older.iter().rev().find(|(_, path)| self::read(path).is_ok());
                return Err(Error::CheckpointDamaged {
                    path,
                    reason,
                    older: older.map(|(_, path)| path.clone()),
                });
            }
            Err(error) => return Err(error),
        }
    }
}
