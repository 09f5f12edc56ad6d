//! The flags for keys. The library only knows keys, and only this file knows their flags.

use poiesis::Error;

/// Flags with the configuration keys, or the values of a request, that they set.
const FLAGS: [(&str, &str, &str); 19] = [
    ("data.source", "--data", "SOURCE"),
    ("data.size", "--size", "PIXELS"),
    ("data.channels", "--channels", "N"),
    ("train.steps", "--steps", "N"),
    ("train.batch_size", "--batch-size", "N"),
    ("train.checkpoint_every", "--checkpoint-every", "N"),
    ("seed", "--seed", "N"),
    ("device", "--device", "DEVICE"),
    ("settings", "--set", "KEY=VALUE"),
    ("missing", "--missing", "PART"),
    ("mask", "--mask", "FILE"),
    ("images", "--images", "N"),
    ("importance_samples", "--importance-samples", "N"),
    ("samples", "--samples", "N"),
    ("directions", "--directions", "N"),
    ("temperature", "--temperature", "T"),
    ("top_k", "--top-k", "K"),
    ("top_p", "--top-p", "P"),
    ("class", "--class", "CLASS"),
];

/// The flag that sets `key`, as the origin of a value.
pub(crate) fn flag(key: &str) -> &'static str {
    FLAGS.iter().find(|(known, ..)| *known == key).map_or("--set", |&(_, flag, _)| flag)
}

/// The flag that sets `key`, with a placeholder for its value; every key of a configuration has one.
fn usage(key: &str) -> Option<String> {
    match FLAGS.iter().find(|(known, ..)| *known == key) {
        Some((_, flag, value)) => Some(format!("{flag} {value}")),
        None => key.contains('.').then(|| format!("--set {key}=VALUE")),
    }
}

/// The hint for an error, with the flags to use.
pub(crate) fn hint(error: &Error) -> Option<String> {
    let flags = match error {
        Error::InvalidValue { key, .. } => usage(key),
        Error::RunExists { .. } | Error::ConfigDiffers { .. } => Some("--out FOLDER, --new".into()),
        Error::Malformed { .. } | Error::CheckpointDamaged { older: None, .. } => Some("--new".into()),
        Error::DataChanged { .. } => Some("--data SOURCE, --out FOLDER".into()),
        Error::RunData { reason, .. } => Some(match **reason {
            Error::MissingData { .. } => "--data SOURCE, --data-dir FOLDER".into(),
            _ => "--data SOURCE".into(),
        }),
        Error::MissingData { .. } => Some("--data-dir FOLDER".into()),
        Error::NothingHeldOut { .. } => Some("--holdout 0.1, --split train".into()),
        Error::Data(poiesis_collect::Error::NoSplit { .. }) => Some("--split SPLIT".into()),
        Error::NoCheckpoint { .. } => Some("--checkpoint-every N".into()),
        Error::RunInUse { .. } => Some("--out FOLDER".into()),
        Error::OutOfMemory { .. } => Some("--batch-size N, --size PIXELS, --ignore-memory".into()),
        _ => None,
    };
    match (error.hint(), flags) {
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
