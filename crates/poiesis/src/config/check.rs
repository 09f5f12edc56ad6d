//! Checking settings, with all faults reported at once.

use std::fmt::Display;

use serde::{Serialize, de::DeserializeOwned};

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
    let mut faults = Faults { section: format!("{name}."), found: Vec::new() };
    settings.check(&mut faults);
    faults.into_result()
}

/// The faults found in a configuration.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    section: String,
    found: Vec<Fault>,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, key: &str, value: impl Display, reason: &str, remedy: &str) {
        self.found.push(Fault {
            key: format!("{}{key}", self.section),
            value: value.to_string(),
            reason: reason.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// Adds a fault for each size that is 0.
    pub fn positive(&mut self, sizes: &[(&str, usize)]) {
        for (key, size) in sizes {
            if *size == 0 {
                self.add(key, size, "a network needs at least one", "give a positive number");
            }
        }
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
