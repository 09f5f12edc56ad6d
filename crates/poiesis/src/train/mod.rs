//! The loop around every model: steps, schedule, averages, checkpoints, samples, metrics, interruption.

mod ema;
mod events;
mod muon;
mod optimizer;
mod schedule;
mod session;
mod trainer;
mod watchdog;

pub use ema::Ema;
pub use events::{Event, Finding};
pub use muon::{Muon, MuonConfig, orthogonal};
pub use optimizer::{Optimizer, OptimizerConfig, Rule};
pub use schedule::{learning_rate_factor, sample_steps};
pub use session::{Session, Terms, Values};
pub use trainer::{Existing, Outcome, Request, Stop, train};
