//! What a model learns from: opened, checked before that, and said in a line.

use anyhow::Result;
use poiesis::config::{DataConfig, RunConfig};
use poiesis::data::{EnvironmentSource, open};
use poiesis::model::Entry;

use super::train::{How, data_line};
use crate::data::{Opened, is_agent};
use crate::flags::of_agent;
use crate::render::{count, note};

/// Chooses the kind of data that the model learns, and says so where it is not what the source would be taken for.
fn choose_kind(entry: &dyn Entry, config: &mut RunConfig, how: &How) -> Result<()> {
    let about = entry.about();
    let chosen = open::choose_kind(&mut config.data, about.media, &how.data_dir.places()?)?;
    if let (Some(kind), false) = (chosen, how.hidden()) {
        let (source, model) = (&config.data.source, about.name);
        note(&format!(
            "{source} is taken for {kind}, which {model} learns (--set data.media=KIND for another)"
        ));
    }
    Ok(())
}

/// A name for runs in an environment: that of a listed one, or the words of a command without folders and without the program that runs
/// a script.
pub(super) fn short_environment(source: &str) -> String {
    let words: Vec<&str> = source.split_whitespace().collect();
    let words = if words.len() > 1 { &words[1..] } else { &words[..] };
    let last = |word: &&str| word.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let joined = words.iter().map(last).collect::<Vec<_>>().join("-");
    let kept = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = joined.chars().map(kept).collect();
    let name = name.replace(".py", "");
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "env".to_owned() } else { name.to_owned() }
}

/// Opens what the configuration says that the model learns from, and makes it say so in a way that lasts.
pub(super) fn opened(entry: &dyn Entry, config: &mut RunConfig, how: &How) -> Result<Opened> {
    if is_agent(entry) {
        let opened = how.data_dir.open_for(entry, &config.data, how.hidden())?;
        make_lasting(entry, &mut config.data);
        return Ok(opened);
    }
    choose_kind(entry, config, how)?;
    let opened = how.data_dir.open_for(entry, &config.data, how.hidden())?;
    make_lasting(entry, &mut config.data);
    Ok(opened)
}

/// Makes the paths of what was opened absolute, so that the run finds it from any folder. The source of an agent is its environment.
pub(super) fn make_lasting(entry: &dyn Entry, data: &mut DataConfig) {
    let source = if is_agent(entry) { None } else { Some(&mut data.source) };
    for place in source.into_iter().chain([&mut data.labels_file, &mut data.demonstrations]) {
        if !place.is_empty() {
            *place = open::lasting(place);
        }
    }
}

/// What can be found wrong with the environment and the demonstrations of an agent before they are opened.
pub(super) fn faults_of_agent(config: &RunConfig, how: &How) -> poiesis::Result<()> {
    let data = &config.data;
    if data.demonstrations.is_empty() || !data.source.is_empty() {
        let environment = EnvironmentSource::parse(&data.source).map_err(of_agent)?;
        // A program is started once, when it is opened.
        if poiesis_envs::list().iter().any(|listed| listed.name == environment.name()) {
            environment.make()?;
        }
    }
    if !data.demonstrations.is_empty() {
        open::locate_demonstrations(&data.demonstrations, &how.data_dir.data_dir)?;
    }
    Ok(())
}

/// What is learned from, in one line.
pub(super) fn opened_line(opened: &Opened) -> String {
    let experience = match opened {
        Opened::Dataset(dataset) => return data_line(dataset),
        Opened::Experience(experience) => experience,
    };
    let demonstrations = experience.demonstrations.as_ref().map(|episodes| {
        format!(
            "; {} demonstrations of {} steps",
            count(episodes.len() as u64),
            count(episodes.transitions())
        )
    });
    format!(
        "{}: {}; {} at a time{}",
        experience.environment.name(),
        experience.task.describe(),
        count(experience.environments as u64),
        demonstrations.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn paths_that_are_saved_are_absolute_and_names_stay() {
        let lasting = |model: &str, source: &str| {
            let mut data = DataConfig {
                source: source.into(),
                labels_file: "Cargo.toml".into(),
                demonstrations: "src".into(),
                ..DataConfig::default()
            };
            make_lasting(poiesis::catalogue::find(model).unwrap(), &mut data);
            for place in [&data.labels_file, &data.demonstrations] {
                assert!(Path::new(place).is_absolute(), "{data:?}");
            }
            data.source
        };
        assert_eq!(Path::new(&lasting("vae", "tests")), Path::new("tests").canonicalize().unwrap());
        assert_eq!(lasting("vae", "mnist"), "mnist");
        assert_eq!(lasting("bc", "tests"), "tests", "it is the environment of that name");
    }

    #[test]
    fn runs_are_named_after_environments() {
        let short = short_environment;
        assert_eq!(short("cartpole"), "cartpole");
        assert_eq!(short("python my_env.py"), "my_env");
        assert_eq!(short("python3 envs/gymnasium_env.py LunarLander-v3"), "gymnasium_env-LunarLander-v3");
        assert_eq!(short("./own/env.sh"), "env.sh");
        assert_eq!(short("python -c 'a b'"), "c--a-b");
        assert_eq!(short("x /"), "env");
    }
}
