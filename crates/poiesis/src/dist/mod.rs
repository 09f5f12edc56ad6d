//! Distributions: log-probabilities and divergences in nats, and sampling from given noise.

mod bernoulli;
mod discretized_logistic;
mod normal;
mod pixels;

pub use bernoulli::Bernoulli;
pub use discretized_logistic::DiscretizedLogistic;
pub use normal::{DiagonalNormal, standard_normal_log_prob};
pub use pixels::Pixels;
