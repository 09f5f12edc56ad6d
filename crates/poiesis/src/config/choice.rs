//! Settings that were chosen from the data and the machine, each with its reason.

use serde::{Deserialize, Serialize};

use super::Layer;

/// What the origin of a chosen value begins with.
const CHOSEN: &str = "chosen: ";

/// A setting that was chosen because nobody gave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The dotted key, such as `vae.width`.
    pub key: String,
    /// The value.
    pub value: toml::Value,
    /// Why, in a few words that follow the value: `352 images are few`.
    pub reason: String,
}

impl Choice {
    /// Chooses `value` for `key`.
    pub fn new(key: &str, value: impl Into<toml::Value>, reason: impl Into<String>) -> Choice {
        Choice { key: key.to_owned(), value: value.into(), reason: reason.into() }
    }

    /// The choice as a layer of a configuration, whose origin is the reason.
    pub fn layer(&self) -> Layer {
        Layer::single(&format!("{CHOSEN}{}", self.reason), &self.key, self.value.clone())
    }
}

/// Whether a value with this origin was given by nobody: neither by a recipe nor by a file nor by a flag.
pub fn is_open(origin: &str) -> bool {
    origin == "default" || origin.starts_with(CHOSEN)
}
