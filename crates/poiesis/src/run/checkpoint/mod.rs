//! Checkpoints: folders `step-NNNNNNNNN` of safetensors that appear whole.
//!
//! A checkpoint is written to `step-NNNNNNNNN.partial`: three files of arrays, `state.json`, and last `COMPLETE`, which
//! has the size and BLAKE3 checksum of each. Every file is synced before the folder is renamed. So a kill or a full disk
//! leaves the older checkpoints as they were, and a folder that has its name is complete. The bytes depend on the content
//! alone: two runs that computed the same numbers have the same files.
//!
//! `state.json` also says which checkpoint is the best so far, so that the newest one always knows, and a kill between two files
//! cannot make them disagree.

mod best;
mod folder;
mod manifest;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use crate::nn::{Array, Arrays};

pub use best::{Best, BestSoFar, Counts};
pub use folder::{Finding, Retention, Survey, folder_name, prune, set_aside_all_but, survey, sweep};
pub use read::{Found, expect_numbers, newest, newest_part, newest_state, read, read_part};
pub use write::save;

/// Everything that is needed to resume training exactly.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// The weights being trained.
    pub model: Arrays,
    /// Their moving averages; empty where none are kept.
    pub ema: Arrays,
    /// What only training needs, such as the moments of the optimizers.
    pub train: Arrays,
    /// The state that is not arrays.
    pub state: State,
}

/// The part of a checkpoint that is not arrays: `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The model's name in the catalogue.
    pub model: String,
    /// Steps done.
    pub step: u64,
    /// Integers by name; a 64-bit float is stored as its bits, so that it is read back exactly.
    pub scalars: BTreeMap<String, u64>,
}

/// One of the three files of arrays in a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The weights being trained: `model.safetensors`.
    Model,
    /// Their moving averages: `ema.safetensors`.
    Ema,
    /// What only training needs: `train.safetensors`.
    Train,
}

impl Part {
    /// All three, in the order in which they are written.
    pub const ALL: [Self; 3] = [Self::Model, Self::Ema, Self::Train];

    /// The part's name: "model", "ema" or "train".
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Ema => "ema",
            Self::Train => "train",
        }
    }

    /// The file's name, such as `ema.safetensors`.
    pub fn file_name(self) -> String {
        format!("{}.safetensors", self.name())
    }
}

impl State {
    /// Checks that the state read from `path` belongs to the model `expected`.
    ///
    /// # Errors
    /// [`Error::CheckpointOfAnotherModel`].
    pub fn expect_model(&self, expected: &str, path: &Path) -> Result<()> {
        if self.model == expected {
            return Ok(());
        }
        Err(Error::CheckpointOfAnotherModel {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found: self.model.clone(),
        })
    }
}

const STATE: &str = "state.json";
const COMPLETE: &str = "COMPLETE";
const PARTIAL: &str = ".partial";
const REMOVED: &str = ".removed";
