//! `poiesis resume`: continues a run.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use poiesis::config::{DataConfig, Layer, RunConfig, resolve};
use poiesis::model::Entry;
use poiesis::run::{Parent, Run};
use poiesis::train::Existing;
use poiesis::{Error, atomic, catalogue};

use super::learned::make_lasting;
use super::settings::{epochs, steps_of_epochs};
use super::train::{How, Job, train};
use crate::data::is_agent;
use crate::flags::flag;
use crate::render::{failure, program, quoted};

/// What is said first of data that are not what they were where the run has them.
const MOVED: &str = "if they have moved, say where they are with --data";

/// Continue a run that was stopped or killed, or train a finished one further
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis resume runs/dcgan-shapes
  poiesis resume runs/dcgan-shapes --steps 20000                train a finished run further
  poiesis resume runs/vae-photos --until-no-better 10           end early once it gets no better
  poiesis resume runs/dcgan-photos --data /new/place/photos     the data have moved

The run's own configuration is used; `poiesis train … --out RUN` with the same settings does the same. The \
number of steps, the patience of --until-no-better, the device, and how often checkpoints, metrics and samples are \
written may change, but no other settings. Data that have moved are given with --data; they must have the same content, \
and the run keeps the new place. A run that started from the weights of another does not need that one any more.")]
pub(crate) struct Resume {
    /// Folder of the run.
    run: PathBuf,
    /// Total number of steps [default: as before].
    #[arg(long, value_name = "N", value_parser = crate::parse::steps)]
    steps: Option<u32>,
    /// How often the train split is read in total, instead of a number of steps; can be a fraction.
    #[arg(long, value_name = "N", conflicts_with = "steps", value_parser = epochs)]
    epochs: Option<f64>,
    /// End early after N evaluations on held-out examples in a row without a better value, 0 for never [default: as before].
    #[arg(long, value_name = "N")]
    until_no_better: Option<u32>,
    /// Change a setting that may change, such as train.checkpoint_every; can be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the data, or the demonstrations of an agent, are now, if they have moved.
    #[arg(long, value_name = "SOURCE")]
    data: Option<String>,
    /// Device [default: as before].
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[command(flatten)]
    how: How,
}

impl Resume {
    pub(crate) fn run(self) -> Result<()> {
        let run = Run::open(&self.run)?;
        let text = run.config()?;
        // Before the data are opened, which can take long.
        atomic::expect_writable(&self.run.join("run.json"))
            .with_context(|| format!("cannot write the run {}", self.run.display()))?;
        let entry = catalogue::find(&catalogue::read_config(&text)?.model)?;
        let defaults = entry.defaults()?;
        let mut layers = vec![Layer::parse("the run", &text)?];
        for assignment in &self.set {
            layers.push(Layer::assignment("--set", assignment)?);
        }
        let steps = |steps| Layer::single(flag("train.steps"), "train.steps", i64::from(steps));
        layers.extend(self.steps.map(steps));
        let patience = |count| Layer::single(flag("train.patience"), "train.patience", i64::from(count));
        layers.extend(self.until_no_better.map(patience));
        layers.extend(self.device.clone().map(|device| Layer::single(flag("device"), "device", device)));
        let resolved = resolve(&defaults, &layers)?;
        if let (Some(epochs), Some("--set")) = (self.epochs, resolved.origin("train.steps")) {
            let what = format!("--epochs {epochs} and --set train.steps both give the number of steps");
            return Err(failure(what, "leave one of them out"));
        }
        let is_set = |key: &&str| resolved.origin(key) == Some("--set");
        let is_given = self.data.is_some() || places(entry).iter().any(is_set);
        let mut config = resolved.config;
        if let Some(source) = self.data.clone() {
            *place_of_data(&mut config, entry) = source;
        }
        let opened = self.how.data_dir.open_for(entry, &config.data, self.how.hidden());
        let opened = opened.map_err(|error| if self.data.is_none() { self.moved(error) } else { error })?;
        make_lasting(entry, &mut config.data);
        let epochs = steps_of_epochs(self.epochs, &mut config, &opened)?;
        let changed = run.expect_data(&opened.training_data()?.info).err();
        let (with_data, with_settings) = self.others(entry, &run, &config.data, is_given);
        let job = Job {
            out: self.run.clone(),
            config,
            initial: None,
            epochs,
            chosen: Vec::new(),
            existing: Existing::Resume,
        };
        train(job, &opened, &self.how, |error| match (&error, changed) {
            // Where only the place differs, which may, it is the content.
            (Error::ConfigDiffers { differences, .. }, Some(changed))
                if differences.iter().all(|(key, ..)| places(entry).contains(&key.as_str())) =>
            {
                failure(changed.to_string(), with_data)
            }
            (Error::DataChanged { .. }, _) => failure(error.to_string(), with_data),
            (Error::ConfigDiffers { .. }, _) => failure(error.to_string(), with_settings),
            _ => error.into(),
        })
    }

    /// What can be done where other data, or other settings, are refused. `is_given` says whether the place of the data was given.
    fn others(&self, entry: &dyn Entry, run: &Run, data: &DataConfig, is_given: bool) -> (String, String) {
        let (keeps, flag) = match is_agent(entry) {
            true if data.demonstrations.is_empty() => ("a run keeps its environment", "--env ENV"),
            true => ("a run keeps its demonstrations", "--demos DATA"),
            false => ("a run keeps its data", "--data SOURCE"),
        };
        let keeps = if is_given || flag == "--env ENV" { keeps } else { MOVED };
        let other = self.other_run(entry, run, flag);
        let with_data = format!("{keeps}; another run: {other}");
        let source = if is_agent(entry) { &data.demonstrations } else { &data.source };
        let flags = format!("--set KEY=VALUE{}", self.how.data_dir.flags(source));
        let other = self.other_run(entry, run, &flags);
        (with_data, format!("a run keeps its settings; another run: {other}"))
    }

    /// The command that makes another run with the settings of this one but for what `flags` give.
    fn other_run(&self, entry: &dyn Entry, run: &Run, flags: &str) -> String {
        let file = quoted(&self.run.join("config.toml").display().to_string());
        let from = run
            .info()
            .parent
            .as_ref()
            .map(|Parent { run, step, .. }| format!(" --init-from {} --init-step {step}", quoted(run)));
        let (program, from) = (program(), from.unwrap_or_default());
        format!("{program} train {} --config {file}{from} {flags} --out FOLDER", entry.name())
    }

    /// The error for data that are not where the run has them.
    fn moved(&self, error: anyhow::Error) -> anyhow::Error {
        let of_run = |reason| Error::RunData { run: self.run.clone(), reason: Box::new(reason) };
        match error.downcast::<Error>() {
            Ok(reason @ Error::MissingData { .. }) => of_run(reason).into(),
            Ok(reason @ Error::UnknownData { .. }) => {
                let run = quoted(&self.run.display().to_string());
                let again = format!("{} resume {run} --data FOLDER", program());
                failure(
                    of_run(reason).to_string(),
                    format!("if they have moved, say where they are: {again}"),
                )
            }
            Ok(error) => error.into(),
            Err(error) => error,
        }
    }
}

/// Keys that say where the data are. The source of an agent is its environment, which has no place.
fn places(entry: &dyn Entry) -> &'static [&'static str] {
    if is_agent(entry) { &["data.demonstrations"] } else { &["data.source", "data.labels_file"] }
}

/// The setting that says where the data are that may have moved: of an agent, its demonstrations.
fn place_of_data<'a>(config: &'a mut RunConfig, entry: &dyn Entry) -> &'a mut String {
    if is_agent(entry) { &mut config.data.demonstrations } else { &mut config.data.source }
}
