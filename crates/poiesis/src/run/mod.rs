//! The format of the run folder, which training writes and everything else reads.
//!
//! ```text
//! runs/NAME/
//!   config.toml        the resolved configuration
//!   run.json           what the run is and where it stands
//!   metrics.jsonl      one line for each logged step
//!   events.out.tfevents.*   the same for TensorBoard, with samples and settings
//!   samples/           a picture for each sampled step, from fixed latents
//!   checkpoints/       step-NNNNNNNNN/{model,ema,train}.safetensors, state.json, COMPLETE: the newest and the best
//!   lock               held by the process that trains
//! ```
//!
//! Nothing here depends on tensors or models.

pub mod checkpoint;
mod config;
pub mod contents;
pub mod history;
mod info;
mod list;
mod lock;
pub mod metrics;
pub mod names;
mod remove;
pub mod samples;
pub mod tensorboard;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use config::{differences, flat};
pub use info::{BestStep, DataInfo, Machine, Parent, RunInfo, State, now, utc};
pub use list::{Listing, RunSummary, list};
pub use lock::Lock;
use poiesis_collect::regular;
pub use remove::Removal;

use self::checkpoint::Checkpoint;
use crate::atomic;
use crate::error::{Error, Result};

/// A run's folder and what its `run.json` says.
#[derive(Debug, Clone)]
pub struct Run {
    path: PathBuf,
    info: RunInfo,
}

impl Run {
    /// Makes the folder `path` with its `config.toml`, `run.json` and empty `checkpoints` and `samples`.
    ///
    /// `run.json` is written last and makes the folder a run. If an earlier attempt was killed before that, this one takes over.
    /// The id and the times in `info` are set here.
    ///
    /// # Errors
    /// [`Error::RunExists`] when the folder holds a run or anything that does not belong to one;
    /// [`Error::RunInUse`] when another process makes or trains a run there; [`Error::Io`].
    pub fn create(path: &Path, config_toml: &str, info: RunInfo) -> Result<Self> {
        Self::make(path, config_toml, info, None)
    }

    /// Makes a run as [`create`](Run::create) does, with a first checkpoint: the weights that it starts from. It is written before
    /// `run.json`, so that there is no such run without them.
    ///
    /// # Errors
    /// Those of [`create`](Run::create).
    pub fn create_from(path: &Path, config_toml: &str, info: RunInfo, first: &Checkpoint) -> Result<Self> {
        Self::make(path, config_toml, info, Some(first))
    }

    fn make(path: &Path, config_toml: &str, info: RunInfo, first: Option<&Checkpoint>) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::io("make the folder", path))?;
        if let Some(what) = occupant(path)? {
            return Err(Error::RunExists { path: path.to_owned(), what });
        }
        let _lock = Lock::take(path)?;
        // Another process may have made a run meanwhile.
        if path.join(RUN_JSON).exists() {
            return Err(Error::RunExists { path: path.to_owned(), what: "a run".to_owned() });
        }
        for folder in ["checkpoints", "samples"] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(Error::io("make the folder", &folder))?;
        }
        let mut run = Self { path: path.to_owned(), info };
        let checkpoints = run.checkpoints_path();
        // Left by a killed attempt, or by a run that has lost its run.json: the new run must not resume from them.
        checkpoint::set_aside_all_but(&checkpoints, first.map(|first| first.state.step))?;
        if let Some(first) = first {
            checkpoint::save(&checkpoints, first)?;
        }
        atomic::write(&path.join(CONFIG_TOML), config_toml.as_bytes())?;
        run.info.id = name_of(path);
        run.info.created = now();
        run.update(|_| ())?;
        Ok(run)
    }

    /// Opens the run in the folder `path`.
    ///
    /// # Errors
    /// [`Error::NotARun`] without a `run.json` there, [`Error::Malformed`] when it cannot be read as one, [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(RUN_JSON);
        let text = match regular::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(Error::NotARun { path: path.to_owned() });
            }
            Err(error) => return Err(Error::io("read", &file)(error)),
        };
        let info: RunInfo = serde_json::from_str(&text)
            .map_err(|error| Error::Malformed { path: file.clone(), reason: error.to_string() })?;
        info.check().map_err(|reason| Error::Malformed { path: file, reason })?;
        Ok(Self { path: path.to_owned(), info })
    }

    /// Checks that a new run can be made in the folder `path`.
    ///
    /// # Errors
    /// [`Error::RunExists`] when it holds a run or anything that does not belong to one; [`Error::Io`].
    pub fn expect_free(path: &Path) -> Result<()> {
        let occupant = if path.exists() { occupant(path)? } else { None };
        occupant.map_or(Ok(()), |what| Err(Error::RunExists { path: path.to_owned(), what }))
    }

    /// Returns whether the folder `path` holds a run.
    pub fn exists(path: &Path) -> bool {
        path.join(RUN_JSON).is_file()
    }

    /// Renames the run's folder to the first free of `NAME.old-1`, `NAME.old-2`, … and returns the new path, or
    /// `None` when there was nothing at `path`, or nothing but what a killed attempt to make a run has left.
    ///
    /// # Errors
    /// [`Error::NotSetAside`] for anything that is not a run, [`Error::RunInUse`] while a process trains in it, [`Error::Io`].
    pub fn set_aside(path: &Path) -> Result<Option<PathBuf>> {
        let refuse = |reason: &str| Error::NotSetAside { path: path.to_owned(), reason: reason.to_owned() };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path)(error)),
            Ok(found) if found.is_symlink() => return Err(refuse("it is a link")),
            Ok(found) if !found.is_dir() => return Err(refuse("it is not a folder")),
            Ok(_) => {}
        }
        if !Self::exists(path) {
            return match occupant(path)? {
                None => Ok(None),
                Some(what) => Err(refuse(&format!("it has {what} and no run.json"))),
            };
        }
        drop(Lock::take(path)?);
        let aside = names::aside(path);
        fs::rename(path, &aside).map_err(Error::io("rename", path))?;
        atomic::sync_folder(atomic::folder_of(path))?;
        Ok(Some(aside))
    }

    /// The run's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `run.json` says.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Changes `run.json` with `change` and writes it; the time of the change is set here.
    ///
    /// # Errors
    /// [`Error::Io`]; the file is then as it was.
    pub fn update(&mut self, change: impl FnOnce(&mut RunInfo)) -> Result<()> {
        let mut info = self.info.clone();
        change(&mut info);
        info.updated = now();
        let file = self.path.join(RUN_JSON);
        let mut text = serde_json::to_string_pretty(&info)
            .map_err(|error| Error::Malformed { path: file.clone(), reason: error.to_string() })?;
        text.push('\n');
        atomic::write_in_folder(&file, text.as_bytes())?;
        self.info = info;
        Ok(())
    }

    /// Writes the state of the run to `run.json`.
    ///
    /// # Errors
    /// [`Error::Io`]; the file is then as it was.
    pub fn set_state(&mut self, state: State) -> Result<()> {
        self.update(|info| info.state = state)
    }

    /// Takes the lock that keeps two processes from training in the same run. It is released when dropped, and by the system
    /// when the process ends in any way.
    ///
    /// # Errors
    /// [`Error::RunInUse`] when another process holds it, [`Error::Io`].
    pub fn lock(&self) -> Result<Lock> {
        Lock::take(&self.path)
    }

    /// Returns whether a process is training in the run now.
    pub fn in_use(&self) -> bool {
        matches!(Lock::take(&self.path), Err(Error::RunInUse { .. }))
    }

    /// Returns the text of `config.toml`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn config(&self) -> Result<String> {
        let path = self.config_path();
        regular::read_to_string(&path).map_err(Error::io("read", &path))
    }

    /// Checks that the data set is the one the run was made with.
    ///
    /// # Errors
    /// [`Error::DataChanged`].
    pub fn expect_data(&self, data: &DataInfo) -> Result<()> {
        if self.info.data.fingerprint == data.fingerprint {
            return Ok(());
        }
        Err(Error::DataChanged {
            run: self.path.clone(),
            expected: self.info.data.fingerprint.clone(),
            found: data.fingerprint.clone(),
            sizes: other_sizes(&self.info.data.counts, &data.counts),
        })
    }

    /// The step of the best checkpoint: the one with the best value of the metric that is measured on held-out examples during training.
    ///
    /// # Errors
    /// [`Error::NoBestCheckpoint`] where nothing was measured, and of runs of earlier versions; [`Error::NoCheckpoint`],
    /// [`Error::CheckpointDamaged`] and [`Error::Io`] when the newest checkpoint, which knows it, cannot be read.
    pub fn best_step(&self) -> Result<u64> {
        let folder = self.checkpoints_path();
        let mut missing = None;
        loop {
            let state = checkpoint::newest_state(&folder)?.content;
            let Some(best) = state.best() else {
                let reason = self.why_no_best(state.step)?;
                return Err(Error::NoBestCheckpoint { run: self.path.clone(), reason });
            };
            // A process that trains may have found a better one meanwhile, and have removed this one.
            if missing == Some(best.step) || self.checkpoint_path(best.step).exists() {
                return Ok(best.step);
            }
            missing = Some(best.step);
        }
    }

    /// Reads one file of arrays, and the state, of the best checkpoint. A process that trains may remove that at any moment because it
    /// has found a better one, which is read then.
    ///
    /// # Errors
    /// Those of [`best_step`](Run::best_step); [`Error::NoSuchCheckpoint`] when that checkpoint is not there;
    /// [`Error::CheckpointDamaged`] and [`Error::Io`] when it cannot be read.
    pub fn best_part(&self, part: checkpoint::Part) -> Result<checkpoint::Found<PartOfCheckpoint>> {
        let mut gone = None;
        loop {
            let step = self.best_step()?;
            match self.part_of(step, part) {
                Err(_) if gone != Some(step) && !self.checkpoint_path(step).exists() => gone = Some(step),
                read => return read,
            }
        }
    }

    /// Reads one file of arrays, and the state, of the checkpoint of `step`.
    ///
    /// # Errors
    /// [`Error::NoSuchCheckpoint`], [`Error::CheckpointDamaged`] and [`Error::Io`].
    pub fn part_of(&self, step: u64, part: checkpoint::Part) -> Result<checkpoint::Found<PartOfCheckpoint>> {
        let path = self.checkpoint_path(step);
        if !path.exists() {
            let complete = checkpoint::survey(&self.checkpoints_path())?.complete;
            let steps = complete.into_iter().map(|(step, _)| step).collect();
            return Err(Error::NoSuchCheckpoint { run: self.path.clone(), step, steps });
        }
        let content = checkpoint::read_part(&path, part)?;
        Ok(checkpoint::Found { content, path, findings: Vec::new() })
    }

    fn checkpoint_path(&self, step: u64) -> PathBuf {
        self.checkpoints_path().join(checkpoint::folder_name(step))
    }

    fn why_no_best(&self, newest: u64) -> Result<String> {
        let measured = metrics::read(&self.metrics_path())?
            .iter()
            .any(|row| row.values.iter().any(|(name, _)| name.starts_with(metrics::HELD_OUT)));
        let held_out = self.info.data.counts.iter().any(|(split, _)| split != "train");
        Ok(if newest == 0 {
            "nothing has been measured yet".to_owned()
        } else if measured {
            "it was stopped before it was measured for the first time, or an earlier version trained it"
                .to_owned()
        } else if held_out {
            format!("training `{}` measures nothing on held-out examples", self.info.model)
        } else {
            "its data have no held-out examples".to_owned()
        })
    }

    /// Where `config.toml` is.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG_TOML)
    }

    /// Where `metrics.jsonl` is.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The folder of sample pictures.
    pub fn samples_path(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// The folder of checkpoints.
    pub fn checkpoints_path(&self) -> PathBuf {
        self.path.join("checkpoints")
    }
}

/// The state and one file of arrays.
pub type PartOfCheckpoint = (checkpoint::State, checkpoint::Arrays);

const RUN_JSON: &str = "run.json";
const CONFIG_TOML: &str = "config.toml";

/// What is already in the folder of a new run, unless it is only left over from a killed attempt to make one.
fn occupant(folder: &Path) -> Result<Option<String>> {
    if folder.join(RUN_JSON).exists() {
        return Ok(Some("a run".to_owned()));
    }
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let name = entry.map_err(Error::io("read", folder))?.file_name().to_string_lossy().into_owned();
        let left_by_us = matches!(name.as_str(), CONFIG_TOML | "lock" | "checkpoints" | "samples")
            || (name.starts_with('.') && name.ends_with(".tmp"));
        if !left_by_us {
            return Ok(Some(format!("`{name}`")));
        }
    }
    Ok(None)
}

/// The splits of data that have another size than they had, as part of a sentence: `train 600 then, 599 now; `.
fn other_sizes(then: &[(String, u64)], now: &[(String, u64)]) -> String {
    let size = |sizes: &[(String, u64)], split: &str| {
        sizes.iter().find(|(name, _)| name == split).map_or(0, |(_, size)| *size)
    };
    let added = now.iter().filter(|(split, _)| then.iter().all(|(name, _)| name != split));
    let splits = then.iter().chain(added).map(|(split, _)| (split, size(then, split), size(now, split)));
    // Runs of earlier versions do not say it.
    let changed = splits.filter(|(_, then_size, now_size)| !then.is_empty() && then_size != now_size);
    changed.map(|(split, then, now)| format!("{split} {then} then, {now} now; ")).collect()
}

fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
