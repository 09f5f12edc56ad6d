//! What the loop tells whoever watches.

use std::path::PathBuf;

/// Something that happened in training.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first step is about to begin.
    Started {
        /// The run's folder.
        run: PathBuf,
        /// Steps already done.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Parameters of each network.
        parameters: Vec<(&'static str, usize)>,
        /// About how much memory training takes, in bytes.
        memory: u64,
        /// What was passed over while looking for the checkpoint to go on from.
        notes: Vec<String>,
    },
    /// A step is done.
    Step {
        /// Steps done.
        step: u64,
    },
    /// The terms of the last step were read.
    Report {
        /// Steps done.
        step: u64,
        /// The terms by name, in the model's order.
        terms: Vec<(&'static str, f64)>,
        /// Examples seen in a second, since the last report.
        examples_per_second: f64,
    },
    /// A number was measured on data held out.
    Evaluated {
        /// Steps done.
        step: u64,
        /// Its name.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// A grid of samples was written.
    Sampled {
        /// Steps done.
        step: u64,
        /// The picture.
        path: PathBuf,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Steps done.
        step: u64,
        /// Its folder.
        path: PathBuf,
    },
    /// Something looks wrong.
    Warning {
        /// Steps done.
        step: u64,
        /// What, and what to do.
        finding: Finding,
    },
}

/// Something that looks wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// A name to look it up by, such as `discriminator-saturated`.
    pub name: &'static str,
    /// What was seen.
    pub what: String,
    /// What to try.
    pub remedy: String,
}
