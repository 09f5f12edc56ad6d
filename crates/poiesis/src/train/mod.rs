//! The training loop of every model: steps, schedule, averages, checkpoints, samples, metrics, interruption.

mod data;
mod ema;
mod events;
mod memory;
mod rehearsal;
mod sample_steps;
mod samples;
mod start;
mod summary;
mod time;
mod trainer;
mod watchdog;

pub use data::TrainingData;
pub use ema::Ema;
pub use events::Event;
pub use memory::expect_memory;
pub use rehearsal::{Rehearsal, rehearse};
pub use sample_steps::sample_steps;
pub use start::{Existing, Outcome, Request, Stop, train};
pub use summary::{Overfitting, Summary};
pub use time::{Remaining, Spent};
