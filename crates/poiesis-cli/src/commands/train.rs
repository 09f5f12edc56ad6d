//! `poiesis train`: trains a model.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use poiesis::catalogue;
use poiesis::config::{Layer, Resolved, RunConfig, resolve};
use poiesis::data::{Content, DataSpec, ImageShape, open};
use poiesis::model::{Entry, Recipe};
use poiesis::train::{self, Existing, Request, Stop};
use poiesis_collect::{Dataset, Kind, Split};
use serde_json::json;

use super::dry_run::dry_run;
use super::ending::{NextSteps, conclude, has_held_out};
use super::learned::{faults_of_agent, opened, opened_line, short_environment};
use crate::args::DataDir;
use crate::data::{Opened, is_agent};
use crate::flags::{LABELS_PER_CLASS, flag, hint};
use crate::render::{count, error, expect_none, facts, failure, note, program, quoted, result, shape};
use crate::watch::{Show, Watch};

/// Train a model; running it again with the same --out continues it
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis train dcgan
      the first recipe of the model, on built-in data
  poiesis train vae --recipe mnist --data-dir ../shared/data
      another recipe, on a data set looked up by name
  poiesis train dcgan --data photos/ --size 64 --channels 3 --steps 5000
      the model's defaults on your own images
  poiesis train vae --recipe mnist --set kl_weight=4 --seed 1 --out runs/beta4
      a recipe with a value changed
  poiesis train improved-gan --data photos/ --size 32 --set body=conv --labels few.csv
      a classifier from a few labelled images among many without a label
  poiesis train improved-gan --recipe mnist100 --data-dir ../shared/data --labels-per-class 5
      the same with labels drawn from those of the data
  poiesis train ppo --env cartpole
      an agent in an environment; `poiesis envs` lists them
  poiesis train vime --env mountain-car-sparse --steps 200 --envs 16
      with curiosity, where rewards are rare; 16 environments are stepped together
  poiesis train gail --env hopper --demos data/hopper-expert
      from what an expert did, recorded by `poiesis record` or collected from files
  poiesis train ppo --env 'python gymnasium_env.py LunarLander-v3'
      in a program of your own; docs/agents.md shows how
  poiesis train dcgan --recipe emoji64 --dry-run
      every setting and where it comes from, the number of parameters and the time it would take

Values are taken from the model's defaults, then the recipe or --config, then --set, then other flags.
--dry-run reports all that is wrong at once; raw data are packed into the cache, as for training.
Ctrl-C once finishes the step, saves and prints the command that continues; twice stops at once.")]
pub(crate) struct Train {
    /// The model to train; `poiesis models` lists them.
    model: String,
    /// Recipe to use; `poiesis recipes MODEL` lists them [default: the first; with --data or --demos none, with --env that of
    /// the environment].
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,
    /// Read settings from this TOML file instead of a recipe.
    #[arg(long, value_name = "FILE", conflicts_with = "recipe")]
    config: Option<PathBuf>,
    /// Packed data set, raw source (folder, archive, data file), built-in name or name below --data-dir.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// Agents: environment to act in, a name that `poiesis envs` lists or the command of a program.
    #[arg(long, value_name = "ENV")]
    env: Option<String>,
    /// Agents: environments that are stepped together [default: 8].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    envs: Option<u32>,
    /// Agents that imitate: what an expert did, as a data set that `record` or `collect` wrote, or as files.
    #[arg(long, value_name = "DATA")]
    demos: Option<String>,
    /// Height and width to resize raw images to, in pixels.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(1..=8192))]
    size: Option<u32>,
    /// Channels of raw images: 1 grey, 3 RGB, 4 RGBA.
    #[arg(long, value_name = "N")]
    channels: Option<u8>,
    /// CSV of the raw images that have a class: a file and its class on each line, in UTF-8; all others have none.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Labels of each class that a model of few labels learns from, drawn by the seed; 0 for all [default: 0].
    #[arg(long, value_name = "N")]
    labels_per_class: Option<u32>,
    /// Folder of the run [default: runs/MODEL-DATA].
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Total number of steps.
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Examples in a batch.
    #[arg(long, value_name = "N")]
    batch_size: Option<u32>,
    /// Seed of all random numbers.
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Steps between checkpoints.
    #[arg(long, value_name = "N")]
    checkpoint_every: Option<u32>,
    /// Change any setting; can be given several times. The section can be left out where the key is unambiguous.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Device: `cpu`, or in a build with that feature `vulkan` for a GPU and `vulkan:1` for the second one.
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Rename an existing run to NAME.old-1 (the first free number) and start over.
    #[arg(long)]
    new: bool,
    /// Check everything, show every setting with its origin, and estimate the time from three steps, without making a run.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    how: How,
}

/// What `train` and `resume` share: data, memory and output.
#[derive(Args, Debug)]
pub(crate) struct How {
    #[command(flatten)]
    pub(crate) data_dir: DataDir,
    /// Print events as JSON, one object per line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only warnings and errors.
    #[arg(long, short, conflicts_with = "json")]
    quiet: bool,
    /// Train even if there may not be enough memory.
    #[arg(long)]
    ignore_memory: bool,
}

impl How {
    /// Whether progress is hidden.
    pub(crate) fn hidden(&self) -> bool {
        self.json || self.quiet
    }

    fn show(&self) -> Show {
        match (self.json, self.quiet) {
            (true, _) => Show::Json,
            (_, true) => Show::Quiet,
            _ => Show::Progress,
        }
    }
}

impl Train {
    pub(crate) fn run(self) -> Result<()> {
        let entry = catalogue::find(&self.model)?;
        self.expect_flags_apply(entry)?;
        let recipe = self.recipe(entry)?;
        let resolved = resolve(&entry.defaults()?, &self.layers(entry, recipe)?)?;
        let out = self.out(entry, recipe, &resolved.config);
        let existing = if self.new { Existing::SetAside } else { Existing::Resume };
        let mut faults = faults(entry, &resolved.config, &self.how);
        if !is_agent(entry) {
            faults.extend(self.expect_raw(&resolved).err());
            if faults.is_empty() {
                faults.extend(self.expect_memory(entry, &resolved.config).err());
            }
        }
        if self.dry_run {
            return dry_run(entry, &resolved, &out, existing, &self.how, faults);
        }
        all_of(faults)?;
        // Packing the data can take long, so whether the run can be written is found out before.
        let place = if out.is_dir() { out.join("run.json") } else { out.clone() };
        poiesis::atomic::expect_writable(&place)
            .with_context(|| format!("cannot write the run {}", out.display()))?;
        let mut config = resolved.config;
        let opened = opened(entry, &mut config, &self.how)?;
        self.mention_recipe(entry);
        train(&out, config, &opened, existing, &self.how)
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

    /// The recipe to use: the one named, or the first when neither data nor a file is given.
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
            None if self.config.is_some() => None,
            None if self.source().is_none() => entry.about().recipes.first(),
            None => self.recipe_of_env(entry),
        })
    }

    /// The recipe for the environment that was named. Unlike data, an environment is the same for everybody, so its recipe fits.
    fn recipe_of_env(&self, entry: &'static dyn Entry) -> Option<&'static Recipe> {
        let env = self.env.as_ref()?;
        entry.about().recipes.iter().find(|recipe| recipe.name == env)
    }

    /// What is named to learn from.
    fn source(&self) -> Option<&String> {
        self.data.as_ref().or(self.env.as_ref()).or(self.demos.as_ref())
    }

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

    fn out(&self, entry: &dyn Entry, recipe: Option<&Recipe>, config: &RunConfig) -> PathBuf {
        let name = match recipe {
            Some(recipe) if self.source().is_none() => recipe.name.to_owned(),
            _ if !is_agent(entry) => open::short_name(&config.data.source),
            _ if config.data.source.is_empty() => open::short_name(&config.data.demonstrations),
            _ => short_environment(&config.data.source),
        };
        let default = || Path::new("runs").join(format!("{}-{name}", entry.name()));
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
                match train::expect_memory(entry, config, &DataSpec { content, classes: 0 }) {
                    Err(error @ poiesis::Error::OutOfMemory { .. }) => Err(error.into()),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Prints a note when there is a recipe for the given data, or that of the environment is used.
    fn mention_recipe(&self, entry: &'static dyn Entry) {
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
    let found = [entry.check(config), poiesis::device::device(&config.device).map(drop), data()];
    found.into_iter().filter_map(Result::err).map(anyhow::Error::from).collect()
}

/// Shows all errors but the last, which is returned.
pub(super) fn all_of(mut faults: Vec<anyhow::Error>) -> Result<()> {
    let last = faults.pop();
    faults.iter().for_each(error);
    last.map_or(Ok(()), Err)
}

/// The request that the command line makes.
pub(super) fn request(
    out: &Path,
    config: RunConfig,
    opened: &Opened,
    existing: Existing,
    how: &How,
) -> Result<Request> {
    Ok(Request {
        out: out.to_owned(),
        config,
        data: opened.training_data()?,
        existing,
        command: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        ignore_memory: how.ignore_memory,
    })
}

/// Trains, showing progress and what to do next.
pub(crate) fn train(
    out: &Path,
    config: RunConfig,
    opened: &Opened,
    existing: Existing,
    how: &How,
) -> Result<()> {
    let show = how.show();
    let mut watch = Watch::new(show);
    let steps = config.train.steps;
    let entry = catalogue::find(&config.model)?;
    let kind = if is_agent(entry) { "environment" } else { "data" };
    if show == Show::Progress {
        note(
            facts(&[
                ("model     ", config.model.clone()),
                (kind, opened_line(opened)),
                ("run", out.display().to_string()),
            ])
            .trim_end(),
        );
    }
    let next = match opened {
        Opened::Dataset(dataset) => NextSteps {
            entry,
            of_images: dataset.card().kind == Kind::Images,
            held_out: has_held_out(dataset),
            drawn: false,
            flags: how.data_dir.flags(&config.data.source),
        },
        Opened::Experience(experience) => NextSteps {
            entry,
            of_images: false,
            held_out: true,
            // Programs draw nothing.
            drawn: poiesis_envs::list().iter().any(|listed| listed.name == experience.environment.name()),
            flags: how.data_dir.flags(&config.data.demonstrations),
        },
    };
    let request = request(out, config, opened, existing, how)?;
    let stop = Arc::new(Stop::default());
    stop_on_signals(&stop)?;
    let outcome = train::train(request, &stop, &mut |event| watch.see(&event));
    watch.end();
    match outcome {
        Ok(outcome) => conclude(out, &outcome, &next, steps, &watch, how.show()),
        Err(error) => {
            if show == Show::Json {
                let event = json!({ "event": "failed", "reason": error.to_string(), "hint": hint(&error) });
                result(&format!("{event}\n"))?;
            }
            Err(error.into())
        }
    }
}

/// Lets the first Ctrl-C (or SIGTERM) finish the step and save, and the second end at once.
fn stop_on_signals(stop: &Arc<Stop>) -> Result<()> {
    let stop = Arc::clone(stop);
    ctrlc::set_handler(move || {
        if stop.requested() {
            process::exit(130);
        }
        stop.request();
        note("\nfinishing the step and saving; once more stops at once, without saving");
    })
    .context("cannot watch for Ctrl-C")
}

/// A data set in one line.
pub(crate) fn data_line(dataset: &Dataset) -> String {
    let card = dataset.card();
    let splits: Vec<String> = Split::ALL
        .into_iter()
        .filter(|&split| card.count(split) > 0)
        .map(|split| format!("{} {split}", count((card.count(split) as u64).max(card.elements(split)))))
        .collect();
    let classes = match card.classes.len() {
        0 => String::new(),
        number => format!("; {number} classes"),
    };
    let form = match (&card.text, &card.sound) {
        (Some(text), _) => format!("text of {} different tokens", count(text.vocabulary.len() as u64)),
        (_, Some(sound)) => format!("sound, {} Hz", count(u64::from(sound.sample_rate))),
        _ => shape(&card.shape),
    };
    format!("{}: {}; {form}{classes}", card.name, splits.join(", "))
}
