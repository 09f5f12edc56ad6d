//! Starts or resumes a run: what is checked and made before the first step.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};

use super::trainer::Training;
use super::{Event, TrainingData, memory};
use crate::catalogue;
use crate::config::RunConfig;
use crate::device;
use crate::error::{Error, Result};
use crate::model::Start;
use crate::optim::Decay;
use crate::run::{DataInfo, Machine, Run, RunInfo, State};

/// Keys that may change when a run is resumed.
const CHANGEABLE: &[&str] = &[
    "device",
    "train.steps",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.log_every",
    "train.sample_schedule",
    "train.sample_frames",
    "train.sample_count",
    "train.sample_length",
];

/// A run to train.
pub struct Request {
    /// The run's folder.
    pub out: PathBuf,
    /// The resolved configuration.
    pub config: RunConfig,
    /// The data it names.
    pub data: TrainingData,
    /// What happens when the folder exists.
    pub existing: Existing,
    /// The command line, which is saved with the run.
    pub command: Vec<String>,
    /// Whether to train even if there may not be enough memory.
    pub ignore_memory: bool,
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
    /// Steps done.
    pub step: u64,
    /// Seconds of training, over all starts of the run.
    pub elapsed: f64,
    /// The last grid of samples.
    pub samples: Option<PathBuf>,
}

/// Trains until all steps are done or `stop` is requested; `watch` receives the events.
///
/// # Errors
///
/// [`Error::NoDevice`]; [`Error::InvalidValue`] when the device lacks the precision; [`Error::ConfigDiffers`], [`Error::DataChanged`] and
/// [`Error::RunInUse`] when an existing run cannot be continued; [`Error::OutOfMemory`] when the weights do not fit into what is
/// free; [`Error::Diverged`] when a loss is no longer finite; errors of reading and writing. Checkpoints already written stay.
pub fn train(request: Request, stop: &Stop, watch: &mut (dyn FnMut(Event) + Send)) -> Result<Outcome> {
    let before = poiesis_kernels::precision();
    request.config.train.precision.set(&request.config.device)?;
    // On a thread of the pool, which then computes too instead of waiting for the others.
    let outcome = rayon::scope(|_| train_here(request, stop, watch));
    poiesis_kernels::set_precision(before);
    outcome
}

fn train_here(request: Request, stop: &Stop, watch: &mut dyn FnMut(Event)) -> Result<Outcome> {
    let Request { out, config, data, existing, command, ignore_memory } = request;
    let TrainingData { spec, train, held_out, info } = data;
    let entry = catalogue::find(&config.model)?;
    catalogue::expect_media(entry, &spec)?;
    let device = device::device(&config.device)?.autodiff();
    let parameters = entry.parameters(&config, &spec)?;
    if !ignore_memory && device::is_cpu(&config.device) {
        let all = parameters.iter().map(|(_, count)| count).sum();
        memory::expect_room_for(all, &config.train, &spec)?;
    }
    let start = Start { config: &config, spec: &spec, examples: train.clone(), device: device.clone() };
    let session = entry.start(start)?;

    if existing == Existing::SetAside {
        Run::set_aside(&out)?;
    }
    let resumed = Run::exists(&out);
    let run = if resumed {
        Run::open(&out)?
    } else {
        Run::create(&out, &config.to_toml(), run_info(&config, info.clone(), command))?
    };
    let lock = run.lock()?;
    let mut training = Training::new(entry, config, spec, device, session, train, held_out, run);
    let mut notes = Vec::new();
    if resumed {
        let saved = catalogue::read_config(&training.run.config()?)?;
        let changes = training.run.expect_config(&saved.to_toml(), &training.config.to_toml(), CHANGEABLE)?;
        training.run.expect_data(&info.fingerprint)?;
        notes = training.resume()?;
        notes.extend(continue_run(&mut training, &saved, &changes)?);
    }
    training.open_logs(resumed)?;
    watch(Event::Started {
        run: out,
        step: training.step,
        steps: training.config.train.steps,
        parameters,
        notes,
    });
    let outcome = training.run_loop(stop, watch);
    let (state, reason) = match &outcome {
        Ok(outcome) => (outcome.state, None),
        Err(error) => (State::Failed, Some(error.to_string())),
    };
    let last_step = training.step;
    let written = training.run.update(|info| {
        (info.state, info.reason, info.last_step) = (state, reason, last_step);
    });
    drop(lock);
    // The error of the loop says more than an error of saving it.
    outcome.and_then(|outcome| written.map(|()| outcome))
}

/// Saves the keys that change in a resumed run; returns notes with their old and new values.
fn continue_run(
    training: &mut Training,
    saved: &RunConfig,
    changes: &[(String, String, String)],
) -> Result<Vec<String>> {
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
    let steps = config.train.steps;
    training.run.update(|info| info.steps = steps)?;
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
