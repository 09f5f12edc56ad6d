//! A trained model, opened from its run.

use std::path::{Path, PathBuf};

use crate::capability::{Capability, Code, Decode, Encode, Likelihood, Model, Sample};
use crate::catalogue::{self, CATALOGUE, Entry};
use crate::config::RunConfig;
use crate::data::DataSpec;
use crate::device::device;
use crate::error::{Error, Result};
use crate::nn::Weights;
use crate::run::checkpoint::{self, Part};
use crate::run::{Run, RunInfo};

/// Which weights of a checkpoint are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Which {
    /// The averaged ones where the run kept them, else the trained ones.
    #[default]
    Averaged,
    /// The trained ones.
    Trained,
}

/// A model with the weights of a checkpoint.
pub struct Trained {
    /// The model as the catalogue knows it.
    pub entry: &'static dyn Entry,
    /// The configuration it was trained with.
    pub config: RunConfig,
    /// What the run says of itself.
    pub info: RunInfo,
    /// What its examples are.
    pub spec: DataSpec,
    /// Steps it was trained for.
    pub step: u64,
    /// Whether the weights are averages.
    pub averaged: bool,
    /// Where it lives.
    pub device: burn::tensor::Device,
    /// What was passed over while looking for the checkpoint.
    pub notes: Vec<String>,
    path: PathBuf,
    weights: Weights,
    model: Box<dyn Model>,
}

impl Trained {
    /// Opens the newest checkpoint of the run in `path`, or that of `step`, on the device called `place`.
    ///
    /// # Errors
    ///
    /// [`Error::NotARun`], [`Error::NoCheckpoint`], [`Error::CheckpointDamaged`] and
    /// [`Error::CheckpointOfAnotherModel`], as their names say.
    pub fn open(path: &Path, step: Option<u64>, which: Which, place: &str) -> Result<Trained> {
        let run = Run::open(path)?;
        let config = RunConfig::from_toml(&run.config()?)?;
        let entry = catalogue::find(&config.model)?;
        let spec = run.info().data.spec()?;
        let device = device(place)?;
        let averaged = which == Which::Averaged && config.train.ema_decay > 0.0;
        let part = if averaged { Part::Ema } else { Part::Model };
        let folder = run.checkpoints_path();
        let (state, arrays, place, notes) = match step {
            Some(step) => {
                let place = folder.join(checkpoint::folder_name(step));
                let (state, arrays) = checkpoint::read_part(&place, part)?;
                (state, arrays, place, Vec::new())
            }
            None => {
                let found = checkpoint::newest_part(&folder, part)?;
                let note = |f: checkpoint::Finding| format!("{}: {}", f.path.display(), f.reason);
                let (state, arrays) = found.content;
                (state, arrays, found.path, found.findings.into_iter().map(note).collect())
            }
        };
        state.expect_model(entry.name(), &place)?;
        let weights = Weights::from_arrays(arrays, &device);
        let model = entry.load(&config, &spec, &weights, &device)?;
        let info = run.info().clone();
        let path = path.to_owned();
        Ok(Trained {
            entry,
            config,
            info,
            spec,
            step: state.step,
            averaged,
            device,
            notes,
            path,
            weights,
            model,
        })
    }

    /// A fingerprint of all that decides what the model computes: its name, its settings, the kind of its data and its
    /// weights; blake3 in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.config.model_toml().as_bytes());
        hasher.update(serde_json::json!(self.spec).to_string().as_bytes());
        for (name, array) in self.weights.to_arrays() {
            hasher.update(format!("{name} {:?}", array.shape).as_bytes());
            hasher.update(bytemuck::cast_slice(&array.data));
        }
        hasher.finalize().to_hex().to_string()
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

    /// The run's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it draws new images.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn sampler(&self) -> Result<&dyn Sample> {
        self.model.sampler().ok_or_else(|| self.cannot(Capability::Sample))
    }

    /// How it turns latents into images.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn decoder(&self) -> Result<&dyn Decode> {
        self.model.decoder().ok_or_else(|| self.cannot(Capability::Decode))
    }

    /// How it turns images into latents.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn encoder(&self) -> Result<&dyn Encode> {
        self.model.encoder().ok_or_else(|| self.cannot(Capability::Encode))
    }

    /// How it weighs examples.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn likelihood(&self) -> Result<Likelihood<'_>> {
        self.model.likelihood().ok_or_else(|| self.cannot(Capability::Likelihood))
    }

    /// The laws of its values, one given those before it.
    ///
    /// # Errors
    ///
    /// [`Error::MissingCapability`] with the models that can.
    pub fn code(&self) -> Result<&dyn Code> {
        self.model.code().ok_or_else(|| self.cannot(Capability::Code))
    }

    fn cannot(&self, capability: Capability) -> Error {
        let able = CATALOGUE.iter().filter(|entry| entry.capabilities().contains(&capability));
        Error::MissingCapability {
            model: self.entry.name().to_owned(),
            capability: capability.name().to_owned(),
            models_that_have_it: able.map(|entry| entry.name().to_owned()).collect(),
        }
    }
}
