//! What a run's folder holds: the files that a run has, by their names, and anything else. Links are not followed.

use std::fs::{self, FileType};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::checkpoint::Part as Arrays;
use super::{CONFIG_TOML, RUN_JSON, names};
use crate::atomic;
use crate::error::{Error, Result};

/// What a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What the run is: `run.json`, `config.toml` and the lock.
    Description,
    /// The metrics, also for TensorBoard.
    Metrics,
    /// The samples drawn during training.
    Samples,
    /// The checkpoints.
    Checkpoints,
    /// What was measured or fitted later: evaluations with their pictures, anomalies, calibrations and probes.
    Evaluations,
    /// What a killed process has left.
    Temporary,
    /// What no run has: files of others, links, and what is neither a file nor a folder.
    Other,
}

/// A file, or something that no run has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where it is below the run's folder.
    pub path: PathBuf,
    /// Its size; 0 for what is no file.
    pub bytes: u64,
    /// What it belongs to.
    pub part: Part,
}

/// Everything in a run's folder, sorted by path. A folder that no run has is one item, whatever it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// The items.
    pub items: Vec<Item>,
}

impl Contents {
    /// Looks through the folder of a run.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(run: &Path) -> Result<Self> {
        let mut contents = Self::default();
        contents.look(run, Path::new(""), &top)?;
        Ok(contents)
    }

    /// How many files there are, and their bytes.
    pub fn total(&self) -> (usize, u64) {
        count(self.items.iter())
    }

    /// How many files belong to a part, and their bytes.
    pub fn of_part(&self, part: Part) -> (usize, u64) {
        count(self.items.iter().filter(|item| item.part == part))
    }

    /// The bytes of everything below a folder of the run.
    pub fn below(&self, folder: &Path) -> u64 {
        count(self.items.iter().filter(|item| item.path.starts_with(folder))).1
    }

    /// What no run has.
    pub fn others(&self) -> Vec<PathBuf> {
        let others = self.items.iter().filter(|item| item.part == Part::Other);
        others.map(|item| item.path.clone()).collect()
    }

    /// Adds what is in the folder `below` of the run; `place` says what something in it is.
    fn look(&mut self, run: &Path, below: &Path, place: &dyn Fn(&str) -> Place) -> Result<()> {
        for path in names::in_folder(&run.join(below))? {
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => found,
                // A process that trains has removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            let Some(name) = path.file_name() else { continue };
            let here = below.join(name);
            let kind = found.file_type();
            // A name that is no text is not one of ours.
            match name.to_str().map_or(Place::Unknown, place).of_kind(kind) {
                Place::Folder(part, inside) => {
                    let inside = |name: &str| if inside(name) { Place::File(part) } else { temporary(name) };
                    self.look(run, &here, &inside)?;
                }
                Place::Checkpoints => self.look(run, &here, &checkpoint)?,
                Place::File(part) => self.items.push(Item { path: here, bytes: found.len(), part }),
                Place::Unknown => {
                    let bytes = if kind.is_file() { found.len() } else { 0 };
                    self.items.push(Item { path: here, bytes, part: Part::Other });
                }
            }
        }
        Ok(())
    }
}

fn count<'a>(items: impl Iterator<Item = &'a Item>) -> (usize, u64) {
    items.fold((0, 0), |(files, bytes), item| (files + 1, bytes + item.bytes))
}

/// What is expected under a name.
enum Place {
    /// A file of this part.
    File(Part),
    /// A folder of this part, with files of these names.
    Folder(Part, fn(&str) -> bool),
    /// The folder of the checkpoints.
    Checkpoints,
    /// Nothing that a run has.
    Unknown,
}

impl Place {
    /// Nothing that a run has where something else is there than was expected.
    fn of_kind(self, kind: FileType) -> Place {
        let fits = match self {
            Place::File(_) => kind.is_file(),
            Place::Folder(..) | Place::Checkpoints => kind.is_dir(),
            Place::Unknown => true,
        };
        if fits { self } else { Place::Unknown }
    }
}

/// What something directly in the run's folder is.
fn top(name: &str) -> Place {
    const LATER: [&str; 4] = ["evaluation-", "anomalies-", "calibration-", "probe-"];
    match name {
        RUN_JSON | CONFIG_TOML | "lock" => Place::File(Part::Description),
        "metrics.jsonl" => Place::File(Part::Metrics),
        "samples" => Place::Folder(Part::Samples, |name| {
            of_step(name, "step-") && has_extension(name, &["png", "txt", "wav"])
        }),
        "checkpoints" => Place::Checkpoints,
        name if name.starts_with("events.out.tfevents.") => Place::File(Part::Metrics),
        name if LATER.iter().any(|prefix| of_step(name, prefix))
            && has_extension(name, &["json", "png", "safetensors"]) =>
        {
            Place::File(Part::Evaluations)
        }
        name => temporary(name),
    }
}

/// What something in the folder of checkpoints is: a checkpoint, also one that was not finished, set aside or half removed.
fn checkpoint(name: &str) -> Place {
    let (own, state) = name.split_once('.').unwrap_or((name, ""));
    let known = matches!(state, "" | "partial" | "removed") || state.starts_with("old-");
    match of_step(own, "step-") && !own[5..].contains('-') && known {
        true => Place::Folder(Part::Checkpoints, |name| {
            matches!(name, "state.json" | "COMPLETE")
                || Arrays::ALL.iter().any(|part| part.file_name() == name)
        }),
        false => temporary(name),
    }
}

fn temporary(name: &str) -> Place {
    if atomic::is_temporary(name) { Place::File(Part::Temporary) } else { Place::Unknown }
}

/// Whether a name is `prefix` with a step of nine digits or more, and then nothing, or something after a dot or a dash.
fn of_step(name: &str, prefix: &str) -> bool {
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    end >= 9 && (end == rest.len() || rest[end..].starts_with(['.', '-']))
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(run: &Path, names: &[&str]) {
        for name in names {
            let path = run.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "four").unwrap();
        }
    }

    #[test]
    fn files_of_a_run_are_told_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let own = [
            "run.json",
            "config.toml",
            "lock",
            "metrics.jsonl",
            "events.out.tfevents.1796002637.00000.poiesis",
            "samples/step-000000020.png",
            "samples/step-1000000000.wav",
            "checkpoints/step-000000020/model.safetensors",
            "checkpoints/step-000000020/COMPLETE",
            "checkpoints/step-000000040.partial/state.json",
            "checkpoints/step-000000030.removed/ema.safetensors",
            "checkpoints/step-000000010.old-1/train.safetensors",
            "evaluation-000000020.json",
            "evaluation-000000020-2.json",
            "evaluation-000000020-closest.png",
            "anomalies-000000020.json",
            "calibration-000000020.json",
            "probe-000000020-averaged.safetensors",
            ".run.json.77-0.tmp",
            "samples/.step-000000020.png.1-0.tmp",
        ];
        make(run, &own);
        let found = Contents::of(run).unwrap();
        assert!(found.others().is_empty());
        assert_eq!(found.total(), (own.len(), 4 * own.len() as u64));
        let parts = [Part::Description, Part::Metrics, Part::Samples, Part::Checkpoints, Part::Evaluations];
        assert_eq!(parts.map(|part| found.of_part(part).0), [3, 2, 2, 5, 6]);
        assert_eq!(found.of_part(Part::Temporary), (2, 8));
        assert_eq!(found.below(Path::new("checkpoints/step-000000020")), 8);

        let others = [
            "CARD.md",
            "evaluation-20.json",
            "evaluation-000000020.txt",
            "notes/a.txt",
            "samples/best.png",
            "samples/deep/step-000000020.png",
            "checkpoints/mine.safetensors",
            "checkpoints/step-000000020/notes.txt",
            "checkpoints/step-5/model.safetensors",
            "checkpoints/step-000000020.mine/model.safetensors",
            ".hidden",
        ];
        make(run, &others);
        let found = Contents::of(run).unwrap();
        let expected = [
            ".hidden",
            "CARD.md",
            "checkpoints/mine.safetensors",
            "checkpoints/step-000000020/notes.txt",
            "checkpoints/step-000000020.mine",
            "checkpoints/step-5",
            "evaluation-000000020.txt",
            "evaluation-20.json",
            "notes",
            "samples/best.png",
            "samples/deep",
        ];
        assert_eq!(found.others(), expected.map(PathBuf::from));
    }

    #[test]
    fn something_else_under_the_name_of_a_file_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &["config.toml/a.txt", "samples", "checkpoints/step-000000020"]);
        let others = ["checkpoints/step-000000020", "config.toml", "samples"];
        assert_eq!(Contents::of(folder.path()).unwrap().others(), others.map(PathBuf::from));
        assert_eq!(Contents::of(&folder.path().join("absent")).unwrap(), Contents::default());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (run, elsewhere) = (folder.path().join("run"), folder.path().join("elsewhere"));
        make(&elsewhere, &["step-000000020/model.safetensors", "config.toml"]);
        fs::create_dir(&run).unwrap();
        std::os::unix::fs::symlink(&elsewhere, run.join("checkpoints")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("config.toml"), run.join("config.toml")).unwrap();
        let found = Contents::of(&run).unwrap();
        assert_eq!(found.others(), ["checkpoints", "config.toml"].map(PathBuf::from));
        assert_eq!(found.total(), (2, 0));
    }
}
