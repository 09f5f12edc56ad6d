//! The run folder as a format: what training leaves behind and everything else reads.
//!
//! ```text
//! runs/NAME/
//!   config.toml        the resolved configuration
//!   run.json           what the run is and where it stands
//!   metrics.jsonl      one line for each logged step
//!   events.out.tfevents.*   the same for TensorBoard
//!   samples/           a picture for each sampled step, from fixed latents
//!   checkpoints/       step-NNNNNNNNN/{model,ema,train}.safetensors, state.json, COMPLETE
//!   lock               held by the process that trains
//! ```
//!
//! Nothing here knows of tensors or models.

pub mod checkpoint;
mod info;
pub mod metrics;
pub mod names;
pub mod samples;
pub mod tensorboard;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub use info::{DataInfo, Machine, Parent, RunInfo, State, now, utc};

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
    /// `run.json` comes last and makes the folder a run: where an earlier attempt was killed before it, this one
    /// takes over. The id and the times of `info` are filled in here.
    ///
    /// # Errors
    /// [`Error::RunExists`] when the folder holds a run or anything that does not belong to one;
    /// [`Error::RunInUse`] when another process makes or trains a run there; [`Error::Io`].
    pub fn create(path: &Path, config_toml: &str, info: RunInfo) -> Result<Self> {
        fs::create_dir_all(path).map_err(Error::io("make the folder", path))?;
        if let Some(what) = occupant(path)? {
            return Err(Error::RunExists { path: path.to_owned(), what });
        }
        let _lock = Lock::take(path)?;
        // Another process may have been quicker.
        if path.join(RUN_JSON).exists() {
            return Err(Error::RunExists { path: path.to_owned(), what: "a run".to_owned() });
        }
        for folder in ["checkpoints", "samples"] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(Error::io("make the folder", &folder))?;
        }
        atomic::write(&path.join(CONFIG_TOML), config_toml.as_bytes())?;
        let mut run = Self { path: path.to_owned(), info };
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
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(Error::NotARun { path: path.to_owned() });
            }
            Err(error) => return Err(Error::io("read", &file)(error)),
        };
        let info = serde_json::from_str(&text)
            .map_err(|error| Error::Malformed { path: file, reason: error.to_string() })?;
        Ok(Self { path: path.to_owned(), info })
    }

    /// Returns whether the folder `path` holds a run.
    pub fn exists(path: &Path) -> bool {
        path.join(RUN_JSON).is_file()
    }

    /// Renames the run's folder to the first free of `NAME.old-1`, `NAME.old-2`, … and returns the new path, or
    /// `None` when there was nothing at `path`.
    ///
    /// # Errors
    /// [`Error::RunInUse`] while a process trains in it, [`Error::Io`].
    pub fn set_aside(path: &Path) -> Result<Option<PathBuf>> {
        if !path.exists() {
            return Ok(None);
        }
        if Self::exists(path) {
            drop(Lock::take(path)?);
        }
        let aside = first_free(path);
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

    /// Changes `run.json` through `change` and writes it; the time of the change is set here.
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
        atomic::write(&file, text.as_bytes())?;
        self.info = info;
        Ok(())
    }

    /// Writes where the run stands to `run.json`.
    ///
    /// # Errors
    /// [`Error::Io`]; the file is then as it was.
    pub fn set_state(&mut self, state: State) -> Result<()> {
        self.update(|info| info.state = state)
    }

    /// Takes the lock that keeps two processes from training in the same run; it is given back when dropped, and by
    /// the system when the process ends in any way.
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
        fs::read_to_string(&path).map_err(Error::io("read", &path))
    }

    /// Checks that `given` is the configuration the run was made with, except for the dotted keys in `free` (and all
    /// keys below them), which may change between one start and the next; returns those that have. `saved` is what [`Run::config`]
    /// holds, with defaults for the keys that the version which made the run did not have yet.
    ///
    /// # Errors
    /// [`Error::ConfigDiffers`] with every key that differs and may not, [`Error::Config`] when either is not TOML.
    pub fn expect_config(
        &self,
        saved: &str,
        given: &str,
        free: &[&str],
    ) -> Result<Vec<(String, String, String)>> {
        let saved = parse(saved, &self.config_path())?;
        let given = parse(given, Path::new("the configuration given"))?;
        let is_free = |(key, _, _): &(String, String, String)| {
            free.iter().any(|free| {
                key.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let (changed, fixed): (Vec<_>, Vec<_>) = differences(&saved, &given).into_iter().partition(is_free);
        if fixed.is_empty() {
            return Ok(changed);
        }
        Err(Error::ConfigDiffers { run: self.path.clone(), differences: fixed })
    }

    /// Writes changed keys, each with its old and its new value as TOML, to `config.toml`; all else in it stays as it is.
    ///
    /// # Errors
    /// [`Error::Config`] when the file is not TOML, [`Error::Io`]; the file is then as it was.
    pub fn change_config(&self, changes: &[(String, String, String)]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut table = parse(&self.config()?, &self.config_path())?;
        for (key, _, value) in changes {
            let parsed = parse(&format!("value = {value}"), &self.config_path())?;
            let (section, name) =
                key.split_once('.').map_or((None, key.as_str()), |(s, name)| (Some(s), name));
            let target = match section {
                Some(section) => table.get_mut(section).and_then(toml::Value::as_table_mut),
                None => Some(&mut table),
            };
            if let (Some(target), Some(value)) = (target, parsed.get("value")) {
                target.insert(name.to_owned(), value.clone());
            }
        }
        atomic::write(&self.config_path(), table.to_string().as_bytes())
    }

    /// Checks that the data set is the one the run was made with.
    ///
    /// # Errors
    /// [`Error::DataChanged`].
    pub fn expect_data(&self, fingerprint: &str) -> Result<()> {
        if self.info.data.fingerprint == fingerprint {
            return Ok(());
        }
        Err(Error::DataChanged {
            run: self.path.clone(),
            expected: self.info.data.fingerprint.clone(),
            found: fingerprint.to_owned(),
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

/// The right to train in a run; see [`Run::lock`].
#[derive(Debug)]
pub struct Lock {
    // Closing the file gives the lock back.
    _file: File,
}

impl Lock {
    fn take(folder: &Path) -> Result<Self> {
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("write", &path))?;
        // Someone who only asks whether the run is in use holds the lock for an instant.
        for attempt in 0..5 {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if attempt < 4 => thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
            }
        }
        Err(Error::RunInUse { run: folder.to_owned() })
    }
}

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
    /// Why others cannot.
    pub unreadable: Vec<Error>,
}

/// Returns the runs directly below `root`; a folder that does not exist has none.
///
/// # Errors
/// [`Error::Io`] when `root` cannot be listed.
pub fn list(root: &Path) -> Result<Listing> {
    let mut listing = Listing::default();
    for path in folders_in(root)? {
        match summary(&path) {
            Ok(summary) => listing.runs.push(summary),
            Err(Error::NotARun { .. }) => {}
            Err(error) => listing.unreadable.push(error),
        }
    }
    listing.runs.sort_by(|a, b| b.info.created.cmp(&a.info.created).then(a.path.cmp(&b.path)));
    Ok(listing)
}

/// Returns every dotted key whose value differs between two configurations, with both values as TOML writes them;
/// `nothing` stands for a key that is absent.
pub fn differences(saved: &toml::Table, given: &toml::Table) -> Vec<(String, String, String)> {
    let (saved, given) = (flat(saved), flat(given));
    let value = |table: &[(String, String)], key: &str| {
        table.iter().find(|(k, _)| k == key).map_or_else(|| "nothing".to_owned(), |(_, value)| value.clone())
    };
    let mut keys: Vec<&String> = saved.iter().chain(&given).map(|(key, _)| key).collect();
    let mut seen = std::collections::HashSet::new();
    keys.retain(|key| seen.insert(key.as_str()));
    keys.into_iter()
        .map(|key| (key.clone(), value(&saved, key), value(&given, key)))
        .filter(|(_, saved, given)| saved != given)
        .collect()
}

const RUN_JSON: &str = "run.json";
const CONFIG_TOML: &str = "config.toml";

fn summary(path: &Path) -> Result<RunSummary> {
    let run = Run::open(path)?;
    let newest = checkpoint::survey(&run.checkpoints_path())?.complete.last().map(|&(step, _)| step);
    // A run that is over need not be asked, so that reading runs leaves no lock files behind.
    let in_use = run.info.state == State::Running && run.in_use();
    Ok(RunSummary { path: path.to_owned(), in_use, newest_checkpoint: newest, info: run.info })
}

/// What already is in a folder that should become a run, if it is more than a killed attempt to make one.
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

fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folders directly below `root`, sorted by name.
fn folders_in(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", root)(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read", root))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn parse(text: &str, path: &Path) -> Result<toml::Table> {
    toml::from_str(text).map_err(|source| Error::Config { path: path.to_owned(), source: Box::new(source) })
}

/// A table as dotted keys and values, in the table's order.
fn flat(table: &toml::Table) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                pairs.extend(flat(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => pairs.push((key.clone(), value.to_string())),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> RunInfo {
        RunInfo {
            model: "vae".into(),
            data: DataInfo { fingerprint: "abc".into(), ..DataInfo::default() },
            ..RunInfo::default()
        }
    }

    #[test]
    fn a_run_is_made_opened_and_moves_through_its_states() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("first");
        let mut run = Run::create(&path, "steps = 3\n", info()).unwrap();
        assert_eq!(run.info().id, "first");
        assert!(run.info().created > 1_400_000_000 && run.info().updated >= run.info().created);
        assert!(path.join("checkpoints").is_dir() && path.join("samples").is_dir());
        run.set_state(State::Stopped).unwrap();
        run.update(|info| info.last_step = 2).unwrap();

        let again = Run::open(&path).unwrap();
        assert_eq!(again.info(), run.info());
        assert_eq!((again.info().state, again.info().last_step), (State::Stopped, 2));
        assert_eq!(again.config().unwrap(), "steps = 3\n");
        assert!(again.expect_data("abc").is_ok());
        assert!(matches!(again.expect_data("abd"), Err(Error::DataChanged { .. })));
    }

    #[test]
    fn nothing_is_ever_written_over() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        Run::create(&path, "", info()).unwrap();
        assert!(matches!(Run::create(&path, "", info()), Err(Error::RunExists { .. })));
        let photos = root.path().join("photos");
        fs::create_dir(&photos).unwrap();
        fs::write(photos.join("cat.png"), "").unwrap();
        let error = Run::create(&photos, "", info()).unwrap_err();
        assert!(error.to_string().contains("`cat.png`"), "{error}");

        fs::write(path.join("CARD.md"), "mine").unwrap();
        assert_eq!(Run::set_aside(&path).unwrap(), Some(root.path().join("a.old-1")));
        Run::create(&path, "", info()).unwrap();
        assert_eq!(Run::set_aside(&path).unwrap(), Some(root.path().join("a.old-2")));
        assert_eq!(Run::set_aside(&path).unwrap(), None);
        assert_eq!(fs::read_to_string(root.path().join("a.old-1/CARD.md")).unwrap(), "mine");
    }

    #[test]
    fn an_attempt_killed_before_run_json_is_taken_over() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::create_dir_all(path.join("checkpoints")).unwrap();
        fs::write(path.join("config.toml"), "half").unwrap();
        fs::write(path.join(".run.json.77-0.tmp"), "{").unwrap();
        assert!(matches!(Run::open(&path), Err(Error::NotARun { .. })));
        assert_eq!(Run::create(&path, "whole = 1", info()).unwrap().config().unwrap(), "whole = 1");
    }

    #[test]
    fn two_cannot_train_in_one_run() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let run = Run::create(&path, "", info()).unwrap();
        assert!(!run.in_use());
        let lock = run.lock().unwrap();
        assert!(run.in_use());
        assert!(matches!(Run::open(&path).unwrap().lock(), Err(Error::RunInUse { .. })));
        assert!(matches!(Run::set_aside(&path), Err(Error::RunInUse { .. })));
        assert!(list(root.path()).unwrap().runs[0].in_use);
        drop(lock);
        assert!(run.lock().is_ok());
    }

    #[test]
    fn listing_shows_runs_newest_first_and_says_what_it_cannot_read() {
        let root = tempfile::tempdir().unwrap();
        for (name, created) in [("old", 10), ("new", 30), ("mid", 20)] {
            let mut run = Run::create(&root.path().join(name), "", info()).unwrap();
            run.update(|info| info.created = created).unwrap();
        }
        fs::create_dir(root.path().join("other")).unwrap();
        fs::create_dir(root.path().join("broken")).unwrap();
        fs::write(root.path().join("broken/run.json"), "{\n  nonsense").unwrap();
        let listing = list(root.path()).unwrap();
        let names: Vec<_> = listing.runs.iter().map(|run| run.info.id.as_str()).collect();
        assert_eq!(names, ["new", "mid", "old"]);
        assert_eq!(listing.unreadable.len(), 1);
        let message = listing.unreadable[0].to_string();
        assert!(message.contains("broken/run.json") && message.contains("line 2"), "{message}");
        assert!(list(&root.path().join("absent")).unwrap().runs.is_empty());
    }

    #[test]
    fn a_configuration_that_differs_is_named_key_by_key() {
        let root = tempfile::tempdir().unwrap();
        let saved = "seed = 1\nsteps = 10\n[optimizer]\nrate = 0.1\nname = \"adam\"\n";
        let run = Run::create(&root.path().join("a"), saved, info()).unwrap();
        run.expect_config(saved, saved, &[]).unwrap();
        run.expect_config(saved, &saved.replace("10", "20"), &["steps"]).unwrap();
        run.expect_config(saved, &saved.replace("0.1", "0.2"), &["optimizer"]).unwrap();
        let given = "seed = 1\nsteps = 10\nextra = true\n[optimizer]\nrate = 0.2\n";
        let Err(Error::ConfigDiffers { differences, .. }) =
            run.expect_config(saved, given, &["steps", "opt"])
        else {
            panic!("the configurations differ");
        };
        let expected = [
            ("optimizer.rate", "0.1", "0.2"),
            ("optimizer.name", "\"adam\"", "nothing"),
            ("extra", "nothing", "true"),
        ]
        .map(|(key, saved, given)| (key.to_owned(), saved.to_owned(), given.to_owned()));
        assert_eq!(differences, expected);
        assert!(matches!(run.expect_config(saved, "= 1", &[]), Err(Error::Config { .. })));
    }
}
