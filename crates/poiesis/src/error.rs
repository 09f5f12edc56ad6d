//! What can go wrong that is not a bug: one error type whose messages say what happened to which file or key, why,
//! and what to do about it.
//!
//! A message is whole in one line: the reason given by the system is part of it, so [`std::error::Error::source`] is
//! empty and a printer of chains repeats nothing (a field written `r#source` is none to thiserror). Wrong shapes are bugs and panic instead.

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
    #[error("cannot {doing} {}: {}", path.display(), reason_of(r#source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The verb, such as "read" or "write".
        doing: &'static str,
        /// What the system said.
        r#source: io::Error,
    },

    /// A name is not in the list of its kind.
    #[error("there is no {kind} called `{name}`{}", suggestion(nearest.as_deref(), known))]
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
    #[error("there is no device `{name}`: {reason}; {remedy}")]
    NoDevice {
        /// The device as it was written, such as `cuda:1`.
        name: String,
        /// Why it is not there.
        reason: String,
        /// What to do about it.
        remedy: String,
    },

    /// A key of the configuration has a value that cannot be used.
    #[error("`{key}` cannot be {value}: {reason}; {remedy}")]
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

    /// A configuration file is not valid TOML, or has keys of another kind.
    #[error("{} is not a valid configuration\n{}", path.display(), r#source.to_string().trim_end())]
    Config {
        /// The file, or a name for text that came from the command line.
        path: PathBuf,
        /// What the parser said, with line and caret.
        r#source: Box<toml::de::Error>,
    },

    /// A file of a run is not in the format it should be in.
    #[error("{} is not what Poiesis writes: {reason}; restore it from a copy, or start over with --new", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with the line where there is one.
        reason: String,
    },

    /// The folder holds no run.
    #[error("{} is not a run: it has no run.json; give the folder that `train --out` made", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },

    /// A new run would be made where there already is something.
    #[error("{} already holds {what}; give another --out, or --new to set it aside and start over", path.display())]
    RunExists {
        /// The folder.
        path: PathBuf,
        /// "a run", or the name of a file that does not belong to one.
        what: String,
    },

    /// A run would be resumed with a configuration that is not its own.
    #[error(
        "{} was started with another configuration ({}); give another --out, or --new to set it aside and start over",
        run.display(), differing(differences)
    )]
    ConfigDiffers {
        /// The run's folder.
        run: PathBuf,
        /// Each key that differs, with the value saved in the run and the value now given.
        differences: Vec<(String, String, String)>,
    },

    /// The data set is not the one the run was started on.
    #[error(
        "the data set of {} has changed since the run began (fingerprint {expected} then, {found} now); \
         restore the data, or give another --out for a run on the new data",
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
    #[error("the checkpoint {} is damaged: {reason}; {}", path.display(), way_back(older.as_deref()))]
    CheckpointDamaged {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Which file differs from its record, and how.
        reason: String,
        /// The newest older checkpoint that does verify.
        older: Option<PathBuf>,
    },

    /// The run has not saved a checkpoint yet.
    #[error("{} has no checkpoint yet; train it first, or lower --checkpoint-every", run.display())]
    NoCheckpoint {
        /// The run's folder.
        run: PathBuf,
    },

    /// A checkpoint belongs to a model other than the one asked for.
    #[error("{} was made by the model `{found}`, not `{expected}`; name the run whose model you mean", path.display())]
    CheckpointOfAnotherModel {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The model asked for.
        expected: String,
        /// The model the checkpoint belongs to.
        found: String,
    },

    /// Weights do not fit the model that the configuration describes.
    #[error(
        "the weights do not fit the model `{model}` as it is configured: {reason}; \
         use the config.toml the weights were trained with"
    )]
    WeightsMismatch {
        /// The model's name.
        model: String,
        /// Which array is missing, unknown, or of another shape.
        reason: String,
    },

    /// A loss term became NaN or infinite.
    #[error(
        "training diverged: `{term}` is no longer finite at step {step}; the last checkpoint is kept; \
         lower the learning rate or clip gradients, and start a new run"
    )]
    Diverged {
        /// The step, from 1, at which the term was not finite.
        step: u64,
        /// The name of the term.
        term: String,
    },

    /// The work would need more memory than the machine has free.
    #[error(
        "this needs about {} of memory and {} is available; {remedy}",
        in_bytes(*needed), in_bytes(*available)
    )]
    OutOfMemory {
        /// The estimate, in bytes.
        needed: u64,
        /// What is free, in bytes.
        available: u64,
        /// What to change.
        remedy: String,
    },

    /// A verb asks for something the model cannot do.
    #[error("the model `{model}` cannot {capability}; {}", able(models_that_have_it))]
    MissingCapability {
        /// The model of the run.
        model: String,
        /// What was asked, as a verb: "sample", "encode", "score a likelihood".
        capability: String,
        /// The models that can.
        models_that_have_it: Vec<String>,
    },

    /// Another process is training in the run.
    #[error("{} is being trained by another process; wait for it or stop it, or give another --out", run.display())]
    RunInUse {
        /// The run's folder.
        run: PathBuf,
    },

    /// A picture could not be encoded or decoded.
    #[error("cannot {doing} the picture {}: {reason}; make it again, or give another file", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// "read" or "write".
        doing: &'static str,
        /// What the codec said.
        reason: String,
    },

    /// A sound could not be encoded or decoded.
    #[error("cannot {doing} the sound {}: {reason}; convert it, or give another file", path.display())]
    Sound {
        /// The file.
        path: PathBuf,
        /// "read" or "write".
        doing: &'static str,
        /// What the codec said, or how it differs from what is needed.
        reason: String,
    },

    /// Something is not of the kind that a model knows.
    #[error("`{name}` cannot be compressed by this model: {reason}; {remedy}")]
    NotOfTheModel {
        /// Its name.
        name: String,
        /// What does not fit.
        reason: String,
        /// What to do instead.
        remedy: String,
    },

    /// An archive is not what was written, or was not written by Poiesis.
    #[error("the archive is damaged: {reason}; restore it from a copy")]
    ArchiveDamaged {
        /// What is wrong with it.
        reason: String,
    },

    /// An archive can only be opened with another model, or on another processor.
    #[error("the archive cannot be opened: {reason}; {remedy}")]
    ArchiveOfAnotherModel {
        /// Why not.
        reason: String,
        /// What to do.
        remedy: String,
    },

    /// Reading or packing data failed.
    #[error(transparent)]
    Data(#[from] poiesis_collect::Error),
}

impl Error {
    /// Returns a closure for `map_err` that says what was being done to which path.
    pub fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { path: path.to_owned(), doing, source }
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

/// The system's reason, with a remedy for the kinds a user can do something about.
fn reason_of(source: &io::Error) -> String {
    let remedy = match source.kind() {
        io::ErrorKind::StorageFull => "free some space on that disk, then run the same command again",
        io::ErrorKind::QuotaExceeded => "free some of your quota, then run the same command again",
        io::ErrorKind::FileTooLarge => "raise the limit on file sizes, or choose another disk",
        io::ErrorKind::PermissionDenied => "check the permissions of the folder, or choose another",
        io::ErrorKind::ReadOnlyFilesystem => "choose a folder on a disk that can be written",
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::NotADirectory => "a file stands where a folder is needed; choose another path",
        _ => return source.to_string(),
    };
    format!("{source}; {remedy}")
}

fn suggestion(nearest: Option<&str>, known: &[String]) -> String {
    const SHOWN: usize = 12;
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None if known.is_empty() => String::new(),
        None if known.len() > SHOWN => {
            format!("; choose one of {} and {} more", known[..SHOWN].join(", "), known.len() - SHOWN)
        }
        None => format!("; choose one of {}", known.join(", ")),
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

fn way_back(older: Option<&Path>) -> String {
    match older {
        Some(older) => format!("move that folder away to go on from {}", older.display()),
        None => "no older one is left, so restore it from a copy or start over with --new".to_owned(),
    }
}

fn able(models: &[String]) -> String {
    if models.is_empty() {
        "no model can yet".to_owned()
    } else {
        format!("these can: {}", models.join(", "))
    }
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
    fn messages_name_the_file_the_reason_and_the_remedy() {
        let full =
            Error::io("write", Path::new("runs/a/model.safetensors"))(io::ErrorKind::StorageFull.into());
        assert_eq!(
            full.to_string(),
            "cannot write runs/a/model.safetensors: no storage space; free some space on that disk, \
             then run the same command again"
        );
        assert!(full.source().is_none(), "the reason is in the message, so a chain must not repeat it");
        assert_eq!(
            Error::unknown("model", "dcgn", ["dcgan", "vae"]).to_string(),
            "there is no model called `dcgn`; did you mean `dcgan`?"
        );
        assert_eq!(
            Error::unknown("device", "metal", ["cpu", "cuda"]).to_string(),
            "there is no device called `metal`; choose one of cpu, cuda"
        );
        let differs = Error::ConfigDiffers {
            run: "runs/a".into(),
            differences: vec![
                ("batch".into(), "64".into(), "32".into()),
                ("seed".into(), "1".into(), "2".into()),
            ],
        };
        assert_eq!(
            differs.to_string(),
            "runs/a was started with another configuration (batch is 64 there and 32 here, \
             seed is 1 there and 2 here); give another --out, or --new to set it aside and start over"
        );
        let memory =
            Error::OutOfMemory { needed: 34_560_000_000, available: 999, remedy: "lower batch".into() };
        assert_eq!(
            memory.to_string(),
            "this needs about 34.6 GB of memory and 999 B is available; lower batch"
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
