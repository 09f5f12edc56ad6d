//! Removing a run: its folder is renamed first, and `run.json` goes before the rest, so that a kill leaves no half run that looks whole.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::lock::Lock;
use super::{RUN_JSON, Run, RunInfo};
use crate::atomic;
use crate::error::{Error, Result};

/// What the name of a folder that is being removed has before its number.
const REMOVED: &str = ".removed-";

/// A run that is to be removed, and what goes with it.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The folder as it was given.
    pub path: PathBuf,
    /// What `run.json` says; `None` for what is left of a removal that was interrupted.
    pub info: Option<RunInfo>,
    /// What the folder holds.
    pub contents: Contents,
    /// The folder without links, dots or a slash at its end.
    place: PathBuf,
}

impl Removal {
    /// Looks at the run in the folder `path`; nothing is changed.
    ///
    /// # Errors
    /// [`Error::NotARun`]; [`Error::NotSetAside`] for a link to one; [`Error::RunInUse`] while a process trains in it;
    /// [`Error::Malformed`] when its `run.json` cannot be read; [`Error::Io`].
    pub fn of(path: &Path) -> Result<Self> {
        // A slash at the end would follow a link.
        let bare: PathBuf = path.components().collect();
        if fs::symlink_metadata(&bare).is_ok_and(|found| found.is_symlink()) {
            let reason = "it is a link".to_owned();
            return Err(Error::NotSetAside { path: path.to_owned(), reason });
        }
        let place = bare.canonicalize().map_err(|_| Error::NotARun { path: path.to_owned() })?;
        let info = match Run::open(&place) {
            Ok(run) => Some(run.info),
            Err(Error::NotARun { .. }) if is_left_over(&place) => None,
            Err(Error::NotARun { .. }) => return Err(Error::NotARun { path: path.to_owned() }),
            Err(error) => return Err(error),
        };
        // The lock is only tried where there is one, so that looking leaves nothing behind.
        if info.is_some() && place.join("lock").exists() {
            take_lock(path, &place)?;
        }
        Ok(Self { path: path.to_owned(), info, contents: Contents::of(&place)?, place })
    }

    /// Whether both are of the same folder, however it was given.
    pub fn is_same(&self, other: &Removal) -> bool {
        self.place == other.place
    }

    /// Checks that the run can be removed as it is; nothing is changed.
    ///
    /// # Errors
    /// [`Error::RunInUse`] and [`Error::RunChanged`], as of [`Removal::remove`]; [`Error::Malformed`]; [`Error::Io`].
    pub fn expect_removable(&self) -> Result<()> {
        self.take_over().map(drop)
    }

    /// Removes the folder. Links in it are removed and not followed. Without `everything` nothing is removed where the folder has
    /// files that no run has, also ones that have come since [`Removal::of`]; their paths are returned, and none when the run is gone.
    ///
    /// # Errors
    /// [`Error::RunInUse`] while a process trains in it, and [`Error::RunChanged`] when it is not as it was at [`Removal::of`], because
    /// it was trained further or is another run now; nothing is removed then. [`Error::Io`]: the folder has its name again as long as
    /// nothing in it was removed; later, what could not be removed is left under the name of what is being removed.
    pub fn remove(&self, everything: bool) -> Result<Vec<PathBuf>> {
        let lock = self.take_over()?;
        if cfg!(windows) {
            // A folder with an open file cannot be renamed there.
            drop(lock);
        }
        let doomed = self.set_apart()?;
        match remove_description(&doomed, everything) {
            Ok(others) if others.is_empty() => {}
            kept => {
                let put_back = fs::rename(&doomed, &self.place).map_err(Error::io("rename", &doomed));
                // Why nothing was removed says more.
                return kept.and_then(|others| put_back.map(|()| others));
            }
        }
        atomic::sync_folder(&doomed)?;
        fs::remove_dir_all(&doomed).map_err(Error::io("remove", &doomed))?;
        Ok(Vec::new())
    }

    /// Takes the lock of the run, and checks that it is the one that was looked at, as it was then. What is left of a removal that was
    /// interrupted has no lock.
    fn take_over(&self) -> Result<Option<Lock>> {
        let Some(seen) = &self.info else { return Ok(None) };
        let changed = |reason| Err(Error::RunChanged { run: self.path.clone(), reason });
        let none = || changed("it is not a run any more".to_owned());
        // The lock is only taken in a run, so that no other folder gets its file.
        if !Run::exists(&self.place) {
            return none();
        }
        let lock = take_lock(&self.path, &self.place)?;
        match Run::open(&self.place).map(|run| run.info) {
            Ok(now) if now == *seen => Ok(Some(lock)),
            Ok(now) if now.created != seen.created || now.model != seen.model => {
                changed("it is another run now".to_owned())
            }
            Ok(now) => changed(format!(
                "it is {} after step {} now, and was {} after step {}",
                now.state, now.last_step, seen.state, seen.last_step
            )),
            Err(Error::NotARun { .. }) => none(),
            Err(error) => Err(error),
        }
    }

    /// Renames the folder to the first free of `.NAME.removed-1`, `.NAME.removed-2`, … beside it; what is left of an earlier removal
    /// has such a name.
    fn set_apart(&self) -> Result<PathBuf> {
        if is_left_over(&self.place) {
            return Ok(self.place.clone());
        }
        let name = self.place.file_name().unwrap_or_default();
        let mut number = 1;
        let doomed = loop {
            let mut doomed = OsString::from(".");
            doomed.push(name);
            doomed.push(format!("{REMOVED}{number}"));
            let doomed = self.place.with_file_name(doomed);
            if fs::symlink_metadata(&doomed).is_err() {
                break doomed;
            }
            number += 1;
        };
        fs::rename(&self.place, &doomed).map_err(Error::io("rename", &self.path))?;
        if let Err(error) = atomic::sync_folder(atomic::folder_of(&self.place)) {
            // Why it failed says more than that it could not be undone.
            let _ = fs::rename(&doomed, &self.place);
            return Err(error);
        }
        Ok(doomed)
    }
}

/// Removes `run.json` of the folder `doomed`, after which it is no run any more. Where it has files that no run has, and not
/// `everything` is to go, their paths are returned, and nothing is removed.
fn remove_description(doomed: &Path, everything: bool) -> Result<Vec<PathBuf>> {
    let others = Contents::of(doomed)?.others();
    if !everything && !others.is_empty() {
        return Ok(others);
    }
    let description = doomed.join(RUN_JSON);
    if description.exists() {
        fs::remove_file(&description).map_err(Error::io("remove", &description))?;
    }
    Ok(Vec::new())
}

/// The lock of the run in `place`; an error names it as it was given.
fn take_lock(path: &Path, place: &Path) -> Result<Lock> {
    Lock::take(place).map_err(|error| match error {
        Error::RunInUse { .. } => Error::RunInUse { run: path.to_owned() },
        other => other,
    })
}

/// Whether a folder has the name of one that is being removed.
pub(super) fn is_left_over(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.')
        && name
            .rsplit_once(REMOVED)
            .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::{State, list};
    use super::*;

    fn make(root: &Path, name: &str) -> PathBuf {
        let path = root.join(name);
        Run::create(&path, "", RunInfo { model: "vae".into(), ..RunInfo::default() }).unwrap();
        fs::write(path.join("metrics.jsonl"), "{\"step\":1}\n").unwrap();
        path
    }

    #[test]
    fn a_run_is_removed_with_everything_that_belongs_to_it() {
        let root = tempfile::tempdir().unwrap();
        let (path, other) = (make(root.path(), "a"), make(root.path(), "b"));
        let removal = Removal::of(&path).unwrap();
        assert_eq!(removal.info.as_ref().unwrap().model, "vae");
        assert!(removal.contents.total().0 >= 3);
        assert!(removal.is_same(&Removal::of(&root.path().join("b/../a/")).unwrap()));
        assert!(!removal.is_same(&Removal::of(&other).unwrap()));
        assert!(removal.remove(false).unwrap().is_empty());
        let left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["b"]);
        assert!(matches!(Removal::of(&path), Err(Error::NotARun { .. })));
    }

    #[test]
    fn files_of_others_keep_a_run_unless_everything_is_to_go() {
        let root = tempfile::tempdir().unwrap();
        let path = make(root.path(), "a");
        let removal = Removal::of(&path).unwrap();
        // After it was looked at.
        fs::write(path.join("thesis.txt"), "years").unwrap();
        assert_eq!(removal.remove(false).unwrap(), [PathBuf::from("thesis.txt")]);
        assert!(Run::exists(&path), "it is where it was");
        assert_eq!(fs::read_to_string(path.join("thesis.txt")).unwrap(), "years");
        assert_eq!(Removal::of(&path).unwrap().contents.others(), [PathBuf::from("thesis.txt")]);
        assert!(removal.remove(true).unwrap().is_empty());
        assert!(!path.exists());
    }

    #[test]
    fn a_run_in_use_and_what_is_no_run_stay() {
        let root = tempfile::tempdir().unwrap();
        let path = make(root.path(), "a");
        let removal = Removal::of(&path).unwrap();
        let lock = Run::open(&path).unwrap().lock().unwrap();
        assert!(matches!(Removal::of(&path), Err(Error::RunInUse { .. })));
        assert!(matches!(removal.remove(true), Err(Error::RunInUse { .. })));
        assert!(Run::exists(&path));
        drop(lock);
        fs::create_dir(root.path().join("photos")).unwrap();
        for other in ["photos", "absent"] {
            assert!(matches!(Removal::of(&root.path().join(other)), Err(Error::NotARun { .. })), "{other}");
        }
    }

    #[test]
    fn a_run_that_changed_after_it_was_looked_at_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = make(root.path(), "a");
        let removal = Removal::of(&path).unwrap();
        Run::open(&path).unwrap().update(|info| (info.state, info.last_step) = (State::Done, 60)).unwrap();
        let error = removal.remove(true).unwrap_err();
        let said =
            "has changed since it was looked at: it is done after step 60 now, and was running after step 0";
        assert!(error.to_string().ends_with(said), "{error}");
        assert_eq!(
            error.hint().as_deref(),
            Some("this run was not removed; check it, then give the command again")
        );
        let removal = Removal::of(&path).unwrap();
        // Somebody starts over under its name.
        fs::rename(&path, root.path().join("old")).unwrap();
        let refused = |reason: &str| {
            let error = removal.remove(true).unwrap_err();
            assert!(
                matches!(error, Error::RunChanged { .. }) && error.to_string().contains(reason),
                "{error}"
            );
        };
        Run::create(&path, "", RunInfo { model: "gan".into(), ..RunInfo::default() }).unwrap();
        refused("it is another run now");
        fs::remove_file(path.join(RUN_JSON)).unwrap();
        refused("it is not a run any more");
        assert!(Run::exists(&root.path().join("old")) && path.join("config.toml").exists());
    }

    #[test]
    fn a_run_whose_removal_fails_at_once_keeps_its_name() {
        let root = tempfile::tempdir().unwrap();
        let path = make(root.path(), "a");
        let removal = Removal::of(&path).unwrap();
        // A folder under the name of a file cannot be removed as one, whoever tries.
        fs::remove_file(path.join(RUN_JSON)).unwrap();
        fs::create_dir(path.join(RUN_JSON)).unwrap();
        let unchecked = Removal { info: None, ..removal };
        let error = unchecked.remove(true).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        let left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a"]);
        assert!(path.join("metrics.jsonl").exists(), "nothing in it was removed");
    }

    #[test]
    fn whether_a_run_can_be_removed_is_checked_without_a_change() {
        let root = tempfile::tempdir().unwrap();
        let path = make(root.path(), "a");
        let removal = Removal::of(&path).unwrap();
        removal.expect_removable().unwrap();
        let lock = Run::open(&path).unwrap().lock().unwrap();
        assert!(matches!(removal.expect_removable(), Err(Error::RunInUse { .. })));
        drop(lock);
        Run::open(&path).unwrap().update(|info| info.last_step = 60).unwrap();
        assert!(matches!(removal.expect_removable(), Err(Error::RunChanged { .. })));
        assert!(Run::exists(&path));
        fs::remove_dir_all(&path).unwrap();
        let error = removal.expect_removable().unwrap_err().to_string();
        assert!(error.ends_with("it is not a run any more") && !path.exists(), "{error}");
    }

    #[test]
    fn what_an_interrupted_removal_left_is_no_run_and_can_be_removed() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), "a");
        let left = root.path().join(".a.removed-1");
        fs::rename(root.path().join("a"), &left).unwrap();
        // It was killed before run.json was removed, and after.
        for _ in 0..2 {
            let listing = list(root.path()).unwrap();
            assert!(listing.runs.is_empty());
            assert_eq!(listing.left_over, std::slice::from_ref(&left));
            let _ = fs::remove_file(left.join(RUN_JSON));
        }
        // A run of that name that is removed now does not touch it.
        let again = make(root.path(), "a");
        Removal::of(&again).unwrap().remove(false).unwrap();
        assert!(left.exists() && !again.exists());
        let removal = Removal::of(&left).unwrap();
        assert_eq!(removal.info, None);
        removal.remove(false).unwrap();
        assert!(!left.exists());
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_nowhere() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let (path, valuable) = (make(root.path(), "a"), root.path().join("valuable"));
        fs::create_dir(&valuable).unwrap();
        fs::write(valuable.join("thesis.txt"), "years").unwrap();
        symlink(&path, root.path().join("link")).unwrap();
        for given in ["link", "link/"] {
            let error = Removal::of(&root.path().join(given)).unwrap_err();
            assert!(matches!(error, Error::NotSetAside { .. }) && error.to_string().contains("a link"));
        }
        symlink(&valuable, path.join("samples/step-000000001")).unwrap();
        symlink(&valuable, path.join("mine")).unwrap();
        let removal = Removal::of(&path).unwrap();
        assert_eq!(removal.remove(false).unwrap().len(), 2);
        assert!(removal.remove(true).unwrap().is_empty());
        assert!(!path.exists());
        assert_eq!(fs::read_to_string(valuable.join("thesis.txt")).unwrap(), "years");
    }
}
