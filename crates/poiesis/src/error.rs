//! What can go wrong that is not a bug: one error type. Its message says what happened to which file or key and why;
//! its [`hint`](Error::hint) says what to do about it.
//!
//! Both are whole in one line: the reason given by the system is part of the message, so [`std::error::Error::source`]
//! is empty and a printer of chains repeats nothing (a field written `r#source` is none to thiserror). Neither names a flag
//! of the command line, which knows its flags itself. Wrong shapes are bugs and panic instead.

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail because of a user, a file or the machine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the file or key it concerns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read, written, made, renamed or removed.
    #[error("cannot {doing} {}: {}", path.display(), r#source)]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The verb, such as "read" or "write".
        doing: &'static str,
        /// What the system said.
        r#source: io::Error,
    },

    /// A name is not in the list of its kind.
    #[error("there is no {kind} called `{name}`")]
    UnknownName {
        /// What is named: "model", "recipe", "key" or "device".
        kind: &'static str,
        /// The name that was given.
        name: String,
        /// The valid name most like it, where one is close enough.
        nearest: Option<String>,
        /// All valid names, in the order in which they should be shown.
        known: Vec<String>,
    },

    /// A device is not of this build or not of this machine.
    #[error("there is no device `{name}`: {reason}")]
    NoDevice {
        /// The device as it was written, such as `cuda:1`.
        name: String,
        /// Why it is not there.
        reason: String,
        /// What to do about it.
        remedy: String,
    },

    /// A key of the configuration has a value that cannot be used.
    #[error("`{key}` cannot be {value}: {reason}")]
    InvalidValue {
        /// The dotted key, such as `optimizer.learning_rate`.
        key: String,
        /// The value as it was written.
        value: String,
        /// Why it cannot be used.
        reason: String,
        /// What to write instead.
        remedy: String,
    },

    /// Several keys of the configuration have values that cannot be used.
    #[error("{}", lines_of(faults))]
    InvalidValues {
        /// Each of them.
        faults: Vec<Fault>,
    },

    /// A configuration file is not valid TOML, or has keys of another kind.
    #[error("{} is not a valid configuration\n{}", path.display(), r#source.to_string().trim_end())]
    Config {
        /// The file, or a name for text that came from the command line.
        path: PathBuf,
        /// What the parser said, with line and caret.
        r#source: Box<toml::de::Error>,
    },

    /// A file of a run is not in the format it should be in.
    #[error("{} is not what Poiesis writes: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with the line where there is one.
        reason: String,
    },

    /// The folder holds no run.
    #[error("{} is not a run: it has no run.json", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },

    /// A new run would be made where there already is something.
    #[error("{} already holds {what}", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
        /// "a run", or the name of a file that does not belong to one.
        what: String,
    },

    /// A run would be resumed with a configuration that is not its own.
    #[error("{} was started with another configuration ({})", run.display(), differing(differences))]
    ConfigDiffers {
        /// The run's folder.
        run: PathBuf,
        /// Each key that differs, with the value saved in the run and the value now given.
        differences: Vec<(String, String, String)>,
    },

    /// The data set is not the one the run was started on.
    #[error(
        "the data set of {} has changed since the run began (fingerprint {expected} then, {found} now)",
        run.display()
    )]
    DataChanged {
        /// The run's folder.
        run: PathBuf,
        /// The fingerprint saved in the run.
        expected: String,
        /// The fingerprint of the data now given.
        found: String,
    },

    /// A checkpoint was once complete and no longer verifies.
    #[error("the checkpoint {} is damaged: {reason}", path.display())]
    CheckpointDamaged {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Which file differs from its record, and how.
        reason: String,
        /// The newest older checkpoint that does verify.
        older: Option<PathBuf>,
    },

    /// The run has not saved a checkpoint yet.
    #[error("{} has no checkpoint yet", run.display())]
    NoCheckpoint {
        /// The run's folder.
        run: PathBuf,
    },

    /// A checkpoint belongs to a model other than the one asked for.
    #[error("{} was made by the model `{found}`, not `{expected}`", path.display())]
    CheckpointOfAnotherModel {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The model asked for.
        expected: String,
        /// The model the checkpoint belongs to.
        found: String,
    },

    /// Weights do not fit the model that the configuration describes.
    #[error("the weights do not fit the model `{model}` as it is configured: {reason}")]
    WeightsMismatch {
        /// The model's name.
        model: String,
        /// Which array is missing, unknown, or of another shape.
        reason: String,
    },

    /// A loss term became NaN or infinite.
    #[error("training diverged: `{term}` is no longer finite at step {step}; the last checkpoint is kept")]
    Diverged {
        /// The step, from 1, at which the term was not finite.
        step: u64,
        /// The name of the term.
        term: String,
    },

    /// The work would need more memory than the machine has free.
    #[error("this needs about {} of memory and {} is available", in_bytes(*needed), in_bytes(*available))]
    OutOfMemory {
        /// The estimate, in bytes.
        needed: u64,
        /// What is free, in bytes.
        available: u64,
        /// What to change.
        remedy: String,
    },

    /// A request has something that the model does not accept.
    #[error("this model of {media} does not accept {what}")]
    NotAccepted {
        /// The parts of the request, with commas between them.
        what: String,
        /// The kind of data of the model.
        media: &'static str,
    },

    /// A verb asks for something the model cannot do.
    #[error("the model `{model}` cannot {capability}")]
    MissingCapability {
        /// The model of the run.
        model: String,
        /// What was asked, as a verb: "sample", "encode", "score a likelihood".
        capability: String,
        /// The models that can.
        models_that_have_it: Vec<String>,
    },

    /// Another process is training in the run.
    #[error("{} is being trained by another process", run.display())]
    RunInUse {
        /// The run's folder.
        run: PathBuf,
    },

    /// A picture could not be encoded or decoded.
    #[error("cannot {doing} the picture {}: {reason}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// "read" or "write".
        doing: &'static str,
        /// What the codec said.
        reason: String,
    },

    /// A sound could not be encoded or decoded.
    #[error("cannot {doing} the sound {}: {reason}", path.display())]
    Sound {
        /// The file.
        path: PathBuf,
        /// "read" or "write".
        doing: &'static str,
        /// What the codec said, or how it differs from what is needed.
        reason: String,
    },

    /// Something is not of the kind that a model knows.
    #[error("`{name}` cannot be compressed by this model: {reason}")]
    NotOfTheModel {
        /// Its name.
        name: String,
        /// What does not fit.
        reason: String,
        /// What to do instead.
        remedy: String,
    },

    /// An archive is not what was written, or was not written by Poiesis.
    #[error("the archive is damaged: {reason}")]
    ArchiveDamaged {
        /// What is wrong with it.
        reason: String,
    },

    /// An archive can only be opened with another model, or on another processor.
    #[error("the archive cannot be opened: {reason}")]
    ArchiveOfAnotherModel {
        /// Why not.
        reason: String,
        /// What to do.
        remedy: String,
    },

    /// A name of data means nothing: no path, no built-in data, no known data set.
    #[error("there is no data at `{source_name}`")]
    UnknownData {
        /// The name that was given.
        source_name: String,
        /// The valid name most like it, where one is close enough.
        nearest: Option<String>,
        /// All valid names.
        known: Vec<String>,
    },

    /// A known data set is not where it should be.
    #[error("there is no data set `{name}` at {}", path.display())]
    MissingData {
        /// Its name.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// The files that belong there, in words.
        files: String,
    },

    /// The data that a run was trained on cannot be opened.
    #[error("cannot open the data of {}: {reason}", run.display())]
    RunData {
        /// The run's folder.
        run: PathBuf,
        /// Why not.
        reason: Box<Error>,
    },

    /// A data set has no examples that were kept from training.
    #[error("{data} has nothing held out")]
    NothingHeldOut {
        /// The name of the data set.
        data: String,
    },

    /// Reading or packing data failed.
    #[error(transparent)]
    Data(#[from] poiesis_collect::Error),
}

/// A key whose value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The dotted key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Why it cannot be used.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl Error {
    /// Returns a closure for `map_err` that says what was being done to which path.
    pub fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { path: path.to_owned(), doing, source }
    }

    /// What can be done about it, where something is known to help; one line, without a full stop.
    pub fn hint(&self) -> Option<String> {
        let fixed: &str = match self {
            Error::Io { r#source, .. } => remedy_of(r#source.kind())?,
            Error::UnknownName { nearest, known, .. } => return suggestion(nearest.as_deref(), known),
            Error::UnknownData { nearest: Some(nearest), .. } => {
                return Some(format!("did you mean `{nearest}`?"));
            }
            Error::UnknownData { known, .. } => {
                return Some(format!("give a folder, a file, or one of the names {}", known.join(", ")));
            }
            Error::MissingData { files, .. } => {
                return Some(format!("put {files} there, or say in which folder data sets are"));
            }
            Error::MissingCapability { models_that_have_it: able, .. } => {
                let some = !able.is_empty();
                return Some(if some {
                    format!("these can: {}", able.join(", "))
                } else {
                    "no model can yet".into()
                });
            }
            Error::CheckpointDamaged { older: Some(older), .. } => {
                return Some(format!("move that folder away to resume from {}", older.display()));
            }
            Error::CheckpointDamaged { older: None, .. } => {
                "no older one is left, so restore it from a copy or start the run over"
            }
            Error::NoDevice { remedy, .. }
            | Error::InvalidValue { remedy, .. }
            | Error::OutOfMemory { remedy, .. }
            | Error::NotOfTheModel { remedy, .. }
            | Error::ArchiveOfAnotherModel { remedy, .. } => remedy,
            Error::Malformed { .. } => "restore it from a copy, or start the run over",
            Error::NotARun { .. } => "give the folder that training made",
            Error::RunExists { .. } | Error::ConfigDiffers { .. } => {
                "give another folder, or set this one aside and start over"
            }
            Error::DataChanged { .. } => {
                "restore the data, say where they are now, or start another run on the new data"
            }
            Error::NoCheckpoint { .. } => "train it first, or save checkpoints more often",
            Error::CheckpointOfAnotherModel { .. } => "name the run whose model you mean",
            Error::WeightsMismatch { .. } => "use the config.toml the weights were trained with",
            Error::Diverged { .. } => "lower the learning rate or clip gradients, and start a new run",
            Error::RunInUse { .. } => "wait for it or stop it, or give another folder",
            Error::Picture { .. } => "make it again, or give another file",
            Error::Sound { .. } => "convert it, or give another file",
            Error::ArchiveDamaged { .. } => "restore it from a copy",
            Error::RunData { .. } => "restore the data, or say where they are now",
            Error::NothingHeldOut { .. } => {
                "collect the data again with a part held out, or choose the train split"
            }
            Error::InvalidValues { faults } => {
                let remedies: Vec<String> =
                    faults.iter().map(|fault| format!("{}: {}", fault.key, fault.remedy)).collect();
                return Some(remedies.join("; "));
            }
            Error::NotAccepted { .. } => "leave it out",
            Error::Data(error) => return error.hint(),
            Error::Config { .. } => return None,
        };
        Some(fixed.to_owned())
    }

    /// Returns the error for a value of a configuration key that cannot be used.
    pub fn invalid_value(key: &str, value: &str, reason: &str, remedy: &str) -> Self {
        Self::InvalidValue {
            key: key.into(),
            value: value.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// Returns the error for a name that is not among `known`, with the nearest of them.
    pub fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        Self::UnknownName {
            kind,
            name: name.to_owned(),
            nearest: nearest(name, &known).map(str::to_owned),
            known: known.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// Returns the valid name most like `name`, or `None` when none is close enough to be what was meant.
///
/// Closeness is the Damerau–Levenshtein distance without regard to case, `-` or `_`: at most a third of the
/// longer name's letters may differ, and always at least one. The first of several equally close names is returned.
pub fn nearest<'a>(name: &str, valid: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let name = plain(name);
    let distance = |candidate: &str| {
        // A key given without its table still finds its full name.
        let candidate = plain(candidate);
        let last = candidate.rsplit('.').next().unwrap_or(&candidate).to_owned();
        let whole = strsim::damerau_levenshtein(&name, &candidate);
        if name.contains('.') { whole } else { whole.min(strsim::damerau_levenshtein(&name, &last)) }
    };
    let longest =
        |candidate: &str| name.chars().count().max(candidate.rsplit('.').next().map_or(0, str::len));
    valid
        .iter()
        .map(|&candidate| (distance(candidate), candidate))
        .filter(|&(distance, candidate)| distance <= (longest(candidate) / 3).max(1))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Returns a size in bytes as a person writes it: `512 B`, `1.5 kB`, `2.3 GB` (powers of ten).
pub fn in_bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if size < 1000 {
        return format!("{size} B");
    }
    let mut value = size as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// What a user can do about a failed operation on a file.
fn remedy_of(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::StorageFull => "free some space on that disk, then run the same command again",
        io::ErrorKind::QuotaExceeded => "free some of your quota, then run the same command again",
        io::ErrorKind::FileTooLarge => "raise the limit on file sizes, or choose another disk",
        io::ErrorKind::PermissionDenied => "check the permissions of the folder, or choose another",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder on a disk that can be written",
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::NotADirectory => "choose another path: one of the folders in this one is a file",
        _ => return None,
    })
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

fn differing(differences: &[(String, String, String)]) -> String {
    let mut text = String::new();
    for (i, (key, saved, given)) in differences.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write_to(&mut text, format_args!("{comma}{key} is {saved} there and {given} here"));
    }
    text
}

/// One line for each fault.
fn lines_of(faults: &[Fault]) -> String {
    let lines =
        faults.iter().map(|fault| format!("\n  {} cannot be {}: {}", fault.key, fault.value, fault.reason));
    format!("{} keys have values that cannot be used:{}", faults.len(), lines.collect::<String>())
}

/// Writing to a string cannot fail.
fn write_to(text: &mut String, arguments: fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn nearest_forgives_small_mistakes_only() {
        let models = ["dcgan", "vae", "pixelcnn", "optimizer.learning_rate", "optimizer.name"];
        assert_eq!(nearest("dcgn", &models), Some("dcgan"));
        assert_eq!(nearest("DC-GAN", &models), Some("dcgan"));
        assert_eq!(nearest("vea", &models), Some("vae"));
        assert_eq!(nearest("learning-rte", &models), Some("optimizer.learning_rate"));
        assert_eq!(nearest("optimiser.learning_rate", &models), Some("optimizer.learning_rate"));
        assert_eq!(nearest("diffusion", &models), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn a_message_names_the_file_and_the_reason_and_a_hint_the_remedy() {
        let said = |error: &Error| (error.to_string(), error.hint().unwrap_or_default());
        let full =
            Error::io("write", Path::new("runs/a/model.safetensors"))(io::ErrorKind::StorageFull.into());
        assert_eq!(
            said(&full),
            (
                "cannot write runs/a/model.safetensors: no storage space".into(),
                "free some space on that disk, then run the same command again".into()
            )
        );
        assert!(full.source().is_none(), "the reason is in the message, so a chain must not repeat it");
        assert_eq!(Error::io("read", Path::new("a"))(io::ErrorKind::Interrupted.into()).hint(), None);
        assert_eq!(
            said(&Error::unknown("model", "dcgn", ["dcgan", "vae"])),
            ("there is no model called `dcgn`".into(), "did you mean `dcgan`?".into())
        );
        assert_eq!(
            said(&Error::unknown("device", "metal", ["cpu", "cuda"])),
            ("there is no device called `metal`".into(), "choose one of cpu, cuda".into())
        );
        assert_eq!(Error::unknown("class", "3", []).hint(), None);
        let differs = Error::ConfigDiffers {
            run: "runs/a".into(),
            differences: vec![
                ("batch".into(), "64".into(), "32".into()),
                ("seed".into(), "1".into(), "2".into()),
            ],
        };
        assert_eq!(
            said(&differs).0,
            "runs/a was started with another configuration (batch is 64 there and 32 here, \
             seed is 1 there and 2 here)"
        );
        let memory =
            Error::OutOfMemory { needed: 34_560_000_000, available: 999, remedy: "lower batch".into() };
        assert_eq!(
            said(&memory),
            ("this needs about 34.6 GB of memory and 999 B is available".into(), "lower batch".into())
        );
    }

    #[test]
    fn a_configuration_error_shows_the_line() {
        let source = toml::from_str::<toml::Table>("steps = 3\nbatch = = 2").unwrap_err();
        let message = Error::Config { path: "a.toml".into(), source: Box::new(source) }.to_string();
        assert!(message.starts_with("a.toml is not a valid configuration\n"), "{message}");
        assert!(message.contains("line 2"), "{message}");
    }
}
