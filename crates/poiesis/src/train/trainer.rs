//! The training loop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::tensor::Device;

use super::start::{Outcome, Stop};
use super::{Ema, Event, memory, sample_steps};
use crate::atomic;
use crate::config::RunConfig;
use crate::data::{DataSpec, Examples};
use crate::error::{Error, Result};
use crate::evaluate;
use crate::model::{Entry, MetricValues, Session, TrainedModel, Warning};
use crate::nn::StateDict;
use crate::optim::learning_rate_factor;
use crate::run::tensorboard::EventWriter;
use crate::run::{Machine, Run, State, checkpoint, metrics, samples};

/// How many recent reports the warnings look at.
const REMEMBERED: usize = 50;

/// A run being trained.
pub(super) struct Training {
    pub(super) entry: &'static dyn Entry,
    pub(super) config: RunConfig,
    pub(super) spec: DataSpec,
    pub(super) device: Device,
    pub(super) session: Box<dyn Session>,
    pub(super) averages: Ema,
    pub(super) train: Examples,
    pub(super) held_out: Option<Examples>,
    pub(super) run: Run,
    /// Steps done.
    pub(super) step: u64,
    /// Seconds of training over all starts.
    pub(super) elapsed: f64,
    pub(super) recent: Vec<MetricValues>,
    pub(super) warned: Vec<&'static str>,
    pub(super) samples: Option<PathBuf>,
    pub(super) log: Option<metrics::Log>,
    pub(super) events: Option<EventWriter>,
}

impl Training {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of the run, named at the one place that calls this"
    )]
    pub(super) fn new(
        entry: &'static dyn Entry,
        config: RunConfig,
        spec: DataSpec,
        device: Device,
        session: Box<dyn Session>,
        train: Examples,
        held_out: Option<Examples>,
        run: Run,
    ) -> Training {
        Training {
            averages: Ema::new(config.train.ema_decay, session.state_dict()),
            entry,
            config,
            spec,
            device,
            session,
            train,
            held_out,
            run,
            step: 0,
            elapsed: 0.0,
            recent: Vec::new(),
            warned: Vec::new(),
            samples: None,
            log: None,
            events: None,
        }
    }

    /// Restores the newest checkpoint, or starts at the beginning when there is none yet.
    pub(super) fn resume(&mut self) -> Result<Vec<String>> {
        atomic::sweep(self.run.path())?;
        atomic::sweep(&self.run.samples_path())?;
        let folder = self.run.checkpoints_path();
        let found = match checkpoint::newest(&folder) {
            Ok(found) => found,
            Err(Error::NoCheckpoint { .. }) => {
                metrics::truncate_after(&self.run.metrics_path(), 0)?;
                return Ok(vec!["there was no checkpoint yet: starting from the first step".into()]);
            }
            Err(error) => return Err(error),
        };
        let content = found.content;
        content.state.expect_model(self.entry.name(), &found.path)?;
        let place = self.device.clone().inner();
        let weights = StateDict::from_arrays(content.model, &place);
        let optimizers = StateDict::from_arrays(content.train, &place);
        self.session
            .restore(&weights, &optimizers)
            .map_err(|reason| Error::WeightsMismatch { model: self.entry.name().into(), reason })?;
        if self.config.train.ema_decay > 0.0 {
            self.averages =
                Ema::new(self.config.train.ema_decay, StateDict::from_arrays(content.ema, &place));
        }
        self.step = content.state.step;
        metrics::truncate_after(&self.run.metrics_path(), self.step)?;
        self.elapsed = metrics::read(&self.run.metrics_path())?.last().map_or(0.0, |row| row.elapsed);
        self.samples = samples::newest(&self.run.samples_path())?;
        Ok(found.findings.into_iter().map(|f| format!("{}: {}", f.path.display(), f.reason)).collect())
    }

    pub(super) fn open_logs(&mut self, resumed: bool) -> Result<()> {
        self.log = Some(metrics::Log::open(&self.run.metrics_path())?);
        let resumed_at = resumed.then_some(self.step);
        self.events = Some(EventWriter::create(self.run.path(), resumed_at)?);
        let machine = Machine::this();
        self.run.update(|info| (info.state, info.machine) = (State::Running, machine))
    }

    pub(super) fn run_loop(&mut self, stop: &Stop, watch: &mut dyn FnMut(Event)) -> Result<Outcome> {
        let config = self.config.train.clone();
        let sample_at = sample_steps(&config);
        if self.step == 0 && sample_at.first() == Some(&0) {
            self.sample(watch)?;
        }
        let mut reported = (self.step, Instant::now());
        let first = self.step + 1;
        while self.step < config.steps {
            let began = Instant::now();
            let factor = learning_rate_factor(&self.config.optimizer, self.step, config.steps);
            let metrics = self.session.step(self.step, factor);
            self.step += 1;
            if config.ema_decay > 0.0 {
                self.averages.update(&self.session.state_dict(), self.step);
            }
            self.elapsed += began.elapsed().as_secs_f64();
            watch(Event::Step { step: self.step });
            if let (true, Some(peak)) = (self.step == first, memory::peak()) {
                watch(Event::Memory { peak });
            }

            let last = self.step == config.steps || stop.requested();
            let save = last || self.step.is_multiple_of(config.checkpoint_every);
            if save || self.step.is_multiple_of(config.log_every) {
                let metrics = metrics.read();
                self.expect_finite(&metrics)?;
                if self.step.is_multiple_of(config.log_every) {
                    let rate = examples_per_second(&config, &mut reported, self.step);
                    self.report(metrics, rate, watch)?;
                }
            }
            let aside = Instant::now();
            if sample_at.binary_search(&self.step).is_ok() {
                self.sample(watch)?;
            }
            if save {
                self.save(watch)?;
            }
            reported.1 += aside.elapsed();
            if last {
                break;
            }
        }
        Ok(Outcome {
            state: if self.step < config.steps { State::Stopped } else { State::Done },
            step: self.step,
            elapsed: self.elapsed,
            samples: self.samples.clone(),
        })
    }

    fn expect_finite(&self, metrics: &[(&'static str, f64)]) -> Result<()> {
        match metrics.iter().find(|(_, value)| !value.is_finite()) {
            Some((name, _)) => Err(Error::Diverged { step: self.step, term: (*name).to_owned() }),
            None => Ok(()),
        }
    }

    fn report(
        &mut self,
        metrics: Vec<(&'static str, f64)>,
        examples_per_second: f64,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        self.recent.push(metrics.iter().copied().collect());
        self.recent.drain(..self.recent.len().saturating_sub(REMEMBERED));
        let named: Vec<_> = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        self.write("train", &named)?;
        self.write("speed", &[("examples_per_second".to_owned(), examples_per_second)])?;
        watch(Event::Report { step: self.step, metrics, examples_per_second });
        for warning in self.session.warnings(&self.recent) {
            self.warn(warning, watch);
        }
        Ok(())
    }

    /// Writes values to `metrics.jsonl` and to the TensorBoard file, with `group` before their names.
    pub(super) fn write(&mut self, group: &str, values: &[(String, f64)]) -> Result<()> {
        if let Some(log) = &mut self.log
            && group != "speed"
        {
            let values = values.to_vec();
            log.append(&metrics::Row { step: self.step, elapsed: self.elapsed, values })?;
        }
        if let Some(events) = &mut self.events {
            let tagged: Vec<_> = values.iter().map(|(name, v)| (format!("{group}/{name}"), *v)).collect();
            events.scalars(self.step, tagged.iter().map(|(tag, value)| (tag.as_str(), *value)))?;
        }
        Ok(())
    }

    /// Gives a warning, once per start.
    pub(super) fn warn(&mut self, warning: Warning, watch: &mut dyn FnMut(Event)) {
        if !self.warned.contains(&warning.name) {
            self.warned.push(warning.name);
            watch(Event::Warning { step: self.step, warning });
        }
    }

    /// The model with averaged weights, or with the trained ones where none are averaged.
    pub(super) fn model(&self) -> Result<Box<dyn TrainedModel>> {
        let device = self.device.clone().inner();
        if self.config.train.ema_decay > 0.0 {
            self.entry.load(&self.config, &self.spec, self.averages.weights(), &device)
        } else {
            self.entry.load(&self.config, &self.spec, &self.session.state_dict(), &device)
        }
    }

    /// Measures the held-out metric, then saves a checkpoint.
    fn save(&mut self, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let weights = self.session.state_dict();
        if let Some(name) = weights.not_finite() {
            return Err(Error::Diverged { step: self.step, term: name.to_owned() });
        }
        if let (Some(held_out), Some(likelihood)) = (&self.held_out, self.model()?.abilities().likelihood) {
            let device = self.device.clone().inner();
            let (name, value) = evaluate::validation(likelihood, held_out, &self.spec, &device)?;
            self.write("validation", &[(name.to_owned(), value)])?;
            watch(Event::Evaluated { step: self.step, name, value });
        }
        let averages = if self.config.train.ema_decay > 0.0 {
            self.averages.weights().to_arrays()
        } else {
            checkpoint::Arrays::new()
        };
        let checkpoint = checkpoint::Checkpoint {
            model: weights.to_arrays(),
            ema: averages,
            train: self.session.training_state().to_arrays(),
            state: checkpoint::State {
                model: self.entry.name().to_owned(),
                step: self.step,
                ..checkpoint::State::default()
            },
        };
        let folder = self.run.checkpoints_path();
        let path = checkpoint::save(&folder, &checkpoint)?;
        checkpoint::prune(
            &folder,
            checkpoint::Retention { last: self.config.train.keep_checkpoints, every: 0 },
        )?;
        let step = self.step;
        self.run.update(|info| info.last_step = step)?;
        watch(Event::Checkpoint { step, path });
        Ok(())
    }
}

fn examples_per_second(config: &crate::config::TrainConfig, reported: &mut (u64, Instant), step: u64) -> f64 {
    let examples = (step - reported.0) as f64 * config.batch_size as f64;
    let rate = examples / reported.1.elapsed().max(Duration::from_micros(1)).as_secs_f64();
    *reported = (step, Instant::now());
    rate
}
