//! The configuration of a run in TOML, built from defaults, a recipe and the user's settings.
//!
//! ```toml
//! model = "dcgan"
//! seed = 0
//! device = "cpu"
//! [data]        # where examples come from and how they are prepared
//! [train]       # how long, how often
//! [optimizer]   # how weights are updated
//! [dcgan]       # the model's own settings, under its name
//! ```
//!
//! Every key has a default, so a resolved configuration has every key, and a key that the defaults lack is an
//! error that names the nearest valid one. Each value remembers where it came from. Keys of earlier versions are still read.

mod check;
mod layers;
mod sections;

use serde::{Deserialize, Serialize};

pub use check::{Faults, Settings, check};
pub use layers::{Layer, Resolved, resolve};
pub use sections::{DataConfig, Precision, SampleSchedule, TrainConfig};

use crate::error::{Error, Result};
use crate::optim::OptimizerConfig;

/// A resolved configuration: every key has a value.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// Name of the model in the catalogue.
    pub model: String,
    /// Seed of all randomness of the run.
    pub seed: u64,
    /// Where it is trained, such as `cpu`.
    pub device: String,
    /// Where examples come from.
    pub data: DataConfig,
    /// How long it is trained, and what is kept of it.
    pub train: TrainConfig,
    /// How weights are updated.
    pub optimizer: OptimizerConfig,
    /// The section of the model's own settings.
    section: toml::Table,
}

/// The default configuration of a model.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Name of the model.
    pub model: &'static str,
    /// Its `[train]` section.
    pub train: TrainConfig,
    /// Its `[optimizer]` section.
    pub optimizer: OptimizerConfig,
    /// The section of its own settings, with every key.
    pub section: toml::Table,
    /// Keys of earlier versions in that section, each with the full keys that replaced it.
    pub old_keys: &'static [(&'static str, &'static [&'static str])],
}

impl RunConfig {
    /// Reads the model's own settings.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for a value of the wrong type.
    pub fn model<'de, C: Deserialize<'de>>(&self) -> Result<C> {
        toml::Value::Table(self.section.clone()).try_into().map_err(|error| wrong_type(&self.model, &error))
    }

    /// The configuration as TOML, every key written out.
    pub fn to_toml(&self) -> String {
        self.to_table().to_string()
    }

    /// Reads what [`to_toml`](RunConfig::to_toml) wrote, in this version or an earlier one; `defaults` gives those of the model that
    /// it names.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] and [`Error::InvalidValue`] when keys or values are not those of this version.
    pub fn from_toml(text: &str, defaults: impl FnOnce(&str) -> Result<Defaults>) -> Result<RunConfig> {
        let layer = Layer::parse("the run", text)?;
        let name = layer.values.get("model").and_then(toml::Value::as_str).unwrap_or_default();
        Ok(resolve(&defaults(name)?, &[layer])?.config)
    }

    fn of(defaults: &Defaults) -> RunConfig {
        RunConfig {
            model: defaults.model.to_owned(),
            seed: 0,
            device: "cpu".into(),
            data: DataConfig::default(),
            train: defaults.train.clone(),
            optimizer: defaults.optimizer.clone(),
            section: defaults.section.clone(),
        }
    }

    fn to_table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        table.insert("model".into(), self.model.clone().into());
        table.insert("seed".into(), toml::Value::Integer(self.seed as i64));
        table.insert("device".into(), self.device.clone().into());
        let mut section = |name: &str, section: Result<toml::Table, toml::ser::Error>| {
            table.extend(section.map(|section| (name.to_owned(), toml::Value::Table(section))));
        };
        section("data", toml::Table::try_from(&self.data));
        section("train", toml::Table::try_from(&self.train));
        section("optimizer", toml::Table::try_from(&self.optimizer));
        section(&self.model, Ok(self.section.clone()));
        table
    }

    fn from_table(mut table: toml::Table) -> Result<RunConfig> {
        let model: String = take(&mut table, "model")?;
        Ok(RunConfig {
            seed: take(&mut table, "seed")?,
            device: take(&mut table, "device")?,
            data: take(&mut table, "data")?,
            train: take(&mut table, "train")?,
            optimizer: take(&mut table, "optimizer")?,
            section: take(&mut table, &model)?,
            model,
        })
    }

    /// Checks every section, the model's own as `settings`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for one fault, [`Error::InvalidValues`] for several.
    pub fn check(&self, settings: &impl Settings) -> Result<()> {
        let mut faults = Faults::default();
        self.train.check(faults.section("train", to_table(&self.train)?));
        self.data.check(faults.section("data", to_table(&self.data)?));
        faults.extend(self.optimizer.faults());
        faults.of_model(&self.model, settings)?;
        faults.into_result()
    }
}

/// Writes a section of defaults as TOML.
///
/// # Errors
///
/// [`Error::InvalidValue`] when a value has no form in TOML, which is a bug.
pub fn to_table<C: Serialize>(config: &C) -> Result<toml::Table> {
    toml::Table::try_from(config).map_err(|error| {
        Error::invalid_value("defaults", "written as TOML", &error.to_string(), "report this as a bug")
    })
}

fn take<'de, T: Deserialize<'de>>(table: &mut toml::Table, key: &str) -> Result<T> {
    let value = table.remove(key).ok_or_else(|| Error::unknown("section", key, std::iter::empty()))?;
    value.try_into().map_err(|error| wrong_type(key, &error))
}

fn wrong_type(section: &str, error: &toml::de::Error) -> Error {
    let key = error.message().split('`').nth(1).unwrap_or("a value");
    let remedy = "write it like the default; a resolved configuration has every key with its value";
    Error::invalid_value(section, key, error.message().trim(), remedy)
}

#[cfg(test)]
mod tests;
