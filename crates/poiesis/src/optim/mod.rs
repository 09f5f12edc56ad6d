//! Optimizers, their settings and the learning-rate schedule.

mod config;
mod historical_averaging;
mod muon;
mod optimizer;
mod schedule;

pub use config::{Decay, OptimizerConfig, OptimizerKind};
pub use historical_averaging::HistoricalAveraging;
pub use muon::{Muon, MuonConfig, orthogonal};
pub use optimizer::Optimizer;
pub use schedule::learning_rate_factor;
