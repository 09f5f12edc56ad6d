//! The events that the training loop reports.

use std::path::PathBuf;

use crate::evaluate::Progress;
use crate::model::Warning;

/// Something that happened during training.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first step is about to begin.
    Started {
        /// The run's folder.
        run: PathBuf,
        /// Steps already done.
        step: u64,
        /// Total number of steps.
        steps: u64,
        /// Parameters of each network.
        parameters: Vec<(String, usize)>,
        /// What was skipped while looking for the newest checkpoint, and what has changed since the run was made.
        notes: Vec<String>,
    },
    /// The first step of this start is done, so the memory that training needs is known.
    Memory {
        /// The process's peak memory so far, in bytes.
        peak: u64,
    },
    /// Something other than a step is being done: drawing samples, measuring the held-out metric, saving.
    Working {
        /// Steps done.
        step: u64,
        /// What is being done, and how far it is.
        progress: Progress,
    },
    /// A step is done.
    Step {
        /// Steps done.
        step: u64,
    },
    /// The metrics of the last step were read.
    Report {
        /// Steps done.
        step: u64,
        /// The metrics by name, in the model's order.
        metrics: Vec<(&'static str, f64)>,
        /// Examples per second of steps since the last report.
        examples_per_second: f64,
        /// The same in what the data are counted in.
        per_second: f64,
        /// What that is: `images`, `tokens`, `samples` of sound, `values` of images, `points`, `steps` of environments.
        unit: &'static str,
        /// Seconds of the run so far, over all starts and whatever they were spent on.
        elapsed: f64,
        /// Seconds that are left, with samples, measurements and checkpoints.
        left: f64,
    },
    /// A held-out metric was measured.
    Evaluated {
        /// Steps done.
        step: u64,
        /// Its name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Whether it is the best so far, so that the checkpoint of this step is kept as the best one.
        better: bool,
    },
    /// Samples were written.
    Sampled {
        /// Steps done.
        step: u64,
        /// Their file.
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
        /// What looks wrong, and what to try.
        warning: Warning,
    },
}
