//! The settings of `train`: what its flags, the recipe and the run that it starts from come to, and what is wrong with them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result};
use poiesis::config::{Layer, Resolved, RunConfig, resolve};
use poiesis::data::{Content, DataSpec, ImageShape, open};
use poiesis::model::{Entry, Recipe};
use poiesis::run::Run;
use poiesis::train::{self, Epochs, Existing, InitialWeights};
use poiesis::{Error, Trained, catalogue};
use poiesis_collect::Dataset;

use super::chosen::Choices;
use super::learned::{faults_of_agent, opened, short_environment};
use super::train::{How, Train};
use crate::data::{Opened, is_agent};
use crate::flags::{LABELS_PER_CLASS, flag};
use crate::render::{expect_none, failure, note, program, quoted};

/// The settings of a run before its data are opened.
pub(super) struct Settings {
    pub(super) entry: &'static dyn Entry,
    /// Each with the place that it came from.
    pub(super) resolved: Resolved,
    /// How often the train split is read, where that decides the number of steps.
    pub(super) epochs: Option<f64>,
    /// The weights to start from.
    pub(super) initial: Option<InitialWeights>,
    /// The folder of the run.
    pub(super) out: PathBuf,
    /// All that is given, later ones last.
    pub(super) layers: Vec<Layer>,
    /// Whether what is not given is chosen from the data: where these are given and nothing else.
    pub(super) choosing: bool,
    /// What was chosen.
    pub(super) chosen: Choices,
    /// All that was found wrong.
    pub(super) faults: Vec<anyhow::Error>,
}

/// The settings of a run with its data.
pub(super) struct Ready {
    pub(super) config: RunConfig,
    pub(super) opened: Opened,
    /// What the number of steps was computed from.
    pub(super) epochs: Option<Epochs>,
}

impl Settings {
    /// Opens the data, which decide the number of steps where epochs are given, and settings where nothing else is given.
    pub(super) fn open(&mut self, existing: Existing, how: &How) -> Result<Ready> {
        self.choose_preparation(existing, how)?;
        let mut config = self.resolved.config.clone();
        let opened = opened(self.entry, &mut config, how)?;
        self.choose(&mut config, &opened, existing, how)?;
        let epochs = steps_of_epochs(self.epochs, &mut config, &opened)?;
        if let Some(epochs) = &epochs {
            self.resolved.set_steps(epochs.steps(), &format!("--epochs {}", epochs.epochs));
        }
        Ok(Ready { config, opened, epochs })
    }
}

/// Sets the number of steps where epochs are given.
pub(super) fn steps_of_epochs(
    epochs: Option<f64>,
    config: &mut RunConfig,
    opened: &Opened,
) -> Result<Option<Epochs>> {
    let Some(epochs) = epochs else { return Ok(None) };
    let epochs = Epochs::of(epochs, config, &opened.training_data()?)?;
    config.train.steps = epochs.steps();
    Ok(Some(epochs))
}

/// The checkpoint of a run to start from, other than the newest.
#[derive(Clone, Copy, Debug)]
pub(super) enum InitialStep {
    Best,
    Number(u64),
}

impl FromStr for InitialStep {
    type Err = String;

    fn from_str(text: &str) -> Result<InitialStep, String> {
        match text {
            "best" => Ok(InitialStep::Best),
            number => number.parse().map(InitialStep::Number).map_err(|_| "give a step, or best".to_owned()),
        }
    }
}

/// Reads a number of epochs.
pub(super) fn epochs(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("give a number above 0, such as 3 or 0.5".to_owned()),
    }
}

impl Train {
    /// Combines all that is given, and checks what can be checked without the data.
    pub(super) fn settings(&self) -> Result<Settings> {
        let entry = catalogue::find(&self.model)?;
        self.expect_flags_apply(entry)?;
        let recipe = self.recipe(entry)?;
        let initial = self.initial(entry)?;
        let given = self.layers(entry, recipe)?;
        // What is taken over from a run takes the place of the defaults.
        let taken_over = initial.as_ref().map(|initial| initial.settings(!given.iter().any(names_data)));
        let layers: Vec<Layer> = taken_over.into_iter().chain(given).collect();
        let mut resolved = resolve(&entry.defaults()?, &layers)?;
        if let Some(epochs) = self.epochs {
            if resolved.origin("train.steps") == Some("--set") {
                let what = format!("--epochs {epochs} and --set train.steps both give the number of steps");
                return Err(failure(what, "leave one of them out"));
            }
            let steps = resolved.config.train.steps;
            resolved.set_steps(steps, &format!("until the data are opened for --epochs {epochs}"));
        }
        let out = self.out(entry, recipe, &resolved.config, initial.as_ref());
        let of_own = self.data.is_some() || initial.is_some();
        let choosing = of_own && recipe.is_none() && self.config.is_none() && !self.paper_defaults;
        let choosing = choosing && !is_agent(entry);
        self.expect_same_start(&out, initial.as_ref())?;
        let mut faults = faults(entry, &resolved.config, &self.how);
        if !is_agent(entry) {
            faults.extend(self.expect_raw(&resolved).err());
            // What is chosen from the data may need far less than the defaults.
            if faults.is_empty() && !choosing {
                faults.extend(self.expect_memory(entry, &resolved.config).err());
            }
        }
        let (epochs, chosen) = (self.epochs, Choices::default());
        Ok(Settings { entry, resolved, epochs, initial, out, layers, choosing, chosen, faults })
    }

    /// Refuses flags of agents for other models, and the other way round.
    fn expect_flags_apply(&self, entry: &dyn Entry) -> Result<()> {
        let (of_agents, of_data) = (
            [
                ("--env", self.env.is_some()),
                ("--envs", self.envs.is_some()),
                ("--demos", self.demos.is_some()),
            ],
            [
                ("--data", self.data.is_some()),
                ("--size", self.size.is_some()),
                ("--channels", self.channels.is_some()),
                ("--labels", self.labels.is_some()),
            ],
        );
        let name = entry.name();
        if let (true, Some(epochs)) = (is_agent(entry), self.epochs) {
            let what =
                format!("--epochs {epochs} cannot be given for {name}, which learns from what it does");
            return Err(failure(what, "give the number of steps with --steps N"));
        }
        match is_agent(entry) {
            true if self.data.is_some() => {
                let what = format!("--data cannot be given for {name}, which acts in an environment");
                Err(failure(
                    what,
                    "name the environment with --env ENV, and demonstrations with --demos DATA",
                ))
            }
            true => expect_none(&format!("{name}, which acts in an environment"), &of_data),
            false => {
                let media: Vec<&str> = entry.about().media.iter().map(|media| media.name()).collect();
                expect_none(&format!("{name}, which learns {}", media.join(", ")), &of_agents)
            }
        }
    }

    /// The recipe to use: the one named, or the first when neither data, nor a file, nor a run to start from is given.
    fn recipe(&self, entry: &'static dyn Entry) -> Result<Option<&'static Recipe>> {
        Ok(match &self.recipe {
            Some(name) if Path::new(name).is_file() => {
                let hint = format!("give the file with --config {name}");
                return Err(failure(
                    format!("`{name}` is a file, and --recipe takes the name of a recipe"),
                    hint,
                ));
            }
            Some(name) => Some(catalogue::find_recipe(entry, name)?),
            None if self.config.is_some() || self.init_from.is_some() => None,
            None if self.source().is_none() => entry.about().recipes.first(),
            None => self.recipe_of_env(entry),
        })
    }

    /// The recipe for the environment that was named. Unlike data, an environment is the same for everybody, so its recipe fits.
    fn recipe_of_env(&self, entry: &'static dyn Entry) -> Option<&'static Recipe> {
        let env = self.env.as_ref().filter(|_| self.init_from.is_none())?;
        entry.about().recipes.iter().find(|recipe| recipe.name == env)
    }

    /// What is named to learn from.
    fn source(&self) -> Option<&String> {
        self.data.as_ref().or(self.env.as_ref()).or(self.demos.as_ref())
    }

    /// What is given, later ones last; without what is taken over from another run.
    fn layers(&self, entry: &dyn Entry, recipe: Option<&Recipe>) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        if self.demos.is_some() && recipe.is_none() {
            // The demonstrations know their environment.
            layers.push(Layer::single(flag("data.demonstrations"), "data.source", String::new()));
        }
        if let Some(recipe) = recipe {
            layers.push(Layer::parse(&format!("recipe {}/{}", entry.name(), recipe.name), recipe.toml)?);
        }
        if let Some(file) = &self.config {
            let text = poiesis_collect::regular::read_to_string(file)
                .with_context(|| format!("cannot read the configuration {}", file.display()))?;
            layers.push(Layer::parse(&file.display().to_string(), &text)?);
        }
        for assignment in &self.set {
            layers.push(Layer::assignment("--set", assignment)?);
        }
        let numbers = [
            ("data.size", self.size),
            ("data.channels", self.channels.map(u32::from)),
            ("train.steps", self.steps),
            ("train.batch_size", self.batch_size),
            ("seed", self.seed),
            ("train.checkpoint_every", self.checkpoint_every),
            ("train.patience", self.until_no_better),
            ("data.environments", self.envs),
        ];
        let words =
            [("data.source", &self.data), ("data.demonstrations", &self.demos), ("device", &self.device)];
        for (key, value) in numbers {
            layers.extend(value.map(|value| Layer::single(flag(key), key, i64::from(value))));
        }
        if let Some(count) = self.labels_per_class {
            let key = format!("{}.{LABELS_PER_CLASS}", entry.name());
            if !has_setting(entry, LABELS_PER_CLASS)? {
                let able: Vec<&str> = models_with(LABELS_PER_CLASS);
                let what = format!(
                    "--labels-per-class cannot be given for {}, which learns no classes",
                    entry.name()
                );
                return Err(failure(what, format!("leave it out, or train one of {}", able.join(", "))));
            }
            layers.push(Layer::single("--labels-per-class", &key, i64::from(count)));
        }
        let env = self.env.clone();
        layers.extend(env.map(|env| Layer::single(flag("env"), "data.source", env)));
        let labels = self.labels.as_ref().map(|file| file.to_string_lossy().into_owned());
        layers.extend(labels.map(|file| Layer::single(flag("data.labels_file"), "data.labels_file", file)));
        for (key, value) in words {
            layers.extend(value.clone().map(|value| Layer::single(flag(key), key, value)));
        }
        Ok(layers)
    }

    /// The weights to start from.
    fn initial(&self, entry: &dyn Entry) -> Result<Option<InitialWeights>> {
        let Some(run) = &self.init_from else { return Ok(None) };
        let open = match self.init_step {
            None => Trained::builder(),
            Some(InitialStep::Best) => Trained::builder().best(),
            Some(InitialStep::Number(step)) => Trained::builder().step(step),
        };
        let trained = open.open(run).map_err(|error| match (&error, error.hint()) {
            (Error::NoSuchCheckpoint { .. } | Error::NoBestCheckpoint { .. }, Some(hint)) => {
                failure(error.to_string(), format!("{hint} (--init-step N)"))
            }
            (Error::NotARun { .. }, _) if self.out.as_ref().is_some_and(|out| Run::exists(out)) => {
                let out = self.out.as_ref().map(|out| quoted(&out.display().to_string())).unwrap_or_default();
                let hint = format!("`{} resume {out}` continues that run without it", program());
                failure(error.to_string(), hint)
            }
            _ => error.into(),
        })?;
        if !self.how.hidden() {
            trained.notes.iter().for_each(|said| note(&format!("note: {said}")));
        }
        let initial = InitialWeights::of(&trained);
        initial.expect_model(entry.name())?;
        Ok(Some(initial))
    }

    /// Refuses a step to start from other than that from which the run has started.
    fn expect_same_start(&self, out: &Path, initial: Option<&InitialWeights>) -> Result<()> {
        let (Some(_), Some(initial), false) = (&self.init_step, initial, self.new || !Run::exists(out))
        else {
            return Ok(());
        };
        let run = Run::open(out)?;
        match &run.info().parent {
            Some(parent) if parent.run == initial.parent().run && parent.step != initial.parent().step => {
                let (out, then, now) = (out.display(), parent.step, initial.parent().step);
                Err(failure(
                    format!("{out} was started from step {then}, not from step {now}"),
                    "leave out --init-step to continue it, or make another run with --out FOLDER or --new",
                ))
            }
            _ => Ok(()),
        }
    }

    fn out(
        &self,
        entry: &dyn Entry,
        recipe: Option<&Recipe>,
        config: &RunConfig,
        initial: Option<&InitialWeights>,
    ) -> PathBuf {
        let name = match recipe {
            Some(recipe) if self.source().is_none() => recipe.name.to_owned(),
            _ if !is_agent(entry) => open::short_name(&config.data.source),
            _ if config.data.source.is_empty() => open::short_name(&config.data.demonstrations),
            _ => short_environment(&config.data.source),
        };
        let from = initial.map(|initial| format!("-from-{}", initial.name())).unwrap_or_default();
        let default = || Path::new("runs").join(format!("{}-{name}{from}", entry.name()));
        self.out.clone().unwrap_or_else(default)
    }

    /// Refuses settings of collecting for data that are packed already. Those of a recipe or file may say how they were packed.
    fn expect_raw(&self, resolved: &Resolved) -> Result<()> {
        let source = &resolved.config.data.source;
        let path = open::locate(source, &self.how.data_dir.data_dir).unwrap_or_else(|_| source.clone());
        if Dataset::open(Path::new(&path)).is_err() {
            return Ok(());
        }
        let given = resolved.origins.iter().filter_map(|(key, _, origin)| {
            let setting = key.strip_prefix("data.").filter(|&setting| setting != "source")?;
            match origin.as_str() {
                "--set" => Some(format!("--set {setting}")),
                flag if flag.starts_with("--") => Some(flag.to_owned()),
                _ => None,
            }
        });
        let given: Vec<String> = given.collect();
        let flags: Vec<(&str, bool)> = given.iter().map(|flag| (flag.as_str(), true)).collect();
        expect_none(&format!("{source}, which is packed already"), &flags)
    }

    /// Refuses what fits into no memory before any data are packed, where their shape is known.
    fn expect_memory(&self, entry: &dyn Entry, config: &RunConfig) -> Result<()> {
        match open::expected_shape(&config.data, &self.how.data_dir.data_dir) {
            Some(shape) if !self.how.ignore_memory => {
                let content = Content::Images(ImageShape::from_slice(&shape)?);
                // The classes are not known yet, and a model that needs them says so later.
                match train::expect_memory(
                    entry,
                    config,
                    &DataSpec { content, classes: 0, unlabelled: false },
                ) {
                    Err(error @ Error::OutOfMemory { .. }) => Err(error.into()),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Prints a note when there is a recipe for the given data, or that of the environment is used.
    pub(super) fn mention_recipe(&self, entry: &'static dyn Entry) {
        if let (Some(recipe), None, None, false) =
            (self.recipe_of_env(entry), &self.recipe, &self.config, self.how.hidden())
        {
            note(&format!("note: with the settings of the recipe {} for this environment", recipe.name));
        }
        let Some(source) = self.data.as_ref().filter(|_| self.recipe.is_none() && self.config.is_none())
        else {
            return;
        };
        if entry.about().recipes.iter().any(|recipe| recipe.name == source) && !self.how.hidden() {
            let (program, model) = (program(), entry.name());
            let flags = self.how.data_dir.flags(source);
            note(&format!(
                "note: there is a recipe for these data: {program} train {model} --recipe {}{flags}",
                quoted(source)
            ));
        }
    }
}

/// Whether a model's own section has this key.
fn has_setting(entry: &dyn Entry, key: &str) -> Result<bool> {
    Ok(entry.defaults()?.section.contains_key(key))
}

/// The models whose own section has this key.
fn models_with(key: &str) -> Vec<&'static str> {
    let has = |entry: &&&dyn Entry| has_setting(**entry, key).unwrap_or(false);
    catalogue::CATALOGUE.iter().filter(has).map(|entry| entry.name()).collect()
}

/// All that can be found wrong before the data are read.
fn faults(entry: &dyn Entry, config: &RunConfig, how: &How) -> Vec<anyhow::Error> {
    let data = || {
        if is_agent(entry) {
            return faults_of_agent(config, how);
        }
        open::options(&config.data)?;
        open::locate(&config.data.source, &how.data_dir.data_dir).map(drop)
    };
    let found = [
        entry.check(config),
        train::expect_measured(entry, config),
        poiesis::device::device(&config.device).map(drop),
        data(),
    ];
    found.into_iter().filter_map(Result::err).map(anyhow::Error::from).collect()
}

/// Whether a layer says what is learned from.
fn names_data(layer: &Layer) -> bool {
    let keys = ["source", "demonstrations"];
    let section = layer.values.get("data").and_then(toml::Value::as_table);
    [section, Some(&layer.values)]
        .into_iter()
        .flatten()
        .any(|table| keys.iter().any(|key| table.contains_key(*key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_names_data_with_and_without_the_section() {
        let names = |text: &str| names_data(&Layer::assignment("--set", text).unwrap());
        assert!(names("data.source=a") && names("source=a") && names("demonstrations=a"));
        assert!(!names("data.size=3") && !names("train.steps=3"));
    }

    #[test]
    fn epochs_and_steps_to_start_from_are_read() {
        assert_eq!((epochs("3"), epochs("0.5")), (Ok(3.0), Ok(0.5)));
        for wrong in ["0", "-1", "nan", "inf", "many"] {
            assert!(epochs(wrong).is_err(), "{wrong}");
        }
        assert!(matches!("best".parse(), Ok(InitialStep::Best)));
        assert!(matches!("500".parse(), Ok(InitialStep::Number(500))));
        assert!("worst".parse::<InitialStep>().unwrap_err().contains("best"));
    }
}
