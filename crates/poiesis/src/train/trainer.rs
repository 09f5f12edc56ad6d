//! The loop.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use poiesis_collect::{Dataset, Split};

use super::watchdog::collapse;
use super::{Ema, Event, Finding, Session, Values, learning_rate_factor, sample_steps};
use crate::apply::{sample, sound, text};
use crate::capability::{Code, Model, Sample};
use crate::catalogue::{self, CATALOGUE, Domain, Entry};
use crate::config::RunConfig;
use crate::data::{Content, DataSpec, Examples, ImageShape, SoundShape, TextShape};
use crate::device;
use crate::error::{Error, Result};
use crate::evaluate;
use crate::generate::Choice;
use crate::nn::Weights;
use crate::picture;
use crate::run::tensorboard::EventWriter;
use crate::run::{self, DataInfo, Machine, Run, RunInfo, State, checkpoint, metrics, samples};

/// The grids drawn in training show samples of this seed, whatever the run's.
const SAMPLE_SEED: u64 = 0;
/// How many reports the search for trouble looks back.
const REMEMBERED: usize = 50;

/// What is to be trained.
pub struct Request<'a> {
    /// The run's folder.
    pub out: PathBuf,
    /// The resolved configuration.
    pub config: RunConfig,
    /// The data it names.
    pub dataset: &'a Dataset,
    /// What happens when the folder exists.
    pub existing: Existing,
    /// The command line, to be kept with the run.
    pub command: Vec<String>,
    /// Whether to train although the memory may not suffice.
    pub ignore_memory: bool,
}

/// What happens when the run's folder exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Go on with it.
    Resume,
    /// Set it aside, under a name beside its own, and start over.
    SetAside,
}

/// The wish to stop, shared between the loop and whoever may wish it.
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

/// Trains until all steps are done or `stop` is requested, telling `watch` what happens.
///
/// # Errors
///
/// [`Error::NoDevice`]; [`Error::InvalidValue`] when the device lacks the precision; [`Error::ConfigDiffers`], [`Error::DataChanged`] and
/// [`Error::RunInUse`] when an existing run cannot be gone on with; [`Error::OutOfMemory`] when the estimate exceeds what is
/// free; [`Error::Diverged`] when a loss is no longer finite; errors of reading and writing. Checkpoints already written stay.
pub fn train(request: Request, stop: &Stop, watch: &mut (dyn FnMut(Event) + Send)) -> Result<Outcome> {
    let before = poiesis_kernels::precision();
    request.config.train.precision.set(&request.config.device)?;
    // On one of the threads that do the arithmetic, which then works along instead of waiting for the others.
    let outcome = rayon::scope(|_| train_here(request, stop, watch));
    poiesis_kernels::set_precision(before);
    outcome
}

fn train_here(request: Request, stop: &Stop, watch: &mut dyn FnMut(Event)) -> Result<Outcome> {
    let Request { out, config, dataset, existing, command, ignore_memory } = request;
    let entry = catalogue::find(&config.model)?;
    let spec = DataSpec::of(dataset)?;
    expect_domain(entry, &spec)?;
    let device = device::device(&config.device)?.autodiff();
    let footprint = entry.footprint(&config, &spec)?;
    let memory = footprint.bytes(config.train.batch_size);
    // The estimate is of what the training takes where it computes.
    if !ignore_memory && device::is_cpu(&config.device) {
        expect_memory(memory)?;
    }
    let train = Examples::of(dataset, Split::Train).ok_or_else(|| no_split(dataset))?;
    let start =
        catalogue::Start { config: &config, spec: &spec, examples: train.clone(), device: device.clone() };
    let session = entry.start(start)?;

    if existing == Existing::SetAside {
        Run::set_aside(&out)?;
    }
    let resumed = Run::exists(&out);
    let run = if resumed {
        let run = Run::open(&out)?;
        let saved = RunConfig::from_toml(&run.config()?)?;
        run.expect_config(&saved.to_toml(), &config.to_toml(), &["device"])?;
        run.expect_data(&dataset.card().fingerprint)?;
        run
    } else {
        Run::create(&out, &config.to_toml(), info(&config, &spec, dataset, command))?
    };
    let lock = run.lock()?;
    let averages = Ema::new(config.train.ema_decay, session.weights());
    let held_out =
        [Split::Validation, Split::Test].into_iter().find_map(|split| Examples::of(dataset, split));
    let mut training = Training {
        entry,
        spec,
        device,
        session,
        averages,
        train,
        held_out,
        step: 0,
        elapsed: 0.0,
        recent: Vec::new(),
        warned: Vec::new(),
        samples: None,
        log: None,
        events: None,
        run,
        config,
    };
    let notes = if resumed { training.resume()? } else { Vec::new() };
    training.open_logs(resumed)?;
    watch(Event::Started {
        run: out,
        step: training.step,
        steps: training.config.train.steps,
        parameters: footprint.parameters,
        memory,
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
    // A fault of the loop says more than one of writing it down.
    outcome.and_then(|outcome| written.map(|()| outcome))
}

/// Refuses data of a kind that the model does not learn.
fn expect_domain(entry: &dyn Entry, spec: &DataSpec) -> Result<()> {
    if entry.domains().contains(&spec.domain()) {
        return Ok(());
    }
    let names =
        |domains: &[Domain]| domains.iter().map(|domain| domain.name()).collect::<Vec<_>>().join(", ");
    let able = CATALOGUE.iter().filter(|other| other.domains().contains(&spec.domain()));
    Err(Error::InvalidValue {
        key: "data.source".into(),
        value: spec.domain().name().into(),
        reason: format!("the model `{}` learns {}", entry.name(), names(entry.domains())),
        remedy: format!("train one of {}", able.map(|other| other.name()).collect::<Vec<_>>().join(", ")),
    })
}

fn no_split(dataset: &Dataset) -> Error {
    Error::InvalidValue {
        key: "data.source".into(),
        value: dataset.card().name.clone(),
        reason: "it has no train split".into(),
        remedy: "collect it from a source with training examples".into(),
    }
}

fn info(config: &RunConfig, spec: &DataSpec, dataset: &Dataset, command: Vec<String>) -> RunInfo {
    let card = dataset.card();
    let count = |split: Split| Examples::of(dataset, split).map(|all| (split.to_string(), all.len()));
    RunInfo {
        model: config.model.clone(),
        device: config.device.clone(),
        seed: config.seed,
        steps: config.train.steps,
        data: DataInfo {
            name: card.name.clone(),
            source: config.data.source.clone(),
            fingerprint: card.fingerprint.clone(),
            shape: card.shape.clone(),
            classes: card.classes.clone(),
            spec: Some(spec.clone()),
            counts: [Split::Train, Split::Validation, Split::Test].into_iter().filter_map(count).collect(),
        },
        command,
        machine: Machine::this(),
        ..RunInfo::default()
    }
}

/// Refuses work that is estimated to need more memory than is free.
fn expect_memory(needed: u64) -> Result<()> {
    // Where the system does not say what is free, nothing is refused.
    let Ok(mut system) = sysinfo::System::new() else { return Ok(()) };
    system.refresh_memory();
    let available = system.available_memory();
    if available == 0 || needed <= available {
        return Ok(());
    }
    let remedy = "lower train.batch_size or the size of the images, or give --ignore-memory".to_owned();
    Err(Error::OutOfMemory { needed, available, remedy })
}

struct Training {
    entry: &'static dyn Entry,
    config: RunConfig,
    spec: DataSpec,
    device: Device,
    session: Box<dyn Session>,
    averages: Ema,
    train: Examples,
    held_out: Option<Examples>,
    run: Run,
    /// Steps done.
    step: u64,
    /// Seconds of training over all starts.
    elapsed: f64,
    recent: Vec<Values>,
    warned: Vec<&'static str>,
    samples: Option<PathBuf>,
    log: Option<metrics::Log>,
    events: Option<EventWriter>,
}

impl Training {
    /// Goes back to the newest checkpoint, or to the beginning when there is none yet.
    fn resume(&mut self) -> Result<Vec<String>> {
        run::atomic::sweep(self.run.path())?;
        run::atomic::sweep(&self.run.samples_path())?;
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
        let weights = Weights::from_arrays(content.model, &place);
        let optimizers = Weights::from_arrays(content.train, &place);
        self.session
            .restore(&weights, &optimizers)
            .map_err(|reason| Error::WeightsMismatch { model: self.entry.name().into(), reason })?;
        if self.config.train.ema_decay > 0.0 {
            self.averages = Ema::new(self.config.train.ema_decay, Weights::from_arrays(content.ema, &place));
        }
        self.step = content.state.step;
        metrics::truncate_after(&self.run.metrics_path(), self.step)?;
        self.elapsed = metrics::read(&self.run.metrics_path())?.last().map_or(0.0, |row| row.elapsed);
        self.samples = samples::newest(&self.run.samples_path())?;
        Ok(found.findings.into_iter().map(|f| format!("{}: {}", f.path.display(), f.reason)).collect())
    }

    fn open_logs(&mut self, resumed: bool) -> Result<()> {
        self.log = Some(metrics::Log::open(&self.run.metrics_path())?);
        let resumed_at = resumed.then_some(self.step);
        self.events = Some(EventWriter::create(self.run.path(), resumed_at)?);
        let machine = Machine::this();
        self.run.update(|info| (info.state, info.machine) = (State::Running, machine))
    }

    fn run_loop(&mut self, stop: &Stop, watch: &mut dyn FnMut(Event)) -> Result<Outcome> {
        let config = self.config.train.clone();
        let sample_at = sample_steps(&config);
        if self.step == 0 && sample_at.first() == Some(&0) {
            self.sample(watch)?;
        }
        let mut reported = (self.step, Instant::now());
        while self.step < config.steps {
            let began = Instant::now();
            let terms = self.session.step(self.step, learning_rate_factor(&config, self.step));
            self.step += 1;
            if config.ema_decay > 0.0 {
                self.averages.update(&self.session.weights(), self.step);
            }
            self.elapsed += began.elapsed().as_secs_f64();
            watch(Event::Step { step: self.step });

            let last = self.step == config.steps || stop.requested();
            let save = last || self.step.is_multiple_of(config.checkpoint_every);
            if save || self.step.is_multiple_of(config.log_every) {
                let terms = terms.read();
                self.expect_finite(&terms)?;
                if self.step.is_multiple_of(config.log_every) {
                    let rate = examples_per_second(&config, &mut reported, self.step);
                    self.report(terms, rate, watch)?;
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

    fn expect_finite(&self, terms: &[(&'static str, f64)]) -> Result<()> {
        match terms.iter().find(|(_, value)| !value.is_finite()) {
            Some((term, _)) => Err(Error::Diverged { step: self.step, term: (*term).to_owned() }),
            None => Ok(()),
        }
    }

    fn report(
        &mut self,
        terms: Vec<(&'static str, f64)>,
        examples_per_second: f64,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        self.recent.push(terms.iter().copied().collect());
        self.recent.drain(..self.recent.len().saturating_sub(REMEMBERED));
        let named: Vec<_> = terms.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        self.write("train", &named)?;
        self.write("speed", &[("examples_per_second".to_owned(), examples_per_second)])?;
        watch(Event::Report { step: self.step, terms, examples_per_second });
        for finding in self.session.findings(&self.recent) {
            self.warn(finding, watch);
        }
        Ok(())
    }

    /// Writes values to `metrics.jsonl` and to the TensorBoard file, where `group` is put before their names.
    fn write(&mut self, group: &str, values: &[(String, f64)]) -> Result<()> {
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

    /// Tells of a finding, once in a start.
    fn warn(&mut self, finding: Finding, watch: &mut dyn FnMut(Event)) {
        if !self.warned.contains(&finding.name) {
            self.warned.push(finding.name);
            watch(Event::Warning { step: self.step, finding });
        }
    }

    /// The model with averaged weights, or with the trained ones where none are averaged.
    fn model(&self) -> Result<Box<dyn Model>> {
        let device = self.device.clone().inner();
        if self.config.train.ema_decay > 0.0 {
            self.entry.load(&self.config, &self.spec, self.averages.weights(), &device)
        } else {
            self.entry.load(&self.config, &self.spec, &self.session.weights(), &device)
        }
    }

    /// Writes samples from noise that stays the same over the run.
    fn sample(&mut self, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let model = self.model()?;
        let path = match (self.spec.content.clone(), model.sampler(), model.code()) {
            (Content::Images(shape), Some(sampler), _) => self.sample_images(sampler, shape, watch)?,
            (Content::Text(shape), _, Some(code)) => self.sample_text(code, &shape)?,
            (Content::Sound(shape), _, Some(code)) => self.sample_sound(code, shape)?,
            _ => return Ok(()),
        };
        self.samples = Some(path.clone());
        watch(Event::Sampled { step: self.step, path });
        Ok(())
    }

    /// Writes a grid of images, and looks for collapse.
    fn sample_images(
        &mut self,
        sampler: &dyn Sample,
        shape: ImageShape,
        watch: &mut dyn FnMut(Event),
    ) -> Result<PathBuf> {
        let count = self.config.train.sample_count;
        let images = sample::images(sampler, SAMPLE_SEED, 0, count);
        let ImageShape { height, width, channels } = shape;
        let each: Vec<&[u8]> = images.chunks_exact(shape.dims()).collect();
        let grid = picture::grid(&each, height, width, channels, sample::columns(count));
        let grid = grid.enlarged(picture::viewing_factor(height, width));
        let path = samples::path_of(&self.run.samples_path(), self.step, "png");
        let run = self.run.info().id.clone();
        let note = sample::Note { run, step: self.step, seed: SAMPLE_SEED, first: 0, count };
        grid.write_png(&path, Some(&note.to_json()))?;
        if let Some(events) = &mut self.events {
            events.image(self.step, "samples", &grid)?;
        }
        // At the beginning all samples are grey, which is no collapse.
        if self.step >= (self.config.train.steps / 20).max(200) {
            let train = self.train.images()?;
            let data: Vec<u8> = (0..count.min(train.len())).flat_map(|i| train.image(i)).copied().collect();
            if let Some(finding) = collapse(&images, &data, shape.dims()) {
                self.warn(finding, watch);
            }
        }
        Ok(path)
    }

    /// Writes texts, one after another.
    fn sample_text(&self, code: &dyn Code, shape: &TextShape) -> Result<PathBuf> {
        let config = &self.config.train;
        let mut bytes = Vec::new();
        for index in 0..config.sample_count as u64 {
            let request = text::Request {
                prime: &[],
                length: config.sample_length,
                class: (self.spec.classes > 0).then_some((index % self.spec.classes.max(1) as u64) as u32),
                seed: SAMPLE_SEED,
                index,
                choice: Choice::default(),
            };
            let tokens = self.spec.tokens(0);
            text::write(code, shape, tokens, &request, &mut |part| bytes.extend_from_slice(part))?;
            bytes.extend_from_slice(shape.separator());
        }
        let path = samples::path_of(&self.run.samples_path(), self.step, "txt");
        run::atomic::write(&path, &bytes)?;
        Ok(path)
    }

    /// Writes clips, one after another, as a WAV file.
    fn sample_sound(&self, code: &dyn Code, shape: SoundShape) -> Result<PathBuf> {
        let config = &self.config.train;
        let classes = self.spec.classes as u64;
        let class = |index: u64| (classes > 0).then(|| (index % classes) as u32);
        let request = sound::Request {
            prime: &[],
            frames: config.sample_length,
            classes: &(0..config.sample_count as u64).map(class).collect::<Vec<_>>(),
            seed: SAMPLE_SEED,
            first: 0,
            choice: Choice::default(),
        };
        let clips = sound::make(code, shape, &request, &mut |_| ());
        let all = sound::joined(&clips, shape);
        let path = samples::path_of(&self.run.samples_path(), self.step, "wav");
        sound::write_wav(&path, shape, &all)?;
        Ok(path)
    }

    /// Measures the model on data held out, then saves it.
    fn save(&mut self, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let weights = self.session.weights();
        if let Some(name) = weights.not_finite() {
            return Err(Error::Diverged { step: self.step, term: name.to_owned() });
        }
        if let (Some(held_out), Some(likelihood)) = (&self.held_out, self.model()?.likelihood()) {
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
            train: self.session.optimizer_state().to_arrays(),
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
