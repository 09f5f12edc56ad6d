//! The metrics of a run over its steps: a curve for each name in `metrics.jsonl`, and the last values without reading all of it.

use std::io::ErrorKind;
use std::path::Path;

use poiesis_collect::regular;

use super::metrics::{HELD_OUT, Row};
use crate::error::{Error, Result};

/// How many of the last rows are searched for the last values of training. A row may lack some, such as the return where no episode
/// has ended.
const LAST_ROWS: usize = 64;

/// What part of a curve, at its end, is averaged where single values are noisy.
const END: f64 = 0.1;

/// A metric over the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The name of the metric.
    pub name: String,
    /// Steps and finite values, in the order of the steps.
    pub points: Vec<(u64, f64)>,
}

/// The last values of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latest {
    /// What was last measured on held-out examples: step, name and value.
    pub held_out: Option<(u64, String, f64)>,
    /// The last finite value of each metric of training, in the order in which they are reported.
    pub training: Vec<(String, f64)>,
    /// The step of the last row.
    pub step: u64,
    /// Seconds of training up to there.
    pub elapsed: f64,
}

impl Curve {
    /// Whether it is measured on held-out examples.
    pub fn is_held_out(&self) -> bool {
        self.name.starts_with(HELD_OUT)
    }

    /// The last step and its value.
    pub fn last(&self) -> Option<(u64, f64)> {
        self.points.last().copied()
    }

    /// The step of the smallest value, and that value; the first of several.
    pub fn lowest(&self) -> Option<(u64, f64)> {
        self.points.iter().copied().min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// The step of the largest value, and that value; the first of several.
    pub fn highest(&self) -> Option<(u64, f64)> {
        self.points.iter().copied().min_by(|(_, a), (_, b)| b.total_cmp(a))
    }

    /// The mean over the last tenth of its steps, which says more of a noisy metric than its last value.
    pub fn mean_at_end(&self) -> Option<f64> {
        let (&(first, _), &(last, _)) = (self.points.first()?, self.points.last()?);
        let from = last - ((last - first) as f64 * END) as u64;
        let at_end: Vec<f64> =
            self.points.iter().filter(|(step, _)| *step >= from).map(|&(_, value)| value).collect();
        Some(at_end.iter().sum::<f64>() / at_end.len() as f64)
    }

    /// The means in `bins` equal parts of the steps from `first` to `last`. A part between two points has the value before it, and one
    /// before the first point or after the last has none.
    pub fn binned(&self, first: u64, last: u64, bins: usize) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0_usize); bins];
        let reach = last.saturating_sub(first).max(1) as f64;
        for &(step, value) in self.points.iter().filter(|(step, _)| (first..=last).contains(step)) {
            let bin = ((step - first) as f64 / reach * bins as f64) as usize;
            // The last step belongs to the last part.
            if let Some((sum, count)) = sums.get_mut(bin.min(bins.saturating_sub(1))) {
                (*sum, *count) = (*sum + value, *count + 1);
            }
        }
        let end = sums.iter().rposition(|(_, count)| *count > 0).map_or(0, |last| last + 1);
        let mut before = None;
        let mean = |(at, (sum, count)): (usize, (f64, usize))| {
            if count > 0 {
                before = Some(sum / count as f64);
            }
            before.filter(|_| at < end)
        };
        sums.into_iter().enumerate().map(mean).collect()
    }
}

/// A curve for each metric in `rows`: those measured on held-out examples first, the others in the order in which they first appear.
pub fn curves(rows: &[Row]) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in rows {
        for (name, value) in &row.values {
            let at = curves.iter().position(|curve| curve.name == *name).unwrap_or_else(|| {
                curves.push(Curve { name: name.clone(), points: Vec::new() });
                curves.len() - 1
            });
            if value.is_finite() {
                curves[at].points.push((row.step, *value));
            }
        }
    }
    curves.sort_by_key(|curve| !curve.is_held_out());
    curves
}

/// Returns the last values in a `metrics.jsonl`; none when it does not exist. Only its last lines are parsed.
///
/// # Errors
/// [`Error::Io`].
pub fn latest(path: &Path) -> Result<Latest> {
    let bytes = match regular::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Latest::default()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let text = String::from_utf8_lossy(&bytes);
    // A line without an end was cut short.
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut latest = Latest { held_out: last_held_out(whole), ..Latest::default() };
    let rows: Vec<Row> =
        whole.lines().rev().filter_map(|line| Row::from_line(line).ok()).take(LAST_ROWS).collect();
    if let Some(last) = rows.first() {
        (latest.step, latest.elapsed) = (last.step, last.elapsed);
    }
    // From the first of them, so that the order is that of reports, and later values replace earlier ones.
    for (name, value) in rows.iter().rev().flat_map(|row| &row.values) {
        if name.starts_with(HELD_OUT) || !value.is_finite() {
            continue;
        }
        match latest.training.iter_mut().find(|(known, _)| known == name) {
            Some((_, before)) => *before = *value,
            None => latest.training.push((name.clone(), *value)),
        }
    }
    Ok(latest)
}

/// The last row with a finite value that was measured on held-out examples.
fn last_held_out(text: &str) -> Option<(u64, String, f64)> {
    let name = format!("\"{HELD_OUT}");
    let mut end = text.len();
    while let Some(found) = text[..end].rfind(&name) {
        let begin = text[..found].rfind('\n').map_or(0, |before| before + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let row = Row::from_line(line).ok();
        let value = row.and_then(|row| {
            let step = row.step;
            let mut values = row.values.into_iter();
            values
                .find(|(name, value)| name.starts_with(HELD_OUT) && value.is_finite())
                .map(|(name, value)| (step, name, value))
        });
        if value.is_some() {
            return value;
        }
        end = begin;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn row(step: u64, values: &[(&str, f64)]) -> Row {
        let values = values.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        Row { step, elapsed: step as f64, values }
    }

    #[test]
    fn each_metric_has_a_curve_with_the_held_out_ones_first() {
        let rows = [
            row(1, &[("loss", 3.0), ("kl", f64::NAN)]),
            row(2, &[("loss", 1.0), ("kl", 0.5)]),
            row(2, &[("validation_nll", 2.0)]),
            row(3, &[("loss", 2.0)]),
        ];
        let all = curves(&rows);
        assert_eq!(
            all.iter().map(|curve| curve.name.as_str()).collect::<Vec<_>>(),
            ["validation_nll", "loss", "kl"]
        );
        assert!(all[0].is_held_out() && !all[1].is_held_out());
        assert_eq!(all[1].points, [(1, 3.0), (2, 1.0), (3, 2.0)]);
        assert_eq!(all[2].points, [(2, 0.5)], "what is no number is left out");
        let loss = &all[1];
        assert_eq!(
            (loss.last(), loss.lowest(), loss.highest()),
            (Some((3, 2.0)), Some((2, 1.0)), Some((1, 3.0)))
        );
    }

    #[test]
    fn bins_hold_means_and_keep_the_value_before_between_points() {
        let curve = Curve { name: "x".into(), points: vec![(0, 1.0), (10, 3.0), (60, 5.0)] };
        assert_eq!(
            curve.binned(0, 100, 5),
            [Some(2.0), Some(2.0), Some(2.0), Some(5.0), None],
            "nothing is known after the last point"
        );
        assert_eq!(curve.binned(60, 60, 1), [Some(5.0)]);
        assert_eq!(curve.binned(5, 60, 2), [Some(3.0), Some(5.0)]);
        assert_eq!(curve.binned(0, 60, 0), []);
        let long = Curve { name: "x".into(), points: (1..=100).map(|step| (step, step as f64)).collect() };
        assert!((long.mean_at_end().unwrap() - 95.5).abs() < 1.0, "{:?}", long.mean_at_end());
        assert_eq!(Curve { name: "x".into(), points: vec![(7, 2.5)] }.mean_at_end(), Some(2.5));
    }

    #[test]
    fn the_last_values_are_those_of_the_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        assert_eq!(latest(&path).unwrap(), Latest::default());
        let text = "{\"step\":1,\"elapsed\":1,\"return\":5,\"loss\":4}\n\
                    {\"step\":1,\"elapsed\":1.5,\"validation_nll\":2}\n\
                    {\"step\":2,\"elapsed\":2,\"validation_nll\":null}\n\
                    a \"validation_ line that is no row\n\
                    {\"step\":2,\"elapsed\":3,\"loss\":3}\n\
                    {\"step\":3,\"elapsed\":4,\"validation_nll\":1";
        fs::write(&path, text).unwrap();
        let found = latest(&path).unwrap();
        assert_eq!(found.held_out, Some((1, "validation_nll".to_owned(), 2.0)));
        assert_eq!(found.training, [("return".to_owned(), 5.0), ("loss".to_owned(), 3.0)]);
        assert_eq!((found.step, found.elapsed), (2, 3.0));
        // Long before the last rows.
        let many: String = (4..500).map(|step| format!("{{\"step\":{step},\"loss\":1}}\n")).collect();
        fs::write(&path, format!("{text}}}\n{many}")).unwrap();
        let found = latest(&path).unwrap();
        assert_eq!((found.held_out.unwrap().0, found.step), (3, 499));
        assert_eq!(found.training, [("loss".to_owned(), 1.0)]);
    }
}
