//! The named values that a training step reports.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

/// The metrics of one step. Those computed by the model stay on its device until they are read.
#[derive(Debug, Default)]
pub struct Metrics(Vec<(&'static str, Metric)>);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a step has a handful of them")]
enum Metric {
    Computed(Tensor<1>),
    Known(f64),
}

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
        self.0.push((name, Metric::Computed(value)));
        self
    }

    /// Adds a metric that is a number already, such as the return of an episode. One that a step has no value for is left out.
    pub fn with_value(mut self, name: &'static str, value: f64) -> Metrics {
        self.0.push((name, Metric::Known(value)));
        self
    }

    /// Reads the metrics, in the order in which they were added.
    pub fn read(self) -> Vec<(&'static str, f64)> {
        let read = |metric| match metric {
            Metric::Computed(value) => f64::from(value.into_scalar::<f32>()),
            Metric::Known(value) => value,
        };
        self.0.into_iter().map(|(name, metric)| (name, read(metric))).collect()
    }
}
