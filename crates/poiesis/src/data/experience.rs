//! What an agent learns from: an environment in which it acts, demonstrations, or both.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use poiesis_collect::{Episodes, Progress, Split, open_or_collect};
use poiesis_envs::{EnvError, Environment, Process, Space, Spec, Timeouts};

use super::open::{locate_demonstrations, options};
use super::{Content, DataSpec, Demonstrations, Places, TaskShape};
use crate::config::DataConfig;
use crate::error::{Error, Result};

/// What an agent learns from.
#[derive(Clone)]
pub struct Experience {
    /// What it sees and does.
    pub task: TaskShape,
    /// Where it acts.
    pub environment: EnvironmentSource,
    /// How many environments are stepped together.
    pub environments: usize,
    /// What an expert did, where `data.demonstrations` names it.
    pub demonstrations: Option<Episodes>,
    /// BLAKE3 of the environment's name and spaces and of the demonstrations, in hexadecimal. A resumed run must have the same.
    pub fingerprint: String,
}

/// Where an environment comes from: a name, a command, or a type of the program that uses this library.
#[derive(Clone)]
pub struct EnvironmentSource {
    text: String,
    kind: Kind,
}

/// Makes an environment.
type Make = dyn Fn() -> Result<Box<dyn Environment>, EnvError> + Send + Sync;

#[derive(Clone)]
enum Kind {
    Listed,
    Command,
    Own(Arc<Make>),
}

impl EnvironmentSource {
    /// Reads a listed name, such as `cartpole`, or a command that speaks the protocol of [`poiesis_envs::Process`]: text with a space,
    /// such as `python my_env.py`, or the path of a file.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] with similar names when it is neither, and [`Error::InvalidValue`] when it is empty.
    pub fn parse(text: &str) -> Result<EnvironmentSource> {
        let text = text.trim();
        if text.is_empty() {
            let reason = "an agent acts in an environment";
            let remedy = "give a name that `poiesis envs` lists, or a command such as `python my_env.py`";
            return Err(Error::invalid_value("data.source", "empty", reason, remedy));
        }
        let of = |kind| Ok(EnvironmentSource { text: text.to_owned(), kind });
        if poiesis_envs::list().iter().any(|listed| listed.name == text) {
            return of(Kind::Listed);
        }
        if text.contains(char::is_whitespace) || Path::new(text).is_file() {
            return of(Kind::Command);
        }
        match poiesis_envs::make(text) {
            Ok(_) => of(Kind::Listed),
            Err(unknown) => Err(unknown.into()),
        }
    }

    /// The environment that a card names, which may be written as elsewhere, such as `Hopper-v4`, and may not be there.
    fn named_elsewhere(name: &str) -> EnvironmentSource {
        let listed = poiesis_envs::list();
        let same = listed.iter().find(|listed| plain(listed.name) == plain(name));
        let text = same.map_or(name, |listed| listed.name).to_owned();
        EnvironmentSource::parse(&text).unwrap_or(EnvironmentSource { text, kind: Kind::Listed })
    }

    /// A type of the program itself, which `make` makes. Runs are named after `name`; no other program can open the environment
    /// by it.
    pub fn own(
        name: &str,
        make: impl Fn() -> Result<Box<dyn Environment>, EnvError> + Send + Sync + 'static,
    ) -> EnvironmentSource {
        EnvironmentSource { text: name.to_owned(), kind: Kind::Own(Arc::new(make)) }
    }

    /// The name or the command.
    pub fn name(&self) -> &str {
        &self.text
    }

    /// Makes one environment. It must be reset before its first step.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] when MuJoCo is missing or a command cannot be started.
    pub fn make(&self) -> Result<Box<dyn Environment>> {
        Ok(match &self.kind {
            Kind::Listed => poiesis_envs::make(&self.text)?,
            Kind::Command => Box::new(Process::start(&self.text, Timeouts::default())?),
            Kind::Own(make) => make()?,
        })
    }

    /// Makes so many environments, which are of one kind.
    ///
    /// # Errors
    ///
    /// Those of [`make`](EnvironmentSource::make), and [`Error::InvalidValue`] when they describe themselves differently, as a program
    /// may.
    pub fn make_all(&self, count: usize) -> Result<Vec<Box<dyn Environment>>> {
        let all = (0..count).map(|_| self.make()).collect::<Result<Vec<_>>>()?;
        if all.iter().any(|other| other.spec() != all[0].spec()) {
            let reason = "it describes itself differently each time it is started";
            let remedy = "let it give the same name, spaces and time limit every time";
            return Err(Error::invalid_value("data.source", self.name(), reason, remedy));
        }
        Ok(all)
    }
}

impl fmt::Debug for EnvironmentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EnvironmentSource").field(&self.text).finish()
    }
}

impl Experience {
    /// Experience in `environment`, stepped `environments` at a time, without demonstrations.
    ///
    /// # Errors
    ///
    /// Those of [`EnvironmentSource::make`], and [`Error::InvalidValue`] for an environment without observations or actions.
    pub fn of(environment: EnvironmentSource, environments: usize) -> Result<Experience> {
        let spec = environment.make()?.spec().clone();
        let task = TaskShape::of(environment.name(), &spec);
        expect_spaces(&task)?;
        let fingerprint = fingerprint(environment.name(), &described(&spec), None);
        Ok(Experience { task, environment, environments, demonstrations: None, fingerprint })
    }

    /// The same with demonstrations, whose data set has the fingerprint `of_demonstrations`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for demonstrations of another environment.
    pub fn with_demonstrations(self, episodes: Episodes, of_demonstrations: &str) -> Result<Experience> {
        Demonstrations::of(&episodes, &self.task)?;
        let fingerprint = fingerprint(self.environment.name(), &self.fingerprint, Some(of_demonstrations));
        Ok(Experience { demonstrations: Some(episodes), fingerprint, ..self })
    }

    /// Opens the environment and the demonstrations that `config` names, packing these into the cache where they are not packed yet.
    ///
    /// Without `data.source` the card of the demonstrations must name the environment. It need not be there, such as one that needs
    /// MuJoCo: what is learned from demonstrations alone is learned without it.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] for an unknown environment, one that cannot be made, or MuJoCo that is missing; the errors of
    /// [`open`](super::open()) for the demonstrations; [`Error::InvalidValue`] for those of another environment, and for an environment
    /// without observations or actions.
    pub fn open(
        config: &DataConfig,
        places: &Places,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Experience> {
        if config.demonstrations.is_empty() {
            return Experience::of(EnvironmentSource::parse(&config.source)?, config.environments);
        }
        // All of them are learned from: none are held out.
        let of_demonstrations = DataConfig {
            source: config.demonstrations.clone(),
            media: "experience".into(),
            holdout: 0.0,
            ..config.clone()
        };
        let options = options(&of_demonstrations)?;
        let source = locate_demonstrations(&config.demonstrations, &places.data_dir)?;
        let dataset = open_or_collect(&source, &options, &places.cache, progress)?;
        let card = dataset.card();
        let invalid = |reason: &str, remedy: &str| {
            Error::invalid_value("data.demonstrations", &config.demonstrations, reason, remedy)
        };
        let (Some(episodes), Some(experience)) = (dataset.episodes(Split::Train), &card.experience) else {
            return Err(invalid("it holds no episodes for training", "give a data set of experience"));
        };
        if !config.source.is_empty() {
            let alone = Experience::of(EnvironmentSource::parse(&config.source)?, config.environments)?;
            return alone.with_demonstrations(episodes, &card.fingerprint);
        }
        let Some(name) = &experience.environment else {
            let reason = format!("the card of {} does not name the environment", config.demonstrations);
            return Err(Error::invalid_value("data.source", "empty", &reason, "name the environment there"));
        };
        let environment = EnvironmentSource::named_elsewhere(name);
        if let Ok(alone) = Experience::of(environment.clone(), config.environments) {
            return alone.with_demonstrations(episodes, &card.fingerprint);
        }
        let Content::Experience(task) = DataSpec::of(&dataset)?.content else {
            return Err(invalid("it holds no episodes", "give a data set of experience"));
        };
        let task = TaskShape { environment: environment.name().to_owned(), ..task };
        expect_spaces(&task)?;
        Demonstrations::of(&episodes, &task)?;
        // Not the words of `describe`, which may change.
        let spaces = format!("{} to {:?}", task.observation, task.actions);
        Ok(Experience {
            fingerprint: fingerprint(environment.name(), &spaces, Some(&card.fingerprint)),
            environment,
            environments: config.environments,
            demonstrations: Some(episodes),
            task,
        })
    }

    /// The demonstrations.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for `data.demonstrations` where there are none.
    pub fn expect_demonstrations(&self) -> Result<&Episodes> {
        self.demonstrations.as_ref().ok_or_else(|| {
            let reason = "this model learns from demonstrations";
            let remedy = "give episodes of an expert, such as those that `poiesis record` writes";
            Error::invalid_value("data.demonstrations", "empty", reason, remedy)
        })
    }
}

/// A name without case, separators and version: `HalfCheetah-v4` and `half-cheetah` are the same.
fn plain(name: &str) -> String {
    let is_version =
        |tail: &str| tail.strip_prefix('v').is_some_and(|v| v.bytes().all(|b| b.is_ascii_digit()));
    let name = name.rsplit_once('-').filter(|(_, tail)| is_version(tail)).map_or(name, |(head, _)| head);
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn expect_spaces(task: &TaskShape) -> Result<()> {
    if task.observation > 0 && task.actions.inputs() > 0 {
        return Ok(());
    }
    let reason = format!("it has {}", task.describe());
    let remedy = "give an environment with observations and actions";
    Err(Error::invalid_value("data.source", &task.environment, &reason, remedy))
}

/// The spaces and the limit of an environment, in words that are the same for the same environment.
fn described(spec: &Spec) -> String {
    let space = |space: &Space| match space {
        Space::Discrete(choices) => format!("{choices} choices"),
        Space::Box { low, high } => format!("from {low:?} to {high:?}"),
    };
    format!("{} to {}, {:?} steps", space(&spec.observation), space(&spec.action), spec.time_limit)
}

fn fingerprint(name: &str, spaces: &str, demonstrations: Option<&str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [Some(name), Some(spaces), demonstrations].into_iter().flatten() {
        // With its length, so that parts cannot run into each other.
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use poiesis_collect::{ActionsCard, Episode, ExperienceWriter, write_experience};

    use super::*;
    use crate::data::ActionShape;

    fn open(source: &str, demonstrations: &str) -> Result<Experience> {
        let config = DataConfig {
            source: source.into(),
            demonstrations: demonstrations.into(),
            ..DataConfig::default()
        };
        let places = Places { data_dir: "nowhere".into(), cache: "nowhere".into() };
        Experience::open(&config, &places, &|_| ())
    }

    fn demonstrations(observation: usize, environment: Option<&str>) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("packed");
        let mut writer = ExperienceWriter::new(observation, ActionsCard::Discrete { choices: 2 });
        writer.environment = environment.map(str::to_owned);
        let episode = Episode {
            observations: vec![0.0; 4 * observation],
            actions: vec![1.0, 0.0, 1.0],
            rewards: vec![1.0; 3],
            terminated: false,
        };
        write_experience(&out, &writer, [Ok::<_, poiesis_collect::Error>(episode)]).unwrap();
        (folder, out.to_string_lossy().into_owned())
    }

    #[test]
    fn an_environment_is_a_name_or_a_command() {
        assert_eq!(open("cartpole", "").unwrap().task.actions, ActionShape::Discrete { choices: 2 });
        assert_eq!(open("pendulum", "").unwrap().task.actions, ActionShape::Continuous { dims: 1 });
        let error = open("cartpol", "").err().unwrap();
        assert!(matches!(error, Error::Environment(EnvError::UnknownEnvironment { .. })), "{error}");
        assert!(error.hint().unwrap().contains("`cartpole`"));
        assert!(open("", "").err().unwrap().to_string().contains("data.source"));
        let error = open("/no/such/program with arguments", "").err().unwrap();
        assert!(error.to_string().contains("could not be started"), "{error}");
    }

    #[test]
    fn environments_of_one_source_are_of_one_kind() {
        let made = AtomicUsize::new(0);
        let changing = EnvironmentSource::own("changing", move || {
            poiesis_envs::make(["cartpole", "pendulum"][made.fetch_add(1, Ordering::Relaxed) % 2])
        });
        assert_eq!(changing.make_all(1).unwrap().len(), 1);
        let error = changing.make_all(2).err().unwrap().to_string();
        assert!(
            ["data.source", "changing", "differently"].iter().all(|part| error.contains(part)),
            "{error}"
        );
    }

    #[test]
    fn the_fingerprint_tells_environments_and_demonstrations_apart() {
        let (_folder, demos) = demonstrations(4, None);
        let prints = [
            open("cartpole", "").unwrap().fingerprint,
            open("mountain-car", "").unwrap().fingerprint,
            open("mountain-car-sparse", "").unwrap().fingerprint,
            open("cartpole", &demos).unwrap().fingerprint,
        ];
        for (i, print) in prints.iter().enumerate() {
            assert!(!prints[..i].contains(print), "{prints:?}");
        }
        assert_eq!(open("cartpole", &demos).unwrap().fingerprint, prints[3]);
    }

    #[test]
    fn demonstrations_can_name_their_environment() {
        let (_folder, demos) = demonstrations(4, Some("CartPole-v1"));
        let found = open("", &demos).unwrap();
        assert_eq!((found.environment.name(), found.task.observation), ("cartpole", 4));
        assert_eq!(found.demonstrations.unwrap().len(), 1);
        // One that is not there is enough for what needs no environment.
        let (_folder, demos) = demonstrations(9, Some("my-robot"));
        let found = open("", &demos).unwrap();
        assert_eq!((found.task.environment.as_str(), found.task.observation), ("my-robot", 9));
        assert!(found.environment.make().is_err());
        let (_folder, demos) = demonstrations(9, None);
        assert!(open("", &demos).err().unwrap().to_string().contains("does not name the environment"));
        assert!(open("cartpole", &demos).err().unwrap().to_string().contains("another environment"));
    }
}
