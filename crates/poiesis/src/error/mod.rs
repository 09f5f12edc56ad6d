//! The error type, for everything that can go wrong and is not a bug. The message says what happened to which file or key
//! and why; the [`hint`](Error::hint) says what to do about it.
//!
//! The message includes the reason given by the system, so [`std::error::Error::source`] is empty and printing the chain
//! repeats nothing (thiserror does not treat a field written `r#source` as the source). Neither names flags of the command
//! line, which adds them itself. Wrong shapes are bugs and panic instead.

mod hint;
mod make;
mod nearest;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::path::PathBuf;

pub use nearest::nearest;
use words::{differing, lines_of, shown};
pub use words::{escaped, in_bytes};

/// The result of everything in this crate that can fail because of the user, a file or the machine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the file or key it concerns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read, written, made, renamed or removed.
    #[error("cannot {doing} {}: {}", shown(path), r#source)]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The verb, such as "read" or "write".
        doing: &'static str,
        /// What the system said.
        r#source: io::Error,
    },

    /// A name is not one of the valid ones.
    #[error("there is no {kind} called `{name}`")]
    UnknownName {
        /// What is named: "model", "recipe", "key" or "device".
        kind: &'static str,
        /// The name that was given.
        name: String,
        /// The valid name most like it, where one is close enough.
        nearest: Option<String>,
        /// The valid names, in the order in which they should be shown; of keys, those of the section that was given.
        known: Vec<String>,
    },

    /// A device is not in this build or not in this machine.
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

    /// A configuration file is not valid TOML, or a key has the wrong type.
    #[error("{} is not a valid configuration\n{}", shown(path), r#source.to_string().trim_end())]
    Config {
        /// The file, or a name for text that came from the command line.
        path: PathBuf,
        /// What the parser said, with line and caret.
        r#source: Box<toml::de::Error>,
    },

    /// A file of a run does not have the right format.
    #[error("{} is not in the format of Poiesis: {reason}", shown(path))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with the line where there is one.
        reason: String,
    },

    /// The folder holds no run.
    #[error("{} is not a run: it has no run.json", shown(path))]
    NotARun {
        /// The folder.
        path: PathBuf,
    },

    /// The folder for a new run is not empty.
    #[error("{} already contains {what}", shown(path))]
    RunExists {
        /// The folder.
        path: PathBuf,
        /// "a run", or the name of a file that does not belong to one.
        what: String,
    },

    /// What is not a run is not renamed to make room for one.
    #[error("{} is not a run, and is left as it is: {reason}", path.display())]
    NotSetAside {
        /// What is in the way.
        path: PathBuf,
        /// Why it is not a run.
        reason: String,
    },

    /// A model is conditioned on classes that the data do not have.
    #[error("`{key}` cannot be true: {} no classes", data.as_deref().map_or("the data have".to_owned(), |name| format!("{name} has")))]
    NoClasses {
        /// The key that asks for classes, such as `dcgan.conditional`.
        key: String,
        /// The name of the data set, where it is known.
        data: Option<String>,
    },

    /// A run was resumed with another configuration.
    #[error("{} was started with another configuration ({})", shown(run), differing(differences))]
    ConfigDiffers {
        /// The run's folder.
        run: PathBuf,
        /// Each key that differs, with the value saved in the run and the value now given.
        differences: Vec<(String, String, String)>,
    },

    /// The data set is not the one the run was started on.
    #[error(
        "the data set of {} has changed since the run began ({sizes}fingerprint {expected} then, {found} now)",
        shown(run)
    )]
    DataChanged {
        /// The run's folder.
        run: PathBuf,
        /// The fingerprint saved in the run.
        expected: String,
        /// The fingerprint of the data now given.
        found: String,
        /// How many examples each split had that has another number now, in words before the fingerprints; empty where none has, or
        /// that is not known.
        sizes: String,
    },

    /// A checkpoint was once complete and no longer verifies.
    #[error("the checkpoint {} is damaged: {reason}", shown(path))]
    CheckpointDamaged {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Which file differs from its record, and how.
        reason: String,
        /// The newest older checkpoint that does verify.
        older: Option<PathBuf>,
    },

    /// The run has no checkpoint of the step asked for.
    #[error("{} has no checkpoint of step {step}", run.display())]
    NoSuchCheckpoint {
        /// The run's folder.
        run: PathBuf,
        /// The step asked for.
        step: u64,
        /// The steps that have one, ascending.
        steps: Vec<u64>,
    },

    /// A run does not say which of its checkpoints is the best.
    #[error("{} has no best checkpoint: {reason}", shown(run))]
    NoBestCheckpoint {
        /// The run's folder.
        run: PathBuf,
        /// Why not.
        reason: String,
    },

    /// The weights of a run cannot be those that another run starts from.
    #[error("a run cannot start from the weights of {}: {reason}", shown(run))]
    NotAStart {
        /// The folder of the run that has the weights.
        run: PathBuf,
        /// What differs, with the arrays that do not fit.
        reason: String,
        /// What to do about it.
        remedy: String,
    },

    /// The run has not saved a checkpoint yet.
    #[error("{} has no checkpoint yet", shown(run))]
    NoCheckpoint {
        /// The run's folder.
        run: PathBuf,
    },

    /// A checkpoint belongs to a model other than the one asked for.
    #[error("{} was made by the model `{found}`, not `{expected}`", shown(path))]
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

    /// The arrays of a checkpoint do not fit the model of its run.
    #[error("the checkpoint {} does not fit the model `{model}` as it is configured: {reason}", shown(path))]
    CheckpointMismatch {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The model's name.
        model: String,
        /// Which array is missing, or of another shape.
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
    #[error(
        "`{key}` = {value} is too much for this machine: {} of memory would be needed and {} are available",
        in_bytes(*needed),
        in_bytes(*available)
    )]
    OutOfMemory {
        /// The dotted key of the setting that needs most of it.
        key: String,
        /// Its value.
        value: String,
        /// A lower bound, in bytes.
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

    /// The model cannot do what was asked.
    #[error("the model `{model}` cannot {capability}")]
    MissingCapability {
        /// The model of the run.
        model: String,
        /// What was asked, as a verb, such as "sample" or "encode".
        capability: String,
        /// The models that can.
        models_that_have_it: Vec<String>,
    },

    /// The model has what compressing needs only with other settings, or in part.
    #[error("the model `{model}` cannot compress: {reason}")]
    CannotCompress {
        /// The model of the run.
        model: String,
        /// Why not.
        reason: String,
        /// What to do instead.
        remedy: String,
    },

    /// Another process is training in the run.
    #[error("{} is being trained by another process", shown(run))]
    RunInUse {
        /// The run's folder.
        run: PathBuf,
    },

    /// The run's folder was removed, renamed or replaced while it was being trained.
    #[error("{} was removed or replaced while it was being trained", shown(run))]
    RunRemoved {
        /// The run's folder.
        run: PathBuf,
    },

    /// A run is not what it was when its removal was asked for.
    #[error("{} has changed since it was looked at: {reason}", shown(run))]
    RunChanged {
        /// The run's folder.
        run: PathBuf,
        /// What it is now.
        reason: String,
    },

    /// A picture could not be encoded or decoded.
    #[error("cannot {doing} the picture {}: {reason}", shown(path))]
    Picture {
        /// The file.
        path: PathBuf,
        /// "read" or "write".
        doing: &'static str,
        /// What the codec said.
        reason: String,
    },

    /// A sound could not be encoded or decoded.
    #[error("cannot {doing} the sound {}: {reason}", shown(path))]
    Sound {
        /// The file.
        path: PathBuf,
        /// "read" or "write".
        doing: &'static str,
        /// What the codec said, or how it differs from what is needed.
        reason: String,
    },

    /// A document or picture does not fit the model.
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

    /// Two documents of an archive would become one file.
    #[error(
        "two documents are called {name}, or one would be a folder of the other, and one of them would be lost"
    )]
    SameName {
        /// Their name.
        name: String,
    },

    /// An archive can only be opened with another model, or on another processor.
    #[error("the archive cannot be opened: {reason}")]
    ArchiveOfAnotherModel {
        /// Why not.
        reason: String,
        /// What to do.
        remedy: String,
    },

    /// A name of data is neither a path nor built-in data nor a known data set.
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
    #[error("there is no {}data set `{name}` at {}", if *begun { "complete " } else { "" }, shown(path))]
    MissingData {
        /// Its name.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// The files that belong there, in words.
        files: String,
        /// Whether some have been fetched and others have not.
        begun: bool,
    },

    /// The data that a run was trained on cannot be opened.
    #[error("cannot open the data of {}: {reason}", shown(run))]
    RunData {
        /// The run's folder.
        run: PathBuf,
        /// Why not.
        reason: Box<Error>,
    },

    /// The weights of a feature network cannot be used.
    #[error("the weights {} cannot be used: {reason}", shown(path))]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong with them, with the name of the array where it is one.
        reason: String,
        /// What to do about it.
        remedy: String,
    },

    /// A file of latents or of a direction in them cannot be used.
    #[error("{} cannot be used: {reason}", shown(path))]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
        /// What to do about it.
        remedy: String,
    },

    /// Things are not measured, or not measured alike, and so cannot be compared.
    #[error("{reason}")]
    NotComparable {
        /// What differs, is missing or means nothing.
        reason: String,
        /// What to do about it.
        remedy: String,
    },

    /// A data set has no held-out examples.
    #[error("{data} has no held-out examples")]
    NothingHeldOut {
        /// The name of the data set.
        data: String,
    },

    /// An environment is unknown, cannot be made, or failed while an agent acted in it.
    #[error(transparent)]
    Environment(#[from] poiesis_envs::EnvError),

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
