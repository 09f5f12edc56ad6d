//! The error for a key that a configuration does not have, with the key that was probably meant.

use crate::error::{Error, nearest};

/// Names that are used elsewhere for what is called otherwise here.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("lr", "learning_rate"),
    ("wd", "weight_decay"),
    ("bs", "batch_size"),
    ("iterations", "steps"),
    ("iters", "steps"),
    ("max_steps", "steps"),
    ("z_dim", "latent_dim"),
    ("nz", "latent_dim"),
    ("beta", "kl_weight"),
    ("grad_clip", "clip"),
];

/// The error for `key`, which is not among `known`.
///
/// It proposes the key of that very name in another section, else the nearest name in the section that was given, else the nearest
/// anywhere. Where none is near it lists the keys of that section.
pub(super) fn unknown_key<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.into_iter().collect();
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let name = name.to_lowercase().replace('-', "_");
    let sections: Vec<&str> = known.iter().map(|key| section_of(key)).filter(|own| !own.is_empty()).collect();
    let section = if section.is_empty() { None } else { nearest(section, &sections) };
    let own: Vec<&str> = known.iter().copied().filter(|key| Some(section_of(key)) == section).collect();

    let called = |keys: &[&'a str], name: &str| keys.iter().copied().find(|key| last_of(key) == name);
    let near = |keys: &[&'a str]| {
        let names: Vec<&str> = keys.iter().map(|key| last_of(key)).collect();
        nearest(&name, &names).and_then(|name| called(keys, name))
    };
    let begun = |keys: &[&'a str]| {
        let begins = |key: &&str| last_of(key).strip_prefix(&name).is_some_and(|rest| rest.starts_with('_'));
        let mut found = keys.iter().copied().filter(begins);
        found.next().filter(|_| found.next().is_none())
    };
    let other_name = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, name)| *name);
    let named = |name: &str| called(&own, name).or_else(|| called(&known, name));
    let meant = named(&name)
        .or_else(|| other_name.and_then(named))
        .or_else(|| near(&own))
        .or_else(|| begun(&own))
        .or_else(|| near(&known))
        .or_else(|| begun(&known))
        // An element of a list that has fewer, or of what is no list.
        .or_else(|| known.iter().copied().find(|whole| key.strip_prefix(whole).is_some_and(is_element)));
    let listed = if own.is_empty() { &known } else { &own };
    Error::UnknownName {
        kind: "key",
        name: key.to_owned(),
        nearest: meant.map(str::to_owned),
        known: listed.iter().map(|&key| key.to_owned()).collect(),
    }
}

/// Whether the rest of a key is the number of an element, such as `.1`.
fn is_element(rest: &str) -> bool {
    rest.strip_prefix('.').is_some_and(|number| number.parse::<usize>().is_ok())
}

fn section_of(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(section, _)| section)
}

fn last_of(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 11] = [
        "seed",
        "data.size",
        "data.labels",
        "train.steps",
        "train.batch_size",
        "train.sample_count",
        "train.sample_frames",
        "optimizer.learning_rate",
        "optimizer.clip",
        "vae.latent_dim",
        "vae.levels",
    ];

    fn hint(key: &str) -> String {
        unknown_key(key, KNOWN).hint().unwrap()
    }

    #[test]
    fn the_key_that_was_meant_is_named_with_its_section() {
        for (key, meant) in [
            // A mistake in the name, where the section has something near; elsewhere something may be nearer.
            ("vae.lantent_dim", "vae.latent_dim"),
            ("vae.lavels", "vae.levels"),
            ("latent-dims", "vae.latent_dim"),
            ("vae.latent-dim", "vae.latent_dim"),
            // In the section.
            ("trian.steps", "train.steps"),
            ("optimiser.learning_rate", "optimizer.learning_rate"),
            // The right name in the wrong section, or in that of another model.
            ("vae.steps", "train.steps"),
            ("train.learning_rate", "optimizer.learning_rate"),
            ("dcgan.latent_dim", "vae.latent_dim"),
            ("model.latent_dim", "vae.latent_dim"),
            ("vae.size", "data.size"),
            // The beginning of a name, and names that others use.
            ("batch", "train.batch_size"),
            ("vae.batch", "train.batch_size"),
            ("lr", "optimizer.learning_rate"),
            ("optimizer.lr", "optimizer.learning_rate"),
            ("train.iterations", "train.steps"),
            ("optimizer.clip.0", "optimizer.clip"),
        ] {
            assert_eq!(hint(key), format!("did you mean `{meant}`?"), "{key}");
        }
    }

    #[test]
    fn where_nothing_is_near_the_keys_of_the_section_are_listed() {
        assert_eq!(hint("vae.activation"), "choose one of vae.latent_dim, vae.levels");
        assert!(hint("activation").starts_with("choose one of seed, data.size, "));
        // Two begin like it.
        assert!(hint("train.sample").starts_with("choose one of train.steps, "));
    }
}
