//! The types that describe operations. Public functions, default implementations and Flex implementations all use them; they
//! depend on nothing else in the crate.

mod activation;
mod attention;
mod conv_lstm;
mod logistic_mixture;
mod normalized;
mod optimizer;

pub use activation::Activation;
pub use attention::AttentionOptions;
pub use conv_lstm::Lines;
pub use logistic_mixture::Grid;
pub(crate) use logistic_mixture::{LEVELS, ParameterLayout};
pub use normalized::Normalized;
pub use optimizer::{OptimizerKind, UpdateStep, Updated};
