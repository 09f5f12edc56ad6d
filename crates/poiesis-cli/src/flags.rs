//! The flags for keys and options. The library only knows keys and options, and only this file knows their flags.

use std::fs;
use std::path::{Path, PathBuf};

use poiesis::Error;
use poiesis::data::known;
use poiesis::error::nearest;
use poiesis::run::Run;
use poiesis_collect::Error as DataError;
use poiesis_envs::EnvError;
use poiesis_envs::mujoco::MujocoError;

use crate::render::{program, quoted};

/// Flags with the configuration keys, or the values of a request, that they set.
const FLAGS: &[(&str, &str, &str)] = &[
    ("data.source", "--data", "SOURCE"),
    ("data.environments", "--envs", "N"),
    ("data.demonstrations", "--demos", "DATA"),
    ("env", "--env", "ENV"),
    ("episodes", "--episodes", "N"),
    ("max_steps", "--max-steps", "N"),
    ("min_return", "--min-return", "X"),
    ("policy", "--policy", "POLICY"),
    ("record", "--record", "FILE"),
    ("dims", "--dims", "A,B"),
    ("bins", "--bins", "N"),
    ("holdout", "--holdout", "PART"),
    ("data.size", "--size", "PIXELS"),
    ("data.channels", "--channels", "N"),
    ("data.labels_file", "--labels", "FILE"),
    ("train.steps", "--steps", "N"),
    ("train.batch_size", "--batch-size", "N"),
    ("train.checkpoint_every", "--checkpoint-every", "N"),
    ("train.patience", "--until-no-better", "N"),
    ("epochs", "--epochs", "N"),
    ("seed", "--seed", "N"),
    ("device", "--device", "DEVICE"),
    ("settings", "--set", "KEY=VALUE"),
    ("missing", "--missing", "PART"),
    ("mask", "--mask", "FILE"),
    ("images", "--images", "N"),
    ("importance_samples", "--importance-samples", "N"),
    ("draws", "--draws", "N"),
    ("samples", "--samples", "N"),
    ("directions", "--directions", "N"),
    ("temperature", "--temperature", "T"),
    ("top_k", "--top-k", "K"),
    ("top_p", "--top-p", "P"),
    ("class", "--class", "CLASS"),
    ("method", "--method", "METHOD"),
    ("clusters", "--clusters", "N"),
    ("with", "--with", "FOLDER|CLASS"),
    ("without", "--without", "FOLDER|CLASS"),
];

/// The key of a model's section that `--labels-per-class` sets.
pub(crate) const LABELS_PER_CLASS: &str = "labels_per_class";

/// Fields of the options of collecting with the flags of `collect` that set them.
const COLLECT: &[(&str, &str)] = &[
    ("size", "--size N|WxH"),
    ("shape", "--shape H,W,C"),
    ("channels", "--channels N"),
    ("holdout", "--holdout PART"),
    ("count", "--count N"),
    ("seed", "--seed N"),
    ("crop", "--crop HOW"),
    ("background", "--background COLOUR"),
    ("lines", "--lines"),
    ("vocabulary", "--vocabulary KIND"),
    ("vocabulary_size", "--vocabulary-size N"),
    ("sample_rate", "--sample-rate HZ"),
    ("mono", "--mono"),
    ("label_from_name", "--label-from-name"),
    ("labels", "--labels FILE"),
    ("class_level", "--class-level N"),
    ("kind", "--kind KIND"),
    ("include", "--include PATTERN"),
    ("text_field", "--text-field NAME"),
    ("columns", "--columns A,B"),
    ("environment", "--env NAME"),
    ("actions", "--actions KIND"),
    ("binarize", "--binarize"),
    ("invert", "--invert"),
    ("stack", "--stack"),
    ("scatter", "--scatter"),
    ("objects", "--objects N|FEWEST..MOST"),
    ("validation_files", "--validation-files PATTERN"),
    ("test_files", "--test-files PATTERN"),
    ("max_memory", "--max-memory SIZE"),
];

/// The flag of `collect` that sets a field of its options.
pub(crate) fn of_collect(option: &str) -> Option<&'static str> {
    COLLECT.iter().find(|(known, _)| *known == option).map(|&(_, flag)| flag)
}

/// What can be done about an error of `collect`, and the flag of that command that does it.
pub(crate) fn collect_hint(error: &DataError) -> Option<String> {
    with_flags(error.hint(), error.option().and_then(of_collect).map(str::to_owned))
}

/// The flag that sets a field of the options of collecting where a configuration has it.
fn in_config(option: &str) -> Option<String> {
    // A configuration has neither: such a source is packed first.
    let packed = ["max_memory", "actions"].contains(&option);
    if let Some(flag) = of_collect(option).filter(|_| packed) {
        return Some(format!("poiesis collect SOURCE OUT {flag}"));
    }
    let key = match option {
        "label_from_name" => "labels",
        "kind" => "media",
        "labels" => "labels_file",
        other => other,
    };
    usage(&format!("data.{key}"))
}

/// What can be done about an error of data, and the flag that does it where a configuration says how they are collected.
pub(crate) fn data_hint(error: &DataError) -> Option<String> {
    let flags = match error {
        DataError::NoSplit { .. } => Some("--split SPLIT".into()),
        DataError::NotInVocabulary { .. } => Some("--vocabulary bytes".into()),
        // A configuration has no shape: such a source is packed first.
        error if error.option() == Some("shape") => Some("collect SOURCE FOLDER --shape H,W,C".into()),
        error if error.option() == Some("columns") => Some("collect SOURCE FOLDER --columns A,B".into()),
        error => error.option().and_then(in_config),
    };
    with_flags(error.hint(), flags)
}

/// The flag that sets `key`, as the origin of a value.
pub(crate) fn flag(key: &str) -> &'static str {
    FLAGS.iter().find(|(known, ..)| *known == key).map_or("--set", |&(_, flag, _)| flag)
}

/// The flag that sets `key`, with a placeholder for its value; every key of a configuration has one.
fn usage(key: &str) -> Option<String> {
    // Of whatever model.
    if key.rsplit('.').next() == Some(LABELS_PER_CLASS) {
        return Some("--labels-per-class N".to_owned());
    }
    match FLAGS.iter().find(|(known, ..)| *known == key) {
        Some((_, flag, value)) => Some(format!("{flag} {value}")),
        None => key.contains('.').then(|| format!("--set {key}=VALUE")),
    }
}

/// The hint for an error, with the flags to use.
pub(crate) fn hint(error: &Error) -> Option<String> {
    let flags = match error {
        Error::InvalidValue { key, .. } => usage(key),
        Error::NoClasses { key, .. } => usage(key).map(|flag| format!("--labels FILE, {flag}")),
        Error::RunExists { .. } | Error::ConfigDiffers { .. } => Some("--out FOLDER, --new".into()),
        Error::Malformed { .. } | Error::CheckpointDamaged { older: None, .. } => Some("--new".into()),
        Error::NotAccepted { what, .. } => Some(refused(what)),
        Error::DataChanged { .. } => Some("--data SOURCE, --out FOLDER".into()),
        Error::RunData { reason, .. } => Some(match &**reason {
            Error::MissingData { name, path, .. } => {
                format!("{}, --data SOURCE, --data-dir FOLDER", fetching(name, path))
            }
            _ => "--data SOURCE".into(),
        }),
        Error::MissingData { name, path, begun: true, .. } => Some(fetching(name, path)),
        Error::MissingData { name, path, .. } => Some(format!("{}, --data-dir FOLDER", fetching(name, path))),
        // Demonstrations, which have no names.
        Error::UnknownData { known, .. } if known.is_empty() => Some("--data-dir FOLDER".into()),
        Error::NothingHeldOut { .. } => Some("--split train".into()),
        Error::NotARun { path } => return Some(nearest_run(path)),
        // Their number becomes one of steps once the data are known.
        Error::UnknownName { kind: "key", name, .. }
            if matches!(name.as_str(), "epochs" | "train.epochs") =>
        {
            return Some("give the number of epochs with --epochs N".into());
        }
        Error::Data(error) => return data_hint(error),
        Error::Environment(error) => environment_flag(error),
        Error::NoSuchCheckpoint { .. } => Some("--step N".into()),
        Error::NoBestCheckpoint { .. } => Some("without --best, --step N".into()),
        Error::Weights { path, .. } if path.ends_with("features.safetensors") => {
            Some("features DATA --again".into())
        }
        Error::Weights { .. } => Some("--inception-weights FILE".into()),
        Error::NoDevice { .. } => Some("--device DEVICE".into()),
        Error::NoCheckpoint { .. } => Some("--checkpoint-every N".into()),
        Error::RunInUse { .. } | Error::NotSetAside { .. } => Some("--out FOLDER".into()),
        Error::OutOfMemory { key, .. } => {
            let own = usage(if key == "data.source" { "data.size" } else { key });
            Some(own.map_or_else(|| "--ignore-memory".into(), |own| format!("{own}, --ignore-memory")))
        }
        _ => None,
    };
    with_flags(error.hint(), flags)
}

/// The command that fetches a known data set which is missing at `path`.
fn fetching(name: &str, path: &Path) -> String {
    let places = known::find(name).map(|known| known.places).unwrap_or_default();
    let place = places.iter().chain([&name]).find(|place| path.ends_with(place));
    let folder = path.ancestors().nth(place.map_or(0, |place| Path::new(place).components().count()));
    match folder.map(|folder| folder.display().to_string()) {
        Some(folder) if place.is_some() && folder != "data" => {
            format!("poiesis fetch {name} --data-dir {}", quoted(&folder))
        }
        _ => format!("poiesis fetch {name}"),
    }
}

/// The flag of an error of an environment.
fn environment_flag(error: &EnvError) -> Option<String> {
    match error {
        EnvError::UnknownEnvironment { .. } => Some("--env ENV".into()),
        EnvError::Mujoco(MujocoError::NotFound { .. }) => {
            Some("or set POIESIS_MUJOCO to the file, or to its folder".into())
        }
        EnvError::InEnvironment { reason, .. } => environment_flag(reason),
        _ => None,
    }
}

/// An error of the environment of an agent, which `--env` names and not `--data`.
pub(crate) fn of_agent(error: Error) -> Error {
    match error {
        Error::InvalidValue { key, value, reason, remedy } if key == "data.source" => {
            Error::InvalidValue { key: "env".into(), value, reason, remedy }
        }
        other => other,
    }
}

/// Where a run of that name is, or how to find one.
fn nearest_run(path: &Path) -> String {
    let below = Path::new("runs").join(path);
    if Run::exists(&below) {
        return format!("did you mean `{}`?", below.display());
    }
    if let Some(meant) = misspelt_run(path) {
        return format!("did you mean `{}`?", meant.display());
    }
    format!("give the folder of a run; `{} runs` lists those in runs", program())
}

/// The run whose name is like that of `path`, which is not there: beside it, or in `runs` for a bare name.
fn misspelt_run(path: &Path) -> Option<PathBuf> {
    if path.exists() {
        return None;
    }
    let name = path.file_name()?.to_str()?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let folders = above.map_or_else(|| vec![Path::new("."), Path::new("runs")], |above| vec![above]);
    folders.into_iter().find_map(|folder| {
        let entries = fs::read_dir(folder).ok()?.flatten();
        let is_run = |entry: &fs::DirEntry| Run::exists(&entry.path());
        let mut names: Vec<String> =
            entries.filter(is_run).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let meant = nearest(name, &names)?;
        Some(if folder == Path::new(".") { meant.into() } else { folder.join(meant) })
    })
}

/// The flags that set the parts of a request.
fn refused(parts: &str) -> String {
    let flags = |part: &str| match part {
        "prompt" => "--prime, --prime-sound".to_owned(),
        "max_len" => "--length".to_owned(),
        part => format!("--{}", part.replace('_', "-")),
    };
    parts.split(", ").map(flags).collect::<Vec<_>>().join(", ")
}

/// A hint with the flags that do what it says.
fn with_flags(hint: Option<String>, flags: Option<String>) -> Option<String> {
    match (hint, flags) {
        (Some(hint), Some(flags)) => Some(format!("{hint} ({flags})")),
        (Some(hint), None) => Some(hint),
        (None, Some(flags)) => Some(format!("give another ({flags})")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(key: &str) -> Error {
        Error::InvalidValue {
            key: key.into(),
            value: "0".into(),
            reason: "it counts".into(),
            remedy: "give 1".into(),
        }
    }

    #[test]
    fn every_key_has_its_flag() {
        assert_eq!((flag("train.steps"), flag("dcgan.width")), ("--steps", "--set"));
        assert_eq!(hint(&invalid("train.steps")).unwrap(), "give 1 (--steps N)");
        assert_eq!(hint(&invalid("dcgan.width")).unwrap(), "give 1 (--set dcgan.width=VALUE)");
        assert_eq!(hint(&invalid("dcgan")).unwrap(), "give 1");
        let refused = Error::NotAccepted { what: "class, max_len, top_k".into(), media: "images" };
        assert_eq!(hint(&refused).unwrap(), "leave it out (--class, --length, --top-k)");
    }

    #[test]
    fn options_of_data_have_the_flags_of_the_command() {
        let grey = || DataError::MixedChannels { first: "a".into(), other: "b".into() };
        let remedy = "choose 3 `channels` to keep the colours or 1 to drop them";
        assert_eq!(collect_hint(&grey()).unwrap(), format!("{remedy} (--channels N)"));
        assert_eq!(hint(&Error::Data(grey())).unwrap(), format!("{remedy} (--channels N)"));
        let kind = || DataError::UnknownFormat { path: "a.md".into() };
        assert!(collect_hint(&kind()).unwrap().ends_with(" (--kind KIND)"));
        assert!(hint(&Error::Data(kind())).unwrap().ends_with(" (--set data.media=VALUE)"));
        let mono = || DataError::NothingUsable {
            path: "a".into(),
            example: "clip",
            count: 2,
            name: "b.wav".into(),
            reason: "it has 6 channels".into(),
            option: Some("mono".into()),
        };
        assert_eq!(collect_hint(&mono()).unwrap(), "mix all to `mono` (--mono)");
        assert_eq!(hint(&Error::Data(mono())).unwrap(), "mix all to `mono` (--set data.mono=VALUE)");
        let shape = || DataError::Malformed {
            path: "a.bin".into(),
            reason: "it has no header".into(),
            remedy: "give the `shape`".into(),
            option: Some("shape".into()),
        };
        assert_eq!(collect_hint(&shape()).unwrap(), "give the `shape` (--shape H,W,C)");
        let packed = "give the `shape` (collect SOURCE FOLDER --shape H,W,C)";
        assert_eq!(hint(&Error::Data(shape())).unwrap(), packed);
    }

    #[test]
    fn environments_have_the_flags_of_agents() {
        let unknown = EnvError::UnknownEnvironment { name: "hoper".into(), nearest: vec!["hopper".into()] };
        assert_eq!(hint(&unknown.into()).unwrap(), "did you mean `hopper`? (--env ENV)");
        let missing = EnvError::Mujoco(MujocoError::NotFound { looked: Vec::new() });
        let reason = Box::new(missing.clone());
        let inside = EnvError::InEnvironment { index: 0, episode: 1, step: 2, reason };
        for error in [missing, inside] {
            let hint = hint(&error.into()).unwrap();
            assert!(hint.contains("pip install") && hint.contains("POIESIS_MUJOCO"), "{hint}");
        }
        assert_eq!(hint(&of_agent(invalid("data.source"))).unwrap(), "give 1 (--env ENV)");
        assert_eq!(hint(&invalid("data.demonstrations")).unwrap(), "give 1 (--demos DATA)");
    }

    #[test]
    fn missing_data_have_the_command_that_fetches_them() {
        let said = |name: &str, path: &str, begun: bool| {
            let (name, path) = (name.to_owned(), path.into());
            hint(&Error::MissingData { name, path, files: "the files".into(), begun }).unwrap()
        };
        let first = "fetch it, put the files there, or say in which folder data sets are (poiesis fetch";
        assert_eq!(said("mnist", "data/mnist", false), format!("{first} mnist, --data-dir FOLDER)"));
        assert_eq!(
            said("names", "my sets/text/names.txt", false),
            format!("{first} names --data-dir 'my sets', --data-dir FOLDER)")
        );
        assert_eq!(said("novels", "data/text/novels", true), "fetch the rest of it (poiesis fetch novels)");
        // A folder of its own name.
        assert_eq!(
            said("novels", "/sets/novels", true),
            "fetch the rest of it (poiesis fetch novels --data-dir /sets)"
        );
    }

    #[test]
    fn errors_without_a_value_have_flags_too() {
        let error = Error::RunExists { path: "runs/a".into(), what: "a run".into() };
        let hint = hint(&error).unwrap();
        assert!(
            hint.ends_with("(--out FOLDER, --new)") && error.hint().unwrap().len() < hint.len(),
            "{hint}"
        );
    }
}
