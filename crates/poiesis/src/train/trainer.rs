//! The training loop.

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::Device;

use super::start::{Outcome, Stop};
use super::time::{Clock, Work};
use super::{Ema, Event, Remaining, Summary, memory, sample_steps, watchdog};
use crate::atomic;
use crate::config::RunConfig;
use crate::data::{DataSpec, Examples, MediaKind};
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::model::{Entry, MetricValues, Session, TrainedModel, Warning};
use crate::nn::StateDict;
use crate::optim::learning_rate_factor;
use crate::run::checkpoint::{BestSoFar, Counts, Part};
use crate::run::tensorboard::EventWriter;
use crate::run::{Lock, Machine, Run, State, checkpoint, metrics, samples};

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
    lock: Lock,
    /// Steps done.
    pub(super) step: u64,
    /// Steps done when a checkpoint was written last.
    saved: u64,
    /// The best held-out value so far.
    pub(super) best: BestSoFar,
    /// The name of the held-out metric, once it was measured.
    pub(super) metric: Option<String>,
    pub(super) clock: Clock,
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
        lock: Lock,
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
            lock,
            step: 0,
            saved: 0,
            best: BestSoFar::default(),
            metric: None,
            clock: Clock::after(0.0),
            recent: Vec::new(),
            warned: Vec::new(),
            samples: None,
            log: None,
            events: None,
        }
    }

    /// Restores the newest checkpoint, or starts at the beginning when there is none yet. A run that started from weights has a
    /// checkpoint of them.
    pub(super) fn resume(&mut self) -> Result<Vec<String>> {
        atomic::sweep(self.run.path())?;
        atomic::sweep(&self.run.samples_path())?;
        let folder = self.run.checkpoints_path();
        let found = match checkpoint::newest(&folder) {
            Ok(found) => found,
            Err(Error::NoCheckpoint { .. }) if self.run.info().parent.is_none() => {
                metrics::truncate_after(&self.run.metrics_path(), 0)?;
                return Ok(vec!["there was no checkpoint yet: starting from the first step".into()]);
            }
            Err(error) => return Err(error),
        };
        let content = found.content;
        content.state.expect_model(self.entry.name(), &found.path)?;
        for (part, arrays) in
            [(Part::Model, &content.model), (Part::Ema, &content.ema), (Part::Train, &content.train)]
        {
            checkpoint::expect_numbers(&found.path, part, arrays)?;
        }
        let place = self.device.clone().inner();
        let weights = StateDict::from_arrays(content.model, &place);
        let optimizers = StateDict::from_arrays(content.train, &place);
        self.session.restore(&weights, &optimizers).map_err(|reason| {
            Error::WeightsMismatch { model: self.entry.name().into(), reason }.of_checkpoint(&found.path)
        })?;
        if self.config.train.ema_decay > 0.0 {
            self.averages =
                Ema::new(self.config.train.ema_decay, StateDict::from_arrays(content.ema, &place));
        }
        self.step = content.state.step;
        self.saved = self.step;
        self.best = content.state.best_so_far();
        if self.step < self.config.train.steps {
            self.best.at_end = None;
        }
        metrics::truncate_after(&self.run.metrics_path(), self.step)?;
        let rows = metrics::read(&self.run.metrics_path())?;
        self.metric = metrics::held_out(&rows).map(|(name, _)| name.to_owned());
        let logged = rows.last().map_or(0.0, |row| row.elapsed);
        let info = self.run.info();
        let noted = if info.last_step == self.step { info.elapsed } else { 0.0 };
        self.clock = Clock::after(logged.max(noted));
        self.samples = samples::newest(&self.run.samples_path())?;
        let findings = found.findings.into_iter().map(|f| format!("{}: {}", f.path.display(), f.reason));
        let missing =
            self.best.best().filter(|best| !folder.join(checkpoint::folder_name(best.step)).exists());
        let missing = missing.map(|best| format!("the best checkpoint, of step {}, is not there", best.step));
        Ok(findings.chain(metrics::not_rows(&self.run.metrics_path())?).chain(missing).collect())
    }

    /// Opens the files of metrics and events. Settings that stay the same are in the event file of an earlier start.
    pub(super) fn open_logs(&mut self, resumed: bool, settings_changed: bool) -> Result<()> {
        self.log = Some(metrics::Log::open(&self.run.metrics_path())?);
        let resumed_at = resumed.then_some(self.step);
        let mut events = EventWriter::create(self.run.path(), resumed_at)?;
        let settings = self.config.to_table();
        if self.step == 0 || settings_changed {
            events.settings(self.step, &settings)?;
        }
        events.hyperparameters(self.step, &settings)?;
        self.events = Some(events);
        let machine = Machine::this();
        self.run.update(|info| (info.state, info.machine) = (State::Running, machine))
    }

    pub(super) fn run_loop(&mut self, stop: &Stop, watch: &mut dyn FnMut(Event)) -> Result<Outcome> {
        let config = self.config.train.clone();
        let sample_at = sample_steps(&config);
        if self.step == 0 && sample_at.first() == Some(&0) {
            self.sample(watch)?;
        }
        if self.step == 0 && self.run.info().parent.is_some() {
            // What the run starts from may be better than all that comes after it.
            self.evaluate(Counts::Always, watch)?;
        }
        let mut reported = (self.step, 0.0);
        let first = self.step + 1;
        while self.step < config.steps && !self.is_out_of_patience() {
            let began = Instant::now();
            let factor = learning_rate_factor(&self.config.optimizer, self.step, config.steps);
            let metrics = match self.session.step(self.step, factor) {
                Ok(metrics) => metrics,
                Err(error) => {
                    self.keep(watch);
                    return Err(error);
                }
            };
            self.step += 1;
            if config.ema_decay > 0.0 {
                self.averages.update(&self.session.state_dict(), self.step);
            }
            self.clock.add(Work::Step, began);
            watch(Event::Step { step: self.step });
            if let (true, Some(peak)) = (self.step == first, memory::peak()) {
                watch(Event::Memory { peak });
            }

            let due = self.step.is_multiple_of(config.checkpoint_every);
            let last = self.step == config.steps || stop.requested();
            let save = last || due;
            if save || self.step.is_multiple_of(config.log_every) {
                // On a GPU the steps are computed when a value is read.
                let began = Instant::now();
                let metrics = metrics.read();
                self.clock.add_to_step(began);
                self.expect_finite(&metrics)?;
                self.expect_folder()?;
                if self.step.is_multiple_of(config.log_every) {
                    let seconds = self.clock.spent.steps;
                    let rate = (self.step - reported.0) as f64 / (seconds - reported.1).max(1e-6);
                    reported = (self.step, seconds);
                    self.report(metrics, rate, watch)?;
                }
            }
            let sampled = sample_at.binary_search(&self.step).is_ok();
            if sampled {
                self.sample(watch)?;
            }
            if save {
                self.expect_finite_weights()?;
                let counts = match (due, self.step == config.steps) {
                    (true, _) => Counts::Always,
                    (false, true) => Counts::AtEnd,
                    (false, false) => Counts::Never,
                };
                self.evaluate(counts, watch)?;
                // A run ends with samples of its last step, wherever it ends.
                if self.is_out_of_patience() && !sampled {
                    self.sample(watch)?;
                }
                self.save(watch)?;
            }
            if last {
                break;
            }
        }
        let early = self.step < config.steps && self.is_out_of_patience();
        if (early || self.step >= config.steps)
            && let Some(events) = &mut self.events
        {
            events.done(self.step)?;
        }
        Ok(Outcome {
            state: if self.step < config.steps && !early { State::Stopped } else { State::Done },
            early: if early { self.why_early() } else { None },
            step: self.step,
            elapsed: self.clock.elapsed(),
            spent: self.clock.spent,
            summary: Summary::of(&metrics::read(&self.run.metrics_path())?),
            best: self.best_step(),
            samples: self.samples.clone(),
        })
    }

    /// Ends training once the folder of the run is not there any more: nothing that is written would be part of it.
    pub(super) fn expect_folder(&self) -> Result<()> {
        if self.lock.is_of(self.run.path()) {
            return Ok(());
        }
        Err(Error::RunRemoved { run: self.run.path().to_owned() })
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
        steps_per_second: f64,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        let amount = self.session.amount();
        // An agent takes many steps in its environments before it learns from them batch by batch.
        let examples = if self.spec.media() == MediaKind::Experience && amount.unit == "steps" {
            amount.count as f64
        } else {
            self.config.train.batch_size as f64
        };
        let examples_per_second = steps_per_second * examples;
        self.recent.push(metrics.iter().copied().collect());
        self.recent.drain(..self.recent.len().saturating_sub(REMEMBERED));
        let named: Vec<_> = metrics.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        self.write("train", &named)?;
        self.write("speed", &[("examples_per_second".to_owned(), examples_per_second)])?;
        // The samples and the checkpoint of this step are still to come.
        let before = Remaining::after(self.step - 1, &self.config.train);
        let left = self.clock.left(&Remaining { steps: before.steps - 1, ..before });
        watch(Event::Report {
            step: self.step,
            metrics,
            examples_per_second,
            per_second: steps_per_second * amount.count as f64,
            unit: amount.unit,
            elapsed: self.clock.elapsed(),
            left: left.total(),
        });
        let whole = self.clock.spent.plus(&left);
        if whole.samples_too_much() {
            self.warn(watchdog::slow_samples(&whole, &self.config.train), watch);
        }
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
            log.append(&metrics::Row { step: self.step, elapsed: self.clock.elapsed(), values })?;
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

    /// Saves what was learned before a step that failed. Why that step failed says more than why this could not be saved.
    fn keep(&mut self, watch: &mut dyn FnMut(Event)) {
        if self.step > self.saved {
            let _ = self
                .expect_folder()
                .and_then(|()| self.expect_finite_weights())
                .and_then(|()| self.evaluate(Counts::Never, watch))
                .and_then(|()| self.save(watch));
        }
    }

    fn expect_finite_weights(&self) -> Result<()> {
        match self.session.state_dict().not_finite() {
            Some(name) => Err(Error::Diverged { step: self.step, term: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Saves a checkpoint.
    fn save(&mut self, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let began = Instant::now();
        watch(Event::Working { step: self.step, progress: Progress::working("saving") });
        let averages = if self.config.train.ema_decay > 0.0 { Some(self.averages.weights()) } else { None };
        let mut checkpoint = checkpoint_of(self.entry, self.session.as_ref(), averages, self.step);
        checkpoint.state.set_best(self.best);
        self.expect_folder()?;
        let folder = self.run.checkpoints_path();
        let path = checkpoint::save(&folder, &checkpoint)?;
        self.saved = self.step;
        checkpoint::prune(
            &folder,
            checkpoint::Retention {
                last: self.config.train.keep_checkpoints,
                every: 0,
                best: &self.best.steps(),
            },
        )?;
        self.clock.add(Work::Saving, began);
        let (step, elapsed, best) = (self.step, self.clock.elapsed(), self.best_step());
        self.run.update(|info| (info.last_step, info.elapsed, info.best) = (step, elapsed, best))?;
        watch(Event::Checkpoint { step, path });
        Ok(())
    }
}

/// The checkpoint of a session after `step` steps, without averages where none are kept.
pub(super) fn checkpoint_of(
    entry: &dyn Entry,
    session: &dyn Session,
    averages: Option<&StateDict>,
    step: u64,
) -> checkpoint::Checkpoint {
    checkpoint::Checkpoint {
        model: session.state_dict().to_arrays(),
        ema: averages.map(StateDict::to_arrays).unwrap_or_default(),
        train: session.training_state().to_arrays(),
        state: checkpoint::State { model: entry.name().to_owned(), step, ..checkpoint::State::default() },
    }
}
