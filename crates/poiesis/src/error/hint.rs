//! What can be done about each error.

use poiesis_collect::regular::NotAFile;

use super::Error;

impl Error {
    /// What can be done about it, if something is known to help: one line, without a full stop.
    pub fn hint(&self) -> Option<String> {
        let fixed: &str = match self {
            Error::Io { r#source, .. } if NotAFile::of(r#source).is_some() => {
                let is_folder = NotAFile::of(r#source).is_some_and(|other| other.what == "a folder");
                if is_folder { "give a file" } else { "write its output to a file and give that" }
            }
            Error::Io { r#source, .. } => poiesis_collect::io_remedy(r#source.kind())?,
            Error::UnknownName { nearest, known, .. } => return suggestion(nearest.as_deref(), known),
            Error::UnknownData { nearest: Some(nearest), .. } => {
                return Some(format!("did you mean `{nearest}`?"));
            }
            Error::UnknownData { known, .. } if known.is_empty() => {
                "give episodes of an expert where they are, or say in which folder data sets are"
            }
            Error::UnknownData { known, .. } => {
                return Some(format!("give a folder, a file, or one of the names {}", known.join(", ")));
            }
            Error::MissingData { begun: true, .. } => "fetch the rest of it",
            Error::MissingData { files, .. } => {
                return Some(format!("fetch it, put {files} there, or say in which folder data sets are"));
            }
            Error::MissingCapability { models_that_have_it: able, .. } => {
                let some = !able.is_empty();
                return Some(if some {
                    format!("these can: {}", able.join(", "))
                } else {
                    "no model can yet".into()
                });
            }
            Error::NoSuchCheckpoint { steps, .. } => return Some(steps_there(steps)),
            Error::CheckpointDamaged { older: Some(older), .. } => {
                return Some(format!("move that folder away to resume from {}", older.display()));
            }
            Error::CheckpointDamaged { older: None, .. } => {
                "no older one is left, so restore it from a backup or start the run over"
            }
            Error::NoDevice { remedy, .. }
            | Error::InvalidValue { remedy, .. }
            | Error::OutOfMemory { remedy, .. }
            | Error::NotOfTheModel { remedy, .. }
            | Error::CannotCompress { remedy, .. }
            | Error::Weights { remedy, .. }
            | Error::Unusable { remedy, .. }
            | Error::NotComparable { remedy, .. }
            | Error::NotAStart { remedy, .. }
            | Error::ArchiveOfAnotherModel { remedy, .. } => remedy,
            Error::NoClasses { key, .. } => {
                return Some(format!(
                    "give data with classes, such as a folder for each or a `labels_file`, or set {key} to false"
                ));
            }
            Error::Malformed { .. } => "restore it from a backup, or start the run over",
            Error::NotARun { .. } => "give the folder of a run",
            Error::RunExists { .. } | Error::ConfigDiffers { .. } => {
                "give another folder, or set this one aside and start over"
            }
            Error::NotSetAside { .. } => "give another folder, or move it away first",
            Error::DataChanged { .. } => {
                "restore the data, say where they are now, or start another run on the new data"
            }
            Error::NoBestCheckpoint { .. } => "use the newest, or choose one by its step",
            Error::NoCheckpoint { .. } => "train it first, or save checkpoints more often",
            Error::CheckpointOfAnotherModel { .. } => "give a run of that model",
            Error::WeightsMismatch { .. } | Error::CheckpointMismatch { .. } => {
                "use the config.toml the weights were trained with"
            }
            Error::Diverged { .. } => "lower the learning rate or clip gradients, and start a new run",
            Error::RunInUse { .. } => "wait for it or stop it, or give another folder",
            Error::RunRemoved { .. } => {
                "put it back and run the same command again to continue from its last checkpoint"
            }
            Error::RunChanged { .. } => "this run was not removed; check it, then give the command again",
            Error::Picture { .. } => "make it again, or give another file",
            Error::Sound { .. } => "convert it, or give another file",
            Error::SameName { .. } => "give files with different paths, or make one archive for each",
            Error::ArchiveDamaged { .. } => "restore it from a backup",
            Error::RunData { .. } => "restore the data, or say where they are now",
            Error::NothingHeldOut { .. } => {
                "choose the train split, or collect the data again with a part held out"
            }
            Error::InvalidValues { faults } => {
                let remedies: Vec<String> =
                    faults.iter().map(|fault| format!("{}: {}", fault.key, fault.remedy)).collect();
                return Some(remedies.join("; "));
            }
            Error::NotAccepted { .. } => "leave it out",
            Error::Data(error) => return error.hint(),
            Error::Environment(error) => return error.hint(),
            Error::Config { .. } => return None,
        };
        Some(fixed.to_owned())
    }
}

/// The steps that can be asked for.
fn steps_there(steps: &[u64]) -> String {
    let all = steps.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    match steps {
        [] => "there are no checkpoints yet: train it first".to_owned(),
        [only] => format!("the only one is of step {only}"),
        _ => format!("choose one of the steps {all}"),
    }
}

fn suggestion(nearest: Option<&str>, known: &[String]) -> Option<String> {
    const SHOWN: usize = 12;
    match nearest {
        Some(nearest) => Some(format!("did you mean `{nearest}`?")),
        None if known.is_empty() => None,
        None if known.len() > SHOWN => {
            Some(format!("choose one of {} and {} more", known[..SHOWN].join(", "), known.len() - SHOWN))
        }
        None => Some(format!("choose one of {}", known.join(", "))),
    }
}
