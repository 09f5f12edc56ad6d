//! A trained model, opened from its run.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use poiesis_collect::{Dataset, Progress};
use serde::{Deserialize, Serialize};

use crate::abilities::{
    Abilities, Ability, Act, Autoregressive, Coding, Encoder, Features, Latents, Likelihood, Objects, Refusal,
};
use crate::catalogue::{self, CATALOGUE};
use crate::config::RunConfig;
use crate::data::{self, DataSpec, Places};
use crate::device::device;
use crate::error::{Error, Result};
use crate::generate::{self, Chunk, Request, Sink, StepsSink, Turns};
use crate::media::Media;
use crate::model::{Entry, TrainedModel};
use crate::nn::{Arrays, StateDict};
use crate::run::checkpoint::{self, Part};
use crate::run::{Run, RunInfo};

/// Which weights of a checkpoint are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Weights {
    /// The moving averages, where the run kept them, else the trained ones.
    #[default]
    #[serde(rename = "averaged")]
    Ema,
    /// The trained ones.
    #[serde(rename = "trained")]
    Raw,
}

impl Weights {
    /// Their name, in one word.
    pub fn name(self) -> &'static str {
        match self {
            Weights::Ema => "averaged",
            Weights::Raw => "trained",
        }
    }
}

/// Options for opening a run; made by [`Trained::builder`].
///
/// ```no_run
/// use poiesis::{Trained, Weights};
///
/// let trained = Trained::builder().step(5000).weights(Weights::Raw).device("vulkan:1").open("runs/x")?;
/// # Ok::<(), poiesis::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[must_use = "nothing is opened before `open`"]
pub struct Open {
    step: Option<u64>,
    best: bool,
    weights: Weights,
    device: String,
}

impl Default for Open {
    fn default() -> Open {
        Open { step: None, best: false, weights: Weights::default(), device: "cpu".into() }
    }
}

impl Open {
    /// Uses the checkpoint of this step instead of the newest.
    pub fn step(self, step: u64) -> Open {
        Open { step: Some(step), best: false, ..self }
    }

    /// Uses the checkpoint with the best value of the metric that training measures on held-out examples, instead of the newest.
    pub fn best(self) -> Open {
        Open { step: None, best: true, ..self }
    }

    /// Uses these weights; the default is [`Weights::Ema`].
    pub fn weights(self, weights: Weights) -> Open {
        Open { weights, ..self }
    }

    /// Computes on the device of this name, as [`crate::device::device`] reads it; the default is `cpu`.
    pub fn device(self, device: &str) -> Open {
        Open { device: device.to_owned(), ..self }
    }

    /// Opens the model of the run in `path`.
    ///
    /// # Errors
    ///
    /// [`Error::NotARun`], [`Error::NoCheckpoint`], [`Error::NoSuchCheckpoint`], [`Error::NoBestCheckpoint`],
    /// [`Error::CheckpointDamaged`], [`Error::CheckpointOfAnotherModel`] and [`Error::CheckpointMismatch`], as their names say; [`Error::Malformed`] for a file of the
    /// run that holds something else; [`Error::NoDevice`] for the device.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Trained> {
        let path = path.as_ref();
        let run = Run::open(path)?;
        let text = run.config()?;
        let entry_and_config = || -> Result<(&'static dyn Entry, RunConfig)> {
            let config = catalogue::read_config(&text)?;
            let entry = catalogue::find(&config.model)?;
            entry.check(&config)?;
            Ok((entry, config))
        };
        let (entry, config) = entry_and_config().map_err(|error| error.in_file(&run.config_path()))?;
        let spec = run.info().data.spec()?;
        let device = device(&self.device)?;
        let averaged = self.weights == Weights::Ema && config.train.ema_decay > 0.0;
        let part = if averaged { Part::Ema } else { Part::Model };
        let found = match self.step {
            _ if self.best => run.best_part(part)?,
            Some(step) => run.part_of(step, part)?,
            None => checkpoint::newest_part(&run.checkpoints_path(), part)?,
        };
        let note = |f: checkpoint::Finding| format!("{}: {}", f.path.display(), f.reason);
        let notes = found.findings.into_iter().map(note).collect();
        let ((state, arrays), place) = (found.content, found.path);
        state.expect_model(entry.name(), &place)?;
        checkpoint::expect_numbers(&place, part, &arrays)?;
        let weights = StateDict::from_arrays(arrays, &device);
        let model =
            entry.load(&config, &spec, &weights, &device).map_err(|error| error.of_checkpoint(&place))?;
        let info = run.info().clone();
        let settings = own_settings(&text, entry.name());
        Ok(Trained {
            entry,
            config,
            info,
            spec,
            step: state.step,
            averaged,
            device,
            notes,
            path: path.to_owned(),
            settings,
            weights,
            model,
        })
    }
}

/// The model's name and its own settings as they are saved in the run.
fn own_settings(config: &str, model: &str) -> String {
    let mut table: toml::Table = toml::from_str(config).unwrap_or_default();
    let section: toml::Table =
        table.remove(model).and_then(|section| section.try_into().ok()).unwrap_or_default();
    format!("model = {model:?}\n{section}")
}

/// A model with the weights of a checkpoint.
pub struct Trained {
    /// The model as the catalogue knows it.
    pub entry: &'static dyn Entry,
    /// The configuration it was trained with.
    pub config: RunConfig,
    /// The run's `run.json`.
    pub info: RunInfo,
    /// What its examples are.
    pub spec: DataSpec,
    /// Steps it was trained for.
    pub step: u64,
    /// Whether the weights are averages.
    pub averaged: bool,
    /// The device it is on.
    pub device: Device,
    /// What was skipped while looking for the checkpoint.
    pub notes: Vec<String>,
    path: PathBuf,
    settings: String,
    weights: StateDict,
    model: Box<dyn TrainedModel>,
}

impl Trained {
    /// Opens the model of the run in `path`: its newest checkpoint, averaged weights where the run kept them, on the CPU.
    ///
    /// ```no_run
    /// let trained = poiesis::Trained::open("runs/x")?;
    /// # Ok::<(), poiesis::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Open::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Trained> {
        Open::default().open(path)
    }

    /// Opens a model with other options than [`Trained::open`].
    pub fn builder() -> Open {
        Open::default()
    }

    /// Which weights are used: averages only where the run kept them.
    pub fn weights(&self) -> Weights {
        if self.averaged { Weights::Ema } else { Weights::Raw }
    }

    /// Opens the data that the run was trained on, and checks that they have not changed. They are opened where they were, or
    /// at `source` if they have moved; `progress` receives the progress of packing raw data.
    ///
    /// # Errors
    ///
    /// [`Error::RunData`] when they are not where they were, the errors of [`data::open()`] for `source`,
    /// [`Error::DataChanged`].
    pub fn dataset(
        &self,
        source: Option<&str>,
        places: &Places,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Dataset> {
        let mut config = self.config.data.clone();
        if let Some(source) = source {
            source.clone_into(&mut config.source);
        }
        let dataset = data::open(&config, places, progress).map_err(|reason| match source {
            Some(_) => reason,
            None => Error::RunData { run: self.path.clone(), reason: Box::new(reason) },
        })?;
        let (expected, found) = (&self.info.data.fingerprint, &dataset.card().fingerprint);
        if expected == found {
            return Ok(dataset);
        }
        let (expected, found) = (expected.clone(), found.clone());
        Err(Error::DataChanged { run: self.path.clone(), expected, found, sizes: String::new() })
    }

    /// A fingerprint of everything that decides what the model computes: its name, its settings, the kind of its data and its
    /// weights. BLAKE3 in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.settings.as_bytes());
        hasher.update(serde_json::json!(self.spec).to_string().as_bytes());
        for (name, array) in self.weights.to_arrays() {
            hasher.update(format!("{name} {:?}", array.shape).as_bytes());
            hasher.update(bytemuck::cast_slice(&array.data));
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Its weights, copied to memory.
    pub(crate) fn arrays(&self) -> Arrays {
        self.weights.to_arrays()
    }

    /// The number of a class of the data, given by its name or its number.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] when the data have no such class.
    pub fn class(&self, class: &str) -> Result<u32> {
        let names = &self.info.data.classes;
        let named = names.iter().position(|name| name == class);
        let numbered = || class.parse().ok().filter(|&number: &usize| number < names.len());
        let found = named.or_else(numbered);
        found
            .map(|number| number as u32)
            .ok_or_else(|| Error::unknown("class", class, names.iter().map(String::as_str)))
    }

    /// How many classes it is conditioned on; 0 where no class can be asked for.
    pub fn num_classes(&self) -> usize {
        generate::num_classes(&self.abilities(), &self.spec)
    }

    /// What takes turns where a request names no class.
    pub fn turns(&self) -> Turns {
        generate::turns(&self.abilities(), &self.spec)
    }

    /// The run's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it can do.
    pub fn abilities(&self) -> Abilities<'_> {
        self.model.abilities()
    }

    /// Generates the examples that `request` asks for; see [`generate::generate`].
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] when the model cannot sample, and the errors of [`generate::generate`].
    pub fn generate(&self, request: &Request, sink: &mut Sink) -> Result<()> {
        let abilities = self.abilities();
        if !generate::can_generate(&abilities) {
            return Err(self.cannot(Ability::Sample));
        }
        generate::generate(&abilities, &self.spec, &self.device, request, sink)
    }

    /// The examples that `request` asks for, all at once; see [`generate`](Trained::generate).
    ///
    /// # Errors
    ///
    /// As [`generate`](Trained::generate).
    pub fn generate_all(&self, request: &Request) -> Result<Vec<Media>> {
        let mut all = Vec::new();
        self.generate(request, &mut |_, chunk| {
            if let Chunk::Whole(media) = chunk {
                all.push(media);
            }
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// The images that `request` asks for after each step in which they are made; see [`generate::steps`].
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can show them, and the errors of [`generate::generate`].
    pub fn steps(&self, request: &Request, sink: &mut StepsSink) -> Result<()> {
        let abilities = self.abilities();
        if abilities.steps.is_none() {
            return Err(self.cannot(Ability::Steps));
        }
        generate::steps(&abilities, &self.spec, &self.device, request, sink)
    }

    /// Draws the images of `seed` with the numbers `indices`: 8-bit, concatenated.
    ///
    /// # Errors
    ///
    /// As [`generate`](Trained::generate), and [`Error::InvalidValue`] for a model of other data than images.
    pub fn images(&self, seed: u64, indices: Range<u64>) -> Result<Vec<u8>> {
        self.spec.images()?;
        let abilities = self.abilities();
        if !generate::can_generate(&abilities) {
            return Err(self.cannot(Ability::Sample));
        }
        generate::images(&abilities, &self.spec, &self.device, seed, indices)
    }

    /// Its decoder of latents.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn latents(&self) -> Result<&dyn Latents> {
        self.abilities().latents.ok_or_else(|| self.cannot(Ability::Decode))
    }

    /// Its encoder.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn encoder(&self) -> Result<&dyn Encoder> {
        self.abilities().encoder.ok_or_else(|| self.cannot(Ability::Encode))
    }

    /// Its likelihood.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn likelihood(&self) -> Result<Likelihood<'_>> {
        self.abilities().likelihood.ok_or_else(|| self.cannot(Ability::Likelihood))
    }

    /// The distribution of each value given those before it.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn autoregressive(&self) -> Result<&dyn Autoregressive> {
        self.abilities().autoregressive.ok_or_else(|| self.cannot(Ability::Complete))
    }

    /// What it compresses examples with.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can; [`Error::CannotCompress`] when it lacks a part of what compressing needs, has
    /// settings with which it cannot, or is not on the CPU, where numbers can be computed again to the last bit.
    pub fn coding(&self) -> Result<Coding<'_>> {
        let abilities = self.abilities();
        if let Some(model) = abilities.autoregressive {
            return Ok(Coding::Values(model));
        }
        let refuse = |Refusal { reason, remedy }| Error::CannotCompress {
            model: self.entry.name().to_owned(),
            reason,
            remedy,
        };
        let cannot = self.cannot(Ability::Compress);
        match abilities.bits_back.map(|model| (model, model.refusal())) {
            Some((_, Some(refusal))) => Err(refuse(refusal)),
            Some((model, None)) if self.device == Device::flex() => Ok(Coding::Latents(model)),
            Some(_) => Err(refuse(Refusal {
                reason: "a GPU need not compute the same numbers again".into(),
                remedy: "compute on the CPU".into(),
            })),
            None if abilities.likelihood.is_some() => Err(refuse(Refusal {
                reason: "the likelihood of whole examples is not enough; it takes the distribution of each value, or the posterior of \
                         latents and the distribution of an image given them"
                    .into(),
                remedy: cannot.hint().unwrap_or_default(),
            })),
            None => Err(cannot),
        }
    }

    /// Its features of images.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn features(&self) -> Result<&dyn Features> {
        self.abilities().features.ok_or_else(|| self.cannot(Ability::Features))
    }

    /// How it finds the objects of images.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn objects(&self) -> Result<&dyn Objects> {
        self.abilities().objects.ok_or_else(|| self.cannot(Ability::Objects))
    }

    /// How it acts in environments.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn agent(&self) -> Result<&dyn Act> {
        self.abilities().act.ok_or_else(|| self.cannot(Ability::Act))
    }

    /// The same model with weights that were drawn and never trained, to compare with.
    ///
    /// # Errors
    ///
    /// Those of [`Entry::untrained`].
    pub fn untrained(&self, seed: u64) -> Result<Box<dyn TrainedModel>> {
        self.entry.untrained(&self.config, &self.spec, seed, &self.device)
    }

    /// The same model for gradients by what goes into it, such as latents: on a device with autodiff, where its weights are constants.
    ///
    /// # Errors
    ///
    /// Those of [`Entry::load`].
    pub fn differentiable(&self) -> Result<Box<dyn TrainedModel>> {
        self.entry.load(&self.config, &self.spec, &self.weights, &self.device.clone().autodiff())
    }

    /// The error for an ability that the model does not have, with the models that do.
    pub(crate) fn cannot(&self, ability: Ability) -> Error {
        self.cannot_without(ability, &[ability])
    }

    /// The same where each ability of `enough` is enough for it.
    pub(crate) fn cannot_without(&self, ability: Ability, enough: &[Ability]) -> Error {
        let is_able = |entry: &&&dyn Entry| enough.iter().any(|one| entry.about().abilities.contains(one));
        let able = CATALOGUE.iter().filter(is_able);
        Error::MissingCapability {
            model: self.entry.name().to_owned(),
            capability: ability.verb().to_owned(),
            models_that_have_it: able.map(|entry| entry.name().to_owned()).collect(),
        }
    }
}
