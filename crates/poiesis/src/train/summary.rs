//! A summary of a run: its last measures, and whether it overfits.

use serde::Serialize;

use crate::run::metrics::{HELD_OUT, Row};

/// How many measurements in a row must be worse than the best one.
const WORSE: usize = 3;

/// By what part of the best value they must be worse.
const RISE: f64 = 0.01;

/// The last measures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The metrics of training by name, as they were last reported.
    pub training: Vec<(String, f64)>,
    /// The held-out metric, as it was last measured.
    pub validation: Option<(String, f64)>,
    /// Set where training and held-out metrics have parted.
    pub overfitting: Option<Overfitting>,
}

/// The held-out metric has become worse while the same metric of training became better.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overfitting {
    /// The step after which the held-out metric was best.
    pub best_step: u64,
    /// Its value then.
    pub best: f64,
    /// Its last value.
    pub last: f64,
}

/// A measurement of the held-out metric.
struct Measurement {
    step: u64,
    value: f64,
    /// The mean of the same metric of training since the measurement before.
    training: f64,
}

impl Summary {
    /// Sums up the metrics of a run.
    pub fn of(rows: &[Row]) -> Summary {
        let is_held_out = |row: &&Row| row.values.iter().any(|(name, _)| name.starts_with(HELD_OUT));
        let training = rows.iter().rev().find(|row| !is_held_out(row)).map(|row| row.values.clone());
        let last = rows.iter().rev().find(is_held_out).and_then(|row| row.values.first().cloned());
        let overfitting = last.as_ref().and_then(|(name, _)| overfitting(&measurements(rows, name)));
        Summary { training: training.unwrap_or_default(), validation: last, overfitting }
    }
}

fn measurements(rows: &[Row], name: &str) -> Vec<Measurement> {
    let of_training = name.trim_start_matches(HELD_OUT);
    let (mut all, mut sum, mut count) = (Vec::new(), 0.0, 0.0);
    for row in rows {
        if let Some(loss) = row.value(of_training) {
            (sum, count) = (sum + loss, count + 1.0);
        }
        if let Some(value) = row.value(name) {
            all.push(Measurement { step: row.step, value, training: sum / count });
            (sum, count) = (0.0, 0.0);
        }
    }
    all
}

/// The last three measurements are each worse than the best by more than one percent, and the loss of training is lower
/// than it was at the best. Lower is better for all of these metrics.
fn overfitting(all: &[Measurement]) -> Option<Overfitting> {
    let best = all.iter().min_by(|a, b| a.value.total_cmp(&b.value))?;
    let recent = all.get(all.len().checked_sub(WORSE)?..)?;
    let last = recent.last()?;
    let is_worse = |at: &Measurement| at.step > best.step && at.value - best.value > RISE * best.value.abs();
    let parted = recent.iter().all(is_worse) && last.training < best.training;
    parted.then_some(Overfitting { best_step: best.step, best: best.value, last: last.value })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with these losses of training, each followed by a measurement.
    fn run(training: &[f64], held_out: &[f64]) -> Summary {
        let row = |step: usize, name: &str, value: f64| Row {
            step: step as u64,
            elapsed: 0.0,
            values: vec![(name.into(), value)],
        };
        let both = |(i, (&loss, &value)): (usize, (&f64, &f64))| {
            [row(10 * i + 5, "nll", loss), row(10 * i + 10, "validation_nll", value)]
        };
        let rows: Vec<Row> = training.iter().zip(held_out).enumerate().flat_map(both).collect();
        Summary::of(&rows)
    }

    #[test]
    fn the_last_measures_are_shown() {
        let summary = run(&[3.0, 2.0], &[3.5, 2.5]);
        assert_eq!(summary.training, [("nll".to_owned(), 2.0)]);
        assert_eq!(summary.validation, Some(("validation_nll".to_owned(), 2.5)));
        assert_eq!(summary.overfitting, None);
        assert_eq!(Summary::of(&[]), Summary::default());
    }

    #[test]
    fn a_run_overfits_when_three_measurements_are_worse_while_training_goes_on_getting_better() {
        let falling = [3.0, 2.5, 2.0, 1.5, 1.0];
        let found = run(&falling, &[3.0, 2.0, 2.1, 2.2, 2.3]).overfitting;
        assert_eq!(found, Some(Overfitting { best_step: 20, best: 2.0, last: 2.3 }));
        // Only two are worse, or one is as good as before, or by less than one percent.
        assert_eq!(run(&falling, &[3.0, 2.5, 2.0, 2.2, 2.3]).overfitting, None);
        assert_eq!(run(&falling, &[3.0, 2.0, 2.1, 2.01, 2.3]).overfitting, None);
        // Training has become worse too: that is no overfitting.
        assert_eq!(run(&[3.0, 2.0, 2.1, 2.2, 2.3], &[3.0, 2.0, 2.1, 2.2, 2.3]).overfitting, None);
        // Nats of a density may be negative.
        assert!(run(&falling, &[-1.0, -3.0, -2.9, -2.8, -2.7]).overfitting.is_some());
    }
}
