//! Starts or resumes a run: what is checked and made before the first step.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use burn::tensor::Device;

use super::held_out::expect_measured_on;
use super::initial::other_parent;
use super::trainer::{Training, checkpoint_of};
use super::{Event, InitialWeights, Spent, Summary, TrainingData, expect_memory};
use crate::catalogue;
use crate::config::{Choice, RunConfig};
use crate::data::DataFacts;
use crate::device;
use crate::error::{Error, Result};
use crate::model::{Entry, Session, Start};
use crate::optim::Decay;
use crate::run::{BestStep, DataInfo, Machine, Run, RunInfo, State};

/// Keys that may change when a run is resumed.
const CHANGEABLE: &[&str] = &[
    "device",
    "train.steps",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.patience",
    "train.log_every",
    "train.sample_schedule",
    "train.sample_frames",
    "train.sample_count",
    "train.sample_length",
];

/// Keys that say where the data are, which may change too as long as these are the same.
const PLACES: &[&str] = &["data.source", "data.labels_file", "data.demonstrations"];

/// A run to train.
#[derive(Clone)]
pub struct Request {
    /// The run's folder.
    pub out: PathBuf,
    /// The resolved configuration.
    pub config: RunConfig,
    /// The data it names.
    pub data: TrainingData,
    /// The weights that a new run starts from; without any they are drawn from the seed. A run that is continued has its own, and needs none.
    pub initial: Option<InitialWeights>,
    /// The settings that were chosen from the data, which are saved with the run.
    pub chosen: Vec<Choice>,
    /// What happens when the folder exists.
    pub existing: Existing,
    /// The command line, which is saved with the run.
    pub command: Vec<String>,
    /// Whether to train even if there may not be enough memory.
    pub ignore_memory: bool,
}

impl Request {
    /// A request to train, or to resume what is there: with weights drawn from the seed, nothing chosen, no command to save, and a check of
    /// the memory.
    pub fn new(out: PathBuf, config: RunConfig, data: TrainingData) -> Request {
        let (existing, command, chosen) = (Existing::Resume, Vec::new(), Vec::new());
        Request { out, config, data, initial: None, chosen, existing, command, ignore_memory: false }
    }
}

/// What happens when the run's folder exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Resume it.
    Resume,
    /// Rename it and start over.
    SetAside,
}

/// A request to stop, shared with the loop.
#[derive(Debug, Default)]
pub struct Stop(AtomicU8);

impl Stop {
    /// Asks the loop to finish its step, save and end.
    pub fn request(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    /// Whether [`request`](Stop::request) was called.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

/// How training ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Done, or stopped on request.
    pub state: State,
    /// Why it ended before its last step, where that is because the held-out metric became no better (`train.patience`).
    pub early: Option<String>,
    /// Steps done.
    pub step: u64,
    /// Seconds of the run, over all its starts and whatever they were spent on.
    pub elapsed: f64,
    /// What the seconds of this start were spent on.
    pub spent: Spent,
    /// The last measures.
    pub summary: Summary,
    /// The best checkpoint, where something is measured on held-out examples.
    pub best: Option<BestStep>,
    /// The last grid of samples.
    pub samples: Option<PathBuf>,
}

/// Trains until all steps are done or `stop` is requested; `watch` receives the events.
///
/// # Errors
///
/// [`Error::NoDevice`]; [`Error::InvalidValue`] when the device lacks the precision, or when there is a patience and nothing is measured on
/// held-out examples; [`Error::NotAStart`] when the initial weights do not fit; [`Error::ConfigDiffers`], [`Error::DataChanged`] and
/// [`Error::RunInUse`] when an existing run cannot be continued; [`Error::OutOfMemory`] when what is needed does not fit into what is
/// free; [`Error::Environment`] when an environment fails, after a checkpoint of the steps before; [`Error::Diverged`] when a loss is no longer finite; errors of reading and writing. Checkpoints already written stay.
pub fn train(request: Request, stop: &Stop, watch: &mut (dyn FnMut(Event) + Send)) -> Result<Outcome> {
    let config = request.config.clone();
    in_pool(&config, || train_here(request, stop, watch))
}

/// Calls `work` with the precision of a run, on a thread of the pool, which then computes too instead of waiting for the others.
pub(super) fn in_pool<T: Send>(config: &RunConfig, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let before = poiesis_kernels::precision();
    config.train.precision.set(&config.device)?;
    let outcome = rayon::scope(|_| work());
    poiesis_kernels::set_precision(before);
    outcome
}

/// What is checked and made before a run is touched.
pub(super) struct Prepared {
    pub(super) entry: &'static dyn Entry,
    /// Those of the request, as the run reads them.
    pub(super) data: TrainingData,
    /// With autodiff.
    pub(super) device: Device,
    pub(super) parameters: Vec<(String, usize)>,
    pub(super) session: Box<dyn Session>,
    /// About the initial weights.
    pub(super) notes: Vec<String>,
}

/// Makes the model with its data and optimizers, if all is as it must be.
pub(super) fn prepare(request: &Request) -> Result<Prepared> {
    let Request { out, config, initial, ignore_memory, .. } = request;
    let data = data_of(request)?;
    let TrainingData { spec, train, held_out, info } = &data;
    let entry = catalogue::find(&config.model)?;
    catalogue::expect_media(entry, spec)?;
    let device = device::device(&config.device)?.autodiff();
    let parameters = entry.parameters(config, spec).map_err(|error| error.of_data(&info.name))?;
    if !ignore_memory {
        expect_memory(entry, config, spec)?;
    }
    if !is_resumed(request) {
        entry.expect_learnable(&DataFacts::of(spec, train))?;
    }
    let mut session = entry.start(Start { config, spec, examples: train.clone(), device: device.clone() })?;
    let notes = match initial {
        Some(initial) => {
            initial.expect_other_than(out)?;
            initial.load_into(session.as_mut(), config, spec, info, &device)?
        }
        None => Vec::new(),
    };
    if config.train.patience > 0 {
        let model = entry.load(config, spec, &session.state_dict(), &device.clone().inner())?;
        expect_measured_on(held_out.as_ref(), model.as_ref(), entry, config)?;
    }
    Ok(Prepared { entry, data, device, parameters, session, notes })
}

/// Whether a run exists that is to be resumed.
fn is_resumed(request: &Request) -> bool {
    request.existing == Existing::Resume && Run::exists(&request.out)
}

/// The data of a request, read as the run reads them that exists or that the weights are from.
fn data_of(request: &Request) -> Result<TrainingData> {
    let Request { out, data, initial, .. } = request;
    let data = data.clone();
    match initial {
        _ if is_resumed(request) => data.for_run(Run::open(out)?.info()),
        Some(initial) => Ok(initial.reading(data)),
        None => Ok(data),
    }
}

/// A setting that has changed: its key, and its values before and now.
type Change = (String, String, String);

/// Returns an error for a run that was made with other data, settings or initial weights, else its configuration and what may change.
pub(super) fn expect_continuable(
    run: &Run,
    config: &RunConfig,
    info: &DataInfo,
    initial: Option<&InitialWeights>,
) -> Result<(RunConfig, Vec<Change>)> {
    let path = run.config_path();
    let saved = catalogue::read_config(&run.config()?).map_err(|error| error.in_file(&path))?;
    if let Some(other) = other_parent(run.info().parent.as_ref(), initial) {
        return Err(Error::ConfigDiffers { run: run.path().to_owned(), differences: vec![other] });
    }
    let places = if run.expect_data(info).is_ok() { PLACES } else { &[] };
    let free = [CHANGEABLE, places].concat();
    let changes = run.expect_config(&saved.to_toml(), &config.to_toml(), &free)?;
    run.expect_data(info)?;
    Ok((saved, changes))
}

fn train_here(request: Request, stop: &Stop, watch: &mut dyn FnMut(Event)) -> Result<Outcome> {
    let Prepared { entry, data, device, parameters, session, mut notes } = prepare(&request)?;
    let Request { out, config, initial, chosen, existing, command, .. } = request;
    let TrainingData { spec, train, held_out, info } = data;

    if existing == Existing::SetAside {
        Run::set_aside(&out)?;
    }
    let resumed = Run::exists(&out);
    let run = if resumed {
        Run::open(&out)?
    } else {
        let mut about = run_info(&config, info.clone(), command);
        about.chosen = chosen;
        about.parent = initial.as_ref().map(|initial| initial.parent().clone());
        match initial {
            None => Run::create(&out, &config.to_toml(), about)?,
            Some(_) => {
                let weights = session.state_dict();
                let averages = (config.train.ema_decay > 0.0).then_some(&weights);
                let first = checkpoint_of(entry, session.as_ref(), averages, 0);
                Run::create_from(&out, &config.to_toml(), about, &first)?
            }
        }
    };
    let lock = run.lock()?;
    let mut training = Training::new(entry, config, spec, device, session, train, held_out, run, lock);
    let mut settings_changed = false;
    if resumed {
        let (saved, changes) = expect_continuable(&training.run, &training.config, &info, initial.as_ref())?;
        notes = training.resume()?;
        notes.extend(continue_run(&mut training, &saved, &changes)?);
        settings_changed = !changes.is_empty();
    }
    // They would take as much memory as the model, as long as it is trained.
    drop(initial);
    training.open_logs(resumed, settings_changed)?;
    watch(Event::Started {
        run: out,
        step: training.step,
        steps: training.config.train.steps,
        parameters,
        notes,
    });
    let outcome = training.run_loop(stop, watch);
    // That the folder is gone says more than that a file could not be written.
    let outcome = outcome.map_err(|error| training.expect_folder().err().unwrap_or(error));
    let (state, reason) = match &outcome {
        Ok(outcome) => (outcome.state, outcome.early.clone()),
        Err(error) => (State::Failed, Some(error.to_string())),
    };
    let (last_step, elapsed) = (training.step, training.clock.elapsed());
    let written = training.expect_folder().and_then(|()| {
        training.run.update(|info| {
            (info.state, info.reason, info.last_step, info.elapsed) = (state, reason, last_step, elapsed);
        })
    });
    // The error of the loop says more than an error of saving it.
    outcome.and_then(|outcome| written.map(|()| outcome))
}

/// Saves the keys that change in a resumed run; returns notes with their old and new values.
fn continue_run(training: &mut Training, saved: &RunConfig, changes: &[Change]) -> Result<Vec<String>> {
    let config = &training.config;
    if config.train.steps < training.step {
        return Err(Error::invalid_value(
            "train.steps",
            &config.train.steps.to_string(),
            &format!("the run has done {} steps already", training.step),
            "give a larger number",
        ));
    }
    let mut notes: Vec<String> =
        changes.iter().map(|(key, before, now)| format!("{key} was {before} and is now {now}")).collect();
    let longer = saved.train.steps != config.train.steps;
    if longer && config.optimizer.schedule != Decay::Constant {
        notes.push(format!(
            "the learning rate now follows its schedule to step {}, not to step {}",
            config.train.steps, saved.train.steps
        ));
    }
    training.run.change_config(changes)?;
    let (steps, source) = (config.train.steps, config.data.source.clone());
    training.run.update(|info| (info.steps, info.data.source) = (steps, source))?;
    Ok(notes)
}

fn run_info(config: &RunConfig, data: DataInfo, command: Vec<String>) -> RunInfo {
    RunInfo {
        model: config.model.clone(),
        device: config.device.clone(),
        seed: config.seed,
        steps: config.train.steps,
        data: DataInfo { source: config.data.source.clone(), ..data },
        command,
        machine: Machine::this(),
        ..RunInfo::default()
    }
}
