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
mod choice;
mod layers;
mod sections;
mod unknown;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use check::{Faults, Settings, check};
pub use choice::{Choice, is_open};
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
    /// [`Error::InvalidValue`] for a value of the wrong type, with its key.
    pub fn model<C: Settings>(&self) -> Result<C> {
        read_section(&self.model, &self.section)
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

    /// The dotted keys of all whole numbers.
    pub fn whole_numbers(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for (section, values) in self.to_table() {
            match values {
                toml::Value::Table(values) => {
                    let numbers = values.into_iter().filter(|(_, value)| value.is_integer());
                    keys.extend(numbers.map(|(key, _)| format!("{section}.{key}")));
                }
                toml::Value::Integer(_) => keys.push(section),
                _ => {}
            }
        }
        keys
    }

    /// For each whole number of the sections `[train]`, `[data]` and that of the model that is not the default: its key, its value, and the
    /// configuration with the default instead.
    pub(crate) fn with_each_default(&self, defaults: &Defaults) -> Vec<(String, String, RunConfig)> {
        let (own, default) = (self.to_table(), RunConfig::of(defaults).to_table());
        let mut changed = Vec::new();
        for section in ["train", "data", &self.model] {
            let sections = [&own, &default].map(|table| table.get(section).and_then(toml::Value::as_table));
            let [Some(own_values), Some(default_values)] = sections else { continue };
            for (key, value) in own_values.iter().filter(|(_, value)| value.is_integer()) {
                let Some(default) = default_values.get(key).filter(|default| *default != value) else {
                    continue;
                };
                let mut table = own.clone();
                if let Some(values) = table.get_mut(section).and_then(toml::Value::as_table_mut) {
                    values.insert(key.clone(), default.clone());
                }
                if let Ok(config) = RunConfig::from_table(table) {
                    changed.push((format!("{section}.{key}"), value.to_string(), config));
                }
            }
        }
        changed
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

    /// The configuration as a table, with every key.
    pub(crate) fn to_table(&self) -> toml::Table {
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
            data: take_section(&mut table, "data")?,
            train: take_section(&mut table, "train")?,
            optimizer: take_section(&mut table, "optimizer")?,
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
    value.try_into().map_err(|error: toml::de::Error| {
        wrong_value(key, "of that type", error.message(), "write it like the default")
    })
}

fn take_section<C: Default + Serialize + DeserializeOwned>(table: &mut toml::Table, name: &str) -> Result<C> {
    read_section(name, &take(table, name)?)
}

/// Reads a section. A value of the wrong type, such as a negative size, is an error with its key.
fn read_section<C: Default + Serialize + DeserializeOwned>(name: &str, values: &toml::Table) -> Result<C> {
    let whole = match C::deserialize(toml::Value::Table(values.clone())) {
        Ok(section) => return Ok(section),
        Err(error) => error,
    };
    // Each value alone among the defaults, to find the one that is refused.
    let defaults = to_table(&C::default())?;
    for (key, value) in values {
        let mut alone = defaults.clone();
        let Some(default) = alone.insert(key.clone(), value.clone()) else { continue };
        if let Err(error) = C::deserialize(toml::Value::Table(alone)) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let remedy = format!("write one like {default}");
            return Err(wrong_value(&format!("{name}.{key}"), &value, error.message(), &remedy));
        }
    }
    Err(wrong_value(name, "of that type", whole.message(), "write it like the default"))
}

/// The error for a value of which toml says why it is refused: a choice that there is not gets those that there are.
fn wrong_value(key: &str, value: &str, said: &str, remedy: &str) -> Error {
    let said = said.trim();
    let quoted: Vec<&str> = said.split('`').skip(1).step_by(2).collect();
    match quoted.as_slice() {
        // As serde says it: unknown variant `x`, expected one of `a`, `b`.
        [value, known @ ..] if said.starts_with("unknown variant") && !known.is_empty() => {
            let choices = format!("choose one of {}", known.join(", "));
            Error::invalid_value(key, value, "there is no such choice", &choices)
        }
        // As serde says it: invalid value: integer `-3`, expected usize.
        [number] if said.starts_with("invalid value: integer") => {
            let reason = if number.starts_with('-') { "it is below 0" } else { "it is too large" };
            Error::invalid_value(key, value, reason, remedy)
        }
        _ => Error::invalid_value(key, value, said, remedy),
    }
}

#[cfg(test)]
mod tests;
