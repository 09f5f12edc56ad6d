//! How the measures of runs are written.

use poiesis::evaluate::{ComparedValue, MainMeasure, MeasuredBy};

use crate::render::{count, number};

/// The measure of a run in a short cell: `bits/dim 3.212`, `return 500.0`, `d_loss 1.383 (training)`.
pub(super) fn cell(measure: &MainMeasure) -> String {
    let said = if measure.by == MeasuredBy::Training { " (training)" } else { "" };
    format!("{} {}{said}", measure.name, in_unit(measure.value, None, measure.unit))
}

/// The measure of a run with its error and where it is from: `bits/dim 3.212 ± 0.010, evaluated on the test split at step 15,000`.
pub(super) fn sentence(measure: &MainMeasure) -> String {
    let MainMeasure { name, value, error, unit, by, split, step, .. } = measure;
    let on = split.map(|split| format!(" on the {split} split")).unwrap_or_default();
    let by = match by {
        MeasuredBy::Evaluation => format!("evaluated{on} at step {}", count(*step)),
        MeasuredBy::Validation => format!("on held-out examples at step {}", count(*step)),
        MeasuredBy::Training => {
            format!("of training, up to step {}; nothing held out was measured", count(*step))
        }
    };
    format!("{name} {}, {by}", in_unit(*value, *error, unit))
}

/// A value with its error and its unit.
pub(super) fn in_unit(value: f64, error: Option<f64>, unit: &str) -> String {
    let digits = |value: f64| if unit == "%" { format!("{value:.2}") } else { number(value) };
    let error = error.map(|error| format!(" ± {}", digits(error))).unwrap_or_default();
    let space = if unit.is_empty() { "" } else { " " };
    format!("{}{error}{space}{unit}", digits(value))
}

/// A value of an evaluation in its unit.
pub(super) fn value(value: ComparedValue, unit: &str) -> String {
    in_unit(value.value, value.error, unit)
}

#[cfg(test)]
mod tests {
    use poiesis::evaluate::Better;
    use poiesis_collect::Split;

    use super::*;

    #[test]
    fn a_measure_is_a_short_cell_and_a_sentence_says_where_it_is_from() {
        let measure = MainMeasure {
            name: "bits/dim".into(),
            value: 3.2123,
            error: Some(0.0104),
            unit: "",
            better: Some(Better::Lower),
            by: MeasuredBy::Evaluation,
            split: Some(Split::Test),
            step: 15_000,
        };
        assert_eq!(cell(&measure), "bits/dim 3.212");
        assert_eq!(sentence(&measure), "bits/dim 3.212 ± 0.010, evaluated on the test split at step 15,000");
        let error = MainMeasure { name: "error".into(), value: 1.3501, error: None, unit: "%", ..measure };
        assert_eq!(cell(&error), "error 1.35 %");
        let loss = MainMeasure { name: "d_loss".into(), unit: "", by: MeasuredBy::Training, ..error };
        assert_eq!(cell(&loss), "d_loss 1.350 (training)");
        assert!(sentence(&loss).contains("nothing held out was measured"));
        let held_out = MainMeasure { by: MeasuredBy::Validation, step: 20, ..loss };
        assert_eq!(sentence(&held_out), "d_loss 1.350, on held-out examples at step 20");
    }
}
