//! The named values that a training step reports.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

/// The metrics of one step, each a tensor of one value, which stays on its device until it is read.
#[derive(Debug, Default)]
pub struct Metrics(Vec<(&'static str, Tensor<1>)>);

/// The metrics of one step, read, by name.
pub type MetricValues = BTreeMap<&'static str, f64>;

impl Metrics {
    /// No metrics yet.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Adds a metric, of shape `[1]`; it is detached.
    pub fn with(mut self, name: &'static str, value: Tensor<1>) -> Metrics {
        let value = if value.is_autodiff() { value.inner() } else { value };
        self.0.push((name, value));
        self
    }

    /// Reads the metrics, in the order in which they were added.
    pub fn read(self) -> Vec<(&'static str, f64)> {
        self.0.into_iter().map(|(name, value)| (name, f64::from(value.into_scalar::<f32>()))).collect()
    }
}
