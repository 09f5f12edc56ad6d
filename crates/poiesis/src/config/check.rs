//! Checking settings, with all faults reported at once.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::{Serialize, de::DeserializeOwned};

use super::to_table;
use crate::error::{Error, Fault, Result};

/// A section of the configuration: a model's own settings.
pub trait Settings: Default + Serialize + DeserializeOwned {
    /// Adds to `faults` the settings that are invalid for any data.
    fn check(&self, faults: &mut Faults) {
        let _ = faults;
    }
}

/// Checks the section called `name`.
///
/// # Errors
///
/// [`Error::InvalidValue`] for one fault, [`Error::InvalidValues`] for several.
pub fn check(name: &str, settings: &impl Settings) -> Result<()> {
    let mut faults = Faults::default();
    faults.of_model(name, settings)?;
    faults.into_result()
}

/// The faults found in a configuration.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    section: String,
    values: toml::Table,
    found: Vec<Fault>,
}

/// The largest size within a network. Products of a few of them can still be counted.
const LARGEST: i64 = 1 << 20;
/// An end of a range from here on only keeps numbers from overflowing.
const HUGE: i64 = LARGEST;

/// The largest number of layers.
const DEEPEST: i64 = 1000;

impl Faults {
    /// Makes `name`, with these values, the section that faults are added for.
    pub fn section(&mut self, name: &str, values: toml::Table) -> &mut Faults {
        self.section = format!("{name}.");
        self.values = values;
        self
    }

    /// Adds faults with full keys.
    pub fn extend(&mut self, faults: Vec<Fault>) {
        self.found.extend(faults);
    }

    /// Adds a fault.
    pub fn add(&mut self, key: &str, value: impl Display, reason: &str, remedy: &str) {
        self.found.push(Fault {
            key: format!("{}{key}", self.section),
            value: value.to_string(),
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// Adds a fault for each key of the section, a whole number, whose value is refused.
    ///
    /// # Panics
    ///
    /// When the section has no whole number of that name.
    pub fn numbers(&mut self, keys: &[&str], fits: impl Fn(i64) -> bool, reason: &str, remedy: &str) {
        for key in keys {
            let value = self.values.get(*key).and_then(toml::Value::as_integer);
            let Some(value) = value else { panic!("no whole number is called `{}{key}`", self.section) };
            if !fits(value) {
                self.add(key, value, reason, remedy);
            }
        }
    }

    /// Adds a fault for each key of the section, a whole number, that is out of range; panics as [`numbers`](Faults::numbers) does.
    pub fn within(&mut self, keys: &[&str], range: RangeInclusive<i64>) {
        let (least, most) = (*range.start(), *range.end());
        // A limit that only keeps numbers from overflowing is named where it is met.
        let (low, high) = match most < HUGE {
            true => {
                let both = format!("give a whole number from {least} to {most}");
                (both.clone(), both)
            }
            false => (format!("give a whole number of at least {least}"), format!("give at most {most}")),
        };
        self.numbers(keys, |value| value >= least, "it is too small", &low);
        self.numbers(keys, |value| value <= most, "it is too large", &high);
    }

    /// The range of sizes that are at least 1.
    pub fn positive(&mut self, keys: &[&str]) {
        self.within(keys, 1..=LARGEST);
    }

    /// The same for each size in a list.
    ///
    /// # Panics
    ///
    /// When the section has no list of whole numbers of that name.
    pub fn positive_each(&mut self, keys: &[&str]) {
        for key in keys {
            let sizes = self.values.get(*key).and_then(toml::Value::as_array);
            let Some(sizes) = sizes else { panic!("no list is called `{}{key}`", self.section) };
            let is_size =
                |size: &toml::Value| size.as_integer().is_some_and(|size| (1..=LARGEST).contains(&size));
            let wrong = sizes.iter().find(|size| !is_size(size)).map(ToString::to_string);
            let too_many = (sizes.len() as i64 > DEEPEST).then(|| format!("{} sizes", sizes.len()));
            if let Some(value) = wrong.or(too_many) {
                let remedy = format!("give up to {DEEPEST} sizes from 1 to {LARGEST}");
                self.add(key, value, "it is a list of layer sizes", &remedy);
            }
        }
    }

    /// The range of numbers of layers, of which there is at least one.
    pub fn depths(&mut self, keys: &[&str]) {
        self.within(keys, 1..=DEEPEST);
    }

    /// The range of numbers of layers that a network can do without.
    pub fn optional_depths(&mut self, keys: &[&str]) {
        self.within(keys, 0..=DEEPEST);
    }

    /// Adds a fault for each whole number of the section that is larger than any size, unless its key has one already.
    fn limit_sizes(&mut self) {
        let is_new = |key: &String| {
            let full = format!("{}{key}", self.section);
            !self.found.iter().any(|fault| fault.key == full)
        };
        let numbers = self.values.iter().filter(|(_, value)| value.is_integer());
        let keys: Vec<String> = numbers.map(|(key, _)| key.clone()).filter(is_new).collect();
        keys.iter().for_each(|key| self.within(&[key], 0..=LARGEST));
    }

    /// Adds the faults of a model's own section.
    pub(super) fn of_model(&mut self, name: &str, settings: &impl Settings) -> Result<()> {
        settings.check(self.section(name, to_table(settings)?));
        self.limit_sizes();
        Ok(())
    }

    /// Adds a fault for levels of an image's values that a byte does not have; panics as [`numbers`](Faults::numbers) does.
    pub fn levels_of_bytes(&mut self, key: &str) {
        let fits = |levels| (2..=256).contains(&levels);
        self.numbers(&[key], fits, "a value of an image is a byte", "give 2 to 256");
    }

    /// Adds a fault for a dropout that is not in [0, 1).
    pub fn dropout(&mut self, key: &str, part: f64) {
        if !(0.0..1.0).contains(&part) {
            self.add(key, part, "it is a fraction of the values, and some must be left", "give 0 to 0.9");
        }
    }

    /// Returns all faults as an error, if there are any.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for one fault, [`Error::InvalidValues`] for several.
    pub fn into_result(mut self) -> Result<()> {
        match self.found.len() {
            0 => Ok(()),
            1 => {
                let Fault { key, value, reason, remedy } = self.found.remove(0);
                Err(Error::InvalidValue { key, value, reason, remedy })
            }
            _ => Err(Error::InvalidValues { faults: self.found }),
        }
    }
}
