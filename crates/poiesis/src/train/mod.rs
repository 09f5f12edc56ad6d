//! The training loop of every model: steps, schedule, averages, checkpoints, samples, metrics, interruption.

mod choose;
mod data;
mod ema;
mod epochs;
mod events;
mod held_out;
mod initial;
mod memory;
mod rehearsal;
mod sample_steps;
mod samples;
mod start;
mod summary;
mod time;
mod trainer;
mod watchdog;

pub use choose::{Chosen, MINUTES, Trial, choose};
pub use data::TrainingData;
pub use ema::Ema;
pub use epochs::Epochs;
pub use events::Event;
pub use held_out::expect_measured;
pub use initial::InitialWeights;
pub use memory::expect_memory;
pub use rehearsal::{Rehearsal, rehearse};
pub use sample_steps::sample_steps;
pub use start::{Existing, Outcome, Request, Stop, train};
pub use summary::{Overfitting, Summary};
pub use time::{Remaining, Spent};
