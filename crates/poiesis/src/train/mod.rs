//! The training loop of every model: steps, schedule, averages, checkpoints, samples, metrics, interruption.

mod data;
mod ema;
mod events;
mod memory;
mod sample_steps;
mod samples;
mod start;
mod trainer;
mod watchdog;

pub use data::TrainingData;
pub use ema::Ema;
pub use events::Event;
pub use sample_steps::sample_steps;
pub use start::{Existing, Outcome, Request, Stop, train};
