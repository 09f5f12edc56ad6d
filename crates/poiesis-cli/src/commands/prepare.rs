//! How a source is prepared where no flag says it, for the verbs that pack one: what is chosen, and how it is said.

use std::path::Path;

use anyhow::Result;
use poiesis::config::{Choice, DataConfig};
use poiesis::data::{apply_choices, choose_preparation, open};
use poiesis_collect::{Options, Progress};

use super::collect::told;
use crate::args::DataDir;
use crate::render::{Meter, note, quoted};

/// Chooses how images and sound are prepared where that is not given, and says so. `name` is the source as it was named; `given` says
/// of keys whose default a flag can repeat whether it was given.
pub(super) fn prepare(
    name: &str,
    source: &str,
    options: &mut Options,
    given: &[(&str, bool)],
    quiet: bool,
) -> Result<()> {
    // The examples are packed next, and looked at no more.
    let is_given = |key: &str| given.contains(&(key, true));
    let chosen = look(name, source, options, &is_given, None, quiet).map_err(|error| match error {
        poiesis::Error::Data(error) => told(error),
        other => other.into(),
    })?;
    for choice in chosen {
        let mut one = DataConfig::default();
        apply_choices(&mut one, std::slice::from_ref(&choice))?;
        let one = open::options(&one)?;
        match choice.key.as_str() {
            "data.size" => options.size = one.size,
            "data.channels" => options.channels = one.channels,
            "data.background" => options.background = one.background,
            "data.crop" => options.crop = one.crop,
            "data.sample_rate" => options.sample_rate = one.sample_rate,
            _ => options.mono = one.mono,
        }
        if !quiet {
            note(&format!("chosen: {}", with_others(&choice)));
        }
    }
    Ok(())
}

/// A choice as the flag that chooses the same, with the reason.
fn flag_of(choice: &Choice) -> String {
    let flag = name_of(choice);
    match &choice.value {
        toml::Value::Boolean(_) => format!("{flag} ({})", choice.reason),
        toml::Value::String(text) => format!("{flag} {} ({})", quoted(text), choice.reason),
        value => format!("{flag} {value} ({})", choice.reason),
    }
}

fn name_of(choice: &Choice) -> String {
    format!("--{}", choice.key.trim_start_matches("data.").replace('_', "-"))
}

/// The same, with how to choose otherwise.
fn with_others(choice: &Choice) -> String {
    let others = match choice.key.as_str() {
        "data.mono" => return flag_of(choice),
        "data.background" => "#RRGGBB gives another",
        "data.crop" => "center crops them",
        "data.sample_rate" => "HZ gives another",
        _ => "N gives another",
    };
    format!("{}; {} {others}", flag_of(choice), name_of(choice))
}

/// What is chosen for a source, with the progress of looking at it. What is seen of images is kept in `cache`.
fn look(
    name: &str,
    source: &str,
    options: &Options,
    is_given: &dyn Fn(&str) -> bool,
    cache: Option<&Path>,
    quiet: bool,
) -> poiesis::Result<Vec<Choice>> {
    let meter = Meter::new(&format!("looking at {}", open::short_name(name)), "examples", None, quiet);
    let progress = |progress: Progress| meter.at(progress.done, progress.total);
    let chosen = choose_preparation(name, Path::new(source), options, is_given, cache, &progress);
    meter.end();
    chosen
}

/// Chooses for a verb without flags for it what `collect` and `train` choose, and says so.
pub(super) fn prepare_as_collect(config: &mut DataConfig, data_dir: &DataDir, quiet: bool) -> Result<()> {
    let places = data_dir.places()?;
    let source = open::locate(&config.source, &places.data_dir)?;
    let options = open::options(config)?;
    let chosen = look(&config.source, &source, &options, &|_| false, Some(&places.cache), quiet)?;
    apply_choices(config, &chosen)?;
    if !quiet {
        chosen.iter().for_each(|choice| note(&format!("as collect chooses: {}", flag_of(choice))));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_is_said_as_the_flag_that_chooses_it() {
        let said = |key: &str, value: toml::Value| with_others(&Choice::new(key, value, "why"));
        assert_eq!(said("data.size", 64.into()), "--size 64 (why); --size N gives another");
        let background = "--background '#000000' (why); --background #RRGGBB gives another";
        assert_eq!(said("data.background", "#000000".into()), background);
        assert_eq!(said("data.crop", "none".into()), "--crop none (why); --crop center crops them");
        assert_eq!(
            said("data.sample_rate", 8000.into()),
            "--sample-rate 8000 (why); --sample-rate HZ gives another"
        );
        assert_eq!(said("data.mono", true.into()), "--mono (why)");
    }
}
