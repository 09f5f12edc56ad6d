//! Checkpoints: folders `step-NNNNNNNNN` of safetensors that are there whole or not at all.
//!
//! A checkpoint is written to `step-NNNNNNNNN.partial`: three files of arrays, `state.json`, and last `COMPLETE`, which
//! holds size and BLAKE3 checksum of each. Every file is synced before the folder gets its name by one rename. So
//! a kill or a full disk leaves the older checkpoints as they were, and a folder that has its name is complete. The
//! bytes depend on the content alone: two runs that computed the same have the same files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::atomic::{folder_of, sync_folder};
use crate::error::{Error, Result};
pub use crate::nn::{Array, Arrays};

/// All that is needed to resume training exactly where it was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// The weights being trained.
    pub model: Arrays,
    /// Their moving averages; empty where none are kept.
    pub ema: Arrays,
    /// What only training needs, such as the moments of the optimizers.
    pub train: Arrays,
    /// What is not an array.
    pub state: State,
}

/// The part of a checkpoint that is not arrays: `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The model's name in the catalogue.
    pub model: String,
    /// Steps done.
    pub step: u64,
    /// Whole numbers by name; a 64-bit float is stored by its bits, so that it comes back exactly.
    pub scalars: BTreeMap<String, u64>,
}

/// One of the three files of arrays in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The weights being trained: `model.safetensors`.
    Model,
    /// Their moving averages: `ema.safetensors`.
    Ema,
    /// What only training needs: `train.safetensors`.
    Train,
}

/// How many checkpoints are kept. The newest always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many are kept.
    pub last: usize,
    /// Those whose step is a multiple of this are kept too; 0 for none.
    pub every: u64,
}

/// What a folder of checkpoints holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Step and folder of every checkpoint that got its `COMPLETE`, oldest first. Their content is not verified yet.
    pub complete: Vec<(u64, PathBuf)>,
    /// What else lies there.
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

/// A checkpoint as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// What was read.
    pub content: T,
    /// The checkpoint's folder.
    pub path: PathBuf,
    /// What was passed over on the way.
    pub findings: Vec<Finding>,
}

impl Part {
    /// All three, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Model, Self::Ema, Self::Train];

    /// The part's name: "model", "ema" or "train".
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Ema => "ema",
            Self::Train => "train",
        }
    }

    /// The file's name, such as `ema.safetensors`.
    pub fn file_name(self) -> String {
        format!("{}.safetensors", self.name())
    }
}

impl State {
    /// Checks that the state read from `path` belongs to the model `expected`.
    ///
    /// # Errors
    /// [`Error::CheckpointOfAnotherModel`].
    pub fn expect_model(&self, expected: &str, path: &Path) -> Result<()> {
        if self.model == expected {
            return Ok(());
        }
        Err(Error::CheckpointOfAnotherModel {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found: self.model.clone(),
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

/// Writes a checkpoint below `folder` and returns its own folder.
///
/// Where a complete checkpoint of this step with the same content is already there, nothing is written; one with other
/// content, or an incomplete one, is first renamed to `step-NNNNNNNNN.old-1` (the first free number).
///
/// # Errors
/// [`Error::Io`] naming the file that could not be written. What was written of this checkpoint is then removed, and
/// the older ones are as they were.
///
/// # Panics
/// When an array's number of values is not the product of its shape.
pub fn save(folder: &Path, checkpoint: &Checkpoint) -> Result<PathBuf> {
    let name = folder_name(checkpoint.state.step);
    let path = folder.join(&name);
    let partial = folder.join(format!("{name}{PARTIAL}"));
    remove_folder(&partial)?;
    fs::create_dir_all(&partial).map_err(Error::io("make the folder", &partial))?;
    let written =
        write_files(&partial, checkpoint).and_then(|manifest| put_in_place(&partial, &path, &manifest));
    if written.is_err() {
        // The first error is the one to tell; what cannot be removed is swept away at the next start.
        let _ = remove_folder(&partial);
    }
    written.map(|()| path)
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

/// Reads the newest complete checkpoint below `folder`.
///
/// # Errors
/// [`Error::NoCheckpoint`] when there is none; [`Error::CheckpointDamaged`] when the newest complete one no longer verifies,
/// with the newest older one that does; [`Error::Io`].
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

/// Returns the checkpoints below `folder`; none when it does not exist.
///
/// # Errors
/// [`Error::Io`].
pub fn survey(folder: &Path) -> Result<Survey> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Survey::default()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    let mut survey = Survey::default();
    for entry in entries {
        let path = entry.map_err(Error::io("read", folder))?.path();
        match (step_of(&path), reason_to_pass_over(&path)) {
            (Some(step), None) if path.exists() => survey.complete.push((step, path)),
            (_, Some(reason)) => survey.findings.push(Finding { path, reason: reason.to_owned() }),
            (_, None) => {}
        }
    }
    survey.complete.sort();
    survey.findings.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(survey)
}

/// Removes the checkpoints below `folder` that `retention` does not keep, and what interrupted writing or removing has
/// left. Returns the steps removed. For the process that trains in the run only.
///
/// A checkpoint loses its name before its files, so that none is ever seen in part.
///
/// # Errors
/// [`Error::Io`].
pub fn prune(folder: &Path, retention: Retention) -> Result<Vec<u64>> {
    sweep(folder)?;
    let complete = survey(folder)?.complete;
    let first_kept = complete.len().saturating_sub(retention.last.max(1));
    let mut removed = Vec::new();
    for (step, path) in &complete[..first_kept] {
        if retention.every > 0 && step % retention.every == 0 {
            continue;
        }
        let doomed = path.with_file_name(format!("{}{REMOVED}", folder_name(*step)));
        fs::rename(path, &doomed).map_err(Error::io("remove", path))?;
        remove_folder(&doomed)?;
        removed.push(*step);
    }
    Ok(removed)
}

/// Removes what interrupted writing or removing has left below `folder`. For the process that trains in the run only.
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

/// Returns the name of the folder for a step: `step-000000123`.
pub fn folder_name(step: u64) -> String {
    format!("step-{step:09}")
}

/// How many listings in a row must show no checkpoint before there is none.
const LISTINGS: u32 = 10;
const STATE: &str = "state.json";
const COMPLETE: &str = "COMPLETE";
const PARTIAL: &str = ".partial";
const REMOVED: &str = ".removed";

/// What `COMPLETE` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    files: BTreeMap<String, Record>,
}

/// What a file was when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    size: u64,
    blake3: String,
}

impl Manifest {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(COMPLETE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(folder, "it has no COMPLETE".to_owned()));
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| damaged(folder, format!("COMPLETE cannot be read, {error}")))
    }

    /// Reads one of the files and holds it against its record.
    fn verified(&self, folder: &Path, name: &str) -> Result<Vec<u8>> {
        let Some(record) = self.files.get(name) else {
            return Err(damaged(folder, format!("COMPLETE does not list {name}")));
        };
        let path = folder.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(folder, format!("{name} is missing")));
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        if bytes.len() as u64 != record.size {
            return Err(damaged(folder, format!("{name} has {} bytes and had {}", bytes.len(), record.size)));
        }
        if blake3::hash(&bytes).to_hex().as_str() != record.blake3 {
            return Err(damaged(folder, format!("the content of {name} has changed")));
        }
        Ok(bytes)
    }
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::CheckpointDamaged { path: path.to_owned(), reason, older: None }
}

/// Writes all files of a checkpoint, `COMPLETE` last, each synced; returns what `COMPLETE` holds.
fn write_files(folder: &Path, checkpoint: &Checkpoint) -> Result<Manifest> {
    let mut files = BTreeMap::new();
    for part in Part::ALL {
        let arrays = match part {
            Part::Model => &checkpoint.model,
            Part::Ema => &checkpoint.ema,
            Part::Train => &checkpoint.train,
        };
        let record = write_file(&folder.join(part.file_name()), |out| {
            write_arrays(out, arrays, part, &checkpoint.state)
        })?;
        files.insert(part.file_name(), record);
    }
    let state = write_file(&folder.join(STATE), |out| write_json(out, &checkpoint.state))?;
    files.insert(STATE.to_owned(), state);
    let manifest = Manifest { format: 1, files };
    write_file(&folder.join(COMPLETE), |out| write_json(out, &manifest))?;
    sync_folder(folder)?;
    Ok(manifest)
}

/// Gives a finished checkpoint its name.
fn put_in_place(partial: &Path, path: &Path, manifest: &Manifest) -> Result<()> {
    if path.exists() {
        let same = read(path).is_ok() && Manifest::read(path)? == *manifest;
        if same {
            return remove_folder(partial);
        }
        let aside = first_free(path);
        fs::rename(path, &aside).map_err(Error::io("rename", path))?;
    }
    fs::rename(partial, path).map_err(Error::io("rename", partial))?;
    sync_folder(folder_of(path))
}

fn first_free(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut number = 1;
    loop {
        let candidate = path.with_file_name(format!("{name}.old-{number}"));
        if !candidate.exists() {
            return candidate;
        }
        number += 1;
    }
}

/// Writes and syncs one file, hashing on the way.
fn write_file(path: &Path, write: impl FnOnce(&mut Hashed<'_>) -> io::Result<()>) -> Result<Record> {
    let file = File::create(path).map_err(Error::io("write", path))?;
    let mut out =
        Hashed { out: BufWriter::with_capacity(1 << 16, &file), hasher: blake3::Hasher::new(), size: 0 };
    write(&mut out).and_then(|()| out.flush()).map_err(Error::io("write", path))?;
    file.sync_all().map_err(Error::io("write", path))?;
    Ok(Record { size: out.size, blake3: out.hasher.finalize().to_hex().to_string() })
}

/// A writer that counts and hashes what passes.
struct Hashed<'a> {
    out: BufWriter<&'a File>,
    hasher: blake3::Hasher,
    size: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes arrays as safetensors, in the order of their names. The values are streamed, never copied as a whole.
fn write_arrays(out: &mut impl Write, arrays: &Arrays, part: Part, state: &State) -> io::Result<()> {
    let mut infos = Vec::with_capacity(arrays.len());
    let mut offset = 0;
    for (name, array) in arrays {
        array.check(name);
        let end = offset + 4 * array.data.len();
        let info = TensorInfo { dtype: Dtype::F32, shape: array.shape.clone(), data_offsets: (offset, end) };
        infos.push((name.clone(), info));
        offset = end;
    }
    // One key only, because the order of several would not be fixed.
    let about =
        serde_json::json!({ "model": state.model, "step": state.step, "part": part.name() }).to_string();
    let about = HashMap::from([("poiesis".to_owned(), about)]);
    let metadata = Metadata::new(Some(about), infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    arrays.values().try_for_each(|array| out.write_all(&little_endian(&array.data)))
}

fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    out.write_all(text.as_bytes())
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
    serde_json::from_slice(&bytes)
        .map_err(|error| damaged(folder, format!("{STATE} cannot be read, {error}")))
}

fn newest_with<T>(folder: &Path, read: impl Fn(&Path) -> Result<T>) -> Result<Found<T>> {
    let mut empty = 0;
    loop {
        let Survey { complete, findings } = survey(folder)?;
        let Some(((_, path), older)) = complete.split_last() else {
            // A listing made while one checkpoint appears and the last but one goes may show neither: look again.
            empty += 1;
            if empty < LISTINGS && folder.exists() {
                thread::sleep(Duration::from_millis(2));
                continue;
            }
            return Err(Error::NoCheckpoint { run: folder_of(folder).to_owned() });
        };
        match read(path) {
            Ok(content) => return Ok(Found { content, path: path.clone(), findings }),
            // Whoever trains has written a newer one meanwhile and removed this one.
            Err(_) if !path.exists() => {}
            Err(Error::CheckpointDamaged { path, reason, .. }) => {
                // All of the older one must verify, since all of it will be needed.
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

/// The step a folder is named after, if it has the name of a checkpoint.
fn step_of(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_prefix("step-")?;
    let canonical = digits.len() >= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| canonical)
}

/// Why something below the folder of checkpoints is not a complete one, or `None` when it is, or is no business of ours.
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

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The values as bytes, least significant first: a view on machines that store them so.
fn little_endian(values: &[f32]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        Cow::Borrowed(bytemuck::cast_slice(values))
    } else {
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checkpoint(step: u64) -> Checkpoint {
        let array = |seed: u64, shape: &[usize]| {
            let size: usize = shape.iter().product();
            let data = (0..size).map(|i| ((seed + i as u64) as f32).sin()).collect();
            Array::new(shape.to_vec(), data)
        };
        let arrays = |seed| {
            Arrays::from([
                ("generator/conv.weight".to_owned(), array(seed + step, &[4, 3, 2])),
                ("generator/conv.bias".to_owned(), array(seed + step + 1, &[4])),
                ("logit.scale".to_owned(), array(seed, &[])),
                ("nothing".to_owned(), array(seed, &[0, 5])),
            ])
        };
        Checkpoint {
            model: arrays(1),
            ema: arrays(2),
            train: arrays(3),
            state: State {
                model: "dcgan".into(),
                step,
                scalars: BTreeMap::from([
                    ("loss_bits".into(), f64::NAN.to_bits()),
                    ("epoch".into(), u64::MAX),
                ]),
            },
        }
    }

    fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect()
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_saved_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let saved = checkpoint(123);
        let path = save(folder.path(), &saved).unwrap();
        assert_eq!(path, folder.path().join("step-000000123"));
        assert_eq!(
            names_in(&path),
            ["COMPLETE", "ema.safetensors", "model.safetensors", "state.json", "train.safetensors"]
        );
        assert_eq!(names_in(folder.path()), ["step-000000123"]);
        assert_eq!(read(&path).unwrap(), saved);
        let found = newest(folder.path()).unwrap();
        assert_eq!((found.content, found.path, found.findings), (saved.clone(), path.clone(), vec![]));
        assert_eq!(read_part(&path, Part::Ema).unwrap(), (saved.state, saved.ema));
    }

    #[test]
    fn the_bytes_depend_on_the_content_alone_and_any_reader_of_safetensors_accepts_them() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = bytes_of(&save(a.path(), &checkpoint(5)).unwrap());
        assert_eq!(first, bytes_of(&save(b.path(), &checkpoint(5)).unwrap()));

        let tensors = SafeTensors::deserialize(&first["model.safetensors"]).unwrap();
        assert_eq!(tensors.tensor("generator/conv.weight").unwrap().shape(), [4, 3, 2]);
        let (_, metadata) = SafeTensors::read_metadata(&first["model.safetensors"]).unwrap();
        let about = metadata.metadata().clone().unwrap();
        assert_eq!(about["poiesis"], r#"{"model":"dcgan","step":5,"part":"model"}"#);
        let header = u64::from_le_bytes(first["model.safetensors"][..8].try_into().unwrap());
        assert_eq!(header % 8, 0, "values must be aligned");
    }

    #[test]
    fn the_newest_complete_one_wins_and_the_others_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(newest(folder.path()), Err(Error::NoCheckpoint { .. })));
        assert!(matches!(newest(&folder.path().join("absent")), Err(Error::NoCheckpoint { .. })));
        for step in [9, 10, 100] {
            save(folder.path(), &checkpoint(step)).unwrap();
        }
        fs::create_dir(folder.path().join("step-000000200.partial")).unwrap();
        fs::create_dir(folder.path().join("step-000000300")).unwrap();
        fs::create_dir(folder.path().join("step-000000001.removed")).unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let found = newest(folder.path()).unwrap();
        assert_eq!(found.content.state.step, 100);
        let reasons: Vec<_> = found.findings.iter().map(ToString::to_string).collect();
        assert_eq!(reasons.len(), 3, "{reasons:?}");
        assert!(reasons[0].ends_with("step-000000001.removed: was being removed"), "{}", reasons[0]);
        assert!(reasons[1].ends_with("step-000000200.partial: was never finished"), "{}", reasons[1]);
        assert!(reasons[2].ends_with("step-000000300: has no COMPLETE"), "{}", reasons[2]);

        sweep(folder.path()).unwrap();
        assert_eq!(
            names_in(folder.path()),
            ["notes.txt", "step-000000009", "step-000000010", "step-000000100", "step-000000300"]
        );
    }

    #[test]
    fn a_complete_one_that_was_damaged_is_an_error_that_names_the_older_good_one() {
        type Damage = fn(&Path);
        let damage: [(&str, Damage); 6] = [
            ("model.safetensors has", |file| {
                let bytes = fs::read(file).unwrap();
                fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
            }),
            ("content of train.safetensors has changed", |file| {
                let mut bytes = fs::read(file).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(file, bytes).unwrap();
            }),
            ("ema.safetensors is missing", |file| fs::remove_file(file).unwrap()),
            ("content of state.json has changed", |file| {
                let text = fs::read_to_string(file).unwrap().replace("3", "4");
                fs::write(file, text).unwrap();
            }),
            ("COMPLETE cannot be read", |file| fs::write(file, "").unwrap()),
            ("COMPLETE does not list", |file| fs::write(file, r#"{"format":1,"files":{}}"#).unwrap()),
        ];
        for (reason, damage) in damage {
            let folder = tempfile::tempdir().unwrap();
            let older = save(folder.path(), &checkpoint(2)).unwrap();
            let path = save(folder.path(), &checkpoint(3)).unwrap();
            let file = reason.split(' ').find(|word| word.contains('.') || *word == "COMPLETE").unwrap();
            damage(&path.join(file));
            let error = newest(folder.path()).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(reason), "{message} should say {reason}");
            assert!(message.contains("step-000000003"), "{message}");
            let Error::CheckpointDamaged { older: Some(found), .. } = error else { panic!("{message}") };
            assert_eq!(found, older);
            // What the message says to do works.
            fs::rename(&path, folder.path().join("damaged")).unwrap();
            assert_eq!(newest(folder.path()).unwrap().content.state.step, 2);
        }
    }

    #[test]
    fn saving_a_step_again_never_loses_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = save(folder.path(), &checkpoint(7)).unwrap();
        let written = fs::metadata(path.join("COMPLETE")).unwrap().modified().unwrap();
        save(folder.path(), &checkpoint(7)).unwrap();
        assert_eq!(fs::metadata(path.join("COMPLETE")).unwrap().modified().unwrap(), written);
        assert_eq!(names_in(folder.path()), ["step-000000007"]);

        let mut other = checkpoint(7);
        other.state.scalars.insert("epoch".into(), 1);
        save(folder.path(), &other).unwrap();
        assert_eq!(read(&path).unwrap(), other);
        assert_eq!(read(&folder.path().join("step-000000007.old-1")).unwrap(), checkpoint(7));
    }

    #[test]
    fn the_last_few_and_every_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for step in 1..=12 {
            save(folder.path(), &checkpoint(step)).unwrap();
        }
        let steps =
            || survey(folder.path()).unwrap().complete.iter().map(|&(step, _)| step).collect::<Vec<_>>();
        assert_eq!(prune(folder.path(), Retention { last: 3, every: 4 }).unwrap(), [1, 2, 3, 5, 6, 7, 9]);
        assert_eq!(steps(), [4, 8, 10, 11, 12]);
        assert_eq!(prune(folder.path(), Retention { last: 0, every: 0 }).unwrap(), [4, 8, 10, 11]);
        assert_eq!(steps(), [12], "the newest always stays");
        assert_eq!(names_in(folder.path()), ["step-000000012"]);
    }

    #[test]
    fn one_can_read_while_another_trains_and_prunes() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &checkpoint(1)).unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for step in 2..40 {
                    save(folder.path(), &checkpoint(step)).unwrap();
                    prune(folder.path(), Retention { last: 1, every: 0 }).unwrap();
                }
            });
            while !writer.is_finished() {
                let found = newest(folder.path()).unwrap();
                assert_eq!(found.content, checkpoint(found.content.state.step));
            }
        });
    }

    #[test]
    fn a_checkpoint_of_another_model_is_told_apart() {
        let state = checkpoint(1).state;
        assert!(state.expect_model("dcgan", Path::new("a")).is_ok());
        let message = state.expect_model("vae", Path::new("a")).unwrap_err().to_string();
        assert!(message.contains("`dcgan`") && message.contains("`vae`"), "{message}");
    }

    #[test]
    fn a_folder_that_cannot_be_written_leaves_the_last_checkpoint_intact() {
        let folder = tempfile::tempdir().unwrap();
        let path = save(folder.path(), &checkpoint(1)).unwrap();
        let before = bytes_of(&path);
        // A file where the temporary folder should go fails for every user, root included.
        fs::write(folder.path().join("step-000000002.partial"), "in the way").unwrap();
        let error = save(folder.path(), &checkpoint(2)).unwrap_err();
        assert!(error.to_string().contains("step-000000002.partial"), "{error}");
        assert_eq!(bytes_of(&path), before);
        assert_eq!(newest(folder.path()).unwrap().content, checkpoint(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_bit_pattern_survives(
            bits in proptest::collection::vec(any::<u32>(), 0..40),
            name in "[a-z./]{1,20}",
            scalar in any::<u64>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let data: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
            let mut saved = checkpoint(1);
            saved.model.insert(name.clone(), Array::new(vec![data.len(), 1], data));
            saved.state.scalars.insert("x".into(), scalar);
            let found = read(&save(folder.path(), &saved).unwrap()).unwrap();
            let back: Vec<u32> = found.model[&name].data.iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(back, bits);
            prop_assert_eq!(found.state, saved.state);
        }
    }
}
